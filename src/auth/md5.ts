// Postgres' md5 password method, both sides. Kept for old clients and servers; offers no protection worth the
// name.
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Md5Secret, PlainSecret } from './secrets.ts'

function md5Hex(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('md5')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** The stored form of a password, without its `md5` in front: 32 hex digits. The user name is its salt. */
export function md5Stored(user: string, password: string): string {
  return md5Hex(password, user)
}

/** The answer to AuthenticationMD5Password: `md5` and 32 hex digits. `salt` has 4 bytes. */
export function md5Answer(user: string, secret: PlainSecret | Md5Secret, salt: Uint8Array): string {
  const stored = secret.kind === 'md5' ? secret.hash : md5Stored(user, secret.password)
  return `md5${md5Hex(stored, salt)}`
}

/**
 * Compares an answer with the right one in a time that tells nothing about either (only the length of
 * `given`).
 */
export function sameAnswer(given: Buffer, right: string): boolean {
  const wanted = Buffer.from(right, 'latin1')
  if (given.length !== wanted.length) return false
  return timingSafeEqual(given, wanted)
}
