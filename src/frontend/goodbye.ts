// When a client goes that was told to, and how the stream of one that goes is ended. It changes nothing else.
import type { Departure, LeasedServer } from '../pool/lease.ts'
import type { SharedWork } from '../pool/sharing.ts'
import type { Refusal } from '../pool/types.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import { SHUTDOWN } from './refusals.ts'
import { isBetween } from './watch.ts'

/** A client that was told to go. */
interface Leaver {
  readonly isGone: boolean
  readonly isWaiting: boolean
  readonly shared: SharedWork | null
  readonly server: LeasedServer | null
  readonly access: { readonly pool: { readonly isPaused: boolean } }
}

/** Is it at a boundary of its transactions, with nothing that it still waits for? */
export function mayGo(client: Leaver, farewell: Refusal): boolean {
  if (client.isGone) return false
  // When the pooler stops, who waits is served before; elsewhere nothing is begun any more.
  if (client.isWaiting && farewell === SHUTDOWN && !client.access.pool.isPaused) return false
  return client.shared === null && isBetween(client.server)
}

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
