// What is known about texts and databases in this process: one book for all texts, Postgres' grammar behind
// it, and for each database the names that matter there. It owns these; it judges nothing.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Insight } from '../backend/insight.ts'
import { FactBook } from '../sql/fact-book.ts'
import { Grammar, type Parsed } from '../sql/grammar.ts'

/** Memory for texts. */
const BYTES_MAX = 16 * 1024 * 1024

export class Insights {
  readonly book: FactBook
  readonly #byDatabase = new Map<string, Insight>()
  #grammar: Pick<Grammar, 'parse'> | null

  /** @param grammar null: it is opened by `open`, and until then no text is understood */
  constructor(grammar: Pick<Grammar, 'parse'> | null = null) {
    this.#grammar = grammar
    this.book = new FactBook(
      {
        parse: (text, flags): Parsed =>
          this.#grammar === null ? 'unread' : this.#grammar.parse(text, flags),
      },
      { bytesMax: BYTES_MAX },
    )
  }

  /** Reads the grammar from its package. */
  async open(): Promise<void> {
    const wasm = fileURLToPath(import.meta.resolve('libpg-query/wasm/libpg-query.wasm'))
    this.#grammar ??= await Grammar.open(await readFile(wasm))
  }

  of(database: string): Insight {
    let insight = this.#byDatabase.get(database)
    if (insight === undefined) {
      insight = new Insight(this.book)
      this.#byDatabase.set(database, insight)
    }
    return insight
  }

  /** Forgets databases that nobody uses. */
  keep(isUsed: (database: string) => boolean): void {
    for (const name of this.#byDatabase.keys()) if (!isUsed(name)) this.#byDatabase.delete(name)
  }

  /** Time has passed. */
  tick(): void {
    this.book.refill()
  }
}
