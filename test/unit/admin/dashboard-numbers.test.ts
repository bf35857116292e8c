// The arithmetic of the dashboard: percentiles out of buckets, points out of readings, an hour of fixed size,
// one picture of several processes.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { foldHolders, poolsHeldElsewhere } from '../../../src/admin/dashboard/fold.ts'
import { History, POINTS, STEP_MS, valuesOf } from '../../../src/admin/dashboard/history.ts'
import { Meter, percentile } from '../../../src/admin/dashboard/meter.ts'
import { mergeParts } from '../../../src/admin/dashboard/picture.ts'
import { Top } from '../../../src/admin/dashboard/top.ts'
import {
  COUNTS,
  GAUGES,
  type HeldRow,
  type Part,
  type PoolRow,
  type Reading,
  SERIES,
  type StatementRow,
} from '../../../src/admin/dashboard/types.ts'
import { TIME_BOUNDS_MS, TimeHistogram } from '../../../src/observe/counters.ts'

const BUCKETS = TIME_BOUNDS_MS.length + 1

function reading(queries: number, buckets: readonly number[] = []): Reading {
  const padded = Array.from({ length: BUCKETS }, (_, i) => buckets[i] ?? 0)
  return {
    counts: COUNTS.map((name) => (name === 'queries' ? queries : 0)),
    gauges: GAUGES.map((name) => (name === 'clients_idle' ? 3 : 0)),
    maxima: [queries, 0],
    queries: padded,
    waits: padded.map(() => 0),
  }
}

suite('percentiles', () => {
  test('lie in the bucket of the time that they stand for', () => {
    const times = fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 300 })
    const share = fc.constantFrom(0.5, 0.95, 0.99)
    fc.assert(
      fc.property(times, share, (all, wanted) => {
        const histogram = new TimeHistogram()
        for (const ms of all) histogram.record(ms)
        const exact = all.toSorted((a, b) => a - b)[Math.ceil(all.length * wanted) - 1] ?? 0
        const at = TIME_BOUNDS_MS.findIndex((bound) => exact <= bound)
        const found = percentile(histogram.buckets, wanted)
        assert.ok(found <= (TIME_BOUNDS_MS[at] ?? 0) && found >= (TIME_BOUNDS_MS[at - 1] ?? 0), `${found}`)
      }),
    )
  })

  test('of nothing there are none, and beyond the last bound it is that bound', () => {
    const buckets = new Array<number>(BUCKETS).fill(0)
    assert.ok(Number.isNaN(percentile(buckets, 0.5)))
    buckets[BUCKETS - 1] = 4
    assert.equal(percentile(buckets, 0.5), TIME_BOUNDS_MS.at(-1))
  })
})

suite('points', () => {
  test('are growth a second, added up over processes; who is new or gone makes no jump', () => {
    const meter = new Meter()
    meter.take(
      new Map([
        [1, reading(100)],
        [2, reading(1000)],
      ]),
      0,
    )
    const values = valuesOf(
      meter.take(
        new Map([
          [1, reading(120, [10])],
          [3, reading(5000)],
        ]),
        2000,
      ),
    )
    assert.equal(values.queries, 10)
    assert.equal(values.clients_idle, 6)
    assert.equal(values.oldest_wait, 5000, 'the largest')
    assert.equal(values.query_p50, 0.05)
    assert.equal(values.wait_p99, null)
    // Counters that were begun anew do not count backwards.
    assert.equal(valuesOf(meter.take(new Map([[1, reading(7)]]), 3000)).queries, 0)
  })
})

suite('the hour', () => {
  const point = (queries: number) => new Float64Array(SERIES.length).fill(queries)
  const shown = (history: History) =>
    JSON.parse(history.json()) as { end: number; series: Record<string, (number | null)[]> }

  test('keeps its size whatever is added', () => {
    const history = new History()
    const { bytes } = history
    for (let i = 0; i < POINTS + 5; i++) history.add(point(i), i * STEP_MS)
    assert.equal(history.bytes, bytes)
    const { series, end } = shown(history)
    assert.equal(end, (POINTS + 4) * STEP_MS)
    assert.equal(series.queries?.length, POINTS)
    assert.equal(series.queries?.[0], 5)
    assert.equal(series.wait_p99?.at(-1), POINTS + 4)
  })

  test('leaves out what nobody saw, and no more than an hour of it', () => {
    const history = new History(4)
    history.add(point(1), 0)
    history.add(point(2), 3 * STEP_MS + 300)
    assert.deepEqual(shown(history).series.queries, [1, null, null, 2])
    history.add(point(3), 1e12)
    assert.deepEqual(shown(history).series.queries, [null, null, null, 3])
  })
})

