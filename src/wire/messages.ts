// Owns the bytes of typed messages that pgmux makes itself, in both directions. Pure: values in, bytes out.
// It never reads messages, makes nothing of the login beyond two constants (auth-messages.ts does), and never
// changes a buffer after it has been handed out: constants are shared.

/** Text for a message: a string is sent as UTF-8, bytes as they are (they keep any client_encoding). */
export type Text = string | Uint8Array

const HEADER = 5
const PROTOCOL_3 = 3 << 16
const MAX_BIND_VALUES = 65_535

/** A message of a type and a body of known length; the caller fills every byte of the body. */
function allocate(type: string, bodyLength: number): Buffer {
  const message = Buffer.allocUnsafe(HEADER + bodyLength)
  message[0] = type.charCodeAt(0)
  message.writeInt32BE(4 + bodyLength, 1)
  return message
}

function lengthOf(text: Text): number {
  return typeof text === 'string' ? Buffer.byteLength(text, 'utf8') : text.length
}

/** Writes without a terminator and returns the offset behind it. */
function putText(message: Buffer, text: Text, at: number): number {
  if (typeof text === 'string') return at + message.write(text, at, 'utf8')
  message.set(text, at)
  return at + text.length
}

/** Writes with a terminator. A zero byte inside would let the rest be read as other fields. */
function putString(message: Buffer, text: Text, at: number): number {
  if (typeof text === 'string' ? text.includes('\0') : text.includes(0)) {
    throw new RangeError('A text for the server holds a zero byte, which Postgres cannot take.')
  }
  const end = putText(message, text, at)
  message[end] = 0
  return end + 1
}

function stringMessage(type: string, text: Text): Buffer {
  const message = allocate(type, lengthOf(text) + 1)
  putString(message, text, HEADER)
  return message
}

function targetMessage(type: string, kind: 'S' | 'P', name: Text): Buffer {
  const message = allocate(type, lengthOf(name) + 2)
  message[HEADER] = kind.charCodeAt(0)
  putString(message, name, HEADER + 1)
  return message
}

function readyMessage(status: string): Buffer {
  const message = allocate('Z', 1)
  message[HEADER] = status.charCodeAt(0)
  return message
}

// ---- from pgmux to clients ----

/** ReadyForQuery outside a transaction. */
export const READY_IDLE: Buffer = readyMessage('I')
/** ReadyForQuery inside a transaction. */
export const READY_TRANSACTION: Buffer = readyMessage('T')
/** ReadyForQuery inside a failed transaction. */
export const READY_FAILED: Buffer = readyMessage('E')
export const PARSE_COMPLETE: Buffer = allocate('1', 0)
export const CLOSE_COMPLETE: Buffer = allocate('3', 0)

/** ReadyForQuery for a transaction status: `I`, `T` or `E`. The result is shared. */
export function readyForQuery(status: 'I' | 'T' | 'E'): Buffer {
  return status === 'I' ? READY_IDLE : status === 'T' ? READY_TRANSACTION : READY_FAILED
}

/** ParameterStatus. @throws RangeError on a zero byte */
export function parameterStatus(name: Text, value: Text): Buffer {
  const message = allocate('S', lengthOf(name) + lengthOf(value) + 2)
  putString(message, value, putString(message, name, HEADER))
  return message
}

/** BackendKeyData. `key`: 4 bytes in protocol 3.0, up to 256 in 3.2. */
export function backendKeyData(pid: number, key: Uint8Array): Buffer {
  const message = allocate('K', 4 + key.length)
  message.writeInt32BE(pid | 0, HEADER)
  message.set(key, HEADER + 4)
  return message
}

/**
 * NegotiateProtocolVersion: the latest protocol spoken is `3.minor`, `names` are the unknown `_pq_.*` options
 * (`toBytes` of what startup.ts gives). The number is the whole version, as Postgres sends it, not the minor.
 */
export function negotiateProtocolVersion(minor: number, names: readonly Text[]): Buffer {
  let length = 8
  for (const name of names) length += lengthOf(name) + 1
  const message = allocate('v', length)
  message.writeInt32BE(PROTOCOL_3 | minor, HEADER)
  message.writeInt32BE(names.length, HEADER + 4)
  let at = HEADER + 8
  for (const name of names) at = putString(message, name, at)
  return message
}

/** CommandComplete with this tag. */
export function commandComplete(tag: Text): Buffer {
  return stringMessage('C', tag)
}

// ---- from pgmux to servers ----

export const SYNC: Buffer = allocate('S', 0)
export const FLUSH: Buffer = allocate('H', 0)
export const TERMINATE: Buffer = allocate('X', 0)

/** Query. @throws RangeError on a zero byte (as all builders below) */
export function query(text: Text): Buffer {
  return stringMessage('Q', text)
}

/** Parse; `types` are the declared parameter types (OIDs, unsigned). */
export function parse(name: Text, text: Text, types: readonly number[] = []): Buffer {
  const message = allocate('P', lengthOf(name) + lengthOf(text) + 4 + 4 * types.length)
  let at = putString(message, text, putString(message, name, HEADER))
  at = message.writeUInt16BE(types.length, at)
  for (const type of types) at = message.writeUInt32BE(type, at)
  return message
}

/** Bind with all values and all results in text format. A null is SQL NULL. */
export function bind(portal: Text, statement: Text, values: readonly (Text | null)[]): Buffer {
  if (values.length > MAX_BIND_VALUES) {
    throw new RangeError(`A statement takes at most ${MAX_BIND_VALUES} values, not ${values.length}.`)
  }
  let length = lengthOf(portal) + lengthOf(statement) + 8 + 4 * values.length
  for (const value of values) if (value !== null) length += lengthOf(value)
  const message = allocate('B', length)
  let at = putString(message, statement, putString(message, portal, HEADER))
  at = message.writeUInt16BE(0, at)
  at = message.writeUInt16BE(values.length, at)
  for (const value of values) {
    const end = value === null ? at + 4 : putText(message, value, at + 4)
    message.writeInt32BE(value === null ? -1 : end - at - 4, at)
    at = end
  }
  message.writeUInt16BE(0, at)
  return message
}

/** Execute; `rows` limits the rows, 0 is no limit. */
export function execute(portal: Text, rows = 0): Buffer {
  const message = allocate('E', lengthOf(portal) + 5)
  message.writeInt32BE(rows, putString(message, portal, HEADER))
  return message
}

/** Describe a statement (`S`) or a portal (`P`). */
export function describe(kind: 'S' | 'P', name: Text): Buffer {
  return targetMessage('D', kind, name)
}

/** Close a statement (`S`) or a portal (`P`). */
export function close(kind: 'S' | 'P', name: Text): Buffer {
  return targetMessage('C', kind, name)
}

/** CopyFail with the reason that Postgres will quote in its error. */
export function copyFail(reason: Text): Buffer {
  return stringMessage('f', reason)
}
