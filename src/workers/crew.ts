// Several processes that share the work, as one pooler: the first process opens the ports, hands connections
// to its workers, counts what is limited, and replaces a worker that has gone. It owns the workers and the
// order of start and end. It reads no byte of a client and none of Postgres'.
import { AdminPort } from '../admin/port.ts'
import type { ShutdownMode } from '../admin/console/types.ts'
import type { Config } from '../config/types.ts'
import { orForever } from '../config/units.ts'
import type { Addresses } from '../listeners.ts'
import type { RawHandle } from '../net/handed.ts'
import { Counters } from '../observe/counters.ts'
import type { Log } from '../observe/log.ts'
import type { TailLine } from '../observe/log-tail.ts'
import { Metrics, type MetricsPart, type MetricValues } from '../observe/metrics.ts'
import { FIRST_PROCESS, SummedMetrics } from '../observe/summed-metrics.ts'
import type { ReadAgain, SetPairs } from '../reload.ts'
import { readUpstreamTls } from '../routing/upstream-tls.ts'
import { ConsoleDesk } from './console-desk.ts'
import { DashboardDesk } from './dashboard-desk.ts'
import { Desk } from './desk.ts'
import { Doors } from './doors.ts'
import { makerOf } from '../frontend/cancel-keys.ts'
import { cancelLeftBehind } from './left-behind.ts'
import type { Handlers } from './line.ts'
import type { CancelRequest } from './messages.ts'
import { Reloading } from './reloading.ts'
import { WorkerProcess } from './worker-process.ts'

const TICK_MS = 50
/** How often workers are asked whether they do anything. */
const LOOK_MS = 500
/** A worker that lived for less after its start is one that fails again and again. */
const STEADY_MS = 10_000
const PAUSE_MS = 100
const PAUSE_MAX_MS = 30_000
/** After everything was cut off. */
const LAST_MS = 2000

export class Crew {
  readonly #log: Log
  readonly #counters = new Counters()
  readonly #metrics = new Metrics()
  readonly #summed = new SummedMetrics()
  readonly #desk: Desk
  readonly #consoles: ConsoleDesk
  readonly #doors: Doors
  readonly #workers = new Set<WorkerProcess>()
  /** Starts that failed in a row, by the number of the worker. */
  readonly #failures = new Map<number, number>()
  /** As a pooler's: the end is near. */
  readonly house = { isEndNear: false }
  #config: Config
  #reloading: Reloading | null = null
  readonly #dashboard: DashboardDesk
  readonly #admin: AdminPort
  #ticker: NodeJS.Timeout | null = null
  #lastId = 0
  #lookedAt = 0
  #given = 0
  #isStarted = false
  #stopping: Promise<void> | null = null
  readonly #end = Promise.withResolvers<void>()
  /** Resolves when all have stopped, whoever wished it. */
  readonly stopped = this.#end.promise
  #onEmpty: (() => void) | null = null

