// The clients of one pool that wait for a server, first come first served but for who stands for many. Owns
// their order; grants nothing.
import type { PooledServer, Waiter } from './types.ts'

export class WaitQueue<S extends PooledServer> {
  /** A Set keeps the order of arrival and removes from the middle in constant time. */
  readonly #waiters = new Set<Waiter<S>>()

  get size(): number {
    return this.#waiters.size
  }

  /** Those of them that are clients. */
  get clients(): number {
    let count = 0
    for (const { isOurs } of this.#waiters) if (isOurs !== true) count++
    return count
  }

  get first(): Waiter<S> | null {
    for (const waiter of this.#waiters) return waiter
    return null
  }

  push(waiter: Waiter<S>): void {
    const all = waiter.isUrgent === true ? [...this.#waiters] : []
    for (const other of all) this.#waiters.delete(other)
    this.#waiters.add(waiter)
    for (const other of all) this.#waiters.add(other)
  }

  has(waiter: Waiter<S>): boolean {
    return this.#waiters.has(waiter)
  }

  remove(waiter: Waiter<S>): void {
    this.#waiters.delete(waiter)
  }

  all(): Iterable<Waiter<S>> {
    return this.#waiters
  }

  find(matches: (waiter: Waiter<S>) => boolean): Waiter<S> | null {
    for (const waiter of this.#waiters) if (matches(waiter)) return waiter
    return null
  }

  /** Takes out those that match. */
  takeAll(matches: (waiter: Waiter<S>) => boolean): Waiter<S>[] {
    const taken: Waiter<S>[] = []
    for (const waiter of this.#waiters) if (matches(waiter)) taken.push(waiter)
    for (const waiter of taken) this.#waiters.delete(waiter)
    return taken
  }

  /** Takes out those whose deadline has passed. */
  expired(now: number): Waiter<S>[] {
    return this.takeAll((waiter) => now >= waiter.waitDeadline)
  }
}
