// What the server sends to the page (src/admin/dashboard), and what the parts of the page give each other.
// Shapes only; nothing of this is there when the page runs.

/** One number of the process; null: there was nothing to measure. */
export type Values = Record<string, number | null>

export interface PoolRow {
  readonly database: string
  readonly user: string
  readonly mode: string
  readonly size: number
  readonly clients_active: number
  readonly clients_idle?: number
  readonly clients_waiting: number
  readonly servers_active: number
  readonly servers_idle: number
  readonly servers_other: number
  readonly oldest_wait_ms: number
  readonly paused: boolean
  readonly shared: string
}

export type Reason = 'pool_full' | 'limit' | 'host_down' | 'paused' | 'login' | 'checked' | 'other_workers'

/** Who is most in the way of others. */
export interface Holder {
  /** Null: several clients at once, or one that has gone. */
  readonly id: number | string | null
  readonly address: string | null
  readonly application_name: string | null
  readonly state: string
  readonly seconds: number
  readonly statement: string
  /** The reasons of its pins; '' : none. */
  readonly pins?: string
}

/** Why clients wait. */
export interface Cause {
  readonly database: string
  readonly user: string
  readonly reason: Reason
  readonly cause: string
  readonly advice: string
  readonly clients: number
  readonly longest_ms: number
  readonly holder: Holder | null
}

export interface PinRow {
  readonly database: string
  readonly user: string
  readonly client_id: number | string
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
  readonly database?: string
  readonly statement: string
  readonly calls: number
  readonly total_ms: number
  readonly mean_ms: number | null
  readonly rows: number
  readonly shared: number
  readonly errors: number
}

export interface HostRow {
  readonly database: string
  readonly host: string | null
  readonly port: number | null
  readonly role?: string | null
  readonly state: string
  readonly last_error: string | null
  readonly failing_since?: number | string | null
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
  readonly database: string | null
  readonly user: string | null
  readonly address: string | null
}

/** All that is shown of one moment. */
export interface Snapshot {
  readonly at: number
  readonly version: string
  readonly uptime: number
  readonly state: 'active' | 'paused' | 'suspended' | 'draining'
  readonly workers: number
  readonly values: Values
  readonly pools: readonly PoolRow[]
  readonly causes: readonly Cause[]
  readonly pins: readonly PinRow[]
  readonly leaks: readonly LeakRow[]
  readonly statements: {
    readonly slowest: readonly StatementRow[]
    readonly frequent: readonly StatementRow[]
  }
  readonly hosts: readonly HostRow[]
  readonly errors: readonly ErrorRow[]
  readonly recent: readonly RecentRow[]
  /** Databases that are paused or disabled by name, also those without a pool. */
  readonly paused?: readonly string[]
  readonly disabled?: readonly string[]
}

/** The last hour. */
export interface History {
  readonly step: number
  readonly end: number
  readonly series: Record<string, readonly (number | null)[]>
}

export interface Sample {
  readonly at: number
  readonly values: Values
}

export interface LogLine {
  readonly at: number
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Who looks. */
export interface Me {
  readonly user: string
  readonly role: 'admin' | 'stats' | null
  readonly mayLook: boolean
  readonly version: string
  readonly hasAdmins: boolean
}

/** Rows of a SHOW, by the names of their columns. */
export type Row = Record<string, string | number | null>

export interface Shown {
  readonly rows: readonly Row[]
  /** There are more than were asked for. */
  readonly more: boolean
}

/** How the line to the server is. */
export interface Line {
  readonly state: 'connecting' | 'live' | 'lost' | 'denied' | 'refused'
  /** Since when (ms). */
  readonly since: number
  /** Why, in a sentence; '' where there is nothing to say. */
  readonly reason: string
}

/** A column of a table. */
export interface Column<T> {
  readonly key: string
  readonly title: string
  /** What the cell says. */
  readonly text: (row: T) => string
  /** By what it is sorted; what it says, where absent. Null goes last. */
  readonly sort?: (row: T) => string | number | null
  readonly isNumber?: boolean
  /** Absent: can be sorted. */
  readonly isFixed?: boolean
  /** A class of the style sheet. */
  readonly look?: string
  /** Puts something else than text into the cell: called again and again, it keeps what is there. */
  readonly fill?: (cell: HTMLElement, row: T) => void
}
