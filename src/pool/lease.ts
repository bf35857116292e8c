// The contract between a client and the server that works for it. Types and constants only, so that frontend/
// and backend/ need not know each other.
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Framer } from '../wire/framer.ts'
import type { PooledServer, Refusal } from './types.ts'

/** What became of a message handed to a server. */
export const Sent = {
  /** It is on its way (or will be answered in its turn without Postgres). */
  Taken: 0,
  /** Not now: hand it over again after `onServerContinue`. */
  Hold: 1,
  /** It cannot be sent at all: the client must be told FATAL 08P01 or 54000 and closed. */
  Refuse: 2,
  /**
   * Not on this server, which has nothing of the client's: the client gives it back and takes one that was
   * opened with all its startup parameters (`VirtualSession.strictBaseline`).
   */
  Elsewhere: 3,
} as const

/**
 * How a client leaves the server that works for it: it said goodbye, its connection broke, or we cut it off
 * (then what runs for it is not waited for).
 */
export type Departure = 'terminated' | 'lost' | 'cut'

/** Why a server is gone, for the client it worked for. */
export interface ServerLoss {
  /** What the client is told. */
  readonly refusal: Refusal
  /** The server's own last ErrorResponse; null: there was none. */
  readonly lastWords: Buffer | null
  /** The client's connection ends with it. */
  readonly isFatal: boolean
  /** The client has got a part of a message whose rest is lost: nothing can be told to it. */
  readonly isMidMessage: boolean
  /** ReadyForQuery that the client still waits for. */
  readonly exchanges: number
  /** A batch is half sent: the client's messages up to its Sync must be dropped. */
  readonly isBatchOpen: boolean
  /** The open batch has failed already, and the client knows. */
  readonly isFailedBatch: boolean
  /**
   * It was not fit for this client at all: a message that is held is refused too, or it would go round in
   * circles.
   */
  readonly isUnfit: boolean
}

/** A client, as the server that works for it sees it. */
export interface Lessee {
  readonly session: VirtualSession
  /** It asks how Postgres spells its settings; anybody else must get exactly the values it wants. */
  readonly isProbe: boolean
  /** The number of its backend, as it was told; absent: it was told none. */
  readonly pid?: number
  /** Bytes of answers, in order. False: the server must be paused until the lessee resumes it. */
  deliver(bytes: Buffer): boolean
  /** A message that was held may be handed over again. */
  onServerContinue(): void
  /** The server takes bytes again. */
  onServerDrain(): void
  /** All is answered and the server has gone back to its pool. */
  onLeaseEnd(): void
  /** The server is gone, or failed before anything of the client's ran. */
  onServerLost(loss: ServerLoss): void
}

/** A server, as the client that it works for sees it. */
export interface LeasedServer extends PooledServer {
  readonly talk: TalkView
  /** The lessee has got a part of a message whose rest is still to come. */
  readonly isMidMessage: boolean
  lease(lessee: Lessee): void
  /** Hands over the message that the framer gave out last. @returns one of `Sent`. */
  send(framer: Framer): number
  /** Hands over more of the body of the message sent last. */
  sendBody(framer: Framer): void
  /** Everything handed over goes out. @returns false: stop until `onServerDrain`. */
  flush(): boolean
  pause(): void
  resume(): void
  /** The client is gone; the server finishes or rolls back by itself and goes back to its pool, or closes. */
  abandon(how: Departure): void
  /** The client wants another server. Only where `send` has said so. */
  giveBack(): void
  /** Ask Postgres to cancel what runs for the client. `onOver`: the request can hit nothing any more. */
  cancel(onOver: () => void): void
  close(reason: string): void
}

/** What may be known about a server's work from outside. */
export interface TalkView {
  /** Something of the client's is not answered yet. */
  readonly isBusy: boolean
  /**
   * The client has to send more before Postgres can go on: half a message, or a batch without Flush or Sync.
   */
  readonly isClientsTurn: boolean
  /** Postgres owes answers that it will give without hearing more from the client. */
  readonly isOwing: boolean
  /** The client waits for nothing, and is in no transaction: Postgres would tell of notifications. */
  readonly isBetween: boolean
  /** Last status was T or E. */
  readonly isInTransaction: boolean
  readonly isBatchOpen: boolean
  /** When the exchange that runs now began (coarse clock). */
  readonly busySince: number
  /** When the last exchange ended. */
  readonly idleSince: number
  readonly transactionSince: number
}
