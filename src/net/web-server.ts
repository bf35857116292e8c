// Owns the port of the endpoint for WebSocket and HTTP: Node's HTTP server with its limits and timeouts, TLS,
// the upgrade, and what is read without Node. It hands out WebSockets as streams and plain requests as they
// are. Must never know who may come in, what is asked for, nor answer an upgrade that is in order with
// anything but a WebSocket.
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { PeerInfo, StreamHandler } from '../wire/byte-stream.ts'
import { reportHandlerError } from './handler-errors.ts'
import { KEEPALIVE_MS } from './dial.ts'
import { FirstLooks } from './first-look.ts'
import { bind, type Listener, listenError, listenerOf } from './listen.ts'
import { errorCode } from './peer.ts'
import { acceptPlain, type PlainOwner, type PlainSocket } from './plain-socket.ts'
import { PostConnections } from './post-connection.ts'
import { TcpStream } from './tcp-stream.ts'
import { readPair } from './tls-files.ts'
import { names, type Problem, problemOf, switching, type UpgradeHead } from './upgrade-head.ts'
import type { WebRequest, WebResponse } from './web-request.ts'
import { WsStream } from './ws-stream.ts'

export type { UpgradeHead } from './upgrade-head.ts'
export type { WebRequest, WebResponse } from './web-request.ts'

const LIMITS = {
  maxHeaderSize: 32 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
}
/** What is left to an answer when everything is cut off. */
const LAST_WORDS_MS = 500
const HANDSHAKE_MS = 15_000
const NOBODY: StreamHandler = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }
const NO_OWNER: PlainOwner = { onChunk() {}, onHalfClosed() {}, onFailed() {}, onGone() {} }
/** Requests that one connection may have under way: drivers send the next one when they have the answer. */
const PIPELINED_MAX = 64
/** How often open WebSockets are looked at. */
const TICK_MS = 1000
/** How often connections that send queries are looked at. */
const POSTS_MS = 1000

/** Certificate and key of the port, and what is spoken at least. */
export interface WebTls {
  readonly certFile: string
  readonly keyFile: string
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
}

export interface WebServerEvents {
  /** Must set the handler of the stream before it returns. */
  onWebSocket(stream: WsStream, head: UpgradeHead): void
  onRequest(request: WebRequest, response: WebResponse): void | Promise<void>
  /** What was neither was answered with this status. */
  onRefused?(status: number): void
}

export interface WebServerOptions {
  readonly host: string
  readonly port: number
  /** null: in the clear. */
  readonly tls: WebTls | null
  /** How long a connection is kept without a request. */
  readonly keepaliveMs: number
  /** 0: any number. */
  readonly maxConnections: number
}

/** The open port. */
export class WebServer implements Listener {
  readonly address: string
  readonly port: number
  /** WebSockets that are open. */
  readonly isTls: boolean
  readonly sockets = new Set<WsStream>()
  readonly #server: Server
  readonly #listener: Listener
  readonly #events: WebServerEvents
  /**
   * The answers that each connection waits for. What Node calls idle leaves out those that have never asked,
   * and has in it those whose answer is still on its way.
   */
  readonly #underWay = new Map<Socket, Set<ServerResponse>>()
  /** Connections that have not said anything. */
  readonly #looks: FirstLooks
  /** Connections that send queries and nothing else. */
  readonly #posts: PostConnections
  /** Connections that are open, whatever became of them; with TLS Node counts. */
  #connections = 0
  /** Answers that are made or on their way. */
  #answers = 0
  #isClosing = false
  #finished: (() => void) | null = null
  #lastTick = 0

