// Each setting of the section [pgbouncer] of PgBouncer 1.25, and what becomes of it here: the source of what
// `pgmux import` does and of the tables in docs/from-pgbouncer.md (`npm run options` writes them).
import { AUTHENTICATION, CLIENT_TLS, SERVER_TLS } from './settings-security.ts'
import {
  flag,
  file,
  limit,
  MOST_SERVERS,
  number,
  POOL_MODES,
  poolSize,
  type Setting,
  text,
  time,
  word,
} from './setting.ts'
import { durationOf, readInteger } from './values.ts'

/** The least time that is one. */
const AT_ONCE = '1ms'
const NO_FILES = 'the log goes to standard output; the service manager keeps it'
const SYSTEM_TCP = 'Node cannot set it; the system can (`net.ipv4.tcp_keepalive_*`)'
const LOOKED_UP = 'a name is looked up by the system for each new connection'
const ONE_PROCESS =
  '`workers` shares a port among processes of one pgmux; cancel keys are known to these only'

const POOLING: readonly Setting[] = [
  word(POOL_MODES, {
    name: 'pool_mode',
    fallback: 'session',
    to: ['pool.mode'],
    note: 'there session, here transaction',
  }),
  number({
    name: 'default_pool_size',
    fallback: '20',
    to: ['pool.size'],
    as: poolSize,
    note: `0, no limit there, becomes ${MOST_SERVERS}`,
  }),
  number({
    name: 'min_pool_size',
    fallback: '0',
    to: ['pool.min_size'],
    as: (value, { of }) => Math.min(limit(value), poolSize(readInteger(of('default_pool_size')) ?? 0)),
    note: 'no more than the size of the pool',
  }),
  number({ name: 'reserve_pool_size', fallback: '0', to: ['pool.reserve_size'], as: limit }),
  time({ name: 'reserve_pool_timeout', fallback: '5', to: ['pool.reserve_timeout'] }),
  flag({
    name: 'server_round_robin',
    fallback: '0',
    to: ['pool.server_round_robin'],
    note: 'a server with the settings that the client wants still goes first',
  }),
  time({
    name: 'server_lifetime',
    fallback: '3600',
    to: ['pool.server_lifetime'],
    as: (ms) => (ms === 0 ? AT_ONCE : durationOf(ms)),
    note: '0 there: use once; 0 here: no limit',
  }),
  time({ name: 'server_idle_timeout', fallback: '600', to: ['pool.server_idle_timeout'] }),
  text({
    name: 'server_reset_query',
    fallback: 'DISCARD ALL',
    note: "always `DISCARD ALL`, in session mode; what does less would leave one client's state to the next",
  }),
  flag({
    name: 'server_reset_query_always',
    fallback: '0',
    note: 'in transaction mode the settings of each client are brought to its server',
  }),
  text({
    name: 'server_check_query',
    fallback: '<empty>',
    note: 'always an empty query; switched off there, `pool.server_check_delay` becomes 0',
  }),
  time({
    name: 'server_check_delay',
    fallback: '30',
    to: ['pool.server_check_delay'],
    as: (ms, { of }) => (of('server_check_query') === '' ? '0' : ms === 0 ? AT_ONCE : durationOf(ms)),
    note: '0 there: always check; 0 here: never check',
  }),
  flag({
    name: 'server_fast_close',
    fallback: '0',
    note: 'what is not used again is closed as soon as it is free',
  }),
  number({
    name: 'max_prepared_statements',
    fallback: '200',
    to: ['pool.max_prepared_statements'],
    as: (value) => (value <= 0 ? null : Math.min(value, 100_000)),
    note: '0, off there, becomes our default: statements with names always work',
  }),
  time({
    name: 'autodb_idle_timeout',
    fallback: '3600',
    note: 'a pool that nobody uses is forgotten after a minute; counters stay',
  }),
  time({
    name: 'pool_idle_timeout',
    fallback: '0',
    note: 'a pool that nobody uses is forgotten after a minute; counters stay',
  }),
]

