// SHOW POOLS, DATABASES, USERS, LISTS: what there is and how much of it, counted from the lists when asked.
// Reads; changes nothing.
import type { PoolEntry } from '../../routing/pool-entry.ts'
import { databaseOf } from '../../routing/precedence.ts'
import type { Value } from '../../wire/rows.ts'
import { columns, secondsAndMicros } from './columns.ts'
import type { Command, ConsoleSource, Operator } from './types.ts'

/** The name under which the console lists itself. */
const CONSOLE = 'pgmux'

function* pools({ source, sessions }: Operator): Generator<Value[]> {
  const { now } = source.time
  for (const entry of [...source.router.entries()].sort(byName)) {
    const { pool, own } = entry
    const waiting = clientsWaiting(entry)
    let cancels = 0
    let cancelled = 0
    for (const server of entry.servers()) {
      cancels += server.talk.cancels
      if (server.talk.cancels > 0) cancelled++
    }
    const first = pool.waiting.first
    const [maxWait, maxWaitUs] =
      first === null ? [0, 0] : secondsAndMicros(Math.max(0, now - first.waitingSince))
    yield [
      ...[entry.database, entry.user, entry.clients - waiting, pool.waiting.clients, 0, 0],
      ...[pool.active.size + own.size - cancelled, cancels, cancelled, pool.idle.length, 0],
      ...[pool.testing.size, pool.opening.size, maxWait, maxWaitUs, entry.mode, null],
    ]
  }
  yield [CONSOLE, CONSOLE, sessions.length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'statement', null]
}

/** Clients that are in and wait; logins may wait in a pool as well. */
function clientsWaiting(entry: PoolEntry): number {
  let waiting = 0
  for (const waiter of entry.pool.waiting.all()) if (!isLogin(waiter) && waiter.isOurs !== true) waiting++
  return waiting
}

function isLogin(waiter: object): boolean {
  return 'isProbe' in waiter && waiter.isProbe === true
}

function byName(a: PoolEntry, b: PoolEntry): number {
  const [one, other] = [`${a.database}\0${a.user}`, `${b.database}\0${b.user}`]
  return one < other ? -1 : one === other ? 0 : 1
}

/** Configured databases, and those that are in use without being named in the configuration. */
export function databaseNames({ config, router }: ConsoleSource): string[] {
  const names = new Set([...config.databases.keys()].filter((name) => name !== '*'))
  for (const { database } of router.entries()) names.add(database)
  for (const name of [...router.gates.paused, ...router.gates.disabled]) names.add(name)
  return [...names].sort()
}

function* databases({ source, sessions }: Operator): Generator<Value[]> {
  const { config, router } = source
  const { pool, client } = config
  for (const name of databaseNames(source)) {
    const own = databaseOf(config, name) ?? {}
    const place = router.placeOf(name, '')
    const isKnown = 'host' in place
    const entries = router.of(name)
    yield [
      ...(isKnown
        ? [name, place.host, place.port, place.dbname, place.user || null]
        : [name, null, null, null, null]),
      ...[own.poolSize ?? pool.size, own.minPoolSize ?? pool.minSize, own.reserveSize ?? pool.reserveSize],
      ...[pool.serverLifetimeMs / 1000, own.poolMode ?? null, null],
      ...[own.maxServers ?? pool.maxServersPerDatabase, serversIn(entries)],
      ...[own.maxClients ?? client.maxPerDatabase, clientsIn(entries)],
      ...[router.gates.isPaused(name) ? 1 : 0, router.gates.disabled.has(name) ? 1 : 0],
      own.reserveSize ?? pool.reserveSize,
    ]
  }
  yield [
    CONSOLE,
    null,
    source.port,
    CONSOLE,
    null,
    0,
    0,
    0,
    0,
    'statement',
    null,
    0,
    0,
    0,
    sessions.length,
    0,
    0,
    0,
  ]
}

function serversIn(entries: readonly PoolEntry[]): number {
  return entries.reduce((sum, { pool, own }) => sum + pool.size + own.size, 0)
}

function clientsIn(entries: readonly PoolEntry[]): number {
  return entries.reduce((sum, { clients }) => sum + clients, 0)
}

function* users({ source }: Operator): Generator<Value[]> {
  const { config, router } = source
  const entries = [...router.entries()]
  const names = new Set([...config.users.keys(), ...entries.map(({ user }) => user)])
  for (const name of [...names].sort()) {
    const own = config.users.get(name)
    const of = entries.filter(({ user }) => user === name)
    yield [
      ...[
        name,
        own?.poolSize === undefined ? '' : String(own.poolSize).padStart(9),
        '',
        own?.poolMode ?? null,
      ],
      ...[own?.maxServers ?? config.pool.maxServersPerUser, serversIn(of)],
      ...[own?.maxClients ?? config.client.maxPerUser, clientsIn(of)],
    ]
  }
}

function lists({ source, sessions }: Operator): Value[][] {
  return listCounts(source, sessions.length).map(([list, items]) => [list, items])
}

/** How many there are of each kind of thing. @param inConsole clients of the console */
export function listCounts(source: ConsoleSource, inConsole = 0): [list: string, items: number][] {
  const { house, router, config } = source
  const entries = [...router.entries()]
  const idle = entries.reduce((sum, { pool }) => sum + pool.idle.length, 0)
  const users = new Set([...config.users.keys(), ...entries.map(({ user }) => user)])
  return [
    ['databases', databaseNames(source).length + 1],
    ['users', users.size],
    ['peers', 0],
    ['pools', entries.length + 1],
    ['peer_pools', 0],
    ['free_clients', 0],
    ['used_clients', house.clients.size + inConsole],
    ['login_clients', house.visitors.size],
    ['free_servers', idle],
    ['used_servers', serversIn(entries) - idle],
    ['dns_names', 0],
    ['dns_zones', 0],
    ['dns_queries', 0],
    ['dns_pending', 0],
  ]
}

export const POOL_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW POOLS',
    role: 'stats',
    takes: 'nothing',
    help: 'Each pool: its clients and servers by state, and how long somebody waits',
    columns: columns(
      'text: database user, int4: cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req ' +
        'sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait ' +
        'maxwait_us, text: pool_mode load_balance_hosts',
    ),
    rows: pools,
  },
  {
    name: 'SHOW DATABASES',
    role: 'stats',
    takes: 'nothing',
    help: 'Each database: where it is, its limits, whether it is paused or disabled',
    columns: columns(
      'text: name host, int4: port, text: database force_user, int4: pool_size min_pool_size ' +
        'reserve_pool_size server_lifetime, text: pool_mode load_balance_hosts, int4: max_connections ' +
        'current_connections max_client_connections current_client_connections paused disabled ' +
        // As it was called up to 1.23: the exporter of Debian looks for it.
        'reserve_pool',
    ),
    rows: databases,
  },
  {
    name: 'SHOW USERS',
    role: 'stats',
    takes: 'nothing',
    help: 'Each user: limits and connections',
    columns: columns(
      'text: name pool_size reserve_pool_size pool_mode, int4: max_user_connections current_connections ' +
        'max_user_client_connections current_client_connections',
    ),
    rows: users,
  },
  {
    name: 'SHOW LISTS',
    role: 'stats',
    takes: 'nothing',
    help: 'How many there are of each kind of thing',
    columns: columns('text: list, int4: items'),
    rows: lists,
  },
]
