// What the dashboard is told and tells: readings of processes, their parts of the picture, and the desk that
// has them. Types and names only. Everything here crosses between processes as it is and ends as JSON.
import type { Value } from '../../wire/rows.ts'
import type { AuthFailure } from '../../auth/failure.ts'
import type { Config } from '../../config/types.ts'
import type { LogTail } from '../../observe/log-tail.ts'
import type { Command } from '../console/types.ts'

/** What only grows, and is shown as its growth a second. */
export const COUNTS = [
  'queries',
  'transactions',
  'errors',
  'shared',
  'logins',
  'bytes_in',
  'bytes_out',
  'cpu',
] as const
/** What is there now; of several processes the sum. */
export const GAUGES = [
  'clients_active',
  'clients_idle',
  'clients_waiting',
  'servers_active',
  'servers_idle',
  'servers_other',
  'pins',
  'rss',
] as const
/** Of several processes the largest. */
export const MAXIMA = ['oldest_wait', 'loop_delay'] as const
/** Of the time between two readings, ms; null where nothing happened. */
export const PERCENTILES = ['query_p50', 'query_p95', 'query_p99', 'wait_p99'] as const

export const SERIES = [...COUNTS, ...GAUGES, ...MAXIMA, ...PERCENTILES] as const

/** The numbers of one process, in the order of the names above. */
export interface Reading {
  readonly counts: readonly number[]
  readonly gauges: readonly number[]
  readonly maxima: readonly number[]
  /** Buckets of times. */
  readonly queries: readonly number[]
  readonly waits: readonly number[]
}

/** One point of all series, in the order of SERIES; NaN: there is none. */
export type Point = Float64Array

/** Who takes readings: each has its own largest delay of the event loop. */
export type Taker = 'now' | 'sample'

export type State = 'active' | 'paused' | 'suspended' | 'draining'

export interface PoolRow {
  readonly database: string
  readonly user: string
  readonly mode: string
  readonly size: number
  readonly clients_active: number
  readonly clients_idle: number
  readonly clients_waiting: number
  readonly servers_active: number
  readonly servers_idle: number
  readonly servers_other: number
  readonly oldest_wait_ms: number
  readonly paused: boolean
  /** Whether reads of several clients run on one server: `off`, `on`, or on how many servers they do. */
  readonly shared: string
}

/** Who is most in the way of those that wait. */
export interface HolderRow {
  readonly id: number | null
  readonly address: string
  readonly application_name: string
  readonly state: string
  /** The reasons of its pins; '' : none. */
  readonly pins: string
  readonly seconds: number
  readonly statement: string
}

/** Why the clients of one pool wait. */
export interface CauseRow {
  readonly database: string
  readonly user: string
  readonly reason: string
  readonly cause: string
  readonly advice: string
  readonly clients: number
  readonly longest_ms: number
  readonly holder: HolderRow | null
}

export interface PinRow {
  readonly database: string
  readonly user: string
  readonly client_id: number
  readonly address: string
  readonly reason: string
  readonly statement: string
  readonly seconds: number
}

export interface LeakRow {
  readonly at: number
  readonly database: string
  readonly user: string
  readonly what: string
  readonly after: string
}

export interface StatementRow {
  readonly database: string
  readonly statement: string
  readonly calls: number
  readonly total_ms: number
  readonly mean_ms: number
  readonly max_ms: number
  readonly rows: number
  readonly shared: number
  readonly errors: number
}

export interface HostRow {
  readonly database: string
  readonly host: string | null
  readonly port: number | null
  readonly state: string
  readonly servers_active: number
  readonly servers_idle: number
  readonly servers_login: number
  readonly clients_waiting: number
  readonly logins: number
  readonly failed_logins: number
  readonly last_error: string | null
  readonly failing_since: string | null
}

export interface ErrorRow {
  readonly code: string
  readonly reason: string
  readonly count: number
  readonly last_at: number
  readonly message: string
}

export interface RecentRow {
  readonly at: number
  readonly code: string
  readonly reason: string
  readonly message: string
  readonly database: string
  readonly user: string
  readonly address: string
}

/** What one process has to show. Each list is cut off at a fixed length. */
export interface Part {
  readonly state: State
  /** Databases that somebody has paused, or disabled, by their name. */
  readonly paused: readonly string[]
  readonly disabled: readonly string[]
  readonly pools: readonly PoolRow[]
  readonly causes: readonly CauseRow[]
  readonly pins: readonly PinRow[]
  readonly leaks: readonly LeakRow[]
  readonly statements: {
    readonly slowest: readonly StatementRow[]
    readonly frequent: readonly StatementRow[]
  }
  readonly hosts: readonly HostRow[]
  readonly errors: readonly ErrorRow[]
  readonly recent: readonly RecentRow[]
}

/** A pool, by its names. */
export type PoolKey = readonly [database: string, user: string]

/** Who has the servers of a pool in one process, for clients that wait in another. */
export interface HeldRow {
  readonly database: string
  readonly user: string
  /** Servers that the pool may have, in all processes. */
  readonly size: number
  /** How many servers do what. */
  readonly states: Readonly<Record<string, number>>
  /** How much its holder is in the way: the smaller, the more. */
  readonly rank: number
  readonly holder: HolderRow | null
  readonly advice: string
}

/** A name and a password that somebody has sent, and from where. */
export interface Credentials {
  readonly user: string
  readonly password: string
  readonly address: string
}

/** A command that is under way. */
export interface Act {
  /** Rejects with a ConsoleError. */
  readonly done: Promise<void>
  /** Nobody waits for it any more. */
  abandon(): void
}

/** The process, or all that share the work, as the dashboard sees them. */
export interface Desk {
  readonly config: Config
  readonly version: string
  /** Processes that serve clients. */
  readonly workers: number
  /** By a number that no other process has or had. */
  readings(taker: Taker): ReadonlyMap<number, Reading> | Promise<ReadonlyMap<number, Reading>>
  parts(): readonly Part[] | Promise<readonly Part[]>
  /** The rows of a SHOW. */
  rows(command: Command): Iterable<readonly Value[]> | Promise<Iterable<readonly Value[]>>
  /** Runs a command. */
  act(command: Command, argument: string): Act
  /** @returns why these are not a user's; null: they are. Never rejects */
  check(credentials: Credentials): Promise<AuthFailure | null>
  /** The last lines of the log; null: nobody keeps them. */
  readonly tail: LogTail | null
  /** For the log: what somebody did. */
  note(fields: Readonly<Record<string, unknown>>, message: string): void
}

export type { AuthFailure, Command, Value }
