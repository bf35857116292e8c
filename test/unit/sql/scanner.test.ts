// The scanner against Postgres' lexer: what is a statement, what is only text.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ANY } from '../../../src/sql/lexer.ts'
import { Fact, leadingWord, PLAIN, scanFacts } from '../../../src/sql/scanner.ts'

const ESCAPING = { flags: ANY, marked: null }
/** The facts about structure. */
const STRUCTURE = 127

function facts(text: string | Buffer, standard = true): string {
  const bytes = Buffer.from(text as string)
  const found = scanFacts(bytes, 0, bytes.length, standard ? PLAIN : ESCAPING) & STRUCTURE
  return Object.keys(Fact)
    .filter((name) => found & Fact[name as keyof typeof Fact])
    .join(' ')
}

/** Each text, and what it must say. */
function check(cases: readonly (readonly [text: string, want: string, standard?: boolean])[]): void {
  for (const [text, want, standard] of cases) assert.equal(facts(text, standard), want, text)
}

describe('scanFacts: first words', () => {
  it('knows those that begin and end transactions', () => {
    check([
      ['begin', 'Begins'],
      ['BeGiN work', 'Begins'],
      ['start transaction', 'Begins'],
      ['commit', 'Ends'],
      ['end', 'Ends'],
      ['abort', 'Ends'],
      ['rollback', 'Ends'],
      ['rollback work', 'Ends'],
      ['rollback transaction and chain', 'Ends'],
      ['rollback prepared $$x$$', 'Ends'],
      ['commit;', 'Ends'],
      ["prepare transaction 'x'", 'Ends'],
      ['prepare transaction', 'Ends'],
      ['-- x\n /* y */ rollback /* z */ ; ', 'Ends'],
      ['beginning', ''],
      ['begin_x', ''],
      ['"begin"', ''],
      ['commit$', ''],
      ['commité', ''],
      ['select begin, commit from rollback', ''],
      ['(rollback)', ''],
      ['1 rollback', ''],
    ])
  })

  it('knows that a savepoint is no end', () => {
    check([
      ['savepoint a', ''],
      ['release a', ''],
      ['rollback to a', ''],
      ['rollback work to savepoint a', ''],
      ['rollback/**/transaction--\nto a', ''],
      ['rollback to a; rollback', 'Ends Several'],
      ['rollback; to', 'Ends Several'],
    ])
  })

  it('knows LISTEN and PREPARE', () => {
    check([
      ['listen a', 'Listens'],
      ['unlisten a', ''],
      ['select 1; listen b', 'Several Listens'],
      ['prepare a as select 1', 'Prepares'],
      ['prepare "transaction" as select 1', 'Prepares'],
      ['prepare transaction as select 1', 'Prepares'],
      ['prepare transaction (int) as select 1', 'Prepares'],
      ['prepare', ''],
    ])
  })

  it('counts statements', () => {
    check([
      ['', 'Empty'],
      [' \t\r\n\f\v;;; -- x', 'Empty'],
      ['/* a; */ ;', 'Empty'],
      ['select 1', ''],
      ['select 1;;', ''],
      [';select 1;', ''],
      ['select 1;select 2', 'Several'],
      ['select 1; -- x\n', ''],
      ['begin; select 1; commit', 'Begins Ends Several'],
      ["select 1; 'x'", 'Several'],
    ])
  })
})

