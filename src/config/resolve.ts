// From the checked file shape to the Config that the program uses: the rules between keys, and users put
// together from their sources. Opens no socket. Problems are collected, not thrown.

import { RANK } from './layers.ts'
import { resolveUpstream } from './resolve-upstream.ts'
import { type ResolveContext, readableFile, readSecret, readText, rule } from './rules.ts'
import type { FileConfig } from './schema.ts'
import type { ClientAuth, Config, DatabaseConfig, UpstreamConfig, UserConfig } from './types.ts'
import { isLoopbackHost } from './units.ts'
import { parseUserList } from './userlist.ts'

const RESERVED = 'this name is the console; use another, with "dbname" for the name in Postgres'

function resolveDatabases(context: ResolveContext, file: FileConfig): Map<string, DatabaseConfig> {
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
    databases.set(name, {
      ...resolveUpstream(context, path, keys),
      ...(keys.pool_mode !== undefined && { poolMode: keys.pool_mode }),
      ...(keys.pool_size !== undefined && { poolSize: keys.pool_size }),
      ...(keys.min_pool_size !== undefined && { minPoolSize: keys.min_pool_size }),
      ...(keys.reserve_size !== undefined && { reserveSize: keys.reserve_size }),
      ...(keys.max_servers !== undefined && { maxServers: keys.max_servers }),
      ...(keys.max_clients !== undefined && { maxClients: keys.max_clients }),
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
      ...(keys.max_servers !== undefined && { maxServers: keys.max_servers }),
      ...(keys.max_clients !== undefined && { maxClients: keys.max_clients }),
    })
  }
  for (const [name, secret] of list) {
    if (!users.has(name)) users.set(name, { secret })
  }
  return users
}

/** How clients log in, and whether anybody can. */
function resolveAuth(
  context: ResolveContext,
  file: FileConfig,
  parts: Pick<Config, 'upstream' | 'users'>,
): ClientAuth {
  const { upstream, users } = parts
  const authPath = ['client', 'auth']
  const written = context.layers.rank(authPath) > RANK.none
  const open = !isLoopbackHost(file.listen.host)
  const noSecretToAsk = upstream.host !== '' && upstream.password === null && users.size === 0
  const auth = !written && noSecretToAsk ? 'trust' : file.client.auth
  const hostPath = ['listen', 'host']
  if (written) {
    const text = 'trust lets everybody in who can connect, so it needs a listen.host such as 127.0.0.1'
    rule(context, [authPath, hostPath], auth === 'trust' && open, text)
  } else {
    const text =
      'other machines could connect without a password, because the upstream has none and no users are ' +
      'configured; listen on 127.0.0.1, give the upstream a password, or configure users'
    rule(context, [hostPath, authPath], auth === 'trust' && open, text)
  }
  if (auth === 'trust') return auth
  const secrets = [...users].filter(([, user]) => user.secret !== null)
  const configured = upstream.host !== '' || Object.keys(file.databases).length > 0
  if (configured && secrets.length === 0) {
    const text = `nobody can log in with ${auth}: configure users, client.users_file or an upstream password`
    context.layers.warnings.push(`${context.layers.place(authPath)}: ${text}`)
  }
  for (const [name, { secret }] of secrets) {
    if (auth !== 'scram-sha-256' || !/^md5[0-9a-f]{32}$/.test(secret!)) continue
    context.layers.warnings.push(`user ${name}: an md5 hash cannot log in with client.auth scram-sha-256`)
  }
  return auth
}

function checkListeners(context: ResolveContext, file: FileConfig): void {
  const { listen, admin } = file
  const same = listen.host === admin.host && listen.port === admin.port && listen.port !== 0
  const paths = [
    ['admin', 'port'],
    ['admin', 'host'],
    ['listen', 'port'],
    ['listen', 'host'],
  ]
  rule(context, paths, same, 'is the port of the clients (listen.port); choose another')
}

function resolveClient(context: ResolveContext, file: FileConfig, auth: ClientAuth): Config['client'] {
  const { client } = file
  const { tls } = client
  for (const key of ['cert_file', 'key_file'] as const) {
    const paths = [
      ['client', 'tls', key],
      ['client', 'tls', 'mode'],
    ]
    rule(
      context,
      paths,
      tls.mode !== 'disable' && tls[key] === '',
      `is needed for client.tls.mode ${tls.mode}`,
    )
  }
  return {
    auth,
    tls: {
      mode: tls.mode,
      certFile: readableFile(context, ['client', 'tls', 'cert_file'], tls.cert_file),
      keyFile: readableFile(context, ['client', 'tls', 'key_file'], tls.key_file),
    },
    maxConnections: client.max_connections,
    maxPerDatabase: client.max_per_database,
    maxPerUser: client.max_per_user,
    maxPerAddress: client.max_per_address,
    maxUnauthenticated: client.max_unauthenticated,
    loginTimeoutMs: client.login_timeout,
    idleTimeoutMs: client.idle_timeout,
    idleTransactionTimeoutMs: client.idle_transaction_timeout,
    transactionTimeoutMs: client.transaction_timeout,
    queryTimeoutMs: client.query_timeout,
    writeTimeoutMs: client.write_timeout,
    batchTimeoutMs: client.batch_timeout,
    goneGraceMs: client.gone_grace,
    abandonGraceMs: client.abandon_grace,
  }
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
    serverCheckDelayMs: pool.server_check_delay,
    cancelTimeoutMs: pool.cancel_timeout,
    maxPreparedStatements: pool.max_prepared_statements,
    preparedMemory: pool.prepared_memory,
  }
}

/** Everything put together. Problems and warnings go to `context.layers`. */
export function resolveConfig(context: ResolveContext, file: FileConfig): Config {
  const { listen, admin, log, embedded } = file
  const upstream: UpstreamConfig = {
    host: '',
    port: 5432,
    user: '',
    password: null,
    dbname: '',
    shownDbname: '',
    tls: { mode: 'prefer' },
    connectTimeoutMs: file.upstream.connect_timeout,
    ...resolveUpstream(context, ['upstream'], file.upstream),
  }
  const users = resolveUsers(context, file, upstream)
  const auth = resolveAuth(context, file, { upstream, users })
  checkListeners(context, file)
  return {
    listen: {
      host: listen.host,
      port: listen.port,
      unixSocketDir: listen.unix_socket_dir,
      unixSocketMode: listen.unix_socket_mode,
      backlog: listen.backlog,
    },
    client: resolveClient(context, file, auth),
    upstream,
    pool: resolvePool(context, file),
    databases: resolveDatabases(context, file),
    users,
    admin: { host: admin.host === 'off' ? '' : admin.host, port: admin.port },
    log: {
      level: log.level,
      format: log.format !== 'auto' ? log.format : context.terminal ? 'pretty' : 'json',
    },
    embedded: { dataDir: embedded.data_dir, ephemeral: embedded.ephemeral },
    shutdownTimeoutMs: file.shutdown.timeout,
  }
}
