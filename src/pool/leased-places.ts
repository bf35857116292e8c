// The limits of one process among several: no server is opened without a place that was granted to this
// process, and a place goes back when the server's connection has ended. It owns the places that it was
// granted; who gets one is decided where all are counted (place-broker.ts).
import { type AnyPool, Limits, type SharedLimits } from './limits.ts'
import { type Demand, isInScope, type Place, type PlaceOffice, type Want } from './places.ts'

/** A server that has been idle for so long is given up for others at once. */
const QUIET_MS = 10
/** Somebody elsewhere who has waited for so long is served in turn with those who wait here. */
const TURN_MS = 100
/** How often a place for the minimum is asked for, and how long it may stay unused. */
const MINIMUM_MS = 1000
/** How long a server of a client's own waits for a place. */
const OUTSIDE_MS = 1000

/** What a pool was granted. */
interface Lease {
  readonly place: Place
  held: number
  /** Its connections that were closed here and not yet by Postgres. */
  leaving: number
  /** Places that go back as soon as their servers have gone. */
  promised: number
  want: Want | null
  askedMinimumAt: number
  keptUntil: number
}

interface LocalDemand extends Demand {
  /** `since` by our own clock. */
  readonly waitingSince: number
  isMet: boolean
}

interface Wall {
  /** Milliseconds, as the pools count them. */
  readonly now: () => number
  /** Milliseconds since 1970. */
  readonly wall: () => number
}

export class LeasedPlaces extends Limits {
  readonly #office: PlaceOffice
  readonly #time: Wall
  readonly #leases = new Map<AnyPool, Lease>()
  /** Servers of clients' own: what waits for a place, by number. */
  readonly #outside = new Map<number, { place: Place; until: number; answer: (hasRoom: boolean) => void }>()
  #demands: LocalDemand[] = []
  #lastId = 0

  constructor(limits: SharedLimits, office: PlaceOffice, time: Wall) {
    super(limits)
    this.#office = office
    this.#time = time
  }

  // ---- for pools ----

