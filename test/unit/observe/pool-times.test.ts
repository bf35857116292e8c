// The times of each pool: a limited number have series of their own, and no sum that was shown goes down.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Counters, TIME_BOUNDS_MS } from '../../../src/observe/counters.ts'
import type { Sample } from '../../../src/observe/exposition.ts'
import { PoolTimesBook } from '../../../src/observe/pool-times.ts'

function samples(book: PoolTimesBook, name: string): Sample[] {
  const found = book.series().find((series) => series.name === name)
  assert.ok(found !== undefined && found.type === 'histogram', name)
  return found.values()
}

/** What `name` has counted for the pool of this database; undefined: it has no series. */
function count(book: PoolTimesBook, name: string, database: string): number | undefined {
  return samples(book, name).find(
    ({ metricName, labels }) => metricName === `${name}_count` && labels.database === database,
  )?.value
}

it('what is told of a pool counts for it and for its database', () => {
  const book = new PoolTimesBook()
  const counters = new Counters()
  const [one, two] = [book.of('db', 'one', counters), book.of('db', 'two', counters)]
  one.query(3)
  one.transaction(70_000)
  two.query(0.3)
  two.waited(12)
  assert.equal(counters.queryTimes.count, 2)
  assert.equal(counters.queryTimes.sumMs, 3.3)
  assert.equal(counters.transactionTimes.count, 1)
  assert.equal(counters.waits.sumMs, 12)
  const of = (name: string, user: string) =>
    samples(book, name)
      .filter(({ labels }) => labels.user === user)
      .map(({ metricName, labels, value }) => [metricName?.replace(name, ''), labels.le, value])
  const queries = of('pgmux_pool_query_seconds', 'one')
  assert.deepEqual(queries.slice(3, 6), [
    ['_bucket', '0.0025', 0],
    ['_bucket', '0.005', 1],
    ['_bucket', '0.01', 1],
  ])
  assert.deepEqual(queries.slice(-3), [
    ['_bucket', '+Inf', 1],
    ['_sum', undefined, 0.003],
    ['_count', undefined, 1],
  ])
  // Longer than the longest bucket.
  assert.deepEqual(of('pgmux_pool_transaction_seconds', 'one').slice(-4, -1), [
    ['_bucket', '60', 0],
    ['_bucket', '+Inf', 1],
    ['_sum', undefined, 70],
  ])
  assert.equal(of('pgmux_pool_wait_seconds', 'two').at(-1)?.[2], 1)
})

it('every bucket of a pool is one of the whole, with all that is below it', () => {
  const book = new PoolTimesBook()
  const counters = new Counters()
  const times = book.of('db', 'u', counters)
  for (const bound of TIME_BOUNDS_MS) times.query(bound)
  const buckets = samples(book, 'pgmux_pool_query_seconds').filter(({ labels }) => labels.le !== undefined)
  for (const { labels, value } of buckets) {
    const ms = Number(labels.le === '+Inf' ? Number.POSITIVE_INFINITY : labels.le) * 1000
    assert.equal(value, TIME_BOUNDS_MS.filter((bound) => bound <= ms + 1e-9).length, labels.le)
  }
})

it('pools beyond the limit share `other`, which never goes down', () => {
  const name = 'pgmux_pool_query_seconds'
  const book = new PoolTimesBook()
  const counters = new Counters()
  const all = Array.from({ length: 205 }, (_, n) => book.of(`db${n}`, 'u', counters))
  for (const times of all) times.query(1)
  assert.equal(count(book, name, 'db199'), 1)
  assert.equal(count(book, name, 'db200'), undefined)
  assert.equal(count(book, name, 'other'), 5)
  assert.equal(counters.queryTimes.count, 205)
  // Its place is for a pool that comes later; those that share stay where they are.
  for (const at of [0, 204]) book.leave(all[at]!)
  assert.equal(count(book, name, 'db0'), undefined)
  const late = book.of('late', 'u', counters)
  late.query(1)
  all[203]?.query(1)
  assert.equal(count(book, name, 'late'), 1)
  assert.equal(count(book, name, 'other'), 6)
  assert.equal(new Set(samples(book, name).map(({ labels }) => labels.database)).size, 201)
})

it('a pool that is being closed and the one that follows it are one series', () => {
  const name = 'pgmux_pool_query_seconds'
  const book = new PoolTimesBook()
  const counters = new Counters()
  const before = book.of('db', 'u', counters)
  const after = book.of('db', 'u', counters)
  before.query(1)
  after.query(1)
  assert.equal(count(book, name, 'db'), 2)
  book.leave(before)
  book.leave(before)
  assert.equal(count(book, name, 'db'), 2)
  book.leave(after)
  assert.equal(count(book, name, 'db'), undefined)
  book.of('db', 'u', counters)
  assert.equal(count(book, name, 'db'), 0)
})
