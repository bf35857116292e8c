// The keys of [databases] and [users] of PgBouncer 1.25, and what becomes of them here. Part of
// settings.ts, with the same rules: the source of `pgmux import` and of the tables in
// docs/from-pgbouncer.md.
import { limit, loose, POOL_MODES, poolSize, type Setting, text, time, word } from './setting.ts'
import { durationOf } from './values.ts'

const ONE_FOR_ALL = 'one for all databases: `client.auth_query.user` and the rest'
const BY_POSTGRES = 'by Postgres: `ALTER ROLE ... IN DATABASE ... SET`, or `connect_query`'

/** A size of a pool; less than nothing means that nothing was said. */
const ownSize = (value: number): number | null => (value < 0 ? null : poolSize(value))
const ownLimit = (value: number): number | null => (value < 0 ? null : limit(value))

/** Of one user; the keys of the user count before those of the database. */
export const USER_KEYS: readonly Setting[] = [
  word(POOL_MODES, { name: 'pool_mode', to: ['pool_mode'] }),
  loose({ name: 'pool_size', to: ['pool_size'], as: ownSize }),
  loose({ name: 'reserve_pool_size', to: ['reserve_size'], as: ownLimit }),
  loose({ name: 'max_user_connections', to: ['max_servers'], as: ownLimit }),
  loose({ name: 'max_user_client_connections', to: ['max_clients'], as: ownLimit }),
  time({ name: 'query_timeout', to: ['query_timeout'] }),
  time({ name: 'query_wait_timeout', to: ['query_wait_timeout'] }),
  time({ name: 'idle_transaction_timeout', to: ['idle_transaction_timeout'] }),
  time({ name: 'transaction_timeout', to: ['transaction_timeout'] }),
  time({ name: 'client_idle_timeout', to: ['idle_timeout'] }),
]

export const DATABASE_KEYS: readonly Setting[] = [
  text({
    name: 'host',
    to: ['host'],
    as: (value) => value.split(',')[0]!.trim(),
    note: 'one host: of a list the first; without one the Unix socket in `unix_socket_dir`, as there',
  }),
  loose({ name: 'port', to: ['port'] }),
  text({ name: 'dbname', to: ['dbname'] }),
  text({
    name: 'user',
    to: ['user'],
    note:
      'there one pool, here one for each user of the clients: `max_servers` of the database ' +
      'becomes the size of that one pool; without a password, the one in the list of users',
  }),
  text({ name: 'password', to: ['password'] }),
  word(POOL_MODES, { name: 'pool_mode', to: ['pool_mode'] }),
  loose({ name: 'pool_size', to: ['pool_size'], as: ownSize }),
  loose({
    name: 'min_pool_size',
    to: ['min_pool_size'],
    as: ownLimit,
    note: 'no more than the size of the pool',
  }),
  loose({ name: 'reserve_pool_size', to: ['reserve_size'], as: ownLimit }),
  loose({ name: 'reserve_pool', to: ['reserve_size'], as: ownLimit, note: 'the older name' }),
  text({
    name: 'connect_query',
    to: ['connect_query'],
    note: 'after a `DISCARD ALL` of session mode it runs again',
  }),
  time({ name: 'query_wait_timeout', to: ['query_wait_timeout'] }),
  time({
    name: 'server_lifetime',
    to: ['server_lifetime'],
    as: (ms) => (ms === 0 ? '1ms' : durationOf(ms)),
    note: '0 there: use once; 0 here: no limit',
  }),
  loose({ name: 'max_db_connections', to: ['max_servers'], as: ownLimit }),
  loose({ name: 'max_db_client_connections', to: ['max_clients'], as: ownLimit }),
  text({ name: 'auth_user', note: ONE_FOR_ALL, isMissed: true }),
  text({ name: 'auth_query', note: ONE_FOR_ALL, isMissed: true }),
  text({ name: 'auth_dbname', note: ONE_FOR_ALL, isMissed: true }),
  text({ name: 'client_encoding', note: BY_POSTGRES, isMissed: true }),
  text({ name: 'datestyle', note: BY_POSTGRES, isMissed: true }),
  text({ name: 'timezone', note: BY_POSTGRES, isMissed: true }),
  text({ name: 'application_name', note: 'clients say their own', isMissed: true }),
  text({ name: 'load_balance_hosts', note: 'one host' }),
]

/** A peer is only looked at for mistakes. */
export const PEER_KEYS: readonly Setting[] = [
  text({ name: 'host' }),
  loose({ name: 'port' }),
  loose({ name: 'pool_size' }),
]
