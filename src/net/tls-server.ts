// TLS with us as the server: our certificate, and whether clients show one. What a certificate allows is for
// others to judge.
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import type { CertificateNames, TlsPeer, TlsSettings } from '../wire/byte-stream.ts'
import { readAuthorities, readPair } from './tls-files.ts'
import { endPointOf, namesOf } from './tls-peer.ts'

/** What a listener has to show, and which certificates of clients it believes. */
export interface ServerTlsOptions {
  readonly certFile: string
  readonly keyFile: string
  /** Authorities for the certificates of clients; '': none is asked for. */
  readonly caFile?: string
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
}

/** Our side of TLS as a server. */
export class ServerTls implements TlsSettings {
  readonly role = 'server'
  readonly context: SecureContext
  /** Of our own certificate. */
  readonly endPoint: Buffer | null
  readonly asksForCertificate: boolean

  constructor(context: SecureContext, endPoint: Buffer | null, asksForCertificate: boolean) {
    this.context = context
    this.endPoint = endPoint
    this.asksForCertificate = asksForCertificate
  }
}

/**
 * Reads the files of a listener.
 * @throws CertificateError
 */
export function serverTls(options: ServerTlsOptions): TlsSettings {
  const { certFile, keyFile, caFile = '', minVersion = 'TLSv1.2' } = options
  const { cert, key, certificate } = readPair(certFile, keyFile)
  const ca = caFile === '' ? null : readAuthorities(caFile)
  const context = createSecureContext({
    cert,
    key,
    minVersion,
    ...(ca === null ? {} : { ca }),
    // As Postgres: each handshake is a whole one, so a session does not outlive the certificate behind it.
    secureOptions: constants.SSL_OP_NO_TICKET,
  })
  return new ServerTls(context, endPointOf(certificate.raw), ca !== null)
}

/** Begins the handshake as a server. @param alpn the one protocol that is spoken */
export function wrapServer(socket: Socket, settings: ServerTls, alpn: string): TLSSocket {
  const secured = new TLSSocket(socket, {
    isServer: true,
    secureContext: settings.context,
    ALPNProtocols: [alpn],
    requestCert: settings.asksForCertificate,
    // A bad one is told in words after the handshake; an alert of TLS would say less.
    rejectUnauthorized: false,
  })
  // As Postgres: a client could make us compute for nothing.
  secured.disableRenegotiation()
  return secured
}

/** What a handshake with a client has shown. Call it when that is over. */
export function shownByClient(secured: TLSSocket, settings: ServerTls): TlsPeer {
  const { endPoint, asksForCertificate } = settings
  const given = asksForCertificate ? secured.getPeerX509Certificate() : undefined
  if (given === undefined) return { endPoint, certificate: null, certificateProblem: '' }
  const problem = verifyProblem(secured)
  const certificate: CertificateNames | null = problem === '' ? namesOf(given) : null
  return { endPoint, certificate, certificateProblem: problem }
}

/** Node tells only its own servers what OpenSSL found; the question is asked as they ask it. */
function verifyProblem(secured: TLSSocket): string {
  const { _handle: handle } = secured as unknown as { _handle?: { verifyError?(): Error | null } }
  if (handle?.verifyError === undefined) return 'it could not be checked'
  const error = handle.verifyError()
  return error === null || error === undefined ? '' : error.message
}
