// The metrics of several processes as those of one: counters and histograms added up, gauges as each of them
// says (`aggregator`), and a few of each worker by itself. It owns what processes that are gone have
// counted, as far as somebody had asked: a sum that was shown never goes down.
import { setImmediate } from 'node:timers/promises'
import { AggregatorRegistry, type Registry } from 'prom-client'
import { type Sample, type Series, seriesText } from './exposition.ts'
import type { MetricValues } from './metrics.ts'

type One = MetricValues[number]

/** The number of the process that is no worker. */
export const FIRST_PROCESS = -1
/** So long the metrics are written at a time. */
const TURN_MS = 3
/** Numbers that only grow. */
const GROWING: ReadonlySet<unknown> = new Set(['counter', 'histogram'])

/** What is shown of each worker, too, and under which name. */
const OF_WORKERS: readonly (readonly [of: string, name: string])[] = [
  ['pgmux_clients', 'pgmux_worker_clients'],
  ['pgmux_servers', 'pgmux_worker_servers'],
  ['pgmux_exchanges_total', 'pgmux_worker_exchanges_total'],
  ['pgmux_event_loop_delay_seconds', 'pgmux_worker_event_loop_delay_seconds'],
  ['process_cpu_seconds_total', 'pgmux_worker_cpu_seconds_total'],
  ['process_resident_memory_bytes', 'pgmux_worker_memory_bytes'],
]

export class SummedMetrics {
  readonly #last = new Map<number, MetricValues>()
  #gone: MetricValues = []

  /**
   * All metrics in Prometheus' text format. Whoever else has something to do gets a turn in between.
   * @param all of each process, by its number
   */
  async text(all: ReadonlyMap<number, MetricValues>): Promise<string> {
    for (const [number, metrics] of all) this.#last.set(number, metrics)
    const byName = new Map<string, One[]>()
    for (const list of [...all.values(), this.#gone])
      for (const metric of list) byName.set(metric.name, [...(byName.get(metric.name) ?? []), metric])
    const parts: string[] = []
    let turn = performance.now()
    for (const metrics of byName.values()) {
      const [summed] = await sum(metrics.map((metric) => [metric]))
      if (summed !== undefined) parts.push(textOf(summed, summed.values as Sample[]))
      if (performance.now() - turn < TURN_MS) continue
      await setImmediate()
      turn = performance.now()
    }
    for (const [of, name] of OF_WORKERS) {
      const [first] = byName.get(of) ?? []
      if (first !== undefined) parts.push(textOf({ ...first, name }, ofEach(all, of)))
    }
    return `${parts.join('\n\n')}\n`
  }

  /** A process is gone. */
  async retire(number: number): Promise<void> {
    const last = this.#last.get(number) ?? []
    this.#last.delete(number)
    const grown = last.filter(({ type }) => GROWING.has(type))
    this.#gone = await sum([this.#gone, grown])
  }
}

function textOf({ name, help, type }: One, values: Sample[]): string {
  return seriesText({ name, help, type: type as unknown as Series['type'], values: () => values })
}

/** The values of one metric in each worker. */
function ofEach(all: ReadonlyMap<number, MetricValues>, name: string): Sample[] {
  const samples: Sample[] = []
  for (const [number, metrics] of all) {
    if (number === FIRST_PROCESS) continue
    const found = metrics.find((metric) => metric.name === name)
    for (const { labels, value } of found?.values ?? [])
      samples.push({ labels: { worker: String(number), ...(labels as Record<string, string>) }, value })
  }
  return samples
}

function sum(lists: readonly MetricValues[]): Promise<MetricValues> {
  // When a process began says something of all of them as well.
  const said = lists.map((list) =>
    list.map((metric) => (metric.aggregator === 'omit' ? { ...metric, aggregator: 'min' } : metric)),
  )
  const registry: Registry = AggregatorRegistry.aggregate(said as unknown as object[])
  return registry.getMetricsAsJSON() as Promise<MetricValues>
}
