// The metrics of each pool and database, and of the process as a whole, for Prometheus: made from the lists
// when somebody scrapes. It owns the names; it counts nothing. However many pools there are, the number of
// series has a limit: what is beyond it is one pool called `other`.
import type { Counters } from '../observe/counters.ts'
import type { Sample, Series } from '../observe/exposition.ts'
import type { PoolEntry } from '../routing/pool-entry.ts'
import { databaseOf } from '../routing/precedence.ts'
import { databaseNames, listCounts } from './console/show-pools.ts'
import type { ConsoleSource } from './console/types.ts'

/** Pools, and databases, that have series of their own. */
const LABELLED_MAX = 500
const OTHER = 'other'

type Labels = Record<string, string>
type PoolNumber = (entry: PoolEntry) => number
type DatabaseNumber = (counters: Counters) => number

/** Several numbers of a pool under one name, by a label. */
type States = readonly (readonly [state: string, number: PoolNumber])[]

const SERVER_STATES: States = [
  ['active', ({ pool, own }) => pool.active.size + own.size],
  ['idle', ({ pool }) => pool.idle.length],
  ['testing', ({ pool }) => pool.testing.size],
  ['opening', ({ pool }) => pool.opening.size],
]

const OF_DATABASE: readonly (readonly [name: string, help: string, number: DatabaseNumber])[] = [
  ['transactions', 'Transactions', (c) => c.transactions],
  ['queries', 'Requests of clients answered', (c) => c.exchanges],
  ['received_bytes', 'Bytes from clients', (c) => c.bytesFromClients],
  ['sent_bytes', 'Bytes from Postgres', (c) => c.bytesFromServers],
  ['transaction_seconds', 'Time in transactions', (c) => c.transactionTimes.sumMs / 1000],
  ['query_seconds', 'Time in which queries ran', (c) => c.queryTimes.sumMs / 1000],
  ['wait_seconds', 'Time for which clients waited for a server', (c) => c.waits.sumMs / 1000],
  ['waits', 'Times that a client waited for a server', (c) => c.waits.count],
  ['server_assignments', 'Times that a client was given a server', (c) => c.assignments],
  ['client_parses', 'Parse messages of clients', (c) => c.parsesFromClients],
  ['server_parses', 'Parse messages to Postgres', (c) => c.parsesToServers],
  ['binds', 'Bind messages of clients', (c) => c.binds],
  ['client_logins', 'Clients that logged in', (c) => c.clientsTotal],
  ['server_opens', 'Logins to Postgres started', (c) => c.serverOpens],
  ['server_open_failures', 'Logins to Postgres that failed', (c) => c.serverOpenFailures],
  ['shared_exchanges', 'Exchanges that ran beside those of other clients', (c) => c.shared],
  ['session_leaks', 'Idle servers that had something of a session left', (c) => c.leaks],
]

/** All of them. */
export function poolSeries(source: ConsoleSource): Series[] {
  return [...ofPools(source), ...ofDatabases(source), ...ofProcess(source)]
}

// ---- pools ----

function ofPools(source: ConsoleSource): Series[] {
  const gauge = (
    name: string,
    help: string,
    number: PoolNumber,
    aggregator: 'sum' | 'max' = 'sum',
  ): Series => {
    const values = (): Sample[] => overPools(source, {}, number, aggregator)
    return { name: `pgmux_pool_${name}`, help, type: 'gauge', aggregator, values }
  }
  return [
    gauge('clients', 'Clients that are in, waiting or not', ({ clients }) => clients),
    gauge('clients_waiting', 'Clients that wait for a server', ({ pool }) => pool.waiting.clients),
    gauge(
      'pinned_clients',
      'Clients that keep a server beyond their transactions',
      ({ pins }) => pins.held.size,
    ),
    gauge('size', 'Servers that the pool may have', ({ pool }) => pool.limits.size, 'max'),
    gauge(
      'max_wait_seconds',
      'How long the client that waits longest has waited',
      ({ pool }) => (pool.waiting.first === null ? 0 : pool.waitedBy(pool.waiting.first) / 1000),
      'max',
    ),
    gauge(
      'host_down',
      '1 where no login to Postgres has succeeded since the last that failed',
      ({ pool }) => (pool.lastFailure === null ? 0 : 1),
      'max',
    ),
    {
      name: 'pgmux_pool_servers',
      help: 'Connections to Postgres, by state',
      type: 'gauge',
      values: () => SERVER_STATES.flatMap(([state, number]) => overPools(source, { state }, number, 'sum')),
    },
  ]
}

function overPools(
  { router }: ConsoleSource,
  labels: Labels,
  number: PoolNumber,
  aggregator: 'sum' | 'max',
): Sample[] {
  const samples: Sample[] = []
  let other: Sample | null = null
  for (const entry of router.entries()) {
    const value = number(entry)
    if (samples.length < LABELLED_MAX)
      samples.push({ labels: { database: entry.database, user: entry.user, ...labels }, value })
    else if (other === null) other = { labels: { database: OTHER, user: OTHER, ...labels }, value }
    else other.value = aggregator === 'sum' ? other.value + value : Math.max(other.value, value)
  }
  return other === null ? samples : [...samples, other]
}

