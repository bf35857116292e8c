// SHOW HOSTS: where each database is, and whether Postgres can be reached there. Reads; changes nothing.
import type { Counters } from '../../observe/counters.ts'
import type { PoolEntry } from '../../routing/pool-entry.ts'
import type { Value } from '../../wire/rows.ts'
import { columns, instant } from './columns.ts'
import { databaseNames } from './show-pools.ts'
import type { Command, ConsoleSource, Operator } from './types.ts'

/** What the pools of one database know of its host. */
function stateOf(entries: readonly PoolEntry[]): 'up' | 'down' | 'unknown' {
  const isIn = entries.some(({ pool, own }) => pool.idle.length + pool.active.size + own.size > 0)
  if (isIn) return 'up'
  return entries.some(({ pool }) => pool.lastFailure !== null) ? 'down' : 'unknown'
}

/** A row for each database. */
export function* hosts({ source }: Pick<Operator, 'source'>): Generator<Value[]> {
  const counters = new Map(source.counters.entries())
  const entries = Map.groupBy(source.router.entries(), ({ database }) => database)
  for (const name of databaseNames(source)) {
    const of = { entries: entries.get(name) ?? [], counted: counters.get(name) }
    yield hostOf(source, name, of)
  }
}

/** What there is of a database. */
interface OfDatabase {
  readonly entries: readonly PoolEntry[]
  readonly counted: Counters | undefined
}

function hostOf(source: ConsoleSource, database: string, { entries, counted }: OfDatabase): Value[] {
  const { router, time } = source
  const place = router.placeOf(database, '')
  const [host, port] = 'host' in place ? [place.host, place.port] : [null, null]
  let [active, idle, login, waiting] = [0, 0, 0, 0]
  let failing: PoolEntry['pool'] | null = null
  for (const { pool, own } of entries) {
    active += pool.active.size + own.size
    idle += pool.idle.length + pool.testing.size
    login += pool.opening.size
    waiting += pool.waiting.clients
    if (pool.lastFailure !== null && (failing?.failingSince ?? 0) <= pool.failingSince) failing = pool
  }
  const opens = [counted?.serverOpens ?? 0, counted?.serverOpenFailures ?? 0]
  const message = failing?.lastFailure?.refusal.message ?? null
  const error = [message, failing === null ? null : instant(failing.failingSince, time.now)]
  return [database, host, port, stateOf(entries), active, idle, login, waiting, ...opens, ...error]
}

export const HOST_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW HOSTS',
    role: 'stats',
    takes: 'nothing',
    help: 'Where each database is, whether Postgres can be reached there, and what the last login said',
    columns: columns(
      'text: database host, int4: port, text: state, int4: sv_active sv_idle sv_login cl_waiting, ' +
        'int8: logins failed_logins, text: last_error failing_since',
    ),
    rows: hosts,
  },
]
