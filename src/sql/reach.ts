// Owns the question what is reached from where: objects of a database as nodes, links from what runs to what
// makes it run, and the facts of functions that flow along them. Pure; it never asks whether a link is real.

/**
 * Nodes are texts, a letter and the object's number: f122 a function, b122 a built-in one, r122 a relation
 * (naming it runs something), x122 a relation (TRUNCATE of it does), k122 the partition key of a relation,
 * t122 a type. Beside them there are words (`wordNode`) and these three.
 */
export const Place = {
  /** Any statement: operators, casts, types, search in texts. */
  Everywhere: 'e',
  /** What fires event triggers. */
  Ddl: 'd',
  /** VACUUM, ANALYZE, .. without the name of a relation: expressions of indexes and statistics. */
  Maintenance: 'm',
} as const

/**
 * Words by which a statement, or a function's body, shows that it fires event triggers. SELECT .. INTO
 * has none.
 */
const DDL_WORDS = 'create alter drop grant revoke comment security refresh reindex import reassign cluster'
const MAINTENANCE_WORDS =
  'analyze analyse vacuum cluster reindex repack brin_summarize_new_values brin_summarize_range ' +
  'bt_index_check bt_index_parent_check'

/** The node of a name or word as it stands in a text; `key` is a `nameKey`. */
export function wordNode(key: string): string {
  return `w${key}`
}

/** Facts that flow from node to node, as bits. */
export class Reach {
  readonly #links = new Map<string, string[]>()
  readonly #facts = new Map<string, number>()
  /** Nodes whose facts have not been passed on yet. */
  readonly #open: string[] = []
  /** Words that matter although they are no name of an object. */
  readonly words: ReadonlySet<string>

  constructor() {
    const words = new Set<string>()
    const places = [
      [Place.Ddl, DDL_WORDS],
      [Place.Maintenance, MAINTENANCE_WORDS],
    ] as const
    for (const [place, list] of places) {
      for (const word of list.split(' ')) {
        words.add(word)
        this.link(place, wordNode(word))
      }
    }
    this.words = words
  }

  /** What happens at `from` happens to whoever comes to `to`. */
  link(from: string, to: string): void {
    const those = this.#links.get(from)
    if (those === undefined) this.#links.set(from, [to])
    else those.push(to)
    if (this.#facts.has(from)) this.#open.push(from)
  }

  mark(node: string, facts: number): void {
    const before = this.facts(node)
    if ((before | facts) === before) return
    this.#facts.set(node, before | facts)
    this.#open.push(node)
  }

  /** Carries all facts as far as they go; each node is visited once for each fact at most. */
  spread(): void {
    for (let node = this.#open.pop(); node !== undefined; node = this.#open.pop()) {
      const facts = this.facts(node)
      for (const next of this.#links.get(node) ?? []) this.mark(next, facts)
    }
  }

  facts(node: string): number {
    return this.#facts.get(node) ?? 0
  }

  /** Words that have facts, with these. */
  *markedWords(): Generator<[word: string, facts: number]> {
    for (const [node, facts] of this.#facts) if (node.startsWith('w')) yield [node.slice(1), facts]
  }
}
