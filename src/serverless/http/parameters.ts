// Values of a request as the texts that Postgres reads. Pure. Digits of numbers stay as they were sent;
// strings in arrays are quoted by the rules of Postgres, not by those of JSON.
import { badRequest } from './problem.ts'

/** A JSON value. Numbers whose digits may matter are of the kind that `JSON.rawJSON` makes. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

interface RawJson {
  readonly rawJSON: string
}

interface LosslessJson {
  rawJSON(text: string): Json
  isRawJSON(value: unknown): value is RawJson
  parse(text: string, reviver: (key: string, value: Json, context: { source?: string }) => Json): Json
}

const lossless = JSON as unknown as LosslessJson

/** The text with each number kept as it is written. */
export function parseLossless(text: string): Json {
  return lossless.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? lossless.rawJSON(source) : value,
  )
}

/** Whether reading it plainly may have lost something. */
export function hasNumbers(value: Json | undefined): boolean {
  return typeof value === 'number' || (typeof value === 'object' && value !== null)
}

/** The text of one parameter; null: SQL NULL. @throws RequestError for what Postgres could not be told */
export function textOf(value: Json): string | null {
  if (typeof value === 'string') return checked(value)
  if (value === null) return null
  if (typeof value !== 'object') return String(value)
  if (lossless.isRawJSON(value)) return value.rawJSON
  return checked(Array.isArray(value) ? arrayText(value) : JSON.stringify(value))
}

function arrayText(values: readonly Json[]): string {
  const elements = values.map((value) => {
    if (value === null) return 'NULL'
    if (typeof value === 'string') return quoted(value)
    if (typeof value !== 'object') return String(value)
    if (lossless.isRawJSON(value)) return value.rawJSON
    return Array.isArray(value) ? arrayText(value) : quoted(JSON.stringify(value))
  })
  return `{${elements.join(',')}}`
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** A text that UTF-8 can carry and Postgres can take. */
export function checked(text: string): string {
  if (text.includes('\0')) throw badRequest('invalid byte sequence for encoding "UTF8": 0x00', '22021')
  if (!text.isWellFormed())
    throw badRequest('invalid text: half of a surrogate pair stands alone, which UTF-8 cannot carry', '22021')
  return text
}
