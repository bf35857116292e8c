// Connections that send one `POST /sql` after another, without Node's parser and its streams, which cost
// more than all else that a short query needs. They own a connection as long as it sends nothing but whole
// requests that `post-head.ts` knows, one at a time. With anything else (another request, a second one before
// its turn, one that comes slowly) all that was not answered is Node's, and the connection stays there.
import type { PlainSocket } from './plain-socket.ts'
import { PostAnswer, type AnswerOwner } from './post-answer.ts'
import { BODY_MAX, Found, HEAD_MAX, METHOD, PATH, PostReader } from './post-head.ts'
import { ENDED, TcpStream } from './tcp-stream.ts'
import type { PeerName } from './peer.ts'
import type { StreamHandler } from '../wire/byte-stream.ts'
import type { WebRequest } from './web-request.ts'

/** Pieces in which a request may come. */
const PIECES_MAX = 32
/** How long a request may take to come; from then on Node's limits count. */
const PART_MS = 2000
/** Of what comes before an answer is out so much is kept, in so many pieces; then nothing is read. */
const HELD_MAX = HEAD_MAX + BODY_MAX
/** What the other end is given besides the time that it was told, so that no request of its is lost. */
const KEEPALIVE_GRACE_MS = 1000
/** From here on memory that was read is read into again. */
const LENT_FROM = 4 * 1024

export interface PostEvents {
  /** Must end the answer at some time, and not throw. */
  onPost(request: WebRequest, answer: PostAnswer): void
  /** An answer is out, or was given up. */
  onAnswered(): void
  /** @param bytes what was read and not answered; a copy. They and all that follows are somebody else's */
  onOther(connection: PlainSocket, bytes: Buffer): void
}

/** All of them. */
export class PostConnections {
  readonly events: PostEvents
  /** What a connection without a request is given; 0: any time. */
  keepaliveMs: number
  isClosing = false
  readonly #all = new Set<PostConnection>()
  readonly #timer: NodeJS.Timeout

  /** @param everyMs how often connections are looked at */
  constructor(events: PostEvents, { keepaliveMs, everyMs }: { keepaliveMs: number; everyMs: number }) {
    this.events = events
    this.keepaliveMs = keepaliveMs
    this.#timer = setInterval(() => this.#tick(performance.now()), everyMs).unref()
  }

  get size(): number {
    return this.#all.size
  }

  /** It has sent `chunk`, which begins such a request. */
  add(connection: PlainSocket, chunk: Buffer): void {
    const added = new PostConnection(connection, this)
    this.#all.add(added)
    added.onData(chunk)
  }

  forget(connection: PostConnection): void {
    this.#all.delete(connection)
  }

