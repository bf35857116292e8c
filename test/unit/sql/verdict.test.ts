// What the grammar makes of statements that could change a session: every construct, and the traps in which
// poolers that look at texts are known to have fallen.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Act } from '../../../src/sql/verdict.ts'
import { brief, judge, openGrammar } from '../../support/grammar.ts'

const grammar = await openGrammar()

/** Each text, and its statements; '!' if the grammar refuses it. */
function check(cases: readonly (readonly [text: string, ...want: string[]])[]): void {
  for (const [text, ...want] of cases) {
    assert.deepEqual(judge(grammar, text)?.map(brief) ?? ['!'], want, text)
  }
}

describe('verdict: settings', () => {
  it('of SET', () => {
    check([
      ['set work_mem = 1', 'work_mem=1'],
      ['set work_mem to -1', 'work_mem=-1'],
      ["SET Work_Mem = '4MB'", 'work_mem=4MB'],
      ['set session work_mem = default', 'work_mem=<default>'],
      ['set local work_mem = 1', 'work_mem=1:local'],
      ['set x.y = 1.5', 'x.y=1.5'],
      ['set "X".y.z = on', 'x.y.z=on'],
      ['set a = true', 'a=true'],
      ['set search_path = a, \'B c\', "D"', 'search_path=a,B c,D'],
      ['set x from current', 'x=<current>'],
      ['set local x from current', 'x=<current>:local'],
      ['set sort_mem = 1', 'work_mem=1'],
      ["set a.b = E'\\x41'", 'a.b=A'],
      ["set a.b = U&'\\0041'", 'a.b=A'],
      ['set a.b = $$x$$', 'a.b=x'],
      ['set a.b = (1)', '!'],
      // Postgres refuses it later.
      ['set a.b = $1', 'a.b=<computed>'],
    ])
  })

  it('of its special forms', () => {
    check([
      ["set time zone 'UTC'", 'timezone=UTC'],
      ['set time zone 7', 'timezone=7'],
      ['set time zone local', 'timezone=<default>'],
      ["set time zone interval '1' hour to minute", 'timezone=<computed>'],
      ["set schema 'x'", 'search_path=x'],
      ["set names 'latin1'", 'client_encoding=latin1'],
      ['set names', 'client_encoding=<default>'],
      ['set xml option document', 'xmloption=DOCUMENT'],
      ['set role x', 'role=x'],
      ['set local role none', 'role=none:local'],
      ["set session authorization 'x'", 'session_authorization=x'],
      ['set session authorization default', 'session_authorization=<default>'],
      ['set session role x', 'role=x'],
      ['set seed = 0.5', 'Backend seed=0.5'],
      ['set constraints all deferred', ''],
      [
        'set session characteristics as transaction isolation level serializable',
        'default_transaction_isolation=serializable',
      ],
      [
        'set session characteristics as transaction read only, not deferrable',
        'default_transaction_read_only=1 default_transaction_deferrable=0',
      ],
    ])
  })

  it('of the transaction only', () => {
    check([
      ['set transaction isolation level serializable', 'Transaction'],
      ['set local transaction read only', 'Transaction'],
      ["set transaction snapshot 'x'", 'Transaction'],
      ['set transaction_read_only = on', 'Transaction transaction_read_only=on:local'],
      ['begin isolation level repeatable read', 'Begins'],
    ])
  })

  it('of RESET', () => {
    check([
      ['reset work_mem', 'work_mem=<default>'],
      ['reset all', 'ResetsAll'],
      ['reset time zone', 'timezone=<default>'],
      ['reset session authorization', 'session_authorization=<default>'],
      ['reset role', 'role=<default>'],
      ['reset transaction isolation level', 'Transaction transaction_isolation=<default>:local'],
    ])
  })

  it('of set_config', () => {
    check([
      ["select set_config('a.b', 'x', false)", 'a.b=x'],
      ["select pg_catalog.set_config('A.B', 'x', true)", 'a.b=x:local'],
      ["select x.y.set_config('a', 'x', true)", 'a=x:local'],
      ["select \"set_config\"('a', 'x', false)", 'a=x'],
      ["select U&\"set\\005fconfig\"('a', 'x', false)", 'a=x'],
      ["select U&\"set!005fconfig\" uescape '!' ('a', 'x', false)", 'a=x'],
      ["select set_config('a', null, false)", 'a=<default>'],
      ["select set_config('a', $1, false)", 'a=<bound>'],
      ["select set_config('a', $1::text, $2)", 'a=<bound>:maybe'],
      ["select set_config($1, 'x', false)", '$1=x'],
      ["select set_config($3::varchar, 'x', false)", '$3=x'],
      ["select set_config('a' || 'b', 'x', false)", '?=x'],
      ["select set_config('a'::text, 'x'::text, false)", 'a=x'],
      ["select set_config('abc'::varchar(1), 'x', false)", '?=x'],
      ["select set_config(cast('a' as name), lower('X'), 'f')", 'a=<computed>:maybe'],
      ["select set_config(is_local => true, setting_name => 'a', new_value => 'x')", 'a=x:local'],
      ["select set_config('a', is_local := false, new_value := 'x')", 'a=x'],
      ["select set_config(variadic array['a', 'b', 'c'])", '?=<computed>:maybe'],
      [
        "select set_config('transaction_isolation', 'serializable', false)",
        'transaction_isolation=serializable:local',
      ],
      ["select 1 where set_config('a', 'x', false) is not null", 'a=x'],
      ["with c as (select set_config('a', 'x', false)) select 1 from c", 'a=x'],
      ["select (select set_config('a', 'x', false))", 'a=x'],
      ["select set_config('a', set_config('b', 'x', true), false)", 'a=<computed> b=x:local'],
      ["select set_config('a', '1', false), set_config('b', '2', false)", 'a=1 b=2'],
      ["select * from set_config('a', 'x', false)", 'a=x'],
      ["select * from rows from (set_config('a', 'x', false), f(1))", 'a=x'],
      ["select set_config(name, 'x', false) from pg_settings", 'Shows ?=x'],
      ["insert into t select set_config('a', 'x', false)", 'a=x'],
      ["insert into t values (1) on conflict (i) do update set x = set_config('a', 'x', false)", 'a=x'],
      ["update t set x = set_config('a', 'x', false)", 'a=x'],
      ["delete from t returning set_config('a', 'x', false)", 'a=x'],
      ["select 1 order by set_config('a', 'x', false) limit length(set_config('b', 'x', false))", 'a=x b=x'],
      ["select count(*) filter (where set_config('a', 'x', false) = '') over (order by 1)", 'a=x'],
      ["call p(set_config('a', 'x', false))", 'Runs a=x'],
      ["copy (select set_config('a', 'x', false)) to stdout", 'Copies a=x'],
      ["execute s(set_config('a', 'x', false))", 'a=x execute s'],
      ["declare c cursor for select set_config('a', 'x', false)", 'a=x'],
      ["create table t as select set_config('a', 'x', false)", 'Creates a=x'],
      ["alter table t add c text default set_config('a', 'x', false)", 'a=x'],
      ["merge into t using s on true when matched then update set x = set_config('a', 'x', false)", 'a=x'],
      ["values (set_config('a', 'x', false))", 'a=x'],
      ["update pg_settings set setting = 'x' where name = 'a'", 'Shows ?=<computed>'],
      ["with a as (update pg_catalog.pg_settings p set setting = 'x') select 1", 'Shows ?=<computed>'],
      ['select * from pg_settings', 'Shows'],
      ["select 'set_config(''a'', ''x'', false)'", ''],
      ['select set_config from t', ''],
      ['select 1 as set_config', ''],
      ["-- set_config('a', 'x', false)\nselect 1", ''],
      ["select 'set_config'::regproc", ''],
    ])
  })

  it('not of what a definition stores', () => {
    check([
      ["create view v as select set_config('a', 'x', false)", 'Creates'],
      [
        "create function f() returns text language sql as 'select set_config(''a'', ''b'', false)'",
        'Creates',
      ],
      ["create function f() returns text return set_config('a', 'b', false)", 'Creates'],
      ["create function f() returns int set search_path = a language sql as 'select 1'", 'Creates'],
      ["create rule r as on insert to t do also select set_config('a', 'b', false)", ''],
      ["create policy p on t using (set_config('a', 'b', false) = '')", 'Creates'],
      [
        "create trigger t after insert on t when (set_config('a', 'b', false) = '') execute function f()",
        'Creates',
      ],
      ['alter role r set work_mem = 1', ''],
      ['alter database d reset all', ''],
      ['alter system set work_mem = 1', ''],
      ['alter function f() set work_mem = 1', ''],
    ])
  })
})

