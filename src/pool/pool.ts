// One pool: the servers of one (database, user) and the clients that wait for one. It owns the lists and the
// wait queue, and `serve` is the only place where a server is granted or opened. It knows no sockets and no
// timers: time comes from a clock, the janitor calls `tick`.
import type { Clock, Random } from '../util/env.ts'
import { Backoff } from './backoff.ts'
import type { Limits } from './limits.ts'
import { tooManyWaiting, waitedTooLong } from './refusals.ts'
import { reasonIdle, reasonToRetire, unseenFor } from './retirement.ts'
import { move } from './states.ts'
import { nextWaiter } from './next-waiter.ts'
import type { OpenFailure, OpenServer, PooledServer, PoolLimits, Refusal, Waiter } from './types.ts'
import { UnderWay } from './under-way.ts'
import { WaitQueue } from './wait-queue.ts'

/** How many idle servers are looked at for the wanted settings. */
const LOOK_MAX = 32

/** What a pool is made of. */
export interface PoolParts<S extends PooledServer> {
  database: string
  user: string
  limits: PoolLimits
  shared: Limits
  clock: Clock
  random: Random
  open: OpenServer<S>
}

export class Pool<S extends PooledServer> {
  readonly database: string
  readonly user: string
  limits: PoolLimits
  /** Free and clean; the one to be granted next is at the end. */
  readonly idle: S[] = []
  readonly active = new Set<S>()
  readonly opening = new Set<S>()
  readonly testing = new Set<S>()
  readonly waiting = new WaitQueue<S>()
  isPaused = false
  /** The last login that failed, while none has succeeded since. */
  lastFailure: OpenFailure | null = null
  /** Since when none has succeeded. */
  failingSince = 0
  readonly shared: Limits
  readonly #clock: Clock
  readonly #open: OpenServer<S>
  readonly #backoff: Backoff
  #isServing = false
  #serveAgain = false
  /** More servers were closed than are opened in their place. */
  #hasFreedPlaces = false

  constructor(parts: PoolParts<S>) {
    this.database = parts.database
    this.user = parts.user
    this.limits = parts.limits
    this.shared = parts.shared
    this.#clock = parts.clock
    this.#open = parts.open
    this.#backoff = new Backoff(parts.random)
    this.shared.add(this)
  }

  /** Servers that exist or are being opened. */
  get size(): number {
    return this.idle.length + this.active.size + this.opening.size + this.testing.size
  }

  /**
   * A client wants a server.
   * @returns one at once, or null: it waits, and hears from `onGrant` or `onRefuse`. Both may come before
   * this returns: where those in front of it wait for another baseline, or nobody may wait.
   */
  acquire(waiter: Waiter<S>): S | null {
    if (this.waiting.size === 0 && !this.isPaused) {
      const server = this.#pick(waiter)
      if (server !== null) {
        this.#take(server)
        waiter.lastServer = server
        return server
      }
    }
    if (this.limits.maxWaiting > 0 && this.waiting.size >= this.limits.maxWaiting) {
      waiter.onRefuse(tooManyWaiting(this.limits.maxWaiting))
      return null
    }
    const now = this.#clock.now()
    // Who goes in front has those behind it to speak for, too.
    waiter.waitingSince = waiter.isUrgent === true ? (this.waiting.first?.waitingSince ?? now) : now
    waiter.waitDeadline = now + this.limits.queryWaitTimeoutMs
    waiter.passedOver = 0
    this.waiting.push(waiter)
    this.serve()
    return null
  }

  /** For how long somebody has waited, ms. */
  waitedBy({ waitingSince }: Waiter<S>): number {
    return this.#clock.now() - waitingSince
  }

  /** For how long a server has been open, ms. */
  ageOf({ openedAt }: S): number {
    return this.#clock.now() - openedAt
  }

  /** A client does not want a server any more. */
  leave(waiter: Waiter<S>): void {
    this.waiting.remove(waiter)
    this.shared.notStarving(this)
    if (this.idle.length > 0) this.#offerPlace(false)
  }

  /** A leased server is free and clean. It goes to the next waiter at once. */
  release(server: S): void {
    this.active.delete(server)
    move(server, 'idle')
    server.idleSince = this.#clock.now()
    this.#keep(server)
    const reason = reasonToRetire(this, server, this.shared)
    if (reason !== null) this.#drop(server, reason)
    if (this.waiting.size > 0) this.serve()
    this.#offerPlace(reason !== null)
  }

  /** A login has succeeded. */
  opened(server: S): void {
    this.opening.delete(server)
    this.#backoff.succeeded()
    this.lastFailure = null
    server.openedAt = this.#clock.now()
    this.#nowIdle(server)
  }

