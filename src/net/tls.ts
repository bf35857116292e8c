// Owns the TLS handshake on a connected socket, in either role. What each side shows and demands is in
// tls-server.ts and tls-client.ts.
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { SecureError, TlsPeer, TlsSettings } from '../wire/byte-stream.ts'
import { errorCode, errorWords } from './peer.ts'
import { type ClientTls, problemOfServer, shownByServer, wrapClient } from './tls-client.ts'
import { ServerTls, shownByClient, wrapServer } from './tls-server.ts'

/**
 * The name that Postgres registered for its protocol; direct TLS requires it (Postgres 17, `sslnegotiation`).
 */
const ALPN = 'postgresql'

/** How a handshake ended: `shown` where it came to its end. */
export type HandshakeEnd = (error: SecureError | null, shown: TlsPeer | null) => void

/**
 * Starts TLS on a socket whose listeners were removed. `early` were read from it already and belong to the
 * handshake; their presence means direct TLS, where the client must name our protocol.
 * @returns the socket to use from now on; `done` is called once.
 */
export function startTls(
  socket: Socket,
  settings: TlsSettings,
  early: Buffer | null,
  done: HandshakeEnd,
): TLSSocket {
  if (early !== null && early.length > 0) socket.unshift(early)
  const direct = early !== null
  const ours = settings instanceof ServerTls ? settings : null
  const secured =
    ours !== null ? wrapServer(socket, ours, ALPN) : wrapClient(socket, settings as ClientTls, ALPN)
  // The listeners stay with the socket; whoever waited for the handshake must not.
  let waiting: HandshakeEnd | null = done
  const finish: HandshakeEnd = (error, shown) => {
    const told = waiting
    waiting = null
    told?.(error, shown)
  }
  secured.once('secure', () => {
    if (direct && secured.alpnProtocol !== ALPN) {
      finish(new Error('TLS failed: direct TLS needs the ALPN protocol "postgresql"'), null)
    } else if (ours !== null) finish(null, shownByClient(secured, ours))
    else {
      const problem = problemOfServer(secured, settings as ClientTls)
      if (problem !== '') finish(Object.assign(new Error(`TLS failed: ${problem}`), { isFinal: true }), null)
      else finish(null, shownByServer(secured))
    }
  })
  const failed = (error: Error): void => finish(tlsError(error), null)
  // A failure before the handshake is over is told under this name only.
  secured.once('_tlsError', failed)
  secured.once('error', failed)
  const left = (): void =>
    finish(new Error('TLS failed: peer closed the connection during the handshake'), null)
  // A half-open connection would wait for the rest of the handshake for ever.
  secured.once('end', left)
  secured.once('close', left)
  return secured
}

/** What the two sides will not agree on next time either. */
const LASTING =
  /alert (protocol version|handshake failure)|unsupported protocol|no protocols available|take our/

function tlsError(error: Error): SecureError {
  const code = errorCode(error)
  if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL')
    return new Error('TLS failed: peer offered other ALPN protocols only')
  const words = errorWords(error)
  return Object.assign(new Error(`TLS failed: ${words}`, { cause: error }), { isFinal: LASTING.test(words) })
}
