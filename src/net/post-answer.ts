// The answer to one request of a `PostConnection`: the same head that Node's server would give it, and one
// write for all of it where it is short. It owns its bytes on their way to the stream; must never write
// behind its end, or into the answer of another request.
import { STATUS_CODES } from 'node:http'
import type { TcpStream } from './tcp-stream.ts'
import { take } from './slab.ts'
import type { WebResponse } from './web-request.ts'

/** A body up to this is copied behind its head. */
const JOINED_MAX = 8 * 1024
const NEW_LINE = Buffer.from('\r\n', 'latin1')
const LAST_CHUNK = Buffer.from('0\r\n\r\n', 'latin1')
const SECOND = 1000
/** A head that holds anything else could be two. */
const LINE_BREAK = /[\r\n\0]/

/** Whose answer it is. */
export interface AnswerOwner {
  readonly stream: TcpStream
  /** What `Keep-Alive` says, in milliseconds; 0: there is no such header. */
  readonly keepaliveMs: number
  /** It has been handed over to the last byte. @param isLast the connection is not used any more */
  onAnswered(isLast: boolean): void
}

export class PostAnswer implements WebResponse {
  headersSent = false
  /** It is out, or cannot go out any more. */
  isClosed = false
  isEnded = false
  readonly #owner: AnswerOwner
  #head = ''
  #isChunked = false
  #isLast = false
  #onClose: (() => void) | null = null
  #onDrain: (() => void) | null = null

  constructor(owner: AnswerOwner) {
    this.#owner = owner
  }

  get writableLength(): number {
    return this.isClosed ? 0 : this.#owner.stream.unsent
  }

  /** One listener each: the last one counts. */
  on(event: 'close' | 'drain', listener: () => void): void {
    if (event === 'close') this.#onClose = listener
    else this.#onDrain = listener
  }

  /** The head leaves with the first bytes behind it. */
  writeHead(status: number, headers: Readonly<Record<string, string | number>>): void {
    this.headersSent = true
    let lines = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`
    for (const name in headers) lines += `${name}: ${oneLine(headers[name])}\r\n`
    this.#isLast = headers.connection === 'close'
    this.#isChunked = headers['content-length'] === undefined
    const chunks = this.#isChunked ? 'Transfer-Encoding: chunked\r\n' : ''
    this.#head = `${lines}${commonLines(this.#isLast, this.#owner.keepaliveMs)}${chunks}\r\n`
  }

  write(chunk: Buffer): boolean {
    if (this.isEnded || chunk.length === 0) return true
    const { stream } = this.#owner
    if (!this.#isChunked) this.#putHead()
    else {
      this.#head += `${chunk.length.toString(16)}\r\n`
      this.#putHead()
    }
    const goesOn = stream.write(chunk)
    return this.#isChunked ? stream.write(NEW_LINE) : goesOn
  }

  end(chunk?: string | Buffer): void {
    if (this.isEnded) return
    if (chunk !== undefined && chunk.length > 0) {
      if (!this.#isChunked && typeof chunk === 'string') {
        this.endCopy(Buffer.from(chunk, 'utf8'))
        return
      }
      this.write(typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk)
    }
    if (this.isEnded) return
    this.isEnded = true
    this.#putHead()
    if (this.#isChunked) this.#owner.stream.write(LAST_CHUNK)
    this.#close()
  }

  endCopy(bytes: Buffer): void {
    if (this.isEnded) return
    const head = this.#head
    if (this.#isChunked || bytes.length > JOINED_MAX) {
      this.end(Buffer.from(bytes))
      return
    }
    this.isEnded = true
    this.#head = ''
    const whole = take(head.length + bytes.length)
    whole.write(head, 0, 'latin1')
    bytes.copy(whole, head.length)
    this.#owner.stream.write(whole)
    this.#close()
  }

  destroy(): void {
    if (this.isClosed) return
    this.isEnded = true
    this.#owner.stream.destroy('the answer was given up')
  }

  /** The stream takes more again, or has taken everything. */
  drained(): void {
    if (this.isClosed) return
    if (this.isEnded) this.closed()
    else this.#onDrain?.()
  }

  /** It is out, or the connection is gone. */
  closed(): void {
    if (this.isClosed) return
    this.isClosed = this.isEnded = true
    this.#onClose?.()
    this.#owner.onAnswered(this.#isLast)
  }

  #putHead(): void {
    if (this.#head === '') return
    this.#owner.stream.write(Buffer.from(this.#head, 'latin1'))
    this.#head = ''
  }

  /** Nothing else is to come for the stream in this turn: so it leaves at once. */
  #close(): void {
    const { stream } = this.#owner
    stream.flush()
    if (stream.tellWhenWritten()) this.closed()
  }
}

function oneLine(value: string | number | undefined): string {
  const text = String(value)
  if (LINE_BREAK.test(text)) throw new Error('a header of an answer holds a line break')
  return text
}

let common = ''
let commonUntil = 0
let commonKeepaliveMs = -1

/** What each answer says besides: worked out once a second. */
function commonLines(isLast: boolean, keepaliveMs: number): string {
  const now = Date.now()
  const date = (): string => `Date: ${new Date(now).toUTCString()}\r\n`
  if (isLast) return date()
  if (now >= commonUntil || now < commonUntil - SECOND || keepaliveMs !== commonKeepaliveMs) {
    commonUntil = now - (now % SECOND) + SECOND
    commonKeepaliveMs = keepaliveMs
    const times = keepaliveMs > 0 ? `Keep-Alive: timeout=${Math.floor(keepaliveMs / SECOND)}\r\n` : ''
    common = `${date()}Connection: keep-alive\r\n${times}`
  }
  return common
}
