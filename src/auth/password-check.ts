// Whether a password that a client sent in the clear is the one we know of, in any form in which we know it.
// Each question costs one derivation, whatever is known: the time tells nothing about the user. Never keeps a
// password.
import { timingSafeEqual } from 'node:crypto'
import { md5Stored, sameAnswer } from './md5.ts'
import type { PasswordWork } from './password-work.ts'
import { type ScramKeys, type ScramVerifierKeys, sha256 } from './scram-keys.ts'
import type { ScramSecret, Secret } from './secrets.ts'

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
  const { secret } = question
  const own = ownVerifier(secret)
  const { salt, iterations } = own ?? question
  const text = given.toString('utf8')
  const wanted = own ?? (secret?.kind === 'plain' ? await known(work, secret.password, question) : null)
  const isRight = judgeOf(question, given, wanted)
  const keys = await work.keys(text, salt, iterations, isRight)
  if (!isRight(keys)) return WRONG
  return { isRight: true, keys: own === null ? null : keys }
}

/**
 * The same at once, for a password that has been right before: nothing is hashed.
 * @returns null where that is not known: ask `checkPassword`
 */
export function recallPassword(
  work: PasswordWork,
  question: PasswordQuestion,
  given: Buffer,
): (PasswordAnswer & { readonly isRight: true }) | null {
  const { secret } = question
  const own = ownVerifier(secret)
  const { salt, iterations } = own ?? question
  const keys = work.knownKeys(given.toString('utf8'), salt, iterations)
  if (keys === null) return null
  let wanted: ScramVerifierKeys | null = own
  if (secret?.kind === 'plain' && secret.password !== '') {
    const ofSecret = work.knownKeys(secret.password, salt, iterations)
    if (ofSecret === null) return null
    wanted = verifierOf(ofSecret)
  }
  return judgeOf(question, given, wanted)(keys) ? { isRight: true, keys: own === null ? null : keys } : null
}

/** Whether this very password is being hashed for this user: another answer costs nothing more. */
export function isBeingChecked(work: PasswordWork, question: PasswordQuestion, given: Buffer): boolean {
  const { salt, iterations } = ownVerifier(question.secret) ?? question
  return work.isUnderWay(given.toString('utf8'), salt, iterations)
}

function ownVerifier(secret: Secret | null): ScramSecret | null {
  return secret?.kind === 'scram' && secret.iterations <= MAX_ITERATIONS ? secret : null
}

/**
 * Whether keys that came of `given` are the right ones.
 * @param wanted null: only an md5 hash is known, or nothing
 */
function judgeOf(
  { user, secret }: PasswordQuestion,
  given: Buffer,
  wanted: ScramVerifierKeys | null,
): (keys: ScramKeys) => boolean {
  const text = given.toString('utf8')
  // What is no text would be changed by the decoding, and could turn into somebody's password.
  const isText = Buffer.from(text, 'utf8').equals(given)
  const isMd5Right = secret?.kind === 'md5' && sameHash(user, secret.hash, text)
  return (keys) => isText && (wanted === null ? isMd5Right : hasKeys(keys, wanted))
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
