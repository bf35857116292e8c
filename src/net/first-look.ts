// Connections that have not said anything yet, without a socket of Node's: it and Node's parser cost a third
// of a short WebSocket. The first bytes decide: a WebSocket as drivers open it, a query as functions send it,
// or anything else, which is Node's. It owns a connection until then, and says nothing itself.
import type { PlainOwner, PlainSocket } from './plain-socket.ts'
import { beginsPost } from './post-head.ts'
import { readUpgrade, type UpgradeHead } from './upgrade-head.ts'

/** Where connections go. */
export interface FirstLookEvents {
  /** @param rest what came behind it */
  onUpgrade(connection: PlainSocket, head: UpgradeHead, rest: Buffer): void
  /** It has sent `chunk`, the beginning of a query or all of it. */
  onPost(connection: PlainSocket, chunk: Buffer): void
  /** @param chunk a copy of what came */
  onOther(connection: PlainSocket, chunk: Buffer): void
  /** It has said nothing for too long. */
  onSilent(connection: PlainSocket): void
}

/** All that have not said anything. */
export class FirstLooks {
  readonly #events: FirstLookEvents
  readonly #limitMs: number
  readonly #waiting = new Set<FirstLook>()
  readonly #timer: NodeJS.Timeout

  /** @param limitMs how long one may be silent @param everyMs how often that is looked at */
  constructor(events: FirstLookEvents, { limitMs, everyMs }: { limitMs: number; everyMs: number }) {
    this.#events = events
    this.#limitMs = limitMs
    this.#timer = setInterval(() => this.#tick(performance.now()), everyMs).unref()
  }

  get size(): number {
    return this.#waiting.size
  }

  /** It has just come in. */
  add(connection: PlainSocket): void {
    const look = new FirstLook(connection, performance.now() + this.#limitMs, this)
    this.#waiting.add(look)
    connection.owner = look
    connection.start()
  }

  /** Nobody else comes in, and they go. */
  close(): void {
    clearInterval(this.#timer)
    for (const { connection } of this.#waiting) connection.destroy()
  }

  /** It has said something. */
  onChunk(look: FirstLook, chunk: Buffer): void {
    this.forget(look)
    const { connection } = look
    if (beginsPost(chunk)) {
      this.#events.onPost(connection, chunk)
      return
    }
    const head = readUpgrade(chunk)
    if (head === null) this.#events.onOther(connection, Buffer.from(chunk))
    else this.#events.onUpgrade(connection, head, chunk.subarray(head.length))
  }

  forget(look: FirstLook): void {
    this.#waiting.delete(look)
  }

  #tick(now: number): void {
    for (const look of this.#waiting) {
      // In the order in which they came.
      if (look.deadline > now) return
      this.forget(look)
      this.#events.onSilent(look.connection)
    }
  }
}

class FirstLook implements PlainOwner {
  readonly connection: PlainSocket
  readonly deadline: number
  readonly #all: FirstLooks

  constructor(connection: PlainSocket, deadline: number, all: FirstLooks) {
    this.connection = connection
    this.deadline = deadline
    this.#all = all
  }

  onChunk(chunk: Buffer): void {
    this.#all.onChunk(this, chunk)
  }

  onHalfClosed(): void {
    this.connection.destroy()
  }

  onFailed(): void {}

  onGone(): void {
    this.#all.forget(this)
  }
}
