// The numbers of this process at this moment. Reads; changes nothing but its own record of how late the
// event loop was.
import { type Counters, TIME_BOUNDS_MS } from '../../observe/counters.ts'
import type { ConsoleSource } from '../console/types.ts'
import { COUNTS, GAUGES, type Reading, type Taker } from './types.ts'

/** The step of the coarse clock, by which lateness is seen. */
const TICK_MS = 50
const MICROS = 1e6

/** Where a reading comes from. */
export interface Numbers {
  /** The counters of all owners, those that are gone included. */
  owners(): Iterable<Counters>
}

/** How late the ticks came, the worst since each taker has asked. */
export class Lateness {
  readonly #worst: Record<Taker, number> = { now: 0, sample: 0 }
  #last = 0

  tick(now: number): void {
    const late = this.#last === 0 ? 0 : now - this.#last - TICK_MS
    this.#last = now
    if (late > this.#worst.now) this.#worst.now = late
    if (late > this.#worst.sample) this.#worst.sample = late
  }

  take(taker: Taker): number {
    const worst = this.#worst[taker]
    this.#worst[taker] = 0
    return worst
  }
}

/** Of a process that serves no client: what it takes of the machine. */
export function bareReading(lateness: number): Reading {
  const nothing = new Array<number>(TIME_BOUNDS_MS.length + 1).fill(0)
  return {
    counts: [...new Array<number>(COUNTS.length - 1).fill(0), cpuSeconds()],
    gauges: [...new Array<number>(GAUGES.length - 1).fill(0), process.memoryUsage.rss()],
    maxima: [0, lateness],
    queries: nothing,
    waits: nothing,
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / MICROS
}

/** Of this process. @param lateness as its owner has seen it */
export function readingOf(source: ConsoleSource, numbers: Numbers, lateness: number): Reading {
  const { counts, queries, waits } = numbersOf(numbers)
  const { gauges, oldestWait } = presentOf(source)
  return {
    counts: [...counts, cpuSeconds()],
    gauges: [...gauges, process.memoryUsage.rss()],
    maxima: [oldestWait, lateness],
    queries,
    waits,
  }
}

function numbersOf(numbers: Numbers): Pick<Reading, 'counts' | 'queries' | 'waits'> {
  const counts = [0, 0, 0, 0, 0, 0, 0]
  const queries: number[] = []
  const waits: number[] = []
  for (const counters of numbers.owners()) {
    counts[0] += counters.exchanges
    counts[1] += counters.transactions
    counts[2] += counters.errors.total
    counts[3] += counters.shared
    counts[4] += counters.clientsTotal
    counts[5] += counters.bytesFromClients
    counts[6] += counters.bytesToClients
    addAll(queries, counters.queryTimes.buckets)
    addAll(waits, counters.waits.buckets)
  }
  return { counts, queries, waits }
}

function addAll(sums: number[], buckets: Float64Array): void {
  for (let i = 0; i < buckets.length; i++) sums[i] = (sums[i] ?? 0) + buckets[i]
}

function presentOf({ house, router, time }: ConsoleSource): { gauges: number[]; oldestWait: number } {
  let [clientsActive, waiting, active, idle, other, pins] = [0, 0, 0, 0, 0, 0]
  let oldest = Number.POSITIVE_INFINITY
  for (const client of house.clients) if (client.server !== null || client.shared !== null) clientsActive++
  for (const { pool, own, pins: pinned } of router.entries()) {
    active += pool.active.size + own.size
    idle += pool.idle.length
    other += pool.opening.size + pool.testing.size
    pins += pinned.held.size
    if (pool.waiting.size === 0) continue
    waiting += pool.waiting.clients
    for (const { isOurs, waitingSince } of pool.waiting.all())
      if (isOurs !== true) oldest = Math.min(oldest, waitingSince)
  }
  const clientsIdle = Math.max(0, house.clients.size - clientsActive - waiting)
  const oldestWait = Math.max(0, Number.isFinite(oldest) ? time.now - oldest : 0)
  return { gauges: [clientsActive, clientsIdle, waiting, active, idle, other, pins], oldestWait }
}
