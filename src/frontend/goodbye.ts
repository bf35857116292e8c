// How the stream of a client that goes is ended. It knows nothing else about the client.
import type { Departure } from '../pool/lease.ts'
import type { ByteStream } from '../wire/byte-stream.ts'

/**
 * Whoever said goodbye waits for nothing, so that a plain connection is closed at once: an orderly end would
 * half-close it, meet a peer that has gone already, and read the error of that. TLS and WebSocket have words
 * of their own for an end, and what is unsent is sent.
 */
export function endOf(stream: ByteStream, how: Departure, reason: string): void {
  const { kind, encrypted } = stream.peer
  const isPlain = !encrypted && kind !== 'websocket'
  if (how === 'terminated' && isPlain && stream.unsent === 0) stream.destroy(reason)
  else stream.end()
}
