// Frames are read whatever the chunks in which they come. They are made by the tests' own code.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { answerTo, closeFrame, Frame, FrameReader, header } from '../../../src/net/ws-frames.ts'
import { Prng } from '../../support/prng.ts'
import { frame, FrameParser, Op } from '../../support/web-socket.ts'

/** All that a reader finds in these bytes, given to it in such pieces. */
function read(bytes: Buffer, pieceOf: () => number): { payload: Buffer; found: string[] } {
  const reader = new FrameReader()
  const payload: Buffer[] = []
  const found: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = pieceOf()
    reader.push(Buffer.from(bytes.subarray(at, at + size)))
    at += size
    for (let what = reader.next(); what !== Frame.Nothing; what = reader.next()) {
      if (what === Frame.Payload) payload.push(Buffer.from(reader.payload))
      else if (what === Frame.Empty) found.push('empty')
      else if (what === Frame.Control) found.push(`${reader.opcode} ${reader.payload}`)
      else {
        found.push(`${reader.code} ${reader.problem}`)
        return { payload: Buffer.concat(payload), found }
      }
    }
  }
  return { payload: Buffer.concat(payload), found }
}

const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 125, 126, 127, 300, 65_535, 65_536, 70_001]

describe('frames of a client', () => {
  it('of any length, cut anywhere, give their payload', () => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = new Prng(seed)
      const sent: Buffer[] = []
      const bytes: Buffer[] = []
      const expected: string[] = []
      for (let count = 0; count < 8; count++) {
        const body = random.bytes(LENGTHS[random.below(LENGTHS.length)] ?? 0)
        sent.push(body)
        const cut = random.below(body.length + 1)
        const parts = random.below(2) === 0 ? [body] : [body.subarray(0, cut), body.subarray(cut)]
        for (const [index, part] of parts.entries()) {
          const opcode = index === 0 ? Op.Binary : Op.Continuation
          if (part.length === 0) expected.push('empty')
          bytes.push(frame(part, { opcode, fin: index === parts.length - 1, mask: random.bytes(4) }))
          if (random.below(3) > 0) continue
          bytes.push(frame(Buffer.from(`ping ${count}`), { opcode: Op.Ping }))
          expected.push(`9 ping ${count}`)
        }
      }
      const most = random.below(3) === 0 ? 20_000 : 9
      const { payload, found } = read(Buffer.concat(bytes), () => 1 + random.below(most))
      assert.deepEqual(payload, Buffer.concat(sent), `seed ${seed}`)
      assert.deepEqual(found, expected, `seed ${seed}`)
    }
  })

  it('are judged by their first two bytes', () => {
    const { found } = read(Buffer.from([0xc2, 0x80]), () => 1)
    assert.equal(found[0]?.slice(0, 4), '1002')
    assert.equal(read(Buffer.from([0x82]), () => 1).found.length, 0)
  })

  it('what is kept of a chunk is a copy', () => {
    const reader = new FrameReader()
    const chunk = Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two'))])
    reader.push(chunk)
    assert.equal(reader.next(), Frame.Payload)
    reader.keepRest()
    chunk.fill(0)
    assert.equal(reader.next(), Frame.Payload)
    assert.equal(reader.payload.toString(), 'two')
    assert.equal(reader.next(), Frame.Nothing)
  })
})

describe('our frames', () => {
  it('are whole messages of any length', () => {
    for (const length of LENGTHS) {
      const parser = new FrameParser()
      const [found] = parser.push(Buffer.concat([header(length), Buffer.alloc(length, 7)]))
      assert.deepEqual([found?.opcode, found?.payload.length], [Op.Binary, length])
    }
  })

  it('a close frame has a code and short words', () => {
    const [found] = new FrameParser().push(closeFrame(1002, 'w'.repeat(500)))
    assert.equal(found?.payload.readUInt16BE(0), 1002)
    assert.equal(found?.payload.length, 125)
  })

  it('a close frame is answered with its code, where it may be sent', () => {
    const code = (value: number): number => {
      const payload = Buffer.alloc(2)
      payload.writeUInt16BE(value)
      return answerTo(payload)
    }
    assert.equal(answerTo(Buffer.alloc(0)), 1000)
    assert.equal(answerTo(Buffer.alloc(1)), 1002)
    for (const right of [1000, 1001, 1011, 1013, 3000, 4999]) assert.equal(code(right), right)
    for (const wrong of [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000]) assert.equal(code(wrong), 1002)
  })
})
