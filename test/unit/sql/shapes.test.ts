// Shapes: which texts are one, which are not, what has none; and that they stay few.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { labelOfText, SHAPED_MAX, type Shape, ShapeBook } from '../../../src/sql/shapes.ts'

function shapeOf(book: ShapeBook, text: string): Shape | null {
  const bytes = Buffer.from(text)
  return book.find(bytes, 0, bytes.length)
}

describe('shapes', () => {
  it('are one for texts that differ in their constants', () => {
    const alike = [
      ['select 1', 'select 123456'],
      ["select * from t where a = 'x'", "select * from t where a = 'it''s'"],
      ['select 1.5e3', 'select 22.75e3'],
      ["select 'a' -- one\n, 2", "select 'b' -- another\n, 3"],
      ["select '/* 1 */', 1 /* 2 */", "select '', 77 /* /* nested */ */"],
      ["select 'a'\n  'b'", "select 'c'"],
      ['select t1.a from t1 where b=5', 'select t1.a from t1 where b=6'],
    ]
    for (const [one, other] of alike) {
      const book = new ShapeBook()
      assert.equal(shapeOf(book, one!), shapeOf(book, other!), `${one} / ${other}`)
    }
  })

  it('are not one where more differs', () => {
    const different = [
      ['select a1 from t', 'select a2 from t'],
      ['select $1', 'select $2'],
      ['select "1"', 'select "2"'],
      ['select 1', "select '1'"],
      ['select 1union select 2', 'select 1'],
      ['select 1e5', 'select 1f5'],
      ['select 1;', 'select 1'],
      ["select 'a', f()", "select 'a, f()'"],
      ["select 1 -- '\n, f()", "select 1 -- '\n, g()"],
    ]
    for (const [one, other] of different) {
      const book = new ShapeBook()
      assert.notEqual(shapeOf(book, one!), shapeOf(book, other!), `${one} / ${other}`)
    }
  })

  it('are none where the text cannot be followed, or is read otherwise', () => {
    const none = [
      "select 'a",
      'select "a',
      'select /* a',
      "select E'a\\'b'",
      "select b'1'",
      "select U&'a'",
      'select $$a$$',
      'select $tag$a$tag$',
      'select \0',
      `select '${'x'.repeat(SHAPED_MAX)}'`,
    ]
    for (const text of none) assert.equal(shapeOf(new ShapeBook(), text), null, text)
  })

  it('never hide what stands outside of constants', () => {
    const word = fc.constantFrom(
      'select',
      'f',
      '(',
      ')',
      ',',
      'a1',
      '"b"',
      '+',
      ' ',
      '.',
      ';',
      '$3',
      'union',
      'e',
    )
    const constant = fc.constantFrom('1', '42', "'x'", "''", "'a''b'")
    const pieces = fc.array(fc.oneof(word, constant), { maxLength: 30 })
    fc.assert(
      fc.property(pieces, pieces, (one, other) => {
        const book = new ShapeBook()
        const spaced = (parts: string[]) => parts.join(' ')
        const plain = (parts: string[]) =>
          spaced(parts.map((part) => (/^\d/.test(part) ? '1' : part.startsWith("'") ? "'x'" : part)))
        const first = shapeOf(book, spaced(one))
        const isSame = first !== null && first === shapeOf(book, spaced(other))
        assert.equal(isSame, plain(one) === plain(other))
      }),
      { numRuns: 500 },
    )
  })

  it('stay few, and tell people what they are', () => {
    const book = new ShapeBook()
    for (let n = 0; n < 10_000; n++) shapeOf(book, `select c${n}x from t where a = ${n}`)
    assert.ok(book.size <= 2000)
    const [label] = [...book.all()].slice(-1).map((shape) => shape.label)
    assert.equal(label, 'select c9999x from t where a = ?')
    assert.equal(shapeOf(book, "select 'secret', 5")?.label, "select '?', ?")
  })

  it('that are used are kept, and what was counted of others is not lost', () => {
    const book = new ShapeBook()
    const often = shapeOf(book, 'select often')!
    const once = shapeOf(book, 'select once')!
    for (const shape of [often, once]) {
      shape.ran(2)
      shape.gave(3)
      shape.failed()
    }
    for (let n = 0; n < 10_000; n++) {
      shapeOf(book, `select c${n}x`)
      assert.equal(shapeOf(book, 'select often'), often)
    }
    assert.equal(book.others.calls, 1)
    // What runs still is counted with what has gone.
    once.ran(7)
    once.gave(1)
    once.failed()
    const { calls, totalMs, maxMs, rows, errors, label } = book.others
    assert.deepEqual([calls, totalMs, maxMs, rows, errors, label], [2, 9, 7, 4, 2, '<others>'])
    assert.equal(often.calls, 1)
  })

  it('are shown of any text without being kept', () => {
    const label = (text: string) => labelOfText(Buffer.from(text), 0, Buffer.byteLength(text))
    assert.equal(label("update t set a = 'secret' where b = 5"), "update t set a = '?' where b = ?")
    assert.equal(label("select e'x'"), '<others>')
    assert.ok(label(`select ${'x'.repeat(10_000)}`).length <= 1000)
  })

  it('average what they take', () => {
    const shape = shapeOf(new ShapeBook(), 'select 1')!
    assert.equal(shape.ms, -1)
    shape.took(1)
    assert.equal(shape.ms, 1)
    for (let n = 0; n < 50; n++) shape.took(3)
    assert.ok(shape.ms > 2.9)
  })

  it('that wait for a processor once are not slow for that; those that held up others are', () => {
    const shape = shapeOf(new ShapeBook(), 'select 1')!
    for (let n = 0; n < 50; n++) shape.took(0.05)
    shape.took(50)
    assert.ok(shape.ms < 0.1, `${shape.ms} ms`)
    shape.tookTooLong(50)
    assert.ok(shape.ms > 2)
    for (let n = 0; n < 50; n++) shape.took(0)
    for (let n = 0; n < 30; n++) shape.took(50)
    assert.ok(shape.ms > 2, 'which is slow from now on is seen')
  })
})
