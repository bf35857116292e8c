// The hub of one database: one connection to Postgres listens for all clients. It owns that connection, what
// is asked on it and when it is opened and closed. It never gives a client a notification from in front of
// the place in Postgres' order at which its subscription begins, and never keeps silent about a gap.
//
// All notifications of a database have one order, the same for every session. A mark is a notification of our
// own in it: what stands in front of a mark on one connection does so on all.
import type { Counters } from '../observe/counters.ts'
import { Backoff } from '../pool/backoff.ts'
import { type Changes, Channels, type Subscriber } from '../session/channels.ts'
import { PREFIX } from '../session/statements.ts'
import { channelOf, payloadOf, pidOf, quotedChannel, withPid } from '../wire/notification.ts'
import { ListeningServer, type ListeningOwner, type Problem } from './listening-server.ts'
import type { LoginParts } from './login.ts'
import type { Route } from './route.ts'
import type { CoarseTime } from './talk.ts'
import { type Wish, Wishes } from './wishes.ts'

/** Channels that one exchange changes: what comes meanwhile waits behind it. */
const BATCH_MAX = 2000
/** Channels of a database; Postgres looks through all of them for each notification. */
const CHANNELS_MAX = 100_000
/** How long somebody who wants to subscribe waits for it. */
const WISH_MS = 5000
/** How long an exchange may take: with very many channels Postgres needs seconds. */
const ANSWER_MS = 15_000
/** A connection that has been silent for longer is asked whether it lives. */
const CHECK_MS = 10_000
/** A connection that nobody needs is closed after so long. */
const IDLE_MS = 60_000

const TOKEN_BYTES = 8

/** What a hub is made of. */
export interface HubParts extends Omit<LoginParts, 'route'> {
  readonly time: CoarseTime
  readonly counters: Counters
  /** The way there at this moment; null: there must be no connection now. */
  readonly route: () => Route | null
  /** There is no connection any more. */
  readonly onClosed: () => void
  readonly warn: (message: string) => void
}

/** A place in the order of notifications that somebody waits for. */
export interface Mark {
  /** Of the backend that makes it: somebody else may have seen the token in pg_stat_activity. */
  readonly pid: number
  onSeen(): void
  /** It will not: the connection is gone. */
  onLost(): void
}

interface Batch {
  readonly changes: Changes
  readonly wishes: readonly Wish[]
  readonly token: string
}

const NO_CONNECTION: Problem = { code: '08006', message: 'the listening server cannot be reached' }
const NO_PLACE: Problem = { code: '53300', message: 'there is no place for the listening server' }
const TOO_MANY: Problem = { code: '54000', message: `more than ${CHANNELS_MAX} channels in one database` }

export class Hub implements ListeningOwner {
  /** The channel of its marks. Nobody can guess it. */
  readonly channel: string
  readonly channels = new Channels()
  /** Whose the notifications of a backend are at this place of the order: the number that it goes by. */
  readonly authors = new Map<number, number>()
  readonly #parts: HubParts
  readonly #backoff: Backoff
  readonly #marks = new Map<string, Mark>()
  /** Subscribers who have to be told of a gap when everything is listened to again. */
  readonly #uninformed = new Set<Subscriber>()
  readonly #wishes = new Wishes(this.channels)
  #batch: Batch | null = null
  #server: ListeningServer | null = null
  /** By when Postgres must have answered, 0: it owes nothing. */
  #deadline = 0
  #heardAt = 0
  #neededAt: number
  #isClosed = false

  constructor(parts: HubParts) {
    this.#parts = parts
    this.#backoff = new Backoff(parts.random)
    this.#neededAt = parts.time.now
    this.channel = `${PREFIX}${parts.random.bytes(TOKEN_BYTES).toString('hex')}`
  }

  /** The connection that there is or is being opened. */
  get server(): ListeningServer | null {
    return this.#server
  }

  /** Notifications come now. */
  get isListening(): boolean {
    return this.#server?.isOpen === true
  }

  /** Number of its backend; 0: there is none. */
  get pid(): number {
    return this.#server?.pid ?? 0
  }

  /** Postgres owes it an answer. */
  get isAsking(): boolean {
    return this.#server?.isAsking === true
  }

  /** Nobody has any use for it. */
  get isForgotten(): boolean {
    return this.#server === null && !this.#isNeeded
  }

