// TLS with us as the client of a Postgres: what we send, and what its certificate must show.
import { isIP, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { TlsPeer, TlsSettings } from '../wire/byte-stream.ts'
import { endPointOf, namesOf } from './tls-peer.ts'

const MIN_VERSION = 'TLSv1.2'

/** Our side of TLS as a client of one host. */
export class ClientTls implements TlsSettings {
  readonly role = 'client'
  readonly context: SecureContext
  /** The name sent as SNI; '' where the host is an address, for which SNI is not allowed (RFC 6066). */
  readonly serverName: string

  constructor(context: SecureContext, serverName: string) {
    this.context = context
    this.serverName = serverName
  }
}

/**
 * For connections to `host`. `prefer` and `require` encrypt and verify nothing, as in libpq; the modes that
 * verify will differ in the context made here.
 */
export function clientTls(options: { mode: 'prefer' | 'require'; host: string }): TlsSettings {
  const serverName = isIP(options.host) === 0 && !options.host.startsWith('/') ? options.host : ''
  return new ClientTls(createSecureContext({ minVersion: MIN_VERSION }), serverName)
}

/** Begins the handshake as a client. @param alpn the one protocol that is spoken */
export function wrapClient(socket: Socket, settings: ClientTls, alpn: string): TLSSocket {
  return connect({
    socket,
    secureContext: settings.context,
    servername: settings.serverName,
    ALPNProtocols: [alpn],
    rejectUnauthorized: false,
  })
}

/** What a handshake with a server has shown. Call it when that is over. */
export function shownByServer(secured: TLSSocket): TlsPeer {
  const given = secured.getPeerX509Certificate()
  if (given === undefined) return { endPoint: null, certificate: null, certificateProblem: '' }
  const certificate = secured.authorized ? namesOf(given) : null
  return { endPoint: endPointOf(given.raw), certificate, certificateProblem: '' }
}
