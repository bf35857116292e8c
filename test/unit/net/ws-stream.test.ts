// What the contract of streams does not know of a WebSocket: silence, pings, codes, messages. The clock is
// the test's own.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { openWebServer, type WebServer } from '../../../src/net/web-server.ts'
import type { WsStream } from '../../../src/net/ws-stream.ts'
import { until } from '../../support/waits.ts'
import { frame, Op, TestWebSocket } from '../../support/web-socket.ts'
import { Recorder, turns } from './stream-contract.ts'

const SECOND = 1000
const PING_MS = 25 * SECOND

let accepted: WsStream | null = null
const server: WebServer = await openWebServer(
  { host: '127.0.0.1', port: 0, tls: null, keepaliveMs: 5000, maxConnections: 0 },
  {
    onWebSocket: (stream) => {
      accepted = stream
      stream.handler = new Recorder()
    },
    onRequest: () => {},
  },
)
after(() => server.close())

/** Both ends; ours is told everything that comes. */
async function pair(): Promise<{ far: TestWebSocket; near: WsStream; told: Recorder }> {
  const far = await TestWebSocket.open({ port: server.port })
  after(() => far.destroy())
  const near = accepted as unknown as WsStream
  return { far, near, told: near.handler as Recorder }
}

function pass(near: WsStream, seconds: number): void {
  for (let second = 0; second < seconds; second++) near.tick(SECOND, PING_MS)
}

const pings = (far: TestWebSocket): number => far.controls.filter(({ opcode }) => opcode === Op.Ping).length

describe('a silent WebSocket', () => {
  it('is pinged, and stays as long as it answers', async () => {
    const { far, near, told } = await pair()
    far.resume()
    for (let count = 1; count <= 5; count++) {
      // The first second only shows that something came before.
      pass(near, 26)
      await until(
        () => pings(far) === count,
        () => `${pings(far)} pings`,
      )
      await turns()
    }
    assert.deepEqual(told.closes, [])
  })

  it('is given up after two pings without an answer', async () => {
    const { far, near, told } = await pair()
    far.isPolite = false
    far.resume()
    for (const seconds of [26, 25, 24]) {
      pass(near, seconds)
      // What was sent leaves at the end of a turn.
      await turns()
    }
    assert.deepEqual([pings(far), told.closes], [2, []])
    pass(near, 1)
    await told.closed()
    assert.deepEqual(told.closes, ['the client does not answer pings'])
    assert.equal(await far.closeFrame, null)
    assert.equal(server.sockets.has(near), false)
  })

  it('is not pinged while something comes', async () => {
    const { far, near, told } = await pair()
    far.resume()
    for (let round = 1; round <= 4; round++) {
      pass(near, 20)
      far.write('x')
      await told.until(() => told.bytes === round)
    }
    assert.equal(pings(far), 0)
  })

  it('is not given up while nobody reads from it here', async () => {
    const { near, told } = await pair()
    near.pause()
    pass(near, 1000)
    await turns()
    assert.deepEqual(told.closes, [])
  })

  it('nor while it does not take what was sent', async () => {
    const { far, near, told } = await pair()
    far.socket.pause()
    const chunk = Buffer.alloc(1024 * 1024)
    for (let count = 0; count < 20; count++) near.write(chunk)
    await turns()
    pass(near, 1000)
    await turns()
    assert.ok(near.unsent > 0)
    assert.deepEqual(told.closes, [])
    assert.equal(pings(far), 0)
    near.destroy('test over')
  })

  it('is never pinged where that is off', async () => {
    const { far, near } = await pair()
    far.resume()
    for (let second = 0; second < 500; second++) near.tick(SECOND, 0)
    await turns()
    assert.equal(pings(far), 0)
  })
})

describe('messages', () => {
  it('hold what was written in one turn, up to 64 KiB each', async () => {
    const { far, near } = await pair()
    let bytes = 0
    far.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    for (let count = 0; count < 10; count++) near.write(Buffer.alloc(100))
    await until(
      () => bytes === 1000,
      () => `${bytes} bytes`,
    )
    assert.deepEqual(far.messages, [1000])
    near.write(Buffer.alloc(200_000))
    await until(
      () => bytes === 201_000,
      () => `${bytes} bytes`,
    )
    assert.deepEqual(far.messages, [1000, 65_536, 65_536, 65_536, 3392])
  })

  it('pongs are not kept for a client that does not take them', async () => {
    const { far, near, told } = await pair()
    far.socket.pause()
    const chunk = Buffer.alloc(1024 * 1024)
    for (let count = 0; count < 20; count++) near.write(chunk)
    await turns()
    const before = near.unsent
    far.raw(...Array.from({ length: 900 }, () => frame(Buffer.alloc(125), { opcode: Op.Ping })), frame(chunk))
    await told.until(() => told.bytes === chunk.length)
    assert.ok(near.unsent <= before)
    near.destroy('test over')
  })

  it('the close frame has the code that it was given', async () => {
    const { far, near, told } = await pair()
    far.resume()
    near.closeCode = 1001
    near.end(Buffer.from('bye'))
    assert.deepEqual(await far.closeFrame, { code: 1001, reason: '' })
    await told.closed()
    assert.deepEqual(told.closes, ['closed by us'])
  })

  it('an exception in its owner is 1011, without its text', async () => {
    const { far, near, told } = await pair()
    far.resume()
    told.onData = () => {
      throw new Error('secret')
    }
    far.write('x')
    assert.deepEqual(await far.closeFrame, { code: 1011, reason: 'internal error' })
    assert.equal(near.unsent, 0)
  })
})