  /** A login has failed; the server is closed. */
  openFailed(server: S, failure: OpenFailure): void {
    this.opening.delete(server)
    move(server, 'closed')
    const isHopeless = failure.isFinal && !this.#hasActive(server.baseline)
    // What Postgres has against one client's startup parameters must not hold up the others. But whoever goes
    // on waiting must not try again at once.
    if (!isHopeless || server.baseline === '') {
      this.#backoff.failed(this.#clock.now())
      if (this.lastFailure === null) this.failingSince = this.#clock.now()
      this.lastFailure = failure
    }
    if (isHopeless) this.refuseAll(failure.refusal, server.baseline)
    this.serve()
    this.shared.serveStarving()
  }

  /** An idle server has answered `test`. */
  tested(server: S): void {
    this.testing.delete(server)
    this.#nowIdle(server)
  }

  /** A server that was not opening is gone. */
  closed(server: S): void {
    if (server.state === 'closed') return
    this.#forget(server)
    move(server, 'closed')
    this.serve()
    this.shared.serveStarving()
  }

  /** Grants and opens what can be granted and opened. Safe to call at any time. */
  serve(): void {
    if (this.#isServing) {
      this.#serveAgain = true
      return
    }
    this.#isServing = true
    try {
      do {
        this.#serveAgain = false
        this.#grantAll()
        this.#openMissing()
      } while (this.#serveAgain)
    } finally {
      this.#isServing = false
    }
    const hasFreed = this.#hasFreedPlaces
    this.#hasFreedPlaces = false
    if (hasFreed || this.idle.length > 0) this.#offerPlace(hasFreed)
  }

  /** Other limits count from now on, for those who wait already too. */
  configure(limits: PoolLimits): void {
    this.limits = limits
    for (const one of this.waiting.all()) one.waitDeadline = one.waitingSince + limits.queryWaitTimeoutMs
    this.tick(this.#clock.now())
  }

  /** No server is granted or opened until `resume`; what is free is closed, the others when they are. */
  pause(): void {
    this.isPaused = true
    this.#closeFree('paused')
  }

  resume(): void {
    this.isPaused = false
    this.serve()
  }

  /** None of the servers that are there is granted again; what failed before says nothing about new ones. */
  retire(): void {
    for (const list of [this.active, this.testing]) for (const server of list) server.isRetired = true
    this.lastFailure = null
    this.#backoff.succeeded()
    this.#closeFree('retired')
    this.serve()
  }

  #closeFree(reason: string): void {
    while (this.idle.length > 0) this.#drop(this.idle[0], reason)
    for (const server of [...this.opening]) server.close(reason)
    this.#offerPlace(true)
  }

  /** Closes an idle server for somebody else. @returns false when there is none. */
  evict(reason: string): boolean {
    if (this.idle.length === 0) return false
    this.#drop(this.idle[0], reason)
    return true
  }

  /** Time has passed. Waiters are refused, idle servers retired and looked at, the minimum is kept. */
  tick(now: number): void {
    for (const waiter of this.waiting.expired(now))
      waiter.onRefuse(waitedTooLong(this, now - waiter.waitingSince, this.lastFailure?.refusal ?? null))
    const before = this.idle.length
    for (let index = before - 1; index >= 0; index--) {
      const server = this.idle[index]
      const reason = reasonToRetire(this, server, this.shared) ?? reasonIdle(this, server, now)
      if (reason !== null) this.#drop(server, reason)
    }
    const unseen = this.testing.size === 0 ? unseenFor(this.limits.leakCheckMs, this.idle, now) : null
    if (unseen !== null) this.#startTest(unseen, true)
    const isAnyClosed = this.idle.length < before
    if (this.waiting.size > 0) this.serve()
    else if (!this.isPaused) this.#keepMinimum(now)
    if (isAnyClosed || this.idle.length > 0) this.#offerPlace(isAnyClosed)
  }

  #nowIdle(server: S): void {
    move(server, 'idle')
    server.idleSince = this.#clock.now()
    this.#keep(server)
    const reason = server.isRetired ? 'retired' : this.isPaused ? 'paused' : null
    if (reason !== null) this.#drop(server, reason)
    this.serve()
    this.#offerPlace(reason !== null)
  }

