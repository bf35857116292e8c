// What SHOW STATS calls averages: the growth of each database's counters over the last whole period, per
// second. It owns the last readings; the counters belong to others.
import type { Counters } from '../../observe/counters.ts'
import type { AveragesView, ConsoleSource } from './types.ts'

/** PgBouncer's stats_period. */
const PERIOD_MS = 60_000

/** The totals in the order of SHOW STATS. Times are in microseconds. */
export function totalsOf(counters: Counters): ReadonlyMap<string, number> {
  return new Map([
    ['server_assignment_count', counters.assignments],
    ['xact_count', counters.transactions],
    ['query_count', counters.exchanges],
    ['received', counters.bytesFromClients],
    ['sent', counters.bytesFromServers],
    ['xact_time', counters.transactionTimes.sumMs * 1000],
    ['query_time', counters.queryTimes.sumMs * 1000],
    ['wait_time', counters.waits.sumMs * 1000],
    ['client_parse_count', counters.parsesFromClients],
    ['server_parse_count', counters.parsesToServers],
    ['bind_count', counters.binds],
    ['client_login_count', counters.clientsTotal],
  ])
}

/** The count that a time is divided by. */
const PER: Readonly<Record<string, string>> = {
  xact_time: 'xact_count',
  query_time: 'query_count',
  wait_time: 'server_assignment_count',
}

export class Averages implements AveragesView {
  readonly #source: ConsoleSource
  readonly #readings = new WeakMap<Counters, ReadonlyMap<string, number>>()
  readonly #growths = new WeakMap<Counters, ReadonlyMap<string, number>>()
  #periodSince: number
  seconds = PERIOD_MS / 1000

  constructor(source: ConsoleSource) {
    this.#source = source
    this.#periodSince = source.time.now
  }

  /** Empty until a period is over. */
  growthOf(counters: Counters): ReadonlyMap<string, number> {
    return this.#growths.get(counters) ?? new Map()
  }

  tick(now: number): void {
    const passed = now - this.#periodSince
    if (passed < PERIOD_MS) return
    this.#periodSince = now
    this.seconds = passed / 1000
    for (const [, counters] of this.#source.counters.entries()) {
      const totals = totalsOf(counters)
      const before = this.#readings.get(counters)
      const growth = new Map<string, number>()
      for (const [name, total] of totals) growth.set(name, total - (before?.get(name) ?? 0))
      this.#readings.set(counters, totals)
      this.#growths.set(counters, growth)
    }
  }
}

/** Per second; times per transaction, query or lease. */
export function averagesOf(
  growth: ReadonlyMap<string, number>,
  seconds: number,
): ReadonlyMap<string, number> {
  const averages = new Map<string, number>()
  for (const [name, grown] of growth) {
    const per = PER[name] === undefined ? seconds : (growth.get(PER[name]) ?? 0)
    averages.set(name, per > 0 ? grown / per : 0)
  }
  return averages
}
