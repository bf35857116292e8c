// What is reached without being named, on a real server: each way is tried (does the function really run?),
// found in the catalogue by a user without rights and under a search path that means harm, and its twin
// around a harmless function is not taken for it.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Routines } from '../../src/sql/catalogue.ts'
import { factNames, mayReach } from '../support/catalogue.ts'
import { functionsOf, HIDDEN_CALLS, type HiddenCall, ODD_NAMES } from '../support/hidden-calls.ts'
import { COLD, type Database, HOT, leavesLock, openDatabase, run } from '../support/hostile-database.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
const { major } = postgres
const EFFECTS = [
  ['cold', COLD],
  ['hot', HOT],
] as const

const isHere = ({ since = 0 }: HiddenCall) => major >= since

describe('what is reached without being named', () => {
  let database: Database
  let routines: Routines
  const calls = HIDDEN_CALLS.filter(isHere)

  before(async () => {
    database = await openDatabase(postgres, 'reach_calls')
    const { owner, read } = database
    await run(owner, functionsOf('hot', HOT))
    await run(owner, functionsOf('cold', COLD))
    for (const [i, { setup }] of calls.entries()) {
      await run(owner, setup('hot', `hot_n${i}`))
      await run(owner, setup('cold', `cold_n${i}`))
    }
    await run(owner, 'select pg_advisory_unlock_all()')
    routines = await read()
  })
  after(() => database.close())

  for (const [i, { kind, statement, work }] of calls.entries()) {
    it(kind, async () => {
      const [hot, cold] = ['hot', 'cold'].map((f) => statement(f, `${f}_n${i}`))
      assert.ok(await leavesLock(database.owner, hot), `${hot} runs it`)
      assert.ok(mayReach(routines, hot), `${hot} is found`)
      assert.ok(!(await leavesLock(database.owner, cold)), `${cold} is harmless`)
      if (work) assert.ok(routines.touches(`hot_n${i}`) !== 0 && routines.touches(`cold_n${i}`) === 0)
      else assert.ok(!mayReach(routines, cold), `${cold} is not taken for it`)
    })
  }

  it('is nothing that concerns every statement', () => {
    assert.equal(factNames(routines.everywhere | routines.ddl), '')
    assert.ok(!mayReach(routines, 'select 1') && !mayReach(routines, 'create table x ()'))
    assert.ok(mayReach(routines, 'analyze'), 'expressions of indexes')
    assert.ok(routines.knowsRelation('cold_n0') && !routines.knowsRelation('cold_n'))
    assert.ok(routines.isHarmless('cold') && !routines.isHarmless('hot'))
  })
})

describe('names that need care', () => {
  it('are found', async () => {
    const { owner, read, close } = await openDatabase(postgres, 'reach_names')
    await run(owner, functionsOf('hot', HOT))
    for (const [i, { setup }] of ODD_NAMES.entries()) await run(owner, setup('hot', `odd_n${i}`))
    const routines = await read()
    for (const [i, { kind, statement }] of ODD_NAMES.entries()) {
      const text = statement('hot', `odd_n${i}`)
      assert.ok(await leavesLock(owner, text), kind)
      assert.ok(mayReach(routines, text), kind)
    }
    await close()
  })
})

describe('calls of built-in functions', () => {
  /** Where the function is written as such, nothing in pg_depend tells. */
  const WRITTEN: readonly (readonly [setup: string, statement: string])[] = [
    ['create view NAME as select FUNC', 'select * from NAME'],
    ['create table NAME (i int, b bool default FUNC)', 'insert into NAME values (1)'],
    ['create table NAME (i int check (FUNC))', 'insert into NAME values (1)'],
    ['create domain NAME as int check (FUNC)', 'select 1::NAME'],
    [
      'create domain NAME_d as bool default FUNC; create table NAME (i int, b NAME_d)',
      'insert into NAME values (1)',
    ],
    [
      'create table NAME (i int); create rule r as on insert to NAME do also select FUNC',
      'insert into NAME values (1)',
    ],
    [
      `create table NAME (i int); insert into NAME values (1); alter table NAME enable row level security;
       alter table NAME force row level security; create policy p on NAME using (FUNC)`,
      'select * from NAME',
    ],
    [
      `create function NAME_f() returns trigger language plpgsql as 'begin return new; end';
       create table NAME (i int); create trigger t before insert on NAME for each row
       when (FUNC) execute function NAME_f()`,
      'insert into NAME values (1)',
    ],
    ["create function NAME(b bool default FUNC) returns bool language sql as 'select b'", 'select NAME()'],
    ...(major >= 14 ? [['create function NAME() returns bool return FUNC', 'select NAME()'] as const] : []),
  ]

  it('are found in expressions', async () => {
    const { owner, read, close } = await openDatabase(postgres, 'reach_builtins')
    const pairs = WRITTEN.map((texts, i) =>
      [`hot_n${i}`, `cold_n${i}`].map((name) =>
        texts.map((text) =>
          text.replaceAll('NAME', name).replaceAll('FUNC', name.startsWith('hot') ? HOT : COLD),
        ),
      ),
    )
    for (const [setup] of pairs.flat()) await run(owner, setup)
    await run(owner, 'create view my_settings as select * from pg_settings; select pg_advisory_unlock_all()')
    const routines = await read()
    for (const [[, hot], [, cold]] of pairs) {
      assert.ok(await leavesLock(owner, hot), hot)
      assert.ok(mayReach(routines, hot), hot)
      assert.ok(!(await leavesLock(owner, cold)), cold)
      assert.ok(!mayReach(routines, cold), cold)
    }
    assert.equal(factNames(routines.touches('hot_n0')), 'Locks')
    await run(owner, "update my_settings set setting = '7MB' where name = 'work_mem'")
    assert.deepEqual(await run(owner, 'show work_mem'), [['7MB']], 'the view has the rule of pg_settings')
    assert.equal(factNames(routines.touches('my_settings')), 'Settings')
    await close()
  })
})

