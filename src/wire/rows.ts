// Owns the messages that carry a result which pgmux makes itself: descriptions, rows in text and binary
// format, and the small answers of the extended protocol. Pure; it knows no statement and no client.

const HEADER = 5
const DATA_ROW = 0x44
/** As pg_type has them. */
const TYPE_SIZE = { text: -1, int4: 4, int8: 8, numeric: -1 } as const
const TYPE_OID = { text: 25, int4: 23, int8: 20, numeric: 1700 } as const
const INT4_MAX = 0x7fff_ffff
const NUMERIC_BASE = 10_000n

/** The types that our own results have. */
export type ColumnType = keyof typeof TYPE_OID

export interface Column {
  readonly name: string
  readonly type: ColumnType
}

/** A value of a row. Numbers are whole; an int4 beyond its range is sent as the nearest that fits. */
export type Value = string | number | null

/** Format codes of the protocol. */
export const Format = { Text: 0, Binary: 1 } as const

function message(type: string, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER + body.length)
  bytes[0] = type.charCodeAt(0)
  bytes.writeInt32BE(4 + body.length, 1)
  body.copy(bytes, HEADER)
  return bytes
}

const EMPTY = Buffer.alloc(0)
export const BIND_COMPLETE: Buffer = message('2', EMPTY)
export const NO_DATA: Buffer = message('n', EMPTY)
export const EMPTY_QUERY: Buffer = message('I', EMPTY)
export const PORTAL_SUSPENDED: Buffer = message('s', EMPTY)
/** ParameterDescription of a statement without parameters. */
export const NO_PARAMETERS: Buffer = message('t', Buffer.alloc(2))

/** The format of each column for the codes of a Bind: none is text, one is for all. */
export function formatOf(formats: readonly number[], column: number): number {
  return (formats.length === 1 ? formats[0] : formats[column]) ?? Format.Text
}

/** RowDescription. `formats` as in Bind. */
export function rowDescription(columns: readonly Column[], formats: readonly number[] = []): Buffer {
  const parts: Buffer[] = [Buffer.alloc(2)]
  parts[0].writeUInt16BE(columns.length)
  for (const [place, { name, type }] of columns.entries()) {
    const rest = Buffer.alloc(18)
    rest.writeUInt32BE(TYPE_OID[type], 6)
    rest.writeInt16BE(TYPE_SIZE[type], 10)
    rest.writeInt32BE(-1, 12)
    rest.writeInt16BE(formatOf(formats, place), 16)
    parts.push(Buffer.from(`${name}\0`, 'utf8'), rest)
  }
  return message('T', Buffer.concat(parts))
}

/** DataRow. A text loses its zero bytes, which no client could read. */
export function dataRow(
  columns: readonly Column[],
  values: readonly Value[],
  formats: readonly number[] = [],
): Buffer {
  const cells = columns.map(({ type }, place) =>
    cellOf(type, values[place] ?? null, formatOf(formats, place)),
  )
  let length = HEADER + 2
  for (const cell of cells) length += 4 + (cell === null ? 0 : Buffer.byteLength(cell))
  const row = Buffer.allocUnsafe(length)
  row[0] = DATA_ROW
  row.writeInt32BE(length - 1, 1)
  let at = row.writeUInt16BE(columns.length, HEADER)
  for (const cell of cells) {
    const start = at + 4
    const size = cell === null ? 0 : typeof cell === 'string' ? row.write(cell, start) : cell.copy(row, start)
    row.writeInt32BE(cell === null ? -1 : size, at)
    at = start + size
  }
  return row
}

function cellOf(type: ColumnType, value: Value, format: number): string | Buffer | null {
  if (value === null) return null
  return format === Format.Binary ? binary(type, value) : textOf(type, value)
}

function textOf(type: ColumnType, value: string | number): string {
  return type === 'text' ? String(value).replaceAll('\0', '') : String(whole(type, Number(value)))
}

function whole(type: ColumnType, value: number): bigint {
  const number = Number.isFinite(value) ? Math.round(value) : 0
  return BigInt(type === 'int4' ? Math.max(-INT4_MAX, Math.min(INT4_MAX, number)) : number)
}

function binary(type: ColumnType, value: string | number): Buffer {
  if (type === 'text') return Buffer.from(textOf(type, value), 'utf8')
  const number = whole(type, Number(value))
  if (type === 'numeric') return binaryNumeric(number)
  const bytes = Buffer.alloc(type === 'int4' ? 4 : 8)
  if (type === 'int4') bytes.writeInt32BE(Number(number))
  else bytes.writeBigInt64BE(number)
  return bytes
}

/** Postgres' numeric: digits in base 10,000, the weight of the first, sign, digits behind the point. */
function binaryNumeric(number: bigint): Buffer {
  const digits: number[] = []
  for (let rest = number < 0n ? -number : number; rest > 0n; rest /= NUMERIC_BASE)
    digits.unshift(Number(rest % NUMERIC_BASE))
  const weight = Math.max(0, digits.length - 1)
  while (digits.at(-1) === 0) digits.pop()
  const bytes = Buffer.alloc(8 + 2 * digits.length)
  bytes.writeUInt16BE(digits.length, 0)
  bytes.writeInt16BE(weight, 2)
  bytes.writeUInt16BE(number < 0n ? 0x4000 : 0, 4)
  for (const [place, digit] of digits.entries()) bytes.writeUInt16BE(digit, 8 + 2 * place)
  return bytes
}
