// What can be measured, and what is asked of it. Data only.

/** Loads that run for a time against several peers, in rounds. */
export const LOADS = [
  'simple',
  'extended',
  'prepared',
  'tpcb',
  'connect',
  'copy-out',
  'copy-in',
  'delay-simple-64',
  'delay-simple-200',
  'delay-prepared-64',
  'delay-prepared-200',
  'clients-1',
  'clients-8',
  'clients-64',
  'clients-500',
  'clients-2000',
  'clients-5000',
  'mixed-work',
  'mixed-wait',
  'mostly-read',
  'wide',
] as const
export type Load = (typeof LOADS)[number]

/** What is measured unless something else is asked for. */
export const USUAL = [...LOADS.slice(0, 7), 'logins', 'auth-storm'] as const

/** Everything that can be measured by itself. */
export const SCENARIOS = [
  ...LOADS,
  'idle',
  'logins',
  'auth-storm',
  'websocket',
  'http',
  'web-storm',
  'session',
  'dashboard',
] as const
export type Scenario = (typeof SCENARIOS)[number]

/** Names for several at once. */
export const GROUPS: Readonly<Record<string, readonly Scenario[]>> = {
  delay: LOADS.filter((load) => load.startsWith('delay-')),
  clients: LOADS.filter((load) => load.startsWith('clients-')),
  mixed: ['mixed-work', 'mixed-wait'],
  all: SCENARIOS,
}

/** What a client does again and again. A script is pgbench's. */
export type How = 'simple' | 'extended' | 'prepared' | 'tpcb' | 'connect' | 'copy-out' | 'copy-in' | 'script'

/** What is asked of pgmux in one load. null: nothing. */
export interface Asked {
  /** Least ratio of the rate to PgBouncer's. */
  readonly rate: number | null
  /** Most CPU of the pooler per transaction, as ratio to PgBouncer's. */
  readonly cpu: number | null
  /** Least ratio of the rate to Postgres' own, where PgBouncer cannot do the load. */
  readonly direct: number | null
}

export interface LoadFacts {
  /** What one run of it does. */
  readonly title: string
  /** What is counted: transactions, or megabytes (1,000,000 bytes) of COPY data. */
  readonly unit: 'transactions' | 'MB'
  readonly how: How
  /** null: as many as `--clients` says. */
  readonly clients: number | null
  /** Between each pooler and Postgres there is a relay that takes its time. */
  readonly isFar: boolean
  /** Further peers that take part unless they are told not to. */
  readonly beside: readonly Beside[]
  /** With pool.shared as it is by default, and without it. */
  readonly shared: Asked
  readonly leased: Asked
}

/** Peers that are no other program: pgmux without shared dispatch, and a bare relay of bytes. */
export type Beside = 'pgmux-leased' | 'relay'

const NOTHING: Asked = { rate: null, cpu: null, direct: null }
const PLAIN = {
  unit: 'transactions',
  how: 'simple',
  clients: null,
  isFar: false,
  beside: [],
  shared: NOTHING,
  leased: NOTHING,
} as const
/** Clients of a COPY, whatever `--clients` says: one stream at line rate. */
const COPY = { ...PLAIN, unit: 'MB', clients: 1 } as const
const BOTH = ['pgmux-leased', 'relay'] as const
const SELECT = {
  ...PLAIN,
  beside: BOTH,
  shared: { rate: 1.5, cpu: 0.7, direct: null },
  leased: { rate: 0.95, cpu: 1.15, direct: null },
} as const

/** The same is asked whether or not servers are shared. */
function always(rate: number): Pick<LoadFacts, 'shared' | 'leased'> {
  const asked = { ...NOTHING, rate }
  return { shared: asked, leased: asked }
}

function far(how: 'simple' | 'prepared', clients: number, rate: number): LoadFacts {
  const title = `2 ms to Postgres: select by key, ${how}, ${clients} clients`
  return { ...PLAIN, title, how, clients, isFar: true, shared: { ...NOTHING, rate } }
}

function many(clients: number, rate: number | null): LoadFacts {
  const title = `select by key, simple protocol, ${clients} clients`
  return { ...PLAIN, title, clients, shared: { ...NOTHING, rate } }
}

function script(title: string, beside: readonly Beside[] = []): LoadFacts {
  return { ...PLAIN, title, how: 'script', beside }
}

export const FACTS: Readonly<Record<Load, LoadFacts>> = {
  simple: { ...SELECT, title: 'select by key, simple protocol' },
  extended: { ...SELECT, title: 'select by key, extended protocol', how: 'extended' },
  prepared: {
    ...SELECT,
    title: 'select by key, prepared statement',
    how: 'prepared',
    shared: { rate: 1.5, cpu: null, direct: 1 },
    leased: { rate: 1, cpu: null, direct: 0.6 },
  },
  tpcb: { ...PLAIN, title: 'TPC-B, seven statements each', how: 'tpcb', ...always(0.95) },
  connect: { ...PLAIN, title: 'connect, select by key, leave', how: 'connect', ...always(0.8) },
  'copy-out': { ...COPY, title: 'COPY of 1,000-byte rows to a client', how: 'copy-out', ...always(1.3) },
  'copy-in': { ...COPY, title: 'COPY of 1,000-byte rows from a client', how: 'copy-in' },
  'delay-simple-64': far('simple', 64, 4),
  'delay-simple-200': far('simple', 200, 8),
  'delay-prepared-64': far('prepared', 64, 4),
  'delay-prepared-200': far('prepared', 200, 8),
  'clients-1': many(1, null),
  'clients-8': many(8, null),
  'clients-64': many(64, null),
  'clients-500': many(500, 1.4),
  'clients-2000': many(2000, 1.4),
  'clients-5000': many(5000, null),
  'mixed-work': script('99 % selects by key, 1 % that compute for 50 ms', ['pgmux-leased']),
  'mixed-wait': script('99 % selects by key, 1 % that sleep for 50 ms', ['pgmux-leased']),
  'mostly-read': script('90 % selects by key, 10 % transactions of a select and an update'),
  wide: script('select of 100 rows of 1 KiB'),
}

/** What runs while somebody looks at the dashboard. */
export const DASHBOARD_LOAD: Load = 'clients-2000'

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

/** @param usual what `--clients` says */
export function clientsOf(load: Load, usual: number): number {
  return FACTS[load].clients ?? usual
}

/** As pgbench has it. */
export const ACCOUNTS_PER_SCALE = 100_000
export const TELLERS_PER_SCALE = 10

/** The table of the COPYs: rows of one number and one text of so many bytes, 64 MB of them. */
export const BULK_TABLE = 'bench_bulk'
export const BULK_ROW = 1000
export const BULK_ROWS = 64_000

/** The table of `wide`: rows of one number and one text of so many bytes. */
export const WIDE_TABLE = 'bench_wide'
export const WIDE_ROW = 1024
export const WIDE_ROWS = 10_000
/** Rows of one answer. */
export const WIDE_ANSWER = 100
