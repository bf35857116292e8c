// What the dashboard is told by one process that does all the work.
import type { Config } from '../../config/types.ts'
import type { Console } from '../console/console.ts'
import { partOf } from './part.ts'
import { Lateness, type Numbers, readingOf } from './reading.ts'
import type { Desk, Part, Reading, Taker } from './types.ts'

/** The process, as far as it is needed here. */
export interface Shown {
  readonly consoleDoor: Console
  readonly numbers: Numbers
}

export class LocalDesk implements Desk {
  readonly workers = 1
  readonly #of: Shown
  readonly #lateness = new Lateness()

  constructor(of: Shown) {
    this.#of = of
  }

  get config(): Config {
    return this.#of.consoleDoor.source.config
  }

  get version(): string {
    return this.#of.consoleDoor.source.version
  }

  tick(now: number): void {
    this.#lateness.tick(now)
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

  parts(): readonly Part[] {
    return [this.part(true)]
  }
}