  override makeRoom(pool: AnyPool, isReserve = false): boolean {
    if (!super.makeRoom(pool)) return false
    const lease = this.#leaseOf(pool)
    if (this.#spare(pool, lease) > 0) return true
    this.starve(pool)
    this.#want(pool, lease, { isReserve, isMinimum: false })
    return false
  }

  override hasRoom(pool: AnyPool): boolean {
    if (!super.hasRoom(pool)) return false
    const lease = this.#leaseOf(pool)
    if (this.#spare(pool, lease) > 0) return true
    const now = this.#time.now()
    if (lease.want === null && now - lease.askedMinimumAt > MINIMUM_MS) {
      lease.askedMinimumAt = now
      this.#want(pool, lease, { isReserve: false, isMinimum: true })
    }
    return false
  }

  override askOutside(pool: AnyPool, answer: (hasRoom: boolean) => void): void {
    const id = ++this.#lastId
    const { database, user } = pool
    const place: Place = { kind: 'outside', database, user }
    this.#outside.set(id, { place, until: this.#time.now() + OUTSIDE_MS, answer })
    const since = this.#time.wall()
    this.#office.want({ id, place, isReserve: false, isMinimum: false, since, size: 0 })
  }

  override countOutside(pool: AnyPool, by: 1 | -1): void {
    super.countOutside(pool, by)
    const { database, user } = pool
    if (by < 0) this.#office.giveBack({ kind: 'outside', database, user }, 1)
  }

  override countLeaving(pool: AnyPool, by: 1 | -1): void {
    const lease = this.#leaseOf(pool)
    lease.leaving += by
    if (by > 0) return
    if (lease.promised === 0 && pool.waiting.size > 0) pool.serve()
    this.#settle(pool, lease)
  }

  override notStarving(pool: AnyPool): void {
    super.notStarving(pool)
    const lease = this.#leases.get(pool)
    if (pool.waiting.size === 0 && lease !== undefined) this.#unwant(lease)
  }

  override remove(pool: AnyPool): void {
    super.remove(pool)
    const lease = this.#leases.get(pool)
    if (lease === undefined) return
    this.#unwant(lease)
    if (lease.held > 0) this.#office.giveBack(lease.place, lease.held)
    this.#leases.delete(pool)
  }

  override get isAnyStarving(): boolean {
    return super.isAnyStarving || this.#demands.length > 0
  }

  override serveStarving(): void {
    super.serveStarving()
    for (const [pool, lease] of this.#leases) this.#settle(pool, lease)
  }

  override owesTo(pool: AnyPool): boolean {
    const [server] = pool.idle
    // One that went at once would have been a login for nothing.
    const isNew = server !== undefined && this.#time.now() - server.openedAt < TURN_MS
    return !(isNew && pool.waiting.size > 0) && (super.owesTo(pool) || this.isPressed(pool))
  }

  override isPressed(pool: AnyPool): boolean {
    return this.#owed(pool) !== undefined
  }

  override giveUp(pool: AnyPool): void {
    const demand = this.#owed(pool)
    if (demand !== undefined) demand.isMet = true
    // Also where a pool of this process is meant: it stands in the one queue of all.
    this.#leaseOf(pool).promised++
    super.giveUp(pool)
  }

  override tick(): void {
    super.tick()
    const now = this.#time.now()
    for (const [pool, lease] of this.#leases) {
      if (lease.want?.isMinimum === false) {
        // A server that was given back may have been enough.
        if (pool.waiting.size === 0) this.#unwant(lease)
        else this.#want(pool, lease, lease.want)
      }
      this.#settle(pool, lease)
    }
    for (const [id, { until, answer }] of this.#outside) {
      if (now < until) continue
      this.#outside.delete(id)
      this.#office.unwant(id)
      answer(false)
    }
    this.#yield()
  }

  // ---- from where places are given out ----

  /** A place was granted. One that is not wanted any more goes back. */
  granted(id: number, place: Place): void {
    const outside = this.#outside.get(id)
    if (outside !== undefined) {
      this.#outside.delete(id)
      outside.answer(true)
      return
    }
    for (const [pool, lease] of this.#leases) {
      if (lease.want?.id !== id) continue
      const { isMinimum } = lease.want
      lease.want = null
      lease.held++
      // Whoever is served first may lead to others: it is this pool's until it has been its turn.
      lease.keptUntil = this.#time.now() + MINIMUM_MS
      this.serveStarving()
      if (!isMinimum) lease.keptUntil = 0
      this.#settle(pool, lease)
      return
    }
    this.#office.giveBack(place, 1)
  }

  /** A place that nobody waits for cannot be had. */
  refused(id: number): void {
    for (const lease of this.#leases.values()) if (lease.want?.id === id) lease.want = null
  }

  /** What others wait for; each list replaces the one before. */
  demand(demands: readonly Demand[]): void {
    const ahead = this.#time.wall() - this.#time.now()
    this.#demands = demands.map((one) => ({ ...one, waitingSince: one.since - ahead, isMet: false }))
    this.#yield()
  }

  // ---- places ----

  #leaseOf(pool: AnyPool): Lease {
    const { database, user } = pool
    const kind = pool.isOutside === true ? 'outside' : 'pool'
    const known = this.#leases.get(pool)
    // A hub may be another pool's than before, while it has no server.
    if (known !== undefined && known.place.database === database && known.place.user === user) return known
    if (known !== undefined) {
      this.#unwant(known)
      if (known.held > 0) return known
    }
    const place: Place = { kind, database, user }
    const lease = { place, held: 0, leaving: 0, promised: 0, want: null, askedMinimumAt: 0, keptUntil: 0 }
    this.#leases.set(pool, lease)
    return lease
  }

  #spare(pool: AnyPool, lease: Lease): number {
    return lease.held - pool.size - lease.leaving
  }

  #want(pool: AnyPool, lease: Lease, how: Pick<Want, 'isReserve' | 'isMinimum'>): void {
    const { isReserve, isMinimum } = how
    const { size, waiting } = pool
    const waitingSince = waiting.first?.waitingSince ?? this.#time.now()
    const known = lease.want
    const ahead = this.#time.wall() - this.#time.now()
    const since = Math.round(waitingSince + ahead)
    const isSame =
      known !== null &&
      known.isReserve === isReserve &&
      known.isMinimum === isMinimum &&
      known.size === size &&
      Math.abs(known.since - since) < QUIET_MS
    if (isSame) return
    lease.want = { id: known?.id ?? ++this.#lastId, place: lease.place, isReserve, isMinimum, since, size }
    this.#office.want(lease.want)
  }

  #unwant(lease: Lease): void {
    if (lease.want !== null) this.#office.unwant(lease.want.id)
    lease.want = null
  }

  /** What is not used goes back. */
  #settle(pool: AnyPool, lease: Lease): void {
    const spare = this.#spare(pool, lease)
    if (spare <= 0 || (lease.promised === 0 && lease.keptUntil > this.#time.now())) return
    lease.held -= spare
    lease.promised = Math.max(0, lease.promised - spare)
    this.#office.giveBack(lease.place, spare)
  }

  // ---- for others ----

  /** The wish of somebody elsewhere whose turn it is before those who wait here. */
  #owed(pool: AnyPool): LocalDemand | undefined {
    if (this.#demands.length === 0) return undefined
    const latest = this.#time.now() - TURN_MS
    const { first } = pool.waiting
    return this.#demands.find((demand) => {
      if (demand.isMet || demand.waitingSince > latest || !isInScope(demand, pool)) return false
      if (first === null || demand.since === 0) return true
      const hasLess = demand.size === 0 || demand.size + 1 < pool.size
      return hasLess && demand.waitingSince < first.waitingSince
    })
  }

  /** Idle servers that somebody elsewhere wants are closed. */
  #yield(): void {
    for (const demand of this.#demands) {
      if (demand.isMet) continue
      const pool = this.#longestIdle(demand)
      if (pool === null) continue
      demand.isMet = true
      this.#leaseOf(pool).promised++
      pool.evict('its place is wanted by another worker')
    }
  }

  #longestIdle(demand: LocalDemand): AnyPool | null {
    let found: AnyPool | null = null
    let since = this.#time.now() - (demand.waitingSince < this.#time.now() - TURN_MS ? 0 : QUIET_MS)
    for (const pool of this.#leases.keys()) {
      if (!isInScope(demand, pool) || pool.waiting.size > 0) continue
      const [server] = pool.idle
      if (server === undefined || server.idleSince > since) continue
      found = pool
      since = server.idleSince
    }
    return found
  }
}
