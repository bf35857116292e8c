// The metrics of several processes as those of one: counters and histograms added up, gauges as each of them
// says (`aggregator`). It owns what processes that are gone have counted, as far as somebody had asked: a sum
// that was shown never goes down.
import { AggregatorRegistry, type Registry } from 'prom-client'
import type { MetricValues } from './metrics.ts'

/** Numbers that only grow. */
const GROWING: ReadonlySet<unknown> = new Set(['counter', 'histogram'])

export class SummedMetrics {
  readonly #last = new Map<number, MetricValues>()
  #gone: MetricValues = []

  /** All metrics in Prometheus' text format. @param all of each process, by its number */
  text(all: ReadonlyMap<number, MetricValues>): Promise<string> {
    for (const [number, metrics] of all) this.#last.set(number, metrics)
    return sum([...all.values(), this.#gone]).metrics()
  }

  /** A process is gone. */
  async retire(number: number): Promise<void> {
    const last = this.#last.get(number) ?? []
    this.#last.delete(number)
    const grown = last.filter(({ type }) => GROWING.has(type))
    this.#gone = (await sum([this.#gone, grown]).getMetricsAsJSON()) as MetricValues
  }
}

function sum(lists: readonly MetricValues[]): Registry {
  // When a process began says something of all of them as well.
  const said = lists.map((list) =>
    list.map((metric) => (metric.aggregator === 'omit' ? { ...metric, aggregator: 'min' } : metric)),
  )
  return AggregatorRegistry.aggregate(said as unknown as object[])
}
