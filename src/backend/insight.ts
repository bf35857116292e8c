// What is known about the texts that one database's clients send: how they are read, which names matter
// there, and so what each may leave behind. It owns the names; the book with the texts is everybody's.
import type { Settings } from '../session/settings.ts'
import type { Definition } from '../session/statements.ts'
import type { Routines } from '../sql/catalogue.ts'
import type { Effects } from '../sql/effects.ts'
import type { FactBook } from '../sql/fact-book.ts'
import { ANY, ENCODING, STANDARD } from '../sql/lexer.ts'
import type { Reading } from '../sql/scanner.ts'
import type { WordTable } from '../sql/words.ts'

/** Before anything is known of a server. */
const UNSURE = STANDARD | ANY
/** What was read of a database holds for so long. */
const FRESH_MS = 5000

export class Insight {
  readonly #book: FactBook
  /** Grows when what was said about a text may be otherwise now. */
  version = 1
  /** One for each way in which texts are read. */
  #readings: Reading[] = readings(null)
  #dueAt = 0
  /** Somebody asks for currval or lastval. */
  readsSequences = false
  /** Custom settings that functions of the database may set. */
  customNames: readonly string[] = []

  constructor(book: FactBook) {
    this.#book = book
  }

  /** Should the database be asked for its functions? */
  isDue(now: number): boolean {
    return now >= this.#dueAt
  }

  /** Something was made that matters, or may have been. */
  doubt(): void {
    this.#dueAt = 0
  }

  /** Somebody is asking. */
  isBeingRead(now: number): void {
    this.#dueAt = now + FRESH_MS
  }

  /** The functions of the database are these. */
  learned({ marked, customNames }: Routines): void {
    this.customNames = customNames
    this.#readings = readings(marked)
    this.version++
  }

  /** What `text[start..end)`, sent under these settings, may leave behind. */
  effects(text: Buffer, start: number, end: number, settings: Settings | null): Effects {
    const reading = this.#readings[settings === null ? UNSURE : settings.readingFlags]
    return this.#book.effects(text, start, end, reading)
  }

  /** The same of the body of a Parse message, its statement name taken off. */
  ofBody(body: Buffer, settings: Settings | null): Effects {
    return this.effects(body, 0, Math.max(0, body.indexOf(0)), settings)
  }

  /** The same of a statement that was parsed before, under the names that matter now. */
  current(definition: Definition): Effects {
    if (definition.readAs !== this.version && !definition.isLarge) {
      definition.effects = this.ofBody(definition.body, definition.settings)
      definition.readAs = this.version
    }
    return definition.effects
  }
}

function readings(marked: WordTable | null): Reading[] {
  return Array.from({ length: (STANDARD | ENCODING) + 1 }, (_, flags) => ({ flags, marked }))
}