// ---- databases ----

function ofDatabases(source: ConsoleSource): Series[] {
  const counted = OF_DATABASE.map(([name, help, number]): Series => {
    const values = (): Sample[] => overDatabases(source.counters.entries(), number)
    return { name: `pgmux_database_${name}_total`, help, type: 'counter', values }
  })
  const gauge = (name: string, help: string, number: (database: string) => number): Series => {
    const all = (): [string, string][] => databaseNames(source).map((database) => [database, database])
    const values = (): Sample[] => overDatabases(all(), number)
    return { name: `pgmux_database_${name}`, help, type: 'gauge', aggregator: 'max', values }
  }
  const own = (database: string) => databaseOf(source.config, database) ?? {}
  const limits = (): ConsoleSource['config'] => source.config
  const { gates } = source.router
  return [
    ...counted,
    gauge('paused', '1 where an operator has paused it', (name) => (gates.isPaused(name) ? 1 : 0)),
    gauge('disabled', '1 where an operator has disabled it', (name) => (gates.disabled.has(name) ? 1 : 0)),
    gauge(
      'max_servers',
      'Servers that all its pools may have; 0: no limit',
      (name) => own(name).maxServers ?? limits().pool.maxServersPerDatabase,
    ),
    gauge(
      'max_clients',
      'Clients that it may have; 0: no limit',
      (name) => own(name).maxClients ?? limits().client.maxPerDatabase,
    ),
  ]
}

function overDatabases<T>(all: Iterable<[string, T]>, number: (of: T) => number): Sample[] {
  const samples: Sample[] = []
  let other: Sample | null = null
  for (const [database, of] of all) {
    const value = number(of)
    if (samples.length < LABELLED_MAX) samples.push({ labels: { database }, value })
    else if (other === null) other = { labels: { database: OTHER }, value }
    else other.value += value
  }
  return other === null ? samples : [...samples, other]
}

// ---- the process ----

function ofProcess(source: ConsoleSource): Series[] {
  const { router } = source
  const gauge = (name: string, help: string, values: () => Sample[]): Series => {
    return { name: `pgmux_${name}`, help, type: 'gauge', values }
  }
  const fixed = (name: string, help: string, values: () => Sample[]): Series => {
    return { ...gauge(name, help, values), aggregator: 'max' }
  }
  const { version } = source
  return [
    fixed('info', 'Its version; always 1', () => [{ labels: { version }, value: 1 }]),
    fixed('paused', '1 where an operator has paused everything', () => one(router.gates.isAllPaused ? 1 : 0)),
    fixed('limit', 'Limits of the configuration; 0: none', () => limitsOf(source)),
    gauge('list_items', 'How many there are of each kind of thing, as SHOW LISTS has it', () =>
      listCounts(source).map(([list, value]) => ({ labels: { list }, value })),
    ),
    gauge('prepared_statements', 'Prepared statements that are known, over all pools', () =>
      one(sum(source, ({ registry }) => registry.size)),
    ),
    gauge('prepared_bytes', 'Memory for them, roughly', () =>
      one(sum(source, ({ registry }) => registry.bytes)),
    ),
    gauge('tls_connections', 'Connections with TLS that are open, by side', () => tlsConnections(source)),
  ]
}

function one(value: number): Sample[] {
  return [{ labels: {}, value }]
}

function sum({ router }: ConsoleSource, number: PoolNumber): number {
  let total = 0
  for (const entry of router.entries()) total += number(entry)
  return total
}

function tlsConnections(source: ConsoleSource): Sample[] {
  let clients = 0
  for (const { stream } of source.house.clients) if (stream.peer.encrypted) clients++
  const servers = sum(source, (entry) => [...entry.servers()].filter(({ peer }) => peer?.encrypted).length)
  return [
    { labels: { side: 'clients' }, value: clients },
    { labels: { side: 'servers' }, value: servers },
  ]
}

function limitsOf({ config }: ConsoleSource): Sample[] {
  const { client, pool } = config
  const limits: readonly (readonly [option: string, value: number])[] = [
    ['client.max_connections', client.maxConnections],
    ['client.max_per_user', client.maxPerUser],
    ['client.max_per_database', client.maxPerDatabase],
    ['pool.max_servers', pool.maxServers],
    ['pool.max_servers_per_database', pool.maxServersPerDatabase],
    ['pool.max_servers_per_user', pool.maxServersPerUser],
    ['pool.size', pool.size],
    ['pool.min_size', pool.minSize],
    ['pool.reserve_size', pool.reserveSize],
  ]
  return limits.map(([option, value]) => ({ labels: { option }, value }))
}
