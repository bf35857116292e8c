// What the dashboard is told by one process that does all the work.
import type { Config } from '../../config/types.ts'
import type { LogTail, TailLine } from '../../observe/log-tail.ts'
import type { Console } from '../console/console.ts'
import type { Command, Operator } from '../console/types.ts'
import { type CheckingHouse, checkCredentials } from './check.ts'
import { LogLines } from './log-lines.ts'
import { heldOf, partOf } from './part.ts'
import { Lateness, type Numbers, readingOf } from './reading.ts'
import type {
  Act,
  AuthFailure,
  Credentials,
  Desk,
  HeldRow,
  Part,
  PoolKey,
  Reading,
  Taker,
  Value,
} from './types.ts'

/** The process, as far as it is needed here. */
export interface Shown {
  readonly consoleDoor: Console
  readonly numbers: Numbers
  readonly house: CheckingHouse
}

export class LocalDesk implements Desk {
  readonly workers = 1
  readonly #of: Shown
  readonly #lateness = new Lateness()
  readonly #lines = new LogLines()
  #tell: ((lines: readonly TailLine[]) => void) | null = null
  #lastAct = 0

  constructor(of: Shown) {
    this.#of = of
  }

  get config(): Config {
    return this.#of.consoleDoor.source.config
  }

  get version(): string {
    return this.#of.consoleDoor.source.version
  }

  get tail(): LogTail | null {
    return this.#of.consoleDoor.source.tail
  }

  tick(now: number): void {
    this.#lateness.tick(now)
    const lines = this.#tell === null ? [] : this.#lines.take(now)
    if (lines.length > 0) this.#tell?.(lines)
  }

  /** What the log says is told to somebody else from now on. */
  follow(tell: (lines: readonly TailLine[]) => void): void {
    this.#tell = tell
    if (this.tail !== null) this.tail.listener = (line) => this.#lines.add(line)
  }

  /** The numbers of this process. */
  reading(taker: Taker): Reading {
    return readingOf(this.#of.consoleDoor.source, this.#of.numbers, this.#lateness.take(taker))
  }

  readings(taker: Taker): ReadonlyMap<number, Reading> {
    return new Map([[0, this.reading(taker)]])
  }

  /** What this process has to show. @param isAlone no other process adds to it */
  part(isAlone: boolean): Part {
    return partOf(this.#of.consoleDoor.source, isAlone)
  }

  /** Who has the servers of these pools here. */
  held(keys: readonly PoolKey[]): HeldRow[] {
    return heldOf(this.#of.consoleDoor.source, keys)
  }

  parts(): readonly Part[] {
    return [this.part(true)]
  }

  rows(command: Command): Iterable<readonly Value[]> {
    const { source, averages, sessions } = this.#of.consoleDoor
    const operator: Operator = { source, averages, sessions, wait: async () => {}, setApplicationName() {} }
    return command.rows?.(operator) ?? []
  }

  act({ name }: Command, argument: string): Act {
    const { elsewhere } = this.#of.consoleDoor
    const id = ++this.#lastAct
    return { done: elsewhere.act(id, name, argument), abandon: () => elsewhere.abandon(id) }
  }

  check(credentials: Credentials): Promise<AuthFailure | null> {
    return checkCredentials(this.#of.house, credentials, this.config.client.auth === 'hba')
  }

  note(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#of.consoleDoor.source.note(fields, message)
  }
}
