// Reads the head of the one request that functions send again and again: `POST /sql`, with a length, on a
// connection that is kept. It is stricter than HTTP and refuses nothing: whatever it does not know for
// certain is somebody else's to read, from the first byte. What it takes, Node's parser takes with the same
// meaning. Pure.
import type { IncomingHttpHeaders } from 'node:http'

/** What the beginning of some bytes is. */
export const Found = {
  /** A head that is known: `headers`, `headLength` and `bodyLength` tell of it. */
  Post: 0,
  /** It may become one. */
  Part: 1,
  /** Something else, or something that cannot be told for certain. */
  Other: 2,
} as const
export type Found = (typeof Found)[keyof typeof Found]

/** The longest head that is read here, and the most lines of it. */
export const HEAD_MAX = 8 * 1024
const LINES_MAX = 100
/** The longest body that is waited for here, and its digits. */
export const BODY_MAX = 64 * 1024
const BODY_DIGITS_MAX = 5

export const METHOD = 'POST'
export const PATH = '/sql'
const FIRST_LINE = Buffer.from(`${METHOD} ${PATH} HTTP/1.1\r\n`, 'latin1')
const END = Buffer.from('\r\n\r\n', 'latin1')
/** One header a line, visible ASCII and blanks, no line that goes on, no `__proto__`. */
const LINES = /^(?:[!#$%&'*+\-.^`|~0-9A-Za-z]+:[\t -~]*\r\n)+$/
/** What there may be of a line that has not come whole. */
const PART_OF_LINE = /^(?:[!#$%&'*+\-.^`|~0-9A-Za-z]*|[!#$%&'*+\-.^`|~0-9A-Za-z]+:[\t -~]*\r?|\r)$/
const LENGTH = /^ ?([1-9][0-9]*)$/
/** With these it is another request than it seems, or ends elsewhere; Node makes a list of `set-cookie`. */
const UNUSUAL: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'trailer',
  'te',
  'expect',
  'upgrade',
  'http2-settings',
  'proxy-connection',
  'keep-alive',
  'set-cookie',
])
const LINE_FEED = 0x0a
const ZERO = 0x30
const NO_HEADERS: IncomingHttpHeaders = Object.freeze(Object.create(null) as IncomingHttpHeaders)

/** Whether these bytes begin as such a request does; then a {@link PostReader} should see them. */
export function beginsPost(bytes: Buffer): boolean {
  const { length } = FIRST_LINE
  return bytes.length >= length && bytes.compare(FIRST_LINE, 0, length, 0, length) === 0
}

/**
 * The reader of one connection. The heads of a connection differ in nothing but the length of their bodies:
 * one that is the same but for these digits is not read again, and its headers are the same object.
 */
export class PostReader {
  /**
   * Names in lower case, as Node gives them, without `content-length`. The same object means the same
   * headers; nobody may change it.
   */
  headers: IncomingHttpHeaders = NO_HEADERS
  headLength = 0
  bodyLength = 0
  /** The last head that was read, and where in it the digits of its length are. */
  #known: Buffer | null = null
  #digitsAt = 0
  #digitsEnd = 0

  /** What stands at the beginning of `bytes`. */
  read(bytes: Buffer): Found {
    if (this.#isKnown(bytes)) return Found.Post
    if (!beginsPost(bytes)) return Found.Other
    const end = bytes.indexOf(END)
    if (end < 0) return bytes.length <= HEAD_MAX && mayGoOn(bytes) ? Found.Part : Found.Other
    if (end > HEAD_MAX) return Found.Other
    return this.#readHead(bytes, end) ? Found.Post : Found.Other
  }

  /** ```
   *  known:  POST /sql HTTP/1.1 ... content-length: 123 CR LF ... CR LF CR LF
   *          |------- the same --------------------|   |------ the same ----|
   *  bytes:  POST /sql HTTP/1.1 ... content-length: 45 CR LF ... CR LF CR LF {"query": ...
   *  ```
   */
  #isKnown(bytes: Buffer): boolean {
    const known = this.#known
    if (known === null) return false
    const at = this.#digitsAt
    if (bytes.length <= at || bytes.compare(known, 0, at, 0, at) !== 0) return false
    let digits = at
    let length = 0
    for (; digits < bytes.length && digits - at <= BODY_DIGITS_MAX; digits++) {
      const digit = bytes[digits] - ZERO
      if (digit < 0 || digit > 9) break
      length = length * 10 + digit
    }
    if (digits === at || bytes[at] === ZERO || length > BODY_MAX) return false
    const end = digits + known.length - this.#digitsEnd
    if (bytes.length < end || bytes.compare(known, this.#digitsEnd, known.length, digits, end) !== 0)
      return false
    this.headLength = end
    this.bodyLength = length
    return true
  }

  #readHead(bytes: Buffer, end: number): boolean {
    const text = bytes.toString('latin1', FIRST_LINE.length, end + 2)
    if (!LINES.test(text)) return false
    const headers = Object.create(null) as IncomingHttpHeaders
    let digitsAt = 0
    let count = 0
    for (let at = 0; at < text.length; ) {
      const stop = text.indexOf('\r\n', at)
      const colon = text.indexOf(':', at)
      const name = text.slice(at, colon).toLowerCase()
      // What several of one name mean is not for us to say.
      if (headers[name] !== undefined || UNUSUAL.has(name) || ++count > LINES_MAX) return false
      if (name !== 'content-length') headers[name] = text.slice(colon + 1, stop).trim()
      else if (digitsAt === 0) digitsAt = colon + 1
      else return false
      at = stop + 2
    }
    const { connection } = headers
    if (headers.host === undefined || digitsAt === 0) return false
    if (connection !== undefined && connection.toLowerCase() !== 'keep-alive') return false
    const digits = LENGTH.exec(text.slice(digitsAt, text.indexOf('\r\n', digitsAt)))?.[1]
    if (digits === undefined || Number(digits) > BODY_MAX) return false
    const first = FIRST_LINE.length + text.indexOf(digits, digitsAt)
    this.#know(Buffer.from(bytes.subarray(0, end + END.length)), first, digits.length)
    this.headers = headers
    this.headLength = end + END.length
    this.bodyLength = Number(digits)
    return true
  }

  #know(head: Buffer, digitsAt: number, digits: number): void {
    this.#known = head
    this.#digitsAt = digitsAt
    this.#digitsEnd = digitsAt + digits
  }
}

/** Whether a head that has not come whole is in order as far as it goes. */
function mayGoOn(bytes: Buffer): boolean {
  const whole = bytes.lastIndexOf(LINE_FEED) + 1
  const text = bytes.toString('latin1', FIRST_LINE.length)
  const lines = text.slice(0, whole - FIRST_LINE.length)
  return (lines === '' || LINES.test(lines)) && PART_OF_LINE.test(text.slice(lines.length))
}
