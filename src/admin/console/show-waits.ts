// SHOW WAITS: who waits for a server now, for what, since when and why, who has the server that is most in
// the way, and what can be done. Reads; changes nothing.
import { Client } from '../../frontend/client.ts'
import type { AnyPool } from '../../pool/limits.ts'
import type { PoolEntry } from '../../routing/pool-entry.ts'
import { labelOfText } from '../../sql/shapes.ts'
import { FromClient } from '../../wire/protocol.ts'
import type { Value } from '../../wire/rows.ts'
import { columns, instant, secondsAndMicros } from './columns.ts'
import { countStates, type Holder, holdersOf } from './holders.ts'
import { idOf } from './ids.ts'
import type { Command, ConsoleSource, Operator } from './types.ts'

const HEADER = 5

/** Why nobody in a pool gets a server. */
export interface Cause {
  /** From a closed list. */
  readonly reason: 'paused' | 'host_down' | 'login' | 'checked' | 'limit' | 'pool_full' | 'other_workers'
  readonly cause: string
  readonly advice: string
  readonly holder: Holder | null
}

/** One that waits, of a copy of the queue: rows are sent as the operator's client takes them. */
type Waiting = PoolEntry['pool']['waiting'] extends { all(): Iterable<infer W> } ? W : never

function* waits({ source }: Operator): Generator<Value[]> {
  const { now } = source.time
  const all: [entry: PoolEntry, waiter: Waiting, cause: Cause][] = []
  for (const entry of source.router.entries()) {
    const waiters = [...entry.pool.waiting.all()].filter(({ isOurs }) => isOurs !== true)
    if (waiters.length === 0) continue
    const cause = causeOf(source, entry)
    for (const waiter of waiters) all.push([entry, waiter, cause])
  }
  all.sort(([, a], [, b]) => a.waitingSince - b.waitingSince)
  for (const [entry, waiter, { reason, cause, advice, holder }] of all) {
    const client = waiter instanceof Client ? waiter : null
    const since = waiter.waitingSince
    yield [
      ...[entry.database, entry.user, client === null ? null : client.visitor.address || 'unix'],
      ...[client?.session.settings.values.get('application_name') ?? '', idOf(waiter)],
      ...[client === null ? 'login' : 'query', instant(since, now), ...secondsAndMicros(now - since)],
      ...[reason, cause, client === null ? '' : wish(client), ...holderRow(holder, now), advice],
    ]
  }
}

function holderRow(holder: Holder | null, now: number): Value[] {
  if (holder === null) return [null, null, null, null, null]
  const { client, since, statement } = holder
  const seconds = Math.max(0, Math.round((now - since) / 1000))
  const address = client === null ? null : client.visitor.address || 'unix'
  return [client === null ? null : idOf(client), address, stateInWords(holder), seconds, statement]
}

/** What it does, with the reasons of its pins. */
export function stateInWords({ state, pins }: Holder): string {
  return pins === '' ? state : `${state} (${pins})`
}

/** What a client waits with, without its constants; '' where no text is at hand. */
function wish({ inbox, session }: Client): string {
  const bytes = inbox.first
  if (bytes === null || bytes.length <= HEADER) return ''
  const end = bytes.indexOf(0, HEADER)
  if (end < 0) return ''
  if (bytes[0] === FromClient.Query) return labelOfText(bytes, HEADER, end)
  const next = bytes.indexOf(0, end + 1)
  if (next < 0) return ''
  if (bytes[0] === FromClient.Parse) return labelOfText(bytes, end + 1, next)
  const name = bytes[0] === FromClient.Bind ? bytes.toString('latin1', end + 1, next) : ''
  const body = session.statements.lookup(name)?.definition.body
  return body === undefined ? '' : labelOfText(body, 0, body.indexOf(0))
}

