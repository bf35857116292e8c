// Owns: the questions after a fault: does anything of it remain, are all counts right, has the pool its full
// size again. Must never be asked while other clients of the rig still work.
import assert from 'node:assert/strict'
import type { BackendMessage, MessageOf } from './messages.ts'
import { eventually, type Rig } from './rig.ts'
import { transcript } from './transcript.ts'

/** As many clients as the pool has servers get one each at the same time, and Postgres counts as we do. */
export async function assertFullStrength(rig: Rig, size: number): Promise<void> {
  const { pooler } = rig.test
  const clients = await Promise.all(Array.from({ length: size }, () => rig.client()))
  const begun = await Promise.all(clients.map((client) => client.query('begin; select pg_backend_pid()')))
  const pids = begun.map(({ error, rows }) => {
    assert.equal(error, null)
    return Number(rows[0]?.[0])
  })
  assert.equal(new Set(pids).size, size, 'each has a server of its own')
  assert.deepEqual(pooler.gauges().servers, { opening: 0, idle: 0, testing: 0, active: size })
  const known = () => [...pooler.router.entries()].flatMap((entry) => [...entry.servers()])
  assert.deepEqual(sorted(known().map(({ pid }) => pid)), sorted(pids))
  for (const client of clients) assert.equal((await client.query('commit')).error, null)
  await Promise.all(clients.map((client) => client.end()))
  await assertCalm(rig, size)
  const seen = await rig.see(`select pid, state from pg_stat_activity where pid in (${pids.join(', ')})`)
  assert.deepEqual(sorted(seen.map(([pid]) => Number(pid))), sorted(pids), 'Postgres has them too')
  for (const [pid, state] of seen) assert.equal(state, 'idle', `server ${pid}`)
}

/** Nobody is connected any more, and that many servers are idle. */
async function assertCalm(rig: Rig, idle: number): Promise<void> {
  await eventually(() => {
    const { clients, servers, waiting } = rig.test.pooler.gauges()
    assert.deepEqual({ ...clients, waiting }, { login: 0, idle: 0, active: 0, waiting: 0 })
    assert.deepEqual(servers, { opening: 0, idle, testing: 0, active: 0 })
    for (const { pool } of rig.test.pooler.router.entries()) assert.equal(pool.waiting.size, 0)
  })
}

/** Of these messages exactly one is an error, with one of these SQLSTATEs. */
export function onlyError(messages: BackendMessage[], codes: readonly string[]): MessageOf<'E'> {
  const errors = messages.filter((message) => message.type === 'E')
  const [error] = errors
  assert.ok(error !== undefined && errors.length === 1, `one error, not: ${transcript(messages)}`)
  assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`)
  return error
}

/** Runs it. @returns the ms that it took */
export async function took(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now()
  await work()
  return performance.now() - since
}

function sorted(numbers: number[]): number[] {
  return numbers.toSorted((a, b) => a - b)
}