  /** @param server it is bound already */
  constructor(server: Server, events: WebServerEvents, isTls: boolean) {
    this.#server = server
    this.#events = events
    this.isTls = isTls
    const { headersTimeout: limitMs, connectionsCheckingInterval: everyMs } = LIMITS
    this.#looks = new FirstLooks(
      {
        onUpgrade: (connection, head, rest) => this.#onPlainUpgrade(connection, head, rest),
        onPost: (connection, chunk) => this.#posts.add(connection, chunk),
        onOther: (connection, chunk) => this.#onOther(connection, chunk),
        onSilent: (connection) => this.#refuse(new TcpStream(connection, false), TOO_LATE),
      },
      { limitMs, everyMs },
    )
    this.#posts = this.#postConnections(server.keepAliveTimeout)
    if (!isTls)
      acceptPlain(server, { keepaliveMs: KEEPALIVE_MS }, (connection) => this.#onAccepted(connection))
    this.#listener = listenerOf(server)
    this.address = this.#listener.address
    this.port = this.#listener.port
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => {
      const underWay = new Set<ServerResponse>()
      this.#underWay.set(socket, underWay)
      socket.once('close', () => {
        this.#underWay.delete(socket)
        // Node 22 tells those only whose turn had come.
        if (underWay.size > 0) setImmediate(() => tellClosed(underWay))
      })
    })
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const { socket } = request
      const underWay = this.#underWay.get(socket)
      if (underWay === undefined || socket.destroyed || underWay.size >= PIPELINED_MAX) {
        socket.destroy()
        return
      }
      underWay.add(response)
      this.#answers++
      response.once('close', () => this.#onAnswered(socket, response, underWay))
      this.#onRequest(request, response)
    })
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const isBusy = this.#underWay.get(socket)?.size !== 0
      this.#underWay.delete(socket)
      // An answer that is still to come would be written into the WebSocket.
      if (isBusy) socket.destroy()
      else this.#onUpgrade(request, socket, head)
    })
    // `close` of Node's calls it.
    server.closeIdleConnections = () => {}
    server.on('clientError', (error: Error, socket: Duplex) => this.#onClientError(error, socket))
    server.on('error', (error: Error) => reportHandlerError(error, 'the listener for WebSocket and HTTP'))
  }

  #postConnections(keepaliveMs: number): PostConnections {
    return new PostConnections(
      {
        onPost: (request, answer) => {
          this.#answers++
          this.#onRequest(request, answer)
        },
        onAnswered: () => this.#onOneLess(),
        onOther: (connection, bytes) => this.#onOther(connection, bytes),
      },
      { keepaliveMs, everyMs: POSTS_MS },
    )
  }

  /** Nobody else comes in; connections that no request uses are closed, WebSockets live on. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#listener.close()
    this.#looks.close()
    this.#posts.close()
    for (const [socket, underWay] of this.#underWay) if (underWay.size === 0) socket.destroy()
  }

  /** Resolves when no answer is on its way any more. */
  async finished(): Promise<void> {
    if (this.#answers === 0) return
    await new Promise<void>((resolve) => {
      this.#finished = resolve
    })
  }

  /** What is under way is given up; answers that say so have a moment to leave. WebSockets are not meant. */
  cutOff(): void {
    if (this.#answers === 0) this.#closeAll()
    else setTimeout(() => this.#closeAll(), LAST_WORDS_MS).unref()
  }

  #closeAll(): void {
    this.#server.closeAllConnections()
    this.#posts.cutOff()
  }

  #onAnswered(socket: Socket, response: ServerResponse, underWay: Set<ServerResponse>): void {
    underWay.delete(response)
    this.#onOneLess()
    if (this.#isClosing && underWay.size === 0 && !socket.destroyed) socket.destroySoon()
  }

  #onOneLess(): void {
    this.#answers--
    if (this.#answers === 0) this.#finished?.()
  }

  /** New connections are kept for so long, and use these certificates. @throws CertificateError */
  reconfigure({ tls, keepaliveMs }: Pick<WebServerOptions, 'tls' | 'keepaliveMs'>): void {
    if (tls !== null && this.isTls) {
      const server = this.#server as unknown as { setSecureContext(options: object): void }
      server.setSecureContext(contextOf(tls))
    }
    this.#server.keepAliveTimeout = keepaliveMs
    this.#posts.keepaliveMs = keepaliveMs
  }

  /** Time has passed. @param pingMs silence after which a WebSocket is pinged; 0: never */
  tick(now: number, pingMs: number): void {
    if (this.#lastTick === 0) this.#lastTick = now
    const elapsed = now - this.#lastTick
    if (elapsed < TICK_MS) return
    this.#lastTick = now
    for (const stream of this.sockets) stream.tick(elapsed, pingMs)
  }

  #onRequest(request: WebRequest, response: WebResponse): void {
    try {
      const answered = this.#events.onRequest(request, response)
      if (answered instanceof Promise) answered.catch((thrown) => this.#failed(thrown, request, response))
    } catch (thrown) {
      this.#failed(thrown, request, response)
    }
  }

  #failed(thrown: unknown, request: WebRequest, response: WebResponse): void {
    const path = (request.url ?? '').split('?')[0]
    reportHandlerError(thrown, `HTTP ${request.method} ${path}`)
    if (response.headersSent) response.destroy()
    else answerJson(response, 500, 'internal error')
  }

  #onAccepted(connection: PlainSocket): void {
    const most = this.#server.maxConnections ?? 0
    if (most > 0 && this.#connections >= most) {
      connection.owner = NO_OWNER
      connection.destroy()
      return
    }
    this.#connections++
    connection.onClosed = () => this.#onGone()
    this.#looks.add(connection)
  }

  /** What is not a WebSocket as drivers open it is read by Node, from its first byte. */
  #onOther(connection: PlainSocket, chunk: Buffer): void {
    const socket = connection.toSocket()
    socket.once('close', () => this.#onGone())
    socket.unshift(chunk)
    this.#server.emit('connection', socket)
  }

  #onGone(): void {
    this.#connections--
  }

  #onPlainUpgrade(connection: PlainSocket, head: UpgradeHead, rest: Buffer): void {
    const carrier = new TcpStream(connection, false)
    const stream = this.#open(carrier, head)
    connection.onClosed = () => {
      this.sockets.delete(stream)
      this.#onGone()
    }
    if (rest.length > 0) carrier.onChunk(rest)
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, early: Buffer): void {
    const problem = problemOf(request)
    if (problem !== null) {
      // Node's parser has no more to do with it.
      socket.removeAllListeners('data')
      this.#refuse(new TcpStream(socket, false), problem)
      return
    }
    const { headers, url = '/' } = request
    if (early.length > 0) socket.unshift(early)
    const stream = this.#open(new TcpStream(socket, false), { headers, url })
    socket.once('close', () => this.sockets.delete(stream))
  }

  /** Answers the upgrade. */
  #open(carrier: TcpStream, head: UpgradeHead): WsStream {
    const peer: PeerInfo = { ...carrier.peer, kind: 'websocket', encrypted: this.isTls }
    carrier.write(Buffer.from(switching(head.headers), 'latin1'))
    const stream = new WsStream(carrier, peer)
    this.sockets.add(stream)
    try {
      this.#events.onWebSocket(stream, head)
    } catch (thrown) {
      const error = reportHandlerError(thrown, 'a new websocket connection')
      stream.destroy(`internal error: ${error.message}`)
    }
    return stream
  }

  /** What Node could not read as HTTP, or did not get in time. */
  #onClientError(error: Error, socket: Duplex): void {
    const code = errorCode(error)
    const problem = CLIENT_ERRORS[code] ?? (code.startsWith('HPE_') ? NOT_HTTP : null)
    if (problem === null || !socket.writable || socket.destroyed) {
      socket.destroy()
      return
    }
    // Node's parser has no more to do with it.
    socket.removeAllListeners('data')
    this.#refuse(new TcpStream(socket as Socket, false), problem)
  }

  #refuse(stream: TcpStream, problem: Problem): void {
    this.#events.onRefused?.(Number.parseInt(problem.status, 10))
    refuse(stream, problem)
  }
}

