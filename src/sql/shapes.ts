// Owns what is known of statements that differ in their constants only: one entry for all of them, by their
// text with the constants taken out, and how long they take. It never takes two statements for one that could
// differ in more than the value of a constant: bytes are compared, and what it cannot follow has no shape.

import {
  CLASS,
  DASH,
  DOLLAR,
  IDENTIFIER,
  SLASH,
  STANDARD,
  STRING,
  UTF8,
  WORD,
  ZERO,
  skipComment,
  skipOther,
  wordEnd,
} from './lexer.ts'

/** Texts longer than this have no shape, in bytes. */
export const SHAPED_MAX = 4096
/** Shapes that one database may have; the oldest go first. */
const SHAPES_MAX = 2000
/** Memory for them, in bytes. */
const BYTES_MAX = 1024 * 1024
/** What one costs besides its text, roughly. */
const COST = 300

/** How much of a text people are shown. */
const SHOWN_MAX = 1000

/** How texts must be read that have shapes: what most clients use, where quotes are only quotes. */
export const SHAPED_READING: number = STANDARD | UTF8

/** They stand for a number and for a string; no statement that Postgres takes has them outside of quotes. */
const NUMBER_MARK = 1
const STRING_MARK = 2
const SPACE_BYTE = 0x20
const QUOTE_BYTE = 0x27
const AMPERSAND_BYTE = 0x26

/** A new time counts for so much, */
const WEIGHT = 0.2
/** for no more than so many times the average: where processors are short, some wait long for theirs, */
const TIMES_MAX = 4
/** but for so much in any case, ms. */
const LEAST_MAX_MS = 0.2

/** Statements that differ in their constants only. */
export class Shape {
  readonly text: Buffer
  readonly hash: number
  /** Why they may not share a server; null: they may; undefined: not judged. */
  refusal: string | null | undefined = undefined
  /** The knowledge of the database by which that was judged. */
  judgedBy = 0
  /** What one takes, a moving average in ms; negative: none was measured. */
  ms = -1
  /** Exchanges that ran beside those of others. */
  shared = 0
  /** Of these, those that had to run once more. */
  sentAgain = 0
  /** It was sought before: texts that come once are not judged. */
  isKnown = false
  /** Times that it ran, how long they took in all and at most, what they gave; by whatever server. */
  calls = 0
  totalMs = 0
  maxMs = 0
  rows = 0
  errors = 0
  /** It was sought since the last time that room was made. */
  isUsed = true
  /** It was forgotten: what is still to be counted for it counts for this one. */
  heir: Shape | null = null

  constructor(text: Buffer, hash: number) {
    this.text = text
    this.hash = hash
  }

  /** The text for people: its beginning, with question marks for constants. */
  get label(): string {
    return this.text.length === 0 ? OTHERS : labelOf(this.text, this.text.length)
  }

  /** One of them has run, for so long. */
  ran(ms: number): void {
    const to = this.heir ?? this
    to.calls++
    to.totalMs += ms
    if (ms > to.maxMs) to.maxMs = ms
  }

  gave(rows: number): void {
    const to = this.heir ?? this
    to.rows += rows
  }

  failed(): void {
    const to = this.heir ?? this
    to.errors++
  }

  /** One of them has taken so long. */
  took(ms: number): void {
    const most = this.ms < 0 ? ms : Math.max(this.ms * TIMES_MAX, LEAST_MAX_MS)
    this.tookTooLong(Math.min(ms, most))
  }

  /** The same where others had to be sent elsewhere because of it. */
  tookTooLong(ms: number): void {
    this.ms = this.ms < 0 ? ms : this.ms + (ms - this.ms) * WEIGHT
  }

  /** It turned out not to be what it looked like, as far as the database is known now. */
  forbid(why: string): void {
    this.refusal = why
  }
}

/** Stands for statements whose text is not kept. */
const OTHERS = '<others>'

function labelOf(text: Buffer, length: number): string {
  const shown = text.toString('utf8', 0, Math.min(length, SHOWN_MAX))
  const numbers = shown.replaceAll(String.fromCharCode(NUMBER_MARK), '?')
  return numbers.replaceAll(String.fromCharCode(STRING_MARK), "'?'")
}

/** A text without its constants, for people; nothing is remembered of it. */
export function labelOfText(text: Buffer, start: number, end: number): string {
  const length = normalise(text, start, Math.min(end, start + SHAPED_MAX))
  return length < 0 ? OTHERS : labelOf(scratch, length)
}

