// Owns what was learned about texts: facts of the scanner and, where they were asked for, verdicts of the
// grammar, by the bytes of the text, within a budget of bytes, the text longest unused going first. A text
// that is known costs one look-up and nothing is allocated. It never lets the grammar see a text that is too
// long for it, and never takes one text for another: bytes are compared.

import { type Effects, effectsOf, plainEffects } from './effects.ts'
import type { Grammar } from './grammar.ts'
import { readTree } from './read-tree.ts'
import { Fact, type Reading, scanFacts } from './scanner.ts'
import type { Verdict } from './verdict.ts'
import { FOR_GRAMMAR } from './vocabulary.ts'

/** Longest text that the grammar sees, in bytes: 16 KiB can take it 20 ms, and nothing else runs then. */
const GRAMMAR_MAX = 16 * 1024
/** Texts that are remembered by their hash alone; a power of two. */
const SEEN = 4096
/** And how many bytes it sees until `refill`: that takes it less than 50 ms. */
const BUDGET = 48 * 1024
/** What an entry costs besides its text, and one statement of a verdict, roughly. */
const ENTRY_COST = 250
const STATEMENT_COST = 700
/** A text that would use more than this part of the budget is not kept. */
const SHARE_MAX = 16
/** Longer texts are told apart by their ends. */
const HASHED_MAX = 1024

/** What is known about one text. */
export interface Known {
  /** `Fact` bits. */
  readonly facts: number
  /** undefined: nobody has asked the grammar; null: unknown, so it may do anything. */
  readonly verdict: Verdict | undefined
  /** Does it take the grammar to tell whether it touches the state of a session? */
  readonly needsGrammar: boolean
}

class Entry implements Known {
  readonly text: Buffer
  readonly hash: number
  flags: number
  marked: Reading['marked']
  facts: number
  verdict: Verdict | undefined = undefined
  /** null: nobody has asked, or what is known has changed since. */
  effects: Effects | null = null
  /** Under which they were judged. */
  routines: Reading['routines'] = undefined
  cost: number
  isKept = false
  older: Entry | null = null
  newer: Entry | null = null

  constructor(text: Buffer, hash: number, reading: Reading) {
    this.text = text
    this.hash = hash
    this.flags = reading.flags
    this.marked = reading.marked
    this.facts = scanFacts(text, 0, text.length, reading)
    this.cost = text.length + ENTRY_COST
  }

  get needsGrammar(): boolean {
    return this.verdict === undefined && (this.facts & (FOR_GRAMMAR | Fact.Unclear)) !== 0
  }
}

export interface FactBookLimits {
  /** Memory for texts and what is known about them. */
  readonly bytesMax: number
  /** Longest text that the grammar sees; the verdict about a longer one is unknown. */
  readonly grammarMax?: number
}

export class FactBook {
  readonly #grammar: Pick<Grammar, 'parse'>
  readonly #bytesMax: number
  readonly #grammarMax: number
  readonly #entries = new Map<number, Entry>()
  /** Of the text that was asked about last. */
  #hash = 0
  /** Hashes of texts that came of late. */
  readonly #seen = new Int32Array(SEEN)
  #budget = BUDGET
  #newest: Entry | null = null
  #oldest: Entry | null = null
  #bytes = 0

  constructor(grammar: Pick<Grammar, 'parse'>, limits: FactBookLimits) {
    this.#grammar = grammar
    this.#bytesMax = limits.bytesMax
    this.#grammarMax = limits.grammarMax ?? GRAMMAR_MAX
  }

