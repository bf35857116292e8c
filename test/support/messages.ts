// Owns: the protocol as the tests see it: builders for everything a client sends, and a parser for
// everything a server answers. Must never import from src/wire: a second, independent view of the
// protocol is what makes a fault there visible.

/** Protocol 3.0, as a number in the startup packet. */
export const PROTOCOL_3_0 = 0x0003_0000
/** Protocol 3.2 (Postgres 18): cancel keys of up to 256 bytes. */
export const PROTOCOL_3_2 = 0x0003_0002

type Part = Uint8Array | string

const int16 = (value: number) => {
  const out = Buffer.alloc(2)
  out.writeUInt16BE(value & 0xffff)
  return out
}

const int32 = (value: number) => {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value >>> 0)
  return out
}

const cstring = (text: Part) => Buffer.concat([toBytes(text), Buffer.alloc(1)])

function toBytes(part: Part): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part) : part
}

/** A length of four bytes (that counts itself) and a body: packets before the login. */
export function untyped(...parts: Part[]): Buffer {
  return framed('', parts)
}

/** A message of any type, also types that no Postgres knows. Strings go in as they are, without a zero. */
export function message(type: string, ...parts: Part[]): Buffer {
  return framed(type, parts)
}

/** In one piece: simulations make millions of them. */
function framed(type: string, parts: readonly Part[]): Buffer {
  let length = 4
  for (const part of parts) length += typeof part === 'string' ? Buffer.byteLength(part) : part.length
  const out = Buffer.allocUnsafe(type.length + length)
  out.write(type, 'latin1')
  let at = out.writeUInt32BE(length, type.length)
  for (const part of parts) {
    if (typeof part === 'string') at += out.write(part, at)
    else {
      out.set(part, at)
      at += part.length
    }
  }
  return out
}

// ---- before the login

/** StartupMessage. `params` are sent in their order; 3.0 and 3.2 differ only in `version`. */
export function startup(params: Record<string, string>, version = PROTOCOL_3_0): Buffer {
  const pairs = Object.entries(params).flatMap(([name, value]) => [cstring(name), cstring(value)])
  return untyped(int32(version), ...pairs, Buffer.alloc(1))
}

export const sslRequest = () => untyped(int32(80877103))
export const gssEncRequest = () => untyped(int32(80877104))

/** CancelRequest; `key` is 4 bytes in protocol 3.0 and usually 32 in 3.2. */
export const cancelRequest = (pid: number, key: Uint8Array) => untyped(int32(80877102), int32(pid), key)

/** PasswordMessage: a cleartext password or an md5 answer. */
export const password = (text: string) => message('p', cstring(text))

export const saslInitialResponse = (mechanism: string, data: Part | null) =>
  data === null
    ? message('p', cstring(mechanism), int32(-1))
    : message('p', cstring(mechanism), int32(toBytes(data).length), data)

export const saslResponse = (data: Part) => message('p', data)

// ---- after the login

export const query = (sql: Part) => message('Q', cstring(sql))
export const sync = () => message('S')
export const flush = () => message('H')
export const terminate = () => message('X')

export interface ParseOptions {
  name?: string
  /** Type numbers of the parameters; 0 leaves one to Postgres. */
  types?: number[]
}

export function parse(sql: Part, options: ParseOptions = {}): Buffer {
  const types = options.types ?? []
  return message('P', cstring(options.name ?? ''), cstring(sql), int16(types.length), ...types.map(int32))
}

export interface BindOptions {
  portal?: string
  statement?: string
  /** Values; strings are sent as their UTF-8 bytes, null as NULL. */
  params?: (Part | null)[]
  /** 0 text, 1 binary: none (all text), one for all, or one each. */
  formats?: number[]
  results?: number[]
}

export function bind(options: BindOptions = {}): Buffer {
  const params = options.params ?? []
  const formats = options.formats ?? []
  const results = options.results ?? []
  const values = params.flatMap((value) =>
    value === null ? [int32(-1)] : [int32(toBytes(value).length), toBytes(value)],
  )
  const head = [cstring(options.portal ?? ''), cstring(options.statement ?? '')]
  const formatList = [int16(formats.length), ...formats.map(int16)]
  return message(
    'B',
    ...head,
    ...formatList,
    int16(params.length),
    ...values,
    int16(results.length),
    ...results.map(int16),
  )
}

/** Describe a statement ('S') or a portal ('P'). */
export const describe = (kind: 'S' | 'P', name = '') => message('D', kind, cstring(name))
/** Close a statement ('S') or a portal ('P'). */
export const close = (kind: 'S' | 'P', name = '') => message('C', kind, cstring(name))
/** Execute a portal; `maxRows` 0 means all. */
export const execute = (portal = '', maxRows = 0) => message('E', cstring(portal), int32(maxRows))

