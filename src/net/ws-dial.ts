// Owns the client's end of a WebSocket that carries the bytes of a Postgres connection: the upgrade, binary
// messages both ways, back-pressure, whether the far end is still there. Must never look into the bytes,
// never compress, and never show the user, password or query of a URL.
import WebSocket from 'ws'
import type { ByteStream, PeerInfo, StreamHandler } from '../wire/byte-stream.ts'
import { reportHandlerError } from './handler-errors.ts'
import { errorCode, errorWords } from './peer.ts'
import { ENDED, HIGH_WATER_BYTES, UNOWNED } from './tcp-stream.ts'

/** The largest message that is taken; servers of this protocol send 64 KiB and less. */
const MESSAGE_MAX = 16 * 1024 * 1024
/** How long the far end may be silent before it is asked, and then once more before it is given up. */
const PING_MS = 30_000
const BINARY = { binary: true } as const
/** What closes an orderly conversation: done, going away, no code given. */
const ORDERLY = [1000, 1001, 1005]

/** Exactly one of the two is not null. */
export type WebSocketCallback = (error: Error | null, stream: WebSocketStream | null) => void

/** A URL as it may be shown: without user, password and query. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`
}

/**
 * Opens a WebSocket. `callback` is called once, in a later turn; an error is one sentence. The stream is read
 * from as soon as the callback has returned: give it its handler there.
 */
export function dialWebSocket(url: URL, timeoutMs: number, callback: WebSocketCallback): void {
  const name = shownUrl(url)
  const socket = new WebSocket(url, {
    perMessageDeflate: false,
    handshakeTimeout: timeoutMs,
    maxPayload: MESSAGE_MAX,
  })
  const fail = (words: string): void => {
    socket.removeAllListeners()
    // What is told after the end of a handshake is nobody's business.
    socket.on('error', () => {})
    socket.terminate()
    callback(new Error(`cannot open a WebSocket to ${name}: ${words}`), null)
  }
  socket.once('unexpected-response', (_request, { statusCode }) =>
    fail(`it answers with HTTP status ${statusCode}; is this the port of the serverless endpoint?`),
  )
  socket.once('error', (error) => fail(handshakeWords(error, timeoutMs)))
  socket.once('open', () => {
    socket.removeAllListeners()
    const stream = new WebSocketStream(socket, url)
    try {
      callback(null, stream)
    } catch (thrown) {
      stream.destroy(reportHandlerError(thrown, `a WebSocket to ${name}`).message)
    }
  })
}

function handshakeWords(error: Error, timeoutMs: number): string {
  if (/handshake has timed out/.test(error.message)) return `no answer within ${timeoutMs} ms`
  if (/wrong version number|packet length too long/.test(error.message))
    return 'it does not speak TLS; use ws:// instead of wss://'
  const isPlain = /Parse Error|socket hang up/.test(error.message)
  if (isPlain) return `${error.message}; if it speaks TLS, use wss:// instead of ws://`
  if (/^(DEPTH_ZERO_)?SELF_SIGNED|UNABLE_TO_(VERIFY|GET)/.test(errorCode(error)))
    return `${error.message}; name the file with its authority in NODE_EXTRA_CA_CERTS`
  return errorWords(error)
}

/** An open WebSocket as a {@link ByteStream}. */
export class WebSocketStream implements ByteStream {
  handler: StreamHandler = UNOWNED
  readonly peer: PeerInfo
  readonly #socket: WebSocket
  readonly #onSent: () => void
  #wantsDrain = false
  #open = true
  #closed = false
  #paused = false
  /** Messages of the piece in which the pause came: the socket has been read that far. */
  #held: Buffer[] = []
  /** The far end has closed in good order, and the handler knows. */
  #ended = false
  #reason = ''
  /** Something came since the last time that we asked. */
  #isAlive = true
  #timer: NodeJS.Timeout

