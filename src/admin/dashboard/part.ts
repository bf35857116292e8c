// What this process has to show at this moment, as plain rows: pools, why clients wait, pins, leaks,
// statements, hosts, errors. Reads; changes nothing. It is made once a second for as many as look, so each
// list is cut off before its rows are made.
import type { PoolEntry } from '../../routing/pool-entry.ts'
import type { Pin } from '../../session/pins.ts'
import type { Shape } from '../../sql/shapes.ts'
import type { Value } from '../../wire/rows.ts'
import { idOf } from '../console/ids.ts'
import { hosts } from '../console/show-hosts.ts'
import { blame, causeOf, stateInWords } from '../console/show-waits.ts'
import type { ConsoleSource } from '../console/types.ts'
import { type Holder, holdersOf, IN_USE } from '../console/holders.ts'
import { Top } from './top.ts'
import type {
  CauseRow,
  ErrorRow,
  HeldRow,
  HolderRow,
  HostRow,
  LeakRow,
  Part,
  PinRow,
  PoolKey,
  PoolRow,
  RecentRow,
  State,
  StatementRow,
} from './types.ts'

/** Rows of each list that are shown. */
export const SHOWN = { pools: 200, causes: 20, pins: 50, leaks: 20, statements: 20, hosts: 200, errors: 20 }
/** Rows that a process gives of lists whose rows are added up over processes. */
const MORE = { pools: 1000, statements: 100 }

/** @param isAlone no other process adds rows to these */
export function partOf(source: ConsoleSource, isAlone: boolean): Part {
  const sizes = isAlone ? SHOWN : { ...SHOWN, ...MORE }
  const entries = [...source.router.entries()]
  return {
    state: stateOf(source),
    paused: [...source.router.gates.paused].sort(),
    disabled: [...source.router.gates.disabled].sort(),
    pools: poolsOf(source, entries, sizes.pools),
    causes: causesOf(source, entries),
    pins: pinsOf(source, entries),
    leaks: leaksOf(source),
    statements: statementsOf(entries, sizes.statements),
    hosts: hostsOf(source),
    errors: errorsOf(source),
    recent: recentOf(source),
  }
}

function stateOf({ house, router }: ConsoleSource): State {
  if (house.isDraining) return 'draining'
  if (house.isSuspended) return 'suspended'
  return router.gates.isAllPaused ? 'paused' : 'active'
}

// ---- pools ----

function poolsOf(source: ConsoleSource, entries: readonly PoolEntry[], max: number): PoolRow[] {
  const active = new Map<unknown, number>()
  for (const client of source.house.clients)
    if (client.server !== null || client.shared !== null)
      active.set(client.access, (active.get(client.access) ?? 0) + 1)
  const top = new Top<PoolEntry>(max)
  for (const entry of entries) top.offer(entry, busynessOf(entry, active.get(entry) ?? 0))
  return top.list().map((entry) => poolRow(source, entry, active.get(entry) ?? 0))
}

/** Pools where clients wait come first, then those with most at work. */
function busynessOf({ pool, own, clients }: PoolEntry, active: number): number {
  return pool.waiting.size * 1e9 + (active + pool.active.size + own.size) * 1e5 + Math.min(clients, 1e5 - 1)
}

function poolRow(source: ConsoleSource, entry: PoolEntry, active: number): PoolRow {
  const { pool, own, sharing } = entry
  const waiting = pool.waiting.clients
  const isOn = sharing !== null && source.config.pool.sharing.isOn
  return {
    database: entry.database,
    user: entry.user,
    mode: entry.mode,
    size: pool.limits.size + pool.limits.reserveSize,
    clients_active: active,
    clients_idle: Math.max(0, entry.clients - active - waiting),
    clients_waiting: waiting,
    servers_active: pool.active.size + own.size,
    servers_idle: pool.idle.length,
    servers_other: pool.opening.size + pool.testing.size,
    oldest_wait_ms: longestOf(entry, source.time.now),
    paused: pool.isPaused,
    shared: !isOn ? 'off' : sharing.lanes.length === 0 ? 'on' : `on ${sharing.lanes.length} servers`,
  }
}

/** How long the client has waited that has waited longest, ms. */
function longestOf({ pool }: PoolEntry, now: number): number {
  let oldest = now
  for (const { isOurs, waitingSince } of pool.waiting.all())
    if (isOurs !== true && waitingSince < oldest) oldest = waitingSince
  return Math.round(now - oldest)
}

// ---- why clients wait, and who keeps servers ----

function causesOf(source: ConsoleSource, entries: readonly PoolEntry[]): CauseRow[] {
  const top = new Top<PoolEntry>(SHOWN.causes)
  for (const entry of entries) {
    const clients = entry.pool.waiting.size === 0 ? 0 : entry.pool.waiting.clients
    if (clients > 0) top.offer(entry, clients)
  }
  return top.list().map((entry) => {
    const { reason, cause, advice, holder } = causeOf(source, entry)
    return {
      database: entry.database,
      user: entry.user,
      reason,
      cause,
      advice,
      clients: entry.pool.waiting.clients,
      longest_ms: longestOf(entry, source.time.now),
      holder: holder === null ? null : holderRow(holder, source.time.now),
    }
  })
}

