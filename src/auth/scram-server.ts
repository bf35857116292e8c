// One SCRAM-SHA-256 exchange in the role of the server (RFC 5802, RFC 7677), in Postgres' words and with its
// checks. Knows no user, no password and no socket, and never says why a proof was wrong. A mechanism with
// channel binding differs in what `readGs2Header` and `expectedBinding` accept, and in nothing else.
import { timingSafeEqual } from 'node:crypto'
import type { Random } from '../util/env.ts'
import { type AuthFailure, failure } from './failure.ts'
import { hmac, isNonce, KEY_LENGTH, type ScramVerifierKeys, sha256, strictBase64, xor } from './scram-keys.ts'

const NONCE_BYTES = 18

/** The next message of the server, or what was wrong with the client's. */
export type ScramReply =
  | { readonly ok: true; readonly message: Buffer }
  | { readonly ok: false; readonly failure: AuthFailure }

export type ScramProofReply = { readonly ok: true } | { readonly ok: false; readonly failure: AuthFailure }

/**
 * `clientKey` is what the client proved to know; with the ServerKey it is enough to log in to Postgres as
 * that user.
 */
export type ScramVerdict =
  | { readonly ok: true; readonly serverFinal: Buffer; readonly clientKey: Buffer }
  | { readonly ok: false }

/** Thrown inside this file only. */
class Malformed extends Error {
  readonly failure: AuthFailure
  constructor(failure: AuthFailure) {
    super(failure.message)
    this.failure = failure
  }
}

/** Call `onClientFirst`, `onClientFinal`, `verify`, once each and in this order. */
export class ScramServer {
  readonly #salt: Buffer
  readonly #iterations: number
  readonly #random: Random
  #flag = ''
  #nonce = ''
  #clientFirstBare = ''
  #serverFirst = ''
  #withoutProof = ''
  #proof: Buffer | null = null

  constructor(salt: Buffer, iterations: number, random: Random) {
    this.#salt = salt
    this.#iterations = iterations
    this.#random = random
  }