suite('the few of many', () => {
  test('are those that sorting gives', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 })), fc.integer({ min: 1, max: 5 }), (all, max) => {
        const top = new Top<number>(max)
        for (const one of all) top.offer(one, one)
        assert.deepEqual(top.list(), all.toSorted((a, b) => b - a).slice(0, max))
      }),
    )
  })
})

suite('one picture', () => {
  const pool: PoolRow = {
    ...{ database: 'd', user: 'u', mode: 'transaction', size: 5, clients_active: 1, clients_idle: 2 },
    ...{ clients_waiting: 3, servers_active: 1, servers_idle: 1, servers_other: 0, oldest_wait_ms: 10 },
    ...{ paused: false, shared: 'on' },
  }
  const statement: StatementRow = {
    ...{ database: 'd', statement: 'select ?', calls: 10, total_ms: 100, mean_ms: 10, max_ms: 20 },
    ...{ rows: 10, shared: 0, errors: 0 },
  }
  const part: Part = {
    ...{
      state: 'active',
      paused: ['d'],
      disabled: [],
      pools: [pool],
      causes: [],
      pins: [],
      leaks: [],
      hosts: [],
      errors: [],
      recent: [],
    },
    statements: { slowest: [statement], frequent: [statement] },
  }

  test('names who has the servers elsewhere, where all of them are in use', () => {
    const pool = { database: 'd', user: 'u' }
    const waits = { ...pool, reason: 'other_workers', cause: 'this worker has 0', advice: 'see', clients: 2 }
    const cause = { ...waits, longest_ms: 5, holder: null }
    const other = { ...cause, reason: 'paused' }
    const parts: Part[] = [{ ...part, causes: [cause, other] }, part]
    assert.deepEqual(poolsHeldElsewhere(parts), [['d', 'u']])
    const one = { id: 1, address: 'a', application_name: '', pins: '', statement: 'select ?' }
    const idle = { ...one, state: 'idle in transaction', seconds: 3 }
    const held = (size: number): HeldRow[] => [
      {
        ...pool,
        size,
        states: { active: 1 },
        rank: 3,
        advice: 'wait',
        holder: { ...one, state: 'active', seconds: 9 },
      },
      { ...pool, size, states: { 'idle in transaction': 2 }, rank: 0, advice: 'kill', holder: idle },
      { ...pool, size, states: {}, rank: 6, advice: '', holder: null },
    ]
    const [first] = foldHolders(parts, held(3))
    assert.deepEqual(first?.causes, [
      {
        ...{ ...cause, reason: 'pool_full', advice: 'kill', holder: idle },
        cause: 'all 3 servers of the pool are in use: 2 idle in transaction, 1 active',
      },
      other,
    ])
    assert.deepEqual(foldHolders(parts, held(4))[0]?.causes, [cause, other], 'one is free somewhere')
    assert.deepEqual(foldHolders(parts, [])[0]?.causes, [cause, other])
  })

  test('of several processes adds up what is about the same thing', () => {
    const other: Part = {
      ...part,
      state: 'paused',
      pools: [
        { ...pool, oldest_wait_ms: 30 },
        { ...pool, user: 'v', clients_waiting: 9 },
      ],
      statements: { slowest: [{ ...statement, calls: 30, total_ms: 900 }], frequent: [] },
      errors: [{ code: '53300', reason: 'full', count: 2, last_at: 5, message: 'b' }],
    }
    const errors = [{ code: '53300', reason: 'full', count: 1, last_at: 4, message: 'a' }]
    const { state, pools, statements, errors: merged } = mergeParts([{ ...part, errors }, other])
    assert.equal(state, 'paused')
    assert.deepEqual(
      pools.map(({ user, clients_waiting: waiting, size, oldest_wait_ms: oldest }) => [
        user,
        waiting,
        size,
        oldest,
      ]),
      [
        ['v', 9, 5, 10],
        ['u', 6, 5, 30],
      ],
    )
    assert.deepEqual([statements.slowest[0]?.mean_ms, statements.slowest[0]?.calls], [25, 40])
    assert.equal(statements.frequent.length, 1)
    assert.deepEqual([merged[0]?.count, merged[0]?.message], [3, 'b'])
  })
})
