// The servers that will be free before long, by baseline: for each of them one waiter needs no new one. It
// lives for one look at the queue.
import type { PooledServer } from './types.ts'

export class UnderWay {
  readonly #counts = new Map<string, number>()

  constructor(...lists: Iterable<PooledServer>[]) {
    for (const list of lists) for (const { baseline } of list) this.#add(baseline, 1)
  }

  /** One of this baseline is for the next waiter. @returns false: there is none left */
  take(baseline: string): boolean {
    if ((this.#counts.get(baseline) ?? 0) === 0) return false
    this.#add(baseline, -1)
    return true
  }

  #add(baseline: string, by: number): void {
    this.#counts.set(baseline, (this.#counts.get(baseline) ?? 0) + by)
  }
}