describe('scanFacts: what only looks like statements', () => {
  it('passes over comments', () => {
    check([
      ['select 1 -- ; commit', ''],
      ['select 1 -- x\n; commit', 'Ends Several'],
      ['select 1 -- x\r; commit', 'Ends Several'],
      ['/* ; /* ; */ commit; */ select 1', ''],
      ['/*/ commit */ select 1', ''],
      ['/***/ commit', 'Ends'],
      ['select 1 */* ; commit; */ 2', ''],
      ['select 1 - -1; commit', 'Ends Several'],
      ['select 1 +-- x; commit', ''],
      ['select 4 / 2', ''],
      ['/* x', 'Unclear'],
      ['/* /* x */', 'Unclear'],
      ['/*/', 'Unclear'],
    ])
  })

  it('passes over strings of all kinds', () => {
    check([
      ["select ';commit'", ''],
      ["select 'it''s; commit'", ''],
      ["select '\\'; commit", 'Ends Several'],
      ["select '\\'; commit --'", '', false],
      ["select E'\\'; commit --'", ''],
      ["select e'\\\\'; commit", 'Ends Several'],
      ["select name'\\'; commit", 'Ends Several'],
      ["select b'01'; commit", 'Ends Several'],
      ["select X'\\'; commit", 'Ends Several', false],
      ["select n'\\'; commit", 'Ends Several'],
      ["select n'\\'; commit --'", '', false],
      ["select U&'\\'; commit", 'Ends Several'],
      ["select U&'x'; commit", 'Unclear', false],
      ["select u & 'x'", '', false],
      ["select 'x", 'Unclear'],
      ["select E'x\\", 'Unclear'],
      ["select E'x\\'", 'Unclear'],
      ["select 'x''", 'Unclear'],
      ["select 'x'''", ''],
    ])
  })

  it('follows a string into its next line', () => {
    check([
      ["select E'a'\n'\\'; commit --'", ''],
      ["select E'a' -- x\n \t-- y\n '\\'; commit --'", ''],
      ["select E'a' '\\'; commit", 'Ends Several'],
      ["select E'a' /* x */\n '\\'; commit", 'Ends Several'],
      ["select E'a'\n-- ' \n, '\\'; commit", 'Ends Several'],
      ["select x'a'\n'\\'; commit", 'Ends Several', false],
    ])
  })

  it('passes over quoted identifiers and dollar quotes', () => {
    check([
      ['select "a;""; commit" from t', ''],
      ['select U&"a\\";commit', 'Ends Several'],
      ['select "x', 'Unclear'],
      ['select $$; commit; $$', ''],
      ['select $a$; $$ $b$ $ab$ $a$; commit', 'Ends Several'],
      ['select $a$ $a$a$; commit; $a$', 'Ends Several Unclear'],
      ['select $a$ $$a$', ''],
      ['select $é_1$;$é_1$', ''],
      ['select a$b$; commit; $b$', 'Ends Several Unclear'],
      ['select $1; commit', 'Ends Several'],
      ['select $1$x$; commit $x$', ''],
      ['select $', ''],
      ['select $a', ''],
      ['select $$ x', 'Unclear'],
      ['select $a$ x $A$', 'Unclear'],
      ['select $a$ x $a', 'Unclear'],
    ])
  })

  it('says Unclear where an encoding could hide the end of a string', () => {
    // In SJIS the two bytes before the quote are one char.
    const sjis = Buffer.from([...Buffer.from("select E'"), 0x83, 0x5c, ...Buffer.from("'; commit; --'")])
    assert.equal(facts(sjis), 'Unclear')
    assert.equal(facts("select E'é\\n'"), 'Unclear')
    assert.equal(facts("select E'\\né'"), '')
    assert.equal(facts("select 'é\\'"), '')
  })

  it('says Unclear at a zero byte and at wrong parentheses', () => {
    check([
      ['select \0', 'Unclear'],
      ['select (1', 'Unclear'],
      ['select 1)', 'Unclear'],
      ['select (1; select 2)', 'Unclear'],
      ['select 1); commit (', 'Unclear'],
    ])
  })
})

describe('scanFacts: semicolons inside a statement', () => {
  it('knows rules with several actions', () => {
    check([
      ['create rule r as on insert to t do also (select 1; delete from u); commit', 'Ends Several'],
      ['create or replace rule r as on insert to t do (a; b)', ''],
      ['create table r (a; b)', 'Unclear'],
      ['create rule r as on insert to t do (a; (b; c))', 'Unclear'],
    ])
  })

  const body = 'begin atomic select 1; select case when true then 1 end; select 2 as end; end'

  it('knows the bodies of SQL functions', () => {
    check([
      [`create function f() returns int ${body}`, ''],
      [`create or replace procedure f(a int default 1) ${body};`, ''],
      [`create function f() ${body}; commit`, 'Ends Several'],
      ['create function f() begin/**/atomic; ; end; select 1', 'Several'],
      ['create function f() begin atomic end; commit', 'Ends Several'],
      ['create function f() begin atomic select 1;', 'Unclear'],
      ['create function f() begin atomic select 1; commit; end', 'Unclear'],
      ['create function f() begin atomic select (1; 2); end', 'Unclear'],
      ['create function f() set search_path to begin; commit', 'Ends Several'],
      ['create function f() begin; atomic select 1; commit', 'Ends Several'],
      ['create function f() as $$ begin atomic; $$; commit', 'Ends Several'],
    ])
  })

  it('finds no body where there is none', () => {
    check([
      ['create view v as select begin atomic from t; commit; end', 'Ends Several'],
      ['create function f(begin atomic); commit', 'Ends Several'],
      ['begin atomic; commit; end', 'Begins Ends Several'],
      ['create or function f() begin atomic; commit; end', 'Ends Several'],
    ])
  })
})

