// Owns the untyped packets at the start of a connection: SSLRequest, GSSENCRequest, CancelRequest and
// StartupMessage, in both directions. Pure: bytes in, bytes out. It never answers, never decides who may
// log in, and never allocates by a length that a peer declared.

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102

/** Postgres' MAX_STARTUP_PACKET_LENGTH: it counts what follows the four bytes of length. */
export const MAX_STARTUP_BODY = 10_000
const MIN_LENGTH = 8
const MAX_LENGTH = MAX_STARTUP_BODY + 4
/** Cancel keys: 4 bytes in protocol 3.0, up to 256 in 3.2. */
const MIN_CANCEL_KEY = 4
const MAX_CANCEL_KEY = 256
/** The first byte of a TLS ClientHello. As the first byte of a length it would mean more than 300 MB. */
const TLS_HANDSHAKE = 0x16

/** Latest protocol that is spoken: 3.2. A higher minor is answered with NegotiateProtocolVersion. */
export const LATEST_MINOR = 2

/** A StartupMessage, as it was sent. */
export interface StartupRequest {
  readonly kind: 'startup'
  /** Bytes of the whole packet, its length included. */
  readonly length: number
  readonly major: number
  /** As asked for; may be higher than `LATEST_MINOR`. */
  readonly minor: number
  /**
   * Parameters in the order sent; of a name sent twice the last counts, as in Postgres. Names and values are
   * "binary" strings, one char per byte, so that any bytes survive a round trip: use `toText` to read
   * them as UTF-8 and `toBytes` to get the bytes. Always holds a `user` that is not empty.
   */
  readonly parameters: Map<string, string>
  /** Names of `_pq_.*` protocol options, none of which is known here; they are not in `parameters`. */
  readonly unknownOptions: readonly string[]
}

/** Why a packet is refused: always FATAL, the connection cannot go on. */
export interface InvalidStartup {
  readonly kind: 'invalid'
  readonly code: string
  readonly message: string
}

/** What the first bytes of a connection are. */
export type StartupPacket =
  | { readonly kind: 'need-more' }
  /** A TLS ClientHello without SSLRequest (direct TLS); nothing is consumed. */
  | { readonly kind: 'tls'; readonly length: 0 }
  | { readonly kind: 'ssl' | 'gss'; readonly length: number }
  | { readonly kind: 'cancel'; readonly length: number; readonly pid: number; readonly key: Buffer }
  | StartupRequest
  | InvalidStartup

const NEED_MORE: StartupPacket = { kind: 'need-more' }
const DIRECT_TLS: StartupPacket = { kind: 'tls', length: 0 }
const SSL: StartupPacket = { kind: 'ssl', length: MIN_LENGTH }
const GSS: StartupPacket = { kind: 'gss', length: MIN_LENGTH }
const BAD_LENGTH = invalid('08P01', 'invalid length of startup packet')
const BAD_KEY = invalid('08P01', 'invalid length of cancel key in cancel request packet')
const BAD_LAYOUT = invalid('08P01', 'invalid startup packet layout: expected terminator as last byte')
const NO_USER = invalid('28000', 'no PostgreSQL user name specified in startup packet')

function invalid(code: string, message: string): InvalidStartup {
  return { kind: 'invalid', code, message }
}

/**
 * The refusal of a protocol version, in Postgres' words. Also what Postgres says to a second SSLRequest
 * (1234.5679) or GSSENCRequest (1234.5680).
 */
export function unsupportedProtocol(major: number, minor: number): InvalidStartup {
  const text = `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.${LATEST_MINOR}`
  return invalid('0A000', text)
}

/**
 * Looks at the bytes received so far, `buf[start..end)`. A length that cannot be is refused as soon as its
 * four bytes are there. Never throws. Keys and strings in the result are copies.
 * Postgres closes without a word on the errors about lengths; an ErrorResponse there does no harm.
 */
export function peekStartup(buf: Buffer, start: number, end: number): StartupPacket {
  const have = end - start
  if (have > 0 && buf[start] === TLS_HANDSHAKE) return DIRECT_TLS
  if (have < 4) return NEED_MORE
  const length = buf.readInt32BE(start)
  if (length < MIN_LENGTH || length > MAX_LENGTH) return BAD_LENGTH
  if (have < length) return NEED_MORE
  const version = buf.readUInt32BE(start + 4)
  if (version === SSL_REQUEST) return length === MIN_LENGTH ? SSL : BAD_LENGTH
  if (version === GSS_REQUEST) return length === MIN_LENGTH ? GSS : BAD_LENGTH
  if (version === CANCEL_REQUEST) return parseCancel(buf, start, length)
  const major = version >>> 16
  if (major !== 3) return unsupportedProtocol(major, version & 0xffff)
  return parseStartup(buf, start, length)
}

/** Clients from before version 3 read errors as plain text. */
export function isOldProtocol(bytes: Buffer): boolean {
  if (bytes.length < 8) return false
  const version = bytes.readUInt32BE(4)
  return version > 0 && version < 0x30000
}

function parseCancel(buf: Buffer, start: number, length: number): StartupPacket {
  const keyLength = length - 12
  if (keyLength < MIN_CANCEL_KEY || keyLength > MAX_CANCEL_KEY) return BAD_KEY
  const key = Buffer.from(buf.subarray(start + 12, start + length))
  return { kind: 'cancel', length, pid: buf.readInt32BE(start + 8), key }
}

