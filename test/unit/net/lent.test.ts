// Lent buffers: bytes that somebody keeps are never read over.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { borrow, giveBack, keep, lend, release } from '../../../src/net/lent.ts'
import { listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'

describe('a lent buffer', () => {
  it('is kept only while it is lent, and by those who keep bytes of it', () => {
    const lent = borrow()
    const bytes = lent.bytes.subarray(0, 10)
    assert.equal(keep(bytes), null)
    lend(lent, () => {
      assert.equal(keep(Buffer.alloc(10)), null)
      assert.equal(lent.keeps, 0)
      assert.equal(keep(bytes), lent)
    })
    assert.equal(lent.keeps, 1)
    assert.equal(keep(bytes), null)
    release(lent)
    assert.equal(borrow(), lent)
    giveBack(lent)
  })

  it('is not lent any more when the one it was given to throws', () => {
    const lent = borrow()
    assert.throws(() =>
      lend(lent, () => {
        throw new Error('on purpose')
      }),
    )
    assert.equal(keep(lent.bytes), null)
  })
})

/** Bytes through a stream that passes everything on to another, which is read as fast as `pace` says. */
async function relayed(total: number, pace: (socket: Socket) => void): Promise<string[]> {
  const waiting: TcpStream[] = []
  const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
    stream.handler = {
      onData() {},
      onDrain() {},
      onEnd() {},
      onClose() {},
    }
    waiting.push(stream)
  })
  const address = { host: '127.0.0.1', port: listener.port }
  const [from, to] = [connect(address), connect(address)]
  await Promise.all([once(from, 'connect'), once(to, 'connect')])
  while (waiting.length < 2) await new Promise((resolve) => setImmediate(resolve))
  const byPort = (port: number) => waiting.find((stream) => stream.peer.port === port)!
  const [source, target] = [byPort(from.localPort!), byPort(to.localPort!)]
  source.handler = {
    onData(chunk) {
      // In pieces, as a pooler does that makes messages of it.
      const cut = chunk.length >> 3
      const isFull = [chunk.subarray(0, cut), chunk.subarray(cut)]
        .map((piece) => target.write(piece))
        .includes(false)
      if (isFull) source.pause()
    },
    onDrain() {},
    onEnd: () => target.end(),
    onClose() {},
  }
  target.handler = { onData() {}, onDrain: () => source.resume(), onEnd() {}, onClose() {} }
  const [sent, got] = [createHash('sha256'), createHash('sha256')]
  to.on('data', (chunk) => got.update(chunk))
  pace(to)
  const ended = once(to, 'end')
  for (let left = total; left > 0; left -= 100_000) {
    const bytes = randomBytes(Math.min(left, 100_000))
    sent.update(bytes)
    if (!from.write(bytes)) await once(from, 'drain')
  }
  from.end()
  await ended
  for (const stream of waiting) stream.destroy('test over')
  await listener.close()
  return [sent.digest('hex'), got.digest('hex')]
}

describe('large reads that are passed on', () => {
  it('arrive unchanged at a quick reader', async () => {
    const [sent, got] = await relayed(20_000_000, () => {})
    assert.equal(got, sent)
  })

  it('arrive unchanged at one that stops again and again', async () => {
    const [sent, got] = await relayed(20_000_000, (socket) => {
      socket.on('data', () => {
        socket.pause()
        setImmediate(() => socket.resume())
      })
    })
    assert.equal(got, sent)
  })
})
