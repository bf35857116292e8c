// What is measured of the endpoint for WebSocket and HTTP, beside what, and what is asked of it. Data only.

/** How a load gets to Postgres. */
export type Way =
  | 'pgbench -S'
  | 'tcp'
  | 'websocket'
  | 'http'
  | 'node-postgres'
  | 'neon websocket'
  | 'neon http'

/** `visit`: connect, one select by key, close. `query`: the select. `batch`: BATCH in one transaction. */
export type WebLoad = 'visit' | 'query' | 'batch'

/** One row of the comparison. */
export interface WebRow {
  readonly scenario: 'websocket' | 'http'
  /** Rows of one group are compared with its first row. */
  readonly group: string
  readonly way: Way
  readonly load: WebLoad
  readonly auth: 'trust' | 'scram-sha-256'
  /** 0: as many as `--clients` says. */
  readonly clients: number
}

/** Statements of a batch. */
export const BATCH = 10
/** WebSockets, or connections, that are open and at work at once. */
const CROWD = 1000

const VISIT = 'connect, select by key, close'
const QUERY = 'select by key on an open connection'

const row = (
  scenario: WebRow['scenario'],
  group: string,
  rest: Pick<WebRow, 'load'> & { clients?: number },
  { auth, ways }: { auth: WebRow['auth']; ways: readonly Way[] },
): WebRow[] => ways.map((way) => ({ scenario, group, way, auth, clients: 0, ...rest }))

/** What the two scenarios measure. With passwords, TCP has SCRAM and the others say theirs in the clear. */
export const WEB_ROWS: readonly WebRow[] = [
  ...row('websocket', `${VISIT}; trust`, { load: 'visit' }, { auth: 'trust', ways: ['tcp', 'websocket'] }),
  ...row(
    'websocket',
    `${VISIT}; password`,
    { load: 'visit' },
    { auth: 'scram-sha-256', ways: ['tcp', 'websocket', 'node-postgres', 'neon websocket'] },
  ),
  ...row('websocket', QUERY, { load: 'query' }, { auth: 'scram-sha-256', ways: ['tcp', 'websocket'] }),
  ...row(
    'websocket',
    `${QUERY}, ${CROWD} of them`,
    { load: 'query', clients: CROWD },
    { auth: 'scram-sha-256', ways: ['tcp', 'websocket'] },
  ),
  ...row(
    'http',
    QUERY,
    { load: 'query' },
    { auth: 'scram-sha-256', ways: ['pgbench -S', 'tcp', 'http', 'node-postgres', 'neon http'] },
  ),
  ...row(
    'http',
    `${BATCH} selects in one transaction`,
    { load: 'batch' },
    { auth: 'scram-sha-256', ways: ['tcp', 'http', 'node-postgres', 'neon http'] },
  ),
  ...row('http', `${VISIT}; password`, { load: 'visit' }, { auth: 'scram-sha-256', ways: ['tcp', 'http'] }),
]

/** Least share of the rate of TCP that connect, select and close over WebSocket must reach. */
export const LEAST_VISIT = 0.6
/** HTTP requests a second, or the share of `pgbench -S`, that keep-alive must reach: whichever is less. */
export const LEAST_HTTP = { rate: 8000, share: 0.5 } as const
/** p99 of good traffic may rise by so much while wrong passwords come. */
export const WEB_STORM_TIMES = 1.25

/** The good traffic of `web-storm`. */
export const GOOD_KINDS = ['HTTP requests', 'WebSocket queries', 'WebSocket visits'] as const
export type GoodKind = (typeof GOOD_KINDS)[number]