  /**
   * Takes the client-first-message, answers with the server-first-message or a protocol error (08P01, 0A000).
   */
  onClientFirst(bytes: Buffer): ScramReply {
    return guarded(() => {
      const message = text(bytes)
      const { flag, bare } = readGs2Header(message)
      const reader = new Attributes(bare)
      if (bare.startsWith('m')) throw unsupported('client requires an unsupported SCRAM extension')
      reader.named('n')
      const clientNonce = reader.named('r')
      if (!isNonce(clientNonce)) throw violation('non-printable characters in SCRAM nonce')
      while (!reader.done) reader.any()
      this.#flag = flag
      this.#clientFirstBare = bare
      this.#nonce = clientNonce + this.#random.bytes(NONCE_BYTES).toString('base64')
      this.#serverFirst = `r=${this.#nonce},s=${this.#salt.toString('base64')},i=${this.#iterations}`
      return { ok: true as const, message: Buffer.from(this.#serverFirst, 'latin1') }
    })
  }

  /**
   * Takes the client-final-message. `ok` says that it is well formed and belongs to this exchange, not that
   * it is right.
   */
  onClientFinal(bytes: Buffer): ScramProofReply {
    return guarded(() => {
      const message = text(bytes)
      const reader = new Attributes(message)
      if (reader.named('c') !== expectedBinding(this.#flag)) {
        throw violation('unexpected SCRAM channel-binding attribute in client-final-message')
      }
      const nonce = reader.named('r')
      let before = reader.at
      let attribute = reader.any()
      while (attribute.name !== 'p') {
        before = reader.at
        attribute = reader.any()
      }
      const proof = strictBase64(attribute.value)
      if (proof === null || proof.length !== KEY_LENGTH) {
        throw malformed('Malformed proof in client-final-message.')
      }
      if (!reader.done) throw malformed('Garbage found at the end of client-final-message.')
      if (this.#nonce === '' || nonce !== this.#nonce) {
        throw violation('invalid SCRAM response', 'Nonce does not match.')
      }
      this.#withoutProof = message.slice(0, before - 1)
      this.#proof = proof
      return { ok: true as const }
    })
  }

  /** Checks the proof against a user's keys, in a time that does not depend on either. */
  verify(keys: ScramVerifierKeys): ScramVerdict {
    if (this.#proof === null) return { ok: false }
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${this.#withoutProof}`
    const clientKey = xor(hmac(keys.storedKey, authMessage), this.#proof)
    const serverFinal = Buffer.from(`v=${hmac(keys.serverKey, authMessage).toString('base64')}`, 'latin1')
    if (!timingSafeEqual(sha256(clientKey), keys.storedKey)) return { ok: false }
    return { ok: true, serverFinal, clientKey }
  }
}

/** RFC 5802 section 6. Only the plain mechanism is offered, so `y` is the truth and `p` is refused. */
function readGs2Header(message: string): { flag: string; bare: string } {
  const flag = message[0]
  if (flag === 'p') {
    const selected = 'The client selected SCRAM-SHA-256 without channel binding'
    throw malformed(`${selected}, but the SCRAM message includes channel binding data.`)
  }
  if (flag !== 'n' && flag !== 'y') throw malformed(`Unexpected channel-binding flag "${shown(flag)}".`)
  if (message[1] !== ',') throw malformed(`Comma expected, but found character "${shown(message[1])}".`)
  if (message[2] === 'a') throw unsupported('client uses authorization identity, but it is not supported')
  if (message[2] !== ',') {
    throw malformed(`Unexpected attribute "${shown(message[2])}" in client-first-message.`)
  }
  return { flag, bare: message.slice(3) }
}

/** The `c=` value: base64 of the GS2 header that the client sent. */
function expectedBinding(flag: string): string {
  return Buffer.from(`${flag},,`, 'latin1').toString('base64')
}

/** Reads `x=value,y=value`. */
class Attributes {
  at = 0
  readonly #text: string

  constructor(content: string) {
    this.#text = content
  }

  /** Only after a read: an attribute that ends in a comma is followed by nothing as well. */
  get done(): boolean {
    return this.at >= this.#text.length
  }

  named(name: string): string {
    const found = this.#text[this.at]
    if (found !== name) throw malformed(`Expected attribute "${name}" but found "${shown(found)}".`)
    return this.#value(name)
  }

  any(): { name: string; value: string } {
    const name = this.#text[this.at]
    if (name === undefined) throw malformed('Attribute expected, but found end of string.')
    if (!/^[A-Za-z]$/.test(name)) {
      throw malformed(`Attribute expected, but found invalid character "${shown(name)}".`)
    }
    return { name, value: this.#value(name) }
  }

  #value(name: string): string {
    if (this.#text[this.at + 1] !== '=') {
      throw malformed(`Expected character "=" for attribute "${name}".`)
    }
    const comma = this.#text.indexOf(',', this.at)
    const end = comma < 0 ? this.#text.length : comma
    const value = this.#text.slice(this.at + 2, end)
    this.at = end + 1
    return value
  }
}

function text(bytes: Buffer): string {
  if (bytes.length === 0) throw malformed('The message is empty.')
  if (bytes.includes(0)) throw malformed('Message length does not match input length.')
  return bytes.toString('latin1')
}

/** As Postgres' sanitize_char: nothing that a terminal could take for a command. */
function shown(character: string | undefined): string {
  const code = character === undefined ? 0 : character.charCodeAt(0)
  return code >= 0x21 && code <= 0x7e ? `'${character}'` : `0x${code.toString(16).padStart(2, '0')}`
}

function violation(message: string, detail = ''): Malformed {
  return new Malformed(failure('08P01', message, detail))
}

function malformed(detail: string): Malformed {
  return violation('malformed SCRAM message', detail)
}

function unsupported(message: string): Malformed {
  return new Malformed(failure('0A000', message))
}

function guarded<T>(step: () => T): T | { ok: false; failure: AuthFailure } {
  try {
    return step()
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, failure: error.failure }
    throw error
  }
}
