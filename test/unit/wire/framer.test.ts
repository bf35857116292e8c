// The framer's promise: what it gives out depends on the stream of bytes and not on where chunks end, a
// message that decides something comes in one piece, and memory follows what has come, never what a length
// announces.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Found, Framer } from '../../../src/wire/framer.ts'
import { CLIENT_RULES, type FrameRules, LOGIN_RULES, SERVER_RULES, Take } from '../../../src/wire/protocol.ts'
import { every, everySplit, seeded } from '../../support/chop.ts'
import * as m from '../../support/messages.ts'
import { Prng } from '../../support/prng.ts'

const WHOLE_MAX = 300
const PREFIX_MAX = 50

interface Seen {
  type: number
  /** All its bytes, joined. */
  bytes: Buffer
  /** Length of the first piece. */
  first: number
}

interface Reading {
  messages: Seen[]
  problem: string
  carriedMost: number
}

function read(rules: FrameRules, chunks: Iterable<Buffer>): Reading {
  const framer = new Framer(rules, WHOLE_MAX, PREFIX_MAX)
  const reading: Reading = { messages: [], problem: '', carriedMost: 0 }
  for (const chunk of chunks) {
    framer.push(chunk)
    for (;;) {
      const found = framer.next()
      if (found === Found.Nothing) break
      if (found === Found.Invalid) {
        reading.problem = framer.problem
        return reading
      }
      const piece = Buffer.from(framer.src.subarray(framer.start, framer.stop))
      if (found === Found.Message) {
        reading.messages.push({ type: framer.type, bytes: piece, first: piece.length })
      } else {
        const last = reading.messages.at(-1)!
        last.bytes = Buffer.concat([last.bytes, piece])
      }
    }
    reading.carriedMost = Math.max(reading.carriedMost, framer.carried)
  }
  return reading
}

/** What must not depend on the cuts. */
const essence = ({ messages, problem }: Reading) => ({
  messages: messages.map(({ type, bytes }) => `${type}:${bytes.toString('hex')}`),
  problem,
})

const CONVERSATION = Buffer.concat([
  m.query('select 1'),
  m.parse('select $1', { name: 'a', types: [25] }),
  m.bind({ statement: 'a', params: ['x'.repeat(100)] }),
  m.execute(),
  m.flush(),
  m.sync(),
  m.query('q'.repeat(400)),
  m.copyData(Buffer.from(Array.from({ length: 256 }, (_, i) => i))),
  m.copyDone(),
  m.copyFail('no'),
  m.functionCall(2026),
  m.close('S', 'a'),
  m.describe('P', ''),
  m.parse('p'.repeat(500)),
  m.terminate(),
])

const ANSWERS = Buffer.concat([
  m.message('Z', 'I'),
  m.message('T', Buffer.alloc(70)),
  m.message('D', 'Z\0\0\0\u0005IZ\0\0\0\u0005T'),
  m.message('C', 'SELECT 1\0'),
  m.message('E', `SERROR\0C42601\0M${'x'.repeat(200)}\0\0`),
  m.message('E', `SERROR\0C42601\0M${'x'.repeat(700)}\0\0`),
  m.message('1'),
  m.message('S', 'TimeZone\0UTC\0'),
  m.message('d', Buffer.alloc(999, 0x5a)),
  m.message('Z', 'T'),
])

const SIDES: [string, FrameRules, Buffer][] = [
  ['client', CLIENT_RULES, CONVERSATION],
  ['server', SERVER_RULES, ANSWERS],
]

