// The request with which a WebSocket begins: what has to stand in it, and the answer. Also a reader for the
// usual one, which drivers send in one piece. That reader is stricter than HTTP: whatever it does not know
// for certain it leaves to Node's, and it refuses nothing. Pure.
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** What RFC 6455 adds to the key of a client. */
const KEY_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const KEY = /^[+/0-9A-Za-z]{22}==$/
const VERSION = '13'
/** The one subprotocol that some tunnels ask for: it means what is sent here anyway. */
const SUBPROTOCOL = 'binary'

/** An upgrade that is in order. */
export interface UpgradeHead {
  readonly headers: IncomingHttpHeaders
  readonly url: string
}

/** What is answered where there is no WebSocket. */
export interface Problem {
  readonly status: string
  readonly message: string
  readonly headers?: string
}

/** Whether a header is a list in which this stands. */
export function names(header: string | undefined, wanted: string): boolean {
  return header?.split(',').some((name) => name.trim().toLowerCase() === wanted) === true
}

/** What is wrong with an upgrade. */
export function problemOf(request: {
  readonly method?: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly httpVersion: string
}): Problem | null {
  const { method, headers, httpVersion } = request
  const bad = (message: string): Problem => ({ status: '400 Bad Request', message })
  if (!names(headers.upgrade, 'websocket')) return bad('only WebSocket is spoken besides HTTP/1.1')
  if (method !== 'GET') return bad('a WebSocket is opened with GET')
  if (httpVersion !== '1.1') return bad('a WebSocket is opened with HTTP/1.1')
  if (!names(headers.connection, 'upgrade')) return bad('the header Connection does not say Upgrade')
  if (headers['sec-websocket-version'] !== VERSION) {
    return {
      status: '426 Upgrade Required',
      message: `only version ${VERSION} of the WebSocket protocol is spoken`,
      headers: `Sec-WebSocket-Version: ${VERSION}\r\n`,
    }
  }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) return bad('Sec-WebSocket-Key is not 16 bytes in base64')
  return null
}

/** The answer to one that is in order. */
export function switching(headers: IncomingHttpHeaders): string {
  const accept = createHash('sha1').update(`${headers['sec-websocket-key']}${KEY_SUFFIX}`).digest('base64')
  const isOffered = names(headers['sec-websocket-protocol'], SUBPROTOCOL)
  return (
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n${isOffered ? `Sec-WebSocket-Protocol: ${SUBPROTOCOL}\r\n` : ''}\r\n`
  )
}

/** Longest head that is read here. */
const HEAD_MAX = 8 * 1024
const END = Buffer.from('\r\n\r\n')
/** Nothing but visible ASCII and blanks, one header a line, no line that goes on, no `__proto__`. */
const REQUEST =
  /^GET (\/[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*) HTTP\/1\.1\r\n((?:[!#$%&'*+\-.^`|~0-9A-Za-z]+:[\t -~]*\r\n)+)$/
/** With these a body might follow. */
const WITH_BODY = ['content-length', 'transfer-encoding', 'expect', 'trailer']

/**
 * Reads an upgrade that is in order and stands whole at the beginning of `chunk`.
 * @returns null for anything else; `length`: where the frames begin
 */
export function readUpgrade(chunk: Buffer): (UpgradeHead & { readonly length: number }) | null {
  const end = chunk.indexOf(END)
  if (end < 0 || end > HEAD_MAX) return null
  const match = REQUEST.exec(chunk.toString('latin1', 0, end + 2))
  if (match === null) return null
  const [, url = '', lines = ''] = match
  const headers: IncomingHttpHeaders = Object.create(null) as IncomingHttpHeaders
  for (const line of lines.split('\r\n')) {
    if (line === '') continue
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    // What several of one name mean is not for us to say.
    if (headers[name] !== undefined) return null
    headers[name] = line.slice(colon + 1).trim()
  }
  if (headers.host === undefined || WITH_BODY.some((name) => headers[name] !== undefined)) return null
  if (problemOf({ method: 'GET', headers, httpVersion: '1.1' }) !== null) return null
  return { headers, url, length: end + END.length }
}