  get #isNeeded(): boolean {
    return this.channels.subscribers > 0 || this.#wishes.size > 0 || this.#batch !== null
  }

  // ---- for subscribers ----

  /** Subscribes to channels, named in the encoding of the database. @returns what `withdraw` ends */
  subscribe(
    subscriber: Subscriber,
    names: readonly string[],
    sign: string,
    onDone: (problem: Problem | null) => void,
  ): Wish {
    const isFull = this.channels.size + names.length > CHANNELS_MAX || this.#isClosed
    const channels = isFull ? [] : names.map((name) => this.channels.hold(name))
    const deadline = this.#parts.time.now + WISH_MS
    const wish: Wish = { subscriber, channels, sign, deadline, isOver: false, onDone }
    if (isFull) this.#wishes.refuse(wish, this.#isClosed ? NO_CONNECTION : TOO_MANY)
    else this.#wishes.add(wish)
    this.#pump()
    return wish
  }

  /** It is not wanted any more; nothing is reported. */
  withdraw(wish: Wish): void {
    this.#wishes.withdraw(wish)
  }

  /** What it gets no more. */
  unsubscribe(subscriber: Subscriber, names: Iterable<string>): void {
    for (const name of names) this.channels.unsubscribe(subscriber, name)
    if (this.channels.channelsOf(subscriber).size === 0) this.#uninformed.delete(subscriber)
  }

  /** It has gone. */
  leave(subscriber: Subscriber): void {
    this.channels.leave(subscriber)
    this.#uninformed.delete(subscriber)
  }

  /** It was subscribed elsewhere, and has missed something since: it is told when everything is back. */
  adopt(subscriber: Subscriber, names: Iterable<string>): void {
    for (const name of names) this.channels.subscribe(subscriber, this.channels.hold(name))
    if (this.channels.channelsOf(subscriber).size > 0) this.#uninformed.add(subscriber)
    this.#pump()
  }

  /** All of this pool go, and those who wait are refused. @returns what they had */
  evict(pool: object): [subscriber: Subscriber, names: string[]][] {
    const gone: [Subscriber, string[]][] = []
    for (const subscriber of [...this.channels.everybody()]) {
      if (subscriber.pool !== pool) continue
      gone.push([subscriber, Array.from(this.channels.channelsOf(subscriber), ({ name }) => name)])
      this.leave(subscriber)
    }
    this.#wishes.refusePool(pool, this.#batch?.wishes ?? [], NO_CONNECTION)
    return gone
  }

  /** @returns what a session has to notify on `channel`, so that `mark` hears of it */
  expect(mark: Mark): string {
    const token = this.#newToken()
    this.#marks.set(token, mark)
    return token
  }

  /** Nobody waits for this mark any more. */
  forget(token: string): void {
    this.#marks.delete(token)
  }

  // ---- for its owner ----

  /** Time has passed. */
  tick(now: number): void {
    this.#wishes.refuseLate(now, NO_CONNECTION)
    const server = this.#server
    if (this.#isNeeded) this.#neededAt = now
    if (server === null) {
      if (this.#isNeeded) this.serve()
    } else if (this.#deadline > 0 && now > this.#deadline) server.timeOut()
    else if (now - this.#neededAt > IDLE_MS || this.#parts.route() === null) this.#end()
    else if (server.isOpen && !server.isAsking) this.#rest(server, now)
  }

  /** A place for a connection that was looked for is free now. */
  serve(): void {
    if (this.#server === null && !this.#isClosed && this.#backoff.isOver(this.#parts.time.now)) this.#open()
  }

  /** Another connection takes the place of this one, for which the reason is not Postgres'. */
  renew(): void {
    if (this.#server === null) return
    this.#end()
    this.#backoff.succeeded()
  }

  close(): void {
    this.#isClosed = true
    this.#end()
    this.#wishes.refuseLate(Number.POSITIVE_INFINITY, NO_CONNECTION)
  }

  /** The connection has nothing to do: what nobody wants is given up, and is it alive? */
  #rest(server: ListeningServer, now: number): void {
    if (this.channels.isAnySurplus) this.#pump()
    else if (now - this.#heardAt > CHECK_MS) {
      this.#deadline = now + ANSWER_MS
      server.run(Buffer.alloc(0))
    }
  }

  // ---- of the connection ----

  onOpened(): void {
    this.#backoff.succeeded()
    this.#heardAt = this.#parts.time.now
    if (this.#server !== null) this.#server.openedAt = this.#heardAt
    this.#deadline = 0
    this.#pump()
  }

  onNotification(src: Buffer, start: number, stop: number): void {
    const name = channelOf(src, start, stop)
    if (name === null) {
      this.#parts.warn('Postgres sent a broken notification on the listening server')
      this.#server?.close()
      this.onGone({ code: '08P01', message: 'a broken notification' })
      return
    }
    const pid = pidOf(src, start)
    if (name === this.channel) this.#onMark(payloadOf(src, start, stop, name), pid)
    const subscribers = this.channels.subscribersOf(name)
    if (subscribers.size === 0) return
    const author = this.authors.size === 0 ? undefined : this.authors.get(pid)
    const bytes = src.subarray(start, stop)
    const message = author === undefined ? Buffer.from(bytes) : withPid(bytes, author)
    this.#parts.counters.notifications += subscribers.size
    for (const subscriber of subscribers) subscriber.onNotification(message, name)
  }

  onAnswer(problem: Problem | null): void {
    this.#heardAt = this.#parts.time.now
    this.#deadline = 0
    const batch = this.#batch
    if (batch !== null) this.#unanswered(batch, problem ?? NO_CONNECTION)
    this.#pump()
  }

  onGone(problem: Problem): void {
    const { code, message } = problem
    this.#parts.warn(`the listening server is gone: ${code} ${message}`)
    this.#backoff.failed(this.#parts.time.now)
    const hasOpened = this.#heardAt > 0
    this.#dropServer()
    // Those who wait have something else to do. Who has subscribed goes on waiting.
    if (!hasOpened) this.#wishes.refuseLate(Number.POSITIVE_INFINITY, problem)
  }

  #onMark(token: string, pid: number): void {
    const mark = this.#marks.get(token)
    if (mark === undefined || mark.pid !== pid) return
    this.#marks.delete(token)
    mark.onSeen()
  }

  /** The exchange was committed, and in the order of notifications this is its place. */
  #onBatchDone(batch: Batch): void {
    this.#batch = null
    this.channels.settle(batch.changes, true)
    for (const wish of batch.wishes) this.#wishes.grant(wish)
    this.#inform()
  }

  /** Everything is listened to again: whoever missed something learns of it. */
  #inform(): void {
    if (this.#uninformed.size === 0 || this.channels.isAnyMissing) return
    const uninformed = [...this.#uninformed]
    this.#uninformed.clear()
    for (const subscriber of uninformed) subscriber.onGap()
  }

  /** The exchange was not committed, or lacks its mark. */
  #unanswered(batch: Batch, problem: Problem): void {
    this.#batch = null
    this.#marks.delete(batch.token)
    this.channels.settle(batch.changes, false)
    this.#parts.warn(`Postgres does not listen to channels: ${problem.code} ${problem.message}`)
    for (const wish of batch.wishes) this.#wishes.refuse(wish, problem)
    if (batch.wishes.length > 0) return
    // What was listened to before is not any more, and nobody waits for it who could be told.
    this.#server?.close()
    this.onGone(problem)
  }

  #end(): void {
    this.#server?.close()
    this.#dropServer()
  }

  #dropServer(): void {
    if (this.#server === null) return
    if (this.#heardAt > 0) this.#noteGap()
    this.#server = null
    this.#deadline = this.#heardAt = 0
    this.authors.clear()
    const batch = this.#batch
    this.#batch = null
    this.channels.lost()
    const marks = [...this.#marks.values()]
    this.#marks.clear()
    // Whether it was committed is not known, and a sign of it may have been seen.
    if (batch !== null) for (const wish of batch.wishes) this.#wishes.refuse(wish, NO_CONNECTION)
    for (const mark of marks) mark.onLost()
    this.#parts.onClosed()
  }

  #noteGap(): void {
    for (const subscriber of this.channels.everybody()) this.#uninformed.add(subscriber)
    if (this.#uninformed.size > 0) this.#parts.counters.listenerLosses++
  }

  #open(): void {
    const route = this.#parts.route()
    if (route === null) {
      // Who waits has something else to do meanwhile.
      this.#wishes.refuseLate(Number.POSITIVE_INFINITY, NO_PLACE)
      return
    }
    this.#deadline = this.#parts.time.now + Math.min(route.connectTimeoutMs, ANSWER_MS)
    this.#server = new ListeningServer({ ...this.#parts, route }, this)
  }

  #newToken(): string {
    return this.#parts.random.bytes(TOKEN_BYTES).toString('hex')
  }

  /** Sends what is to be changed, if the connection is free; opens it if there is none. */
  #pump(): void {
    const server = this.#server
    if (server === null) {
      if (this.#isNeeded) this.serve()
      return
    }
    if (!server.isOpen || server.isAsking) return
    const changes = this.channels.take(BATCH_MAX)
    const wishes = this.#wishes.takeComplete()
    if (wishes.length + changes.listen.length + changes.unlisten.length === 0) {
      this.#inform()
      return
    }
    const batch: Batch = { changes, wishes, token: this.expect(this.#markOf()) }
    this.#batch = batch
    this.#deadline = this.#parts.time.now + ANSWER_MS
    server.run(this.#textOf(batch))
  }

  #markOf(): Mark {
    return {
      pid: this.pid,
      onSeen: () => {
        if (this.#batch !== null) this.#onBatchDone(this.#batch)
      },
      onLost: () => {},
    }
  }

  /** One text is one transaction. */
  #textOf({ changes, wishes, token }: Batch): Buffer {
    const parts = [`LISTEN ${quotedChannel(this.channel)}`]
    for (const { name } of changes.unlisten) parts.push(`UNLISTEN ${quotedChannel(name)}`)
    for (const { name } of changes.listen) parts.push(`LISTEN ${quotedChannel(name)}`)
    for (const { sign } of wishes) if (sign !== '') parts.push(`NOTIFY ${quotedChannel(sign)}`)
    parts.push(`NOTIFY ${quotedChannel(this.channel)}, '${token}'`)
    return Buffer.from(parts.join(';'), 'latin1')
  }
}
