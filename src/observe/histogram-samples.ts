// The lines of a histogram as Prometheus reads them: each bucket with all that is below it. Pure.
import { TIME_BOUNDS_MS, type TimeHistogram } from './counters.ts'
import type { Sample } from './exposition.ts'

/** What one histogram of several is made of. */
export interface Shown {
  readonly times: TimeHistogram
  readonly labels: Record<string, string>
  /** Upper bounds that are shown, of those that there are, in ms. */
  readonly bounds: readonly number[]
}

/** Adds the lines of one histogram to `samples`. */
export function addHistogram(samples: Sample[], name: string, { times, labels, bounds }: Shown): void {
  const bucket = `${name}_bucket`
  let below = 0
  let at = 0
  for (const bound of bounds) {
    while (TIME_BOUNDS_MS[at] <= bound) below += times.buckets[at++]
    samples.push({ metricName: bucket, labels: { ...labels, le: String(bound / 1000) }, value: below })
  }
  samples.push({ metricName: bucket, labels: { ...labels, le: '+Inf' }, value: times.count })
  samples.push({ metricName: `${name}_sum`, labels, value: times.sumMs / 1000 })
  samples.push({ metricName: `${name}_count`, labels, value: times.count })
}
