// Which pools have times of their own for Prometheus, and the series made of them. Their number has a limit:
// all that come when it is reached share one that is called `other`, so that no sum that was shown goes down.
// It counts nothing itself.
import { type Counters, PoolTimes, type TimeHistogram, Times } from './counters.ts'
import type { Sample, Series } from './exposition.ts'
import { addHistogram } from './histogram-samples.ts'

/** Pools with times of their own: each makes some 50 series. */
const SEATS_MAX = 200
const OTHER = 'other'
/** Fewer buckets than those of the whole process have, in ms: there are many of these. */
const BOUNDS_MS: readonly number[] = [0.25, 0.5, 1, 2.5, 5, 10, 25, 100, 500, 2500, 10_000, 60_000]

interface Seat {
  readonly key: string
  readonly labels: { readonly database: string; readonly user: string }
  readonly times: Times
  /** A pool that is being closed and the one that comes after it have the same. */
  holders: number
}

export class PoolTimesBook {
  readonly #seats = new Map<string, Seat>()
  readonly #seatOf = new Map<PoolTimes, Seat>()
  /** Of all that have none of their own; null: all have. */
  #other: Times | null = null

  /** For a pool that begins. @param counters of its database, where its times count as well */
  of(database: string, user: string, counters: Counters): PoolTimes {
    const key = `${database}\0${user}`
    const seat = this.#seats.get(key) ?? this.#newSeat(key, { database, user })
    if (seat === null) {
      this.#other ??= new Times()
      return new PoolTimes(this.#other, counters)
    }
    seat.holders++
    const times = new PoolTimes(seat.times, counters)
    this.#seatOf.set(times, seat)
    return times
  }

  #newSeat(key: string, labels: Seat['labels']): Seat | null {
    if (this.#seats.size >= SEATS_MAX) return null
    const seat = { key, labels, times: new Times(), holders: 0 }
    this.#seats.set(key, seat)
    return seat
  }

  /** The pool is forgotten. */
  leave(times: PoolTimes): void {
    const seat = this.#seatOf.get(times)
    this.#seatOf.delete(times)
    if (seat !== undefined && --seat.holders === 0) this.#seats.delete(seat.key)
  }

  /** All of them, for Prometheus. */
  series(): Series[] {
    const histogram = (name: string, help: string, pick: (times: Times) => TimeHistogram): Series => {
      const values = (): Sample[] => this.#samples(name, pick)
      return { name, help, type: 'histogram', values }
    }
    return [
      histogram('pgmux_pool_query_seconds', 'How long Postgres took for requests', ({ queries }) => queries),
      histogram(
        'pgmux_pool_transaction_seconds',
        'How long transactions were open',
        ({ transactions }) => transactions,
      ),
      histogram('pgmux_pool_wait_seconds', 'How long clients waited for a server', ({ waits }) => waits),
    ]
  }

  #samples(name: string, pick: (times: Times) => TimeHistogram): Sample[] {
    const samples: Sample[] = []
    const add = (labels: Seat['labels'], times: Times): void =>
      addHistogram(samples, name, { times: pick(times), labels, bounds: BOUNDS_MS })
    for (const { labels, times } of this.#seats.values()) add(labels, times)
    if (this.#other !== null) add({ database: OTHER, user: OTHER }, this.#other)
    return samples
  }
}