function parseStartup(buf: Buffer, start: number, length: number): StartupPacket {
  const end = start + length
  const parameters = new Map<string, string>()
  const unknownOptions: string[] = []
  let at = start + 8
  while (at < end && buf[at] !== 0) {
    const nameEnd = terminator(buf, at, end)
    const valueStart = nameEnd + 1
    if (valueStart >= end) return BAD_LAYOUT
    const valueEnd = terminator(buf, valueStart, end)
    if (valueEnd === end) return BAD_LAYOUT
    const name = buf.toString('latin1', at, nameEnd)
    if (name.startsWith('_pq_.')) {
      unknownOptions.push(name)
    } else {
      // Deleted first, so that the order is that of the values that count.
      parameters.delete(name)
      parameters.set(name, buf.toString('latin1', valueStart, valueEnd))
    }
    at = valueEnd + 1
  }
  if (at !== end - 1) return BAD_LAYOUT
  if (!parameters.get('user')) return NO_USER
  const minor = buf.readUInt16BE(start + 6)
  return { kind: 'startup', length, major: 3, minor, parameters, unknownOptions }
}

function terminator(buf: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && buf[at] !== 0) at++
  return at
}

/** A binary string (one char per byte) read as UTF-8; bytes that are not UTF-8 become U+FFFD. */
export function toText(binary: string): string {
  return toBytes(binary).toString('utf8')
}

/** The bytes of a binary string. */
export function toBytes(binary: string): Buffer {
  return Buffer.from(binary, 'latin1')
}

/** The binary string of a text: its UTF-8 bytes, one char each. */
export function fromText(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/**
 * A StartupMessage. Names and values are binary strings (`fromText` makes them).
 * @throws RangeError on an empty name, a NUL or a char above 255: the peer would read other parameters.
 */
export function buildStartup(request: {
  readonly minor: number
  readonly parameters: Iterable<readonly [string, string]>
}): Buffer {
  let body = ''
  for (const [name, value] of request.parameters) {
    if (name === '' || !isBinary(name) || !isBinary(value)) {
      throw new RangeError('A startup parameter has an empty name, or holds a zero byte or a char above 255.')
    }
    body += `${name}\0${value}\0`
  }
  const packet = Buffer.allocUnsafe(9 + body.length)
  packet.writeInt32BE(packet.length, 0)
  packet.writeUInt16BE(3, 4)
  packet.writeUInt16BE(request.minor, 6)
  packet.write(body, 8, 'latin1')
  packet[packet.length - 1] = 0
  return packet
}

function isBinary(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === 0 || char > 255) return false
  }
  return true
}

/** An SSLRequest. */
export function buildSslRequest(): Buffer {
  const packet = Buffer.allocUnsafe(8)
  packet.writeInt32BE(8, 0)
  packet.writeInt32BE(SSL_REQUEST, 4)
  return packet
}

/**
 * A CancelRequest.
 * @param key the secret of BackendKeyData, 4 to 256 bytes
 */
export function buildCancelRequest(pid: number, key: Uint8Array): Buffer {
  if (key.length < MIN_CANCEL_KEY || key.length > MAX_CANCEL_KEY) {
    throw new RangeError(`A cancel key has 4 to 256 bytes, this one ${key.length}.`)
  }
  const packet = Buffer.allocUnsafe(12 + key.length)
  packet.writeInt32BE(packet.length, 0)
  packet.writeInt32BE(CANCEL_REQUEST, 4)
  packet.writeInt32BE(pid | 0, 8)
  packet.set(key, 12)
  return packet
}

/** What the `options` parameter asks for. */
export interface ParsedOptions {
  /** `-c name=value`, `-cname=value`, `--name=value`, in order; dashes in names are underscores. */
  readonly settings: readonly { readonly name: string; readonly value: string }[]
  /** Arguments that are nothing of this kind (`-e`, `-S 1`, a setting without value), as written. */
  readonly other: readonly string[]
}

/** Reads the startup parameter `options` as Postgres does (pg_split_opts, ParseLongOption). Never throws. */
export function parseOptions(options: string): ParsedOptions {
  const settings: { name: string; value: string }[] = []
  const other: string[] = []
  const args = splitOptions(options)
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    let setting: string | undefined
    let written = arg
    if (arg.startsWith('--')) {
      setting = arg.slice(2)
    } else if (arg === '-c' && i + 1 < args.length) {
      setting = args[++i]
      written = `-c ${setting}`
    } else if (arg.startsWith('-c')) {
      setting = arg.slice(2)
    }
    const equals = setting === undefined ? -1 : setting.indexOf('=')
    if (setting === undefined || equals < 1) {
      other.push(written)
    } else {
      settings.push({ name: setting.slice(0, equals).replaceAll('-', '_'), value: setting.slice(equals + 1) })
    }
  }
  return { settings, other }
}

/** Splits at white space; a backslash takes the meaning from the char behind it. */
function splitOptions(options: string): string[] {
  const args: string[] = []
  let arg = ''
  let open = false
  let escaped = false
  for (const char of options) {
    if (!escaped && isSpace(char)) {
      if (open) args.push(arg)
      arg = ''
      open = false
    } else {
      open = true
      if (!escaped && char === '\\') {
        escaped = true
      } else {
        escaped = false
        arg += char
      }
    }
  }
  if (open) args.push(arg)
  return args
}

function isSpace(char: string): boolean {
  return char === ' ' || (char >= '\t' && char <= '\r')
}
