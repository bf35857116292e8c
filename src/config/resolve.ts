// From the checked file shape to the Config that the program uses: the rules between keys, and users put
// together from their sources. Opens no socket. Problems are collected, not thrown.

import { checkClientTls, resolveClient } from './resolve-client.ts'
import { resolveServerless } from './resolve-serverless.ts'
import { resolveTracing } from './resolve-tracing.ts'
import { checkServerTls, resolveUpstream } from './resolve-upstream.ts'
import { type ResolveContext, readSecret, readText, rule } from './rules.ts'
import type { FileConfig } from './schema.ts'
import type { Config, DatabaseConfig, UpstreamConfig, UserConfig } from './types.ts'
import { namesIn } from './units.ts'
import { parseUserList } from './userlist.ts'

/** What a database or user may say of its own about pins. */
type OwnPins = Required<Pick<UserConfig, 'pins' | 'maxPinned' | 'maxPinTimeMs'>>

const RESERVED = 'this name is the console; use another, with "dbname" for the name in Postgres'

function resolveDatabases(
  context: ResolveContext,
  file: FileConfig,
  upstream: UpstreamConfig,
): Map<string, DatabaseConfig> {
  const databases = new Map<string, DatabaseConfig>()
  for (const [name, keys] of Object.entries(file.databases)) {
    const path = ['databases', name]
    const reserved = name === 'pgmux' || name === 'pgbouncer'
    rule(context, [path], reserved, RESERVED)
    rule(context, [path], name === '', 'a database needs a name')
    const size = keys.pool_size ?? file.pool.size
    const sizePath = keys.pool_size === undefined ? ['pool', 'size'] : [...path, 'pool_size']
    const sizePaths = [[...path, 'min_pool_size'], sizePath]
    const tooMany = (keys.min_pool_size ?? 0) > size
    rule(context, sizePaths, tooMany, aboveSize(size))
    checkClientTls(context, file, name)
    const own = resolveUpstream(context, path, keys)
    if (own.tls !== undefined) checkServerTls(context, path, { ...upstream.tls, ...own.tls })
    databases.set(name, {
      ...own,
      ...(keys.client_tls_mode !== undefined && { clientTlsMode: keys.client_tls_mode }),
      ...(keys.pool_mode !== undefined && { poolMode: keys.pool_mode }),
      ...(keys.pool_size !== undefined && { poolSize: keys.pool_size }),
      ...(keys.min_pool_size !== undefined && { minPoolSize: keys.min_pool_size }),
      ...(keys.reserve_size !== undefined && { reserveSize: keys.reserve_size }),
      ...(keys.query_wait_timeout !== undefined && { queryWaitTimeoutMs: keys.query_wait_timeout }),
      ...(keys.server_lifetime !== undefined && { serverLifetimeMs: keys.server_lifetime }),
      ...(keys.connect_query !== undefined && { connectQuery: keys.connect_query }),
      ...(keys.max_servers !== undefined && { maxServers: keys.max_servers }),
      ...(keys.max_clients !== undefined && { maxClients: keys.max_clients }),
      ...ownPinsOf(keys),
    })
  }
  return databases
}

function aboveSize(size: number): string {
  return `is more than the size of the pool (${size}); raise that or lower this`
}

function readUserList(context: ResolveContext, file: FileConfig): Map<string, string> {
  const name = file.client.users_file
  const text = name === '' ? null : readText(context, ['client', 'users_file'], name)
  if (text === null) return new Map()
  const list = parseUserList(text)
  for (const problem of list.problems) {
    context.layers.problems.push(`${name}:${problem.line}: ${problem.text}`)
  }
  return list.users
}

const HASH = /^md5[0-9a-f]{32}$|^SCRAM-SHA-256\$/

