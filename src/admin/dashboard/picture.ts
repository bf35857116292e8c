// The picture of all processes, made from the parts of each: what is about the same thing becomes one row,
// and each list is cut off. Pure.
import { SHOWN } from './part.ts'
import type { CauseRow, ErrorRow, HostRow, Part, PoolRow, RecentRow, State, StatementRow } from './types.ts'

const STATES: readonly State[] = ['active', 'paused', 'suspended', 'draining']
const HOST_STATES = ['unknown', 'down', 'up']

export function mergeParts(parts: readonly Part[]): Part {
  const [first] = parts
  if (parts.length === 1) return first
  const all = <K extends keyof Part>(key: K): Part[K][number & keyof Part[K]][] =>
    parts.flatMap((part) => part[key] as never)
  return {
    state: furthest(
      STATES,
      parts.map(({ state }) => state),
    ) as State,
    paused: [...new Set(all('paused'))],
    disabled: [...new Set(all('disabled'))],
    pools: mergePools(all('pools')),
    causes: mergeCauses(all('causes')),
    pins: all('pins')
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, SHOWN.pins),
    leaks: all('leaks')
      .sort((a, b) => b.at - a.at)
      .slice(0, SHOWN.leaks),
    statements: mergeStatements(parts),
    hosts: mergeHosts(all('hosts')),
    errors: mergeErrors(all('errors')),
    recent: all('recent')
      .sort((a: RecentRow, b: RecentRow) => b.at - a.at)
      .slice(0, SHOWN.errors),
  }
}

function furthest(order: readonly string[], given: readonly string[]): string {
  return order[Math.max(0, ...given.map((one) => order.indexOf(one)))]
}

/** Rows with the same key joined two by two, in the order in which the keys came. */
function joined<T>(rows: readonly T[], keyOf: (row: T) => string, join: (a: T, b: T) => T): T[] {
  const found = new Map<string, T>()
  for (const row of rows) {
    const key = keyOf(row)
    const before = found.get(key)
    found.set(key, before === undefined ? row : join(before, row))
  }
  return [...found.values()]
}

function mergePools(rows: readonly PoolRow[]): PoolRow[] {
  const keyOf = ({ database, user, mode }: PoolRow): string => JSON.stringify([database, user, mode])
  const busy = (row: PoolRow): number => row.clients_active + row.servers_active
  return joined(rows, keyOf, joinPools)
    .sort((a, b) => b.clients_waiting - a.clients_waiting || busy(b) - busy(a))
    .slice(0, SHOWN.pools)
}

function joinPools(a: PoolRow, b: PoolRow): PoolRow {
  return {
    ...a,
    clients_active: a.clients_active + b.clients_active,
    clients_idle: a.clients_idle + b.clients_idle,
    clients_waiting: a.clients_waiting + b.clients_waiting,
    servers_active: a.servers_active + b.servers_active,
    servers_idle: a.servers_idle + b.servers_idle,
    servers_other: a.servers_other + b.servers_other,
    oldest_wait_ms: Math.max(a.oldest_wait_ms, b.oldest_wait_ms),
    paused: a.paused || b.paused,
    shared: a.shared.length >= b.shared.length ? a.shared : b.shared,
  }
}

function mergeCauses(rows: readonly CauseRow[]): CauseRow[] {
  const keyOf = ({ database, user, reason, holder }: CauseRow): string =>
    JSON.stringify([database, user, reason, holder?.id ?? null])
  const join = (a: CauseRow, b: CauseRow): CauseRow => {
    const clients = a.clients + b.clients
    return { ...a, clients, longest_ms: Math.max(a.longest_ms, b.longest_ms) }
  }
  return joined(rows, keyOf, join)
    .sort((a, b) => b.clients - a.clients)
    .slice(0, SHOWN.causes)
}

/** What one process has among its most may be missing in those of another: then it counts for less. */
function mergeStatements(parts: readonly Part[]): Part['statements'] {
  const merge = (rows: StatementRow[], score: (row: StatementRow) => number): StatementRow[] =>
    joined(rows, ({ database, statement }) => JSON.stringify([database, statement]), joinStatements)
      .sort((a, b) => score(b) - score(a))
      .slice(0, SHOWN.statements)
  return {
    slowest: merge(
      parts.flatMap(({ statements }) => statements.slowest),
      ({ mean_ms: mean }) => mean,
    ),
    frequent: merge(
      parts.flatMap(({ statements }) => statements.frequent),
      ({ calls }) => calls,
    ),
  }
}

function joinStatements(a: StatementRow, b: StatementRow): StatementRow {
  const calls = a.calls + b.calls
  const total = a.total_ms + b.total_ms
  return {
    ...a,
    calls,
    total_ms: total,
    mean_ms: Math.round((total / calls) * 1000) / 1000,
    max_ms: Math.max(a.max_ms, b.max_ms),
    rows: a.rows + b.rows,
    shared: a.shared + b.shared,
    errors: a.errors + b.errors,
  }
}

function mergeHosts(rows: readonly HostRow[]): HostRow[] {
  const rank = ({ state }: HostRow): number => (state === 'down' ? 0 : 1)
  return joined(rows, ({ database }) => database, joinHosts)
    .sort((a, b) => rank(a) - rank(b))
    .slice(0, SHOWN.hosts)
}

function joinHosts(a: HostRow, b: HostRow): HostRow {
  return {
    ...a,
    state: furthest(HOST_STATES, [a.state, b.state]),
    servers_active: a.servers_active + b.servers_active,
    servers_idle: a.servers_idle + b.servers_idle,
    servers_login: a.servers_login + b.servers_login,
    clients_waiting: a.clients_waiting + b.clients_waiting,
    logins: a.logins + b.logins,
    failed_logins: a.failed_logins + b.failed_logins,
    last_error: a.last_error ?? b.last_error,
    failing_since: a.failing_since ?? b.failing_since,
  }
}

function mergeErrors(rows: readonly ErrorRow[]): ErrorRow[] {
  const join = (a: ErrorRow, b: ErrorRow): ErrorRow => {
    const last = a.last_at >= b.last_at ? a : b
    return { ...last, count: a.count + b.count }
  }
  return joined(rows, ({ code, reason }) => `${code} ${reason}`, join)
    .sort((a, b) => b.last_at - a.last_at)
    .slice(0, SHOWN.errors)
}
