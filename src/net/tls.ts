// Owns certificates and the TLS handshake on a connected socket. Must never log or quote a key.
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import type { TlsSettings } from '../wire/byte-stream.ts'
import { errorCode, errorWords } from './peer.ts'

/**
 * The name that Postgres registered for its protocol; direct TLS requires it (Postgres 17, `sslnegotiation`).
 */
const ALPN = 'postgresql'
const MIN_VERSION = 'TLSv1.2'

/** A certificate or key that cannot be used: one sentence that names the file. */
export class CertificateError extends Error {
  override name = 'CertificateError'
}

/** Our side of TLS as a server. */
class ServerTls implements TlsSettings {
  readonly role = 'server'
  readonly context: SecureContext

  constructor(context: SecureContext) {
    this.context = context
  }
}

/** Our side of TLS as a client of one host. */
class ClientTls implements TlsSettings {
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
 * Reads a certificate (with its chain) and its key, both PEM.
 * @throws CertificateError
 */
export function serverTls(options: { certFile: string; keyFile: string }): TlsSettings {
  const { certFile, keyFile } = options
  const cert = readPem(certFile, 'TLS certificate')
  const key = readPem(keyFile, 'TLS key')
  const certificate = parsed(() => new X509Certificate(cert), `${certFile} holds no PEM certificate`)
  const privateKey = parsed(() => createPrivateKey(key), `${keyFile} holds no PEM key without a passphrase`)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CertificateError(
      `the TLS key ${keyFile} does not belong to the certificate ${certFile}; give the key it was made with`,
    )
  }
  return new ServerTls(createSecureContext({ cert, key, minVersion: MIN_VERSION }))
}

/**
 * For connections to `host`. `prefer` and `require` encrypt and verify nothing, as in libpq; the modes that
 * verify will differ in the context made here.
 */
export function clientTls(options: { mode: 'prefer' | 'require'; host: string }): TlsSettings {
  const serverName = isIP(options.host) === 0 && !options.host.startsWith('/') ? options.host : ''
  return new ClientTls(createSecureContext({ minVersion: MIN_VERSION }), serverName)
}

/**
 * Starts TLS on a socket whose listeners were removed. `early` were read from it already and belong to the
 * handshake; their presence means direct TLS, where the client must name our protocol.
 * @returns the socket to use from now on; `done` is called once.
 */
export function startTls(
  socket: Socket,
  settings: TlsSettings,
  early: Buffer | null,
  done: (error: Error | null) => void,
): TLSSocket {
  if (early !== null && early.length > 0) socket.unshift(early)
  const direct = early !== null
  const secured =
    settings instanceof ServerTls ? wrapServer(socket, settings) : wrapClient(socket, settings as ClientTls)
  let over = false
  const finish = (error: Error | null): void => {
    if (over) return
    over = true
    done(error)
  }
  secured.once('secure', () => {
    const refused = settings.role === 'server' && direct && secured.alpnProtocol !== ALPN
    finish(refused ? new Error('TLS failed: direct TLS needs the ALPN protocol "postgresql"') : null)
  })
  const failed = (error: Error): void => finish(tlsError(error))
  // A failure before the handshake is over is told under this name only.
  secured.once('_tlsError', failed)
  secured.once('error', failed)
  const left = (): void => finish(new Error('TLS failed: peer closed the connection during the handshake'))
  // A half-open connection would wait for the rest of the handshake for ever.
  secured.once('end', left)
  secured.once('close', left)
  return secured
}

function wrapServer(socket: Socket, settings: ServerTls): TLSSocket {
  const secured = new TLSSocket(socket, {
    isServer: true,
    secureContext: settings.context,
    ALPNProtocols: [ALPN],
  })
  // As Postgres: a client could make us compute for nothing.
  secured.disableRenegotiation()
  return secured
}

function wrapClient(socket: Socket, settings: ClientTls): TLSSocket {
  return connect({
    socket,
    secureContext: settings.context,
    servername: settings.serverName,
    ALPNProtocols: [ALPN],
    rejectUnauthorized: false,
  })
}

function tlsError(error: Error): Error {
  const code = errorCode(error)
  if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL')
    return new Error('TLS failed: peer offered other ALPN protocols only')
  // OpenSSL's own words, without the file and line of its source.
  const words =
    errorWords(error).match(/^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+)/)?.[1] ?? errorWords(error)
  return new Error(`TLS failed: ${words}`, { cause: error })
}

function readPem(file: string, what: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new CertificateError(`the ${what} ${file} cannot be read: ${errorWords(error as Error)}`)
  }
}

function parsed<T>(parse: () => T, complaint: string): T {
  try {
    return parse()
  } catch {
    throw new CertificateError(complaint)
  }
}
