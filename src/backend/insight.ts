// What is known about the texts that one database's clients send: how they are read, which names matter
// there, and so what each may leave behind. It owns the names; the book with the texts is everybody's.
import type { Settings } from '../session/settings.ts'
import type { Definition } from '../session/statements.ts'
import { type Routines, UNREAD } from '../sql/catalogue.ts'
import { COLUMNS } from '../sql/catalogue-queries.ts'
import { type Effects, NOT_READ, storedEffects, withAnything } from '../sql/effects.ts'
import type { FactBook } from '../sql/fact-book.ts'
import { Freshness, type Question } from '../sql/freshness.ts'
import { ANY, ENCODING, STANDARD } from '../sql/lexer.ts'
import type { Reading } from '../sql/scanner.ts'
import { SHAPED_READING, type Shape, ShapeBook } from '../sql/shapes.ts'
import type { Builtins, SharingFacts } from '../sql/sharing.ts'

/** Before anything is known of a server. */
const UNSURE = STANDARD | ANY
/** When the catalogue is asked whether it has changed, and how long nobody waits for its answer. */
const LIMITS = { everyMs: 5000, gapMs: 250, answerMs: 60_000 }

/** Where nothing is known. */
const LOST = readings(UNREAD)

export class Insight {
  readonly #book: FactBook
  /** Grows when what was said about a text may be otherwise now. */
  version = 1
  /** Grows when a text may be made into another statement now: relations, types or functions are others. */
  schema = 1
  #digest = ''
  readonly #freshness = new Freshness(LIMITS)
  #isFailing = false
  /** Does what was read hold? While it may not, anything may happen. */
  isCurrent = false
  /** One for each way in which texts are read. */
  #readings: Reading[] = LOST
  /** Somebody asks for currval or lastval. */
  readsSequences = false
  /** Custom settings that functions of the database may set. */
  customNames: readonly string[] = []
  /** Texts that may run beside those of other clients. */
  readonly shapes = new ShapeBook()
  #sharing: SharingFacts | null = null
  #routines: Routines = UNREAD
  /** The shortest way to Postgres and back that was seen, ms. */
  roundTripMs = Number.POSITIVE_INFINITY

  constructor(book: FactBook) {
    this.#book = book
  }

  /** Something that Postgres does at once has taken so long. */
  noteRoundTrip(ms: number): void {
    this.roundTripMs = Math.min(this.roundTripMs, ms)
  }

  /** Functions of Postgres itself; null: not read yet. */
  get builtins(): Builtins | null {
    return this.#sharing?.builtins ?? null
  }

  /** What the database should be asked now; somebody asks then, and says what came of it. */
  next(now: number, isUrgent: boolean): Question {
    return this.#freshness.next(now, isUrgent)
  }

  /**
   * Something was made that matters, or may have been.
   * @param isTemporary of which a digest does not tell
   */
  doubt(isTemporary: boolean): void {
    this.#freshness.onDdl(isTemporary)
    this.#settle()
  }

  /** What was asked is answered; `onDigest` or `learned` say with what. @param now as for `next` */
  onAnswer(now: number): void {
    this.#freshness.onAnswer(now)
  }

  /** The catalogue has this digest. */
  onDigest(digest: string): void {
    this.#isFailing = false
    this.#freshness.onDigest(this.#compare(digest))
    this.#settle()
  }

  /** CREATE, ALTER or DROP: what is made of a text now is not what was made of it before. */
  redefined(): void {
    this.schema++
  }

  /** @returns the part of it that is about functions, and how they are reached */
  #compare(digest: string): string {
    if (digest !== this.#digest) this.schema++
    this.#digest = digest
    const [functions] = digest.split(COLUMNS)
    return functions
  }

  /** The functions of the database are these. */
  learned(routines: Routines, digest: string, sharing: SharingFacts): void {
    this.#sharing = sharing
    this.#isFailing = false
    this.#freshness.onSurvey(this.#compare(digest))
    this.customNames = routines.customNames
    this.#routines = routines
    this.#readings = readings(routines)
    this.version++
    this.#settle()
  }

  /** The database could not be asked. @returns whether it could the last time */
  onFailure(): boolean {
    const isFirst = !this.#isFailing
    this.#isFailing = true
    this.#freshness.onFailure()
    this.#settle()
    return isFirst
  }

  #settle(): void {
    if (this.isCurrent === this.#freshness.isCurrent) return
    this.isCurrent = !this.isCurrent
    this.version++
  }

  /** What `text[start..end)`, sent under these settings, may leave behind. */
  effects(text: Buffer, start: number, end: number, settings: Settings | null): Effects {
    const all = this.isCurrent ? this.#readings : LOST
    return this.#book.effects(text, start, end, all[settings === null ? UNSURE : settings.readingFlags])
  }

  /**
   * What is known of texts like `text[start..end)`, sent under these settings; null: nothing is to be known
   * of it. One that has come before is judged.
   */
  shapeOf(text: Buffer, start: number, end: number, settings: Settings): Shape | null {
    if (!this.isCurrent || settings.readingFlags !== SHAPED_READING) return null
    const shape = this.shapes.find(text, start, end)
    if (shape === null || shape.judgedBy >= this.version) return shape
    if (shape.isKnown) this.#judge(shape, text, start, end)
    shape.isKnown = true
    return shape
  }

  /** The shape by which such a text is counted. */
  statement(text: Buffer, start: number, end: number, settings: Settings): Shape {
    const shape = settings.readingFlags === SHAPED_READING ? this.shapes.find(text, start, end) : null
    return shape ?? this.shapes.others
  }

  #judge(shape: Shape, text: Buffer, start: number, end: number): void {
    const reading = this.#readings[SHAPED_READING]
    const known = this.#book.look(text, start, end, reading)
    const verdict = this.#book.judge(known)
    // The grammar has done enough for now.
    if (known.verdict === undefined) return
    const effects = this.#book.effects(text, start, end, reading)
    shape.refusal = this.#sharing!.refusalOf(effects, verdict, reading.routines ?? UNREAD)
    shape.judgedBy = this.version
  }

  /**
   * The same of a message that ends at `stop`, whose text begins at `start`: behind the text a Parse declares
   * the types of its parameters.
   */
  ofMessage(src: Buffer, start: number, stop: number, settings: Settings | null): Effects {
    const end = src.indexOf(0, start)
    if (end < 0 || end >= stop) return NOT_READ
    const effects = this.effects(src, start, end, settings)
    if (!this.#hasTouchingType(src, end + 1, stop)) return effects
    return withAnything(effects, src.subarray(start, end))
  }

  #hasTouchingType(src: Buffer, start: number, stop: number): boolean {
    for (let at = start + 2; at + 4 <= stop; at += 4)
      if (this.#routines.touchesType(src.readUInt32BE(at))) return true
    return false
  }

  /** The same of the body of a Parse message, its statement name taken off. */
  ofBody(body: Buffer, settings: Settings | null): Effects {
    return this.ofMessage(body, 0, body.length, settings)
  }

  /** The same of a statement that was parsed before, under the names that matter now. */
  current(definition: Definition): Effects {
    if (definition.readAs !== this.version && !definition.isLarge) {
      const effects = this.ofBody(definition.body, definition.settings)
      definition.effects = definition.isSql ? storedEffects(effects) : effects
      definition.readAs = this.version
    }
    return definition.effects
  }
}

function readings(routines: Routines): Reading[] {
  const { marked } = routines
  return Array.from({ length: (STANDARD | ENCODING) + 1 }, (_, flags) => ({ flags, marked, routines }))
}