for (const [side, rules, stream] of SIDES) {
  describe(`framer, ${side} side`, () => {
    const whole = read(rules, [stream])

    it('gives out every byte of every message', () => {
      assert.equal(whole.problem, '')
      assert.deepEqual(Buffer.concat(whole.messages.map(({ bytes }) => bytes)), stream)
    })

    it('gives out the same byte by byte, in each pair of pieces, and in 2,000 seeded ways', () => {
      assert.deepEqual(essence(read(rules, every(stream, 1))), essence(whole))
      for (const pieces of everySplit(stream)) assert.deepEqual(essence(read(rules, pieces)), essence(whole))
      for (let seed = 0; seed < 2000; seed++) {
        const random = new Prng(seed)
        const pieces = seeded(stream, random, random.pick([0.01, 0.1, 0.5]))
        assert.deepEqual(essence(read(rules, pieces)), essence(whole), `seed ${seed}`)
      }
    })

    it('gives out in one piece what is to be read', () => {
      for (let seed = 0; seed < 200; seed++) {
        for (const { type, bytes, first } of read(rules, seeded(stream, new Prng(seed), 0.3)).messages) {
          const take = rules.take[type]
          const least =
            take === Take.Stream
              ? 5
              : take === Take.Whole && bytes.length <= WHOLE_MAX
                ? bytes.length
                : PREFIX_MAX
          assert.ok(first >= Math.min(least, bytes.length), `type ${type}, seed ${seed}: ${first}`)
        }
      }
    })

    it('never keeps more than wholeMax', () => {
      assert.ok(read(rules, every(stream, 1)).carriedMost < WHOLE_MAX)
    })

    it('keeps an unfinished tail and finishes it later', () => {
      const framer = new Framer(rules, WHOLE_MAX, PREFIX_MAX)
      const [first] = whole.messages
      framer.push(first!.bytes.subarray(0, 3))
      assert.equal(framer.next(), Found.Nothing)
      assert.equal(framer.atBoundary, false)
      assert.equal(framer.carried, 3)
      framer.push(first!.bytes.subarray(3))
      assert.equal(framer.next(), Found.Message)
      assert.deepEqual(framer.src.subarray(framer.start, framer.stop), first!.bytes)
      assert.equal(framer.next(), Found.Nothing)
      assert.equal(framer.atBoundary, true)
    })

    it('refuses impossible lengths of every type, and the types of nobody', () => {
      for (let type = 0; type < 256; type++) {
        for (const length of [-1, -2147483648, 0, 3, 4, 5, 2147483647]) {
          const header = Buffer.alloc(5)
          header[0] = type
          header.writeInt32BE(length, 1)
          for (const pieces of [[header], every(header, 1)]) {
            const { problem } = read(rules, pieces)
            if (rules.take[type] === Take.Refuse) assert.equal(problem, 'invalid message type')
            else if (length < 4 || length > rules.lengthMax[type]!)
              assert.equal(problem, `invalid message length ${length}`)
            else assert.equal(problem, '', `type ${type} length ${length}`)
          }
        }
      }
    })

    it('answers any bytes with messages or a problem, the same however they are cut', () => {
      const typical = fc.constantFrom(
        ...[...rules.take.keys()].filter((type) => rules.take[type] !== Take.Refuse),
      )
      const header = fc
        .tuple(typical, fc.constantFrom(0, 0, 0, 255), fc.nat(1), fc.nat(255))
        .map(([type, high, middle, low]) => Buffer.from([type, high, 0, middle, low]))
      const part = fc.oneof(
        header,
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      )
      fc.assert(
        fc.property(fc.array(part, { maxLength: 12 }), fc.nat(), (parts, seed) => {
          const bytes = Buffer.concat(parts)
          const all = read(rules, [bytes])
          const cut = read(rules, seeded(bytes, new Prng(seed), 0.2))
          assert.deepEqual(
            cut.messages.map(({ type }) => type),
            all.messages.map(({ type }) => type),
          )
          assert.deepEqual(essence(cut), essence(all))
          assert.ok(cut.carriedMost <= bytes.length)
        }),
        { numRuns: 500 },
      )
    })
  })
}