  /** Bytes in use, roughly. */
  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#entries.size
  }

  /** What is known about `text[start..end)`; scans it if it is new. The bytes are copied if they are kept. */
  look(text: Buffer, start: number, end: number, reading: Reading): Known {
    return this.#find(text, start, end, reading) ?? this.#add(text.subarray(start, end), reading)
  }

  /**
   * What `text[start..end)` may leave behind in a session. A text that is known costs one look-up. One
   * without a word that matters is kept when it comes again soon: most others are sent once.
   */
  effects(text: Buffer, start: number, end: number, reading: Reading): Effects {
    const { routines } = reading
    // Where every statement may do anything, not much is plain.
    const isLost = routines !== undefined && routines.everywhere !== 0
    let entry = this.#find(text, start, end, reading)
    if (entry === null) {
      if (!isLost && this.#isNew()) {
        const facts = scanFacts(text, start, end, reading)
        if (isPlain(facts)) return plainEffects(facts)
      }
      entry = this.#add(text.subarray(start, end), reading)
    }
    if (entry.effects !== null && entry.routines === routines) return entry.effects
    const { facts } = entry
    const wasPlain = isPlain(facts)
    let effects: Effects
    if (!wasPlain) effects = effectsOf(entry, this.judge(entry), routines)
    else effects = isLost ? effectsOf(entry, null, routines) : plainEffects(facts)
    // Without a verdict it was not judged now, but may be another time.
    entry.effects = wasPlain || entry.verdict !== undefined ? effects : null
    entry.routines = routines
    return effects
  }

  #find(text: Buffer, start: number, end: number, reading: Reading): Entry | null {
    this.#hash = hashOf(text, start, end)
    const found = this.#entries.get(this.#hash)
    if (found === undefined || found.flags !== reading.flags || !isSame(found.text, text, start, end))
      return null
    if (found.marked !== reading.marked) rescan(found, reading)
    if (found !== this.#newest) {
      this.#unlink(found)
      this.#link(found)
    }
    return found
  }

  /** A text that `#find` has just not found. */
  #add(text: Buffer, reading: Reading): Entry {
    const hash = this.#hash
    if (text.length + ENTRY_COST > this.#bytesMax / SHARE_MAX) return new Entry(text, hash, reading)
    // In memory of its own: a piece of Node's pool would keep 64 KiB for as long as the text is kept.
    const copy = Buffer.allocUnsafeSlow(text.length)
    text.copy(copy)
    const entry = new Entry(copy, hash, reading)
    const before = this.#entries.get(hash)
    if (before !== undefined) this.#drop(before)
    this.#keep(entry)
    return entry
  }

  /** No text of the hash that `#find` has made has come for a while. */
  #isNew(): boolean {
    const place = this.#hash & (SEEN - 1)
    if (this.#seen[place] === this.#hash) return false
    this.#seen[place] = this.#hash
    return true
  }

  /**
   * The grammar's verdict. It blocks the event loop while it is made, up to 3 us per byte, so between two
   * calls of `refill` it sees so many bytes only: null, and nothing remembered, beyond that.
   */
  judge(known: Known): Verdict {
    const entry = known as Entry
    if (entry.verdict !== undefined) return entry.verdict
    const verdict = this.#ask(entry)
    if (verdict === undefined) return null
    entry.verdict = verdict
    const cost = (verdict?.length ?? 0) * STATEMENT_COST
    entry.cost += cost
    if (!entry.isKept) return verdict
    this.#bytes += cost
    this.#makeRoom()
    return verdict
  }

  #ask({ text, flags, facts }: Entry): Verdict | undefined {
    if (text.length > this.#grammarMax || (facts & Fact.Unclear) !== 0) return null
    if (this.#budget <= 0) return undefined
    this.#budget -= text.length
    const tree = this.#grammar.parse(text, flags)
    if (tree === 'unread') return undefined
    return tree === null ? null : readTree(tree)
  }

  /** Time has passed. */
  refill(): void {
    this.#budget = BUDGET
  }

  #keep(entry: Entry): void {
    this.#entries.set(entry.hash, entry)
    entry.isKept = true
    this.#bytes += entry.cost
    this.#link(entry)
    this.#makeRoom()
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.hash)
    entry.isKept = false
    this.#bytes -= entry.cost
    this.#unlink(entry)
  }

  #makeRoom(): void {
    while (this.#bytes > this.#bytesMax && this.#oldest !== null) this.#drop(this.#oldest)
  }

  #link(entry: Entry): void {
    entry.older = this.#newest
    entry.newer = null
    if (this.#newest !== null) this.#newest.newer = entry
    this.#newest = entry
    this.#oldest ??= entry
  }

  #unlink(entry: Entry): void {
    if (entry.newer === null) this.#newest = entry.older
    else entry.newer.older = entry.older
    if (entry.older === null) this.#oldest = entry.newer
    else entry.older.newer = entry.newer
  }
}

/** The names of the database have changed; what the grammar said holds. */
function rescan(entry: Entry, reading: Reading): void {
  entry.marked = reading.marked
  entry.facts = scanFacts(entry.text, 0, entry.text.length, reading)
  entry.effects = null
}

/** No grammar is needed to tell what it leaves behind. */
function isPlain(facts: number): boolean {
  return (facts & (FOR_GRAMMAR | Fact.Creates | Fact.Unclear)) === 0
}

function hashOf(text: Buffer, start: number, end: number): number {
  const isLong = end - start > HASHED_MAX
  let sum = end - start
  const first = isLong ? start + HASHED_MAX / 2 : end
  for (let at = start; at < first; at++) sum = Math.imul(sum ^ text[at], 0x01000193)
  if (isLong) for (let at = end - HASHED_MAX / 2; at < end; at++) sum = Math.imul(sum ^ text[at], 0x01000193)
  return sum
}

function isSame(known: Buffer, text: Buffer, start: number, end: number): boolean {
  if (known.length !== end - start) return false
  if (known.length > 64) return text.compare(known, 0, known.length, start, end) === 0
  for (let i = 0; i < known.length; i++) if (known[i] !== text[start + i]) return false
  return true
}
