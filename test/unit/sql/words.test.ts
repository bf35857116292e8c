// The words that the scanner reports: each where it could matter, none that is only text; in every encoding
// that a client may speak.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ANY, DOUBLE, FOUR, SAFE, SHIFTED, STANDARD, THREE, UTF8 } from '../../../src/sql/lexer.ts'
import { Fact, scanFacts, statementEnd } from '../../../src/sql/scanner.ts'
import { readingFlags } from '../../../src/sql/transcode.ts'
import { WordTable } from '../../../src/sql/words.ts'

const STRUCTURE = 127

function facts(text: string | Buffer, flags = STANDARD | UTF8, marked: WordTable | null = null): string {
  const bytes = Buffer.from(text as string)
  const found = scanFacts(bytes, 0, bytes.length, { flags, marked })
  return Object.entries(Fact)
    .filter(([, bit]) => (found & bit) !== 0)
    .map(([name]) => name)
    .join(' ')
}

/** Words only: what is a statement has its own tests. */
function check(cases: readonly (readonly [text: string, want: string])[]): void {
  for (const [text, want] of cases) {
    const bytes = Buffer.from(text)
    const found = scanFacts(bytes, 0, bytes.length, { flags: STANDARD | UTF8, marked: null })
    const words = Object.entries(Fact).filter(([, bit]) => (found & bit & ~STRUCTURE) !== 0)
    assert.equal(words.map(([name]) => name).join(' '), want, text)
  }
}

describe('words: first ones', () => {
  it('matter where a statement begins', () => {
    check([
      ['set a = 1', 'Settings Acts'],
      ['RESET ALL', 'Settings Acts'],
      ['discard all', 'Discards Acts'],
      ['deallocate a', 'Executes Acts'],
      ['unlisten *', 'Channels Acts'],
      ['notify a', 'Channels Acts'],
      ["load 'x'", 'Backend Acts'],
      ['do $$ $$', 'Runs Acts'],
      ['call p()', 'Runs Acts'],
      ['show all', 'Shows Acts'],
      ['copy t to stdout', 'Copies Acts'],
      ['explain select 1', 'Explains Acts'],
      ['create table t ()', 'Creates Acts'],
      ['import foreign schema s from server x into y', 'Creates Acts'],
      ['/* x */ -- y\n set a = 1', 'Settings Acts'],
      ['select 1; set a = 1', 'Settings Acts'],
      ['select 1;;reset a', 'Settings Acts'],
    ])
  })

  it('do not matter elsewhere', () => {
    check([
      ['update t set a = 1', 'Acts'],
      ['insert into t select 1 on conflict do update set a = 1', 'Acts'],
      ['select load, notify, show, copy, discard from call', ''],
      ['alter table t reset (fillfactor)', 'Acts'],
      ['setting a = 1', 'Acts'],
      ['set_ a = 1', 'Acts'],
      ['"set" a = 1', 'Acts'],
      ['(set a = 1)', ''],
    ])
  })

  it('tell queries from what acts', () => {
    check([
      ['select 1', ''],
      ['(select 1) union (select 2)', ''],
      ['values (1)', ''],
      ['table t', ''],
      ['with a as (select 1) select * from a', ''],
      ['insert into t values (1)', 'Acts'],
      ['begin', 'Acts'],
      ['select 1; begin', 'Acts'],
      ['1', 'Acts'],
      ['', ''],
      [' ; -- x', ''],
    ])
  })
})

describe('words: anywhere', () => {
  it('are seen in any case and schema, quoted or not', () => {
    check([
      ["select set_config('a', 'b', false)", 'Settings'],
      ["select pg_catalog . Set_Config('a', 'b', false)", 'Settings'],
      ["select/**/\"set_config\"/**/('a', 'b', false)", 'Settings'],
      ['select pg_advisory_lock(1)', 'Locks'],
      ['select PG_TRY_ADVISORY_LOCK_SHARED(1)', 'Locks'],
      ['select pg_advisory_unlock_all()', 'Locks'],
      ['select pg_advisory_xact_lock(1)', 'Effects'],
      ["select nextval('s'), currval('s')", 'Sequences'],
      ['select setseed(0)', 'Backend'],
      ["select pg_notify('a', 'b')", 'Channels'],
      ['explain execute a', 'Executes Explains Acts'],
      ['create table t as execute a', 'Executes Creates Acts'],
      ['declare c cursor with hold for select 1', 'Holds Acts'],
      ['select query_to_xml($1, true, true, $2)', 'Runs'],
      ['select * from pg_prepared_statements', 'Peeks Names'],
      ['select current_setting($1)', 'Shows'],
      ['select lo_create(0)', 'Effects'],
    ])
  })

  it('of temporary objects', () => {
    check([
      ['create temp table t ()', 'Temp Creates Acts'],
      ['create or replace TEMPORARY view v as select 1', 'Temp Creates Acts'],
      ['select 1 into temp t', 'Temp Creates'],
      ['select 1 into t', 'Creates'],
      ['insert into t select 1', 'Acts'],
      ['merge into t using s on true when matched then delete', 'Acts'],
      ['with a as (insert into t values (1) returning *) select * into u from a', 'Creates'],
      ['table pg_temp.t', 'Temp'],
      ['table "pg_temp".t', 'Temp'],
      ['table PG_TEMP_12.t', 'Temp'],
      ['table pg_toast_temp_1.t', 'Temp'],
      ['table pg_tem.t', ''],
      ['table temperature', ''],
      ['table pg_settings', 'Settings Shows'],
    ])
  })

  it('are not seen in what is only text', () => {
    check([
      ["select 'set_config'", ''],
      ["select E'\\'set_config'", ''],
      ['select $$set_config$$, $a$ pg_temp $a$', ''],
      ['-- set_config\nselect 1 /* pg_temp /* temp */ hold */', ''],
      ['select set_config2, my_set_config, set_configé', ''],
      ['select "set_config""", "a set_config"', ''],
      ['select $1set_config', 'Settings'],
      ['select 1set_config', 'Settings'],
    ])
  })

  it('say so where a name cannot be read', () => {
    check([
      ["select U&\"set\\005fconfig\"('a', 'b', false)", 'Odd'],
      ['select u&"d!0061ta" uescape \'!\'', 'Odd'],
      ["select U&'set_config'", ''],
      ['select u & "a"', ''],
      ['select u&a', ''],
    ])
  })
})

