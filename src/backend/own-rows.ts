// Reads rows of an answer to an exchange of ours, which may come in pieces. It owns what has come of one row.
import type { Framer } from '../wire/framer.ts'
import type { InternalExchange } from './internal.ts'

const HEADER = 5
/** A row of ours is short; settings may be long texts. */
const ROW_MAX = 16 * 1024 * 1024

/** A row in text, one character a byte; null: NULL. */
export type OwnRow = readonly (string | null)[]

export class OwnRows {
  #exchange: InternalExchange | null = null
  #pieces: Buffer[] = []
  #length = 0

  /** A row begins. */
  begin(exchange: InternalExchange, framer: Framer): void {
    if (exchange.onRow === null) return
    this.#exchange = exchange
    this.#take(framer)
  }

  /** More of the body of a message that was not passed on. */
  more(framer: Framer): void {
    if (this.#exchange !== null) this.#take(framer)
  }

  #take({ src, start, stop, rest }: Framer): void {
    this.#length += stop - start
    // What is longer is not understood, so the exchange must not be believed: a row without columns says so.
    if (this.#length <= ROW_MAX) this.#pieces.push(Buffer.from(src.subarray(start, stop)))
    else this.#pieces = []
    if (rest > 0) return
    const exchange = this.#exchange
    const bytes = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces)
    this.#exchange = null
    this.#pieces = []
    this.#length = 0
    exchange?.onRow?.(columnsOf(bytes))
  }
}

function columnsOf(bytes: Buffer): OwnRow {
  if (bytes.length < HEADER + 2) return []
  const columns: (string | null)[] = []
  let at = HEADER + 2
  for (let left = bytes.readInt16BE(HEADER); left > 0 && at + 4 <= bytes.length; left--) {
    const length = bytes.readInt32BE(at)
    at += 4
    columns.push(length < 0 ? null : bytes.toString('latin1', at, at + length))
    at += Math.max(0, length)
  }
  return columns
}
