// Owns making connected pairs of real streams for tests, and closing what they left open.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type DialTarget, dial } from '../../../src/net/dial.ts'
import { type Listener, listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { ClientContext, type ClientTlsOptions } from '../../../src/net/tls-client.ts'
import { serverTls } from '../../../src/net/tls-server.ts'
import { openWebServer, type WebServer } from '../../../src/net/web-server.ts'
import type { WsStream } from '../../../src/net/ws-stream.ts'
import type { ByteStream, SecurableStream, TlsSettings } from '../../../src/wire/byte-stream.ts'
import { WebEnd } from '../../support/web-end.ts'
import { askForUpgrade } from '../../support/web-socket.ts'
import type { Pair } from './stream-contract.ts'

const certs = new URL('../../support/certs/', import.meta.url).pathname
export const CERT = { certFile: `${certs}localhost.crt`, keyFile: `${certs}localhost.key` }

const TIMEOUT_MS = 10_000

/** A folder that is removed after the tests of this file. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'net-test-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Our side as a client of this host. */
export function clientTls(host: string, options: Partial<ClientTlsOptions> = {}): TlsSettings {
  const whole = { mode: 'require', caFile: '', certFile: '', keyFile: '', minVersion: 'TLSv1.2' } as const
  return new ClientContext({ ...whole, ...options }).forHost(host)
}

/** `dial` as a promise. */
export function dialed(target: DialTarget, timeoutMs = TIMEOUT_MS): Promise<TcpStream> {
  return new Promise((resolve, reject) => {
    dial(target, timeoutMs, (error, stream) => (stream === null ? reject(error) : resolve(stream)))
  })
}

export interface RealPair {
  a: TcpStream
  b: TcpStream
}

/** Makes pairs over one listener: `a` dialed it, `b` was accepted. */
export function realPairs(kind: 'tcp' | 'unix'): () => Promise<RealPair> {
  let listener: Promise<Listener> | null = null
  const accepted: ((stream: TcpStream) => void)[] = []
  const open = new Set<TcpStream>()
  const path = kind === 'unix' ? join(tempFolder(), 's') : ''
  after(async () => {
    for (const stream of open) stream.destroy('tests over')
    await (await listener)?.close()
  })
  return async () => {
    listener ??= listen(kind === 'unix' ? { path } : { host: '127.0.0.1', port: 0 }, (stream) => {
      stream.pause()
      accepted.shift()?.(stream)
    })
    const { port } = await listener
    const arrived = new Promise<TcpStream>((resolve) => accepted.push(resolve))
    const a = await dialed(kind === 'unix' ? { path } : { host: '127.0.0.1', port })
    const b = await arrived
    open.add(a).add(b)
    b.resume()
    return { a, b }
  }
}

/** `secure` as a promise. */
export function secured(stream: SecurableStream, settings: TlsSettings, early: Buffer | null): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.secure(settings, early, (error) => (error === null ? resolve() : reject(error)))
  })
}

/** Makes pairs that have turned to TLS in the way of SSLRequest. */
export function tlsPairs(): () => Promise<RealPair> {
  const connect = realPairs('tcp')
  return async () => {
    const pair = await connect()
    await Promise.all([secured(pair.b, serverTls(CERT), null), secured(pair.a, clientTls('localhost'), null)])
    return pair
  }
}

/** Makes pairs of the two ends of a WebSocket; `a` is the client's, or the server's. */
export function webPairs(a: 'client' | 'server'): () => Promise<Pair> {
  let opened: Promise<WebServer> | null = null
  const accepted: ((stream: WsStream) => void)[] = []
  const open = new Set<ByteStream>()
  const events = {
    onWebSocket: (stream: WsStream): void => {
      stream.pause()
      accepted.shift()?.(stream)
    },
    onRequest: () => {},
  }
  after(async () => {
    for (const stream of open) stream.destroy('tests over')
    await (await opened)?.close()
  })
  return async () => {
    const options = { host: '127.0.0.1', port: 0, tls: null, keepaliveMs: 5000, maxConnections: 0 }
    opened ??= openWebServer(options, events)
    const { port } = await opened
    const arrived = new Promise<WsStream>((resolve) => accepted.push(resolve))
    const { socket } = await askForUpgrade({ port })
    const client = new WebEnd(socket)
    const server = await arrived
    open.add(client).add(server)
    server.resume()
    return a === 'client' ? { a: client, b: server } : { a: server, b: client }
  }
}
