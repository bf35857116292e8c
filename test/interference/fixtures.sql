-- What stands in both databases. B has its own version of what A uses, in a schema of its own.
create schema hostile;
create table items (id int primary key, name text, price numeric default 1);
insert into items select i, 'item ' || i, i from generate_series(1, 5) i;
create table hostile.items as select id, 'item of B'::text as name, 0::numeric as price from items;
create sequence numbers;
create sequence hostile.numbers start 9000;
create function own() returns text language sql as $$ select 'own'::text $$;
create function hostile.own() returns text language sql as $$ select 'function of B'::text $$;
create table papers (owner text, tenant text, n int);
insert into papers select o, t, n from unnest(array['alice', 'bob']) o, unnest(array['red', 'blue']) t,
  generate_series(1, 2) n;
alter table papers enable row level security;
create policy by_tenant on papers using (tenant = current_setting('app.tenant', true));

-- Functions that change the session.
create function note(kind text, value text) returns text language plpgsql as $$
begin
  perform set_config(kind, value, false);
  return value;
end $$;
create function note_locally(kind text, value text) returns text language plpgsql as $$
begin
  perform set_config(kind, value, true);
  return current_setting(kind);
end $$;
create function note_and_fail(kind text, value text) returns text language plpgsql as $$
begin
  perform set_config(kind, value, false);
  raise exception 'after the change';
end $$;
create function note_and_catch(kind text, value text) returns text language plpgsql as $$
begin
  begin
    perform set_config(kind, value, false);
    raise exception 'after the change';
  exception when raise_exception then
    return 'caught';
  end;
end $$;
create function by_name() returns text language plpgsql as $$
declare name text := 'app.' || 'tenant';
begin
  execute format('set %s = %L', name, 'by name');
  return current_setting(name);
end $$;
create function within() returns text language sql set timezone = 'Asia/Kolkata' as
  $$ select current_setting('timezone') $$;
create procedure change(kind text, value text) language plpgsql as $$
begin
  perform set_config(kind, value, false);
end $$;
create procedure change_and_commit(kind text, value text) language plpgsql as $$
begin
  perform set_config(kind, value, false);
  commit;
  perform set_config(kind, value || ', rolled back', false);
  rollback;
end $$;
create function take_lock(n bigint) returns bool language plpgsql as $$
begin
  perform pg_advisory_lock(n);
  return true;
end $$;
create function make_temp() returns int language plpgsql as $$
begin
  execute 'create temp table made (n int)';
  insert into made values (1), (2);
  return (select count(*) from made);
end $$;
create function hold_cursor() returns text language plpgsql as $$
begin
  execute 'declare held cursor with hold for select name from items order by id';
  return 'held';
end $$;
create function subscribe(channel text) returns text language plpgsql as $$
begin
  execute format('listen %I', channel);
  return channel;
end $$;
create function speak() returns int language plpgsql as $$
begin
  raise notice 'one';
  raise warning 'two';
  return 3;
end $$;
create function act_as(role name) returns name language plpgsql as $$
begin
  execute format('set role %I', role);
  return current_user;
end $$;
create function granted() returns text language plpgsql security definer as $$
begin
  perform set_config('log_min_duration_statement', '77777', false);
  return current_setting('log_min_duration_statement');
end $$;

-- The same behind statements that do not show it.
create function keep_tenant() returns trigger language plpgsql as $$
begin
  perform set_config('app.tenant', new.name, false);
  return new;
end $$;
create function lock_row() returns trigger language plpgsql as $$
begin
  perform pg_advisory_lock(new.id);
  return new;
end $$;
create view changing as select set_config('app.tenant', 'by view', false) as tenant;
create domain tenant_name as text check (set_config('app.tenant', value, false) is not null);
create function same(a text, b text) returns bool language sql as
  $$ select set_config('app.tenant', b, false) = a $$;
create function kept(state text, value text) returns text language sql as
  $$ select set_config('app.tenant', value, false) $$;
create aggregate keep_last(text) (sfunc = kept, stype = text);
create function twice(int) returns text language sql immutable as $$ select repeat('x', $1) $$;

grant usage on schema hostile to public;
grant all on all tables in schema public, hostile to public;
grant all on all sequences in schema public, hostile to public;
