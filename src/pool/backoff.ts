// When to try again after a failed login to Postgres: exponential with jitter, short enough that a waiting
// client is served within a second of Postgres' return. Owns the waiting time, starts no timer.
import type { Random } from '../util/env.ts'

const FIRST_MS = 100
const MAX_MS = 250

export class Backoff {
  readonly #random: Random
  #delayMs = 0
  #until = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** May a login be tried now? */
  isOver(now: number): boolean {
    return now >= this.#until
  }

  failed(now: number): void {
    this.#delayMs = this.#delayMs === 0 ? FIRST_MS : Math.min(this.#delayMs * 2, MAX_MS)
    // Between half and all of it, so that pools (and poolers) that failed together do not come back together.
    this.#until = now + this.#delayMs * (0.5 + this.#random.next() / 2)
  }

  succeeded(): void {
    this.#delayMs = 0
    this.#until = 0
  }
}
