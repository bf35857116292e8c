// The expensive part of SCRAM: PBKDF2, in the thread pool, bounded and remembered. Never runs it on the event
// loop and never keeps a password (only the keys that came out, under a digest of what went in).
import { hash, pbkdf2 } from 'node:crypto'
import type { Clock } from '../util/env.ts'
import { preparePassword } from './saslprep.ts'
import { KEY_LENGTH, keysOfSaltedPassword, type ScramKeys } from './scram-keys.ts'

export interface PasswordWorkLimits {
  /** Results kept; the one used longest ago goes first. */
  readonly cached: number
  /** Derivations in the thread pool at once. It has 4 threads, which name look-ups and files need as well. */
  readonly inFlight: number
  /** Different derivations that may wait for their turn. */
  readonly queued: number
}

export const DEFAULT_LIMITS: PasswordWorkLimits = { cached: 10_000, inFlight: 2, queued: 8_192 }

/** More is waiting than the queue takes. */
export class PasswordWorkBusy extends Error {
  override name = 'PasswordWorkBusy'
}

/** Is told how long derivations took in ms, the wait for their turn included. */
export interface WorkTimes {
  readonly clock: Clock
  readonly times: { record(ms: number): void }
}

interface Derivation {
  readonly salt: Buffer
  readonly iterations: number
  keep(keys: ScramKeys): boolean
}

/** Turns passwords into SCRAM keys. One per process. */
export class PasswordWork {
  readonly #limits: PasswordWorkLimits
  readonly #times: WorkTimes | null
  /** In order of use, the latest last. */
  readonly #cache = new Map<string, ScramKeys>()
  readonly #pending = new Map<string, Promise<ScramKeys>>()
  readonly #queue: (() => void)[] = []
  #running = 0

  constructor(limits: PasswordWorkLimits = DEFAULT_LIMITS, times: WorkTimes | null = null) {
    this.#limits = limits
    this.#times = times
  }

  /**
   * The keys of a password: at once where they are known, else a promise. Equal questions share one
   * derivation, so what one user's clients can make wait is one entry. Calling it ahead of time warms the
   * cache.
   * @param keep whether the result is worth remembering: what strangers guess must not drive out the rest
   * @throws PasswordWorkBusy (also the only reason why the promise is rejected besides a broken runtime).
   */
  keys(
    password: string,
    salt: Buffer,
    iterations: number,
    keep: (keys: ScramKeys) => boolean = always,
  ): ScramKeys | Promise<ScramKeys> {
    const id = identity(password, salt, iterations)
    const known = this.#recall(id)
    if (known !== null) return known
    const pending = this.#pending.get(id)
    if (pending !== undefined) return pending
    if (this.#running >= this.#limits.inFlight && this.#queue.length >= this.#limits.queued) {
      throw new PasswordWorkBusy('too many passwords are waiting to be hashed')
    }
    const result = this.#derive(id, preparePassword(password), { salt, iterations, keep })
    this.#pending.set(id, result)
    return result
  }

  /** The keys of a password where they are known: nothing is derived. */
  knownKeys(password: string, salt: Buffer, iterations: number): ScramKeys | null {
    return this.#recall(identity(password, salt, iterations))
  }

  /** Whether they are being derived: asking for them costs nothing more. */
  isUnderWay(password: string, salt: Buffer, iterations: number): boolean {
    return this.#pending.has(identity(password, salt, iterations))
  }

  #recall(id: string): ScramKeys | null {
    const known = this.#cache.get(id)
    if (known === undefined) return null
    this.#cache.delete(id)
    this.#cache.set(id, known)
    return known
  }

  #derive(id: string, password: Buffer, how: Derivation): Promise<ScramKeys> {
    const since = this.#times?.clock.now() ?? 0
    return new Promise((resolve, reject) => {
      const start = () => {
        this.#running++
        pbkdf2(password, how.salt, how.iterations, KEY_LENGTH, 'sha256', (error, salted) => {
          this.#running--
          this.#pending.delete(id)
          this.#queue.shift()?.()
          this.#times?.times.record(this.#times.clock.now() - since)
          if (error !== null) return reject(error)
          const keys = keysOfSaltedPassword(salted)
          resolve(how.keep(keys) ? this.#remember(id, keys) : keys)
        })
      }
      if (this.#running < this.#limits.inFlight) start()
      else this.#queue.push(start)
    })
  }

  #remember(id: string, keys: ScramKeys): ScramKeys {
    this.#cache.set(id, keys)
    if (this.#cache.size > this.#limits.cached) {
      for (const oldest of this.#cache.keys()) {
        this.#cache.delete(oldest)
        break
      }
    }
    return keys
  }
}

/** Lengths in front, so that no two different questions read the same. */
function identity(password: string, salt: Buffer, iterations: number): string {
  const bytes = Buffer.from(`${iterations}:${salt.length}:${salt.toString('hex')}:${password}`, 'utf8')
  const id = hash('sha256', bytes, 'base64')
  // The memory is used again for something else.
  bytes.fill(0)
  return id
}

function always(): boolean {
  return true
}