/** FunctionCall with text arguments and a text result. */
export function functionCall(oid: number, args: (Part | null)[] = []): Buffer {
  const values = args.flatMap((value) =>
    value === null ? [int32(-1)] : [int32(toBytes(value).length), toBytes(value)],
  )
  return message('F', int32(oid), int16(0), int16(args.length), ...values, int16(0))
}

export const copyData = (data: Part) => message('d', data)
export const copyDone = () => message('c')
export const copyFail = (reason: string) => message('f', cstring(reason))

// ---- what a server says

export interface Column {
  name: string
  table: number
  column: number
  type: number
  size: number
  modifier: number
  format: number
}

/** Every message keeps its bytes, header included. */
interface Raw {
  raw: Buffer
}

/** The fields of an error or notice by letter, plus the four that tests ask for most. */
export interface Report extends Raw {
  fields: Record<string, string>
  code: string
  severity: string
  message: string
}

export type BackendMessage =
  | (Raw & {
      type: 'R'
      name: 'Authentication'
      method: number
      salt: Buffer
      mechanisms: string[]
      data: Buffer
    })
  | (Raw & { type: 'K'; name: 'BackendKeyData'; pid: number; key: Buffer })
  | (Raw & { type: 'S'; name: 'ParameterStatus'; parameter: string; value: string })
  | (Raw & { type: 'Z'; name: 'ReadyForQuery'; status: string })
  | (Raw & { type: 'v'; name: 'NegotiateProtocolVersion'; version: number; options: string[] })
  | (Report & { type: 'E'; name: 'ErrorResponse' })
  | (Report & { type: 'N'; name: 'NoticeResponse' })
  | (Raw & { type: 'A'; name: 'NotificationResponse'; pid: number; channel: string; payload: string })
  | (Raw & { type: 'T'; name: 'RowDescription'; columns: Column[] })
  | (Raw & { type: 'D'; name: 'DataRow'; values: (Buffer | null)[] })
  | (Raw & { type: 'C'; name: 'CommandComplete'; tag: string })
  | (Raw & { type: 't'; name: 'ParameterDescription'; types: number[] })
  | (Raw & { type: 'G' | 'H' | 'W'; name: 'CopyResponse'; format: number; formats: number[] })
  | (Raw & { type: 'd'; name: 'CopyData'; data: Buffer })
  | (Raw & { type: 'V'; name: 'FunctionCallResponse'; value: Buffer | null })
  | (Raw & { type: 'I' | '1' | '2' | '3' | 'n' | 's' | 'c'; name: string })

/** A message of this type letter. */
export type MessageOf<T extends BackendMessage['type'], M = BackendMessage> = M extends { type: string }
  ? T extends M['type']
    ? M
    : never
  : never

const BARE: Record<string, string> = {
  I: 'EmptyQueryResponse',
  1: 'ParseComplete',
  2: 'BindComplete',
  3: 'CloseComplete',
  n: 'NoData',
  s: 'PortalSuspended',
  c: 'CopyDone',
}

/** Reads a body from its front; reading past its end is an error. */
class Reader {
  readonly #body: Buffer
  #at = 0

  constructor(body: Buffer) {
    this.#body = body
  }

  get left(): number {
    return this.#body.length - this.#at
  }

  take(length: number): Buffer {
    if (length < 0 || length > this.left)
      throw new Error(`a field of ${length} bytes, but ${this.left} are left`)
    this.#at += length
    return this.#body.subarray(this.#at - length, this.#at)
  }

  rest = () => this.take(this.left)
  byte = () => this.take(1).readUInt8()
  short = () => this.take(2).readInt16BE()
  int = () => this.take(4).readInt32BE()
  oid = () => this.take(4).readUInt32BE()

  text(): string {
    const end = this.#body.indexOf(0, this.#at)
    if (end < 0) throw new Error('a string without its zero')
    const out = this.#body.toString('utf8', this.#at, end)
    this.#at = end + 1
    return out
  }

  /** A value with its length in front; -1 is NULL. */
  value(): Buffer | null {
    const length = this.int()
    return length === -1 ? null : this.take(length)
  }

  list<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, () => read())
  }
}

function readFields(body: Reader): Record<string, string> {
  const fields: Record<string, string> = {}
  for (let letter = body.byte(); letter !== 0; letter = body.byte()) {
    fields[String.fromCharCode(letter)] = body.text()
  }
  return fields
}

function readReport(body: Reader) {
  const fields = readFields(body)
  return { fields, code: fields.C ?? '', severity: fields.V ?? fields.S ?? '', message: fields.M ?? '' }
}

