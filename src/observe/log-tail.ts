// The last lines of a log, for whoever looks, and who is told of each further one. It owns a fixed number of
// them; they are as they were written, so without secrets.
import type { LogFields, LogLevel } from './log.ts'

/** Lines that are kept. */
const KEPT = 200

/** One line. `at`: wall clock, ms. */
export interface TailLine {
  readonly at: number
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}

export class LogTail {
  readonly #lines: TailLine[] = []
  #next = 0
  /** Is told of each line. It must not log. */
  listener: ((line: TailLine) => void) | null = null

  add(line: TailLine): void {
    this.#lines[this.#next] = line
    this.#next = (this.#next + 1) % KEPT
    this.listener?.(line)
  }

  /** The oldest first. */
  lines(): TailLine[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)]
  }
}
