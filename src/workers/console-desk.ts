// The console of several workers: what the client of one gives is done by all. It owns the orders that are
// under way and what is paused and disabled, for workers to come.
import { ConsoleError } from '../admin/console/types.ts'
import type { Value } from '../wire/rows.ts'
import type { Handlers } from './line.ts'
import type { GateMarks, Order } from './messages.ts'
import type { WorkerProcess } from './worker-process.ts'

const GAVE_UP = '57014'
/** Who gives up waiting for these has them undone. */
const WAITED_FOR = new Set(['PAUSE', 'SUSPEND'])
/** Only one of them has what it names. */
const FOR_ONE = new Set(['KILL_CLIENT', 'CANCEL'])
/** What one of them answers that has not got it. */
const NOT_HERE = '22023'

export class ConsoleDesk {
  readonly #workers: () => readonly WorkerProcess[]
  /** The number that a worker gave its order, and ours. */
  readonly #orders = new Map<string, number>()
  #lastOrder = 0
  gates: GateMarks = { isAllPaused: false, isSuspended: false, paused: [], disabled: [] }

  /** @param workers those that are there */
  constructor(workers: () => readonly WorkerProcess[]) {
    this.#workers = workers
  }

  /** For the line to this worker. */
  handlersFor(id: number): Handlers {
    return {
      rows: (command: string) => this.rows(id, command),
      act: (order: Order) => this.act(id, order),
      abandon: (order: number) => this.abandon(id, order),
    }
  }

  /** @param id of the worker that has given it; 0: the first process */
  abandon(id: number, order: number): void {
    const known = this.#orders.get(`${id} ${order}`)
    if (known !== undefined) for (const { line } of this.#workers()) line.tell('abandon', known)
  }

  /** A signal: nobody waits for it. */
  pauseAll(isPaused: boolean): void {
    this.gates = { ...this.gates, isAllPaused: isPaused }
    for (const { line } of this.#workers()) line.tell(isPaused ? 'pause' : 'resume')
  }

  /** Those of the worker that asks first. One that is gone in the middle has no rows. */
  async rows(id: number, command: string): Promise<Value[][][]> {
    const workers = [...this.#workers()].sort((a, b) => Number(b.id === id) - Number(a.id === id))
    const asked = workers.map(({ line }) => line.ask<Value[][]>('rows', command).catch(() => []))
    return Promise.all(asked)
  }

  /** Resolves when all have done it. @throws ConsoleError */
  async act(id: number, { id: order, command, argument }: Order): Promise<void> {
    const key = `${id} ${order}`
    const known = ++this.#lastOrder
    this.#orders.set(key, known)
    const workers = this.#workers()
    const asked = workers.map(({ line }) => line.ask<GateMarks>('act', { id: known, command, argument }))
    const done = await Promise.allSettled(asked)
    this.#orders.delete(key)
    const marks = done.filter((one) => one.status === 'fulfilled').map(({ value }) => value)
    if (marks.length > 0) this.gates = marks[0]
    const errors = done.filter((one) => one.status === 'rejected').map(({ reason }) => reason as Error)
    // A worker that has gone in the middle has nothing left to be done.
    const refusals = errors.filter((error) => error instanceof ConsoleError)
    const refused = refusals.find(({ code }) => code !== NOT_HERE) ?? refusals[0]
    if (refused === undefined || (FOR_ONE.has(command) && marks.length > 0)) return
    if (refused.code === GAVE_UP && WAITED_FOR.has(command)) await this.#undo(argument)
    throw refused
  }

  /** Who gives up waiting for a pause does not want it: neither in those that have paused already. */
  async #undo(argument: string): Promise<void> {
    const id = ++this.#lastOrder
    const order: Order = { id, command: 'RESUME', argument }
    const asked = this.#workers().map(({ line }) => line.ask<GateMarks>('act', order))
    const done = await Promise.allSettled(asked)
    for (const one of done) if (one.status === 'fulfilled') this.gates = one.value
  }
}