  constructor(config: Config, log: Log) {
    this.#config = config
    this.#log = log
    readUpstreamTls(config)
    this.#metrics.registerCounters(() => this.#counters)
    const tell = (id: number, what: string, body: unknown): void => this.#byId(id)?.line.tell(what, body)
    this.#desk = new Desk({ config: () => this.#config, tell })
    this.#consoles = new ConsoleDesk(() => this.#ready())
    this.#doors = new Doors((key, handle) => this.#give(key, handle))
    this.#dashboard = new DashboardDesk({
      config: () => this.#config,
      log,
      workers: () => this.#ready(),
      consoles: this.#consoles,
      reload: async () => this.#reloading?.now(),
    })
    this.#admin = new AdminPort(this, this.#dashboard)
  }

  /** What counts at present. */
  get config(): Config {
    return this.#config
  }

  /** Where it listens; only after `start`. */
  get addresses(): Addresses {
    return { ...this.#doors.addresses, admin: this.#admin.address }
  }

  /** Where its configuration comes from. */
  readsFrom(read: ReadAgain): void {
    this.#reloading = new Reloading({
      read,
      log: this.#log,
      counters: this.#counters,
      config: () => this.#config,
      apply: (config) => this.#ready().map(({ line }) => line.ask('reloadWith', this.#forWorkers(config))),
      onChanged: (config) => {
        this.#config = config
        this.#log.setLevel?.(config.log.level)
        this.#desk.tick()
      },
    })
  }

  rereadSoon(): void {
    this.#reloading?.ask()
  }

  pause(): void {
    this.#consoles.pauseAll(true)
    this.#log.warn({ database: '*' }, 'paused: clients wait')
  }

  resume(): void {
    this.#consoles.pauseAll(false)
    this.#log.warn({ database: '*' }, 'resumed')
  }

  // ---- the start ----

  /** Resolves when all workers take clients. @throws one clear sentence; then nothing is open, nobody runs */
  async start(): Promise<void> {
    const { admin } = this.#config
    await this.#doors.open(this.#config)
    try {
      await this.#admin.open(admin)
      const numbers = Array.from({ length: this.#config.workers }, (_, number) => number)
      await Promise.all(numbers.map((number) => this.#startWorker(number)))
    } catch (error) {
      this.#doors.close()
      await this.#admin.close()
      for (const worker of this.#workers) worker.kill()
      throw error
    }
    this.#isStarted = true
    this.#ticker = setInterval(() => this.#tick(performance.now()), TICK_MS)
    this.#doors.retry()
  }

  #tick(now: number): void {
    this.#desk.tick()
    this.#look()
    this.#dashboard.tick(now)
    this.#admin.tick(now)
  }

  async #startWorker(number: number): Promise<void> {
    const id = ++this.#lastId
    const worker = new WorkerProcess(id, number, {
      handlers: { ...this.#desk.handlersFor(id), ...this.#consoles.handlersFor(id), ...this.#handlers() },
      onExit: (gone, how) => this.#onExit(gone, how),
    })
    this.#workers.add(worker)
    const { workers: count } = this.#config
    const doors = this.#doors.all
    try {
      const config = this.#forWorkers(this.#config)
      await worker.start({ config, count, doors, gates: this.#consoles.gates })
    } catch (error) {
      const { message } = error as Error
      throw Object.assign(new Error(`worker ${number} could not start: ${message}`), { code: 'WORKER' })
    }
    this.#doors.retry()
  }

  /** Ports are the ones that are open. */
  #forWorkers(config: Config): Config {
    const { postgres, serverless } = this.#doors.addresses
    return {
      ...config,
      listen: { ...config.listen, port: postgres.port },
      serverless: { ...config.serverless, port: serverless?.port ?? config.serverless.port },
    }
  }

  #handlers(): Handlers {
    return {
      reload: () => this.#reloading?.now(),
      set: (options: SetPairs) => this.#reloading?.set(options),
      shutdown: (mode: ShutdownMode) => this.#shutdown(mode),
      cancel: (request: CancelRequest) => this.#cancel(request),
      vacate: (text: string) => {
        for (const worker of this.#ready()) worker.line.tell('vacate', text)
      },
      log: (lines: readonly TailLine[]) => {
        for (const line of lines) this.#log.tail?.add(line)
      },
    }
  }

  // ---- workers ----

  #ready(): WorkerProcess[] {
    return [...this.#workers].filter(({ isReady }) => isReady)
  }

  #byId(id: number): WorkerProcess | undefined {
    for (const worker of this.#workers) if (worker.id === id) return worker
    return undefined
  }

  /** To the one that has least to do; of several to the one that was given one longest ago. */
  #give(key: string, handle: RawHandle): boolean {
    const load = (worker: WorkerProcess): number => this.#desk.clientsOf(worker.id) + worker.onTheWay
    const now = performance.now()
    const late = (worker: WorkerProcess): number => (worker.isSilentAt(now) ? 1 : 0)
    const [worker] = this.#ready().sort(
      (a, b) => late(a) - late(b) || load(a) - load(b) || a.lastGiven - b.lastGiven,
    )
    if (worker === undefined) return false
    worker.lastGiven = ++this.#given
    void worker.take(key, handle).then((isTaken) => {
      if (!isTaken) this.#doors.again(key, handle)
    })
    return true
  }

  async #cancel({ pid, key }: CancelRequest): Promise<void> {
    const number = makerOf(pid, this.#config.workers)
    const worker = this.#ready().find((one) => one.number === number)
    await worker?.line.ask('cancel', { pid, key })
  }

  /** One that hangs keeps its clients, and what they hold, for good. Its end is told by `exit`. */
  #look(): void {
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_MS) return
    this.#lookedAt = now
    const { workerTimeoutMs } = this.#config
    for (const worker of this.#workers) {
      const silentMs = Math.round(worker.look(now))
      if (workerTimeoutMs === 0 || silentMs <= workerTimeoutMs) continue
      this.#log.error(
        { worker: worker.number, pid: worker.pid, silent_ms: silentMs },
        'a worker does nothing any more: it is killed and replaced',
      )
      worker.kill()
    }
  }

  #onExit(worker: WorkerProcess, how: string): void {
    this.#workers.delete(worker)
    const servers = this.#desk.died(worker.id)
    void this.#summed.retire(worker.number)
    if (this.#stopping !== null && this.#workers.size === 0) this.#onEmpty?.()
    if (!this.#isStarted || this.#stopping !== null) return
    this.#log.error(
      { worker: worker.number, pid: worker.pid, how },
      'a worker has ended; its clients are cut off',
    )
    void cancelLeftBehind(servers, this.#config).then(() => this.#desk.settled(worker.id))
    const isSteady = performance.now() - worker.startedAt > STEADY_MS
    const failures = isSteady ? 0 : (this.#failures.get(worker.number) ?? 0) + 1
    this.#failures.set(worker.number, failures)
    // The first time at once.
    const pause = failures < 2 ? 0 : Math.min(PAUSE_MS * 2 ** (failures - 2), PAUSE_MAX_MS)
    if (pause > 0)
      this.#log.warn(
        { worker: worker.number, failures, pause_ms: pause },
        'a worker ends again and again: its next start waits',
      )
    setTimeout(() => this.#replace(worker.number), pause)
  }

  #replace(number: number): void {
    if (this.#stopping !== null) return
    this.#startWorker(number).then(
      () => this.#log.info({ worker: number }, 'a new worker takes clients'),
      // Its end is told by `exit`, and followed by another start.
      (error: Error) => this.#log.error({ worker: number, error: error.message }, 'a worker could not start'),
    )
  }

  // ---- the end ----

  #shutdown(mode: ShutdownMode): void {
    if (mode !== 'wait for clients') {
      void this.drain(mode === 'now' ? 0 : orForever(this.#config.shutdown.timeoutMs))
      return
    }
    this.#stopping ??= this.#stop((worker) => worker.line.tell('drainWhenEmpty'))
  }

  /** Takes nobody in, lets transactions finish for so long, then closes. Again: a shorter time counts. */
  drain(timeoutMs: number): Promise<void> {
    const isFirst = this.#stopping === null
    this.#stopping ??= this.#stop((worker) => worker.line.tell('drain', timeoutMs))
    if (!isFirst) for (const { line } of this.#workers) line.tell('drain', timeoutMs)
    const kill = (): void => {
      for (const worker of this.#workers) worker.kill()
    }
    const last = setTimeout(kill, Math.min(timeoutMs + LAST_MS, orForever(0)))
    return this.#stopping.finally(() => clearTimeout(last))
  }

  async #stop(end: (worker: WorkerProcess) => void): Promise<void> {
    this.#doors.close()
    for (const worker of this.#workers) end(worker)
    if (this.#workers.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve
      })
    }
    if (this.#ticker !== null) clearInterval(this.#ticker)
    await this.#admin.close()
    this.#metrics.close()
    this.#end.resolve()
  }

  // ---- the admin port ----

  /** Could a client get a server now, whichever worker it comes to? */
  async ready(): Promise<{ ok: boolean; reason: string }> {
    const isEnding = this.#stopping !== null || this.house.isEndNear
    if (isEnding) return { ok: false, reason: 'the pooler is shutting down' }
    const workers = this.#ready()
    const missing = this.#config.workers - workers.length
    if (missing > 0) return { ok: false, reason: `${missing} of ${this.#config.workers} workers are not up` }
    const asked = workers.map(({ line }) => line.ask<{ ok: boolean; reason: string }>('ready'))
    const answers = await Promise.all(asked).catch(() => [{ ok: false, reason: 'a worker has just ended' }])
    return answers.find(({ ok }) => !ok) ?? { ok: true, reason: '' }
  }

  /** Of all processes, this one as well. */
  async metrics(): Promise<string> {
    const own = await allParts((from) => this.#metrics.part(from))
    const all = new Map<number, MetricValues>([[FIRST_PROCESS, own]])
    const asked = this.#ready().map(async ({ number, line }) => {
      const found = await allParts((from) => line.ask<MetricsPart>('metrics', from)).catch(() => null)
      if (found !== null) all.set(number, found)
    })
    await Promise.all(asked)
    return this.#summed.text(all)
  }
}

async function allParts(ask: (from: number) => Promise<MetricsPart>): Promise<MetricValues> {
  const all: MetricValues = []
  for (let from = 0; ; ) {
    const { values, next } = await ask(from)
    all.push(...values)
    if (next === 0) return all
    from = next
  }
}
