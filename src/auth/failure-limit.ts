// How many wrong passwords one address, and anybody for one user, may try. A try is taken before anything is
// hashed and given back when it was right. Owns these counts, a bounded number of them; it knows no password
// and never tells whether a user exists.
import { canonicalIp, parseIp, unmapped } from '../util/ip.ts'
import { type AuthFailure, failure } from './failure.ts'

/** Addresses and users counted; the one that failed longest ago goes first. */
const COUNTED_MAX = 10_000
/** Longer names are counted by their beginning. */
const NAME_MAX = 128
const SECOND_MS = 1000
/** Bytes of an IPv6 address that its owner cannot choose (/64). */
const V6_NETWORK = 8

/** Whose try it is. A user is one of a database. */
export interface Attempt {
  readonly address: string
  /** '' : it is counted for the address only. */
  readonly user: string
  readonly database: string
}

/** The tries of one login. */
export interface Tries {
  /** Before a password is looked at. @returns milliseconds to wait instead; 0: go on */
  take(): number
  /** The same without taking one, where so little is done that those who are right need not be counted. */
  wait(): number
  /** It was right, or nothing came of it. */
  giveBack(): void
}

export interface FailureRates {
  /** A second; 0: no limit. */
  readonly failureRate: number
  /** At once. */
  readonly failureBurst: number
}

interface Bucket {
  level: number
  /** When that was its level. */
  at: number
}

/** Leaky buckets: each failure fills those of its address and its user by one. */
export class FailureLimit {
  /** In order of use, the latest last. */
  readonly #buckets = new Map<string, Bucket>()
  readonly #max: number
  #rate = 0
  #burst = 1

  constructor(max = COUNTED_MAX) {
    this.#max = max
  }

  get size(): number {
    return this.#buckets.size
  }

  configure({ failureRate, failureBurst }: FailureRates): void {
    this.#rate = failureRate
    this.#burst = Math.max(1, failureBurst)
  }

  /** @param time the clock, in milliseconds */
  triesOf(attempt: Attempt, time: { readonly now: number }): Tries {
    const keys = keysOf(attempt)
    return {
      take: () => this.#take(keys, time.now),
      wait: () => this.#wait(keys, time.now),
      giveBack: () => this.#giveBack(keys),
    }
  }

  #wait(keys: readonly string[], now: number): number {
    let wait = 0
    if (this.#rate > 0) for (const key of keys) wait = Math.max(wait, this.#waitOf(key, now))
    return wait
  }

  #take(keys: readonly string[], now: number): number {
    if (this.#rate === 0) return 0
    const wait = this.#wait(keys, now)
    if (wait > 0) return wait
    for (const key of keys) this.#fill(key, now)
    return 0
  }

  #giveBack(keys: readonly string[]): void {
    for (const key of keys) {
      const bucket = this.#buckets.get(key)
      if (bucket === undefined) continue
      bucket.level--
      if (bucket.level <= 0) this.#buckets.delete(key)
    }
  }

  #waitOf(key: string, now: number): number {
    const bucket = this.#buckets.get(key)
    if (bucket === undefined) return 0
    const over = this.#levelOf(bucket, now) + 1 - this.#burst
    return over <= 0 ? 0 : Math.ceil((over / this.#rate) * SECOND_MS)
  }

  #levelOf({ level, at }: Bucket, now: number): number {
    return Math.max(0, level - (Math.max(0, now - at) / SECOND_MS) * this.#rate)
  }

  #fill(key: string, now: number): void {
    const before = this.#buckets.get(key)
    const level = before === undefined ? 0 : this.#levelOf(before, now)
    this.#buckets.delete(key)
    this.#buckets.set(key, { level: level + 1, at: now })
    if (this.#buckets.size <= this.#max) return
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest)
      return
    }
  }
}

function keysOf({ address, user, database }: Attempt): readonly string[] {
  if (user === '') return [`a ${networkOf(address)}`]
  const name = `${database.length}:${database}:${user}`.slice(0, NAME_MAX)
  return [`a ${networkOf(address)}`, `u ${name}`]
}

/** Whoever has one IPv6 address has a network of them. */
function networkOf(address: string): string {
  const parsed = parseIp(address)
  if (parsed === null) return address
  const plain = unmapped(parsed)
  return plain.length <= V6_NETWORK ? canonicalIp(plain) : plain.slice(0, V6_NETWORK).join('.')
}

/** What a client is told that has to wait; the same whether its user exists or not. */
export function tooManyFailures(waitMs: number): AuthFailure {
  const seconds = Math.max(1, Math.ceil(waitMs / SECOND_MS))
  return {
    ...failure('53300', 'too many wrong passwords: this one was not looked at'),
    hint: `Try again in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}.`,
    retryAfter: seconds,
  }
}
