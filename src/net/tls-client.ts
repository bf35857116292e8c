// TLS with us as the client of a Postgres: what we send, and what its certificate must show. The files are
// read once, into a context for all hosts that are spoken to in this way; each handshake is a whole one and
// each connection is checked for itself. Must never log or quote a key.
import type { X509Certificate } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { ServerTlsConfig } from '../config/types.ts'
import type { TlsPeer, TlsSettings } from '../wire/byte-stream.ts'
import { CertificateError, readAuthorities, readPair } from './tls-files.ts'
import { endPointOf, namesOf } from './tls-peer.ts'

/** Longest text of a certificate that is repeated. */
const SHOWN_MAX = 200

/** How TLS to Postgres is configured, as far as a handshake needs it. */
export type ClientTlsOptions = Pick<
  ServerTlsConfig,
  'mode' | 'caFile' | 'certFile' | 'keyFile' | 'minVersion'
>

/** Our side of TLS as a client of one host. */
export class ClientTls implements TlsSettings {
  readonly role = 'client'
  readonly host: string
  readonly from: ClientContext

  constructor(from: ClientContext, host: string) {
    this.from = from
    this.host = host
  }

  /** The name sent as SNI; '' where the host is an address, for which SNI is not allowed (RFC 6066). */
  get serverName(): string {
    return isIP(this.host) === 0 ? this.host : ''
  }
}

/** What the files of one configuration came to. */
export class ClientContext {
  readonly context: SecureContext
  readonly options: ClientTlsOptions

  /** Reads the files. @throws CertificateError */
  constructor(options: ClientTlsOptions) {
    const { caFile, certFile, keyFile, minVersion } = options
    const pair = certFile === '' ? null : readPair(certFile, keyFile)
    const ca = caFile === '' ? null : readAuthorities(caFile)
    this.options = options
    try {
      this.context = createSecureContext({
        minVersion,
        ...(ca === null ? {} : { ca }),
        ...(pair === null ? {} : { cert: pair.cert, key: pair.key }),
      })
    } catch (error) {
      const files = [caFile, certFile, keyFile].filter((name) => name !== '').join(', ')
      throw new CertificateError(`TLS cannot use ${files}: ${(error as Error).message}`)
    }
  }

  /** For connections to this host: its name is sent, and compared where the mode asks for it. */
  forHost(host: string): TlsSettings {
    return new ClientTls(this, host)
  }
}

/**
 * Must a server show a certificate of an authority that we know? As libpq: also without a mode that verifies
 * when authorities were named.
 */
export function checksCertificate({ mode, caFile }: Pick<ClientTlsOptions, 'mode' | 'caFile'>): boolean {
  return mode === 'verify-ca' || mode === 'verify-full' || (mode !== 'disable' && caFile !== '')
}

/** Begins the handshake as a client. @param alpn the one protocol that is spoken */
export function wrapClient(socket: Socket, settings: ClientTls, alpn: string): TLSSocket {
  return connect({
    socket,
    secureContext: settings.from.context,
    servername: settings.serverName,
    ALPNProtocols: [alpn],
    // Judged by problemOfServer, before a byte of ours is sent.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
}

/** What a handshake with a server has shown. Call it when that is over. */
export function shownByServer(secured: TLSSocket): TlsPeer {
  const given = secured.getPeerX509Certificate()
  if (given === undefined) return { endPoint: null, certificate: null, certificateProblem: '' }
  const certificate = secured.authorized ? namesOf(given) : null
  return { endPoint: endPointOf(given.raw), certificate, certificateProblem: '' }
}

/** Why this server is not to be believed, in words; '' where it is, as far as the mode asks. */
export function problemOfServer(secured: TLSSocket, { from, host }: ClientTls): string {
  const { options } = from
  if (!checksCertificate(options)) return ''
  const certificate = secured.getPeerX509Certificate()
  if (certificate === undefined) return 'it shows no certificate'
  if (!secured.authorized) return chainProblem(String(secured.authorizationError), certificate, options)
  if (options.mode !== 'verify-full' || isFor(certificate, host)) return ''
  const names = certificate.subjectAltName ?? nameIn(certificate.subject)
  return `its certificate is for ${shown(names)}, which does not match host name "${host}"`
}

/** Codes of OpenSSL for a chain that ends in nobody whom we know. */
const UNKNOWN_AUTHORITY = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

function chainProblem(code: string, certificate: X509Certificate, options: ClientTlsOptions): string {
  const { validFrom, validTo, issuer } = certificate
  if (UNKNOWN_AUTHORITY.has(code)) {
    const where = options.caFile === '' ? 'Node knows; name its authority in upstream.tls.ca_file' : 'are in '
    const by = shown(nameIn(issuer))
    return `its certificate is signed by ${by}, none of the authorities that ${where}${options.caFile}`
  }
  if (code === 'CERT_HAS_EXPIRED') {
    const isOwn = certificate.validToDate.getTime() < Date.now()
    return isOwn ? `its certificate expired on ${validTo}` : 'a certificate in its chain has expired'
  }
  if (code === 'CERT_NOT_YET_VALID') return `its certificate is not valid before ${validFrom}`
  return `its certificate cannot be verified (${code})`
}

/**
 * Is it made out to this host? As libpq: an address may also stand where a name would; the common name counts
 * where there is no alternative name of the kind of the host.
 */
function isFor(certificate: X509Certificate, host: string): boolean {
  const rules = { partialWildcards: false } as const
  if (isIP(host) === 0) return certificate.checkHost(host, { ...rules, subject: 'default' }) !== undefined
  if (certificate.checkIP(host) !== undefined) return true
  const hasAddress = (certificate.subjectAltName ?? '').includes('IP Address:')
  const subject = hasAddress ? 'never' : 'always'
  return certificate.checkHost(host, { ...rules, wildcards: false, subject }) !== undefined
}

/** The common name in a subject or issuer, else the whole of it. */
function nameIn(text: string | undefined): string {
  return /^CN=(.*)$/m.exec(text ?? '')?.[1] ?? text ?? ''
}

/** Words of a stranger: short, on one line, in quotes. */
function shown(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be repeated
  const safe = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ')
  return `"${safe.length > SHOWN_MAX ? `${safe.slice(0, SHOWN_MAX)}...` : safe}"`
}
