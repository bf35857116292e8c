// The contract between clients and what lets several of them use one server at once (DESIGN section 6). Types
// and constants only, so that frontend/ and backend/ need not know each other.
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Framer } from '../wire/framer.ts'
import type { ServerLoss } from './lease.ts'

/** What became of an exchange that was offered. */
export const Offered = {
  /** It has to run on a server of its own. */
  No: 0,
  /** It is under way: its messages were taken from the framer, and its client hears `onShared...`. */
  Taken: 1,
  /** It may run on a server of its own; while it waits for one, `onRoom` may come. */
  Wait: 2,
  /** It has to run on a server of its own, and nobody knows how long such take: `offered` is to be told. */
  Measure: 3,
} as const

/** An exchange that runs beside those of other clients. */
export interface SharedWork {
  /** Since when it runs or waits behind others (coarse clock). */
  readonly since: number
  /** Its client has got a part of a message whose rest is still to come. */
  readonly isMidMessage: boolean
  /** Its client takes answers again. */
  resume(): void
  /** Its client wants it cancelled. `onOver`: the request can hit nothing any more. */
  cancel(onOver: () => void): void
  /** It has run for too long, and no cancel has ended it: its server is given up. */
  giveUp(): void
  /** Its client has gone. */
  forget(): void
}

/** A client whose reads may run beside those of others. */
export interface Sharer {
  readonly session: VirtualSession
  readonly baseline: string
  /** What is under way for it; null: nothing. */
  shared: SharedWork | null
  /** Bytes of its answer, in order. False: it wants no more for now. */
  deliver(bytes: Buffer): boolean
  /** Its exchange is answered. */
  onShared(): void
  /** Its exchange was not answered at all, and has to run elsewhere. @param mayShare beside others again */
  onSharedBack(bytes: Buffer, mayShare: boolean): void
  /** The server has gone that worked for it. */
  onSharedLost(loss: ServerLoss): void
  /** While it waits: there is room for what it waits with. */
  onRoom(): void
}

/** Takes exchanges that may run beside others. */
export interface Sharing {
  /**
   * A client that has no server is about to send the message that its framer has given out last.
   * @returns one of `Offered`
   */
  offer(client: Sharer, framer: Framer): number
  /** What was offered last is of this kind; null: that is not known. */
  readonly offered: Shape | null
  /** It ran on a server of its own, from the lease to its end so many ms. */
  measured(what: Shape, ms: number): void
  /** The client waits in its pool with what it has offered. */
  waits(client: Sharer): void
  /** It does not any more. */
  waitsNoMore(client: Sharer): void
}
