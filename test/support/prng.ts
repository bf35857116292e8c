// Owns: chance that can be repeated, for tests. Must never be seeded from the clock by itself: the
// caller names the seed, so that a failing run can be run again.

import type { Random } from '../../src/util/env.ts'

/** A seeded source of chance with the small draws that tests need. Not for secrets. */
export class Prng implements Random {
  readonly seed: number
  #state: number

  /** @param seed any integer; equal seeds give equal draws */
  constructor(seed: number) {
    this.seed = seed
    this.#state = seed >>> 0
  }

  /** In [0, 1). The generator is mulberry32: 32 bits of state, good enough to choose test cases. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  bytes(length: number): Buffer {
    const out = Buffer.alloc(length)
    for (let i = 0; i < length; i++) out[i] = this.below(256)
    return out
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** An integer in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** One of the items; the list must not be empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** A new list with the same items in another order. */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const kept = out[i] as T
      out[i] = out[j] as T
      out[j] = kept
    }
    return out
  }

  /** An independent generator, so that one part of a test does not shift the draws of another. */
  fork(): Prng {
    return new Prng(Math.floor(this.next() * 4294967296))
  }
}
