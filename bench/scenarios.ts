// What can be measured, and what is asked of it. Data only.

/** Loads that run for a time against every peer, in rounds. */
export const LOADS = ['simple', 'extended', 'prepared', 'tpcb', 'connect', 'copy-out', 'copy-in'] as const
export type Load = (typeof LOADS)[number]

/** What is measured unless something else is asked for. */
export const USUAL = [...LOADS, 'logins', 'auth-storm'] as const

/** Everything that `--scenario` knows. */
export const SCENARIOS = [...USUAL, 'websocket', 'http', 'web-storm', 'session'] as const
export type Scenario = (typeof SCENARIOS)[number]

export interface LoadFacts {
  /** What one run of it does. */
  readonly title: string
  /** What is counted: transactions, or megabytes (1,000,000 bytes) of COPY data. */
  readonly unit: 'transactions' | 'MB'
  /** Least ratio of the rate to PgBouncer's: below it the bench fails. null: it is held to nothing. */
  readonly least: number | null
}

export const FACTS: Readonly<Record<Load, LoadFacts>> = {
  simple: { title: 'select by key, simple protocol', unit: 'transactions', least: 0.9 },
  extended: { title: 'select by key, extended protocol', unit: 'transactions', least: 0.9 },
  prepared: { title: 'select by key, prepared statement', unit: 'transactions', least: null },
  tpcb: { title: 'TPC-B, seven statements each', unit: 'transactions', least: null },
  connect: { title: 'connect, select by key, leave', unit: 'transactions', least: 0.7 },
  'copy-out': { title: 'COPY of 1,000-byte rows to a client', unit: 'MB', least: 1.2 },
  'copy-in': { title: 'COPY of 1,000-byte rows from a client', unit: 'MB', least: null },
}

/** Clients of a COPY, whatever `--clients` says: one stream at line rate. */
export const COPY_CLIENTS = 1

/** 100,000 accounts each: 1,000,000 rows, some 150 MB, all of which stay in memory. */
export const SELECT_SCALE = 10
/** One row of branches each, which every transaction of TPC-B on it has to wait for. */
export const TPCB_SCALE = 50

/** @returns whether it is a COPY */
export function isBulk(load: Load): boolean {
  return FACTS[load].unit === 'MB'
}

/** @returns whether it is one of those that run in rounds for a time */
export function isLoad(scenario: Scenario): scenario is Load {
  return (LOADS as readonly string[]).includes(scenario)
}

/** As pgbench has it. */
export const ACCOUNTS_PER_SCALE = 100_000
export const TELLERS_PER_SCALE = 10

/** The table of the COPYs: rows of one number and one text of so many bytes, 64 MB of them. */
export const BULK_TABLE = 'bench_bulk'
export const BULK_ROW = 1000
export const BULK_ROWS = 64_000
