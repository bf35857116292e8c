// The cancel requests aimed at one server: who asked, whether one is wanted, the connection that carries it.
// It owns these; `Talk` shows what others must know of it (a server with a cancel on its way works for nobody
// new).
import { Fate } from '../pool/replies.ts'
import { CancelConnection } from './cancel.ts'
import type { Route } from './route.ts'
import type { Talk } from './talk.ts'

/** What a cancel is aimed at. */
export interface CancelTarget {
  readonly pid: number
  readonly key: Buffer
  readonly isEncrypted: boolean
}

export class Cancels {
  readonly #talk: Talk
  readonly #route: Route
  readonly #onOver: (isCertain: boolean) => void
  /** Known after the login. */
  target: CancelTarget | null = null
  #connection: CancelConnection | null = null
  #deadline = 0
  #waiters: (() => void)[] = []

  /** @param onOver told when a cancel is over; `isCertain` false: it may still arrive at Postgres later. */
  constructor(talk: Talk, route: Route, onOver: (isCertain: boolean) => void) {
    this.#talk = talk
    this.#route = route
    this.#onOver = onOver
  }

  /**
   * A client asks.
   * @param isHolding a message of the client's waits
   * @param onOver its request can hit nothing any more
   */
  ask(isHolding: boolean, onOver: () => void): void {
    // Nothing runs, not even in an open batch: Postgres would ignore it, and so that it hits nothing later we
    // do. What it has left being read is nothing of the client's.
    const { replies, exchanges, isBatchOpen } = this.#talk
    const isOurs = exchanges === 0 && !isBatchOpen && !isHolding
    if (isOurs || (replies.size === 0 && !isHolding)) {
      onOver()
      return
    }
    this.#waiters.push(onOver)
    if (replies.size === 0) this.#talk.isCancelWanted = true
    else this.want()
  }

  /**
   * A cancel must not hit an exchange of ours; it waits for the client's own. Were the BEGIN of a settings
   * diff cancelled, no transaction would fail, and the client's statement behind it would run under the
   * settings of another.
   */
  want(): void {
    if ((this.#talk.replies.head & Fate.Internal) !== 0) this.#talk.isCancelWanted = true
    else this.#open()
  }

  /** After each event: may the one that is wanted go now? */
  settle(): void {
    const talk = this.#talk
    if (!talk.isCancelWanted || talk.replies.size === 0) return
    if ((talk.replies.head & Fate.Internal) === 0) this.#open()
  }

  /** The exchange that was to be cancelled has ended by itself. */
  exchangeEnded(): void {
    if (!this.#talk.isCancelWanted) return
    this.#talk.isCancelWanted = false
    this.#tellWaiters()
  }

  tick(now: number): void {
    if (this.#connection !== null && now > this.#deadline) this.#connection.giveUp()
  }

  /** The server has gone. */
  serverGone(): void {
    // What it is aimed at has gone, and nobody will look at its deadline any more.
    this.#connection?.giveUp()
    this.#tellWaiters()
  }

  #open(): void {
    const talk = this.#talk
    talk.isCancelWanted = false
    if (this.#connection !== null || this.target === null) return
    // A server that gave no key at its login cannot be asked.
    if (this.target.key.length === 0) {
      this.#tellWaiters()
      return
    }
    talk.cancels++
    this.#deadline = talk.time.now + this.#route.cancelTimeoutMs
    this.#connection = new CancelConnection(this.#route, this.target, (isCertain) => this.#over(isCertain))
  }

  #over(isCertain: boolean): void {
    this.#connection = null
    this.#talk.cancels--
    this.#tellWaiters()
    this.#onOver(isCertain)
  }

  #tellWaiters(): void {
    const waiters = this.#waiters
    if (waiters.length === 0) return
    this.#waiters = []
    for (const onOver of waiters) onOver()
  }
}
