// What is known about users: the secrets of the configuration, those that Postgres is asked for, and what
// their logins have left with us. It decides which of them counts; it never prints one.
import type { ClientAuthContext } from '../auth/client-auth.ts'
import { LearnedKeys } from '../auth/learned-keys.ts'
import type { ScramKeys } from '../auth/scram-keys.ts'
import {
  type Claim,
  parseSecret,
  sameSecret,
  type Secret,
  type SecretAnswer,
  type SecretStore,
} from '../auth/secrets.ts'
import type { ServerCredential } from '../auth/server-auth.ts'
import type { Route } from '../backend/route.ts'
import type { UserConfig } from '../config/types.ts'
import type { AuthQuery } from './auth-query.ts'

/** Who knows the users that the configuration does not know. */
export type SecretsElsewhere = Pick<AuthQuery, 'lookup' | 'doubt' | 'keyOf' | 'tick' | 'close'>

/** Where secrets come from at present; replaced as a whole when the configuration changes. */
export interface SecretSources {
  readonly users: ReadonlyMap<string, UserConfig>
  /** Null: nobody is asked. */
  readonly authQuery: SecretsElsewhere | null
}

const UNKNOWN: SecretAnswer = { secret: null }

export class SecretKeeper implements SecretStore {
  readonly #learned = new LearnedKeys()
  #configured: ReadonlyMap<string, Secret>
  #authQuery: SecretsElsewhere | null

  constructor(sources: SecretSources) {
    this.#configured = secretsOf(sources.users)
    this.#authQuery = sources.authQuery
  }

  /** The configuration has changed. What was learned of users whose secret did not change is kept. */
  reconfigure(sources: SecretSources): void {
    const before = this.#configured
    this.#configured = secretsOf(sources.users)
    this.#learned.sift((key, secret) => {
      const user = ofConfigured(key)
      if (user === null) return true
      const now = this.#configured.get(user)
      return before.has(user) && now !== undefined && sameSecret(now, secret)
    })
    if (sources.authQuery === this.#authQuery) return
    this.#authQuery?.close()
    this.#authQuery = sources.authQuery
  }

  lookup(user: string, database: string): SecretAnswer | Promise<SecretAnswer> {
    const secret = this.#configured.get(user)
    if (secret !== undefined) return { secret }
    if (this.#authQuery === null) return UNKNOWN
    const claim = { user, database }
    const found = this.#authQuery.lookup(claim)
    return found instanceof Promise ? found.then((answer) => this.#noted(claim, answer)) : found
  }

  learn(claim: Claim, secret: Secret, keys: ScramKeys | null): boolean {
    const key = this.#keyOf(claim)
    const configured = this.#configured.get(claim.user)
    // A login may take as long as it likes; a reload between its question and its answer counts.
    if (configured === undefined ? this.#authQuery === null : !sameSecret(configured, secret)) return false
    if (key === null) return true
    if (keys !== null) this.#learned.learn(key, secret, { kind: 'keys', ...keys })
    // What the configuration knows in plain or as a hash, the pool of that user has from there.
    else if (secret.kind !== 'scram' && configured === undefined) this.#learned.learn(key, secret, secret)
    return true
  }

  doubt(claim: Claim): void {
    if (!this.#configured.has(claim.user)) this.#authQuery?.doubt(claim)
  }

  /**
   * The route of a pool that logs in as its own clients: where the configuration has nothing to log in with,
   * what their logins have left with us is used. Not for a forced user, who is somebody else.
   */
  passThrough(route: Route, claim: Claim): Route {
    if (route.user !== claim.user) return route
    return {
      ...route,
      credential: () => {
        const configured = route.credential()
        if (configured !== null && configured.kind !== 'scram') return configured
        return this.#credentialOf(claim) ?? configured
      },
      onCredentialRefused: (credential) => this.#refused(claim, credential),
    }
  }

  /** Time has passed. */
  tick(now: number): void {
    this.#authQuery?.tick(now)
  }

  /** The end: the connections for questions are closed. */
  close(): void {
    this.#authQuery?.close()
  }

  #credentialOf(claim: Claim): ServerCredential | null {
    const key = this.#keyOf(claim)
    return key === null ? null : this.#learned.credential(key)
  }

  #refused(claim: Claim, credential: ServerCredential): boolean {
    const key = this.#keyOf(claim)
    if (key === null) return false
    this.doubt(claim)
    return this.#learned.refused(key, credential)
  }

  #noted(claim: Claim, answer: SecretAnswer): SecretAnswer {
    const key = this.#keyOf(claim)
    if (key !== null && !('failure' in answer)) this.#learned.follow(key, answer.secret)
    return answer
  }

  /** Users of the configuration are the same everywhere; others belong to the place where we ask. */
  #keyOf(claim: Claim): string | null {
    if (this.#configured.has(claim.user)) return CONFIGURED + claim.user
    return this.#authQuery?.keyOf(claim) ?? null
  }
}

/** In front of the keys of configured users; those of others begin with a bracket. */
const CONFIGURED = 'user '

function ofConfigured(key: string): string | null {
  return key.startsWith(CONFIGURED) ? key.slice(CONFIGURED.length) : null
}

function secretsOf(users: ReadonlyMap<string, UserConfig>): Map<string, Secret> {
  const secrets = new Map<string, Secret>()
  for (const [name, { secret }] of users) {
    const parsed = secret === null ? null : parseSecret(secret)
    if (parsed !== null) secrets.set(name, parsed)
  }
  return secrets
}

/** What is known of these users is made ready for their first login. */
export function warmUsers(
  auth: ClientAuthContext,
  users: ReadonlyMap<string, UserConfig>,
  names: Iterable<string>,
): void {
  for (const name of names) {
    const secret = users.get(name)?.secret ?? null
    const parsed = secret === null ? null : parseSecret(secret)
    if (parsed !== null) void auth.warm(name, parsed)
  }
}
