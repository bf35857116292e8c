// What is known about a user's password, and the forms in which it is written down. Reads no file and never
// prints one.
import type { AuthFailure } from './failure.ts'
import { KEY_LENGTH, type ScramKeys, strictBase64 } from './scram-keys.ts'

/** A SCRAM-SHA-256 verifier as Postgres keeps it in pg_authid. */
export interface ScramSecret {
  readonly kind: 'scram'
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** `hash` is 32 lower-case hex digits: md5(password + user). */
export interface Md5Secret {
  readonly kind: 'md5'
  readonly hash: string
}

export interface PlainSecret {
  readonly kind: 'plain'
  readonly password: string
}

export type Secret = PlainSecret | Md5Secret | ScramSecret

/** What is known about a user: a secret, null where it is unknown or has none; or why nobody can tell. */
export type SecretAnswer = { readonly secret: Secret | null } | { readonly failure: AuthFailure }

/** Where secrets come from: the configuration, a userlist, a query. */
export interface SecretStore {
  /**
   * The secret of a user who wants to log in to this database. Must not depend on who asks. A promise never
   * rejects.
   */
  lookup(user: string, database: string): SecretAnswer | Promise<SecretAnswer>
  /**
   * A client has logged in as this user, and `secret` is what its proof was checked with. `keys` (of a SCRAM
   * login against a verifier, else null) log in to Postgres in its place.
   * @returns false where that secret was taken away meanwhile: then nobody has logged in
   */
  learn(who: Claim, secret: Secret, keys: ScramKeys | null): boolean
  /** A login as this user has failed: what is known of it may be of yesterday. */
  doubt(who: Claim): void
}

/** Who somebody says to be, and where. */
export interface Claim {
  readonly user: string
  readonly database: string
}

/** Whether both are the same thing known, not only the same password. */
export function sameSecret(left: Secret, right: Secret): boolean {
  if (left.kind === 'plain') return right.kind === 'plain' && left.password === right.password
  if (left.kind === 'md5') return right.kind === 'md5' && left.hash === right.hash
  if (right.kind !== 'scram' || left.iterations !== right.iterations) return false
  const { salt, storedKey, serverKey } = right
  return left.salt.equals(salt) && left.storedKey.equals(storedKey) && left.serverKey.equals(serverKey)
}

const MAX_ITERATIONS = 2 ** 31 - 1

/**
 * Tells the three forms apart by Postgres' own rule (get_password_type): what is not exactly an md5 hash or a
 * verifier is a plain password.
 * @returns null for the empty string, which Postgres takes as "no password".
 */
export function parseSecret(text: string): Secret | null {
  if (text === '') return null
  if (/^md5[0-9a-f]{32}$/.test(text)) return { kind: 'md5', hash: text.slice(3) }
  return parseVerifier(text) ?? { kind: 'plain', password: text }
}

/** "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", the binary parts in base64. */
function parseVerifier(text: string): ScramSecret | null {
  const match = /^SCRAM-SHA-256\$([1-9][0-9]{0,9}):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text)
  if (match === null) return null
  const iterations = Number(match[1])
  const salt = strictBase64(match[2])
  const storedKey = strictBase64(match[3])
  const serverKey = strictBase64(match[4])
  if (iterations > MAX_ITERATIONS || salt === null || storedKey === null || serverKey === null) return null
  if (storedKey.length !== KEY_LENGTH || serverKey.length !== KEY_LENGTH) return null
  return { kind: 'scram', iterations, salt, storedKey, serverKey }
}