/** Who has the servers of these pools here. */
export function heldOf(source: ConsoleSource, keys: readonly PoolKey[]): HeldRow[] {
  const { now } = source.time
  const wanted = new Set(keys.map(([database, user]) => JSON.stringify([database, user])))
  const rows: HeldRow[] = []
  for (const entry of source.router.entries()) {
    const { database, user } = entry
    if (!wanted.has(JSON.stringify([database, user]))) continue
    const holders = holdersOf([entry])
    const states: Record<string, number> = {}
    for (const { state } of holders) states[state] = (states[state] ?? 0) + 1
    const { holder, advice } = blame(holders, 'pool.size')
    const rank = holder === null ? IN_USE.length : IN_USE.indexOf(holder.state)
    const { size, reserveSize } = entry.pool.limits
    const held = { size: size + reserveSize, states, rank, advice }
    rows.push({ database, user, ...held, holder: holder && holderRow(holder, now) })
  }
  return rows
}

function holderRow(holder: Holder, now: number): HolderRow {
  const { client, since, statement, pins } = holder
  return {
    id: client === null ? null : idOf(client),
    address: client === null ? '' : client.visitor.address || 'unix',
    application_name: client?.session.settings.values.get('application_name') ?? '',
    state: stateInWords(holder),
    pins,
    seconds: seconds(now - since),
    statement,
  }
}

function pinsOf({ time }: ConsoleSource, entries: readonly PoolEntry[]): PinRow[] {
  const top = new Top<{ pin: Pin; row: () => PinRow }>(SHOWN.pins)
  for (const { pins } of entries) {
    for (const session of pins.held) {
      const { holder } = session
      if (holder === null) continue
      const { database, user, address } = holder.visitor
      for (const pin of session.all()) {
        const { reason, statement, since } = pin
        const more = { address: address || 'unix', reason, statement, seconds: seconds(time.now - since) }
        top.offer({ pin, row: () => ({ database, user, client_id: idOf(holder), ...more }) }, -since)
      }
    }
  }
  return top.list().map(({ row }) => row())
}

// ---- statements ----

function statementsOf(entries: readonly PoolEntry[], max: number): Part['statements'] {
  const slowest = new Top<[database: string, shape: Shape]>(max)
  const frequent = new Top<[database: string, shape: Shape]>(max)
  const seen = new Set<string>()
  for (const { database, insight } of entries) {
    if (seen.has(database)) continue
    seen.add(database)
    const offer = (shape: Shape): void => {
      if (shape.calls === 0) return
      slowest.offer([database, shape], shape.totalMs / shape.calls)
      frequent.offer([database, shape], shape.calls)
    }
    for (const shape of insight.shapes.all()) offer(shape)
    offer(insight.shapes.others)
  }
  return { slowest: slowest.list().map(statementRow), frequent: frequent.list().map(statementRow) }
}

function statementRow([database, shape]: [database: string, shape: Shape]): StatementRow {
  const { label, calls, totalMs, maxMs, rows, errors, shared } = shape
  const times = { total_ms: places(totalMs), mean_ms: places(totalMs / calls), max_ms: places(maxMs) }
  return { database, statement: label, calls, ...times, rows, shared, errors }
}

function places(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

// ---- hosts and troubles ----

/** Those that cannot be reached come first. */
function hostsOf(source: ConsoleSource): HostRow[] {
  const rows = Array.from(hosts({ source }), hostRow)
  const rank = ({ state }: HostRow): number => (state === 'down' ? 0 : 1)
  return rows.sort((a, b) => rank(a) - rank(b)).slice(0, SHOWN.hosts)
}

function hostRow(row: readonly Value[]): HostRow {
  const [database, host, port, state, active, idle, login, waiting, logins, failed, error, since] = row
  return {
    database: String(database),
    host: textOrNull(host),
    port: port === null ? null : Number(port),
    state: String(state),
    servers_active: Number(active),
    servers_idle: Number(idle),
    servers_login: Number(login),
    clients_waiting: Number(waiting),
    logins: Number(logins),
    failed_logins: Number(failed),
    last_error: textOrNull(error),
    failing_since: textOrNull(since),
  }
}

function textOrNull(value: Value): string | null {
  return value === null ? null : String(value)
}

function errorsOf({ troubles, time }: ConsoleSource): ErrorRow[] {
  const wall = Date.now() - time.now
  return troubles
    .kinds()
    .slice(0, SHOWN.errors)
    .map(({ code, reason, count, last }) => ({
      ...{ code, reason, count, last_at: Math.round(wall + last.at) },
      message: last.message,
    }))
}

function recentOf({ troubles, time }: ConsoleSource): RecentRow[] {
  const wall = Date.now() - time.now
  return troubles
    .recent()
    .slice(0, SHOWN.errors)
    .map((trouble) => ({ ...trouble, at: Math.round(wall + trouble.at) }))
}

function leaksOf({ troubles, time }: ConsoleSource): LeakRow[] {
  const wall = Date.now() - time.now
  return troubles
    .leaks()
    .slice(0, SHOWN.leaks)
    .map(({ at, database, user, what, after }) => ({
      at: Math.round(wall + at),
      database,
      user,
      what,
      after,
    }))
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000))
}
