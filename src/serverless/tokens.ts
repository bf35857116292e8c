// The judge of tokens: which rules and keys count at present, which tokens were believed before. It owns
// both, for as long as they hold; of a token it keeps a digest only.
import { createHash } from 'node:crypto'
import type { AuthFailure } from '../auth/failure.ts'
import { type FailureLimit, tooManyFailures } from '../auth/failure-limit.ts'
import {
  type Believed,
  believe,
  type Claims,
  claimsOf,
  jose,
  type Judged,
  keysUnreachable,
  noTokens,
  type TokenJudge,
} from '../auth/jwt.ts'
import type { JwtConfig } from '../config/types.ts'
import { getText } from '../net/get-text.ts'
import { FileWatch, marksOf } from '../util/file-watch.ts'
import { KEYS_MAX, KeysError, type KeySource, keysOfFile, UrlKeys } from './jwks.ts'

/** Tokens remembered; the one used longest ago goes first. */
const BELIEVED_MAX = 2000
const FETCH_LIMITS = { maxBytes: KEYS_MAX, timeoutMs: 5000 }

export interface TokensParts {
  readonly failures: FailureLimit
  /** Coarse time that only goes forward, in milliseconds. */
  readonly time: { readonly now: number }
  /** Milliseconds since 1970. */
  wallClock(): number
  warn(error: string, message: string): void
}

/** Keys that are ready to be used; made before anything else changes. */
export type PreparedKeys = KeySource | null

export class Tokens implements TokenJudge {
  readonly #parts: TokensParts
  readonly #watch: FileWatch
  #rules: JwtConfig
  #keys: KeySource | null = null
  /** By digest, in order of use, the latest last. */
  readonly #believed = new Map<string, Believed>()
  readonly #pending = new Map<string, Promise<Believed | AuthFailure>>()

  constructor(rules: JwtConfig, parts: TokensParts) {
    this.#parts = parts
    this.#rules = rules
    this.#watch = new FileWatch(() => this.#reread())
  }

  get isOn(): boolean {
    return this.#keys !== null
  }

  /** The keys for these rules. @throws KeysError one sentence; then nothing has changed */
  prepare(rules: JwtConfig): PreparedKeys {
    // Read again for another reason (a certificate): what is in use is good.
    if (rules === this.#rules && this.#keys !== null) return this.#keys
    if (rules.jwksFile !== '') return keysOfFile(rules.jwksFile)
    if (rules.jwksUrl === '') return null
    if (rules.jwksUrl === this.#rules.jwksUrl && this.#keys instanceof UrlKeys) return this.#keys
    const keys: UrlKeys = new UrlKeys({
      fetch: () => getText(rules.jwksUrl, FETCH_LIMITS),
      now: () => this.#parts.time.now,
      onProblem: (problem) => this.#parts.warn(problem, 'the keys of tokens cannot be read'),
      onChange: () => this.#forget(),
    })
    return keys
  }

  /** These rules count from now on. What was believed by others is not. */
  use(rules: JwtConfig, keys: PreparedKeys): void {
    this.#rules = rules
    this.#keys = keys
    this.#forget()
    if (keys !== null) void jose()
    const files = rules.jwksFile === '' ? [] : [rules.jwksFile]
    this.#watch.follow(files, marksOf(files))
    if (keys instanceof UrlKeys) keys.warm()
  }

  close(): void {
    this.#watch.close()
  }

  judge(token: string, user: string, address: string): Judged | Promise<Judged> {
    if (this.#keys === null) return noTokens()
    const id = createHash('sha256').update(token).digest('base64')
    const known = this.#recall(id)
    if (known !== null) return claimsOf(known, this.#rules, user)
    return this.#check(id, token, address).then((found) =>
      'sqlstate' in found ? found : claimsOf(found, this.#rules, user),
    )
  }

  hasEnded({ expiresAt }: Claims): boolean {
    return expiresAt <= this.#parts.wallClock()
  }

  #recall(id: string): Believed | null {
    const known = this.#believed.get(id)
    if (known === undefined) return null
    this.#believed.delete(id)
    if (this.#parts.wallClock() >= known.expiresAt) return null
    this.#believed.set(id, known)
    return known
  }

  /** Those who come with the same token at once share one answer. */
  #check(id: string, token: string, address: string): Promise<Believed | AuthFailure> {
    const pending = this.#pending.get(id)
    if (pending !== undefined) return pending
    const { failures, time } = this.#parts
    const tries = failures.triesOf({ address, user: '', database: '' }, time)
    const wait = tries.wait()
    if (wait > 0) return Promise.resolve(tooManyFailures(wait))
    const checked = this.#believe(id, token).then((found) => {
      this.#pending.delete(id)
      if ('sqlstate' in found && found.sqlstate === '28000') tries.take()
      return found
    })
    this.#pending.set(id, checked)
    return checked
  }

  async #believe(id: string, token: string): Promise<Believed | AuthFailure> {
    const keys = this.#keys
    const rules = this.#rules
    if (keys === null) return keysUnreachable()
    try {
      const now = new Date(this.#parts.wallClock())
      const found = await believe(token, { rules, keys: keys.get, now })
      // With other keys or rules meanwhile it is believed this once.
      const isUpToDate = keys === this.#keys && rules === this.#rules
      if (!('sqlstate' in found) && isUpToDate) this.#remember(id, found)
      return found
    } catch (thrown) {
      if (!(thrown instanceof KeysError))
        this.#parts.warn((thrown as Error).message, 'a token could not be checked')
      return keysUnreachable()
    }
  }

  #remember(id: string, believed: Believed): void {
    this.#believed.set(id, believed)
    if (this.#believed.size <= BELIEVED_MAX) return
    for (const oldest of this.#believed.keys()) {
      this.#believed.delete(oldest)
      return
    }
  }

  #forget(): void {
    this.#believed.clear()
    this.#pending.clear()
  }

  #reread(): void {
    try {
      this.use(this.#rules, keysOfFile(this.#rules.jwksFile))
    } catch (thrown) {
      const words = 'new keys of tokens cannot be used: the old ones stay in use'
      this.#parts.warn((thrown as Error).message, words)
    }
  }
}
