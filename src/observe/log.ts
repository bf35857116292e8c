// The log: one event, one line, no secrets (sanitize.ts). The only place that knows pino. Never waits for
// whoever reads it: where the reader stalls, lines are dropped rather than memory filled.
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'
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
  const to = options.to ?? destination({ dest: 1, sync: false, maxLength: UNREAD_MAX })
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
  return new PinoLog(logger, { rank: RANKS[options.level] })
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

class PinoLog implements Log {
  readonly #logger: Logger
  /** Shared with all children. */
  readonly #least: { rank: number }

  constructor(logger: Logger, least: { rank: number }) {
    this.#logger = logger
    this.#least = least
  }

  debug(fields: LogFields, message: string): void {
    if (this.enabled('debug')) this.#logger.debug(safeFields(fields), safeText(message))
  }

  info(fields: LogFields, message: string): void {
    if (this.enabled('info')) this.#logger.info(safeFields(fields), safeText(message))
  }

  warn(fields: LogFields, message: string): void {
    if (this.enabled('warn')) this.#logger.warn(safeFields(fields), safeText(message))
  }

  error(fields: LogFields, message: string): void {
    if (this.enabled('error')) this.#logger.error(safeFields(fields), safeText(message))
  }

  child(fields: LogFields): Log {
    return new PinoLog(this.#logger.child(safeFields(fields)), this.#least)
  }

  enabled(level: LogLevel): boolean {
    return RANKS[level] >= this.#least.rank
  }

  setLevel(level: LogLevel): void {
    this.#least.rank = RANKS[level]
  }
}
