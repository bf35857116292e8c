// The book of facts: what it remembers, what it costs, when it asks the grammar; and the grammar's instance.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FactBook, type Known } from '../../../src/sql/fact-book.ts'
import { DOUBLE, SAFE, SHIFTED, STANDARD, UTF8 } from '../../../src/sql/lexer.ts'
import { Fact, type Reading, scanFacts } from '../../../src/sql/scanner.ts'
import { transcode, transcodedMax } from '../../../src/sql/transcode.ts'
import { WordTable } from '../../../src/sql/words.ts'
import { brief, judge, openGrammar } from '../../support/grammar.ts'
import { eventually } from '../../support/rig.ts'

const UNICODE: Reading = { flags: STANDARD | UTF8, marked: null }
const grammar = await openGrammar()

function open(bytesMax = 1 << 20, grammarMax?: number): FactBook {
  return new FactBook(grammar, grammarMax === undefined ? { bytesMax } : { bytesMax, grammarMax })
}

function look(book: FactBook, text: string | Buffer, reading = UNICODE): Known {
  const bytes = Buffer.from(text as string)
  return book.look(bytes, 0, bytes.length, reading)
}

describe('FactBook', () => {
  it('knows a text again by its bytes', () => {
    const book = open()
    const first = look(book, 'select 1')
    assert.equal(look(book, 'select 1'), first)
    const wide = Buffer.from('xxselect 1yy')
    assert.equal(book.look(wide, 2, 10, UNICODE), first)
    assert.notEqual(look(book, 'select 2'), first)
    assert.equal(book.size, 2)
    const long = `select '${'x'.repeat(5_000)}'`
    assert.equal(look(book, long), look(book, long))
    const middle = long.replace('xxxx', 'xxxy')
    assert.notEqual(look(book, long), look(book, middle.split('').reverse().join('')))
  })

  it('copies what it keeps', () => {
    const book = open()
    const bytes = Buffer.from('select 1')
    const known = book.look(bytes, 0, 8, UNICODE)
    bytes.write('listen a')
    assert.equal(book.look(bytes, 0, 8, UNICODE).facts, Fact.Listens | Fact.Acts)
    assert.equal(look(book, 'select 1'), known)
  })

  it('tells texts apart that are read in different ways', () => {
    const book = open()
    const text = "select '\\'; commit; --'"
    const off = { flags: UTF8, marked: null }
    assert.equal(look(book, text).facts & Fact.Ends, Fact.Ends)
    assert.equal(look(book, text, off).facts & Fact.Ends, 0)
    assert.equal(look(book, text).facts & Fact.Ends, Fact.Ends)
  })

  it('looks again when the names of the database have changed, and keeps the verdict', () => {
    const book = open()
    const known = look(book, 'select my_f()')
    const verdict = book.judge(known)
    const marked = new WordTable([['my_f', Fact.Marked]])
    const again = look(book, 'select my_f()', { ...UNICODE, marked })
    assert.equal(again.facts, Fact.Marked)
    assert.equal(book.judge(again), verdict)
    assert.equal(look(book, 'select my_f()').facts, 0)
  })

  it('stays within its budget, whatever it is asked', () => {
    const book = open(100_000)
    for (let i = 0; i < 3_000; i++) {
      const known = look(book, `set a.b = ${i}`)
      if (i % 3 === 0) book.judge(known)
      assert.ok(book.bytes <= 100_000)
    }
    assert.ok(book.size > 100 && book.size < 500)
    look(book, `select '${'x'.repeat(50_000)}'`)
    assert.ok(book.bytes <= 100_000 && book.size > 100, 'one text does not push out all others')
  })

  it('forgets the text longest unused first', () => {
    const book = open(20_000)
    const often = look(book, 'select often')
    const once = look(book, 'select once')
    for (let i = 0; i < 500; i++) {
      look(book, `select ${i}`)
      assert.equal(look(book, 'select often'), often)
    }
    assert.notEqual(look(book, 'select once'), once)
  })

  it('gives what the scanner gives, for any texts in any order', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', ';', "'"), maxLength: 4 })
    fc.assert(
      fc.property(fc.array(text, { maxLength: 60 }), (texts) => {
        const book = open(6_000)
        for (const one of texts) {
          const bytes = Buffer.from(one)
          assert.equal(look(book, one).facts, scanFacts(bytes, 0, bytes.length, UNICODE))
          assert.ok(book.bytes <= 6_000 && book.size <= 24)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('FactBook and the grammar', () => {
  const briefs = (book: FactBook, text: string) => book.judge(look(book, text))?.map(brief) ?? null

  it('needs it only where a word occurs that matters', () => {
    const book = open()
    for (const text of ['select 1', 'begin', 'update t set a = 1', 'create table t ()', 'copy t to stdout']) {
      assert.ok(!look(book, text).needsGrammar, text)
    }
    for (const text of [
      'set a.b = 1',
      'select set_config($1, $2, $3)',
      'create temp table t ()',
      "select '",
      'listen a',
    ]) {
      assert.ok(look(book, text).needsGrammar, text)
    }
    const known = look(book, 'set a.b = 1')
    assert.equal(known.verdict, undefined)
    assert.deepEqual(book.judge(known)?.map(brief), ['a.b=1'])
    assert.ok(!look(book, 'set a.b = 1').needsGrammar)
    assert.equal(book.judge(known), known.verdict)
  })

  it('has no verdict about what it cannot read', () => {
    const book = open()
    assert.equal(briefs(book, 'set a.b = 1 1'), null)
    assert.equal(briefs(book, "set a.b = '"), null)
    assert.equal(briefs(book, `set a.b = '${'x'.repeat(17_000)}'`), null)
    assert.deepEqual(briefs(open(1 << 20, 20_000), `set a.b = '${'x'.repeat(17_000)}'`)?.length, 1)
    const off = { flags: UTF8, marked: null }
    assert.equal(book.judge(look(book, "set a.b = '\\\\'", off)), null)
    assert.deepEqual(book.judge(look(book, "set a.b = 'x'", off))?.map(brief), ['a.b=x'])
  })

  it('survives texts on which the grammar breaks', async () => {
    const own = await openGrammar()
    const book = new FactBook(own, { bytesMax: 1 << 20, grammarMax: 1 << 20 })
    assert.equal(book.judge(look(book, `set a.b = 1; select 1${'+1'.repeat(60_000)}`)), null)
    assert.equal(own.renewals, 1)
    const next = look(book, 'set a.b = 2')
    book.refill()
    await eventually(() => assert.deepEqual(book.judge(next)?.map(brief), ['a.b=2']))
  })

  it('renews an instance that has become big', async () => {
    const own = await openGrammar(1024 * 1024)
    const long = (size: number) => `select ${Array.from({ length: size }, (_, i) => `a${i}`).join(',')}`
    assert.equal(judge(own, 'select 1')?.length, 1)
    assert.equal(own.renewals, 0)
    judge(own, long(20_000))
    assert.equal(own.renewals, 1)
    await eventually(() => assert.equal(judge(own, 'select 1')?.length, 1))
  })
})

describe('transcode', () => {
  function utf8(bytes: Buffer, flags: number): string | null {
    const target = new Uint8Array(transcodedMax(bytes.length) + 2).fill(1)
    const written = transcode(bytes, flags, target, 1)
    return written < 0 ? null : Buffer.from(target).toString('utf8', 1, written + 1)
  }

  it('leaves ASCII and UTF-8 as they are', () => {
    assert.equal(utf8(Buffer.from('select 1'), STANDARD | SAFE), 'select 1')
    assert.equal(utf8(Buffer.from('select é'), STANDARD | UTF8), 'select é')
  })

  it('gives every byte of another encoding a letter of its own', () => {
    assert.equal(utf8(Buffer.from('set é', 'latin1'), STANDARD | SAFE), 'set é')
    assert.equal(utf8(Buffer.from([0xff, 0x41]), STANDARD | UTF8), 'ÿA')
    assert.equal(utf8(Buffer.from([0x95, 0x5c, 0x5c]), STANDARD | SHIFTED), '\u0095\u015c\\')
    assert.equal(utf8(Buffer.from([0x41, 0x95]), STANDARD | DOUBLE), 'A\u0095')
  })

  it('refuses what would be read otherwise', () => {
    assert.equal(utf8(Buffer.from("'\\'"), UTF8), null)
    assert.equal(utf8(Buffer.from("'x'"), UTF8), "'x'")
  })

  it('stays within its bounds and makes UTF-8 of anything', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.nat({ max: 13 }), (array, flags) => {
        const text = utf8(Buffer.from(array), flags | STANDARD)
        assert.ok(text !== null && !text.includes('\ufffd'))
        assert.ok([...text].length <= array.length)
      }),
    )
  })

  it('lets the grammar read chars of clients as letters', () => {
    const text = Buffer.concat([
      Buffer.from('set "a'),
      Buffer.from([0x95, 0x5c]),
      Buffer.from('".b = 1; select set_config(E'),
      Buffer.from("'"),
      Buffer.from([0x95, 0x5c]),
      Buffer.from("', 'x', false)"),
    ])
    const name = '\u0095\u015c'
    assert.deepEqual(judge(grammar, text, STANDARD | DOUBLE)?.map(brief), [`a${name}.b=1`, `${name}=x`])
  })
})
