// The words for clients that get no server from a pool. Data only.
import type { Refusal } from './types.ts'

/** The wait is over. `failure`: the last login to Postgres that failed, while none has succeeded since. */
export function waitedTooLong(
  pool: { database: string; user: string; size: number },
  waitedMs: number,
  failure: Refusal | null,
): Refusal {
  const whom = `database "${pool.database}" and user "${pool.user}"`
  const cause = failure === null ? `all ${pool.size} servers of the pool are in use` : failure.message
  return {
    severity: 'ERROR',
    code: '53300',
    message: 'query_wait_timeout',
    detail: `No server for ${whom} within ${Math.round(waitedMs)} ms: ${cause}.`,
    hint: 'Raise pool.size or pool.query_wait_timeout, or make transactions shorter.',
    reason: 'query_wait_timeout',
  }
}

export function tooManyWaiting(maxWaiting: number): Refusal {
  return {
    severity: 'ERROR',
    code: '53300',
    message: 'too many clients are waiting for a server',
    detail: `${maxWaiting} clients wait already (pool.max_waiting).`,
    reason: 'max_waiting',
  }
}
