// One SCRAM-SHA-256 exchange in the role of the client, towards Postgres (RFC 5802, RFC 7677). Trusts nothing
// that the server says: every field is bounded before it costs anything, and the server has to prove itself
// as well.
import { timingSafeEqual } from 'node:crypto'
import type { Random } from '../util/env.ts'
import type { PasswordWork } from './password-work.ts'
import { hmac, isNonce, KEY_LENGTH, type ScramKeys, sha256, strictBase64, xor } from './scram-keys.ts'

/** Longest message taken from a server, in bytes. */
export const MAX_SERVER_MESSAGE = 8 * 1024
/** Longest salt taken from a server, in characters of base64. Postgres' own has 24. */
export const MAX_SALT = 1024
/** Most iterations taken from a server: some tenths of a second of one thread (Postgres' default is 4096). */
export const MAX_ITERATIONS = 1_000_000
/**
 * Fewest iterations taken for a password from a server that has not shown who it is: what RFC 7677 asks for.
 * Whoever plays the server could learn by a single one what makes guessing the password thousands of times
 * cheaper. Postgres itself goes down to 1 (`scram_iterations`): with a checked certificate that is taken.
 */
export const MIN_ITERATIONS = 4096
const NONCE_BYTES = 18

/**
 * Whether the login is bound to the TLS below it, to the hash of the server's certificate. `cannot`: we do
 * not; `not offered`: we would, but the server did not offer it; one that did will see that somebody lied.
 */
export type Binding = { readonly endPoint: Buffer } | 'cannot' | 'not offered'

/** A password, or the keys that a client's own login left with us. */
export type ScramCredential = { readonly password: string } | ScramKeys

/**
 * What the server did wrong, in words that follow "Postgres at ...". Holds nothing but bounded text of ours.
 */
export class ScramServerError extends Error {
  override name = 'ScramServerError'
  readonly sqlstate: string

  constructor(message: string, sqlstate = '08P01') {
    super(message)
    this.sqlstate = sqlstate
  }
}

export interface ScramClientParts {
  readonly random: Random
  readonly work: PasswordWork
  /** The server has shown a certificate of an authority that we know. */
  readonly isProven: boolean
}

/** Call `start`, `onContinue`, `onFinal`, once each and in this order. */
export class ScramClient {
  readonly #parts: ScramClientParts
  #credential: ScramCredential | null = null
  #nonce = ''
  #firstBare = ''
  #authMessage = ''
  /** The GS2 header, and behind it what the login is bound to. */
  #channel = Buffer.alloc(0)
  #serverKey: Buffer | null = null

  constructor(parts: ScramClientParts) {
    this.#parts = parts
  }