describe('verdict: what a session keeps', () => {
  it('knows prepared statements', () => {
    check([
      ['prepare a as select 1', 'prepare a{}'],
      ['prepare a(int, text) as insert into t values ($1, $2)', 'prepare a{}'],
      ["prepare a as select set_config('a', 'b', false)", 'prepare a{a=b}'],
      ['prepare a as select pg_advisory_lock($1)', 'prepare a{Locks}'],
      ['execute a', 'execute a'],
      ['execute "A b"(1, 2)', 'execute A b'],
      ['explain execute a', 'Explains execute a'],
      ['explain (analyze, verbose) execute a(1)', 'Explains execute a'],
      ['create table t as execute a', 'Creates execute a'],
      ['create temp table t as execute a(1) with no data', 'Temp Creates execute a'],
      ['explain analyze create table t as execute a', 'Creates Explains execute a'],
      ['deallocate a', 'deallocate a'],
      ['deallocate prepare "ALL"', 'deallocate ALL'],
      ['deallocate all', 'deallocate *'],
      ['deallocate prepare all', 'deallocate *'],
      ['select * from pg_prepared_statements', 'Peeks'],
      ['select * from pg_catalog.pg_prepared_statements', 'Peeks'],
      ['select pg_prepared_statement()', 'Peeks'],
    ])
  })

  it('knows temporary objects', () => {
    check([
      ['create temp table t (i int)', 'Temp Creates'],
      ['create temporary table if not exists t (i int) on commit drop', 'Temp Creates Fleeting'],
      ['create temp table t on commit drop as select 1', 'Temp Creates Fleeting'],
      ['create local temp table t (i int)', 'Temp Creates'],
      ['create global temporary table t (i int)', 'Temp Creates'],
      ['create temp view v as select 1', 'Temp Creates'],
      ['create or replace temp view v as select 1', 'Temp Creates'],
      ['create temp recursive view v (i) as select 1', 'Temp Creates'],
      ['create temp sequence s', 'Temp Creates'],
      ['create temp table t as select 1', 'Temp Creates'],
      ['create temp table t (like u)', 'Temp Creates'],
      ['select 1 into temp t', 'Temp Creates'],
      ['select 1 into local temporary table t', 'Temp Creates'],
      ['select 1 into t', 'Creates'],
      ['select 1 into pg_temp.t', 'Temp Creates'],
      ['create table pg_temp.t (i int)', 'Temp Creates'],
      ['create table "pg_temp".t (i int)', 'Temp Creates'],
      ['create table pg_temp_3.t (i int)', 'Temp Creates'],
      ['create view pg_temp.v as select 1', 'Temp Creates'],
      ['create sequence pg_temp.s', 'Temp Creates'],
      ['create function pg_temp.f() returns int language sql as $$select 1$$', 'Temp Creates'],
      ['create procedure pg_temp.f() language sql as $$select 1$$', 'Temp Creates'],
      ['create aggregate pg_temp.a(int) (sfunc = int4pl, stype = int)', 'Temp Creates'],
      ['create type pg_temp.t as (i int)', 'Temp Creates'],
      ["create type pg_temp.t as enum ('a')", 'Temp Creates'],
      ['create type pg_temp.t as range (subtype = int)', 'Temp Creates'],
      ['create domain pg_temp.d as int', 'Temp Creates'],
      ['create operator pg_temp.@@@ (leftarg = int, rightarg = int, function = int4pl)', 'Temp Creates'],
      ['create table t (i int)', 'Creates'],
      ['create unlogged table t (i int)', 'Creates'],
      ['explain analyze create temp table t as select 1', 'Temp Creates Explains'],
      ['create schema s create temp table t (i int)', 'Temp Creates'],
      ['alter table pg_temp.t add x int', 'Temp'],
      ['drop table pg_temp.t', ''],
      ['select * from pg_temp.t', ''],
      ['insert into pg_temp.t values (1)', ''],
      ['select temp from temp', ''],
      ["select 'create temp table t'", ''],
      ['create table temp (temporary int)', 'Creates'],
      ['discard temp', 'DiscardsTemp'],
      ['discard temporary', 'DiscardsTemp'],
      ['discard plans', 'DiscardsPlans'],
      ['discard sequences', 'DiscardsSequences'],
      ['discard all', 'DiscardsAll DiscardsTemp DiscardsSequences DiscardsPlans'],
    ])
  })

  it('knows advisory locks of sessions', () => {
    check([
      ['select pg_advisory_lock(1)', 'Locks'],
      ["select pg_advisory_lock(hashtext('x'))", 'Locks'],
      ['select pg_advisory_lock(1, 2)', 'Locks'],
      ['select pg_advisory_lock($1)', 'Locks'],
      ['select pg_catalog.pg_advisory_lock(1)', 'Locks'],
      ['select "pg_advisory_lock"(1)', 'Locks'],
      ['select PG_ADVISORY_LOCK(1)', 'Locks'],
      ['select pg_try_advisory_lock(i) from t', 'Locks'],
      ['select pg_advisory_lock_shared(1)', 'Locks'],
      ['select pg_try_advisory_lock_shared(1)', 'Locks'],
      ['select pg_advisory_unlock(i) from t', 'Locks'],
      ['select pg_advisory_unlock_shared(1)', 'Locks'],
      ['select pg_advisory_unlock_all()', 'Locks'],
      ['select * from pg_try_advisory_lock(1) as l(ok)', 'Locks'],
      ['select 1 from t where pg_try_advisory_lock(t.id) limit 1', 'Locks'],
      ['select (1::bigint).pg_advisory_lock', 'Locks'],
      ['select t.pg_advisory_lock from t', 'Locks'],
      ['select pg_advisory_xact_lock(1)', 'Effects'],
      ['select pg_try_advisory_xact_lock_shared(1)', 'Effects'],
      ["select 'pg_advisory_lock(1)'", ''],
      ['select pg_advisory_lock from t', ''],
    ])
  })

  it('knows cursors, channels, sequences and other state', () => {
    check([
      ['declare c cursor with hold for select 1', 'Holds'],
      ['declare c binary insensitive no scroll cursor with hold for select 1', 'Holds'],
      ['declare c cursor without hold for select 1', ''],
      ['declare c cursor for select hold from t', ''],
      ['explain declare c cursor with hold for select 1', 'Holds Explains'],
      ['close c', ''],
      ['select * from pg_cursors', 'Peeks'],
      ['listen a', 'Listens listen a'],
      ['listen "A b"', 'Listens listen A b'],
      ['unlisten a', 'Listens unlisten a'],
      ['unlisten *', 'Listens unlisten *'],
      ['notify a', 'Notifies'],
      ["notify a, 'payload'", 'Notifies'],
      ["select pg_notify('a', 'b')", 'Notifies'],
      ['select pg_listening_channels()', 'Peeks'],
      ["select nextval('s')", 'WritesSequence'],
      ["select setval('s', 1)", 'WritesSequence'],
      ["select currval('s')", 'ReadsSequence'],
      ['select lastval()', 'ReadsSequence'],
      ["insert into t values (nextval('s')) returning currval('s')", 'WritesSequence ReadsSequence'],
      ['select setseed(0.5)', 'Backend'],
      ["load 'auto_explain'", 'Loads'],
      ["select dblink_connect('x', '')", 'Backend'],
      ['do $$ begin set x.y = 1; end $$', 'Runs'],
      ['do language plpgsql $$ begin end $$', 'Runs'],
      ['call p()', 'Runs'],
      ["select query_to_xml('select set_config(''a'', ''b'', false)', true, true, '')", 'Runs'],
      ["select * from ts_stat('select 1')", 'Runs'],
      ['show all', 'Shows'],
      ["select current_setting('a.b', true)", 'Shows'],
      ['lock table t', ''],
      ['copy t from stdin', 'Copies'],
    ])
  })
})

