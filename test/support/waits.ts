// Owns: waiting for what no event tells, by asking again and again, with a limit and a clear failure.
// Must never wait for time to pass by itself.
import assert from 'node:assert/strict'
import type { TestPostgres } from './postgres.ts'

/** Asks until the answer is yes. @throws AssertionError after `limit` ms, with the last state in words */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  what: () => string,
  limit = 20_000,
): Promise<void> {
  const deadline = performance.now() + limit
  while (!(await isTrue())) {
    assert.ok(performance.now() < deadline, `waited ${limit} ms: ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Resolves when one server of this Postgres runs pg_sleep. */
export function asleep(postgres: TestPostgres): Promise<void> {
  const sql = "select count(*)::int as n from pg_stat_activity where wait_event = 'PgSleep'"
  return until(
    async () => (await postgres.admin(sql))[0]?.n === 1,
    () => 'nobody runs pg_sleep',
  )
}
