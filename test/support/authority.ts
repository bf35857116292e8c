// Owns: certificates that tests make with openssl: an authority, and certificates that it signs, in a folder
// that goes with the test file. Must never be used for anything but tests: nobody guards these keys.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { findProgram } from './programs.ts'

/** Why these certificates cannot be made; '' where they can: a reason for notRun(). */
export const NO_OPENSSL: string = findProgram('openssl') === null ? 'openssl is not installed' : ''

/** A certificate and its key, both PEM. */
export interface Issued {
  readonly certFile: string
  readonly keyFile: string
}

export interface IssueOptions {
  /** As `DNS:name,email:name`. */
  san?: string
  /** Further extensions, as `extendedKeyUsage=serverAuth`. */
  extensions?: readonly string[]
  /** Days for which it is valid; negative: it has expired. */
  days?: number
  /** Arguments of `openssl req` that make the key. */
  key?: readonly string[]
  /** Arguments of the signature, as `-sha384`. */
  sign?: readonly string[]
}

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
const YEARS = 3650

/** One that signs certificates. Its own is `caFile`. */
export class Authority {
  readonly caFile: string
  readonly #folder: string
  readonly #keyFile: string
  #count = 0

  constructor(
    name = 'authority of the tests',
    { key = CURVE, sign = [], extensions = [] }: IssueOptions = {},
  ) {
    this.#folder = mkdtempSync(join(tmpdir(), 'pgmux-ca-'))
    // Certificates may be read by the account of a Postgres; keys stay private.
    chmodSync(this.#folder, 0o755)
    after(() => rmSync(this.#folder, { recursive: true, force: true }))
    this.caFile = join(this.#folder, 'ca.crt')
    this.#keyFile = join(this.#folder, 'ca.key')
    openssl(
      ['req', '-x509', ...key, ...sign, '-nodes', '-days', String(YEARS)],
      ['-keyout', this.#keyFile, '-out', this.caFile, '-subj', `/CN=${name}`, ...extended(extensions)],
    )
  }

  /** @param subject as `/O=Example/CN=alice` */
  issue(subject: string, options: IssueOptions = {}): Issued {
    const { san = '', extensions = [], days = YEARS, key = CURVE, sign = [] } = options
    const file = (kind: string) => join(this.#folder, `${this.#count}.${kind}`)
    this.#count++
    const names = extended(san === '' ? extensions : [`subjectAltName=${san}`, ...extensions])
    openssl(
      ['req', '-new', ...key, '-nodes', '-keyout', file('key'), '-out', file('csr')],
      ['-utf8', '-multivalue-rdn', '-subj', subject, ...names],
    )
    openssl(
      ['x509', '-req', '-in', file('csr'), '-out', file('crt'), '-days', String(days), ...sign],
      ['-CA', this.caFile, '-CAkey', this.#keyFile, '-copy_extensions', 'copyall'],
    )
    return { certFile: file('crt'), keyFile: file('key') }
  }
}

function extended(extensions: readonly string[]): string[] {
  return extensions.flatMap((extension) => ['-addext', extension])
}

/** Options of Node's TLS for a client that shows this certificate. */
export function showing({ certFile, keyFile }: Issued): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(certFile), key: readFileSync(keyFile) }
}

/** @returns what openssl prints */
export function openssl(...args: readonly (readonly string[])[]): string {
  return execFileSync('openssl', args.flat(), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