describe('verdict: transactions and texts', () => {
  it('knows what begins and ends', () => {
    check([
      ['begin', 'Begins'],
      ['start transaction read only', 'Begins'],
      ['commit and chain', 'Ends'],
      ['end', 'Ends'],
      ['abort', 'Ends'],
      ['rollback', 'Ends'],
      ['savepoint a', 'Savepoint'],
      ['release a', 'Savepoint'],
      ['rollback to a', 'Savepoint'],
      ["prepare transaction 'x'", 'Ends'],
      ["commit prepared 'x'", ''],
      ["rollback prepared 'x'", ''],
    ])
  })

  it('reads every statement of a text', () => {
    check([
      ['select 1; set a.b = 1', '', 'a.b=1'],
      [`/* ${'long '.repeat(1_000)} */ set a.b = 1; -- x\n listen c;`, 'a.b=1', 'Listens listen c'],
      ["select 'x; set a.b = 1'; set a.b = 2", '', 'a.b=2'],
      ['select 1 ; ; set local role x ; select 2', '', 'role=x:local', ''],
      ['begin; set local a.b = 1; commit', 'Begins', 'a.b=1:local', 'Ends'],
      [' ; ;'],
      ['select 1; selec 2', '!'],
      ['select (', '!'],
      ["select '", '!'],
      ['/* x', '!'],
    ])
  })
})

