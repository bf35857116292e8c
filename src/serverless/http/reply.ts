// The HTTP answer to one request: head, body in one piece or while it is made, compressed where that is
// wanted and worth it. It owns the response; it makes no result. After the first byte there is no other
// status: what goes wrong then ends the connection.
import { isUtf8 } from 'node:buffer'
import { createGzip, type Gzip, gzip } from 'node:zlib'
import type { HttpCounters } from '../../observe/counters.ts'
import type { JsonBuffer } from './json-buffer.ts'
import { notUtf8, type Problem } from './problem.ts'

/** The part of an HTTP response that is used (node:http's ServerResponse has it). */
export interface SqlResponse {
  readonly writableLength: number
  writeHead(status: number, headers: Record<string, string | number>): unknown
  write(chunk: Buffer): boolean
  end(chunk?: string | Buffer): unknown
  /** The end of a short answer, of which the bytes are the caller's again afterwards. Absent: use `end`. */
  endCopy?(bytes: Buffer): void
  on(event: 'close' | 'drain', listener: () => void): unknown
  destroy(): unknown
}

/** Shorter answers are not worth the work. */
const GZIP_FROM = 8 * 1024
/** Little work for most of the gain. */
const GZIP = { level: 3 }

export interface ReplyParts {
  readonly response: SqlResponse
  /** On every answer to this request. */
  readonly headers: Record<string, string | number>
  /** The header `Accept-Encoding`. */
  readonly acceptEncoding: string
  readonly counters: HttpCounters
  /** The connection is not used for another request. */
  isLast(): boolean
  /** The response takes more again. */
  onDrain(): void
}

export class Reply {
  readonly #parts: ReplyParts
  #gzip: Gzip | null = null
  /** The head is out. */
  isStarted = false
  /** The body is out, or on its way by itself. */
  isEnded = false

  constructor(parts: ReplyParts) {
    this.#parts = parts
  }

  #headers(): Record<string, string | number> {
    const { headers, isLast } = this.#parts
    if (isLast()) headers.connection = 'close'
    return headers
  }

  /** Bytes that were not taken yet. */
  get unsent(): number {
    return this.#parts.response.writableLength + (this.#gzip?.writableLength ?? 0)
  }

  /** More of a result whose end is not known. @returns false: stop until `onDrain` */
  send(chunk: Buffer, extra: Readonly<Record<string, string>>): boolean {
    if (this.isEnded) return true
    if (!isUtf8(chunk)) {
      this.cut()
      return true
    }
    if (!this.isStarted) this.#startStream(extra)
    return this.#gzip === null ? this.#write(chunk) : this.#gzip.write(chunk)
  }

  #startStream(extra: Readonly<Record<string, string>>): void {
    const { response, acceptEncoding, counters, onDrain } = this.#parts
    const headers = this.#headers()
    this.isStarted = true
    counters.answered(200)
    if (!takesGzip(acceptEncoding)) {
      response.on('drain', onDrain)
      response.writeHead(200, { ...headers, ...extra })
      return
    }
    response.writeHead(200, { ...headers, ...extra, ...compressed(headers) })
    const packed = createGzip(GZIP)
    this.#gzip = packed
    packed.on('drain', onDrain)
    packed.on('data', (piece: Buffer) => {
      if (!this.#write(piece)) packed.pause()
    })
    response.on('drain', () => packed.resume())
    packed.on('end', () => response.end())
    packed.on('error', () => this.cut())
  }

  #write(piece: Buffer): boolean {
    this.#parts.counters.bytesToClients += piece.length
    return this.#parts.response.write(piece)
  }

  /** The result is complete; `out` has the rest of it, or all. */
  finish(out: JsonBuffer, extra: Readonly<Record<string, string>>): void {
    if (this.isEnded) return
    if (!this.isStarted && out.length <= GZIP_FROM && isUtf8(out.bytes.subarray(0, out.length))) {
      this.isStarted = this.isEnded = true
      const { length } = out
      // Head and body leave in one piece where the body is a text.
      this.#whole(200, [out.takeText() ?? out.take(), length], extra)
      return
    }
    this.#finishLong(out.take(), extra)
  }

  #finishLong(rest: Buffer, extra: Readonly<Record<string, string>>): void {
    if (this.isStarted) {
      if (rest.length > 0) this.send(rest, extra)
      if (this.isEnded) return
      this.isEnded = true
      if (this.#gzip === null) this.#parts.response.end()
      else this.#gzip.end()
      return
    }
    if (!isUtf8(rest)) {
      this.refuse(notUtf8())
      return
    }
    this.isStarted = this.isEnded = true
    if (rest.length > GZIP_FROM && takesGzip(this.#parts.acceptEncoding)) this.#pack(rest, extra)
    else this.#whole(200, [rest, rest.length], extra)
  }

  #pack(body: Buffer, extra: Readonly<Record<string, string>>): void {
    gzip(body, GZIP, (error, packed) => {
      if (error !== null) this.#whole(200, [body, body.length], extra)
      else this.#whole(200, [packed, packed.length], { ...extra, ...compressed(this.#parts.headers) })
    })
  }

  /** @param body with its length in bytes */
  #whole(
    status: number,
    [body, length]: readonly [Buffer | string, number],
    extra: Readonly<Record<string, string>>,
  ): void {
    const { response, counters } = this.#parts
    counters.answered(status)
    counters.bytesToClients += length
    response.writeHead(status, { ...this.#headers(), ...extra, 'content-length': length })
    response.end(body)
  }

  /** There is no result. Behind a part of one the connection ends. */
  refuse({ status, body, retryAfter }: Problem): void {
    if (this.isEnded) return
    if (this.isStarted) {
      this.cut()
      return
    }
    this.isStarted = this.isEnded = true
    const extra = retryAfter > 0 ? { 'retry-after': String(retryAfter) } : {}
    const text = JSON.stringify(body)
    this.#whole(status, [text, Buffer.byteLength(text)], extra)
  }

  /** The connection is over, or the answer out. */
  closed(): void {
    if (!this.isStarted) this.#parts.counters.answered(0)
  }

  /** Ends the connection: the client must not take what it has for all there is. */
  cut(): void {
    this.isEnded = true
    this.#gzip?.destroy()
    this.#parts.response.destroy()
  }
}

function compressed(headers: Readonly<Record<string, string | number>>): Record<string, string> {
  const vary = headers.vary === undefined ? 'Accept-Encoding' : `${headers.vary}, Accept-Encoding`
  return { 'content-encoding': 'gzip', vary }
}

/** What `Accept-Encoding` says about gzip. */
function takesGzip(header: string): boolean {
  for (const part of header.split(',')) {
    const [name, ...rest] = part.trim().toLowerCase().split(';')
    if (name.trim() !== 'gzip' && name.trim() !== '*') continue
    return !rest.some((one) => /^\s*q\s*=\s*0(\.0*)?\s*$/.test(one))
  }
  return false
}
