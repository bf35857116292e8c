// The part of a client that has to do with shared servers: it offers what comes, and passes on what becomes
// of that. It owns what is under way there and what is measured; the client owns its messages.
import type { ServerLoss } from '../pool/lease.ts'
import { Offered, type Sharer, type SharedWork, type Sharing } from '../pool/sharing.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Framer } from '../wire/framer.ts'

/** The client. */
export interface SharingClient {
  readonly session: VirtualSession
  readonly baseline: string
  deliver(bytes: Buffer): boolean
  /** What it had under way is answered. */
  onAnswered(): void
  /** These messages come first again. */
  putBack(bytes: Buffer): void
  /** It waits for a server, and what it waits for can be had without one. */
  onRoom(): void
  onServerLost(loss: ServerLoss): void
}

export class ClientSharing implements Sharer {
  shared: SharedWork | null = null
  readonly #client: SharingClient
  readonly #sharing: Sharing
  /** It was sent back once: it runs on a server of its own. */
  #isAlone = false
  #measured: Sharing['offered'] = null
  #since = 0

  constructor(client: SharingClient, sharing: Sharing) {
    this.#client = client
    this.#sharing = sharing
  }

  get session(): VirtualSession {
    return this.#client.session
  }

  get baseline(): string {
    return this.#client.baseline
  }

  /** Is the message that the framer has given out last under way now, with all that belongs to it? */
  takes(framer: Framer): boolean {
    this.#measured = null
    const { session } = this
    session.offered = null
    if (this.#isAlone) {
      this.#isAlone = false
      return false
    }
    const offered = this.#sharing.offer(this, framer)
    // Whoever sends it on a server of its own need not look for its shape again.
    if (offered !== Offered.Taken) session.offered = this.#sharing.offered
    if (offered === Offered.Measure) this.#measured = this.#sharing.offered
    else if (offered === Offered.Wait) this.#sharing.waits(this)
    return offered === Offered.Taken
  }

  /** It has a server of its own. */
  onLease(): void {
    this.#sharing.waitsNoMore(this)
    if (this.#measured !== null) this.#since = performance.now()
  }

  /** It has none any more. */
  onLeaseEnd(): void {
    if (this.#measured === null) return
    this.#sharing.measured(this.#measured, performance.now() - this.#since)
    this.#measured = null
  }

  /** It waits no more, for whatever reason. */
  leaveQueue(): void {
    this.#sharing.waitsNoMore(this)
  }

  /** The client has gone. */
  leave(): void {
    this.#sharing.waitsNoMore(this)
    this.shared?.forget()
  }

  deliver(bytes: Buffer): boolean {
    return this.#client.deliver(bytes)
  }

  onShared(): void {
    this.#client.onAnswered()
  }

  onSharedBack(bytes: Buffer, mayShare: boolean): void {
    this.#isAlone = !mayShare
    this.#client.putBack(bytes)
  }

  onSharedLost(loss: ServerLoss): void {
    this.#client.onServerLost(loss)
  }

  onRoom(): void {
    this.#client.onRoom()
  }
}
