// The numbers for Prometheus. Owns the registry and the names; the numbers themselves belong to those who
// register them and are read when somebody scrapes, so that the hot path only adds to plain fields.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'
import {
  type Aggregator,
  Counter,
  collectDefaultMetrics,
  Gauge,
  type Metric,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from 'prom-client'
import { Counters, type LabelledCounts, TIME_BOUNDS_MS, type TimeHistogram } from './counters.ts'
import { type Sample, type Series, seriesPieces } from './exposition.ts'
import { addHistogram } from './histogram-samples.ts'
import { loginSeries } from './login-series.ts'
import { webSeries } from './web-series.ts'

/** What is true now, by state. States are fixed words (`active`, `waiting`, `idle`, ...). */
export interface Gauges {
  readonly clients: Readonly<Record<string, number>>
  readonly servers: Readonly<Record<string, number>>
  /** Clients that wait for a server. */
  readonly waiting: number
  /** Clients that keep their server beyond a transaction, and their reasons. */
  readonly pinned: { readonly clients: number; readonly reasons: ReadonlyMap<string, number> }
  /** When certificates of ours end, in seconds since 1970, by file. */
  readonly certificates?: ReadonlyMap<string, number>
  /** WebSockets that are open, logged in or not. */
  readonly webSockets?: number
  /** Queries over HTTP that are not answered to the last byte. */
  readonly httpRequests?: number
  /** Lines of the log that nobody took. */
  readonly logLinesLost?: number
  /** What is listened to for clients. */
  readonly listening?: Readonly<Record<'servers' | 'channels' | 'subscribers', number>>
}

/** So long the metrics are written at a time. */
const TURN_MS = 3
const EXPIRY = 'pgmux_tls_certificate_expiry_timestamp_seconds'
const DELAY = 'pgmux_event_loop_delay_seconds'
/** What is not added up over processes: the largest says it. */
const OF_ONE = new Set([EXPIRY, DELAY])

const DELAY_RESOLUTION_MS = 20
const DELAY_QUANTILES = [0.5, 0.9, 0.99]
const NANO = 1e-9

/** Metrics of a process, as prom-client writes them down. */
export type MetricValues = (MetricObjectWithValues<MetricValue<string>> & { aggregator: Aggregator })[]

/** Some of them. */
export interface MetricsPart {
  readonly values: MetricValues
  /** Where the next part begins; 0: there is none. */
  readonly next: number
}

type LabelledTotal = { labels: Record<string, string>; value: number }

/** The metrics of one process. */
export class Metrics {
  readonly #registry = new Registry()
  /** Those that others make. */
  readonly #series = new Map<string, Series>()
  readonly #counters = new Set<() => Counters>()
  readonly #gauges = new Set<() => Gauges>()
  /** What owners that are gone have counted: a counter never goes down. */
  readonly #retired = new Counters()
  readonly #delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  #total = new Counters()

  constructor() {
    this.#delay.enable()
    collectDefaultMetrics({ register: this.#registry })
    this.#defineCounters()
    this.#defineLabelledCounters()
    this.registerSeries(loginSeries(() => this.#total))
    this.registerSeries(webSeries(() => this.#total))
    this.#definePins()
    this.#defineGauges()
    this.#defineListening()
    this.#defineTimes()
    this.#defineDelay()
  }

  /** The media type of `text()`. */
  get contentType(): string {
    return this.#registry.contentType
  }

  /**
   * Adds an owner of counters; all owners are summed up.
   * @returns a function for when the owner goes: it keeps what was counted.
   */
  registerCounters(read: () => Counters): () => void {
    this.#counters.add(read)
    return () => {
      if (this.#counters.delete(read)) this.#retired.addAll(read())
    }
  }

  /** Adds an owner of gauges; all owners are summed up. @returns a function for when the owner goes. */
  registerGauges(read: () => Gauges): () => void {
    this.#gauges.add(read)
    return () => this.#gauges.delete(read)
  }

  /** Adds metrics that somebody else makes. They cost nothing but their values. */
  registerSeries(all: Iterable<Series>): void {
    for (const series of all) {
      const { name, help, type, aggregator = 'sum', values } = series
      this.#series.set(name, series)
      const get = () => ({ name, help, type, aggregator, values: values() })
      this.#registry.registerMetric({ name, get } as unknown as Metric)
    }
  }

  /** All metrics in Prometheus' text format. Whoever else has something to do gets a turn in between. */
  async text(): Promise<string> {
    this.#total = this.totals()
    let text = ''
    let turn = performance.now()
    for (const { name } of this.#registry.getMetricsAsArray()) {
      const series = this.#series.get(name)
      if (text !== '') text += '\n\n'
      if (series === undefined) text += await this.#registry.getSingleMetricAsString(name)
      for (const piece of series === undefined ? [''] : seriesPieces(series)) {
        text += piece
        if (performance.now() - turn < TURN_MS) continue
        await setImmediate()
        turn = performance.now()
      }
    }
    return `${text}\n`
  }

  /**
   * The same in the form in which several processes' metrics are added up (`summed-metrics.ts`), as much as
   * can be made without holding anybody up.
   * @param from 0, or what the part before has said
   */
  async part(from: number): Promise<MetricsPart> {
    if (from === 0) this.#total = this.totals()
    const values: MetricValues = []
    const all = this.#registry.getMetricsAsArray()
    const begin = performance.now()
    let at = from
    while (at < all.length && (at === from || performance.now() - begin < TURN_MS)) {
      const metric = all[at++] as unknown as { get(): Promise<MetricValues[number]> }
      values.push(await metric.get())
    }
    return { values, next: at < all.length ? at : 0 }
  }

  /** The counters of all owners, those that are gone included. */
  totals(): Counters {
    const total = new Counters()
    total.addAll(this.#retired)
    for (const read of this.#counters) total.addAll(read())
    return total
  }

  /** The counters of each owner; those of owners that are gone together. */
  *owners(): Generator<Counters> {
    yield this.#retired
    for (const read of this.#counters) yield read()
  }

  /** Stops measuring. */
  close(): void {
    this.#delay.disable()
    this.#registry.clear()
  }

  #defineCounters(): void {
    this.#counter('pgmux_client_logins_total', 'Clients that logged in', (total) => total.clientsTotal)
    this.#counter('pgmux_exchanges_total', 'Requests of clients answered', (total) => total.exchanges)
    this.#counter('pgmux_transactions_total', 'Transactions of clients', (total) => total.transactions)
    this.#counter('pgmux_cancels_total', 'Cancel requests of clients', (total) => total.cancels)
    this.#counter(
      'pgmux_session_leaks_total',
      'Idle servers that had something of a session left: always 0, or report it',
      (total) => total.leaks,
    )
    this.#counter(
      'pgmux_shared_exchanges_total',
      'Exchanges that ran on a server beside those of other clients',
      (total) => total.shared,
    )
    this.#counter(
      'pgmux_notifications_total',
      'Notifications that a listening server brought, for each client that got it',
      (total) => total.notifications,
    )
    this.#counter(
      'pgmux_listening_losses_total',
      'Listening servers lost while clients listened, so that notifications may be missing',
      (total) => total.listenerLosses,
    )
    this.#counter('pgmux_server_opens_total', 'Logins to Postgres started', (total) => total.serverOpens)
    this.#counter(
      'pgmux_server_open_failures_total',
      'Logins to Postgres that failed',
      (total) => total.serverOpenFailures,
    )
  }

  #defineLabelledCounters(): void {
    this.#labelled('pgmux_bytes_total', 'Bytes of the protocol, by direction', ['direction'], (total) => [
      { labels: { direction: 'from_clients' }, value: total.bytesFromClients },
      { labels: { direction: 'to_clients' }, value: total.bytesToClients },
      { labels: { direction: 'from_servers' }, value: total.bytesFromServers },
      { labels: { direction: 'to_servers' }, value: total.bytesToServers },
    ])
    this.#labelled('pgmux_parses_total', 'Parse messages, by side', ['side'], (total) => [
      { labels: { side: 'from_clients' }, value: total.parsesFromClients },
      { labels: { side: 'to_servers' }, value: total.parsesToServers },
    ])
    this.#labelled('pgmux_errors_total', 'Errors made by pgmux', ['sqlstate', 'reason'], (total) =>
      valuesOf(total.errors, ['sqlstate', 'reason']),
    )
    this.#labelled('pgmux_reloads_total', 'Configurations read again', ['result'], (total) =>
      ['ok', 'failed'].map((result) => ({ labels: { result }, value: total.reloads.get([result]) })),
    )
    this.#labelled('pgmux_log_lines_lost_total', 'Lines of the log that nobody took', [], () =>
      Array.from(this.#gauges, (read) => ({ labels: {}, value: read().logLinesLost ?? 0 })),
    )
    this.#labelled(
      'pgmux_shared_sent_again_total',
      'Exchanges that ran once more, elsewhere',
      ['reason'],
      (total) => valuesOf(total.sentAgain, ['reason']),
    )
    this.#labelled('pgmux_shared_lanes_total', 'Ends of shared servers', ['reason'], (total) =>
      valuesOf(total.lanesShut, ['reason']),
    )
    this.#labelled('pgmux_server_closes_total', 'Server connections closed', ['reason'], (total) =>
      valuesOf(total.closes, ['reason']),
    )
  }

  #counter(name: string, help: string, value: (total: Counters) => number): void {
    const read = () => value(this.#total)
    new Counter({
      name,
      help,
      registers: [this.#registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }

  #labelled(
    name: string,
    help: string,
    labelNames: string[],
    values: (total: Counters) => LabelledTotal[],
  ): void {
    const read = () => values(this.#total)
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const { labels, value } of read()) this.inc(labels, value)
      },
    })
  }

  #definePins(): void {
    this.#labelled('pgmux_pins_total', 'Sessions that began to keep a server', ['reason'], (total) =>
      valuesOf(total.pins, ['reason']),
    )
    const help = 'Time for which sessions kept a server'
    this.#labelled('pgmux_pinned_seconds_total', help, ['reason'], (total) =>
      valuesOf(total.pinnedMs, ['reason'], 1000),
    )
    this.#gauge('pgmux_pins', 'Reasons for which sessions keep a server now', ['reason'], (gauge) => {
      for (const read of this.#gauges)
        for (const [reason, count] of read().pinned.reasons) gauge.inc({ reason }, count)
    })
    this.#gauge('pgmux_pinned_clients', 'Clients that keep a server now', [], (gauge) => {
      for (const read of this.#gauges) gauge.inc(read().pinned.clients)
    })
  }

  #defineListening(): void {
    this.#gauge('pgmux_listening', 'Servers, channels and clients of LISTEN', ['what'], (gauge) => {
      for (const read of this.#gauges)
        for (const [what, count] of Object.entries(read().listening ?? {})) gauge.inc({ what }, count)
    })
  }

  #defineGauges(): void {
    this.#gauge('pgmux_clients', 'Clients, by state', ['state'], (gauge) => {
      for (const read of this.#gauges) addStates(gauge, read().clients)
    })
    this.#gauge('pgmux_servers', 'Connections to Postgres, by state', ['state'], (gauge) => {
      for (const read of this.#gauges) addStates(gauge, read().servers)
    })
    this.#gauge(EXPIRY, 'When a certificate of ours ends', ['file'], (gauge) => {
      for (const read of this.#gauges)
        for (const [file, end] of read().certificates ?? []) gauge.set({ file }, end)
    })
    this.#gauge('pgmux_websockets', 'WebSockets that are open, logged in or not', [], (gauge) => {
      for (const read of this.#gauges) gauge.inc(read().webSockets ?? 0)
    })
    this.#gauge('pgmux_http_requests', 'Queries over HTTP that are under way', [], (gauge) => {
      for (const read of this.#gauges) gauge.inc(read().httpRequests ?? 0)
    })
    this.#gauge('pgmux_client_waiting', 'Clients that wait for a server', [], (gauge) => {
      for (const read of this.#gauges) gauge.inc(read().waiting)
    })
  }

  #defineDelay(): void {
    const help = 'How late the event loop was since the last scrape'
    this.#gauge(DELAY, help, ['quantile'], (gauge) => {
      for (const quantile of DELAY_QUANTILES) {
        gauge.set({ quantile: String(quantile) }, this.#delay.percentile(quantile * 100) * NANO)
      }
      gauge.set({ quantile: '1' }, this.#delay.max * NANO)
      this.#delay.reset()
    })
  }

  #gauge(name: string, help: string, labelNames: string[], fill: (gauge: Gauge<string>) => void): void {
    new Gauge({
      name,
      help,
      aggregator: OF_ONE.has(name) ? 'max' : 'sum',
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        fill(this)
      },
    })
  }

  #defineTimes(): void {
    this.#histogram('pgmux_wait_seconds', 'How long clients waited for a server', ({ waits }) => waits)
    const queries = 'How long Postgres took for requests of clients'
    this.#histogram('pgmux_query_seconds', queries, ({ queryTimes }) => queryTimes)
    const transactions = 'How long transactions were open'
    this.#histogram('pgmux_transaction_seconds', transactions, ({ transactionTimes }) => transactionTimes)
  }

  /** prom-client's own histogram takes single observations only, ours arrives counted: hence the cast. */
  #histogram(name: string, help: string, pick: (total: Counters) => TimeHistogram): void {
    const values = (): Sample[] => {
      const samples: Sample[] = []
      addHistogram(samples, name, { times: pick(this.#total), labels: {}, bounds: TIME_BOUNDS_MS })
      return samples
    }
    const get = () => ({ name, help, type: 'histogram', aggregator: 'sum', values: values() })
    this.#registry.registerMetric({ name, get } as unknown as Metric)
  }
}

function addStates(gauge: Gauge<string>, states: Readonly<Record<string, number>>): void {
  for (const [state, count] of Object.entries(states)) gauge.inc({ state }, count)
}

/** @param unit of what was counted */
function valuesOf(
  counts: Pick<LabelledCounts, 'entries'>,
  names: readonly string[],
  unit = 1,
): LabelledTotal[] {
  return Array.from(counts.entries(), ({ labels, count }) => ({
    labels: Object.fromEntries(names.map((name, at) => [name, labels[at]])),
    value: count / unit,
  }))
}
