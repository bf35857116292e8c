// The secrets of users that only Postgres knows: who is asked about whom, and what was answered lately. It
// owns the connections for that, one per database, and the answers; it never passes on anything of a client
// but the name of its user, and tells it nothing but the verdict.
import { type FreshAnswer, SecretCache } from '../auth/secret-cache.ts'
import { verdictOf } from '../auth/query-verdict.ts'
import type { Claim, SecretAnswer } from '../auth/secrets.ts'
import { Questions } from '../backend/questions.ts'
import type { Route } from '../backend/route.ts'
import type { CoarseTime } from '../backend/talk.ts'
import type { PasswordWork } from '../auth/password-work.ts'
import type { AuthQueryConfig } from '../config/types.ts'
import { orForever } from '../config/units.ts'
import type { Clock, Random } from '../util/env.ts'
import type { Place } from './router.ts'

/** Databases in which is asked at once: clients name them, and may name any. */
const DATABASES_MAX = 100
/** Longer names are nobody's; Postgres' own end at 63 bytes. */
const NAME_MAX = 256

/**
 * How our connection introduces itself. The path keeps what somebody has put into another schema, or into the
 * defaults of a database, from being taken for Postgres' own.
 */
const PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['application_name', 'pgmux auth'],
  ['client_encoding', 'UTF8'],
  ['search_path', 'pg_catalog, public'],
])

/** What it is made of. */
export interface AuthQueryParts {
  readonly clock: Clock
  readonly random: Random
  readonly time: CoarseTime
  readonly work: PasswordWork
  /** Hashes a plain password ahead of the login; see ClientAuthContext.warm. */
  warm(user: string, password: string): Promise<void>
  /** Where a database of this name is; null: nowhere. */
  placeOf(database: string): Place | null
  routeOf(place: Place): Route
  /** One line for the operator. */
  report(claim: Claim, problem: string): void
}

export class AuthQuery {
  readonly config: AuthQueryConfig
  readonly #parts: AuthQueryParts
  readonly #cache: SecretCache
  readonly #questions = new Map<string, Questions>()
  /** The query gives plain passwords: hashing one takes time, which must not tell who exists. */
  #hasSeenPlain = false

  constructor(config: AuthQueryConfig, parts: AuthQueryParts) {
    this.config = config
    this.#parts = parts
    this.#cache = new SecretCache(parts.clock, config.cacheTimeMs)
  }

  /** What Postgres knows about this user. A promise never rejects. */
  lookup(claim: Claim): SecretAnswer | Promise<SecretAnswer> {
    const place = this.#placeFor(claim.database)
    if (place === null || Buffer.byteLength(claim.user) > NAME_MAX) return { secret: null }
    const scope = scopeOf(place)
    return this.#cache.lookup(keyOf(scope, claim.user), () => this.#ask(scope, place, claim))
  }

  /** What is known of this user may be of yesterday. */
  doubt(claim: Claim): void {
    const place = this.#placeFor(claim.database)
    if (place !== null) this.#cache.doubt(keyOf(scopeOf(place), claim.user))
  }

  /** A key for what is known of a user of this database; null where nobody can be asked. */
  keyOf(claim: Claim): string | null {
    const place = this.#placeFor(claim.database)
    return place === null ? null : keyOf(scopeOf(place), claim.user)
  }

  /** Time has passed. */
  tick(now: number): void {
    for (const [scope, questions] of this.#questions) {
      questions.tick(now)
      if (questions.isForgotten(now)) this.#questions.delete(scope)
    }
  }

  /** Ends it: whoever waits for an answer is refused. */
  close(): void {
    this.#cache.clear()
    for (const questions of this.#questions.values()) questions.close()
    this.#questions.clear()
  }

  async #ask(scope: string, place: Place, claim: Claim): Promise<FreshAnswer> {
    const questions = this.#questionsFor(scope, place)
    const outcome = questions === null ? { kind: 'busy' as const } : await questions.ask(claim.user)
    const asked = { user: claim.user, isClientsDatabase: this.config.dbname === '' }
    const verdict = verdictOf(asked, outcome)
    if (verdict.problem !== '') this.#parts.report(claim, verdict.problem)
    if (!('failure' in verdict.answer)) await this.#hashAhead(claim.user, verdict.answer.secret)
    return verdict
  }

  /** For users that do not exist as well, once there are plain passwords. */
  async #hashAhead(user: string, secret: { kind: string; password?: string } | null): Promise<void> {
    if (secret?.kind === 'plain') this.#hasSeenPlain = true
    if (!this.#hasSeenPlain || (secret !== null && secret.kind !== 'plain')) return
    await this.#parts.warm(user, secret?.password ?? this.#parts.random.bytes(16).toString('hex'))
  }

  #questionsFor(scope: string, place: Place): Questions | null {
    const known = this.#questions.get(scope)
    if (known !== undefined) return known
    if (this.#questions.size >= DATABASES_MAX && !this.#makeRoom()) return null
    const { random, time, work } = this.#parts
    const { query, timeoutMs } = this.config
    const made = new Questions({
      random,
      time,
      work,
      route: () => this.#parts.routeOf(place),
      sql: query,
      parameters: PARAMETERS,
      timeoutMs: orForever(timeoutMs),
    })
    this.#questions.set(scope, made)
    return made
  }

  #makeRoom(): boolean {
    for (const [scope, questions] of this.#questions) {
      if (!questions.isQuiet) continue
      questions.close()
      this.#questions.delete(scope)
      return true
    }
    return false
  }

  /** As the pool of that database would connect, but as the user who asks. */
  #placeFor(database: string): Place | null {
    const { dbname, user, password } = this.config
    const { placeOf } = this.#parts
    if (dbname === '') {
      const place = placeOf(database)
      return place === null ? null : { ...place, user, password }
    }
    const known = placeOf(dbname)
    if (known !== null) return { ...known, user, password }
    const beside = placeOf(database)
    return beside === null ? null : { ...beside, dbname, user, password }
  }
}

function scopeOf({ host, port, dbname, tls, channelBinding }: Place): string {
  return JSON.stringify([host, port, dbname, tls, channelBinding])
}

function keyOf(scope: string, user: string): string {
  return `${scope}\0${user}`
}
