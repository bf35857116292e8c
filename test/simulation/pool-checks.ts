// Owns: what must hold in a world of pools after each event. Must never change the world.

import type { Waiter } from '../../src/pool/types.ts'
import type { PoolWorld, SimClient, SimPool, SimServer } from './pool-world.ts'
import { Violation } from './pool-world.ts'

/** How many later ones may be served before the first. */
const PASS_MAX = 8
/** Longest and shortest time between a failed login and the next. */
const BACKOFF_MOST = 250
const BACKOFF_LEAST = 50

/** All of it. @throws Violation */
export function checkWorld(world: PoolWorld): void {
  checkLists(world)
  checkLimits(world)
  for (const pool of world.pools) {
    checkConserving(world, pool)
    checkGrowth(world, pool)
    checkDeadlines(world, pool)
  }
}

function checkLists(world: PoolWorld): void {
  const places = new Map<SimServer, string[]>()
  for (const { idle, active, opening, testing } of world.pools) {
    for (const [name, list] of Object.entries({ idle, active, opening, testing })) {
      for (const server of list) places.set(server, [...(places.get(server) ?? []), name])
    }
  }
  for (const server of world.servers) {
    const found = places.get(server) ?? []
    const expected = server.state === 'closed' ? '' : server.state
    if (found.join() !== expected)
      throw new Violation(`a server that is ${server.state} is in [${found.join()}]`)
    if (server.state !== 'active' && server.client !== null)
      throw new Violation(`${server.state} with a client`)
    if (server.state === 'active' && server.client === null) throw new Violation('active without a client')
    places.delete(server)
  }
  if (places.size > 0) throw new Violation('a list holds a server of nobody')
}

/** Servers of the pools that match, servers outside included, counted by hand. */
function count(world: PoolWorld, matches: (pool: SimPool) => boolean): number {
  let sum = 0
  for (const server of world.servers) if (server.state !== 'closed' && matches(server.pool)) sum++
  for (const [pool, outside] of world.outside) if (matches(pool)) sum += outside
  return sum
}

/** The shared limits that this pool is under, each with the pools that share it. */
function sharedLimits(world: PoolWorld, pool: SimPool): [max: number, shares: (other: SimPool) => boolean][] {
  const { process, database, user } = world.limits.limits
  return [
    [process, () => true],
    [database(pool.database), (other) => other.database === pool.database],
    [user(pool.user), (other) => other.user === pool.user],
  ]
}

function checkLimits(world: PoolWorld): void {
  for (const pool of world.pools) {
    for (const [max, shares] of sharedLimits(world, pool)) {
      const servers = count(world, shares)
      if (max > 0 && servers > max) throw new Violation(`${servers} servers where ${max} may be`)
    }
  }
}

/** Before a server is opened: there is room for it, and the pool is not to be left alone. */
export function checkOpening(world: PoolWorld, pool: SimPool): void {
  const { size, reserveSize, reserveTimeoutMs, maxLogins } = pool.limits
  const now = world.queue.now()
  const existing = world.servers.filter((server) => server.pool === pool && server.state !== 'closed')
  const first = pool.waiting.first as SimClient | null
  const longest = first === null ? 0 : now - first.askedAt
  const max = longest >= reserveTimeoutMs ? size + reserveSize : size
  if (existing.length >= max) throw new Violation(`a server is opened beside ${existing.length} of ${max}`)
  const logins = existing.filter((server) => server.state === 'opening').length
  if (logins >= maxLogins) throw new Violation(`${logins} logins are under way`)
  const failedAt = world.failedAt.get(pool)
  if (failedAt !== undefined && now - failedAt < BACKOFF_LEAST)
    throw new Violation('no back-off after a failed login')
  if (pool.isPaused) throw new Violation('a paused pool opens a server')
}

/** At a grant: nobody who came before could have used it as well, and the first is not passed for ever. */
export function checkGrant(world: PoolWorld, client: SimClient, server: SimServer): void {
  const { pool } = client
  if (pool.isPaused) throw new Violation('a paused pool grants')
  if (server.isRetired && world.queue.now() > (world.tickedAt.get(pool) ?? 0) + world.tickMs) {
    throw new Violation('a retired server is given to a client')
  }
  let first: SimClient | null = null
  for (const other of world.clients) {
    if (other.pool !== pool || other === client || !other.isWaiting || other.arrival > client.arrival)
      continue
    // Unless this one wants just the settings that the server has.
    const isPassedFor = server.settings === client.wantedSettings && server.settings !== other.wantedSettings
    if (other.baseline === server.baseline && !isPassedFor)
      throw new Violation('served before one who came earlier')
    if (first === null || other.arrival < first.arrival) first = other
  }
  if (first !== null && ++first.passed > PASS_MAX)
    throw new Violation('the first in the queue was passed over too often')
}

/** Never somebody who waits and an idle server that he could have. */
function checkConserving(world: PoolWorld, pool: SimPool): void {
  const { first } = pool.waiting
  if (first === null || pool.isPaused || pool.idle.length === 0) return
  const has = (baseline: string) => pool.idle.some((server) => server.baseline === baseline)
  if (has(first.baseline)) throw new Violation('the first waits although a server is idle')
  if (first.passedOver >= PASS_MAX) return
  if (pool.waiting.find((waiter) => has(waiter.baseline)) !== null) {
    throw new Violation(`a waiter and a server that fits, at ${world.queue.now()}`)
  }
}

/** Each waiter has a server on its way, or something explains why not. */
function checkGrowth(world: PoolWorld, pool: SimPool): void {
  const { waiting, opening, limits } = pool
  if (waiting.size === 0 || pool.isPaused) return
  const waiter = firstUncovered(pool)
  if (waiter === null) return
  if (opening.size >= limits.maxLogins) return
  const looked = world.tickedAt.get(pool)!
  const failedAt = world.failedAt.get(pool)
  if (failedAt !== undefined && looked - failedAt <= BACKOFF_MOST) return
  const hasReserve = looked - waiter.waitingSince >= limits.reserveTimeoutMs
  const max = hasReserve ? limits.size + limits.reserveSize : limits.size
  if (pool.size - pool.idle.length >= max) return
  for (const [most, shares] of sharedLimits(world, pool)) {
    const isFull = most > 0 && count(world, shares) >= most
    const canEvict = world.pools.some(
      (other) => shares(other) && other.idle.length > 0 && other.waiting.size === 0,
    )
    if (isFull && !canEvict) return
  }
  throw new Violation('somebody waits, and nothing is done about it')
}

/** The first waiter for whom no server is under way. */
function firstUncovered({ waiting, opening, testing }: SimPool): Waiter<SimServer> | null {
  const underWay = new Map<string, number>()
  for (const list of [opening, testing]) {
    for (const { baseline } of list) underWay.set(baseline, (underWay.get(baseline) ?? 0) + 1)
  }
  for (const waiter of waiting.all()) {
    const servers = underWay.get(waiter.baseline) ?? 0
    if (servers === 0) return waiter
    underWay.set(waiter.baseline, servers - 1)
  }
  return null
}

function checkDeadlines(world: PoolWorld, pool: SimPool): void {
  const looked = world.tickedAt.get(pool)!
  for (const waiter of pool.waiting.all()) {
    if (waiter.waitDeadline <= looked) throw new Violation('a waiter was not refused at its deadline')
  }
}
