// The statements of a request as bytes for its client: one batch of the extended protocol with one Sync,
// so that all of it is one round trip. Pure. Texts and values travel in fields of messages of their own,
// never in SQL.
import { SYNC } from '../../wire/messages.ts'
import type { Statement } from './body.ts'

/** What runs besides the statements themselves. */
export interface Frame {
  /** In front, in the same transaction; each with its parameters. */
  readonly before: readonly Control[]
  readonly after: readonly Control[]
}

/** A statement of ours. */
export interface Control {
  readonly text: string
  readonly parameters: readonly string[]
}

export const PLAIN: Frame = { before: [], after: [] }

const HEADER = 5
const PARSE = 0x50
const BIND = 0x42
const NULL_BYTES = 4
/** Describe of the unnamed portal, and Execute of it without a limit. */
const DESCRIBE = Buffer.from([0x44, 0, 0, 0, 6, 0x50, 0])
const EXECUTE = Buffer.from([0x45, 0, 0, 0, 9, 0, 0, 0, 0, 0])
/**
 * Around the text of a Parse: no name, no types. Around the values of a Bind: no names, all in text
 * format.
 */
const PARSE_REST = 1 + 1 + 2
const BIND_REST = 1 + 1 + 2 + 2 + 2

/** The whole request. */
export function batchOf(statements: readonly Statement[], frame: Frame): Buffer {
  let length = SYNC.length
  for (const one of frame.before) length += lengthOf(one) + EXECUTE.length
  for (const one of statements) length += lengthOf(one) + DESCRIBE.length + EXECUTE.length
  for (const one of frame.after) length += lengthOf(one) + EXECUTE.length
  const bytes = Buffer.allocUnsafe(length)
  let at = 0
  for (const one of frame.before) at = putExecute(bytes, put(bytes, at, one))
  for (const one of statements) {
    at = put(bytes, at, one)
    at += DESCRIBE.copy(bytes, at)
    at = putExecute(bytes, at)
  }
  for (const one of frame.after) at = putExecute(bytes, put(bytes, at, one))
  SYNC.copy(bytes, at)
  return bytes
}

type Parts = Pick<Statement, 'text' | 'parameters'>

function lengthOf({ text, parameters }: Parts): number {
  let length = HEADER + PARSE_REST + Buffer.byteLength(text) + HEADER + BIND_REST
  for (const value of parameters) length += NULL_BYTES + (value === null ? 0 : Buffer.byteLength(value))
  return length
}

function putExecute(bytes: Buffer, at: number): number {
  return at + EXECUTE.copy(bytes, at)
}

/** Parse and Bind. @returns where they end */
function put(bytes: Buffer, start: number, { text, parameters }: Parts): number {
  bytes[start] = PARSE
  bytes[start + HEADER] = 0
  let at = start + HEADER + 1
  at += bytes.write(text, at)
  bytes[at] = bytes[at + 1] = bytes[at + 2] = 0
  at += 3
  bytes.writeInt32BE(at - start - 1, start + 1)
  const bind = at
  bytes[at] = BIND
  at += HEADER
  bytes[at] = bytes[at + 1] = bytes[at + 2] = bytes[at + 3] = 0
  at = bytes.writeUInt16BE(parameters.length, at + 4)
  for (const value of parameters) {
    const size = value === null ? -1 : bytes.write(value, at + NULL_BYTES)
    bytes.writeInt32BE(size, at)
    at += NULL_BYTES + Math.max(0, size)
  }
  bytes[at] = bytes[at + 1] = 0
  bytes.writeInt32BE(at + 2 - bind - 1, bind + 1)
  return at + 2
}
