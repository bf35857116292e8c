// From two readings of the same processes to one point of all series: growth a second, what is there, and
// percentiles of the times between. It owns the reading before; it knows no clock.
import { TIME_BOUNDS_MS } from '../../observe/counters.ts'
import { COUNTS, GAUGES, MAXIMA, type Point, type Reading, SERIES } from './types.ts'

type Readings = ReadonlyMap<number, Reading>

const FIRST_PERCENTILE = COUNTS.length + GAUGES.length + MAXIMA.length
const QUERY_SHARES = [0.5, 0.95, 0.99]
const WAIT_SHARE = 0.99

export class Meter {
  #before: Readings = new Map()
  #at = Number.NEGATIVE_INFINITY

  /** When the reading before was taken, ms. */
  get at(): number {
    return this.#at
  }

  /** Begins where another one stands. */
  startFrom(other: Meter): void {
    this.#before = other.#before
    this.#at = other.#at
  }

  /** The point between the reading before and this one, which is the one before from now on. */
  take(now: Readings, at: number): Point {
    const before = this.#before
    const seconds = (at - this.#at) / 1000
    this.#before = now
    this.#at = at
    const point = new Float64Array(SERIES.length)
    const queries = new Float64Array(TIME_BOUNDS_MS.length + 1)
    const waits = new Float64Array(TIME_BOUNDS_MS.length + 1)
    for (const [id, reading] of now) {
      addPresent(point, reading)
      const last = before.get(id)
      // What one has counted that was not there before has no known time.
      if (last === undefined) continue
      for (let i = 0; i < COUNTS.length; i++) point[i] += grown(reading.counts[i], last.counts[i]) / seconds
      for (let i = 0; i < queries.length; i++) {
        queries[i] += grown(reading.queries[i], last.queries[i])
        waits[i] += grown(reading.waits[i], last.waits[i])
      }
    }
    for (const [i, share] of QUERY_SHARES.entries()) point[FIRST_PERCENTILE + i] = percentile(queries, share)
    point[FIRST_PERCENTILE + QUERY_SHARES.length] = percentile(waits, WAIT_SHARE)
    return point
  }
}

function addPresent(point: Point, { gauges, maxima }: Reading): void {
  for (let i = 0; i < GAUGES.length; i++) point[COUNTS.length + i] += gauges[i]
  const first = COUNTS.length + GAUGES.length
  for (let i = 0; i < MAXIMA.length; i++) point[first + i] = Math.max(point[first + i], maxima[i])
}

function grown(now: number, before: number): number {
  return Math.max(0, now - before)
}

/**
 * Below which this share of the times was, ms; within a bucket times are taken as spread evenly. Times beyond
 * the last bound count as that bound.
 * @returns NaN where there are none
 */
export function percentile(buckets: ArrayLike<number>, share: number): number {
  let total = 0
  for (let i = 0; i < buckets.length; i++) total += buckets[i]
  if (total === 0) return Number.NaN
  const wanted = total * share
  let below = 0
  for (let i = 0; i < TIME_BOUNDS_MS.length; i++) {
    const inside = buckets[i]
    if (inside > 0 && below + inside >= wanted) {
      const from = i === 0 ? 0 : TIME_BOUNDS_MS[i - 1]
      return from + (TIME_BOUNDS_MS[i] - from) * ((wanted - below) / inside)
    }
    below += inside
  }
  return TIME_BOUNDS_MS[TIME_BOUNDS_MS.length - 1]
}
