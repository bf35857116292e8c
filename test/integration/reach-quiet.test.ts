// What code that cannot be read makes of tables, that harmless objects make nothing, and when the digest of
// the catalogue is another one.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { COLUMNS, digestQuery } from '../../src/sql/catalogue-queries.ts'
import { factNames, mayReach } from '../support/catalogue.ts'
import { functionsOf } from '../support/hidden-calls.ts'
import { HOT, openDatabase, run } from '../support/hostile-database.ts'
import { getPostgres, notRun } from '../support/postgres.ts'

const postgres = await getPostgres()

describe('code that cannot be read', () => {
  it('is reached through tables and indexes that are kept by it', async () => {
    const { root, read, close } = await openDatabase(postgres, 'reach_methods')
    await run(
      root,
      `create function my_heap(internal) returns table_am_handler language internal as 'heap_tableam_handler';
      create access method my_heap type table handler my_heap; create table kept (i int) using my_heap;
      create view seen as select i from kept; create table plain (i int); create index plain_i on plain (i);
      create function my_hash(internal) returns index_am_handler language internal as 'hashhandler';
      create access method my_hash type index handler my_hash;
      create operator class my_int default for type int using my_hash as operator 1 =,
        function 1 hashint4(int);
      create table found (i int); create index found_i on found using my_hash (i)`,
    )
    const routines = await read()
    for (const name of ['kept', 'seen', 'found', 'found_i']) {
      assert.equal(factNames(routines.touches(name)), 'Unclear', name)
    }
    assert.equal(routines.touches('plain') | routines.touches('plain_i') | routines.everywhere, 0)
    assert.ok(mayReach(routines, 'vacuum'))
    await close()
  })

  it('is reached through foreign tables', async (t) => {
    const { root, read, close } = await openDatabase(postgres, 'reach_foreign')
    const { error } = await root.query('create extension file_fdw')
    if (error === null) {
      await run(
        root,
        `create server files foreign data wrapper file_fdw;
        create foreign table lines (line text) server files options (filename 'nothing')`,
      )
      const routines = await read()
      assert.equal(factNames(routines.touches('lines')), 'Unclear')
      assert.equal(routines.everywhere, 0)
    } else {
      notRun(t, 'this Postgres has no file_fdw')
    }
    await close()
  })
})

describe('work on all tables', () => {
  it('comes to expressions of indexes and of statistics', async () => {
    const { owner, read, close } = await openDatabase(postgres, 'reach_work')
    await run(owner, `${functionsOf('hot', HOT)} create table t (i int, j int)`)
    const mayWork = async () => mayReach(await read(), 'vacuum')
    assert.ok(!(await mayWork()))
    await run(owner, 'create index x on t (hot_i(i))')
    assert.ok(await mayWork())
    await run(owner, 'drop index x')
    assert.ok(!(await mayWork()))
    if (postgres.major >= 14) {
      await run(owner, 'create statistics s on (hot_i(i)), j from t')
      assert.ok(await mayWork())
    }
    await close()
  })
})

describe('harmless objects', () => {
  it('mark nothing', async () => {
    const { owner, read, close } = await openDatabase(postgres, 'reach_nothing')
    await run(
      owner,
      `create domain mail as text check (value ~ '@');
      create type span as range (subtype = float8, subtype_diff = float8mi);
      create type pair as (a mail, b int);
      create sequence seq; create table top (id bigserial primary key, m mail, at timestamptz default now());
      create table below (id int generated always as identity, top bigint references top on delete cascade,
        n int default nextval('seq'), u text default gen_random_uuid(),
        w int generated always as (1 + 1) stored,
        p pair, check (n > 0));
      create index on below (lower(u)) where n > 1;
      create view seen as select * from top join below using (id);
      create materialized view kept as select count(*) from seen;
      create table parts (i int) partition by hash (i);
      create table part partition of parts for values with (modulus 1, remainder 0);
      alter table top enable row level security; create policy mine on top using (current_user = m);
      create function stamp() returns trigger language plpgsql as 'begin new.at := now(); return new; end';
      create trigger stamp before insert on top for each row execute function stamp();
      create rule skip as on delete to parts do instead nothing;
      create procedure batch() language plpgsql as 'begin insert into parts values (1); commit; end';
      create procedure outer_batch() language plpgsql as 'begin call batch(); rollback; end';
      create procedure dynamic() language plpgsql as $$ begin execute 'select 1'; end $$`,
    )
    const routines = await read()
    assert.deepEqual([routines.touching, factNames(routines.touches('dynamic'))], [1, 'Executes'])
    assert.equal(routines.everywhere | routines.ddl, 0)
    for (const name of ['batch', 'outer_batch', 'stamp']) assert.ok(routines.isHarmless(name), name)
    assert.ok(mayReach(routines, 'call dynamic()') && !mayReach(routines, 'insert into top default values'))
    await run(owner, 'drop procedure dynamic()')
    assert.equal((await read()).marked, null)
    await close()
  })
})

describe('the digest', () => {
  const CHANGES = [
    'create function f() returns int language sql as $$ select 1 $$',
    'create or replace function f() returns int language sql as $$ select 2 $$',
    'alter function f() rename to g',
    'create table t (i int)',
    'alter table t rename to u',
    'alter table u alter i set default 1',
    'alter table u alter i set default 2',
    'alter table u add constraint c check (i > 0)',
    'alter table u drop constraint c',
    'create domain d as text',
    'alter domain d add check (value <> $$x$$)',
    'alter table u add j d',
    'create view v as select i from u',
    'create or replace view v as select i, j from u',
    'create rule r as on delete to u do instead nothing',
    'create function t() returns trigger language plpgsql as $$ begin return new; end $$',
    'create trigger t before insert on u for each row execute function t()',
    'alter table u disable trigger t',
    'create policy p on u using (true)',
    'alter policy p on u using (false)',
    'create table w () inherits (u)',
    'alter table w no inherit u',
    'create index on u ((i + 1))',
    'alter table u add primary key (i); alter table w add foreign key (i) references u on delete cascade',
    'create statistics s on i, j from u',
    'create type x as range (subtype = int)',
    'create function o(int, int) returns bool language sql as $$ select true $$',
    'create operator === (leftarg = int, rightarg = int, function = o)',
    'create type c as (i int)',
    'drop view v',
    'drop function g()',
  ]
  const NOTHING = [
    'insert into u (i) values (1)',
    'create temp table x (i int default 1 check (i > 0), j d)',
    'drop table x',
    'analyze u',
    'truncate u cascade',
    'begin; create table never (i int); rollback',
  ]

  it('tells every change, and is quiet where there is none', async () => {
    const { owner, nobody, close } = await openDatabase(postgres, 'reach_digest')
    const digest = async () => String((await run(nobody, digestQuery(postgres.major)))[0][0])
    let last = await digest()
    for (const change of CHANGES) {
      await run(owner, change)
      const now = await digest()
      assert.notEqual(now, last, change)
      last = now
    }
    for (const change of NOTHING) {
      await run(owner, change)
      assert.equal(await digest(), last, change)
    }
    for (const change of ['add k int', 'alter k type bigint', 'drop k']) {
      await run(owner, `alter table u ${change}`)
      const [functions, columns] = (await digest()).split(COLUMNS)
      const [functionsBefore, columnsBefore] = last.split(COLUMNS)
      assert.equal(functions, functionsBefore, `${change}: functions are reached as before`)
      assert.notEqual(columns, columnsBefore, change)
      last = await digest()
    }
    await close()
  })
})
