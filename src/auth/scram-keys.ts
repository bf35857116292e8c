// The arithmetic of SCRAM-SHA-256 (RFC 5802, RFC 7677) that both roles share. Pure; knows no messages and no
// state.
import { createHmac, createSecretKey, hash } from 'node:crypto'

export const SCRAM_SHA_256 = 'SCRAM-SHA-256'
/** Bound to the TLS connection below it. */
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS'
/** Bytes of a SHA-256 digest: of each key, proof and signature. */
export const KEY_LENGTH = 32

/** What a password comes to with one salt and one number of iterations; enough to log in with. Secret. */
export interface ScramKeys {
  readonly clientKey: Buffer
  readonly serverKey: Buffer
}

/** What a server has to know to check a login; not enough to log in with. Secret. */
export interface ScramVerifierKeys {
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

export function sha256(data: Uint8Array): Buffer {
  return hash('sha256', data, 'buffer')
}

/** Strings are taken as latin1: SCRAM messages are kept that way so that each byte stays what it was. */
export function hmac(key: Uint8Array, data: string): Buffer {
  // With the bytes themselves Node 24 takes up to four times as long: it finds out by an exception that they
  // are no key object. Two of these stand in each login.
  return createHmac('sha256', createSecretKey(key)).update(data, 'latin1').digest()
}

/** RFC 5802 section 3: ClientKey and ServerKey of a SaltedPassword. */
export function keysOfSaltedPassword(salted: Uint8Array): ScramKeys {
  return { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') }
}

/** RFC 5802 section 3: ClientProof and StoredKey turn into each other and ClientKey by this exclusive or. */
export function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.allocUnsafe(left.length)
  for (let at = 0; at < left.length; at++) result[at] = left[at] ^ right[at]
  return result
}

/**
 * Base64 as RFC 4648 writes it: padded, nothing but its alphabet.
 * @returns null for anything else (Node's own decoder takes everything).
 */
export function strictBase64(text: string): Buffer | null {
  if (text.length % 4 !== 0) return null
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : null
}

/** True where `text` is one or more printable ASCII characters without a comma, as a nonce must be. */
export function isNonce(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]+$/.test(text)
}
