// The log: one event, one line, no secrets (sanitize.ts). The only place that knows pino. Never waits for
// whoever reads it: where the reader stalls, lines are dropped rather than memory filled.
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'
import { LogTail } from './log-tail.ts'
import { safeFields, safeText } from './sanitize.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, unknown>>

/**
 * Fields are data (`{ user, reason }`), the message is fixed words. Neither may hold a secret; known names
 * are redacted.
 */
export interface Log {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
  /** A log that adds these fields to each of its lines. */
  child(fields: LogFields): Log
  /** True where lines of this level are written: ask before fields that cost something are put together. */
  enabled(level: LogLevel): boolean
  /** Of this log and all its children. Absent: a log whose owner decides. */
  setLevel?(level: LogLevel): void
  /** Lines that were dropped so far because nobody took them. */
  lost?(): number
  /** Its last lines, and those of its children. Absent: a log whose owner keeps them. */
  readonly tail?: LogTail
}

export interface LogOptions {
  readonly level: LogLevel
  readonly format: 'pretty' | 'json'
  /** Where lines go; standard output when left out. */
  readonly to?: DestinationStream
}

/** Bytes kept for a reader that stalls. */
const UNREAD_MAX = 4 * 1024 * 1024

/** The log of the process. */
export function createLog(options: LogOptions): Log {
  const state: LogState = { rank: RANKS[options.level], lost: 0, tail: new LogTail() }
  const to = options.to ?? standardOutput(state)
  const settings = {
    // Ours decides, because the children of a logger of pino keep the level that it had.
    level: 'debug',
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // Errors are plain fields by the time they come here; the special care of pino would take several lines.
    errorKey: '',
    serializers: { err: (value: unknown) => value },
  }
  const logger = pino(settings, options.format === 'json' ? to : prettyStream(to))
  return new PinoLog(logger, state, {})
}

/** A full disk or a reader that has gone is no reason to end: lines are kept, and dropped when too many. */
function standardOutput(state: LogState): DestinationStream {
  let isStuck = false
  let isEnding = false
  const retryEAGAIN = (): boolean => {
    isStuck = true
    return !isEnding
  }
  // The types of pino do not know all options of the stream.
  const options: object = { dest: 1, sync: false, maxLength: UNREAD_MAX, retryEAGAIN }
  const to = destination(options)
  to.on('drop', () => state.lost++)
  // Each further line tries again.
  to.on('error', () => {
    isStuck = true
  })
  to.on('write', () => {
    isStuck = false
  })
  // At the end of the process pino would try for ever.
  process.prependListener('exit', () => {
    isEnding = true
    try {
      if (!isStuck) to.flushSync()
    } catch {
      // Nobody takes it.
    }
    to.destroy()
  })
  return to
}

function prettyStream(to: DestinationStream): DestinationStream {
  const colorize = process.stdout.isTTY === true && !process.env.NO_COLOR
  return pretty({
    destination: to as NodeJS.WritableStream & DestinationStream,
    colorize,
    singleLine: true,
    // It would print these over several lines.
    errorLikeObjectKeys: [],
  })
}

const RANKS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

/** Shared by a log and all its children. */
interface LogState {
  rank: number
  lost: number
  readonly tail: LogTail
}

class PinoLog implements Log {
  readonly #logger: Logger
  readonly #state: LogState
  /** Of each of its lines. */
  readonly #common: LogFields

  constructor(logger: Logger, state: LogState, common: LogFields) {
    this.#logger = logger
    this.#state = state
    this.#common = common
  }

  get tail(): LogTail {
    return this.#state.tail
  }

  debug(fields: LogFields, message: string): void {
    this.#write('debug', fields, message)
  }

  info(fields: LogFields, message: string): void {
    this.#write('info', fields, message)
  }

  warn(fields: LogFields, message: string): void {
    this.#write('warn', fields, message)
  }

  error(fields: LogFields, message: string): void {
    this.#write('error', fields, message)
  }

  #write(level: LogLevel, fields: LogFields, message: string): void {
    if (!this.enabled(level)) return
    const own = safeFields(fields)
    const text = safeText(message)
    this.#logger[level](own, text)
    this.#state.tail.add({ at: Date.now(), level, message: text, fields: { ...this.#common, ...own } })
  }

  child(fields: LogFields): Log {
    const own = safeFields(fields)
    return new PinoLog(this.#logger.child(own), this.#state, { ...this.#common, ...own })
  }

  enabled(level: LogLevel): boolean {
    return RANKS[level] >= this.#state.rank
  }

  setLevel(level: LogLevel): void {
    this.#state.rank = RANKS[level]
  }

  lost(): number {
    return this.#state.lost
  }
}