describe('verdict: names', () => {
  const names = (text: string) => {
    const [statement] = judge(grammar, text) ?? assert.fail(text)
    const full = (list: readonly { schema: string | null; name: string }[]) =>
      list.map(({ schema, name }) => (schema === null ? name : `${schema}.${name}`)).join(' ')
    const { functions, relations, operators, types, attributes } = statement
    return [full(functions), full(relations), full(operators), full(types), attributes.join(' ')].join('; ')
  }

  it('lists functions, tables, operators, types and what may be a function in disguise', () => {
    const cases: readonly (readonly [text: string, want: string])[] = [
      ['select a.f(b) from c.d', 'a.f; c.d; ; ; '],
      ['select db.a.f(b) from db.c.d', 'a.f; c.d; ; ; '],
      ['select w.sidef, (w).other, (f(1)).x.y from w', 'f; w; ; ; sidef other x y'],
      ['select s.w.g from s.w', '; s.w; ; ; g'],
      ['select a @@ b, c operator(x.+) d, a between b and c', '; ; @@ x.+ >= <=; ; '],
      ['select 1 = any (select 2), a like b order by a using >', '; ; ~~ = >; ; '],
      ['select 1::x.y, cast(a as z[])', '; ; ; x.y z; '],
      ['select * from t tablesample my_method(1)', 'my_method; t; ; ; '],
      ['select * from a union select * from b except table c', '; a b c; ; ; '],
      ['with a as (select 1) select * from a, b', '; b; ; ; '],
      ['with a as (select * from a) select * from a', '; a; ; ; '],
      ['with recursive a as (select * from a) select * from a', '; ; ; ; '],
      ['with a as (select 1), b as (select * from a, c) select * from b, s.a', '; s.a c; ; ; '],
      ['with a as (select 1) insert into a select * from a', '; a; ; ; '],
      ['select * from (with a as (select 1) select * from a) x, a', '; a; ; ; '],
      ['with a as (insert into b select f() returning *) delete from c using a', 'f; c b; ; ; '],
    ]
    for (const [text, want] of cases) {
      const sort = (line: string) => line.split('; ').map((part) => part.split(' ').sort().join(' '))
      assert.deepEqual(sort(names(text)), sort(want), text)
    }
  })

  it('knows a plain query', () => {
    const writes = (text: string) => ((judge(grammar, text)?.[0]?.acts ?? 0) & Act.Writes) !== 0
    for (const text of ['select f()', 'values (1)', 'table t', 'with a as (select 1) table a', 'show x']) {
      assert.ok(!writes(text), text)
    }
    for (const text of [
      'select 1 for update',
      'select * from (select * from t for key share) x',
      'select 1 into t',
      'with a as (delete from t returning *) select * from a',
      'insert into t default values',
      'create table t ()',
      'begin',
      'set a.b = 1',
      'vacuum',
      'notify a',
    ]) {
      assert.ok(writes(text), text)
    }
  })
})
