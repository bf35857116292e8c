// Counters by database: the sums never go down, whatever is forgotten.
import assert from 'node:assert/strict'
import { after, it } from 'node:test'
import { DatabaseCounters } from '../../../src/observe/database-counters.ts'
import { Metrics } from '../../../src/observe/metrics.ts'

const metrics = new Metrics()
after(() => metrics.close())

it('keeps what a forgotten database has counted in the sums, and begins anew for its name', () => {
  const all = new DatabaseCounters(metrics)
  all.of('kept').exchanges = 1
  all.of('tried').exchanges = 10
  assert.equal(all.of('tried').exchanges, 10)
  all.keep((name) => name === 'kept')
  assert.deepEqual(
    [...all.entries()].map(([name]) => name),
    ['kept'],
  )
  assert.equal(metrics.totals().exchanges, 11)
  assert.equal(all.of('tried').exchanges, 0)
  all.of('tried').exchanges = 100
  assert.equal(metrics.totals().exchanges, 111)
})
