// Tests what only real sockets show: system calls, resets, half-open peers, the end of patience.
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import { DirectWriter } from '../../../src/net/direct-write.ts'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { type Listener, listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { realPairs } from './pairs.ts'
import { fill, Recorder, record, turns } from './stream-contract.ts'

const pairs = realPairs('tcp')
let listener: Listener | null = null
let accepted: ((stream: TcpStream) => void) | null = null
after(() => listener?.close())

/** A plain socket at one end and a stream of ours at the other. */
async function rawPair(): Promise<{ raw: Socket; stream: TcpStream; seen: Recorder }> {
  const seen = new Recorder()
  listener ??= await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
    stream.handler = seen
    accepted?.(stream)
  })
  const arrived = new Promise<TcpStream>((resolve) => {
    accepted = (stream) => {
      stream.handler = seen
      resolve(stream)
    }
  })
  const raw = connect({ host: '127.0.0.1', port: listener.port, allowHalfOpen: true })
  raw.on('error', () => {})
  return { raw, stream: await arrived, seen }
}

describe('system calls', () => {
  it('hands over what one turn wrote in one call', async (t) => {
    const { a, b } = await pairs()
    const { rb } = record({ a, b })
    const single = t.mock.method(DirectWriter.prototype, 'write')
    const list = t.mock.method(DirectWriter.prototype, 'writeAll')
    let expected = 0
    for (const sizes of [[5], [100, 100, 100], [5, 4000, 5], [3000, 3000], Array(500).fill(80)]) {
      single.mock.resetCalls()
      list.mock.resetCalls()
      for (const size of sizes) {
        a.write(Buffer.alloc(size))
        expected += size
      }
      assert.equal(single.mock.callCount() + list.mock.callCount(), 0)
      await rb.until(() => rb.bytes === expected)
      assert.equal(single.mock.callCount() + list.mock.callCount(), 1, `sizes ${sizes}`)
    }
    a.destroy('test over')
  })

  it('hands over what is large at once, with what waited before it', async (t) => {
    const { a, b } = await pairs()
    const { rb } = record({ a, b })
    const single = t.mock.method(DirectWriter.prototype, 'write')
    const list = t.mock.method(DirectWriter.prototype, 'writeAll')
    a.write(Buffer.alloc(5))
    assert.equal(list.mock.callCount(), 0)
    a.write(Buffer.alloc(20_000))
    assert.equal(list.mock.callCount(), 1)
    a.write(Buffer.alloc(9000))
    assert.equal(single.mock.callCount(), 1)
    a.write(Buffer.alloc(7))
    await rb.until(() => rb.bytes === 29_012)
    assert.equal(single.mock.callCount() + list.mock.callCount(), 3)
    a.destroy('test over')
  })

  it('passes a single chunk on without copying it', async (t) => {
    const { a, b } = await pairs()
    const { rb } = record({ a, b })
    const write = t.mock.method(DirectWriter.prototype, 'write')
    const chunk = Buffer.from('as it is')
    a.write(chunk)
    await rb.until(() => rb.bytes === chunk.length)
    assert.equal(write.mock.calls[0].arguments[0], chunk)
    a.destroy('test over')
  })
})

describe('peers', () => {
  it('describes the peer of a TCP stream', async () => {
    const { a, b } = await pairs()
    assert.deepEqual(
      { ...b.peer, port: 0 },
      { kind: 'tcp', address: '127.0.0.1', port: 0, encrypted: false, loopback: true },
    )
    assert.ok(b.peer.port > 0)
    a.destroy('test over')
  })

  it('names a reset', async () => {
    const { raw, seen } = await rawPair()
    raw.resetAndDestroy()
    await seen.closed()
    assert.deepEqual(seen.closes, ['connection reset by peer'])
  })

  it('answers a peer that has closed its half', async () => {
    const { raw, stream, seen } = await rawPair()
    raw.end('question')
    await seen.until(() => seen.ends === 1)
    await turns()
    assert.equal(seen.closes.length, 0)
    let answer = ''
    raw.on('data', (chunk) => {
      answer += chunk
    })
    stream.write(Buffer.from('answer'))
    stream.end()
    await seen.closed()
    await new Promise((resolve) => raw.once('close', resolve))
    assert.equal(answer, 'answer')
    assert.deepEqual(seen.closes, ['closed by us'])
  })

  it('reports the exception of a handler once, with the place', async () => {
    const reports: string[] = []
    setHandlerErrorReporter((error, where) => reports.push(`${where}: ${error.message}`))
    const { raw, seen } = await rawPair()
    seen.onData = () => {
      throw new Error('boom')
    }
    raw.write('x')
    await seen.closed()
    assert.deepEqual(reports, ['onData of a tcp stream: boom'])
    raw.destroy()
  })

  it('closes a stream that has got bytes but no owner', async () => {
    const reports: string[] = []
    setHandlerErrorReporter((error) => reports.push(error.message))
    const { a, b } = await pairs()
    const seen = new Recorder()
    a.handler = seen
    a.write(Buffer.from('for nobody'))
    await seen.until(() => seen.ends + seen.closes.length > 0)
    assert.deepEqual(reports, ['bytes arrived before the stream had an owner'])
    a.destroy('test over')
    b.destroy('test over')
  })
})

describe('lingering after end', () => {
  it('gives up on a peer that never closes its half, after 5 s', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { raw, stream, seen } = await rawPair()
    raw.on('data', () => {})
    stream.end(Buffer.from('bye'))
    await new Promise((resolve) => raw.once('end', resolve))
    t.mock.timers.tick(4000)
    await turns()
    assert.equal(seen.closes.length, 0)
    t.mock.timers.tick(1000)
    await seen.closed()
    assert.deepEqual(seen.closes, ['closed by us'])
    raw.destroy()
  })

  it('gives up on a peer that does not read, and says so', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { raw, stream, seen } = await rawPair()
    raw.pause()
    for (let i = 0; i < 100 && (i === 0 || seen.drains > 0); i++) {
      seen.drains = 0
      fill(stream)
      await turns(10)
    }
    stream.end(Buffer.from('bye'))
    t.mock.timers.tick(5000)
    await seen.closed()
    assert.deepEqual(seen.closes, ['peer did not take our last bytes'])
    raw.destroy()
  })

  it('reads to the end after end, even if it was paused, so that the peer gets the last bytes', async () => {
    const { raw, stream, seen } = await rawPair()
    stream.pause()
    raw.write(Buffer.alloc(3_000_000))
    await turns()
    let last = ''
    raw.on('data', (chunk) => {
      last += chunk
    })
    raw.once('end', () => raw.end())
    stream.end(Buffer.from('bye'))
    await seen.closed()
    assert.deepEqual([last, seen.bytes, seen.closes], ['bye', 0, ['closed by us']])
  })

  it('throws away what arrives after end', async () => {
    const { raw, stream, seen } = await rawPair()
    raw.resume()
    stream.end(Buffer.from('bye'))
    raw.end(Buffer.alloc(1_000_000))
    await seen.closed()
    assert.deepEqual([seen.bytes, seen.ends, seen.closes], [0, 0, ['closed by us']])
  })
})