function resolveUserSecret(context: ResolveContext, name: string, keys: FileConfig['users'][string]) {
  const path = ['users', name]
  const given = (['password', 'password_file', 'secret', 'secret_file'] as const).filter((key) => keys[key])
  const paths = given.map((key) => [...path, key])
  rule(context, paths, given.length > 1, `stands beside "${given[1]}"; remove one`)
  const plain =
    keys.password_file === undefined
      ? keys.password
      : readSecret(context, [...path, 'password_file'], keys.password_file)
  const isHash = plain !== undefined && plain !== null && HASH.test(plain)
  rule(context, paths, isHash, 'is a hash, not a plain password; name the key "secret" or "secret_file"')
  if (plain !== undefined) return plain
  if (keys.secret_file !== undefined) return readSecret(context, [...path, 'secret_file'], keys.secret_file)
  return keys.secret ?? null
}

function timesOfUser(keys: FileConfig['users'][string]): Omit<UserConfig, 'secret'> {
  return {
    ...(keys.query_wait_timeout !== undefined && { queryWaitTimeoutMs: keys.query_wait_timeout }),
    ...(keys.query_timeout !== undefined && { queryTimeoutMs: keys.query_timeout }),
    ...(keys.idle_timeout !== undefined && { idleTimeoutMs: keys.idle_timeout }),
    ...(keys.idle_transaction_timeout !== undefined && {
      idleTransactionTimeoutMs: keys.idle_transaction_timeout,
    }),
    ...(keys.transaction_timeout !== undefined && { transactionTimeoutMs: keys.transaction_timeout }),
  }
}

function ownPinsOf(keys: FileConfig['users' | 'databases'][string]): Partial<OwnPins> {
  const given = Object.entries(keys.pins ?? {}).filter(([, action]) => action !== undefined)
  return {
    ...(given.length > 0 && { pins: Object.fromEntries(given) }),
    ...(keys.max_pinned !== undefined && { maxPinned: keys.max_pinned }),
    ...(keys.max_pin_time !== undefined && { maxPinTimeMs: keys.max_pin_time }),
  }
}

/** The users of the file, then those of the userlist, then the one of the upstream. */
function resolveUsers(context: ResolveContext, file: FileConfig, upstream: UpstreamConfig) {
  const users = new Map<string, UserConfig>()
  const list = readUserList(context, file)
  if (upstream.user !== '' && upstream.password !== null && !list.has(upstream.user)) {
    list.set(upstream.user, upstream.password)
  }
  for (const [name, keys] of Object.entries(file.users)) {
    rule(context, [['users', name]], name === '', 'a user needs a name')
    users.set(name, {
      secret: resolveUserSecret(context, name, keys) ?? list.get(name) ?? null,
      ...(keys.pool_mode !== undefined && { poolMode: keys.pool_mode }),
      ...(keys.pool_size !== undefined && { poolSize: keys.pool_size }),
      ...(keys.reserve_size !== undefined && { reserveSize: keys.reserve_size }),
      ...timesOfUser(keys),
      ...ownPinsOf(keys),
      ...(keys.max_servers !== undefined && { maxServers: keys.max_servers }),
      ...(keys.max_clients !== undefined && { maxClients: keys.max_clients }),
    })
  }
  for (const [name, secret] of list) {
    if (!users.has(name)) users.set(name, { secret })
  }
  return users
}

function checkListeners(context: ResolveContext, file: FileConfig): void {
  const { listen, admin } = file
  const hosts = namesIn(listen.host)
  const same = hosts.includes(admin.host) && listen.port === admin.port && listen.port !== 0
  const paths = [
    ['admin', 'port'],
    ['admin', 'host'],
    ['listen', 'port'],
    ['listen', 'host'],
  ]
  rule(context, [['listen', 'host']], hosts.length === 0, 'names no address')
  rule(context, paths, same, 'is the port of the clients (listen.port); choose another')
}

