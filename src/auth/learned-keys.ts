// What clients' own logins have left with us, to log in to Postgres in their place: SCRAM keys, or the secret
// that the login was checked with. In memory only, bounded. It never holds what a client has typed.
import type { ServerCredential } from './server-auth.ts'
import { type Secret, sameSecret } from './secrets.ts'

/** Users remembered; the one whose keys were used longest ago goes first. */
const USERS_MAX = 10_000

interface Entry {
  /** What the login was checked with: the credential is good for as long as this is. */
  readonly secret: Secret
  readonly credential: ServerCredential
}

export class LearnedKeys {
  /** In order of use, the latest last. */
  readonly #entries = new Map<string, Entry>()
  readonly #max: number

  constructor(max = USERS_MAX) {
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  /** A client has logged in with `secret`. */
  learn(key: string, secret: Secret, credential: ServerCredential): void {
    this.#entries.delete(key)
    this.#entries.set(key, { secret, credential })
    if (this.#entries.size <= this.#max) return
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest)
      return
    }
  }

  /** This is the user's secret now (null: none): what came of another one is dropped. */
  follow(key: string, secret: Secret | null): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    if (secret === null || !sameSecret(entry.secret, secret)) this.#entries.delete(key)
  }

  credential(key: string): ServerCredential | null {
    const entry = this.#entries.get(key)
    if (entry === undefined) return null
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.credential
  }

  /**
   * Postgres does not take this credential: it is forgotten.
   * @returns whether another one has been learned since, which is worth a try.
   */
  refused(key: string, credential: ServerCredential): boolean {
    const entry = this.#entries.get(key)
    if (entry === undefined) return false
    if (entry.credential !== credential) return true
    this.#entries.delete(key)
    return false
  }

  /** Forgets those users for whom `isKept` says no. */
  sift(isKept: (key: string, secret: Secret) => boolean): void {
    for (const [key, { secret }] of this.#entries) if (!isKept(key, secret)) this.#entries.delete(key)
  }
}
