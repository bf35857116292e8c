// Who listens to what: the channels of one database, their subscribers, and what the listening server lacks
// or has too much of. Pure; it sends nothing. A channel is listened to once, however many want it, and a
// notification costs one look-up, however many do not want it.

/** Somebody who wants the notifications of channels. */
export interface Subscriber {
  /** Whoever has to leave the hub together: the clients of one pool. */
  readonly pool: object
  /** A NotificationResponse of this channel, whole. Others get the same bytes: they must not be changed. */
  onNotification(message: Buffer, channel: string): void
  /** Notifications may be missing up to now. */
  onGap(): void
}

/** Where a client's notifications wait until Postgres could have sent them. */
export interface Mailbox extends Subscriber {
  /** The number that the client knows as its own. */
  readonly pid: number
  /** Of the database, in which the notifications come. */
  encoding: string
  /** Something waits that may be delivered. */
  readonly isAny: boolean
  /** All that waits, as one piece; nothing waits any more. */
  take(): Buffer
  /** Delivers what waits, if this is a moment for it. */
  deliver(): void
  /** What waits of these channels (null: of all) is not wanted any more. */
  drop(channels: ReadonlySet<string> | null): void
  /** What comes waits for `release`: something that stands in front of it is still on its way. */
  hold(): void
  release(): void
  /** Its client goes: it gets nothing any more. */
  close(): void
}

/** One channel that somebody wants, or wanted until just now. */
export class Channel {
  /** One character a byte, in the encoding of the database. */
  readonly name: string
  readonly subscribers = new Set<Subscriber>()
  /** Subscribers, and those who wait to become one. */
  holds = 0
  /** Postgres has confirmed it. */
  isListened = false
  /** It is part of the exchange that is under way: to be listened to, or not any more. */
  isUnderWay = false

  constructor(name: string) {
    this.name = name
  }

  /** Notifications come, and will go on coming. */
  get isReady(): boolean {
    return this.isListened && !this.isUnderWay
  }
}

/** What one exchange changes. */
export interface Changes {
  readonly listen: readonly Channel[]
  readonly unlisten: readonly Channel[]
}

const NOBODY: ReadonlySet<Subscriber> = new Set()
const NOTHING: ReadonlySet<Channel> = new Set()

export class Channels {
  readonly #all = new Map<string, Channel>()
  readonly #of = new Map<Subscriber, Set<Channel>>()
  /** Wanted and not listened to, in the order in which they were wanted. */
  readonly #missing = new Set<Channel>()
  /** Listened to and not wanted any more. */
  readonly #surplus = new Set<Channel>()

  /** Channels that somebody wants, and those still to be given up. */
  get size(): number {
    return this.#all.size
  }

  /** How many have subscribed to anything. */
  get subscribers(): number {
    return this.#of.size
  }

  /** Somebody wants what the listening server lacks. */
  get isAnyMissing(): boolean {
    return this.#missing.size > 0
  }

  /** The listening server has what nobody wants. */
  get isAnySurplus(): boolean {
    return this.#surplus.size > 0
  }

  /** Those who want this channel's notifications. */
  subscribersOf(name: string): ReadonlySet<Subscriber> {
    return this.#all.get(name)?.subscribers ?? NOBODY
  }

  /** What this one has subscribed to. */
  channelsOf(subscriber: Subscriber): ReadonlySet<Channel> {
    return this.#of.get(subscriber) ?? NOTHING
  }

  /** Everybody who has subscribed to anything. */
  everybody(): Iterable<Subscriber> {
    return this.#of.keys()
  }

  /** Somebody is going to subscribe: the channel is to be listened to. Ends with `release` or `subscribe`. */
  hold(name: string): Channel {
    let channel = this.#all.get(name)
    if (channel === undefined) {
      channel = new Channel(name)
      this.#all.set(name, channel)
    }
    if (channel.holds++ > 0) return channel
    this.#surplus.delete(channel)
    if (!channel.isReady) this.#missing.add(channel)
    return channel
  }

  /** One who held it does not want it any more. */
  release(channel: Channel): void {
    if (--channel.holds > 0) return
    this.#missing.delete(channel)
    if (channel.isUnderWay) return
    if (channel.isListened) this.#surplus.add(channel)
    else this.#all.delete(channel.name)
  }

  /** From here on this one gets the channel's notifications; the hold becomes the subscription's. */
  subscribe(subscriber: Subscriber, channel: Channel): void {
    if (channel.subscribers.has(subscriber)) {
      this.release(channel)
      return
    }
    channel.subscribers.add(subscriber)
    const own = this.#of.get(subscriber)
    if (own === undefined) this.#of.set(subscriber, new Set([channel]))
    else own.add(channel)
  }

  /** It gets nothing of this channel any more. */
  unsubscribe(subscriber: Subscriber, name: string): void {
    const channel = this.#all.get(name)
    const own = this.#of.get(subscriber)
    if (channel === undefined || own === undefined || !own.delete(channel)) return
    if (own.size === 0) this.#of.delete(subscriber)
    channel.subscribers.delete(subscriber)
    this.release(channel)
  }

  /** It gets nothing of any channel any more. */
  leave(subscriber: Subscriber): void {
    const own = this.#of.get(subscriber)
    if (own === undefined) return
    this.#of.delete(subscriber)
    for (const channel of own) {
      channel.subscribers.delete(subscriber)
      this.release(channel)
    }
  }

  /** What the next exchange should change, at most `max` of each kind. Ends with `settle` or `lost`. */
  take(max: number): Changes {
    const changes = { listen: takeSome(this.#missing, max), unlisten: takeSome(this.#surplus, max) }
    for (const channel of changes.listen) channel.isUnderWay = true
    for (const channel of changes.unlisten) channel.isUnderWay = true
    return changes
  }

  /** That exchange is over; without a commit everything is as before it. */
  settle(changes: Changes, isDone: boolean): void {
    for (const channel of changes.listen) this.#place(channel, isDone)
    for (const channel of changes.unlisten) this.#place(channel, !isDone)
  }

  /** The listening server is gone, and with it everything that it had. */
  lost(): void {
    this.#surplus.clear()
    for (const channel of this.#all.values()) this.#place(channel, false)
  }

  #place(channel: Channel, isListened: boolean): void {
    channel.isUnderWay = false
    channel.isListened = isListened
    if (channel.holds === 0 && isListened) this.#surplus.add(channel)
    else if (channel.holds === 0) this.#all.delete(channel.name)
    else if (!isListened) this.#missing.add(channel)
    else this.#missing.delete(channel)
  }
}

/** Takes the first `max` out. */
function takeSome(from: Set<Channel>, max: number): Channel[] {
  const taken: Channel[] = []
  for (const channel of from) {
    if (taken.length >= max) break
    from.delete(channel)
    taken.push(channel)
  }
  return taken
}
