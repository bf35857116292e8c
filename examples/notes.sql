-- The table that the examples read and write.
create table if not exists notes (
  id integer generated always as identity primary key,
  body text not null check (body <> ''),
  made timestamptz not null default now()
);
