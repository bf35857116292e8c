// The averages of SHOW STATS: growth over whole periods, whatever was counted before.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Averages, averagesOf } from '../../../src/admin/console/averages.ts'
import type { ConsoleSource } from '../../../src/admin/console/types.ts'
import { Counters } from '../../../src/observe/counters.ts'

const MINUTE = 60_000

it('are of the last whole period, per second, and times per piece of work', () => {
  const counters = new Counters()
  const time = { now: 1000 }
  const all = { entries: () => [['app', counters]] as [string, Counters][] }
  const averages = new Averages({ time, counters: all } as unknown as ConsoleSource)
  const tick = (passed: number) => {
    time.now += passed
    averages.tick(time.now)
  }
  const shown = (name: string) => averagesOf(averages.growthOf(counters), averages.seconds).get(name) ?? 0
  Object.assign(counters, { transactions: 600, exchanges: 1200 })
  counters.transactionTimes.sumMs = 3000
  counters.queryTimes.sumMs = 1200
  tick(MINUTE / 2)
  assert.equal(shown('xact_count'), 0, 'no period is over')
  tick(MINUTE / 2)
  assert.equal(shown('xact_count'), 10)
  assert.equal(shown('query_count'), 20)
  assert.equal(shown('xact_time'), 5000, 'microseconds for each')
  assert.equal(shown('query_time'), 1000)
  counters.transactions += 60
  tick(MINUTE)
  assert.equal(shown('xact_count'), 1)
  assert.equal(shown('xact_time'), 0)
  assert.equal(shown('query_time'), 0, 'nothing was asked')
})
