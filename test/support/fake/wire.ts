// Owns: the server's side of the protocol for the model: cuts what clients send, builds what a server
// answers. Must never import from src/wire.

import { message } from '../messages.ts'

const SHORT = 2
const INT = 4

function short(value: number): Buffer {
  const out = Buffer.allocUnsafe(SHORT)
  out.writeUInt16BE(value & 0xffff)
  return out
}

function int(value: number): Buffer {
  const out = Buffer.allocUnsafe(INT)
  out.writeInt32BE(value)
  return out
}

/** A column of a result; `table` and `column` are always 0: the model answers expressions only. */
export interface FakeColumn {
  readonly name: string
  readonly type: number
  readonly size: number
}

/** An error or notice as Postgres words it. */
export class PgError extends Error {
  readonly code: string
  readonly severity: 'ERROR' | 'FATAL' | 'WARNING' | 'NOTICE'
  /** Other fields by letter: D detail, H hint, P position, W where. */
  readonly more: Readonly<Record<string, string>>

  constructor(
    code: string,
    text: string,
    severity: PgError['severity'] = 'ERROR',
    more: Record<string, string> = {},
  ) {
    super(text)
    this.code = code
    this.severity = severity
    this.more = more
  }
}

function report(type: 'E' | 'N', error: PgError): Buffer {
  const { severity, code, more } = error
  const fields = Object.entries({ S: severity, V: severity, C: code, M: error.message, ...more })
  return message(type, `${fields.map(([letter, value]) => `${letter}${value}\0`).join('')}\0`)
}

function values(row: readonly (Uint8Array | null)[]): Buffer {
  let length = SHORT
  for (const value of row) length += INT + (value?.length ?? 0)
  const out = Buffer.allocUnsafe(length)
  let at = out.writeUInt16BE(row.length)
  for (const value of row) {
    at = out.writeInt32BE(value?.length ?? -1, at)
    if (value === null) continue
    out.set(value, at)
    at += value.length
  }
  return out
}

function columns(list: readonly FakeColumn[], formats: readonly number[]): Buffer {
  const parts = list.flatMap(({ name, type, size }, i) => [
    Buffer.from(`${name}\0`),
    Buffer.concat([int(0), short(0), int(type), short(size), int(-1), short(formats[i] ?? 0)]),
  ])
  return Buffer.concat([short(list.length), ...parts])
}

/** Everything the model answers. */
export const answer = {
  authenticationOk: () => message('R', int(0)),
  parameterStatus: (name: string, value: string) => message('S', `${name}\0${value}\0`),
  backendKeyData: (pid: number, key: Uint8Array) => message('K', int(pid), key),
  negotiate: (version: number, options: readonly string[]) =>
    message('v', int(version), int(options.length), options.map((option) => `${option}\0`).join('')),
  readyForQuery: (status: string) => message('Z', status),
  error: (error: PgError) => report('E', error),
  notice: (error: PgError) => report('N', error),
  notification: (pid: number, channel: string, payload: string) =>
    message('A', int(pid), `${channel}\0${payload}\0`),
  rowDescription: (list: readonly FakeColumn[], formats: readonly number[]) =>
    message('T', columns(list, formats)),
  parameterDescription: (types: readonly number[]) => message('t', short(types.length), ...types.map(int)),
  dataRow: (row: readonly (Uint8Array | null)[]) => message('D', values(row)),
  commandComplete: (tag: string) => message('C', `${tag}\0`),
  copyResponse: (type: 'G' | 'H', width: number) =>
    message(type, Buffer.from([0]), short(width), Buffer.alloc(width * 2)),
  copyData: (line: string) => message('d', line),
  functionResult: (text: string) => message('V', int(text.length), text),
  bare: (type: 'I' | '1' | '2' | '3' | 'n' | 's' | 'c') => message(type),
}

/** One message of a client; packets before the login have type ''. 'EOF' stands for the end of the stream. */
export interface ClientMessage {
  readonly type: string
  readonly body: Buffer
}

/** Reads the fields of a client's message. @throws PgError 08P01 for anything that does not fit */
export class Fields {
  readonly #body: Buffer
  #at = 0

  constructor(body: Buffer) {
    this.#body = body
  }

  take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#body.length) {
      throw new PgError('08P01', 'insufficient data left in message')
    }
    this.#at += length
    return this.#body.subarray(this.#at - length, this.#at)
  }

  letter = () => String.fromCharCode(this.take(1).readUInt8())
  short = () => this.take(2).readInt16BE()
  int = () => this.take(4).readInt32BE()

  text(): string {
    const end = this.#body.indexOf(0, this.#at)
    if (end < 0) throw new PgError('08P01', 'invalid string in message')
    const out = this.#body.toString('utf8', this.#at, end)
    this.#at = end + 1
    return out
  }

  value(): Buffer | null {
    const length = this.int()
    return length === -1 ? null : Buffer.from(this.take(length))
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.short() }, () => read())
  }

  end(): void {
    if (this.#at < this.#body.length) throw new PgError('08P01', 'invalid message format')
  }
}

/** Cuts a client's bytes into messages. */
export class ClientCutter {
  #kept: Buffer = Buffer.alloc(0)
  /** False until the startup packet was accepted: packets without a type. */
  typed = false

  push(chunk: Uint8Array): void {
    this.#kept = Buffer.concat([this.#kept, chunk])
  }

  get waiting(): number {
    return this.#kept.length
  }

  /** The next whole message, or null. @throws PgError for a length that cannot be */
  next(): ClientMessage | null {
    const head = this.typed ? 1 : 0
    if (this.#kept.length < head + 4) return null
    const length = this.#kept.readInt32BE(head)
    if (length < 4 || (!this.typed && length > 10_000)) {
      throw new PgError(
        '08P01',
        this.typed ? 'invalid message length' : 'invalid length of startup packet',
        'FATAL',
      )
    }
    if (this.#kept.length < head + length) return null
    const type = this.#kept.toString('latin1', 0, head)
    const body = Buffer.from(this.#kept.subarray(head + 4, head + length))
    this.#kept = this.#kept.subarray(head + length)
    return { type, body }
  }
}