describe('words: of a database', () => {
  const marked = new WordTable([
    ['my_function', Fact.Marked],
    ['Quoted Name', Fact.Marked],
    ['f', Fact.Marked],
    ['n'.repeat(63), Fact.Marked],
  ])
  const isMarked = (text: string, table = marked) => /Marked/.test(facts(text, STANDARD | UTF8, table))

  it('are found however they are written', () => {
    for (const text of [
      'select my_function()',
      'select s.MY_FUNCTION(1)',
      'select "my_function"()',
      'select t.my_function from t',
      'select * from "Quoted Name"',
      'select f(1)',
      'select f from t',
      `select ${'n'.repeat(63)}()`,
      `select ${'n'.repeat(70)}()`,
    ]) {
      assert.ok(isMarked(text), text)
    }
    for (const text of [
      "select 'my_function'",
      'select my_function2()',
      'select g(1)',
      `select ${'n'.repeat(62)}`,
    ]) {
      assert.ok(!isMarked(text), text)
    }
  })

  it('are too many rather than too few where a name cannot be compared', () => {
    for (const name of ['größe', 'a"b']) {
      const table = new WordTable([
        [name, Fact.Marked],
        ['plain', Fact.Marked],
      ])
      assert.ok(isMarked('select größe()', table) || name !== 'größe')
      assert.ok(isMarked('select "a""b"()', table))
      assert.ok(isMarked('select plain()', table))
      assert.ok(!isMarked('select other()', table))
    }
    assert.ok(!isMarked('select größe()'))
  })

  it('find exactly what was put in', () => {
    const name = fc.string({ unit: fc.constantFrom(...'abcABC_1é'), minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(fc.uniqueArray(name), name, (names, asked) => {
        const table = new WordTable(names.map((entry) => [entry, 1]))
        const bytes = Buffer.from(asked)
        const found = table.find(bytes, 0, bytes.length) !== 0
        const isIn = names.some((entry) => entry.toLowerCase() === asked.toLowerCase())
        const isOdd = asked.includes('é') && names.some((entry) => entry.includes('é'))
        assert.equal(found, isIn || isOdd)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('words: encodings', () => {
  /** In two bytes, of which the second is this. */
  const char = (second: string | number) =>
    Buffer.from([0x95, typeof second === 'string' ? second.charCodeAt(0) : second])
  const join = (...parts: (string | Buffer)[]) =>
    Buffer.concat(parts.map((part) => Buffer.from(part as string)))
  const escapes = join("select E'", char('\\'), "'; commit; --'")

  it('a backslash that is half a char escapes nothing', () => {
    for (const flags of [DOUBLE, SHIFTED, THREE]) {
      assert.equal(facts(escapes, STANDARD | flags), 'Ends Several Acts')
      // With standard_conforming_strings off plain strings are the same.
      assert.equal(facts(join("select '", char('\\'), "'; commit; --'"), flags), 'Ends Several Acts')
    }
    assert.equal(facts(escapes, STANDARD | ANY), 'Unclear')
    // Where it is no half of a char it does escape.
    assert.equal(facts(escapes, STANDARD | SAFE), '')
    assert.equal(facts(escapes, STANDARD | UTF8), '')
    assert.equal(facts("select E'é\\'; commit --'", STANDARD | UTF8), '')
  })

  it('knows how long chars are', () => {
    const text = (bytes: number[]) => join("select E'", Buffer.from(bytes), "'; commit; --'")
    // Half-width katakana is one byte in SJIS; then the backslash is one.
    assert.equal(facts(text([0xb1, 0x5c]), STANDARD | SHIFTED), '')
    assert.equal(facts(text([0xe0, 0x5c]), STANDARD | SHIFTED), 'Ends Several Acts')
    assert.equal(facts(text([0x81, 0x30, 0x81, 0x30]), STANDARD | FOUR), 'Ends Several Acts')
    assert.equal(facts(text([0x81, 0x5c]), STANDARD | FOUR), 'Ends Several Acts')
    assert.equal(facts(text([0x81, 0x30, 0x81, 0x30, 0x5c]), STANDARD | FOUR), '')
    assert.equal(facts(text([0x8f, 0xa1, 0x5c]), STANDARD | THREE), 'Ends Several Acts')
    assert.equal(facts(text([0x95]), STANDARD | DOUBLE), 'Unclear')
  })

  it('a word goes on behind half a char that looks like an operator', () => {
    // One identifier: a, the char, $x$. Not a dollar quote.
    const word = join('select a', char('\\'), "$x$, '; commit; --$x$'")
    for (const flags of [DOUBLE, SHIFTED, FOUR, THREE]) assert.equal(facts(word, STANDARD | flags), '')
    assert.equal(facts(word, STANDARD | ANY), 'Unclear')
    const tag = join('select $', char('|'), "$ ' $", char('|'), "$; commit; select '")
    for (const flags of [DOUBLE, SHIFTED, FOUR, THREE]) {
      assert.match(facts(tag, STANDARD | flags), /Ends/)
    }
    assert.equal(facts(tag, STANDARD | ANY), 'Unclear')
  })

  it('no letter of a char is part of a word that matters', () => {
    const glued = join('select ', char('p'), 'g_temp.t, set_confi', char('g'))
    assert.equal(facts(glued, STANDARD | DOUBLE), '')
    assert.equal(
      facts(join('select ', char('['), " set_config('a', 'b', false)"), STANDARD | SHIFTED),
      'Settings',
    )
  })

  it('are told by their names', () => {
    const cases: readonly (readonly [name: string, flags: number])[] = [
      ['UTF8', UTF8],
      ['LATIN1', SAFE],
      ['EUC_JP', SAFE],
      ['SQL_ASCII', SAFE],
      ['SJIS', SHIFTED],
      ['SHIFT_JIS_2004', SHIFTED],
      ['BIG5', DOUBLE],
      ['GBK', DOUBLE],
      ['UHC', DOUBLE],
      ['GB18030', FOUR],
      ['johab', THREE],
      ['', ANY],
    ]
    for (const [name, flags] of cases) {
      assert.equal(readingFlags(name, true), STANDARD | flags, name)
      assert.equal(readingFlags(name, false), flags, name)
    }
  })
})

describe('statementEnd', () => {
  function ends(text: string): number[] {
    const bytes = Buffer.from(text)
    const found: number[] = []
    for (let at = 0; at < bytes.length; ) {
      const end = statementEnd(bytes, at, bytes.length)
      if (end < 0) return [...found, end]
      found.push(end)
      at = end
    }
    return found
  }

  it('is behind each semicolon between statements', () => {
    assert.deepEqual(ends(''), [])
    assert.deepEqual(ends('select 1'), [8])
    assert.deepEqual(ends('select 1;'), [9])
    assert.deepEqual(ends(';;a;'), [1, 2, 4])
    assert.deepEqual(ends("select ';' /* ; */ -- ;\n; x"), [25, 27])
    assert.deepEqual(ends('create rule r as on insert to t do (a; b); x'), [42, 44])
    assert.deepEqual(ends('create function f() begin atomic a; b; end; x'), [43, 45])
    assert.deepEqual(ends("x; '"), [2, -1])
  })

  it('does not move when comments are put between tokens', () => {
    const token = fc.constantFrom(
      ...['select', 'a', '1', ',', "'x;'", '"y;"', '$$;$$', ';', '(1)', '::', 'set', 'temp'],
    )
    const comment = fc.constantFrom(' ', '/* ; */', '-- ;\n', '\n', '/* /* ; */ */', ' -- ; "\' $$\n')
    fc.assert(
      fc.property(fc.array(fc.tuple(token, comment)), (parts) => {
        const plain = parts.map(([text]) => text).join(' ')
        const commented = parts.map(([text, remark]) => ` ${text} ${remark}`).join('')
        assert.equal(facts(plain), facts(commented))
        assert.equal(ends(`${plain} ;`).length, ends(`${commented} ;`).length)
      }),
      { numRuns: 2_000 },
    )
  })

  it('ends all of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat({ max: 13 }), (array, flags) => {
        const bytes = Buffer.from(array)
        for (let at = 0, steps = 0; at < bytes.length; steps++) {
          const end = statementEnd(bytes, at, bytes.length, { flags, marked: null })
          if (end < 0) return
          assert.ok(end > at && end <= bytes.length && steps <= bytes.length)
          at = end
        }
      }),
      { numRuns: 5_000 },
    )
  })
})
