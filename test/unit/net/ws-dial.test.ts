// The client's end of a WebSocket, as the tunnel uses it, keeps the contract of streams.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, it } from 'node:test'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { openWebServer } from '../../../src/net/web-server.ts'
import { dialWebSocket, type WebSocketStream } from '../../../src/net/ws-dial.ts'
import type { WsStream } from '../../../src/net/ws-stream.ts'
import type { ByteStream } from '../../../src/wire/byte-stream.ts'
import { type Pair, streamContract } from './stream-contract.ts'

// The contract makes handlers throw on purpose.
setHandlerErrorReporter(() => {})

const accepted: ((stream: WsStream) => void)[] = []
const open = new Set<ByteStream>()
const server = await openWebServer(
  { host: '127.0.0.1', port: 0, tls: null, keepaliveMs: 5000, maxConnections: 0 },
  {
    onWebSocket: (stream) => {
      stream.pause()
      accepted.shift()?.(stream)
    },
    onRequest: () => {},
  },
)
after(async () => {
  for (const stream of open) stream.destroy('tests over')
  await server.close()
})

async function connected(): Promise<{ near: WebSocketStream; far: WsStream }> {
  const arrived = new Promise<WsStream>((resolve) => accepted.push(resolve))
  const near = await new Promise<WebSocketStream>((resolve, reject) => {
    const url = new URL(`ws://127.0.0.1:${server.port}/`)
    dialWebSocket(url, 10_000, (error, stream) => (stream === null ? reject(error) : resolve(stream)))
  })
  const far = await arrived
  open.add(near).add(far)
  far.resume()
  return { near, far }
}

async function pair(isDialledFirst: boolean): Promise<Pair> {
  const { near, far } = await connected()
  return isDialledFirst ? { a: near, b: far } : { a: far, b: near }
}

streamContract('a WebSocket that we opened, what it sends', () => pair(true))
streamContract('a WebSocket that we opened, what it gets', () => pair(false))

it('its library is one that puts nothing else into a close frame', () => {
  // Before 8.20.1 a reason that is no text went out with memory of the process behind it.
  const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve('ws/package.json')), 'utf8')) as {
    version: string
  }
  const [major = 0, minor = 0] = version.split('.').map(Number)
  assert.ok(major > 8 || (major === 8 && minor >= 21), version)
})
