// Every way that we know by which a statement comes to a function without naming it: SQL that makes objects
// called `n..` around functions called `f..`, and a statement that makes the function run. Data only.

export interface HiddenCall {
  readonly kind: string
  /** To be run by the owner of all. */
  readonly setup: (f: string, n: string) => string
  readonly statement: (f: string, n: string) => string
  /** Work on indexes or statistics: such statements can be without any name, so their words count. */
  readonly work?: boolean
  /** The first version that has it. */
  readonly since?: number
}

/** The functions around which all is made: `effect` is an expression with the effect that is looked for. */
export function functionsOf(f: string, effect: string): string {
  return `
create function ${f}() returns int language plpgsql as $$ begin perform ${effect}; return 1; end $$;
create function ${f}_t() returns trigger language plpgsql as $$ begin perform ${f}();
  return case when tg_op = 'DELETE' then old else new end; end $$;
create function ${f}_i(int) returns int immutable language plpgsql as $$
  begin perform ${effect}; return $1; end $$;
create function ${f}_ok(text) returns boolean immutable language plpgsql as $$
  begin perform ${effect}; return true; end $$;`
}

function trigger(f: string, n: string, event = 'insert', level = 'row'): string {
  return `create trigger ${f}_on after ${event} on ${n} for each ${level} execute function ${f}_t();`
}

const insert = (_: string, n: string) => `insert into ${n} values (1)`
const read = (_: string, n: string) => `select * from ${n}`
const INSERT = { statement: insert }
const READ = { statement: read }

const TRIGGERS: readonly HiddenCall[] = [
  { kind: 'trigger', setup: (f, n) => `create table ${n} (i int); ${trigger(f, n)}`, ...INSERT },
  {
    kind: 'function behind function behind trigger',
    setup: (f, n) => `create function ${n}_in() returns int language sql as 'select ${f}()';
      create function ${n}_out() returns trigger language plpgsql
        as $$ begin perform ${n}_in(); return new; end $$;
      create table ${n} (i int);
      create trigger t before insert on ${n} for each row execute function ${n}_out();`,
    ...INSERT,
  },
  {
    kind: 'table that a trigger writes',
    setup: (f, n) => `create table ${n}_log (i int); ${trigger(f, `${n}_log`)} create table ${n} (i int);
      create function ${n}_f() returns trigger language plpgsql as $$
        begin insert into ${n}_log values (1); return new; end $$;
      create trigger t before insert on ${n} for each row execute function ${n}_f();`,
    ...INSERT,
  },
  {
    kind: 'table that a function writes',
    setup: (f, n) => `create table ${n} (i int); ${trigger(f, n)}
      create function ${n}_f() returns void language plpgsql as $$ begin insert into ${n} values (1); end $$`,
    statement: (_, n) => `select ${n}_f()`,
  },
  {
    kind: 'condition of a trigger',
    setup: (f, n) => `create table ${n} (i int); create function ${n}_f() returns trigger language plpgsql
        as $$ begin return new; end $$;
      create trigger t before insert on ${n} for each row when (${f}() > 0) execute function ${n}_f();`,
    ...INSERT,
  },
  {
    kind: 'deferred trigger',
    setup: (f, n) => `create table ${n} (i int); create constraint trigger t after insert on ${n}
      deferrable initially deferred for each row execute function ${f}_t();`,
    ...INSERT,
  },
  {
    kind: 'trigger on a partition',
    setup: (f, n) => `create table ${n} (i int) partition by list (i);
      create table ${n}_p partition of ${n} for values in (1) partition by list (i);
      create table ${n}_q partition of ${n}_p for values in (1); ${trigger(f, `${n}_q`)}`,
    ...INSERT,
  },
  {
    kind: 'trigger on a child',
    setup: (f, n) => `create table ${n} (i int); create table ${n}_c () inherits (${n});
      insert into ${n}_c values (1); ${trigger(f, `${n}_c`, 'update')}`,
    statement: (_, n) => `update ${n} set i = 2`,
  },
  {
    kind: 'trigger instead of writing a view',
    setup: (f, n) => `create view ${n} as select 1 as i;
      create trigger t instead of insert on ${n} for each row execute function ${f}_t();`,
    ...INSERT,
  },
  {
    kind: 'trigger behind a view',
    setup: (f, n) => `create table ${n}_t (i int); ${trigger(f, `${n}_t`)}
      create view ${n}_v as select i from ${n}_t; create view ${n} as select i from ${n}_v;`,
    ...INSERT,
  },
]

