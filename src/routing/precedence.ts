// Which of several wishes counts for a database and a user: the user's, the database's, the one for all. It
// owns nothing and decides nothing else.
import type { ClientConfig, Config, DatabaseConfig, PoolMode, TlsMode } from '../config/types.ts'
import type { SharedLimits } from '../pool/limits.ts'
import type { PoolLimits } from '../pool/types.ts'
import type { PinPolicy } from './pool-pins.ts'

/** The keys of a database, or those for all databases without keys of their own. */
export function databaseOf(config: Config, name: string): DatabaseConfig | undefined {
  return config.databases.get(name) ?? config.databases.get('*')
}

/** How long clients of this database and user keep a server. */
export function modeOf(config: Config, database: string, user: string): PoolMode {
  return config.users.get(user)?.poolMode ?? databaseOf(config, database)?.poolMode ?? config.pool.mode
}

const TLS_MODES: readonly TlsMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']

/** The least TLS that clients of a database need: the stricter of its own and the one for all. */
export function clientTlsOf(config: Config, database: string): TlsMode {
  const own = databaseOf(config, database)?.clientTlsMode ?? 'disable'
  const { mode } = config.client.tls
  return TLS_MODES.indexOf(own) > TLS_MODES.indexOf(mode) ? own : mode
}

/** What each of several processes may have of a limit that nobody counts for all. 0: no limit. */
export function partOf(limit: number, workers: number): number {
  return limit === 0 ? 0 : Math.max(1, Math.floor(limit / workers))
}

/** The sizes and times of one pool; of what nobody counts over all processes, the part of one. */
export function poolLimitsOf(config: Config, database: string, user: string): PoolLimits {
  const { pool, workers } = config
  const ofDatabase = databaseOf(config, database)
  const ofUser = config.users.get(user)
  const queryWaitTimeoutMs =
    ofUser?.queryWaitTimeoutMs ?? ofDatabase?.queryWaitTimeoutMs ?? pool.queryWaitTimeoutMs
  return {
    size: ofUser?.poolSize ?? ofDatabase?.poolSize ?? pool.size,
    minSize: Math.ceil((ofDatabase?.minPoolSize ?? pool.minSize) / workers),
    reserveSize: ofUser?.reserveSize ?? ofDatabase?.reserveSize ?? pool.reserveSize,
    reserveTimeoutMs: pool.reserveTimeoutMs || Number.POSITIVE_INFINITY,
    maxLogins: Math.ceil(pool.maxLogins / workers),
    maxWaiting: partOf(pool.maxWaiting, workers),
    queryWaitTimeoutMs: queryWaitTimeoutMs || Number.POSITIVE_INFINITY,
    serverLifetimeMs: ofDatabase?.serverLifetimeMs ?? pool.serverLifetimeMs,
    serverRoundRobin: pool.serverRoundRobin,
    serverIdleTimeoutMs: pool.serverIdleTimeoutMs,
    leakCheckMs: pool.leakCheckMs,
    serverCheckDelayMs: pool.serverCheckDelayMs,
  }
}

/** What sessions may keep a server for: each key by itself the user's, the database's, the one for all. */
export function pinPolicyOf(config: Config, database: string, user: string): PinPolicy {
  const { session } = config
  const ofDatabase = databaseOf(config, database)
  const ofUser = config.users.get(user)
  return {
    actions: { ...session.pins, ...ofDatabase?.pins, ...ofUser?.pins },
    listensVirtually: session.listen === 'virtual' && session.maxChannels > 0,
    maxPinned: partOf(ofUser?.maxPinned ?? ofDatabase?.maxPinned ?? session.maxPinned, config.workers),
    maxPinTimeMs: ofUser?.maxPinTimeMs ?? ofDatabase?.maxPinTimeMs ?? session.maxPinTimeMs,
  }
}

/** The times of clients of one user. */
export function clientLimitsOf({ client, users }: Config, user: string): ClientConfig {
  const own = users.get(user)
  return {
    ...client,
    queryTimeoutMs: own?.queryTimeoutMs ?? client.queryTimeoutMs,
    idleTimeoutMs: own?.idleTimeoutMs ?? client.idleTimeoutMs,
    idleTransactionTimeoutMs: own?.idleTransactionTimeoutMs ?? client.idleTransactionTimeoutMs,
    transactionTimeoutMs: own?.transactionTimeoutMs ?? client.transactionTimeoutMs,
  }
}

/** Limits over pools. */
export function sharedLimitsOf(config: Config): SharedLimits {
  const { pool } = config
  return {
    process: pool.maxServers,
    database: (name) => databaseOf(config, name)?.maxServers ?? pool.maxServersPerDatabase,
    user: (name) => config.users.get(name)?.maxServers ?? pool.maxServersPerUser,
  }
}
