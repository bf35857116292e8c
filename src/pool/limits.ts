// Limits on servers that go beyond one pool: per database, per user, per process; and which pool gets a place
// that becomes free. It owns the list of pools and of those that starve; counts are always taken from the
// pools.
import type { PooledServer } from './types.ts'

/** What the limits see of a pool: they do not care what kind of server it holds. */
export interface AnyPool {
  readonly database: string
  readonly user: string
  readonly size: number
  readonly idle: readonly PooledServer[]
  readonly waiting: { readonly size: number; readonly first: { readonly waitingSince: number } | null }
  /** Its servers count for no pool's size. */
  readonly isOutside?: boolean
  serve(): void
  evict(reason: string): boolean
}

/** Most servers; 0: no limit. */
export interface SharedLimits {
  process: number
  database(name: string): number
  user(name: string): number
}

export class Limits {
  limits: SharedLimits
  /** Since the limits were replaced, more servers may be there than they allow. */
  #isShrinking = false
  readonly #pools = new Set<AnyPool>()
  /**
   * Pools with waiters that a shared limit keeps from opening, in the order in which they began to starve.
   */
  readonly #starving = new Set<AnyPool>()
  #isServing = false
  /** A place became free while the starving were served. */
  #serveAgain = false
  /** Servers that belong to no pool (replication), by the pool whose place they count for. */
  readonly #outside = new Map<AnyPool, number>()

  constructor(limits: SharedLimits) {
    this.limits = limits
  }

  /** Other limits count from now on. What is too much goes when it is free; who starves tries again. */
  configure(limits: SharedLimits): void {
    this.limits = limits
    this.#isShrinking = true
    this.serveStarving()
  }

  get isShrinking(): boolean {
    return this.#isShrinking
  }

  /** Does this pool share a limit that more servers are there for than it allows? */
  isOver(pool: AnyPool): boolean {
    return this.#bindingPools(pool, 1) !== null
  }

  /** Time has passed: is everything within the limits by now? */
  tick(): void {
    if (!this.#isShrinking) return
    for (const pool of this.#pools) if (this.isOver(pool)) return
    this.#isShrinking = false
  }

  add(pool: AnyPool): void {
    this.#pools.add(pool)
  }

  remove(pool: AnyPool): void {
    this.#pools.delete(pool)
    this.#starving.delete(pool)
    this.#outside.delete(pool)
  }

  /** A server of a client's own was opened (+1) or closed (-1). */
  countOutside(pool: AnyPool, by: 1 | -1): void {
    this.#outside.set(pool, (this.#outside.get(pool) ?? 0) + by)
    if (by < 0) this.serveStarving()
  }

  get isAnyStarving(): boolean {
    return this.#starving.size > 0
  }

  notStarving(pool: AnyPool): void {
    if (pool.waiting.size === 0) this.#starving.delete(pool)
  }

  hasRoom(pool: AnyPool): boolean {
    return this.#bindingPools(pool) === null
  }

  /**
   * Room for one more server of this pool, if need be by closing an idle one of another; else the pool
   * starves.
   * @param _isReserve it would be one of the pool's reserve
   */
  makeRoom(pool: AnyPool, _isReserve = false): boolean {
    const hasRoom = this.#makeRoom(pool)
    if (hasRoom) this.#starving.delete(pool)
    else this.starve(pool)
    return hasRoom
  }

  protected starve(pool: AnyPool): void {
    this.#starving.add(pool)
  }

  /** The same for a server of a client's own, for which nobody waits for long. */
  askOutside(pool: AnyPool, answer: (hasRoom: boolean) => void): void {
    answer(this.#makeRoom(pool))
  }

  /** A connection is closed here and not yet by Postgres (+1), or by both (-1): for places that are lent. */
  countLeaving(_pool: AnyPool, _by: 1 | -1): void {}

  #makeRoom(pool: AnyPool): boolean {
    for (;;) {
      const rivals = this.#bindingPools(pool)
      if (rivals === null) return true
      if (!evictLongestIdle(rivals, pool)) return false
    }
  }

  /**
   * Should a server that this pool has free go to a starving one? Only to one that waits longer and has less.
   */
  owesTo(pool: AnyPool): boolean {
    const own = pool.waiting.first
    for (const other of this.#starving) {
      const waiter = other.waiting.first
      if (other === pool || waiter === null || !this.#bindingPools(other)?.includes(pool)) continue
      if (own === null || (waiter.waitingSince < own.waitingSince && other.size < pool.size)) return true
    }
    return false
  }

  /** Somebody in another process has waited for so long that this pool's next free server is for them. */
  isPressed(_pool: AnyPool): boolean {
    return false
  }

  /** A server that this pool has free goes to one that it owes it to. */
  giveUp(pool: AnyPool): void {
    pool.evict('its place is owed to another pool')
    this.serveStarving()
  }

  /** A place may have become free: the pools that starve try again, in turn. */
  serveStarving(): void {
    if (this.#starving.size === 0) return
    if (this.#isServing) {
      this.#serveAgain = true
      return
    }
    this.#isServing = true
    do {
      this.#serveAgain = false
      for (const pool of [...this.#starving]) {
        this.#starving.delete(pool)
        pool.serve()
      }
    } while (this.#serveAgain)
    this.#isServing = false
  }

  /** The limit that keeps this pool from opening, by its option, and who shares it; null: none does. */
  bindingOf(pool: AnyPool): { readonly option: string; readonly pools: readonly AnyPool[] } | null {
    const { process, database, user } = this.limits
    const { database: of, user: by } = pool
    const kinds: readonly (readonly [string, number, (other: AnyPool) => boolean])[] = [
      ['pool.max_servers', process, () => true],
      ['max_servers of the database', database(of), (other) => other.database === of],
      ['max_servers of the user', user(by), (other) => other.user === by],
    ]
    for (const [option, max, shares] of kinds) {
      const pools = this.#full(max, shares)
      if (pools !== null) return { option, pools }
    }
    return null
  }

  /**
   * The pools that share the limit which keeps this pool from opening, or null when none does. `surplus`: so
   * many servers above the limit.
   */
  #bindingPools(pool: AnyPool, surplus = 0): AnyPool[] | null {
    const { process, database, user } = this.limits
    const above = (max: number): number => (max === 0 ? 0 : max + surplus)
    return (
      this.#full(above(process), () => true) ??
      this.#full(above(database(pool.database)), (other) => other.database === pool.database) ??
      this.#full(above(user(pool.user)), (other) => other.user === pool.user)
    )
  }

  #full(max: number, shares: (pool: AnyPool) => boolean): AnyPool[] | null {
    if (max === 0) return null
    const pools: AnyPool[] = []
    let servers = 0
    for (const pool of this.#pools) {
      if (!shares(pool)) continue
      pools.push(pool)
      servers += pool.size + (this.#outside.get(pool) ?? 0)
    }
    return servers >= max ? pools : null
  }
}

function evictLongestIdle(pools: AnyPool[], wanting: AnyPool): boolean {
  let longest: AnyPool | null = null
  let since = Number.POSITIVE_INFINITY
  for (const pool of pools) {
    const server: PooledServer | undefined = pool.idle[0]
    if (server === undefined || server.idleSince >= since) continue
    // Another pool with waiters keeps what it has and grants in its own turn. What the pool itself has left
    // is of no use to those who wait in it.
    if (pool !== wanting && pool.waiting.size > 0) continue
    longest = pool
    since = server.idleSince
  }
  return longest?.evict('its place is wanted by another pool') ?? false
}
