// Owns the look-up of words in bytes: a fixed table from names to numbers, asked once for every word of a
// statement. It never allocates while it is asked, and never knows what the numbers mean.

import { LOWER_CASE } from './lexer.ts'

/** Postgres cuts names off behind this many bytes. */
const NAME_MAX = 63
/** What stands for every byte that is not ASCII, and for a doubled quote. */
const HIGH = 0x80
const DOUBLE_QUOTE_BYTE = 0x22
const EMPTY = -1

/** Bytes as the table sees them: letters in lower case. */
const FOLDED = new Uint8Array(256)
for (let byte = 0; byte < 256; byte++) {
  const isUpper = byte >= 0x41 && byte <= 0x5a
  FOLDED[byte] = isUpper ? byte | LOWER_CASE : byte >= HIGH ? HIGH : byte
}

/**
 * Names without regard to case, each with a number. Other encodings write a name that is not ASCII in other
 * bytes, so where the table has such a name every word with such bytes is found: too much, never too little.
 */
export class WordTable {
  /** Index of a name by its hash, open addressing. */
  readonly #slots: Int32Array
  readonly #bytes: Uint8Array
  readonly #starts: Int32Array
  readonly #values: Int32Array
  /** For each length the first letters that names of it have, as bits: most words end here. */
  readonly #firsts = new Int32Array(NAME_MAX + 1)
  /** The number for a word that may be one of those that cannot be compared; 0: there are none. */
  readonly #odd: number
  readonly size: number

  /** A name given twice has the bits of both numbers. */
  constructor(entries: Iterable<readonly [name: string, value: number]>) {
    const values = new Map<string, number>()
    let odd = 0
    for (const [name, value] of entries) {
      const folded = Buffer.from(name).subarray(0, NAME_MAX).map(fold)
      if (folded.includes(HIGH) || folded.includes(DOUBLE_QUOTE_BYTE)) odd |= value
      const key = Buffer.from(folded).toString('latin1')
      values.set(key, (values.get(key) ?? 0) | value)
    }
    this.#odd = odd
    this.size = values.size
    let slots = 16
    while (slots < values.size * 3) slots *= 2
    this.#slots = new Int32Array(slots).fill(EMPTY)
    this.#starts = new Int32Array(values.size + 1)
    this.#values = new Int32Array([...values.values()])
    this.#bytes = Buffer.from([...values.keys()].join(''), 'latin1')
    let start = 0
    for (const [index, key] of [...values.keys()].entries()) {
      this.#starts[index] = start
      this.#add(index, start, start + key.length)
      start += key.length
    }
    this.#starts[values.size] = start
  }

  #add(index: number, start: number, end: number): void {
    this.#firsts[end - start] |= 1 << (this.#bytes[start] & 31)
    let slot = hash(this.#bytes, start, end) & (this.#slots.length - 1)
    while (this.#slots[slot] !== EMPTY) slot = (slot + 1) & (this.#slots.length - 1)
    this.#slots[slot] = index
  }

  /** The number of the word `text[start..end)`; 0 if it is not in the table. */
  find(text: Uint8Array, start: number, end: number): number {
    const stop = end - start > NAME_MAX ? start + NAME_MAX : end
    if (this.#odd !== 0 && isOdd(text, start, stop)) return this.#odd
    if ((this.#firsts[stop - start] & (1 << (text[start] & 31))) === 0) return 0
    const slots = this.#slots
    let slot = hash(text, start, stop) & (slots.length - 1)
    for (let index = slots[slot]; index !== EMPTY; index = slots[slot]) {
      if (this.#is(index, text, start, stop)) return this.#values[index]
      slot = (slot + 1) & (slots.length - 1)
    }
    return 0
  }

  #is(index: number, text: Uint8Array, start: number, end: number): boolean {
    const own = this.#starts[index]
    if (this.#starts[index + 1] - own !== end - start) return false
    for (let i = end - start - 1; i >= 0; i--) {
      if (FOLDED[text[start + i]] !== this.#bytes[own + i]) return false
    }
    return true
  }
}

/** As Postgres folds names that are not quoted: ASCII only. */
export function lower(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** A name as it is compared: cut where Postgres cuts it (a char is never halved), then in lower case. */
export function nameKey(name: string): string {
  // No char has more than three bytes for one unit of a string.
  if (name.length * 3 <= NAME_MAX) return lower(name)
  const bytes = Buffer.from(name)
  if (bytes.length <= NAME_MAX) return lower(name)
  let end = NAME_MAX
  while ((bytes[end] & 0xc0) === HIGH) end--
  return lower(bytes.toString('utf8', 0, end))
}

function fold(byte: number): number {
  return FOLDED[byte]
}

function hash(text: Uint8Array, start: number, end: number): number {
  let sum = end - start
  for (let at = start; at < end; at++) sum = Math.imul(sum, 31) + FOLDED[text[at]]
  return sum ^ (sum >>> 15)
}

function isOdd(text: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (text[at] >= HIGH || text[at] === DOUBLE_QUOTE_BYTE) return true
  return false
}
