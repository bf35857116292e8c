// Owns: a pooler whose console has an admin, somebody who may look, and somebody who may not; and what
// PgBouncer 1.25 shows, as read from its wire. Must never import the table of commands from src.
import { after } from 'node:test'
import { through } from './compare.ts'
import { merge, type Overrides, startPooler, type TestPooler } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'
import { type ClientOptions, WireClient } from './wire-client.ts'

/** User and password of each, in that order. */
export const ADMIN = { user: 'boss', password: 'of all' }
export const STATS = { user: 'viewer', password: 'from afar' }

export interface ConsoleRig {
  readonly test: TestPooler
  readonly postgres: TestPostgres
  /** In the console, as the admin unless told otherwise. */
  console(extra?: ClientOptions): Promise<WireClient>
  /** A client of the database. */
  client(extra?: ClientOptions): Promise<WireClient>
}

/** Stopped with the file, suite or test. */
export async function startConsole(postgres: TestPostgres, overrides: Overrides = {}): Promise<ConsoleRig> {
  const { user, password } = postgres
  const base: Overrides = {
    admin: { users: [ADMIN.user], statsUsers: [STATS.user] },
    users: new Map(
      [ADMIN, STATS, { user, password }].map((one) => [one.user, { secret: one.password }] as const),
    ),
  }
  const test = await startPooler(postgres.url, merge(base as never, overrides) as Overrides)
  after(() => test.stop())
  return {
    test,
    postgres,
    console: (extra = {}) =>
      WireClient.connect(through(test, postgres, { ...ADMIN, database: 'pgmux', ...extra })),
    client: (extra = {}) => WireClient.connect(through(test, postgres, extra)),
  }
}

/** The rows of a result by the names of its columns; '' for NULL. */
export function records(result: {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | null)[])[]
}): Record<string, string>[] {
  const { columns, rows } = result
  return rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i] ?? ''])))
}

/** `name:type` for each column of a result, with the names of the types. */
export function shape(columns: readonly { readonly name: string; readonly type: number }[]): string[] {
  return columns.map(({ name, type }) => `${name}:${TYPES[type] ?? type}`)
}

const TYPES: Readonly<Record<number, string>> = {
  25: 'text',
  23: 'int4',
  20: 'int8',
  1700: 'numeric',
  17: 'bytea',
}

function typed(text: string): string[] {
  return text.split(',').flatMap((group) => {
    const [type, names] = group.split(':') as [string, string]
    return names
      .trim()
      .split(/\s+/)
      .map((name) => `${name}:${type.trim()}`)
  })
}

const CONNECTION =
  'text: type user database replication state addr, int4: port, text: local_addr, int4: local_port, ' +
  'text: connect_time request_time, int4: wait wait_us close_needed, text: ptr link, int4: remote_pid, ' +
  'text: tls application_name, int4: prepared_statements id'
const SOCKET = `${CONNECTION}, int4: recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail`

/** What PgBouncer 1.25.2 shows. */
export const PGBOUNCER: Readonly<Record<string, readonly string[]>> = {
  STATS: typed(
    'text: database, numeric: total_server_assignment_count total_xact_count total_query_count ' +
      'total_received total_sent total_xact_time total_query_time total_wait_time ' +
      'total_client_parse_count total_server_parse_count total_bind_count total_client_login_count ' +
      'avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time ' +
      'avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count ' +
      'avg_client_login_count',
  ),
  STATS_TOTALS: typed(
    'text: database, numeric: server_assignment_count xact_count query_count bytes_received bytes_sent ' +
      'xact_time query_time wait_time client_parse_count server_parse_count bind_count client_login_count',
  ),
  STATS_AVERAGES: typed(
    'text: database, numeric: server_assignment_count xact_count query_count bytes_received bytes_sent ' +
      'xact_time query_time wait_time avg_client_parse_count avg_server_parse_count avg_bind_count ' +
      'avg_client_login_count',
  ),
  TOTALS: typed('text: name, numeric: value'),
  POOLS: typed(
    'text: database user, int4: cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active ' +
      'sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us, ' +
      'text: pool_mode load_balance_hosts',
  ),
  CLIENTS: typed(CONNECTION),
  SERVERS: typed(CONNECTION),
  SOCKETS: typed(SOCKET),
  ACTIVE_SOCKETS: typed(SOCKET),
  DATABASES: typed(
    'text: name host, int4: port, text: database force_user, int4: pool_size min_pool_size ' +
      'reserve_pool_size server_lifetime, text: pool_mode load_balance_hosts, int4: max_connections ' +
      'current_connections max_client_connections current_client_connections paused disabled',
  ),
  USERS: typed(
    'text: name pool_size reserve_pool_size pool_mode, int4: max_user_connections current_connections ' +
      'max_user_client_connections current_client_connections',
  ),
  CONFIG: typed('text: key value default changeable'),
  LISTS: typed('text: list, int4: items'),
  PEERS: typed('int4: peer_id, text: host, int4: port pool_size'),
  PEER_POOLS: typed('int4: peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login'),
  VERSION: typed('text: version'),
  STATE: typed('text: key value'),
  MEM: typed('text: name, int4: size used free memtotal'),
  DNS_HOSTS: typed('text: hostname, int8: ttl, text: addrs'),
  DNS_ZONES: typed('text: zonename, int8: serial, int4: count'),
}

/** What only we show, and our columns at the end of what PgBouncer shows. */
export const OURS: Readonly<Record<string, readonly string[]>> = {
  HELP: typed('text: command role help'),
  ERRORS: typed(
    'text: reason sqlstate, int8: count, text: first_time last_time, int8: age, ' +
      'text: last_message last_database last_user last_addr',
  ),
  RECENT_ERRORS: typed('text: time, int8: age, text: reason sqlstate message database user addr'),
  WAITS: typed(
    'text: database user addr application_name, int4: id, text: kind since, int4: wait wait_us, ' +
      'text: reason cause statement, int4: holder_id, text: holder_addr holder_state, int4: holder_time, ' +
      'text: holder_statement advice',
  ),
  PINS: typed('text: database user reason statement since, int4: age, text: addr id'),
  STATEMENTS: typed(
    'text: database statement, int8: calls total_time avg_time max_time rows errors shared sent_again, ' +
      'text: not_shared',
  ),
  LEAKS: typed('text: time, int8: age, text: database user, int4: remote_pid, text: what after'),
  HOSTS: typed(
    'text: database host, int4: port, text: state, int4: sv_active sv_idle sv_login cl_waiting, ' +
      'int8: logins failed_logins, text: last_error failing_since',
  ),
}