/**
 * Opens the port. `close` stops accepting; what is under way is finished.
 * @throws Error one sentence that says what to do, when the address is taken or a certificate cannot be used
 */
export async function openWebServer(options: WebServerOptions, events: WebServerEvents): Promise<WebServer> {
  const { host, port, tls, keepaliveMs, maxConnections } = options
  const common = {
    ...LIMITS,
    keepAliveTimeout: keepaliveMs,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    // Offers of other protocols are declined by not being taken up. Node before 24.9 does not ask.
    shouldUpgradeCallback: (request: IncomingMessage) => names(request.headers.upgrade, 'websocket'),
  }
  const server =
    tls === null
      ? createHttpServer(common)
      : createHttpsServer({ ...common, ...contextOf(tls), handshakeTimeout: HANDSHAKE_MS })
  if (maxConnections > 0) server.maxConnections = maxConnections
  await bind(server, { host, port }).catch((error: Error) => {
    throw listenError(error, { host, port })
  })
  return new WebServer(server as Server, events, tls !== null)
}

function contextOf({ certFile, keyFile, minVersion }: WebTls): object {
  const { cert, key } = readPair(certFile, keyFile)
  return { cert, key, minVersion }
}

function tellClosed(responses: ReadonlySet<ServerResponse>): void {
  for (const response of responses) response.emit('close')
}

/** Sends an error as the endpoint sends them all. */
export function answerJson(response: WebResponse, status: number, message: string): void {
  const body = Buffer.from(JSON.stringify({ message }))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

const NOT_HTTP: Problem = { status: '400 Bad Request', message: 'this is not HTTP/1.1 as it should be' }
const TOO_LATE: Problem = { status: '408 Request Timeout', message: 'the request did not come in time' }
/** What is told of errors that Node names. */
const CLIENT_ERRORS: Readonly<Record<string, Problem>> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    message: 'the headers are longer than 32 KiB',
  },
  ERR_HTTP_REQUEST_TIMEOUT: TOO_LATE,
}

/** Answers and lets go: what still comes is read and thrown away, or the answer could be lost. */
function refuse(stream: TcpStream, { status, message, headers = '' }: Problem): void {
  const body = Buffer.from(JSON.stringify({ message }))
  const text =
    `HTTP/1.1 ${status}\r\n${headers}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n` +
    `Connection: close\r\n\r\n${body.toString()}`
  stream.handler = NOBODY
  stream.end(Buffer.from(text))
}
