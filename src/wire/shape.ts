// What a RowDescription says about the types of a result, as one number that can be compared. It keeps
// nothing. Formats do not count: they are chosen with each Bind. Nor do tables, which Postgres does not
// compare either.
import { FromServer } from './protocol.ts'

/** A statement that gives no rows. */
const NO_ROWS = 1
/** A description that is too long to be read. */
const TOO_LONG = 2
const HEADER = 5
/** Behind the name: table, column, type, its length, modifier, format. */
const TYPE_AT = 6
const MODIFIER_AT = 12
const FIELD_TAIL = 18
const FNV_START = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** The shape in the message `src[start..stop)`, of which `rest` bytes are missing: never 0. */
export function shapeOf(src: Buffer, start: number, stop: number, rest: number): number {
  if (src[start] === FromServer.NoData) return NO_ROWS
  if (rest > 0) return TOO_LONG
  let hash = FNV_START
  let at = start + HEADER + 2
  while (at < stop) {
    for (; at < stop && src[at] !== 0; at++) hash = Math.imul(hash ^ src[at], FNV_PRIME)
    at++
    for (let byte = TYPE_AT; byte < FIELD_TAIL - 2; byte++) {
      if (byte === TYPE_AT + 4) byte = MODIFIER_AT
      hash = Math.imul(hash ^ src[at + byte], FNV_PRIME)
    }
    at += FIELD_TAIL
  }
  return (hash >>> 0) + TOO_LONG + 1
}

/** Can this one be compared with another? */
export function isComparable(shape: number): boolean {
  return shape !== 0 && shape !== TOO_LONG
}