  /** To the pools that starve, if there is one: a server was closed, or the idle ones are not wanted here. */
  #offerPlace(isClosed: boolean): void {
    if (this.shared.isAnyStarving && (isClosed || this.waiting.size === 0)) this.shared.serveStarving()
  }

  #grantAll(): void {
    while (this.waiting.size > 0 && this.idle.length > 0 && !this.isPaused) {
      if (this.shared.isAnyStarving && this.shared.owesTo(this)) {
        this.shared.giveUp(this)
        continue
      }
      const waiter = nextWaiter(this.waiting, this.idle)
      if (waiter === null) return
      const server = this.#pick(waiter)
      // Null: those that suit are being tested now. What else is idle may suit another waiter.
      if (server === null) continue
      this.waiting.remove(waiter)
      this.#take(server)
      waiter.lastServer = server
      waiter.onGrant(server)
    }
  }

  /**
   * The idle server that suits best: the last one used, one with equal settings, the one used last by
   * anybody.
   */
  #pick(waiter: Waiter<S>): S | null {
    const idle = this.idle
    const last = waiter.lastServer
    const mayStay = last !== null && last.state === 'idle' && !this.limits.serverRoundRobin
    if (mayStay && last.settings === waiter.wantedSettings) {
      if (last.baseline === waiter.baseline && !this.#needsTest(last) && idle.includes(last)) return last
    }
    let found: S | null = null
    const lowest = Math.max(0, idle.length - LOOK_MAX)
    for (let index = idle.length - 1; index >= 0; index--) {
      const server = idle[index]
      if (server.baseline !== waiter.baseline) continue
      if (this.#needsTest(server)) {
        this.#startTest(server)
        continue
      }
      if (server.settings === waiter.wantedSettings) return server
      if (found === null) found = server
      else if (index < lowest) break
    }
    return found
  }

  #needsTest(server: S): boolean {
    const delay = this.limits.serverCheckDelayMs
    return delay > 0 && this.#clock.now() - server.idleSince > delay
  }

  #startTest(server: S, isLook = false): void {
    this.#removeIdle(server)
    move(server, 'testing')
    this.testing.add(server)
    if (isLook) server.inspect()
    else server.test()
  }

  #take(server: S): void {
    this.#removeIdle(server)
    move(server, 'active')
    this.active.add(server)
  }

  /** Who is at the end is next: the one used last, or with round robin the one free for longest. */
  #keep(server: S): void {
    if (this.limits.serverRoundRobin) this.idle.unshift(server)
    else this.idle.push(server)
  }

  #removeIdle(server: S): void {
    const idle = this.idle
    if (idle[idle.length - 1] === server) idle.pop()
    else idle.splice(idle.indexOf(server), 1)
  }

  /** Opens servers for the waiters that none of those under way is for. */
  #openMissing(): void {
    if (this.isPaused || this.waiting.size === 0) return
    // The usual case of a busy pool, on the path of every release: no room and nothing to evict.
    if (this.idle.length === 0 && this.size >= this.limits.size + this.limits.reserveSize) return
    const now = this.#clock.now()
    if (!this.#backoff.isOver(now)) return
    const underWay = new UnderWay(this.opening, this.testing)
    for (const waiter of this.waiting.all()) {
      if (this.opening.size >= this.limits.maxLogins) return
      if (underWay.take(waiter.baseline)) continue
      if (!this.#makeRoom(now - waiter.waitingSince)) return
      this.#openOne(waiter.baseline)
    }
  }

  /** Is there room for one more server, if need be by closing one that only waits? */
  #makeRoom(waitedMs: number): boolean {
    const reserve = waitedMs >= this.limits.reserveTimeoutMs ? this.limits.reserveSize : 0
    const sizeMax = this.limits.size + reserve
    const surplus = this.size + 1 - sizeMax
    if (surplus > this.idle.length) return false
    for (let count = 0; count < surplus; count++) this.evict('another baseline is wanted')
    if (surplus > 1) this.#hasFreedPlaces = true
    return this.shared.makeRoom(this, reserve > 0)
  }

  #openOne(baseline: string): void {
    this.opening.add(this.#open(baseline))
  }

  #keepMinimum(now: number): void {
    const { size, minSize, maxLogins } = this.limits
    if (this.size >= Math.min(size, minSize) || this.opening.size >= maxLogins) return
    if (this.#backoff.isOver(now) && this.shared.hasRoom(this)) this.#openOne('')
  }

  /** Closes an idle server. */
  #drop(server: S, reason: string): void {
    this.#removeIdle(server)
    move(server, 'closed')
    server.close(reason)
  }

  #forget(server: S): void {
    if (server.state === 'idle') this.#removeIdle(server)
    this.active.delete(server)
    this.testing.delete(server)
    this.opening.delete(server)
  }

  #hasActive(baseline: string): boolean {
    for (const server of this.active) if (server.baseline === baseline) return true
    return false
  }

  /** There will be no server, or none of this baseline: those who wait for one hear why. */
  refuseAll(refusal: Refusal, baseline: string | null = null): void {
    const all = this.waiting.takeAll((one) => baseline === null || one.baseline === baseline)
    for (const waiter of all) waiter.onRefuse(refusal)
    this.shared.notStarving(this)
  }
}