/** The text that is looked for, without its constants. */
const scratch = Buffer.allocUnsafeSlow(SHAPED_MAX)
let hash = 0

export class ShapeBook {
  readonly #shapes = new Map<number, Shape>()
  #bytes = 0
  /** What has no shape, and what was forgotten, in one. */
  readonly others: Shape = new Shape(Buffer.alloc(0), 0)

  get size(): number {
    return this.#shapes.size
  }

  /** All that are known, the oldest first. */
  all(): Iterable<Shape> {
    return this.#shapes.values()
  }

  /** The shape of `text[start..end)`, which is read as `SHAPED_READING`; null: it has none. */
  find(text: Buffer, start: number, end: number): Shape | null {
    const length = normalise(text, start, end)
    if (length < 0) return null
    const known = this.#shapes.get(hash)
    if (known !== undefined && isSame(known.text, length)) {
      known.isUsed = true
      return known
    }
    return this.#add(length)
  }

  #add(length: number): Shape {
    const copy = Buffer.allocUnsafeSlow(length)
    scratch.copy(copy, 0, 0, length)
    const shape = new Shape(copy, hash)
    const before = this.#shapes.get(hash)
    if (before !== undefined) this.#drop(before)
    this.#shapes.set(hash, shape)
    this.#bytes += length + COST
    for (const oldest of this.#shapes.values()) {
      if (this.#shapes.size <= SHAPES_MAX && this.#bytes <= BYTES_MAX) break
      // Whatever was sought meanwhile gets another turn, so that what comes once cannot drive it out.
      if (oldest.isUsed && oldest !== shape) this.#spare(oldest)
      else this.#drop(oldest)
    }
    return shape
  }

  #spare(shape: Shape): void {
    shape.isUsed = false
    this.#shapes.delete(shape.hash)
    this.#shapes.set(shape.hash, shape)
  }

  #drop(shape: Shape): void {
    this.#shapes.delete(shape.hash)
    this.#bytes -= shape.text.length + COST
    const { others } = this
    others.calls += shape.calls
    others.totalMs += shape.totalMs
    others.maxMs = Math.max(others.maxMs, shape.maxMs)
    others.rows += shape.rows
    others.errors += shape.errors
    shape.heir = others
  }
}

function isSame(known: Buffer, length: number): boolean {
  if (known.length !== length) return false
  for (let at = 0; at < length; at++) if (known[at] !== scratch[at]) return false
  return true
}

/**
 * Writes `text[start..end)` into `scratch`, a mark for each constant, a space for each comment, and its hash
 * into `hash`. Of a number only runs of digits are taken out, so that nothing that follows one is lost.
 * @returns its length; -1: it is too long, or cannot be followed
 */
function normalise(text: Buffer, start: number, end: number): number {
  if (end - start > SHAPED_MAX) return -1
  let sum = 0
  let to = 0
  for (let at = start; at < end; ) {
    const kind = CLASS[text[at]]
    let next = at + 1
    let mark = 0
    if (kind === WORD) {
      next = wordEnd(text, next, end, UTF8)
      if (next === at + 1 && isPrefix(text, next, end)) return -1
    } else if (isDigit(text[at])) {
      while (next < end && isDigit(text[next])) next++
      mark = NUMBER_MARK
    } else if (kind === STRING) {
      next = skipOther(text, at, end, SHAPED_READING)
      mark = STRING_MARK
    } else if (kind === IDENTIFIER) {
      next = skipOther(text, at, end, SHAPED_READING)
    } else if (kind === DOLLAR) {
      while (next < end && isDigit(text[next])) next++
      // A dollar quote, or nothing that is understood.
      if (next === at + 1) return -1
    } else if (kind === DASH || kind === SLASH) {
      next = skipComment(text, at, end)
      if (next > at + 1) mark = SPACE_BYTE
    } else if (kind === ZERO) return -1
    if (next < 0) return -1
    if (mark !== 0) {
      scratch[to++] = mark
      sum = Math.imul(sum ^ mark, 0x01000193)
    } else {
      for (let from = at; from < next; from++) {
        const byte = text[from]
        scratch[to++] = byte
        sum = Math.imul(sum ^ byte, 0x01000193)
      }
    }
    at = next
  }
  hash = sum
  return to
}

/** Is what stands behind a single letter a string that is read otherwise because of it? */
function isPrefix(text: Buffer, at: number, end: number): boolean {
  return at < end && (text[at] === QUOTE_BYTE || text[at] === AMPERSAND_BYTE)
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}