  constructor(socket: WebSocket, url: URL) {
    this.#socket = socket
    const { hostname, port, protocol } = url
    this.peer = {
      kind: 'websocket',
      address: hostname,
      port: Number(port),
      encrypted: protocol === 'wss:',
      loopback: false,
    }
    this.#onSent = () => this.#sent()
    this.#timer = setInterval(() => this.#ask(), PING_MS).unref()
    socket.on('message', (message: Buffer, isBinary: boolean) => this.#receive(message, isBinary))
    socket.on('pong', () => {
      this.#isAlive = true
    })
    socket.on('error', (error) => this.#stop(errorWords(error)))
    socket.on('close', (code, reason) => this.#onClosed(code, reason.toString('utf8')))
  }

  write(bytes: Uint8Array): boolean {
    if (!this.#open || bytes.length === 0) return true
    // Masked for its way, so the bytes are copied in this call.
    this.#socket.send(bytes, BINARY, this.#onSent)
    if (this.unsent <= HIGH_WATER_BYTES) return true
    this.#wantsDrain = true
    return false
  }

  get unsent(): number {
    return this.#closed ? 0 : this.#socket.bufferedAmount
  }

  pause(): void {
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // Later, not here: the caller is inside some handler, and must not be entered again.
    process.nextTick(() => this.#deliverHeld())
  }

  end(bytes?: Uint8Array): void {
    if (!this.#open) return
    if (bytes !== undefined) this.write(bytes)
    this.#open = false
    this.#wantsDrain = false
    this.#reason = ENDED
    this.#held = []
    if (this.#ended) process.nextTick(() => this.#tellClosed())
    // The answer to our close frame must be read.
    this.#socket.resume()
    this.#socket.close(1000)
  }

  destroy(reason: string): void {
    if (this.#closed) return
    this.#stop(reason)
    if (this.#ended) process.nextTick(() => this.#tellClosed())
    this.#socket.terminate()
  }

  #receive(message: Buffer, isBinary: boolean): void {
    this.#isAlive = true
    if (!this.#open) return
    if (!isBinary) {
      this.destroy('it sent text, where Postgres sends bytes')
      return
    }
    if (this.#paused) {
      this.#held.push(message)
      return
    }
    try {
      this.handler.onData(message)
    } catch (thrown) {
      this.#failed(thrown, 'onData')
    }
  }

  #deliverHeld(): void {
    while (!this.#paused && this.#open) {
      const message = this.#held.shift()
      if (message === undefined) break
      this.#receive(message, true)
    }
    if (this.#paused || !this.#open) return
    if (this.#ended) this.#tellEnd()
    else this.#socket.resume()
  }

  #sent(): void {
    if (!this.#wantsDrain || !this.#open || this.unsent > 0) return
    this.#wantsDrain = false
    try {
      this.handler.onDrain()
    } catch (thrown) {
      this.#failed(thrown, 'onDrain')
    }
  }

  /** Half a minute has passed. One that we do not read from cannot answer. */
  #ask(): void {
    if (this.#socket.isPaused) this.#isAlive = true
    else if (!this.#isAlive) this.destroy('it no longer answers')
    else {
      this.#isAlive = false
      if (this.#open) this.#socket.ping()
    }
  }

  // The first reason wins: what follows is a consequence.
  #stop(reason: string): void {
    if (this.#reason === '') this.#reason = reason
    this.#open = false
  }

  #onClosed(code: number, words: string): void {
    clearInterval(this.#timer)
    if (this.#reason === '' && ORDERLY.includes(code)) {
      this.#ended = true
      if (!this.#paused) this.#tellEnd()
      return
    }
    this.#stop(code === 1006 ? 'the connection broke' : `it closed with code ${code} ${words}`.trimEnd())
    this.#tellClosed()
  }

  /** Nothing more comes. What is written from now on goes nowhere, until the owner ends its side too. */
  #tellEnd(): void {
    try {
      this.handler.onEnd()
    } catch (thrown) {
      this.#failed(thrown, 'onEnd')
    }
  }

  #tellClosed(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      this.handler.onClose(this.#reason)
    } catch (thrown) {
      reportHandlerError(thrown, 'onClose of a WebSocket')
    }
  }

  #failed(thrown: unknown, where: string): void {
    this.destroy(`internal error: ${reportHandlerError(thrown, `${where} of a WebSocket`).message}`)
  }
}