const LIMITS: readonly Setting[] = [
  number({
    name: 'max_client_conn',
    fallback: '100',
    to: ['client.max_connections'],
    as: (value) => Math.max(1, value),
    note: 'there 100, here 5000; 0 there lets nobody in, here there is no limit: it becomes 1',
  }),
  number({
    name: 'max_db_connections',
    fallback: '0',
    to: ['pool.max_servers_per_database'],
    as: limit,
    note: 'per database: `databases.<name>.max_servers`',
  }),
  number({
    name: 'max_user_connections',
    fallback: '0',
    to: ['pool.max_servers_per_user'],
    as: limit,
    note: 'per user: `users.<name>.max_servers`',
  }),
  number({
    name: 'max_db_client_connections',
    fallback: '0',
    to: ['client.max_per_database'],
    as: limit,
    note: 'per database: `databases.<name>.max_clients`',
  }),
  number({
    name: 'max_user_client_connections',
    fallback: '0',
    to: ['client.max_per_user'],
    as: limit,
    note: 'per user: `users.<name>.max_clients`',
  }),
  number({
    name: 'max_packet_size',
    fallback: '2147483647',
    note: 'messages are passed on in pieces and never kept whole; before the login 10,000 and 65,536 bytes',
  }),
  number({ name: 'pkt_buf', fallback: '4096', note: 'buffers are shared and sized by themselves' }),
  number({ name: 'sbuf_loopcnt', fallback: '5', note: 'buffers are shared and sized by themselves' }),
  number({
    name: 'listen_backlog',
    fallback: '128',
    to: ['listen.backlog'],
    as: (value) => Math.min(Math.max(1, value), 65_535),
    note: 'there 128, here 1024',
  }),
]

const TIMES: readonly Setting[] = [
  time({
    name: 'query_wait_timeout',
    fallback: '120',
    to: ['pool.query_wait_timeout'],
    note: 'there the client is closed; here it gets an error and stays',
  }),
  time({ name: 'query_wait_notify', fallback: '5', to: ['client.wait_notice'], note: 'there 5 s, here off' }),
  time({
    name: 'query_timeout',
    fallback: '0',
    to: ['client.query_timeout'],
    note: 'there the server is closed; here the query is cancelled',
  }),
  time({ name: 'idle_transaction_timeout', fallback: '0', to: ['client.idle_transaction_timeout'] }),
  time({ name: 'transaction_timeout', fallback: '0', to: ['client.transaction_timeout'] }),
  time({ name: 'client_idle_timeout', fallback: '0', to: ['client.idle_timeout'] }),
  time({
    name: 'client_login_timeout',
    fallback: '60',
    to: ['client.login_timeout'],
    note: 'there 60 s, here 15s',
  }),
  time({
    name: 'server_connect_timeout',
    fallback: '15',
    to: ['upstream.connect_timeout'],
    note: 'there 15 s, here 5s',
  }),
  time({ name: 'server_login_retry', fallback: '15', note: 'there 15 s; here 100 to 250 ms, with jitter' }),
  time({ name: 'cancel_wait_timeout', fallback: '10', to: ['pool.cancel_timeout'] }),
  time({ name: 'suspend_timeout', fallback: '10', note: 'there is no online restart' }),
]

const SESSIONS: readonly Setting[] = [
  text({
    name: 'track_extra_parameters',
    fallback: 'IntervalStyle',
    note: 'all settings of a session follow its client, whatever they are',
  }),
  text({
    name: 'ignore_startup_parameters',
    fallback: '',
    note: 'no parameter is refused by pgmux: Postgres judges them',
  }),
  flag({ name: 'application_name_add_host', fallback: '0', to: ['client.add_address'] }),
  flag({ name: 'disable_pqexec', fallback: '0', note: 'drivers need simple queries', isMissed: true }),
  text({
    name: 'login_notify_message',
    fallback: '',
    note: 'a notice at each login disturbs drivers',
    isMissed: true,
  }),
]

const LOG: readonly Setting[] = [
  flag({
    name: 'log_connections',
    fallback: '1',
    to: ['log.connections'],
    note: 'there on, here off (level debug has them)',
  }),
  flag({
    name: 'log_disconnections',
    fallback: '1',
    to: ['log.disconnections'],
    note: 'there on, here off (level debug has them)',
  }),
  flag({
    name: 'log_pooler_errors',
    fallback: '1',
    note: 'always on, at most ten lines a second for one reason',
  }),
  flag({ name: 'log_stats', fallback: '1', note: '0 there: `log.stats_period` becomes 0' }),
  time({
    name: 'stats_period',
    fallback: '60',
    to: ['log.stats_period'],
    as: (ms, { of }) => (readInteger(of('log_stats')) === 0 ? '0' : durationOf(ms)),
    note: '0: none',
  }),
  number({
    name: 'verbose',
    fallback: '0',
    to: ['log.level'],
    as: (value) => (value > 0 ? 'debug' : null),
    note: 'more than 0 becomes `debug`',
  }),
  file({ name: 'logfile', fallback: '', note: NO_FILES }),
  flag({ name: 'syslog', fallback: '0', note: NO_FILES, isMissed: true }),
  text({ name: 'syslog_ident', fallback: 'pgbouncer', note: NO_FILES }),
  text({ name: 'syslog_facility', fallback: 'daemon', note: NO_FILES }),
]

