// E07, E21: hundreds of wrong passwords a second, by the method that costs most, do not disturb those who
// work, nor keep out who has the right password. The pooler has a process of its own.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const PER_SECOND = 500
const SECONDS = 2
/** Between two starts of a few logins at once. */
const STEP_MS = 20
/**
 * What a machine with other work as well may add. Were passwords hashed by the thread that serves everybody,
 * there would be no end to it: 500 of them take more than a second.
 */
const SLACK_MS = 50
/** The figures for a quiet machine are in the benchmarks. */
const FACTOR = 4

/** Time for a right password in the midst of it. */
const RIGHT_MS = 3000

const postgres = await getPostgres()

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

test('500 wrong passwords a second', async (t) => {
  const pooler = await startPoolerProcess(postgres.url, { client: { auth: 'password' } })
  after(() => pooler.stop())
  const { user, password, database } = postgres
  const options = { host: pooler.host, port: pooler.port, database }
  await using worker = await WireClient.connect({ ...options, user, password })

  const work = async (limit: Promise<unknown>): Promise<number[]> => {
    let isOver = false
    void limit.then(() => {
      isOver = true
    })
    const times: number[] = []
    while (!isOver) {
      const from = performance.now()
      assert.equal((await worker.query('select 1')).error, null)
      times.push(performance.now() - from)
      await pause(1)
    }
    return times.sort((a, b) => a - b)
  }

  const wrong = (n: number): Promise<string> =>
    WireClient.connect({ ...options, user: n % 2 ? user : `nobody ${n}`, password: `guess ${n}` }).then(
      () => 'in',
      (error: unknown) => (error instanceof LoginError ? error.code : String(error)),
    )

  const storm = async (): Promise<string[]> => {
    const attempts: Promise<string>[] = []
    const from = performance.now()
    while (attempts.length < PER_SECOND * SECONDS) {
      const due = Math.min(PER_SECOND * SECONDS, ((performance.now() - from) / 1000) * PER_SECOND)
      while (attempts.length < due) attempts.push(wrong(attempts.length))
      await pause(STEP_MS)
    }
    return Promise.all(attempts)
  }

  const quiet = await work(pause(1000))
  const running = storm()
  const busy = await work(running)
  const codes = new Map<string, number>()
  for (const code of await running) codes.set(code, (codes.get(code) ?? 0) + 1)
  assert.deepEqual([...codes.keys()], ['28P01'], JSON.stringify([...codes]))
  const [before, during] = [percentile(quiet, 0.9), percentile(busy, 0.9)]
  const figures = `p90 ${before.toFixed(1)} ms before, ${during.toFixed(1)} ms during`
  t.diagnostic(figures)
  // Times are judged in the long run only: a whole test run beside it is no measure.
  if (process.env.LONG) assert.ok(during < FACTOR * before + SLACK_MS, figures)
  assert.ok(busy.length >= 20, `${busy.length} answers during the storm`)

  // Among them the right password is not kept waiting.
  const again = storm()
  await pause((SECONDS * 1000) / 2)
  const from = performance.now()
  await using right = await WireClient.connect({ ...options, user, password })
  assert.equal((await right.query('select 1')).error, null)
  const took = performance.now() - from
  assert.ok(took < RIGHT_MS, `${took} ms for the right password`)
  await again
})
