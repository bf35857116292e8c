// Which functions of a database can change a session, from their bodies; which built-in ones may be shared.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { readBody } from '../../../src/sql/body.ts'
import { isShareableBuiltin } from '../../../src/sql/sharing.ts'
import { factNames as names, mayReach, type RoutineRow, routinesOf } from '../../support/catalogue.ts'

let lastOid = 20_000

function routine(name: string, source: string, rest: Partial<RoutineRow> = {}): RoutineRow {
  return { oid: ++lastOid, name, source, ...rest }
}

/** What one function in PL/pgSQL with this body can do. */
function touches(source: string, language = 'plpgsql'): string {
  return names(routinesOf([routine('f', source, { language })]).touches('f'))
}

describe('Routines: bodies', () => {
  it('knows what changes a session', () => {
    const cases: readonly (readonly [body: string, want: string])[] = [
      ['begin set search_path = a; end', 'Settings'],
      ['begin reset all; end', 'Settings'],
      ['begin if x then set a.b = 1; end if; end', 'Settings'],
      ['begin if x then null; else set a.b = 1; end if; end', 'Settings'],
      ['begin loop set a.b = 1; end loop; end', 'Settings'],
      ['begin <<l>> set a.b = 1; end', 'Settings'],
      ['declare x int; begin null; set a.b = 1; end', 'Settings'],
      ['begin -- x\n set a.b = 1; end', 'Settings'],
      ["begin perform set_config('a', 'b', false); end", 'Settings'],
      ["begin x := pg_catalog.Set_Config('a', 'b', false); end", 'Settings'],
      ["begin perform \"set_config\"('a', 'b', false); end", 'Settings'],
      ["begin execute 'select 1'; end", 'Executes'],
      ["begin return query execute 'select 1'; end", 'Executes'],
      ["begin for r in execute 'select 1' loop null; end loop; end", 'Executes'],
      ["begin open c for execute 'select 1'; end", 'Executes'],
      ['begin create temp table t (i int); end', 'Temp'],
      ['begin create or replace temporary view v as select 1; end', 'Temp'],
      ['begin create table pg_temp.t (i int); end', 'Temp'],
      ['begin perform pg_advisory_lock(1); end', 'Locks'],
      ['begin listen a; end', 'Listens'],
      ["begin load 'x'; end", 'Backend'],
      ['begin perform setseed(0); end', 'Backend'],
      ["begin perform query_to_xml('select 1', true, true, ''); end", 'Runs'],
      ['begin perform U&"set\\005fconfig"(1); end', 'Unclear'],
      ['begin do $$ begin end $$; end', 'Runs'],
      ['begin discard all; end', 'Discards'],
      ['begin prepare a as select 1; end', 'Prepares'],
      ["begin x := 'abc; end", 'Unclear'],
      ["select set_config('a', 'b', false)", 'Settings'],
      ["BEGIN ATOMIC SELECT set_config('a'::text, 'b'::text, false); END", 'Settings'],
      ["RETURN set_config('a'::text, 'b'::text, false)", 'Settings'],
    ]
    for (const [body, want] of cases) assert.equal(touches(body), want, body)
  })

  it('does not fear what does not', () => {
    const bodies = [
      'begin update t set a = 1; end',
      'begin insert into t values (1) on conflict (a) do update set a = 2; end',
      'begin perform pg_advisory_xact_lock(1); end',
      "begin perform nextval('s'); end",
      "begin perform 'set_config'; raise notice 'execute %', x; end",
      '/* set_config */ begin -- execute\n return 1; end',
      'declare temp int; begin temp := temporary.x; end',
      'begin notify a; end',
      'begin call p(); end',
      'begin insert into t values (1); commit; perform 1; rollback; end',
      'begin create table t (i int); end',
      'select 1',
      'begin alter table t alter column c set default 1; end',
      '',
    ]
    for (const body of bodies) assert.equal(touches(body), '', body)
  })

  it('reads any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'$\'";-/*aE\\ \n<>(é') }), (text) => {
        const { facts, words } = readBody(text)
        assert.ok(facts >= 0 && words.size <= text.length)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('Routines', () => {
  it('follows calls, whatever their order and circles', () => {
    const all = [
      routine('outer_one', 'begin perform s.Middle(); end'),
      routine('other', 'begin perform harmless(); end'),
      routine('Middle', 'begin perform "inner one"(); end'),
      routine('inner one', "begin perform set_config('a', 'b', false); perform round_a(); end"),
      routine('round_a', 'begin perform round_b(); end'),
      routine('round_b', 'begin perform round_a(); perform round_c(); end'),
      routine('round_c', 'begin create temp table t (i int); end'),
      routine('harmless', 'begin return 1; end'),
      routine('attribute', 'select w.round_c from w', { language: 'sql' }),
    ]
    for (const order of [all, all.toReversed()]) {
      const routines = routinesOf(order)
      assert.equal(names(routines.touches('OUTER_ONE')), 'Settings Temp')
      assert.equal(names(routines.touches('middle')), 'Settings Temp')
      assert.equal(names(routines.touches('round_a')), 'Temp')
      assert.equal(names(routines.touches('attribute')), 'Temp')
      assert.equal(routines.touches('harmless'), 0)
      assert.equal(routines.touches('other'), 0)
      assert.equal(routines.touching, 7)
      assert.ok(routines.knows('Harmless') && !routines.knows('now'))
    }
  })

  it('fears what it cannot see into', () => {
    const routines = routinesOf([
      routine('in_c', '', { language: 'c' }),
      routine('alias', 'pg_advisory_lock_int8', { language: 'internal' }),
      routine('python', 'pass', { language: 'plpython3u' }),
      routine('long', 'begin null', { isCut: true }),
      routine('caller', 'begin perform in_c(); end'),
      routine('similarity', '', { language: 'c', extension: 'pg_trgm' }),
      routine('set_limit', '', { language: 'c', extension: 'pg_trgm' }),
      routine('unknown', '', { language: 'c', extension: 'something' }),
      routine('twice', 'begin null; end'),
      routine('twice', "begin execute 'x'; end"),
    ])
    for (const name of ['in_c', 'alias', 'python', 'long', 'caller', 'set_limit', 'unknown']) {
      assert.equal(names(routines.touches(name)), 'Unclear', name)
    }
    assert.equal(routines.touches('similarity'), 0)
    assert.equal(names(routines.touches('twice')), 'Executes')
  })

  it('compares names where Postgres cuts them', () => {
    const long = 'l'.repeat(70)
    const wide = `${'w'.repeat(62)}é`
    const routines = routinesOf([
      routine(long.slice(0, 63), 'begin set a = 1; end'),
      routine('w'.repeat(62), 'begin set a = 1; end'),
      routine('calls_long', `begin perform ${long}(); end`),
      routine('calls_wide', `begin perform "${wide}"(); end`),
    ])
    assert.equal(names(routines.touches('calls_long')), 'Settings')
    assert.equal(names(routines.touches('calls_wide')), 'Settings')
    assert.equal(names(routines.touches(long.toUpperCase())), 'Settings')
    assert.ok(routines.knows(wide))
  })

  it('says what is surely harmless', () => {
    const routines = routinesOf([
      routine('plain', 'begin insert into t values (1); commit; end'),
      routine('outer_one', 'begin call plain(); end'),
      routine('runs', "begin execute 'x'; end"),
    ])
    assert.ok(routines.isHarmless('Plain') && routines.isHarmless('outer_one'))
    assert.ok(!routines.isHarmless('runs') && !routines.isHarmless('unknown'))
  })

  it('has the scanner find them', () => {
    const routines = routinesOf([routine('f_set', 'begin set a = 1; end'), routine('g', '')])
    assert.ok(mayReach(routines, 'select f_set()'))
    assert.ok(!mayReach(routines, 'select g()'))
    assert.equal(routinesOf([routine('g', '')]).marked, null)
  })
})

describe('isShareableBuiltin', () => {
  it('is an allow-list for volatile functions and a deny-list for the others', () => {
    const yes = [
      ['lower', false],
      ['now', false],
      ['pg_typeof', false],
      ['random', true],
      ['clock_timestamp', true],
    ] as const
    const no = [
      ['set_config', true],
      ['nextval', true],
      ['pg_advisory_lock', true],
      ['pg_advisory_xact_lock', true],
      ['pg_notify', true],
      ['query_to_xml', true],
      ['table_to_xml', false],
      ['ts_stat', true],
      ['pg_sleep', true],
      ['current_setting', false],
      ['pg_prepared_statement', false],
      ['txid_current', false],
      ['something_new', true],
    ] as const
    for (const [name, isVolatile] of yes) assert.ok(isShareableBuiltin(name, isVolatile), name)
    for (const [name, isVolatile] of no) assert.ok(!isShareableBuiltin(name, isVolatile), name)
  })
})
