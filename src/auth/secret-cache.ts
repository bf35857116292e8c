// Answers about users that had to be asked for: how long each is believed, and that one question serves all
// who wait for it. It owns these answers; it asks nobody itself, starts no timer, and keeps no failure.
import type { Clock } from '../util/env.ts'
import type { SecretAnswer } from './secrets.ts'

/** Answers kept; the one used longest ago goes first. */
const ENTRIES_MAX = 10_000
/** A doubted answer is asked for again, but not more often than this: strangers can cause doubt at will. */
const DOUBT_MS = 1000

/** An answer, and for how long it may be believed at most (a password that expires). */
export interface FreshAnswer {
  readonly answer: SecretAnswer
  readonly validMs: number
}

interface Entry {
  readonly answer: SecretAnswer
  readonly askedAt: number
  readonly until: number
}

export class SecretCache {
  /** How long an answer is believed; 0: it serves only those who waited for it. */
  timeMs: number
  readonly #clock: Clock
  readonly #max: number
  /** In order of use, the latest last. Known and unknown users alike: an answer's kind must not show. */
  readonly #entries = new Map<string, Entry>()
  readonly #pending = new Map<string, Promise<SecretAnswer>>()
  /** What was asked before `clear` must not come back after it. */
  #generation = 0

  constructor(clock: Clock, timeMs: number, max = ENTRIES_MAX) {
    this.#clock = clock
    this.timeMs = timeMs
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  /** What is known, or what `ask` finds out. `ask` must not reject. */
  lookup(key: string, ask: () => Promise<FreshAnswer>): SecretAnswer | Promise<SecretAnswer> {
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      this.#entries.delete(key)
      if (this.#clock.now() < entry.until) {
        this.#entries.set(key, entry)
        return entry.answer
      }
    }
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending
    const asked = this.#ask(key, ask)
    this.#pending.set(key, asked)
    return asked
  }

  /**
   * A login with this answer has failed, or Postgres has refused what came of it: it may be of yesterday. The
   * same for users that do not exist, so that nobody can tell them by a question more or less.
   */
  doubt(key: string): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined && this.#clock.now() - entry.askedAt >= DOUBT_MS) this.#entries.delete(key)
  }

  /** Forgets everything. */
  clear(): void {
    this.#generation++
    this.#entries.clear()
    this.#pending.clear()
  }

  async #ask(key: string, ask: () => Promise<FreshAnswer>): Promise<SecretAnswer> {
    const generation = this.#generation
    const askedAt = this.#clock.now()
    const { answer, validMs } = await ask()
    if (generation !== this.#generation) return answer
    this.#pending.delete(key)
    // From the question on: what is valid for so long was so when Postgres looked, not when we heard of it.
    const until = askedAt + Math.min(this.timeMs, validMs)
    if (!('failure' in answer) && until > this.#clock.now()) this.#keep(key, { answer, askedAt, until })
    return answer
  }

  #keep(key: string, entry: Entry): void {
    this.#entries.set(key, entry)
    if (this.#entries.size <= this.#max) return
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest)
      return
    }
  }
}