const KEYS: readonly HiddenCall[] = [
  {
    kind: 'cascade on delete',
    setup: (f, n) => `create table ${n} (i int primary key); insert into ${n} values (1);
      create table ${n}_b (i int primary key references ${n} on delete cascade);
      insert into ${n}_b values (1);
      create table ${n}_c (i int references ${n}_b on delete cascade); insert into ${n}_c values (1);
      ${trigger(f, `${n}_c`, 'delete')}`,
    statement: (_, n) => `delete from ${n}`,
  },
  {
    kind: 'set null on update',
    setup: (f, n) => `create table ${n} (i int primary key); insert into ${n} values (1);
      create table ${n}_b (i int references ${n} on update set null); insert into ${n}_b values (1);
      ${trigger(f, `${n}_b`, 'update')}`,
    statement: (_, n) => `update ${n} set i = 2`,
  },
  {
    kind: 'TRUNCATE that follows a plain foreign key',
    setup: (f, n) => `create table ${n} (i int primary key); create table ${n}_b (i int references ${n});
      ${trigger(f, `${n}_b`, 'truncate', 'statement')}`,
    statement: (_, n) => `truncate ${n} cascade`,
  },
]

const EXPRESSIONS: readonly HiddenCall[] = [
  { kind: 'default', setup: (f, n) => `create table ${n} (i int, j int default ${f}());`, ...INSERT },
  {
    kind: 'default of a view',
    setup: (f, n) => `create table ${n}_t (i int, j int); create view ${n} as select i, j from ${n}_t;
      alter view ${n} alter j set default ${f}()`,
    ...INSERT,
  },
  {
    kind: 'generated column',
    setup: (f, n) => `create table ${n} (i int, j int generated always as (${f}_i(i)) stored);`,
    ...INSERT,
  },
  { kind: 'check', setup: (f, n) => `create table ${n} (i int check (${f}_i(i) > 0));`, ...INSERT },
  {
    kind: 'index',
    setup: (f, n) => `create table ${n} (i int); create index on ${n} (${f}_i(i))`,
    ...INSERT,
  },
  {
    kind: 'index by its name',
    work: true,
    setup: (f, n) => `create table ${n}_t (i int); create index ${n} on ${n}_t (${f}_i(i));
      insert into ${n}_t values (1)`,
    statement: (_, n) => `reindex index ${n}`,
  },
  {
    kind: 'condition of an index',
    setup: (f, n) => `create table ${n} (i int); create index on ${n} (i) where ${f}_i(i) > 0`,
    ...INSERT,
  },
  {
    kind: 'statistics',
    work: true,
    since: 14,
    setup: (f, n) => `create table ${n} (i int, j int);
      insert into ${n} select x, x from generate_series(1, 10) x;
      create statistics ${n}_s on (${f}_i(i)), j from ${n}`,
    statement: (_, n) => `analyze ${n}`,
  },
  {
    kind: 'partition key',
    setup: (f, n) => `create table ${n} (i int) partition by list (${f}_i(i));
      create table ${n}_p partition of ${n} for values in (1)`,
    ...INSERT,
  },
  {
    kind: 'partition key above',
    setup: (f, n) => `create table ${n}_r (i int) partition by list (${f}_i(i));
      create table ${n}_s partition of ${n}_r for values in (1) partition by list (i);
      create table ${n} partition of ${n}_s for values in (1)`,
    ...INSERT,
  },
  {
    kind: 'policy',
    setup: (f, n) => `create table ${n} (i int); insert into ${n} values (1);
      alter table ${n} enable row level security; alter table ${n} force row level security;
      create policy p on ${n} using (${f}() > 0)`,
    ...READ,
  },
  {
    kind: 'view in a policy',
    setup: (f, n) => `create view ${n}_v as select ${f}() as j; create table ${n} (i int);
      insert into ${n} values (1); alter table ${n} enable row level security;
      alter table ${n} force row level security;
      create policy p on ${n} using (exists (select j from ${n}_v where j = i))`,
    ...READ,
  },
]

const RULES: readonly HiddenCall[] = [
  { kind: 'view', setup: (f, n) => `create view ${n} as select ${f}()`, ...READ },
  {
    kind: 'view on view',
    setup: (
      f,
      n,
    ) => `create view ${n}_a as select ${f}() as i; create view ${n}_b as select i + 1 as i from ${n}_a;
      create view ${n} as select i from ${n}_b where i > 0`,
    ...READ,
  },
  {
    kind: 'inlined function in a view',
    setup: (f, n) => `create function ${n}_f(int) returns int language sql as 'select $1 + ${f}()';
      create view ${n} as select ${n}_f(i) from generate_series(1, 2) i`,
    ...READ,
  },
  {
    kind: 'materialised view',
    setup: (f, n) => `create materialized view ${n} as select ${f}() with no data`,
    statement: (_, n) => `refresh materialized view ${n}`,
  },
  {
    kind: 'rule',
    setup: (f, n) => `create table ${n} (i int);
      create rule r as on insert to ${n} do also select ${f}()`,
    ...INSERT,
  },
  {
    kind: 'rule that writes another table',
    setup: (f, n) => `create table ${n} (i int); create table ${n}_o (i int); ${trigger(f, `${n}_o`)}
      create rule r as on insert to ${n} do instead insert into ${n}_o values (new.i)`,
    ...INSERT,
  },
]