describe('scanFacts: any text', () => {
  const sql = fc.string({
    unit: fc.constantFrom(
      ...["'", "''", "E'", '"', '\\', '$', '$a$', '--', '\n', '/*', '*/', ';', '(', ')', ' ', 'é', '\0', '1'],
      ...[
        'begin ',
        'commit ',
        'create ',
        'function ',
        'atomic ',
        'end ',
        'prepare ',
        'transaction ',
        'rollback ',
      ],
    ),
    maxLength: 40,
  })
  const inert = (text: string) => facts(text) === ''

  it('gives a result and looks at nothing outside of its range', () => {
    fc.assert(
      fc.property(sql, sql, sql, fc.boolean(), (before, text, behind, standard) => {
        const [a, b, c] = [Buffer.from(before), Buffer.from(text), Buffer.from(behind)]
        const whole = Buffer.concat([a, b, c])
        const reading = standard ? PLAIN : ESCAPING
        const found = scanFacts(whole, a.length, a.length + b.length, reading)
        assert.equal(found, scanFacts(b, 0, b.length, reading))
        assert.ok(found >= 0 && found < 1 << 26)
        leadingWord(b, 0, b.length)
      }),
      { numRuns: 2_000 },
    )
    fc.assert(fc.property(fc.uint8Array(), (bytes) => scanFacts(Buffer.from(bytes), 0, bytes.length) >= 0))
  })

  it('sees nothing of a text that is quoted or commented out', () => {
    fc.assert(
      fc.property(sql, (text) => {
        const doubled = text.replaceAll("'", "''")
        assert.ok(inert(`select '${doubled}'`))
        assert.ok(inert(`select U&'${doubled}'`))
        assert.ok(inert(`select "${text.replaceAll('"', '""')}"`))
        assert.ok(inert(`select $outer$${text}$outer$`))
        assert.ok(inert(`select 1 -- ${text.replaceAll('\n', ' ')}`))
        const escaped = text.replaceAll('é', '').replaceAll('\\', '\\\\')
        assert.ok(inert(`select E'${escaped.replaceAll("'", "\\'")}'`))
        assert.equal(facts(`select '${escaped.replaceAll("'", "''")}'`, false), '')
        const comment = text.replaceAll('*', '').replaceAll('/', '')
        assert.ok(inert(`select /* ${comment} /* ${comment} */ ; */ 1`))
      }),
      { numRuns: 2_000 },
    )
  })

  it('sees the statement behind a text that it could follow', () => {
    fc.assert(
      fc.property(sql, (text) => {
        const alone = facts(text)
        const both = facts(`${text}\n; commit`)
        assert.ok(/Unclear/.test(both) || (/Ends/.test(both) && (alone === 'Empty' || /Several/.test(both))))
      }),
      { numRuns: 2_000 },
    )
  })

  it('takes time in proportion to the length', () => {
    // One step too many per byte would be minutes here, not milliseconds.
    const size = 1 << 20
    for (const part of ['$a', '$aaaaaaa$ ', "'a' -- \n", '/*', '-', "E'\\''", '(', 'x', "''\n", '$$$', '"']) {
      const bytes = Buffer.from(part.repeat(size / part.length))
      const long = Buffer.concat([
        Buffer.from(`$${'a'.repeat(size / 2)}$`),
        Buffer.from('$aaa'.repeat(size / 8)),
      ])
      const began = process.hrtime.bigint()
      scanFacts(bytes, 0, bytes.length)
      scanFacts(long, 0, long.length)
      const took = Number(process.hrtime.bigint() - began) / 1e6
      assert.ok(took < 2_000, `${part}: ${took} ms`)
    }
  })
})

describe('leadingWord', () => {
  const word = (text: string) => leadingWord(Buffer.from(text), 0, Buffer.byteLength(text))

  it('is the first word in lower case', () => {
    assert.equal(word(' -- x\n/* y */ ;((SELECT 1'), 'select')
    assert.equal(word('Vacuum'), 'vacuum')
  })

  it('is empty where a text begins otherwise', () => {
    for (const text of ['', ' ', "'select'", '"select"', '$1', '/* x', '-1', '1'])
      assert.equal(word(text), '')
  })
})
