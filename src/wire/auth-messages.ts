// The authentication messages as bytes, in both directions: builders and parsers of 'R' and 'p'. Holds no
// state and judges no password; it never throws on bytes from a peer (parsers answer null).
import { FromClient, FromServer } from './protocol.ts'

/** Longest body of a 'p' message that may be taken before a login is complete, in bytes. */
export const MAX_PASSWORD_BODY = 64 * 1024
/** Longest body of an Authentication message that Postgres has reason to send, in bytes. */
export const MAX_AUTHENTICATION_BODY = 64 * 1024

const HEADER = 5

const OK = 0
const CLEARTEXT = 3
const MD5 = 5
const SASL = 10
const SASL_CONTINUE = 11
const SASL_FINAL = 12

/** The other methods that Postgres may ask for, and how people know them. */
const UNSUPPORTED = new Map([
  [2, 'Kerberos V5'],
  [6, 'SCM credentials'],
  [7, 'GSSAPI'],
  [8, 'GSSAPI'],
  [9, 'SSPI'],
])

/** What one Authentication message ('R') of Postgres says. Buffers point into the body that was parsed. */
export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'saslContinue'; readonly data: Buffer }
  | { readonly kind: 'saslFinal'; readonly data: Buffer }
  | { readonly kind: 'unsupported'; readonly method: string }

/** What a SASLInitialResponse says; `data` is null where the client sent no initial response. */
export interface SaslInitialResponse {
  readonly mechanism: string
  readonly data: Buffer | null
}

function frame(type: number, body: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(HEADER + body.length)
  message[0] = type
  message.writeUInt32BE(body.length + 4, 1)
  message.set(body, HEADER)
  return message
}

function authentication(code: number, rest: Uint8Array): Buffer {
  const body = Buffer.allocUnsafe(4 + rest.length)
  body.writeUInt32BE(code, 0)
  body.set(rest, 4)
  return frame(FromServer.Authentication, body)
}

const NOTHING = Buffer.alloc(0)

/** AuthenticationOk, complete with its header. */
export function authenticationOk(): Buffer {
  return authentication(OK, NOTHING)
}

/** AuthenticationCleartextPassword. */
export function authenticationCleartext(): Buffer {
  return authentication(CLEARTEXT, NOTHING)
}

/** AuthenticationMD5Password. `salt` has 4 bytes. */
export function authenticationMd5(salt: Uint8Array): Buffer {
  return authentication(MD5, salt)
}

/** AuthenticationSASL with the names of the mechanisms on offer, the preferred one first. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return authentication(SASL, Buffer.from(`${mechanisms.map((name) => `${name}\0`).join('')}\0`, 'latin1'))
}

/** AuthenticationSASLContinue with the mechanism's challenge. */
export function authenticationSaslContinue(data: Uint8Array): Buffer {
  return authentication(SASL_CONTINUE, data)
}

/** AuthenticationSASLFinal with the mechanism's outcome. */
export function authenticationSaslFinal(data: Uint8Array): Buffer {
  return authentication(SASL_FINAL, data)
}

/** PasswordMessage: the password in the clear, or its md5 answer. `text` holds no NUL byte. */
export function passwordMessage(text: string): Buffer {
  return frame(FromClient.Password, Buffer.from(`${text}\0`, 'utf8'))
}

/** SASLInitialResponse with an initial response. */
export function saslInitialResponse(mechanism: string, data: Uint8Array): Buffer {
  const name = Buffer.from(`${mechanism}\0`, 'latin1')
  const length = Buffer.allocUnsafe(4)
  length.writeInt32BE(data.length, 0)
  return frame(FromClient.Password, Buffer.concat([name, length, data]))
}

/** SASLResponse. */
export function saslResponse(data: Uint8Array): Buffer {
  return frame(FromClient.Password, data)
}

/**
 * Reads the body of an Authentication message (without type and length).
 * @returns null where the body is not what the protocol allows.
 */
export function parseAuthentication(body: Buffer): AuthenticationRequest | null {
  if (body.length < 4 || body.length > MAX_AUTHENTICATION_BODY) return null
  const code = body.readUInt32BE(0)
  const rest = body.subarray(4)
  if (code === OK) return rest.length === 0 ? { kind: 'ok' } : null
  if (code === CLEARTEXT) return rest.length === 0 ? { kind: 'cleartext' } : null
  if (code === MD5) return rest.length === 4 ? { kind: 'md5', salt: rest } : null
  if (code === SASL) return parseMechanisms(rest)
  if (code === SASL_CONTINUE) return { kind: 'saslContinue', data: rest }
  if (code === SASL_FINAL) return { kind: 'saslFinal', data: rest }
  return { kind: 'unsupported', method: UNSUPPORTED.get(code) ?? `authentication method ${code}` }
}

function parseMechanisms(rest: Buffer): AuthenticationRequest | null {
  const mechanisms: string[] = []
  let at = 0
  while (at < rest.length) {
    const end = rest.indexOf(0, at)
    if (end < 0) return null
    if (end === at) return end === rest.length - 1 ? { kind: 'sasl', mechanisms } : null
    mechanisms.push(rest.toString('latin1', at, end))
    at = end + 1
  }
  return null
}

/**
 * Reads the body of a PasswordMessage: exactly one string up to a NUL at the very end, as Postgres asks.
 * @returns the bytes of the string without the NUL, or null where the body is malformed.
 */
export function parsePasswordMessage(body: Buffer): Buffer | null {
  if (body.length === 0 || body.length > MAX_PASSWORD_BODY) return null
  if (body.indexOf(0) !== body.length - 1) return null
  return body.subarray(0, body.length - 1)
}

/** Reads the body of a SASLInitialResponse. @returns null where the body is malformed. */
export function parseSaslInitialResponse(body: Buffer): SaslInitialResponse | null {
  if (body.length > MAX_PASSWORD_BODY) return null
  const end = body.indexOf(0)
  if (end < 0 || body.length < end + 5) return null
  const mechanism = body.toString('latin1', 0, end)
  const length = body.readInt32BE(end + 1)
  const data = body.subarray(end + 5)
  if (length === -1) return data.length === 0 ? { mechanism, data: null } : null
  return length === data.length ? { mechanism, data } : null
}
