// What the dashboard is told where several processes share the work: each is asked for its part. It owns the
// questions that are open; one that does not answer in time has no part in this picture, so that a process
// that hangs does not hide the others.
import { Lateness, bareReading } from '../admin/dashboard/reading.ts'
import { foldHolders, poolsHeldElsewhere } from '../admin/dashboard/fold.ts'
import type {
  Act,
  AuthFailure,
  Credentials,
  Desk,
  HeldRow,
  Part,
  Reading,
  Taker,
  Value,
} from '../admin/dashboard/types.ts'
import { rowsOfFellows } from '../admin/console/everywhere.ts'
import { type Command, ConsoleError } from '../admin/console/types.ts'
import { tooBusy } from '../auth/failure.ts'
import type { Config } from '../config/types.ts'
import type { Log } from '../observe/log.ts'
import type { LogTail } from '../observe/log-tail.ts'
import { version } from '../util/version.ts'
import type { ConsoleDesk } from './console-desk.ts'
import type { WorkerProcess } from './worker-process.ts'

/** So long a worker has for its answer. */
const ANSWER_MS = 2000
/** This process among those that have numbers. */
const FIRST = 0

export interface DashboardDeskParts {
  config(): Config
  readonly log: Log
  /** Those that are there. */
  workers(): readonly WorkerProcess[]
  readonly consoles: ConsoleDesk
  /** All read the configuration again. @throws why not */
  reload(): Promise<void>
}

export class DashboardDesk implements Desk {
  readonly version = version()
  readonly #parts: DashboardDeskParts
  readonly #lateness = new Lateness()
  /** By worker and what was asked. */
  readonly #open = new Set<string>()
  #lastOrder = 0

  constructor(parts: DashboardDeskParts) {
    this.#parts = parts
  }

  get config(): Config {
    return this.#parts.config()
  }

  get workers(): number {
    return this.#parts.workers().length
  }

  get tail(): LogTail | null {
    return this.#parts.log.tail ?? null
  }

  tick(now: number): void {
    this.#lateness.tick(now)
  }

  async readings(taker: Taker): Promise<ReadonlyMap<number, Reading>> {
    const found = new Map([[FIRST, bareReading(this.#lateness.take(taker))]])
    await this.#each<Reading>('reading', taker, (worker, reading) => found.set(worker.id, reading))
    return found
  }

  async parts(): Promise<readonly Part[]> {
    const parts: Part[] = []
    await this.#each<Part>('part', null, (_worker, part) => parts.push(part))
    const keys = poolsHeldElsewhere(parts)
    if (keys.length === 0) return parts
    const held: HeldRow[] = []
    await this.#each<HeldRow[]>('held', keys, (_worker, rows) => held.push(...rows))
    return foldHolders(parts, held)
  }

  /** Asks all, and waits until each has answered, has gone or is late. */
  async #each<T>(
    what: string,
    body: unknown,
    take: (worker: WorkerProcess, answer: T) => void,
  ): Promise<void> {
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(() => late.resolve(), ANSWER_MS)
    let isOver = false
    const asked = this.#parts.workers().map(async (worker) => {
      const key = `${worker.id} ${what}`
      if (this.#open.has(key)) return
      this.#open.add(key)
      const answer = await worker.line.ask<T>(what, body).catch(() => null)
      this.#open.delete(key)
      if (answer !== null && !isOver) take(worker, answer)
    })
    await Promise.race([Promise.all(asked), late.promise])
    isOver = true
    clearTimeout(timer)
  }

  rows(command: Command): Promise<Iterable<readonly Value[]>> {
    return rowsOfFellows(command, { rows: (name) => this.#parts.consoles.rows(FIRST, name) })
  }

  act({ name }: Command, argument: string): Act {
    if (name === 'RELOAD') return { done: this.#reload(), abandon: () => {} }
    const { consoles } = this.#parts
    const id = ++this.#lastOrder
    const done = consoles.act(FIRST, { id, command: name, argument })
    return { done, abandon: () => consoles.abandon(FIRST, id) }
  }

  async #reload(): Promise<void> {
    try {
      await this.#parts.reload()
    } catch (error) {
      throw new ConsoleError(
        'F0000',
        'RELOAD failed, see logs for additional details',
        (error as Error).message,
      )
    }
  }

  /** Always by the same one, so that wrong passwords are counted together. */
  async check(credentials: Credentials): Promise<AuthFailure | null> {
    const [worker] = this.#parts.workers().toSorted((a, b) => a.number - b.number)
    if (worker === undefined) return tooBusy()
    return worker.line.ask<AuthFailure | null>('check', credentials).catch(() => tooBusy())
  }

  note(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#parts.log.info(fields, message)
  }
}
