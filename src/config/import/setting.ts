// What a setting of PgBouncer is, for the tables beside this file. It owns the type and the few conversions
// that many rows share.
import { durationOf } from './values.ts'

/** What stands in config.yaml. */
export type Value = string | number | boolean

/** How PgBouncer reads it; a list: one of these words. `atoi` is content with anything. */
export type Reads = 'integer' | 'seconds' | 'text' | 'file' | 'atoi' | readonly string[]

/** A value as it was read: numbers as they are, seconds in ms, texts, files with their whole name. */
export type Read = string | number

/** The other settings of the file. */
export interface Others {
  /** What the file says, or PgBouncer's default. */
  of(name: string): string
}

/** One setting of PgBouncer: the only place that says what becomes of it. */
export interface Setting {
  readonly name: string
  readonly reads: Reads
  /**
   * What PgBouncer 1.25 does where its file is silent; absent in [databases] and [users], where it says
   * nothing.
   */
  readonly fallback?: string
  /** Our keys; none: it is not there. */
  readonly to?: readonly string[]
  /** What stands there; null: our default does. Absent: the value as it was read. */
  readonly as?: (value: never, others: Others) => Value | null
  /** What differs, or why it is not there. */
  readonly note?: string
  /** Whoever has set it will miss it: said on standard error. */
  readonly isMissed?: true
}

/** A row whose conversion fits how it is read. */
interface Row<R extends Read> extends Omit<Setting, 'as'> {
  readonly as?: (value: R, others: Others) => Value | null
}

/** A time, in ms. */
export const time = (row: Omit<Row<number>, 'reads'>): Setting => ({
  as: durationOf,
  ...row,
  reads: 'seconds',
})
/** A whole number. */
export const number = (row: Omit<Row<number>, 'reads'>): Setting => ({ ...row, reads: 'integer' })
/** 0 or another number. */
export const flag = (row: Omit<Row<number>, 'reads'>): Setting => ({ as: isOn, ...row, reads: 'integer' })
export const text = (row: Omit<Row<string>, 'reads'>): Setting => ({ ...row, reads: 'text' })
export const file = (row: Omit<Row<string>, 'reads'>): Setting => ({ ...row, reads: 'file' })
export const word = (words: readonly string[], row: Omit<Row<string>, 'reads'>): Setting => ({
  ...row,
  reads: words,
})
/** A number of a connection string. */
export const loose = (row: Omit<Row<number>, 'reads'>): Setting => ({ ...row, reads: 'atoi' })

export const isOn = (value: number): boolean => value !== 0
/** What is no limit there, and no limit here. */
export const limit = (value: number): number => Math.min(Math.max(0, value), MOST)
/** Of a pool: 0 is no limit there. */
export const poolSize = (value: number): number => (value <= 0 ? MOST_SERVERS : Math.min(value, MOST_SERVERS))

/** The most that a limit can be, and `pool.size`. */
const MOST = 1_000_000
export const MOST_SERVERS = 100_000

export const POOL_MODES = ['session', 'transaction', 'statement']