const PROCESS: readonly Setting[] = [
  text({
    name: 'listen_addr',
    fallback: '',
    to: ['listen.host'],
    as: (value) => (value === '' ? '127.0.0.1' : value.replaceAll(/(?<=^|,)\s*\*\s*(?=,|$)/g, '0.0.0.0')),
    note:
      'a list with commas as well; `*` becomes `0.0.0.0` (`::` takes IPv6 as well); ' +
      'there empty: only the Unix socket',
  }),
  number({ name: 'listen_port', fallback: '6432', to: ['listen.port'] }),
  text({
    name: 'unix_socket_dir',
    fallback: '/tmp',
    to: ['listen.unix_socket_dir'],
    as: (value) => (value.startsWith('@') ? '' : value),
    note: 'there `/tmp`, here none; no abstract sockets',
  }),
  number({
    name: 'unix_socket_mode',
    fallback: '0777',
    to: ['listen.unix_socket_mode'],
    as: (value) => (value & 0o777).toString(8).padStart(4, '0'),
  }),
  text({ name: 'unix_socket_group', fallback: '', to: ['listen.unix_socket_group'] }),
  flag({ name: 'so_reuseport', fallback: '0', note: ONE_PROCESS, isMissed: true }),
  number({ name: 'peer_id', fallback: '0', note: ONE_PROCESS }),
  file({ name: 'pidfile', fallback: '', note: 'for the service manager' }),
  text({ name: 'user', fallback: '', note: 'for the service manager' }),
  text({ name: 'job_name', fallback: 'pgbouncer', note: 'for the service manager' }),
  file({ name: 'conffile', fallback: '', note: '`--config` names the file' }),
  flag({
    name: 'tcp_keepalive',
    fallback: '1',
    to: ['listen.keepalive', 'upstream.keepalive'],
    as: (value) => (value === 0 ? '0' : null),
    note: '30s, 0: off',
  }),
  number({
    name: 'tcp_keepidle',
    fallback: '0',
    to: ['listen.keepalive', 'upstream.keepalive'],
    as: (value, { of }) =>
      value <= 0 || readInteger(of('tcp_keepalive')) === 0 ? null : durationOf(value * 1000),
    note: "0, the system's there, becomes our default",
  }),
  number({ name: 'tcp_keepcnt', fallback: '0', note: SYSTEM_TCP }),
  number({ name: 'tcp_keepintvl', fallback: '0', note: SYSTEM_TCP }),
  number({ name: 'tcp_user_timeout', fallback: '0', note: SYSTEM_TCP, isMissed: true }),
  number({ name: 'tcp_defer_accept', fallback: '1', note: "the system's" }),
  number({ name: 'tcp_socket_buffer', fallback: '0', note: "the system's" }),
  time({ name: 'dns_max_ttl', fallback: '15', note: LOOKED_UP }),
  time({ name: 'dns_nxdomain_ttl', fallback: '15', note: LOOKED_UP }),
  time({ name: 'dns_zone_check_period', fallback: '0', note: LOOKED_UP }),
  file({ name: 'resolv_conf', fallback: '', note: LOOKED_UP, isMissed: true }),
]

/** The tables of the page, by their headings. */
export const GROUPS: Readonly<Record<string, readonly Setting[]>> = {
  Pooling: POOLING,
  Limits: LIMITS,
  Times: TIMES,
  'Sessions and protocol': SESSIONS,
  Authentication: AUTHENTICATION,
  'TLS of clients': CLIENT_TLS,
  'TLS to Postgres': SERVER_TLS,
  Log: LOG,
  'Process and network': PROCESS,
}

/** All of [pgbouncer], by name. */
export const SETTINGS: ReadonlyMap<string, Setting> = new Map(
  Object.values(GROUPS)
    .flat()
    .map((setting) => [setting.name, setting]),
)