  /** Those without a request are closed, the others behind their answer. */
  close(): void {
    this.isClosing = true
    clearInterval(this.#timer)
    for (const connection of this.#all) if (!connection.isBusy) connection.stream.destroy(ENDED)
  }

  /** All are closed. */
  cutOff(): void {
    for (const connection of this.#all) connection.stream.destroy(ENDED)
  }

  #tick(now: number): void {
    for (const connection of this.#all) connection.tick(now)
  }
}

class PostConnection implements StreamHandler, AnswerOwner, PeerName {
  readonly stream: TcpStream
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly #all: PostConnections
  readonly #socket: PlainSocket
  readonly #reader = new PostReader()
  #answer: PostAnswer | null = null
  /** A request that has not come whole; while an answer is under way, what came behind its request. */
  #kept: Buffer | null = null
  #pieces = 0
  /** Since when it has no request, or one that has not come whole. */
  #since = performance.now()
  #isOver = false

  constructor(socket: PlainSocket, all: PostConnections) {
    this.#socket = socket
    this.#all = all
    const { remoteAddress, remotePort } = socket.peerName()
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
    this.stream = new TcpStream(socket, false)
    this.stream.handler = this
  }

  get isBusy(): boolean {
    return this.#answer !== null
  }

  get keepaliveMs(): number {
    return this.#all.keepaliveMs
  }

  onData(chunk: Buffer): void {
    const kept = this.#kept
    if (this.#answer !== null) this.#hold(chunk)
    else if (kept === null) this.#look(chunk)
    else {
      this.#kept = null
      this.#look(Buffer.concat([kept, chunk]))
    }
  }

  #look(bytes: Buffer): void {
    const reader = this.#reader
    const found = reader.read(bytes)
    if (found === Found.Other) {
      this.#handOver(bytes)
      return
    }
    const missing = found === Found.Part ? 1 : reader.headLength + reader.bodyLength - bytes.length
    if (missing === 0) this.#start(bytes)
    else if (missing > 0 && ++this.#pieces < PIECES_MAX) this.#keep(bytes)
    // There is more than one: Node answers several at a time.
    else this.#handOver(bytes)
  }

  #keep(bytes: Buffer): void {
    if (this.#pieces === 1) this.#since = performance.now()
    this.#kept = Buffer.from(bytes)
  }

  #start(bytes: Buffer): void {
    const { headers, headLength } = this.#reader
    this.#pieces = 0
    const body = bytes.subarray(headLength)
    const answer = new PostAnswer(this)
    this.#answer = answer
    const request = new PostRequest(this, headers, bytes.length < LENT_FROM ? body : Buffer.from(body))
    this.#all.events.onPost(request, answer)
  }

  /** Somebody sends the next request before the answer to this one. */
  #hold(chunk: Buffer): void {
    this.#kept = this.#kept === null ? Buffer.from(chunk) : Buffer.concat([this.#kept, chunk])
    if (this.#kept.length >= HELD_MAX || ++this.#pieces >= PIECES_MAX) this.#socket.pause()
  }

  onAnswered(isLast: boolean): void {
    this.#answer = null
    this.#since = performance.now()
    this.#all.events.onAnswered()
    if (this.#isOver) return
    const kept = this.#kept
    if (isLast || this.#all.isClosing) this.#leave()
    else if (kept !== null) {
      this.#kept = null
      this.#handOver(kept)
    }
  }

  #handOver(bytes: Buffer): void {
    // It broke while it was written to: `onClose` is to come.
    if (this.#socket.destroyed) return
    this.#isOver = true
    this.#all.forget(this)
    this.#all.events.onOther(this.#socket, Buffer.from(bytes))
  }

  /** What was written goes out before. */
  #leave(): void {
    this.#isOver = true
    this.#kept = null
    this.stream.end()
  }

  onDrain(): void {
    this.#answer?.drained()
  }

  onEnd(): void {
    const kept = this.#kept
    if (this.#answer === null && kept !== null) {
      // Half a request: Node has words for that.
      this.#kept = null
      this.#handOver(kept)
      return
    }
    // As with Node: who says that nothing more will come does not wait for an answer.
    this.#leave()
    this.#answer?.closed()
  }

  onClose(): void {
    this.#isOver = true
    this.#all.forget(this)
    this.#answer?.closed()
  }

  tick(now: number): void {
    if (this.#answer !== null || this.#isOver) return
    const kept = this.#kept
    const silent = now - this.#since
    const { keepaliveMs } = this
    if (kept !== null) {
      if (silent < PART_MS) return
      this.#kept = null
      this.#handOver(kept)
    } else if (keepaliveMs > 0 && silent > keepaliveMs + KEEPALIVE_GRACE_MS) this.stream.destroy(ENDED)
  }
}

class PostRequest implements WebRequest {
  readonly method: string = METHOD
  readonly url: string = PATH
  readonly socket: PostConnection
  readonly headers: WebRequest['headers']
  readonly body: Buffer

  constructor(socket: PostConnection, headers: WebRequest['headers'], body: Buffer) {
    this.socket = socket
    this.headers = headers
    this.body = body
  }

  on(): void {}
}