describe('types that a client declares for parameters', () => {
  const MADE = `create domain hot_d as text check (value = '' or ${HOT});
    create domain cold_d as text check (${COLD});
    create type hot_pair as (i int, d hot_d); create type cold_pair as (i int, d cold_d);
    create table hot_row (i int, d hot_d[]); create table cold_row (i int default (${HOT})::int);
    create type plain as enum ('a', 'b'); create domain over as hot_d;
    create type span as range (subtype = float8)`
  const touching = ['hot_d', 'hot_d[]', 'hot_pair', 'hot_pair[]', 'hot_row', 'over']
  const harmless = ['cold_d', 'cold_d[]', 'cold_pair', 'cold_row', 'plain', 'plain[]', 'span', 'text', 'int']

  it('are harmless if nothing is reached from them', async () => {
    const { owner, read, close } = await openDatabase(postgres, 'reach_types')
    await run(owner, MADE)
    const routines = await read()
    const of = async (type: string) =>
      routines.touchesType(Number((await run(owner, `select '${type}'::regtype::oid::int8`))[0][0]))
    for (const type of touching) assert.ok(await of(type), type)
    for (const type of harmless) assert.ok(!(await of(type)), type)
    await run(owner, 'create type newer as enum ()')
    assert.ok(await of('newer'), 'not known yet')
    assert.ok(!routines.touchesType(0), 'none is declared')
    await close()
  })

  it('are all harmless where nothing changes a session', async () => {
    const { owner, read, close } = await openDatabase(postgres, 'reach_no_types')
    await run(owner, 'create domain d as text check (length(value) > 1)')
    assert.ok(!(await read()).touchesType(2_000_000))
    await close()
  })
})

describe('what has no name in any statement', () => {
  const SETUP: readonly (readonly [kind: string, setup: string, statement: string])[] = [
    [
      'operator',
      `create function F_o(int, int) returns bool language plpgsql as 'begin return F() > 0; end';
       create operator === (leftarg = int, rightarg = int, function = F_o)`,
      'select 1 === 1',
    ],
    [
      'cast',
      `create type F_c as (i int);
       create function F_x(F_c) returns int language plpgsql as 'begin return F(); end';
       create cast (F_c as int) with function F_x(F_c) as implicit; create table two (c F_c, i int);
       insert into two values (row(1), 0)`,
      'select abs(c) from two',
    ],
    [
      'operator class',
      `create function F_p(int, int) returns int immutable language plpgsql
         as 'begin perform F(); return case when $1 < $2 then -1 when $1 > $2 then 1 else 0 end; end';
       create operator class F_class for type int using btree
         as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 F_p(int, int);
       create table three (i int); create index on three (i F_class); insert into three values (1)`,
      'insert into three values (2)',
    ],
    [
      'range type',
      `create function F_d(int, int) returns float8 immutable language plpgsql
         as 'begin perform EFFECT; return $1 - $2; end';
       create type F_r as range (subtype = int, subtype_diff = F_d);
       create table four (r F_r); insert into four select F_r(i, i + 2) from generate_series(1, 9) i`,
      'analyze four',
    ],
  ]

  it('concerns every statement', async () => {
    const { root, read, close } = await openDatabase(postgres, 'reach_nameless')
    for (const [f, effect] of EFFECTS) await run(root, functionsOf(f, effect))
    for (const [kind, setup, statement] of SETUP) {
      for (const [f, effect] of EFFECTS) {
        const made = setup.replaceAll('F_', `${f}_`).replaceAll('F()', `${f}()`).replace('EFFECT', effect)
        await run(root, `create schema s; set search_path = s, public; ${made}`)
        await run(root, 'select pg_advisory_unlock_all()')
        assert.equal(await leavesLock(root, statement), f === 'hot', `${kind} ${f}`)
        const routines = await read()
        assert.equal(factNames(routines.everywhere), f === 'hot' ? 'Locks' : '', `${kind} ${f}`)
        assert.equal(mayReach(routines, 'select 1'), f === 'hot', `${kind} ${f}`)
        await run(root, 'drop schema s cascade')
      }
    }
    await close()
  })

  it('event trigger', async () => {
    const { root, read, close } = await openDatabase(postgres, 'reach_ddl')
    for (const [f, effect] of EFFECTS) {
      await run(root, functionsOf(f, effect))
      await run(
        root,
        `create function ${f}_e() returns event_trigger language plpgsql
        as 'begin perform ${f}(); end';
        create event trigger e_${f} on ddl_command_end execute function ${f}_e();
        create or replace function makes() returns void language plpgsql
          as 'begin create table if not exists made (i int); end'; select pg_advisory_unlock_all()`,
      )
      const routines = await read()
      assert.equal(factNames(routines.ddl), f === 'hot' ? 'Locks' : '')
      for (const text of [`create table t_${f} ()`, `alter table t_${f} add i int`, 'select makes()']) {
        assert.equal(await leavesLock(root, text), f === 'hot', text)
        assert.equal(mayReach(routines, text), f === 'hot', text)
      }
      assert.ok(!mayReach(routines, 'insert into t_cold values (1)'))
    }
    await close()
  })
})
