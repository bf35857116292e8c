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

/** Whose answer it is. */
export interface ReplyOwner {
  readonly counters: HttpCounters
  /** The header `Accept-Encoding`. */
  readonly acceptEncoding: string
  /** The connection is not used for another request. */
  readonly isLast: boolean
  /** The response takes more again. */
  drained(): void
}

/** Where there are no other headers than those of every answer. */
export const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

export class Reply {
  readonly #response: SqlResponse
  readonly #common: Record<string, string | number>
  readonly #owner: ReplyOwner
  #gzip: Gzip | null = null
  /** The head is out. */
  isStarted = false
  /** The body is out, or on its way by itself. */
  isEnded = false

  /** @param headers of the answer to this request, whatever it is; they are its own from now on */
  constructor(response: SqlResponse, headers: Record<string, string | number>, owner: ReplyOwner) {
    this.#response = response
    this.#common = headers
    this.#owner = owner
  }

  /** All headers: there is one answer only. */
  #headers(extra: Readonly<Record<string, string>>): Record<string, string | number> {
    const headers = this.#common
    for (const name in extra) headers[name] = extra[name]!
    if (this.#owner.isLast) headers.connection = 'close'
    return headers
  }

  /** Bytes that were not taken yet. */
  get unsent(): number {
    return this.#response.writableLength + (this.#gzip?.writableLength ?? 0)
  }

  /** More of a result whose end is not known. @returns false: stop until `drained` */
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
    const response = this.#response
    const owner = this.#owner
    this.isStarted = true
    owner.counters.answered(200)
    if (!takesGzip(owner.acceptEncoding)) {
      response.on('drain', () => owner.drained())
      response.writeHead(200, this.#headers(extra))
      return
    }
    response.writeHead(200, compressed(this.#headers(extra)))
    const packed = createGzip(GZIP)
    this.#gzip = packed
    packed.on('drain', () => owner.drained())
    packed.on('data', (piece: Buffer) => {
      if (!this.#write(piece)) packed.pause()
    })
    response.on('drain', () => packed.resume())
    packed.on('end', () => response.end())
    packed.on('error', () => this.cut())
  }

  #write(piece: Buffer): boolean {
    this.#owner.counters.bytesToClients += piece.length
    return this.#response.write(piece)
  }

  /** The result is complete; `out` has the rest of it, or all. */
  finish(out: JsonBuffer, extra: Readonly<Record<string, string>>): void {
    if (this.isEnded) return
    if (!this.isStarted && out.length <= GZIP_FROM) {
      const bytes = out.bytes.subarray(0, out.length)
      if (isUtf8(bytes)) {
        this.isStarted = this.isEnded = true
        this.#finishShort(out, bytes, extra)
        return
      }
    }
    this.#finishLong(out.take(), extra)
  }

  /** Head and body leave in one piece: of Node's making where the body is a text. */
  #finishShort(out: JsonBuffer, bytes: Buffer, extra: Readonly<Record<string, string>>): void {
    const response = this.#response
    this.#head(200, bytes.length, extra)
    if (response.endCopy !== undefined) response.endCopy(bytes)
    else response.end(out.takeText() ?? out.take())
  }

  #finishLong(rest: Buffer, extra: Readonly<Record<string, string>>): void {
    if (this.isStarted) {
      if (rest.length > 0) this.send(rest, extra)
      if (this.isEnded) return
      this.isEnded = true
      if (this.#gzip === null) this.#response.end()
      else this.#gzip.end()
      return
    }
    if (!isUtf8(rest)) {
      this.refuse(notUtf8())
      return
    }
    this.isStarted = this.isEnded = true
    if (rest.length > GZIP_FROM && takesGzip(this.#owner.acceptEncoding)) this.#pack(rest, extra)
    else this.#whole(rest, extra)
  }

  #pack(body: Buffer, extra: Readonly<Record<string, string>>): void {
    gzip(body, GZIP, (error, packed) => {
      if (error === null) compressed(this.#common)
      this.#whole(error === null ? packed : body, extra)
    })
  }

  #whole(body: Buffer, extra: Readonly<Record<string, string>>): void {
    this.#head(200, body.length, extra)
    this.#response.end(body)
  }

  /** @param length of the body in bytes */
  #head(status: number, length: number, extra: Readonly<Record<string, string>>): void {
    const { counters } = this.#owner
    counters.answered(status)
    counters.bytesToClients += length
    const headers = this.#headers(extra)
    headers['content-length'] = length
    this.#response.writeHead(status, headers)
  }

  /** There is no result. Behind a part of one the connection ends. */
  refuse({ status, body, retryAfter }: Problem): void {
    if (this.isEnded) return
    if (this.isStarted) {
      this.cut()
      return
    }
    this.isStarted = this.isEnded = true
    const extra = retryAfter > 0 ? { 'retry-after': String(retryAfter) } : NO_HEADERS
    const text = JSON.stringify(body)
    this.#head(status, Buffer.byteLength(text), extra)
    this.#response.end(text)
  }

  /** The connection is over, or the answer out. */
  closed(): void {
    if (!this.isStarted) this.#owner.counters.answered(0)
  }

  /** Ends the connection: the client must not take what it has for all there is. */
  cut(): void {
    this.isEnded = true
    this.#gzip?.destroy()
    this.#response.destroy()
  }
}

/** @returns the same object, with what a packed body needs */
function compressed(headers: Record<string, string | number>): Record<string, string | number> {
  headers.vary = headers.vary === undefined ? 'Accept-Encoding' : `${headers.vary}, Accept-Encoding`
  headers['content-encoding'] = 'gzip'
  return headers
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
