// What a handshake has shown: the hash to which SCRAM is bound, and the names in the certificate of a peer.
// Pure: reads certificates, opens nothing, judges nobody.
import { createHash, type X509Certificate } from 'node:crypto'
import type { CertificateNames } from '../wire/byte-stream.ts'

/** Signature algorithms by their object identifier -> the hash in them. */
const HASH_OF_SIGNATURE = new Map([
  ['1.2.840.113549.1.1.4', 'md5'],
  ['1.2.840.113549.1.1.5', 'sha1'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.113549.1.1.15', 'sha512-224'],
  ['1.2.840.113549.1.1.16', 'sha512-256'],
  ['1.2.840.10040.4.3', 'sha1'],
  ['2.16.840.1.101.3.4.3.1', 'sha224'],
  ['2.16.840.1.101.3.4.3.2', 'sha256'],
  ['2.16.840.1.101.3.4.3.3', 'sha384'],
  ['2.16.840.1.101.3.4.3.4', 'sha512'],
  ['1.2.840.10045.4.1', 'sha1'],
  ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
])

/** RSASSA-PSS names its hash in its parameters, as one of these. */
const RSA_PSS = '1.2.840.113549.1.1.10'
const HASHES = new Map([
  ['1.3.14.3.2.26', 'sha1'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
])

const OBJECT_IDENTIFIER = 0x06
const SEQUENCE = 0x30
const FIRST_FIELD = 0xa0

/**
 * tls-server-end-point of RFC 5929: the certificate of the server under the hash of its signature, but never
 * md5 or sha1. As libpq and Postgres count it.
 * @param certificate DER
 * @returns null where no hash belongs to the signature (ed25519), or it is not known here
 */
export function endPointOf(certificate: Buffer): Buffer | null {
  const hash = signatureHash(certificate)
  if (hash === null) return null
  const used = hash === 'md5' || hash === 'sha1' ? 'sha256' : hash
  return createHash(used).update(certificate).digest()
}

/** One value in DER: where its content starts and ends. */
interface Value {
  readonly tag: number
  readonly start: number
  readonly end: number
}

function signatureHash(der: Buffer): string | null {
  const whole = valueAt(der, 0, SEQUENCE)
  const signed = whole && valueAt(der, whole.start, SEQUENCE)
  const algorithm = signed && valueAt(der, signed.end, SEQUENCE)
  const name = algorithm && valueAt(der, algorithm.start, OBJECT_IDENTIFIER)
  if (!name) return null
  const identifier = identifierOf(der, name)
  if (identifier !== RSA_PSS) return HASH_OF_SIGNATURE.get(identifier) ?? null
  const parameters = valueAt(der, name.end, SEQUENCE)
  const first = parameters && valueAt(der, parameters.start, FIRST_FIELD)
  // RFC 4055: without one it is sha1.
  if (!first || first.end > parameters.end) return 'sha1'
  const inner = valueAt(der, first.start, SEQUENCE)
  const hash = inner && valueAt(der, inner.start, OBJECT_IDENTIFIER)
  return hash ? (HASHES.get(identifierOf(der, hash)) ?? null) : null
}

function valueAt(der: Buffer, at: number, tag: number): Value | null {
  if (der[at] !== tag || at + 2 > der.length) return null
  const short = der[at + 1]
  const extra = short < 0x80 ? 0 : short - 0x80
  // 4 GiB and indefinite lengths are in no certificate.
  if (extra > 4 || short === 0x80 || at + 2 + extra > der.length) return null
  const length = extra === 0 ? short : der.readUIntBE(at + 2, extra)
  const start = at + 2 + extra
  return start + length > der.length ? null : { tag, start, end: start + length }
}

function identifierOf(der: Buffer, { start, end }: Value): string {
  const first = der[start]
  const numbers = [Math.min(2, Math.floor(first / 40)), first - 40 * Math.min(2, Math.floor(first / 40))]
  let number = 0
  for (let at = start + 1; at < end; at++) {
    number = number * 128 + (der[at] & 0x7f)
    if (der[at] < 0x80) {
      numbers.push(number)
      number = 0
    }
  }
  return numbers.join('.')
}

/**
 * The names in a certificate, as Postgres reads and prints them. A name with a NUL in it is left out: whoever
 * reads up to the NUL would see another name.
 */
export function namesOf(certificate: X509Certificate): CertificateNames {
  const parts = subjectParts(certificate.subject ?? '')
  const common = parts.flat().find((part) => part.startsWith('CN='))
  return {
    commonName: common === undefined ? '' : harmless(unescaped(common.slice(3))),
    distinguishedName: parts
      .map((set) => set.map(onlyAscii).reverse().join('+'))
      .reverse()
      .join(','),
    alternativeNames: alternativeNames(certificate.subjectAltName ?? '')
      .map(harmless)
      .filter((name) => name !== ''),
  }
}

/** Node gives one line for each part, values escaped as in RFC 2253, several in a part with ` + ` between. */
function subjectParts(subject: string): string[][] {
  if (subject === '') return []
  return subject.split('\n').map((line) => line.split(/(?<!\\) \+ /))
}

/** Postgres prints what is not ASCII as the hex digits of its UTF-8 bytes. */
function onlyAscii(text: string): string {
  return text.replace(/[^\0-\x7f]+/g, (found) =>
    Array.from(Buffer.from(found), (byte) => `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(
      '',
    ),
  )
}

function unescaped(text: string): string {
  return text.replace(/\\([0-9A-Fa-f]{2}|.)/g, (_whole, code: string) =>
    code.length === 2 ? String.fromCharCode(Number.parseInt(code, 16)) : code,
  )
}

function harmless(name: string): string {
  return name.includes('\0') ? '' : name
}

/**
 * Reads `DNS:name, email:"a, b", IP Address:..`: Node puts a name that could be taken for two into quotes, as
 * JSON.
 */
function alternativeNames(list: string): string[] {
  const names: string[] = []
  for (const [, kind, value] of list.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g)) {
    if (kind !== 'DNS' && kind !== 'email' && kind !== 'URI') continue
    names.push(value.startsWith('"') ? (JSON.parse(value) as string) : value)
  }
  return names
}
