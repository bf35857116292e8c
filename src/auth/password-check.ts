// Whether a password that a client sent in the clear is the one we know of, in any form in which we know it.
// Each question costs one derivation, whatever is known: the time tells nothing about the user. Never keeps a
// password.
import { timingSafeEqual } from 'node:crypto'
import { md5Stored, sameAnswer } from './md5.ts'
import type { PasswordWork } from './password-work.ts'
import { type ScramKeys, type ScramVerifierKeys, sha256 } from './scram-keys.ts'
import type { Secret } from './secrets.ts'

/** Most iterations of a verifier that are worked off for a password in the clear: a tenth of a second. */
const MAX_ITERATIONS = 1_000_000

/** What is known of the user, and with which salt it is checked where that says none. */
export interface PasswordQuestion {
  readonly user: string
  readonly secret: Secret | null
  readonly salt: Buffer
  readonly iterations: number
}

/** `keys` log in to Postgres in place of the password; null unless the secret was a SCRAM verifier. */
export type PasswordAnswer =
  | { readonly isRight: true; readonly keys: ScramKeys | null }
  | { readonly isRight: false }

const WRONG: PasswordAnswer = { isRight: false }

/**
 * Checks `given`, the bytes of a PasswordMessage.
 * @throws PasswordWorkBusy (as a rejection)
 */
export async function checkPassword(
  work: PasswordWork,
  question: PasswordQuestion,
  given: Buffer,
): Promise<PasswordAnswer> {
  const { user, secret } = question
  const own = secret?.kind === 'scram' && secret.iterations <= MAX_ITERATIONS ? secret : null
  const { salt, iterations } = own ?? question
  const text = given.toString('utf8')
  // What is no text would be changed by the decoding, and could turn into somebody's password.
  const isText = Buffer.from(text, 'utf8').equals(given)
  const wanted = own ?? (secret?.kind === 'plain' ? await known(work, secret.password, question) : null)
  const isMd5Right = secret?.kind === 'md5' && sameHash(user, secret.hash, text)
  const isRight = (keys: ScramKeys): boolean =>
    isText && (wanted === null ? isMd5Right : hasKeys(keys, wanted))
  const keys = await work.keys(text, salt, iterations, isRight)
  if (!isRight(keys)) return WRONG
  return { isRight: true, keys: own === null ? null : keys }
}

async function known(
  work: PasswordWork,
  password: string,
  { salt, iterations }: PasswordQuestion,
): Promise<ScramVerifierKeys | null> {
  // An empty password is no password, as in Postgres.
  return password === '' ? null : verifierOf(await work.keys(password, salt, iterations))
}

/** What a server has to know of these keys. */
export function verifierOf(keys: ScramKeys): ScramVerifierKeys {
  return { storedKey: sha256(keys.clientKey), serverKey: keys.serverKey }
}

function hasKeys(keys: ScramKeys, wanted: ScramVerifierKeys): boolean {
  const given = verifierOf(keys)
  return (
    timingSafeEqual(given.storedKey, wanted.storedKey) && timingSafeEqual(given.serverKey, wanted.serverKey)
  )
}

function sameHash(user: string, hash: string, password: string): boolean {
  return sameAnswer(Buffer.from(md5Stored(user, password), 'latin1'), hash)
}