function resolvePool(context: ResolveContext, { pool }: FileConfig): Config['pool'] {
  const paths = [
    ['pool', 'min_size'],
    ['pool', 'size'],
  ]
  rule(context, paths, pool.min_size > pool.size, aboveSize(pool.size))
  return {
    mode: pool.mode,
    size: pool.size,
    minSize: pool.min_size,
    reserveSize: pool.reserve_size,
    reserveTimeoutMs: pool.reserve_timeout,
    maxServers: pool.max_servers,
    maxServersPerDatabase: pool.max_servers_per_database,
    maxServersPerUser: pool.max_servers_per_user,
    maxLogins: pool.max_logins,
    maxWaiting: pool.max_waiting,
    queryWaitTimeoutMs: pool.query_wait_timeout,
    serverLifetimeMs: pool.server_lifetime,
    serverIdleTimeoutMs: pool.server_idle_timeout,
    serverRoundRobin: pool.server_round_robin,
    leakCheckMs: pool.leak_check,
    serverCheckDelayMs: pool.server_check_delay,
    cancelTimeoutMs: pool.cancel_timeout,
    maxPreparedStatements: pool.max_prepared_statements,
    preparedMemory: pool.prepared_memory,
    sharing: {
      isOn: pool.shared === 'auto',
      depth: pool.shared_depth,
      maxMs: pool.shared_max_ms,
      maxWaitMs: pool.shared_max_wait,
    },
  }
}

/** The upstream with its defaults. */
function wholeUpstream(context: ResolveContext, file: FileConfig): UpstreamConfig {
  const { tls, ...said } = resolveUpstream(context, ['upstream'], file.upstream)
  const whole: UpstreamConfig = {
    host: '',
    port: 5432,
    user: '',
    password: null,
    dbname: '',
    shownDbname: '',
    channelBinding: 'prefer',
    connectTimeoutMs: file.upstream.connect_timeout,
    keepaliveMs: file.upstream.keepalive,
    ...said,
    tls: {
      mode: 'prefer',
      caFile: '',
      certFile: '',
      keyFile: '',
      negotiation: 'postgres',
      minVersion: 'TLSv1.2',
      ...tls,
    },
  }
  checkServerTls(context, ['upstream'], whole.tls)
  return whole
}

/** Everything put together. Problems and warnings go to `context.layers`. */
export function resolveConfig(context: ResolveContext, file: FileConfig): Config {
  const { listen, admin, log, embedded } = file
  const upstream = wholeUpstream(context, file)
  const users = resolveUsers(context, file, upstream)
  checkListeners(context, file)
  return {
    workers: file.workers,
    workerTimeoutMs: file.worker_timeout,
    listen: {
      hosts: namesIn(listen.host) as [string, ...string[]],
      port: listen.port,
      unixSocketDir: listen.unix_socket_dir,
      unixSocketMode: listen.unix_socket_mode,
      unixSocketGroup: listen.unix_socket_group,
      keepaliveMs: listen.keepalive,
      backlog: listen.backlog,
    },
    client: resolveClient(context, file, { upstream, users }),
    upstream,
    pool: resolvePool(context, file),
    session: {
      pins: file.session.pins,
      maxPinned: file.session.max_pinned,
      maxPinTimeMs: file.session.max_pin_time,
      witness: file.session.witness,
      customNames: file.session.custom_names,
      sequences: file.session.sequences,
      listen: file.session.listen,
      notifyWaitMs: file.session.notify_wait,
      maxChannels: file.session.max_channels,
    },
    databases: resolveDatabases(context, file, upstream),
    users,
    serverless: resolveServerless(context, file),
    admin: {
      host: admin.host === 'off' ? '' : admin.host,
      port: admin.port,
      users: namesIn(admin.users),
      statsUsers: namesIn(admin.stats_users),
      dashboard: admin.dashboard,
    },
    log: {
      level: log.level,
      format: log.format !== 'auto' ? log.format : context.terminal ? 'pretty' : 'json',
      connections: log.connections,
      disconnections: log.disconnections,
      statsPeriodMs: log.stats_period,
    },
    tracing: resolveTracing(context, file),
    embedded: { dataDir: embedded.data_dir, ephemeral: embedded.ephemeral },
    shutdown: { timeoutMs: file.shutdown.timeout, delayMs: file.shutdown.delay },
  }
}