  /**
   * @returns the client-first-message. Postgres ignores `user` here (libpq sends ''): its startup packet
   * counts.
   */
  start(user: string, credential: ScramCredential, binding: Binding): Buffer {
    this.#credential = credential
    const header = gs2Header(binding)
    const bound = typeof binding === 'string' ? [] : [binding.endPoint]
    this.#channel = Buffer.concat([Buffer.from(header), ...bound])
    this.#nonce = this.#parts.random.bytes(NONCE_BYTES).toString('base64')
    const name = Buffer.from(user.replaceAll('=', '=3D').replaceAll(',', '=2C'), 'utf8').toString('latin1')
    this.#firstBare = `n=${name},r=${this.#nonce}`
    return Buffer.from(header + this.#firstBare, 'latin1')
  }

  /**
   * Takes the server-first-message.
   * @returns the client-final-message; at once where no password has to be hashed for it.
   * @throws ScramServerError at once for anything out of bounds; PasswordWorkBusy.
   */
  onContinue(bytes: Buffer): Buffer | Promise<Buffer> {
    const credential = this.#credential
    if (credential === null || this.#authMessage !== '')
      throw new ScramServerError('sent a SCRAM message too early')
    const message = bounded(bytes)
    const { nonce, salt, iterations } = readServerFirst(message, this.#nonce)
    const withoutProof = `c=${this.#channel.toString('base64')},r=${nonce}`
    this.#authMessage = `${this.#firstBare},${message},${withoutProof}`
    if (!('password' in credential)) return this.#clientFinal(withoutProof, credential)
    if (iterations < MIN_ITERATIONS && !this.#parts.isProven) throw new ScramServerError(TOO_FEW, '28000')
    const keys = this.#parts.work.keys(credential.password, salt, iterations)
    if (!(keys instanceof Promise)) return this.#clientFinal(withoutProof, keys)
    return keys.then((derived) => this.#clientFinal(withoutProof, derived))
  }

  #clientFinal(withoutProof: string, keys: ScramKeys): Buffer {
    this.#serverKey = keys.serverKey
    const proof = xor(keys.clientKey, hmac(sha256(keys.clientKey), this.#authMessage))
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`, 'latin1')
  }

  /**
   * Takes the server-final-message. Returning at all means that the server knows the user's secret.
   * @throws ScramServerError where it does not, or says that the login failed.
   */
  onFinal(bytes: Buffer): void {
    const message = bounded(bytes)
    if (message.startsWith('e=')) throw serverSaidNo(message)
    if (this.#serverKey === null) throw new ScramServerError('sent a SCRAM message too early')
    const match = /^v=([^,]*)(,.*)?$/s.exec(message)
    const signature = match === null ? null : strictBase64(match[1])
    if (signature === null || signature.length !== KEY_LENGTH) {
      throw new ScramServerError('sent a malformed SCRAM message')
    }
    if (!timingSafeEqual(signature, hmac(this.#serverKey, this.#authMessage))) {
      throw new ScramServerError(
        'could not prove that it knows the password: it may not be the server it claims to be',
      )
    }
  }
}

const TOO_FEW =
  `asks for fewer than ${MIN_ITERATIONS} SCRAM iterations and has not shown who it is: ` +
  'use TLS with verify-full, or raise scram_iterations there and set the password anew'

function gs2Header(binding: Binding): string {
  if (binding === 'cannot') return 'n,,'
  return binding === 'not offered' ? 'y,,' : 'p=tls-server-end-point,,'
}

function bounded(bytes: Buffer): string {
  if (bytes.length > MAX_SERVER_MESSAGE) throw new ScramServerError('sent a SCRAM message that is too long')
  if (bytes.includes(0)) throw new ScramServerError('sent a malformed SCRAM message')
  return bytes.toString('latin1')
}

/** Only the words that RFC 5802 section 7 defines are repeated: the rest is text of a stranger. */
function serverSaidNo(message: string): ScramServerError {
  const word = /^e=([a-z-]{1,60})(,|$)/.exec(message)
  return new ScramServerError(
    word === null ? 'refused the SCRAM login' : `refused the SCRAM login: ${word[1]}`,
  )
}

function readServerFirst(message: string, ours: string): { nonce: string; salt: Buffer; iterations: number } {
  if (message.startsWith('e=')) throw serverSaidNo(message)
  if (message.startsWith('m='))
    throw new ScramServerError('asks for a SCRAM extension that pgmux does not know')
  const match = /^r=([^,]*),s=([^,]*),i=([^,]*)(,.*)?$/s.exec(message)
  if (match === null) throw new ScramServerError('sent a malformed SCRAM message')
  const [, nonce, salt64, count] = match
  if (!isNonce(nonce)) throw new ScramServerError('sent a malformed SCRAM nonce')
  if (!nonce.startsWith(ours) || nonce.length === ours.length) {
    throw new ScramServerError('sent a SCRAM nonce that does not continue ours')
  }
  const salt = salt64.length > MAX_SALT ? null : strictBase64(salt64)
  if (salt === null || salt.length === 0) throw new ScramServerError('sent a SCRAM salt that cannot be used')
  const iterations = /^[1-9][0-9]{0,6}$/.test(count) ? Number(count) : 0
  if (iterations < 1 || iterations > MAX_ITERATIONS) {
    throw new ScramServerError(
      `asks for a number of SCRAM iterations that is not between 1 and ${MAX_ITERATIONS}`,
    )
  }
  return { nonce, salt, iterations }
}
