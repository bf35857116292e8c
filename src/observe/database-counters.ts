// The counters of each database, for whoever asks by database, and the times of each pool; the sums for
// Prometheus go through Metrics. It owns which there are. What a forgotten database has counted stays in the
// sums.
import { Counters, type PoolTimes } from './counters.ts'
import type { Metrics } from './metrics.ts'
import { PoolTimesBook } from './pool-times.ts'

export class DatabaseCounters {
  readonly times = new PoolTimesBook()
  readonly #metrics: Metrics
  readonly #all = new Map<string, { counters: Counters; retire: () => void }>()

  constructor(metrics: Metrics) {
    this.#metrics = metrics
    metrics.registerSeries(this.times.series())
  }

  /** Those of this database, made when they are first asked for. */
  of(database: string): Counters {
    const known = this.#all.get(database)
    if (known !== undefined) return known.counters
    const counters = new Counters()
    this.#all.set(database, { counters, retire: this.#metrics.registerCounters(() => counters) })
    return counters
  }

  /** What the parts of a pool that begins add to. */
  ofPool(database: string, user: string): { counters: Counters; times: PoolTimes } {
    const counters = this.of(database)
    return { counters, times: this.times.of(database, user, counters) }
  }

  *entries(): Generator<[database: string, counters: Counters]> {
    for (const [database, { counters }] of this.#all) yield [database, counters]
  }

  /** Forgets the databases that are not among these. */
  keep(isWanted: (database: string) => boolean): void {
    for (const [database, { retire }] of this.#all) {
      if (isWanted(database)) continue
      this.#all.delete(database)
      retire()
    }
  }
}
