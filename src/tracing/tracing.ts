// What is traced, and its way to the collector: a queue of a fixed length that is sent in small batches,
// one at a time. It owns the queue and the numbers. A collector that is slow, dead or wrong costs traces,
// which are counted, and one line in the log; never a client's time.
import type { TracingConfig } from '../config/types.ts'
import { systemClock } from '../net/clock.ts'
import { systemRandom } from '../net/random.ts'
import type { Sample, Series } from '../observe/exposition.ts'
import type { Log } from '../observe/log.ts'
import type { ExchangeTrace, Tracer } from '../session/exchange-trace.ts'
import { version } from '../util/version.ts'
import { type Exporter, openExporter } from './otlp.ts'
import { RandomIds } from './random-ids.ts'
import { SpanMaker } from './spans.ts'

/** Exchanges that wait to be sent. */
const QUEUE_MAX = 4096
/** Exchanges of one client that are sent and not answered. */
const PIPELINE_MAX = 256
/** Exchanges in one request: making it must not hold up anybody. */
const BATCH = 128
/** How long a batch that is not full waits for more. */
const PERIOD_MS = 500
/** Time for what is left at the end. */
const LAST_MS = 2000
const SUCCESS = 0

interface TracingParts {
  /** Looked up when it counts: a reload may change what is in it. */
  config(): TracingConfig
  readonly log: Log
  /** Which of several processes this is; null: it is the only one. */
  readonly worker: number | null
}

/** @returns null: nothing is traced */
export function tracingOf(
  config: () => TracingConfig,
  log: Log,
  worker: TracingParts['worker'],
): Tracing | null {
  return config().endpoint === '' ? null : new Tracing({ config, log, worker })
}

export class Tracing implements Tracer {
  readonly #parts: TracingParts
  #queue: ExchangeTrace[] = []
  #exporter: Exporter | null = null
  #spans: SpanMaker | null = null
  #timer: NodeJS.Timeout | null = null
  #sending: Promise<void> | null = null
  #isWell = true
  #exported = 0
  #dropped = 0
  #failed = 0

  constructor(parts: TracingParts) {
    this.#parts = parts
  }

  /** Loads what is needed. @throws one clear sentence */
  async open(): Promise<void> {
    const { config, worker } = this.#parts
    const about = {
      'service.version': version(),
      ...(worker === null ? {} : { 'pgmux.worker': String(worker) }),
    }
    const { exporter, resource } = await openExporter(config(), about)
    this.#exporter = exporter
    const ids = new RandomIds(systemRandom)
    const randomId = (digits: 16 | 32): string => ids.next(digits)
    this.#spans = new SpanMaker({ resource, scope: { name: 'pgmux', version: version() }, randomId })
    this.#timer = setInterval(() => this.#send(), PERIOD_MS)
    this.#timer.unref()
  }

  // ---- as clients see it ----

  now(): number {
    return systemClock.now()
  }

  draws(): boolean {
    return Math.random() < this.#parts.config().sample
  }

  hasRoom(underWay: number): boolean {
    if (this.#queue.length < QUEUE_MAX && underWay < PIPELINE_MAX) return true
    this.#dropped++
    return false
  }

  take(trace: ExchangeTrace): void {
    if (!this.hasRoom(0)) return
    this.#queue.push(trace)
    if (this.#queue.length === BATCH) setImmediate(() => this.#send())
  }

  // ---- its way out ----

  #send(): void {
    if (this.#sending !== null || this.#queue.length === 0) return
    const batch = this.#queue.slice(0, BATCH)
    this.#queue = this.#queue.slice(BATCH)
    this.#sending = this.#export(batch).finally(() => {
      this.#sending = null
      if (this.#isWell && this.#queue.length >= BATCH) setImmediate(() => this.#send())
    })
  }

  /** Never rejects. */
  async #export(batch: readonly ExchangeTrace[]): Promise<void> {
    let problem: string | null
    try {
      problem = await this.#handOver(batch)
    } catch (thrown) {
      problem = wordsOf(thrown as Error)
    }
    if (problem === null) this.#exported += batch.length
    else this.#failed += batch.length
    this.#tell(problem)
  }

  /** @returns what is wrong; null: the collector has them */
  #handOver(batch: readonly ExchangeTrace[]): Promise<string | null> {
    const exporter = this.#exporter
    const maker = this.#spans
    if (exporter === null || maker === null) return Promise.resolve('it is closed')
    const zero = Date.now() - systemClock.now()
    const spans = batch.flatMap((trace) => maker.spansOf(trace, zero))
    return new Promise((resolve) => {
      exporter.export(spans, ({ code, error }) => resolve(code === SUCCESS ? null : wordsOf(error)))
    })
  }

  /** Once for each time that it begins or ends to go wrong. */
  #tell(problem: string | null): void {
    const isWell = problem === null
    if (isWell === this.#isWell) return
    this.#isWell = isWell
    const { log, config } = this.#parts
    const collector = new URL(config().endpoint).host
    if (isWell) log.info({ collector }, 'the collector takes traces again')
    else log.warn({ collector, error: problem }, 'the collector does not take traces: they are lost')
  }

  /** Sends what is left, for no longer than so long. */
  async close(limitMs: number = LAST_MS): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    const until = this.now() + limitMs
    while (this.now() < until && this.#isWell) {
      this.#send()
      if (this.#sending === null) break
      await within(this.#sending, until - this.now())
    }
    this.#dropped += this.#queue.length
    this.#queue = []
    const exporter = this.#exporter
    this.#exporter = null
    if (exporter !== null) await within(exporter.shutdown(), until - this.now())
  }

  // ---- numbers ----

  samples(): Sample[] {
    return [
      { labels: { result: 'exported' }, value: this.#exported },
      { labels: { result: 'dropped' }, value: this.#dropped },
      { labels: { result: 'failed' }, value: this.#failed },
    ]
  }
}

/** Its numbers, for Prometheus. */
export function tracingSeries(tracing: Tracing | null): Series[] {
  const help = 'Exchanges that were traced, by what became of their spans'
  const values = (): Sample[] => tracing?.samples() ?? []
  return [{ name: 'pgmux_traces_total', help, type: 'counter', values }]
}

/** Nothing of what was sent may stand in it: neither headers nor spans. */
function wordsOf(error: (Error & { code?: unknown }) | undefined): string {
  if (error === undefined) return 'no answer'
  const code = typeof error.code === 'number' || typeof error.code === 'string' ? `${error.code} ` : ''
  return `${code}${error.message}`.slice(0, 200)
}

async function within(done: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | null = null
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms))
  })
  await Promise.race([done.catch(() => {}), late])
  if (timer !== null) clearTimeout(timer)
}
