// One SCRAM-SHA-256 exchange in the role of the server (RFC 5802, RFC 7677), in Postgres' words and with its
// checks. Knows no user, no password and no socket, and never says why a proof was wrong. The mechanism with
// channel binding differs in what `readGs2Header` and `isBound` accept, and in nothing else.
import { timingSafeEqual } from 'node:crypto'
import type { Random } from '../util/env.ts'
import { type AuthFailure, failure } from './failure.ts'
import { hmac, isNonce, KEY_LENGTH, type ScramVerifierKeys, sha256, strictBase64, xor } from './scram-keys.ts'

const NONCE_BYTES = 18
/** The one kind of channel binding that there is, as in Postgres. */
const BINDING_TYPE = 'tls-server-end-point'

/** How the exchange is bound to the TLS below it. */
export interface ScramBinding {
  /** tls-server-end-point of our certificate; null: binding was not offered. */
  readonly endPoint: Buffer | null
  /** The client has taken the mechanism with binding. */
  readonly isUsed: boolean
}

const UNBOUND: ScramBinding = { endPoint: null, isUsed: false }

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
  readonly #binding: ScramBinding
  #flag = ''
  #nonce = ''
  #clientFirstBare = ''
  #serverFirst = ''
  #withoutProof = ''
  #proof: Buffer | null = null

  constructor(salt: Buffer, iterations: number, random: Random, binding: ScramBinding = UNBOUND) {
    this.#salt = salt
    this.#iterations = iterations
    this.#random = random
    this.#binding = binding
  }

  /**
   * Takes the client-first-message, answers with the server-first-message or an error (08P01, 0A000; 28000
   * where somebody in between took our offer of channel binding away).
   */
  onClientFirst(bytes: Buffer): ScramReply {
    return guarded(() => {
      const message = text(bytes)
      const { flag, bare } = readGs2Header(message, this.#binding)
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
      if (!isBound(reader.named('c'), this.#flag, this.#binding)) {
        throw this.#binding.isUsed
          ? new Malformed(failure('28000', 'SCRAM channel binding check failed'))
          : violation('unexpected SCRAM channel-binding attribute in client-final-message')
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

/** RFC 5802 section 6: what the client says of channel binding, and the rest of its message. */
function readGs2Header(message: string, binding: ScramBinding): { flag: string; bare: string } {
  const { flag, rest } = readFlag(message, binding)
  if (rest.startsWith('a')) throw unsupported('client uses authorization identity, but it is not supported')
  if (!rest.startsWith(',')) {
    throw malformed(`Unexpected attribute "${shown(rest[0])}" in client-first-message.`)
  }
  return { flag, bare: rest.slice(1) }
}

function readFlag(message: string, { endPoint, isUsed }: ScramBinding): { flag: string; rest: string } {
  const flag = message[0]
  if (flag === 'p') {
    if (!isUsed) {
      const selected = 'The client selected SCRAM-SHA-256 without channel binding'
      throw malformed(`${selected}, but the SCRAM message includes channel binding data.`)
    }
    const reader = new Attributes(message)
    const type = reader.named('p')
    if (type !== BINDING_TYPE) throw violation(`unsupported SCRAM channel-binding type "${printable(type)}"`)
    return { flag: `p=${type}`, rest: message.slice(reader.at) }
  }
  if (flag !== 'n' && flag !== 'y') throw malformed(`Unexpected channel-binding flag "${shown(flag)}".`)
  if (isUsed) {
    const selected = 'The client selected SCRAM-SHA-256-PLUS'
    throw malformed(`${selected}, but the SCRAM message does not include channel binding data.`)
  }
  // The client can bind and believes that we cannot: somebody has changed our offer.
  if (flag === 'y' && endPoint !== null) throw new Malformed(negotiationError())
  if (message[1] !== ',') throw malformed(`Comma expected, but found character "${shown(message[1])}".`)
  return { flag, rest: message.slice(2) }
}

function negotiationError(): AuthFailure {
  return failure(
    '28000',
    'SCRAM channel binding negotiation error',
    'The client supports SCRAM channel binding but thinks the server does not.  However, this server does ' +
      'support channel binding.',
  )
}

/** The `c=` value is the base64 of the GS2 header that the client sent, and of what it is bound to. */
function isBound(given: string, flag: string, { endPoint, isUsed }: ScramBinding): boolean {
  const header = Buffer.from(`${flag},,`, 'latin1')
  const bytes = isUsed && endPoint !== null ? Buffer.concat([header, endPoint]) : header
  const right = Buffer.from(bytes.toString('base64'), 'latin1')
  const said = Buffer.from(given, 'latin1')
  return said.length === right.length && timingSafeEqual(said, right)
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

/** As Postgres' sanitize_str. */
function printable(text: string): string {
  return text.slice(0, 30).replace(/[^\x21-\x7e]/g, '?')
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
