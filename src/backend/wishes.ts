// Those who wait until a hub listens for them. It owns the queue and how a wish ends: once, by being granted,
// refused or withdrawn. Until then the channels that it names are held.
import type { Channel, Channels, Subscriber } from '../session/channels.ts'
import type { Problem } from './listening-server.ts'

/** Somebody waits for channels. */
export interface Wish {
  readonly subscriber: Subscriber
  readonly channels: readonly Channel[]
  /** A channel that is notified where the subscription begins; '' : nobody looks for that place. */
  readonly sign: string
  readonly deadline: number
  isOver: boolean
  /** Null: from here on its notifications come. Otherwise nothing has changed. */
  onDone(problem: Problem | null): void
}

export class Wishes {
  readonly #channels: Channels
  #waiting: Wish[] = []

  constructor(channels: Channels) {
    this.#channels = channels
  }

  get size(): number {
    return this.#waiting.length
  }

  add(wish: Wish): void {
    this.#waiting.push(wish)
  }

  /** Nothing has changed for whoever wished it, and nothing is reported. */
  withdraw(wish: Wish): void {
    if (wish.isOver) return
    wish.isOver = true
    for (const channel of wish.channels) this.#channels.release(channel)
    const place = this.#waiting.indexOf(wish)
    // Elsewhere it is part of the exchange that is under way.
    if (place >= 0) this.#waiting.splice(place, 1)
  }

  refuse(wish: Wish, problem: Problem): void {
    if (wish.isOver) return
    this.withdraw(wish)
    wish.onDone(problem)
  }

  grant(wish: Wish): void {
    if (wish.isOver) return
    wish.isOver = true
    for (const channel of wish.channels) this.#channels.subscribe(wish.subscriber, channel)
    wish.onDone(null)
  }

  /** Those who have waited too long, and all of them when there is no time left. */
  refuseLate(now: number, problem: Problem): void {
    while (this.#waiting.length > 0 && this.#waiting[0].deadline < now) this.refuse(this.#waiting[0], problem)
  }

  /** Those of one pool. @param underWay what is part of an exchange */
  refusePool(pool: object, underWay: readonly Wish[], problem: Problem): void {
    for (const wish of [...this.#waiting, ...underWay])
      if (wish.subscriber.pool === pool) this.refuse(wish, problem)
  }

  /** Takes out those for whom the exchange that is being made is the last that is needed. */
  takeComplete(): Wish[] {
    const taken: Wish[] = []
    const others: Wish[] = []
    for (const wish of this.#waiting) {
      const isComplete = wish.channels.every(({ isReady, isUnderWay, isListened }) =>
        isUnderWay ? !isListened : isReady,
      )
      ;(isComplete ? taken : others).push(wish)
    }
    this.#waiting = others
    return taken
  }
}