/** Why the clients that wait in this pool do. */
export function causeOf(source: ConsoleSource, entry: PoolEntry): Cause {
  const { pool } = entry
  const { size, reserveSize } = pool.limits
  if (pool.isPaused) return pausedIn(source, entry)
  const isFull = pool.size >= size + reserveSize
  const isIn = pool.idle.length + pool.active.size + pool.testing.size > 0
  if (pool.lastFailure !== null && !(isFull && isIn)) return downAt(source, entry)
  const limit = isFull ? null : source.limits.bindingOf(pool)
  if (limit !== null) return limitedBy(source, entry, limit)
  if (pool.opening.size > 0) {
    const cause = `${pool.opening.size} servers of the pool are logging in to Postgres at ${entry.where}`
    return { reason: 'login', cause, advice: 'Wait; min_size keeps servers ready.', holder: null }
  }
  if (pool.testing.size > 0) {
    const cause = `${pool.testing.size} servers are being checked after a long rest`
    return { reason: 'checked', cause, advice: 'Wait.', holder: null }
  }
  if (!isFull && source.fellows !== null) {
    const cause = `this worker has ${pool.size} servers of the pool, other workers have the other places`
    const advice = 'Raise pool.size, or see in SHOW SERVERS who has them.'
    return { reason: 'other_workers', cause, advice, holder: null }
  }
  const holders = holdersOf([entry])
  const cause = `all ${pool.size} servers of the pool are in use: ${countStates(holders)}`
  return { reason: 'pool_full', cause, ...blame(holders, 'pool.size') }
}

function pausedIn({ router }: ConsoleSource, { database }: PoolEntry): Cause {
  const isAll = router.gates.isAllPaused
  const cause = isAll ? 'everything is paused' : `database ${database} is paused`
  return { reason: 'paused', cause, advice: isAll ? 'RESUME' : `RESUME "${database}"`, holder: null }
}

function downAt({ time }: ConsoleSource, { pool, where }: PoolEntry): Cause {
  const since = instant(pool.failingSince, time.now)
  const cause = `no login to Postgres at ${where} has succeeded since ${since}: ${
    pool.lastFailure?.refusal.message ?? ''
  }`
  return { reason: 'host_down', cause, advice: `Look at Postgres at ${where}. SHOW HOSTS`, holder: null }
}

function limitedBy({ router }: ConsoleSource, entry: PoolEntry, { option, pools }: Limit): Cause {
  const holders = holdersOf([...router.entries()].filter(({ pool }) => pools.includes(pool)))
  const cause = `the servers that ${option} allows are in use: ${countStates(holders)}`
  return {
    reason: 'limit',
    cause: `${cause} (of ${entry.pool.size} in this pool)`,
    ...blame(holders, option),
  }
}

interface Limit {
  readonly option: string
  readonly pools: readonly AnyPool[]
}

/** Who is most in the way, and what to do about it. */
export function blame(holders: readonly Holder[], option: string): Pick<Cause, 'advice' | 'holder'> {
  const [holder] = holders
  if (holder === undefined) return { holder: null, advice: `Raise ${option}.` }
  const { client, state, pins } = holder
  const id = client === null ? '' : idOf(client)
  if (state === 'idle in transaction') {
    const how = 'client.idle_transaction_timeout ends such clients'
    return {
      holder,
      advice: `Client ${id} has begun a transaction and does nothing: KILL_CLIENT ${id}; ${how}.`,
    }
  }
  if (state === 'pinned') {
    const how = 'SHOW PINS; session.max_pin_time ends such clients'
    const advice = `Client ${id} keeps its server (${pins}): ${how}.`
    return { holder, advice }
  }
  if (state === 'in session mode')
    return { holder, advice: `In session mode each client has a server to itself: pool.mode, ${option}.` }
  return { holder, advice: `All are at work: raise ${option}, or see SHOW STATEMENTS for what is slow.` }
}

export const WAIT_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW WAITS',
    role: 'stats',
    takes: 'nothing',
    help: 'Clients that wait for a server: for what, why, who has it, what to do',
    columns: columns(
      'text: database user addr application_name, int4: id, text: kind since, int4: wait wait_us, ' +
        'text: reason cause statement, int4: holder_id, text: holder_addr holder_state, int4: holder_time, ' +
        'text: holder_statement advice',
    ),
    rows: waits,
  },
]
