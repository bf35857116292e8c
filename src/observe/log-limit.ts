// Keeps a storm of one and the same event from filling the log: a few lines a second per reason, then one
// line that says how many were left out. Knows no timer: its owner calls `tick`.
import type { Clock } from '../util/env.ts'
import type { Log, LogFields, LogLevel } from './log.ts'

const LINES_PER_SECOND = 10
const WINDOW_MS = 1000
/** Reasons told apart; what comes beyond them shares one limit. */
const REASONS_MAX = 256

interface Window {
  readonly reason: string
  since: number
  lines: number
  suppressed: number
  level: LogLevel
}

/** Writes to a log, at most 10 lines per second and reason. */
export class LimitedLog {
  readonly #log: Log
  readonly #clock: Clock
  readonly #windows = new Map<string, Window>()

  constructor(log: Log, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  /** `reason` is a fixed word and becomes a field of the line. */
  write(level: LogLevel, reason: string, line: { fields: LogFields; message: string }): void {
    const now = this.#clock.now()
    const window = this.#windowOf(reason, level, now)
    if (now - window.since >= WINDOW_MS) this.#next(window, now)
    if (window.lines >= LINES_PER_SECOND) {
      window.suppressed++
      return
    }
    window.lines++
    this.#log[level]({ ...line.fields, reason }, line.message)
  }

  /** Writes the summaries that are due and forgets what has gone quiet. Call it about once a second. */
  tick(): void {
    const now = this.#clock.now()
    for (const [reason, window] of this.#windows) {
      if (now - window.since < WINDOW_MS) continue
      this.#next(window, now)
      this.#windows.delete(reason)
    }
  }

  #windowOf(reason: string, level: LogLevel, now: number): Window {
    const known = this.#windows.get(reason)
    if (known !== undefined) return known
    const key = this.#windows.size < REASONS_MAX ? reason : 'other'
    const window = this.#windows.get(key) ?? { reason: key, since: now, lines: 0, suppressed: 0, level }
    this.#windows.set(key, window)
    return window
  }

  #next(window: Window, now: number): void {
    if (window.suppressed > 0) {
      this.#log[window.level](
        { reason: window.reason, suppressed: window.suppressed },
        'more of the same was not logged',
      )
    }
    window.since = now
    window.lines = 0
    window.suppressed = 0
  }
}
