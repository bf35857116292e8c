// The trace of a statement, read from a comment of its text and from nothing else.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { parseTraceParent, traceParentIn } from '../../../src/sql/traceparent.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const VALUE = `00-${TRACE}-${SPAN}-01`

function found(text: string): string | null {
  // As it stands in a message, between others.
  const bytes = Buffer.from(`before ${text}\0 behind`)
  const end = bytes.indexOf(0)
  const parent = traceParentIn(bytes, 7, end)
  return parent === null ? null : `${parent.traceId} ${parent.spanId} ${parent.isSampled}`
}

const YES = `${TRACE} ${SPAN} true`

describe('a traceparent', () => {
  it('is found in comments of every kind and place', () => {
    for (const text of [
      `select 1 /*traceparent='${VALUE}'*/`,
      `select 1 /* traceparent='${VALUE}' */;`,
      `/*traceparent='${VALUE}'*/ select 1`,
      `select /*action='a%20b',traceparent='${VALUE}',tracestate='x%3Dy'*/ 1`,
      `select 1 -- traceparent='${VALUE}'`,
      `select 1 --traceparent='${VALUE}'\n + 1`,
      `select 'traceparent=' || 'x' /*traceparent='${VALUE}'*/`,
      `select 1 /*traceparent='${encodeURIComponent(VALUE)}'*/`,
      `select 1 /*traceparent='${VALUE.replaceAll('-', '%2D')}'*/`,
      `select 1; select E'it\\'s' /*traceparent='${VALUE}'*/`,
      `select $a$ ' $a$, "a""b" /*traceparent='${VALUE}'*/`,
      `select 1 /* a /*traceparent='${VALUE}'*/ b */`,
    ])
      assert.equal(found(text), YES, text)
    assert.equal(found(`select 1 /*traceparent='00-${TRACE}-${SPAN}-00'*/`), `${TRACE} ${SPAN} false`)
    assert.equal(found(`select 1 /*traceparent='cc-${TRACE}-${SPAN}-09-more'*/`), YES)
    // The first one that is one.
    assert.equal(found(`select 1 /*traceparent='broken'*/ /*traceparent='${VALUE}'*/`), YES)
  })

  it('is not what stands in strings, names, other keys, or is broken', () => {
    for (const text of [
      `select '/*traceparent=''${VALUE}''*/'`,
      `select $$/*traceparent='${VALUE}'*/$$`,
      `select 1 as "/*traceparent='${VALUE}'*/"`,
      `select E'\\'/*traceparent=\\'${VALUE}\\'*/'`,
      `select 1, traceparent='${VALUE}' from t where a = 1 and b = 2 and c = 3`,
      `select 1 /*xtraceparent='${VALUE}'*/`,
      `select 1 /*x.traceparent='${VALUE}'*/`,
      `select 1 /*traceparent="${VALUE}"*/`,
      `select 1 /*traceparent='${VALUE}*/`,
      `select 1 /*traceparent='${VALUE}'`,
      `select 1 /*traceparent='%zz${VALUE}'*/`,
      `select 1 /*traceparent='${VALUE.toUpperCase()}'*/`,
      `select 1 /*traceparent='00-${'0'.repeat(32)}-${SPAN}-01'*/`,
      `select 1 /*traceparent='00-${TRACE}-${'0'.repeat(16)}-01'*/`,
      `select 1 /*traceparent='ff-${TRACE}-${SPAN}-01'*/`,
      `select 1 /*traceparent='00-${TRACE}-${SPAN}-01-more'*/`,
      `select 1 /*traceparent='00-${TRACE}-${SPAN}-1'*/`,
      `select 1 /*traceparent='00-${TRACE}${SPAN}-01'*/ /* and so on, and so on, and so on */`,
      `/* ${'x'.repeat(262_144)} */ select 1 /*traceparent='${VALUE}'*/`,
    ])
      assert.equal(found(text), null, text.slice(0, 200))
    assert.equal(parseTraceParent(`${VALUE} `), null)
    assert.equal(parseTraceParent(''), null)
  })

  it('is looked for in any bytes without harm', () => {
    const piece = fc.constantFrom(
      '/*',
      '*/',
      "'",
      '"',
      '$$',
      '\\',
      'E',
      '--',
      '\n',
      'traceparent=',
      VALUE,
      'é',
      'a',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const bytes = Buffer.from(pieces.join(''))
        traceParentIn(bytes, 0, bytes.length)
      }),
    )
  })
})
