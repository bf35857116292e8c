// What one server has of the definitions of its pool, under names of ours. Pure bookkeeping: it writes no
// messages. A server has a statement only after its ParseComplete.
import type { Definition } from './statements.ts'

/** The statements that one server has, least recently used first. */
export class ServerStatements {
  readonly #present = new Map<number, Definition>()
  readonly #outgrown = new Set<number>()
  /** There, but made or planned under settings that nobody knows: they count, and are never used again. */
  readonly #spoiled = new Set<number>()
  /** Shapes of their results where they were described: as long as a statement is there, it has this one. */
  readonly #shapes = new Map<number, number>()
  #lastUsed = 0

  get size(): number {
    return this.#present.size
  }

  has(id: number): boolean {
    return this.#present.has(id) && !this.#spoiled.has(id)
  }

  /** It is there, and gives what a statement parsed now would give, as far as known. */
  isFresh(id: number): boolean {
    return this.has(id) && !this.#outgrown.has(id)
  }

  /** Shape of what it gives here; 0: not known. */
  shapeOf(id: number): number {
    return this.#shapes.get(id) ?? 0
  }

  /** Postgres has described it. */
  setShape(id: number, shape: number): void {
    if (this.#present.has(id)) this.#shapes.set(id, shape)
  }

  /** Its result type has changed: a client that parses it again must get a new one. */
  markOutgrown(id: number): void {
    this.#outgrown.add(id)
  }

  /** It is there, and whoever uses it next makes it anew. */
  spoil(definition: Definition): void {
    this.add(definition)
    this.#spoiled.add(definition.id)
  }

  /** Its ParseComplete came. */
  add(definition: Definition): void {
    this.#spoiled.delete(definition.id)
    this.#outgrown.delete(definition.id)
    this.#shapes.delete(definition.id)
    this.#present.delete(definition.id)
    this.#present.set(definition.id, definition)
    this.#lastUsed = definition.id
  }

  /** It is used again. */
  touch(definition: Definition): void {
    if (this.#lastUsed === definition.id) return
    this.#present.delete(definition.id)
    this.#present.set(definition.id, definition)
    this.#lastUsed = definition.id
  }

  delete(id: number): void {
    this.#spoiled.delete(id)
    this.#present.delete(id)
    this.#outgrown.delete(id)
    this.#shapes.delete(id)
    if (this.#lastUsed === id) this.#lastUsed = 0
  }

  clear(): void {
    this.#spoiled.clear()
    this.#present.clear()
    this.#outgrown.clear()
    this.#shapes.clear()
    this.#lastUsed = 0
  }

  /** The one to be closed when there are more than `max`, or null. */
  surplus(max: number): Definition | null {
    if (this.#present.size <= max) return null
    for (const definition of this.#present.values()) return definition
    return null
  }
}
