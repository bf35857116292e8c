// Lent buffers: bytes that somebody keeps are never read over.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { borrow, giveBack, keep, leavePlace, lend, release, takePlace } from '../../../src/net/lent.ts'
import { listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'

describe('a lent buffer', () => {
  it('is kept only while it is lent, and by those who keep bytes of it', () => {
    const lent = borrow()
    const bytes = lent.bytes.subarray(0, 10)
    assert.equal(keep(bytes), null)
    const socket = new EventEmitter()
    socket.on('data', (chunk) => {
      assert.equal(chunk, bytes)
      assert.equal(keep(Buffer.alloc(10)), null)
      assert.equal(lent.keeps, 0)
      assert.equal(keep(bytes), lent)
    })
    lend(lent, socket, bytes)
    assert.equal(lent.keeps, 1)
    assert.equal(keep(bytes), null)
    release(lent)
    assert.equal(borrow(), lent)
    giveBack(lent)
  })

  it('is not lent any more when the one it was given to throws', () => {
    const lent = borrow()
    const socket = new EventEmitter()
    socket.on('data', () => {
      throw new Error('on purpose')
    })
    assert.throws(() => lend(lent, socket, lent.bytes))
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

describe('sockets that read into lent buffers', () => {
  const PLACES = 256

  /** How many more may. */
  function places(): number {
    let count = 0
    while (takePlace()) count++
    for (let n = 0; n < count; n++) leavePlace()
    return count
  }

  it('are not more than so many, and leave their place with a small read or with their end', async (t) => {
    const streams: TcpStream[] = []
    let bytes = 0
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      streams.push(stream)
      const onData = (chunk: Buffer): void => {
        bytes += chunk.length
      }
      stream.handler = { onData, onDrain() {}, onEnd: () => stream.end(), onClose() {} }
    })
    const sockets: Socket[] = []
    t.after(async () => {
      for (const socket of sockets) socket.destroy()
      for (const stream of streams) stream.destroy('test over')
      await listener.close()
    })
    // Sockets of the tests before may be about to close.
    while (places() < PLACES) await new Promise((resolve) => setImmediate(resolve))
    const free = PLACES
    /** In pieces that are read one by one. */
    const send = async (socket: Socket, pieces: readonly number[]): Promise<void> => {
      for (const size of pieces) {
        const due = bytes + size
        socket.write(Buffer.alloc(size))
        while (bytes < due) await new Promise((resolve) => setImmediate(resolve))
      }
    }
    for (let n = 0; n < 3; n++) {
      const socket = connect({ host: '127.0.0.1', port: listener.port })
      await once(socket, 'connect')
      sockets.push(socket)
    }
    const [one, two, three] = sockets as [Socket, Socket, Socket]
    await send(one, [60_000])
    assert.equal(places(), free, 'one long message is no stream')
    await send(one, [8000, 8000, 8000])
    await send(two, [8000, 8000, 8000, 8000])
    assert.equal(places(), free - 2)
    await send(one, [10])
    assert.equal(places(), free - 1)
    two.destroy()
    while (places() < free) await new Promise((resolve) => setImmediate(resolve))
    for (let n = 0; n < free; n++) takePlace()
    await send(three, [8000, 8000, 8000, 8000])
    assert.equal(takePlace(), false)
    for (let n = 0; n < free; n++) leavePlace()
    assert.equal(places(), free, 'whoever had none leaves none')
  })
})
