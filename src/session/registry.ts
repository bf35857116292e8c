// The definitions of one pool: which there are, who uses how many, and what they cost. It owns the budget;
// what a definition is, and what clients call it, is in statements.ts.
import type { Effects } from '../sql/effects.ts'
import { Definition, ownCopy, type Schema, UNCHANGING } from './statements.ts'

/**
 * The definitions of one pool, shared by its clients, with a budget in bytes. What is parsed after a change
 * of the database is one of its own: whoever has described the older one sends parameters of its types.
 */
export class Registry {
  readonly #byKey = new Map<string, Definition>()
  /** Nobody's any more, oldest first: kept for the next client with the same text while the budget allows. */
  readonly #unused = new Map<string, Definition>()
  /** Its memory; a reload may change it. What is kept beyond it goes when room is needed. */
  bytesMax: number
  readonly #database: Schema
  #nextId = 1
  #bytes = 0

  constructor(bytesMax: number, database: Schema = UNCHANGING) {
    this.bytesMax = bytesMax
    this.#database = database
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#byKey.size
  }

  /** Most that one client may hold, so that it cannot use up what is there for all. */
  get clientBytesMax(): number {
    return this.bytesMax / 2
  }

  /**
   * The definition for the body of a Parse message, with one more reference. `read` is asked about new texts
   * only.
   * @returns null when the budget is used up.
   */
  acquire(body: Buffer, parseKey: number, read: (body: Buffer) => Effects): Definition | null {
    // Key 0 stands for "settings not known": such a definition is never found by anybody else.
    const key =
      parseKey === 0
        ? `private\0${this.#nextId}`
        : `${parseKey}\0${this.#database.schema}\0${body.toString('latin1')}`
    const database = this.#database
    return this.acquireAs(
      key,
      (id) => new Definition(id, ownCopy(body), read(body), { key, parseKey, database }),
    )
  }

  /** The same for a definition of any kind: `make` is asked where there is none with this key. */
  acquireAs(key: string, make: (id: number) => Definition): Definition | null {
    let definition = this.#byKey.get(key)
    if (definition === undefined) {
      definition = make(this.#nextId)
      if (!this.#makeRoom(definition.cost)) return null
      this.#nextId++
      this.#bytes += definition.cost
      this.#byKey.set(key, definition)
    } else if (definition.references === 0) {
      this.#unused.delete(key)
    }
    definition.references++
    return definition
  }

  release(definition: Definition): void {
    definition.references--
    if (definition.references > 0 || this.#byKey.get(definition.key) !== definition) return
    if (definition.parseKey === 0) {
      this.#byKey.delete(definition.key)
      this.#bytes -= definition.cost
    } else this.#unused.set(definition.key, definition)
  }

  #makeRoom(bytes: number): boolean {
    for (const definition of this.#unused.values()) {
      if (this.#bytes + bytes <= this.bytesMax) break
      this.#unused.delete(definition.key)
      this.#byKey.delete(definition.key)
      this.#bytes -= definition.cost
    }
    return this.#bytes + bytes <= this.bytesMax
  }
}