const TYPES: readonly HiddenCall[] = [
  {
    kind: 'domain by its name',
    setup: (f, n) => `create domain ${n} as text check (${f}_ok(value))`,
    statement: (_, n) => `select 'x'::${n}`,
  },
  {
    kind: 'column of a domain over a domain',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value)); create domain ${n}_b as ${n}_a;
      create table ${n} (i ${n}_b)`,
    ...INSERT,
  },
  {
    kind: 'column of a domain behind a view',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value)); create table ${n}_t (i ${n}_a);
      create view ${n} as select * from ${n}_t`,
    ...INSERT,
  },
  {
    kind: 'default of a domain',
    setup: (f, n) => `create domain ${n}_a as int default ${f}(); create table ${n} (i int, j ${n}_a)`,
    ...INSERT,
  },
  {
    kind: 'array of a domain',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value)); create table ${n} (i ${n}_a[])`,
    statement: (_, n) => `insert into ${n} values ('{1}')`,
  },
  {
    kind: 'domain in a composite type',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value)); create type ${n}_c as (d ${n}_a);
      create table ${n} (i ${n}_c)`,
    statement: (_, n) => `insert into ${n} values ('(1)')`,
  },
  {
    kind: 'domain in a row of a table',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value)); create table ${n}_t (d ${n}_a);
      create table ${n} (i ${n}_t)`,
    statement: (_, n) => `insert into ${n} values ('(1)')`,
  },
  {
    kind: 'domain of an argument',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value));
      create function ${n}(${n}_a) returns int language plpgsql as 'begin return 1; end'`,
    statement: (_, n) => `select ${n}('x')`,
  },
  {
    kind: 'domain of a variable',
    setup: (f, n) => `create domain ${n}_a as text check (${f}_ok(value));
      create function ${n}() returns int language plpgsql
        as $$ declare x ${n}_a := 'x'; begin return 1; end $$`,
    statement: (_, n) => `select ${n}()`,
  },
  {
    kind: 'default of an argument',
    setup: (f, n) => `create function ${n}(a int default ${f}()) returns int language sql as 'select a'`,
    statement: (_, n) => `select ${n}()`,
  },
  {
    kind: 'body that is kept parsed',
    since: 14,
    setup: (f, n) => `create function ${n}() returns int return ${f}() + 1`,
    statement: (_, n) => `select ${n}()`,
  },
  {
    kind: 'view in a body that is kept parsed',
    since: 14,
    setup: (f, n) => `create view ${n}_v as select ${f}() as i;
      create function ${n}() returns int begin atomic select i from ${n}_v; end`,
    statement: (_, n) => `select ${n}()`,
  },
  {
    kind: 'aggregate',
    setup: (f, n) => `create function ${n}_s(int, int) returns int language sql as 'select ${f}()';
      create aggregate ${n} (int) (sfunc = ${n}_s, stype = int)`,
    statement: (_, n) => `select ${n}(1)`,
  },
]

/** Triggers on tables with names that need care. */
export const ODD_NAMES: readonly HiddenCall[] = [
  ['upper case', 'Upper Case', 'Upper Case'],
  ['quotes', 'with ""quotes""', 'with ""quotes""'],
  ['other letters', 'Größe', 'Größe'],
  ['more bytes than fit', 'x'.repeat(80), 'x'.repeat(90)],
  ['more letters than fit', 'é'.repeat(40), 'é'.repeat(50)],
  ['a keyword', 'select', 'select'],
].map(([kind, made, used]) => ({
  kind: `table named with ${kind}`,
  // The name must stay the whole name, so the two are told apart by their schemas.
  setup: (f, n) => `create schema ${n}; create table ${n}."${made}" (i int); ${trigger(f, `${n}."${made}"`)}`,
  statement: (_, n) => `insert into ${n}."${used}" values (1)`,
}))

export const HIDDEN_CALLS: readonly HiddenCall[] = [...TRIGGERS, ...KEYS, ...EXPRESSIONS, ...RULES, ...TYPES]