function readAuthentication(body: Reader) {
  const method = body.int()
  const none = { salt: Buffer.alloc(0), mechanisms: [] as string[], data: Buffer.alloc(0) }
  if (method === 5) return { method, ...none, salt: body.take(4) }
  if (method !== 10) return { method, ...none, data: body.rest() }
  const mechanisms: string[] = []
  for (let name = body.text(); name !== ''; name = body.text()) mechanisms.push(name)
  return { method, ...none, mechanisms }
}

function readColumn(body: Reader): Column {
  const name = body.text()
  const [table, column, type] = [body.oid(), body.short(), body.oid()]
  const [size, modifier, format] = [body.short(), body.int(), body.short()]
  return { name, table, column, type, size, modifier, format }
}

type Decoder = (body: Reader, raw: Buffer) => BackendMessage

const readCopy =
  (type: 'G' | 'H' | 'W') =>
  (body: Reader, raw: Buffer): BackendMessage => {
    const format = body.byte()
    return { type, name: 'CopyResponse', format, formats: body.list(body.short(), body.short), raw }
  }

const DECODERS: Record<string, Decoder> = {
  R: (b, raw) => ({ type: 'R', name: 'Authentication', ...readAuthentication(b), raw }),
  K: (b, raw) => ({ type: 'K', name: 'BackendKeyData', pid: b.int(), key: b.rest(), raw }),
  S: (b, raw) => ({ type: 'S', name: 'ParameterStatus', parameter: b.text(), value: b.text(), raw }),
  Z: (b, raw) => ({ type: 'Z', name: 'ReadyForQuery', status: String.fromCharCode(b.byte()), raw }),
  v: (b, raw) => {
    const version = b.int()
    return {
      type: 'v',
      name: 'NegotiateProtocolVersion',
      version,
      options: b.list(b.int(), () => b.text()),
      raw,
    }
  },
  E: (b, raw) => ({ type: 'E', name: 'ErrorResponse', ...readReport(b), raw }),
  N: (b, raw) => ({ type: 'N', name: 'NoticeResponse', ...readReport(b), raw }),
  A: (b, raw) => ({
    type: 'A',
    name: 'NotificationResponse',
    pid: b.int(),
    channel: b.text(),
    payload: b.text(),
    raw,
  }),
  T: (b, raw) => ({
    type: 'T',
    name: 'RowDescription',
    columns: b.list(b.short(), () => readColumn(b)),
    raw,
  }),
  D: (b, raw) => ({ type: 'D', name: 'DataRow', values: b.list(b.short(), () => b.value()), raw }),
  C: (b, raw) => ({ type: 'C', name: 'CommandComplete', tag: b.text(), raw }),
  t: (b, raw) => ({ type: 't', name: 'ParameterDescription', types: b.list(b.short(), b.oid), raw }),
  G: readCopy('G'),
  H: readCopy('H'),
  W: readCopy('W'),
  d: (b, raw) => ({ type: 'd', name: 'CopyData', data: b.rest(), raw }),
  V: (b, raw) => ({ type: 'V', name: 'FunctionCallResponse', value: b.value(), raw }),
}

/**
 * Decodes one whole message, header included.
 * @throws for an unknown type, a field past the end, or bytes left over: a test must see each of them
 */
export function decode(raw: Buffer): BackendMessage {
  const type = String.fromCharCode(raw[0] as number)
  const body = new Reader(raw.subarray(5))
  const bare = BARE[type]
  const decoder = DECODERS[type]
  if (decoder === undefined && bare === undefined)
    throw new Error(`a server message of unknown type '${type}'`)
  const decoded = decoder?.(body, raw) ?? ({ type, name: bare, raw } as BackendMessage)
  if (body.left > 0) throw new Error(`${body.left} bytes left over in a message of type '${type}'`)
  return decoded
}

/** Cuts a stream of server bytes into messages, wherever the chunks end. */
export class BackendParser {
  #kept: Buffer = Buffer.alloc(0)

  /** Bytes of a message that is not complete yet. */
  get unfinished(): number {
    return this.#kept.length
  }

  /** Takes bytes (they are copied) and returns the messages that are complete with them. */
  push(chunk: Uint8Array): BackendMessage[] {
    const all = Buffer.concat([this.#kept, chunk])
    const out: BackendMessage[] = []
    let at = 0
    while (all.length - at >= 5) {
      const length = all.readInt32BE(at + 1)
      if (length < 4) throw new Error(`a message length of ${length}`)
      if (all.length - at < length + 1) break
      out.push(decode(all.subarray(at, at + 1 + length)))
      at += 1 + length
    }
    this.#kept = all.subarray(at)
    return out
  }
}
