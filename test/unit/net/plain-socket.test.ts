// PlainSocket connections without a socket of Node's: what they inherit, and what happens where the handle is
// not as expected.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { type PlainSocket, acceptPlain } from '../../../src/net/plain-socket.ts'
import { listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { serverTls } from '../../../src/net/tls-server.ts'
import { CERT } from './pairs.ts'

const NO_PROC = process.platform === 'linux' ? false : 'only Linux tells the timers of a connection'
/** /proc/net/tcp: an established connection, and the timer that asks whether its peer is there. */
const ESTABLISHED = '01'
const KEEPALIVE_TIMER = '02:'

const inHex = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`

/** The timer of the established connection between these ports, from the side of the first one. */
function timerOf(port: number, peer: number): string {
  const rows = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1)
  const fields = rows.map((row) => row.trim().split(/\s+/))
  const ours = fields.filter(
    ([, local, remote, state]) =>
      local!.endsWith(inHex(port)) && remote!.endsWith(inHex(peer)) && state === ESTABLISHED,
  )
  assert.equal(ours.length, 1, `connections between ${port} and ${peer}`)
  return ours[0]![5]!
}

/** The timer of a connection to a listener with this keepalive. */
async function timerWith(t: TestContext, keepaliveMs: number): Promise<string> {
  const accepted = Promise.withResolvers<TcpStream>()
  const silent = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }
  const listener = await listen({ host: '127.0.0.1', port: 0, keepaliveMs }, (stream) => {
    stream.handler = silent
    accepted.resolve(stream)
  })
  const client = connect(listener.port, '127.0.0.1')
  t.after(async () => {
    client.destroy()
    await listener.close()
  })
  await Promise.all([accepted.promise, once(client, 'connect')])
  return timerOf(listener.port, client.localPort ?? 0)
}

describe('an accepted connection', () => {
  it('has the keepalive of its listener', { skip: NO_PROC }, async (t) => {
    assert.ok((await timerWith(t, 30_000)).startsWith(KEEPALIVE_TIMER))
    assert.ok(!(await timerWith(t, 0)).startsWith(KEEPALIVE_TIMER))
  })

  it('is a socket of Node where its handle is not as expected', async (t) => {
    const taken: PlainSocket[] = []
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const owner = server as unknown as { _handle: { onconnection: (error: number, handle: object) => void } }
    acceptPlain(server, null, (connection) => taken.push(connection))
    const ours = owner._handle.onconnection
    owner._handle.onconnection = function (error, handle) {
      // Another version of Node may have another name for it.
      Object.defineProperty(handle, 'useUserBuffer', { value: undefined })
      ours.call(this, error, handle)
    }
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    t.after(() => {
      client.destroy()
      server.close()
    })
    const [socket] = (await once(server, 'connection')) as [Socket]
    client.write('hello')
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    assert.equal(chunk.toString(), 'hello')
    assert.deepEqual(taken, [])
    socket.destroy()
  })
})

describe('a peer that has reset the connection behind its first bytes', () => {
  /** What the stream is told; `act` is done with it at its first bytes. */
  async function told(t: TestContext, act: (stream: TcpStream, events: string[]) => void): Promise<string[]> {
    const events: string[] = []
    const closed = Promise.withResolvers<void>()
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      stream.handler = {
        onData: () => act(stream, events),
        onDrain: () => events.push('drain'),
        onEnd: () => events.push('end'),
        onClose: (reason) => {
          events.push(reason)
          closed.resolve()
        },
      }
    })
    t.after(() => listener.close())
    const client = connect(listener.port, '127.0.0.1')
    client.on('error', () => {})
    await once(client, 'connect')
    // Both in one turn: the reset is there before the bytes are read.
    client.write('hello')
    client.resetAndDestroy()
    await closed.promise
    return events
  }

  it('is no peer for TLS: that fails once, and the stream is over once', async (t) => {
    const events = await told(t, (stream, done) => {
      stream.write(Buffer.from('S'))
      stream.secure(serverTls(CERT), null, (error) => done.push(String(error?.message)))
    })
    assert.equal(events.length, 2, events.join())
    assert.equal(events[0], `TLS failed: ${events[1]}`)
  })

  it('is the reason of an end that could not be told', async (t) => {
    const [reason, ...more] = await told(t, (stream) => stream.end(Buffer.from('goodbye')))
    assert.match(String(reason), /by peer/)
    assert.deepEqual(more, [])
  })
})