describe('framer', () => {
  it('does not allocate what a length announces', () => {
    const framer = new Framer(CLIENT_RULES, 256 * 1024, 16 * 1024)
    const header = m.message('P', Buffer.alloc(0))
    header.writeInt32BE(250 * 1024, 1)
    const before = process.memoryUsage().arrayBuffers
    framer.push(header)
    assert.equal(framer.next(), Found.Nothing)
    assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024)
    assert.equal(framer.carried, 5)
  })

  it('gives a message that was carried a buffer of its own', () => {
    const framer = new Framer(CLIENT_RULES, 1000, 1000)
    const given: [Buffer, Buffer][] = []
    for (const text of ['first', 'second']) {
      const bytes = m.query(text)
      for (const piece of every(bytes, 4)) {
        framer.push(piece)
        if (framer.next() === Found.Message)
          given.push([framer.src.subarray(framer.start, framer.stop), bytes])
        assert.equal(framer.next(), Found.Nothing)
      }
    }
    assert.equal(given.length, 2)
    for (const [seen, sent] of given) assert.deepEqual(seen, sent)
  })

  it('takes a message back with all that follows', () => {
    for (const [head, tail] of everySplit(Buffer.concat([m.query('one'), m.query('two'), m.sync()]))) {
      const all = Buffer.concat([head, tail])
      const framer = new Framer(CLIENT_RULES, 1000, 1000)
      framer.push(head)
      let taken = 0
      while (framer.next() === Found.Message) taken += framer.stop - framer.start
      framer.push(tail)
      if (framer.next() !== Found.Message) continue
      const back = framer.unread()
      assert.deepEqual(back, all.subarray(taken))
      assert.equal(framer.atBoundary, true)
      framer.push(back)
      assert.equal(framer.next(), Found.Message)
      assert.deepEqual(
        framer.src.subarray(framer.start, framer.stop),
        all.subarray(taken, taken + (framer.stop - framer.start)),
      )
    }
  })

  it('takes back the beginning of a message that is still coming', () => {
    const bytes = m.bind({ params: ['q'.repeat(200)] })
    const framer = new Framer(CLIENT_RULES, 1000, 50)
    framer.push(bytes.subarray(0, 120))
    assert.equal(framer.next(), Found.Message)
    assert.equal(framer.rest, bytes.length - 120)
    const back = framer.unread()
    assert.deepEqual(back, bytes.subarray(0, 120))
    framer.push(Buffer.concat([back, bytes.subarray(120)]))
    assert.equal(framer.next(), Found.Message)
    assert.equal(framer.rest, 0)
    assert.deepEqual(framer.src.subarray(framer.start, framer.stop), bytes)
  })

  it('hands out what follows a message when the stream stops being messages', () => {
    const framer = new Framer(LOGIN_RULES, 1000, 1000)
    framer.push(Buffer.concat([m.password('x'), m.query('early')]))
    assert.equal(framer.next(), Found.Message)
    assert.deepEqual(framer.takeTail(), m.query('early'))
    assert.equal(framer.atBoundary, true)
    assert.equal(framer.next(), Found.Nothing)
  })

  it('holds on to no chunk that was given out', () => {
    const framer = new Framer(CLIENT_RULES, WHOLE_MAX, PREFIX_MAX)
    for (const chunk of [m.query('x'), m.query('y'.repeat(500)).subarray(0, 400)]) {
      framer.push(chunk)
      assert.equal(framer.next(), Found.Message)
      assert.equal(framer.src, chunk)
      assert.equal(framer.next(), Found.Nothing)
      assert.equal(framer.src.length, 0)
    }
    assert.equal(framer.rest, 106)
  })

  it('goes on with other rules', () => {
    const framer = new Framer(LOGIN_RULES, 1000, 1000)
    framer.push(m.query('x'))
    assert.equal(framer.next(), Found.Invalid)
    const other = new Framer(LOGIN_RULES, 1000, 1000)
    other.setRules(CLIENT_RULES)
    other.push(m.query('x'))
    assert.equal(other.next(), Found.Message)
  })
})
