// What the bench concludes from its figures: ratios, verdicts, tables. No load is run here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type Cell,
  latencyOf,
  type Outcome,
  type PeerName,
  ratiosOf,
  rotated,
  type Run,
  spreadOf,
  verdictOf,
} from '../../../bench/figures.ts'
import { notMeasured, page, type Results, tables, verdictLine } from '../../../bench/report.ts'
import type { Load } from '../../../bench/scenarios.ts'

function run(rate: number): Run {
  const cpu = { user: 10.04, system: 5 }
  const latency = { average: 2, p50: 1.5, p95: 5, p99: 9.25, most: 12, samples: 100 }
  const others = { postgres: cpu, generator: null, peakMemory: 2048 }
  return { kind: 'run', amount: rate, rate, latency, cpu, ...others }
}

function cell(scenario: Load, peer: PeerName, outcomes: Outcome[]): Cell {
  return { scenario, peer, outcomes }
}

const CANNOT: Outcome = { kind: 'cannot', reason: 'too old' }
const FAILED: Outcome = { kind: 'failed', reason: 'connection lost' }

describe('figures', () => {
  it('a spread has the middle value, or the mean of the two', () => {
    assert.deepEqual(spreadOf([30, 10, 20]), { median: 20, least: 10, most: 30 })
    assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, least: 1, most: 4 })
    assert.equal(spreadOf([]), null)
  })

  it('a percentile is the value of its rank, one that occurred', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
    assert.deepEqual(latencyOf(hundred), {
      average: 50.5,
      p50: 50,
      p95: 95,
      p99: 99,
      most: 100,
      samples: 100,
    })
    assert.deepEqual(latencyOf([7]), { average: 7, p50: 7, p95: 7, p99: 7, most: 7, samples: 1 })
    assert.equal(latencyOf([]), null)
  })

  it('only runs of the same round are compared', () => {
    const ours = cell('simple', 'pgmux', [run(100), FAILED, run(300)])
    const theirs = cell('simple', 'pgbouncer', [run(200), run(100), CANNOT])
    assert.deepEqual(ratiosOf(ours, theirs), [0.5, null, null])
  })

  it('each round begins with another peer', () => {
    const orders = [0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round).join(''))
    assert.deepEqual(orders, ['abc', 'bca', 'cab', 'abc'])
  })
})

describe('verdicts', () => {
  const verdict = (scenario: Load, ours: Outcome[], theirs: Outcome[] | null, isSharing = false) =>
    verdictOf(cell(scenario, 'pgmux', ours), {
      pgbouncer: theirs === null ? null : cell(scenario, 'pgbouncer', theirs),
      direct: cell(scenario, 'direct', [run(100)]),
      isSharing,
    })

  it('fail below what is asked in the median, not in one round', () => {
    const good = verdict('simple', [run(50), run(95), run(99)], [run(100), run(100), run(100)])
    assert.deepEqual(good.spread, { median: 0.95, least: 0.5, most: 0.99 })
    assert.equal(good.complaint, '')
    const bad = verdict('extended', [run(94), run(94), run(200)], [run(100), run(100), run(100)])
    assert.match(verdictLine(bad), /^FAILED extended: pgmux reaches 0\.940 of PgBouncer's throughput/)
  })

  it('ask of each load what it is held to', () => {
    const fails = (load: Load, rate: number, isSharing = false) =>
      verdict(load, [run(rate)], [run(100)], isSharing).complaint !== ''
    const least: [Load, number][] = [
      ['simple', 95],
      ['tpcb', 95],
      ['connect', 80],
      ['copy-out', 130],
    ]
    for (const [load, bound] of least) {
      assert.deepEqual([fails(load, bound - 1), fails(load, bound)], [true, false], load)
    }
    // With shared servers more is asked.
    assert.deepEqual([fails('delay-simple-64', 100), fails('delay-simple-64', 399, true)], [false, true])
    assert.deepEqual([fails('clients-2000', 139, true), fails('clients-2000', 140, true)], [true, false])
    assert.equal(fails('copy-in', 1), false)
  })

  it('hold the CPU of a transaction to a bound as well', () => {
    const dear = { ...run(200), cpu: { user: 10, system: 3 } }
    const cheap = { ...run(200), cpu: { user: 5, system: 5 } }
    assert.match(
      verdict('simple', [dear], [run(100)], true).complaint,
      /0\.864 of PgBouncer's CPU, more than 0\.7/,
    )
    assert.equal(verdict('simple', [cheap], [run(100)], true).complaint, '')
    assert.equal(verdict('simple', [dear], [run(100)]).complaint, '')
  })

  it('prepared is compared with Postgres where PgBouncer cannot do it, and only there', () => {
    const slow = verdict('prepared', [run(59)], [CANNOT])
    assert.match(slow.complaint, /0\.590 of Postgres' own throughput, less than 0\.6/)
    assert.match(
      verdictLine(verdict('prepared', [run(60)], [CANNOT])),
      /pgmux \/ direct 0\.600.*at least 0\.6/,
    )
    assert.match(verdict('prepared', [run(99)], [run(100)]).complaint, /PgBouncer's throughput, less than 1/)
  })

  it('a failed run of either pooler fails, whatever the others reached', () => {
    assert.match(
      verdict('simple', [run(100), FAILED], [run(1), run(1)]).complaint,
      /pgmux failed: connection lost/,
    )
    assert.match(verdict('simple', [run(100)], [FAILED]).complaint, /PgBouncer failed: connection lost/)
  })

  it('nothing to compare with is no failure and no ratio', () => {
    for (const theirs of [null, [CANNOT]]) {
      const none = verdict('delay-prepared-64', [run(100)], theirs)
      assert.equal(none.spread, null)
      assert.equal(none.complaint, '')
      assert.match(verdictLine(none), /not compared/)
    }
  })
})

describe('report', () => {
  const cells = [
    cell('prepared', 'direct', [{ ...run(1000), cpu: null, peakMemory: null }]),
    cell('prepared', 'pgmux', [run(900.4)]),
    cell('prepared', 'pgbouncer', [CANNOT]),
  ]
  const results: Results = {
    date: '2020-01-02T03:04:05.000Z',
    options: { seconds: 5, rounds: 1, clients: 64, pool: 10, logins: 5000, scenarios: ['prepared'] },
    machine: {
      cpu: 'a CPU',
      cores: 2,
      memoryGib: 4,
      system: 'linux',
      node: '24.0.0',
      pgmux: '0.1.0',
      postgres: '17.1',
      pgbouncer: '1.18.0',
      loadBefore: [0, 0, 0],
      loadAfter: [1, 0, 0],
    },
    cells,
    verdicts: [verdictOf(cells[1]!, { pgbouncer: cells[2]!, direct: cells[0]!, isSharing: false })],
    generator: 'pgbench 15.1',
    configurations: [{ name: 'pgmux', text: 'pool: 10' }],
    addedRoundTrip: 2.04,
    idle: [],
    logins: [],
    storms: [],
    web: [],
    webStorms: [],
    sessions: [],
    dashboards: [],
    checks: [],
    comparison: null,
    notMeasured: notMeasured(cells, { pgbouncer: true, cpu: true }),
  }

  it('what a peer cannot do is said, never 0', () => {
    const lines = tables(results)
      .split('\n')
      .filter((each) => /^\| prepared \| PgBouncer/.test(each))
    assert.equal(lines.length, 2)
    for (const line of lines) assert.match(line, /^\D*cannot\D*$/)
    assert.match(page(results, ''), /- prepared on PgBouncer: cannot: too old/)
  })

  it('has what the poolers were told', () => {
    assert.match(page(results, ''), /pgmux:\n\n```\npool: 10\n```/)
    assert.match(page(results, ''), /far relays: 2\.04 ms more/)
  })

  it('what was not measured has words in its place', () => {
    const text = tables(results)
    assert.match(text, /direct +\| 1000 \(1000-1000\) tps .*1\.50 .*9\.25 .*no pooler/)
    assert.match(text, /pgmux +\| 900 \(900-900\) tps .* 15\.0 \(15\.0-15\.0\) +\| 10\.0 \+ 5\.0/)
    assert.match(text, /pgmux +\| 15\.0 +\| not measured +\| 2\.0 /)
    assert.match(text, /direct +\| 15\.0 +\| not measured +\| no pooler /)
    assert.match(notMeasured([], { pgbouncer: false, cpu: false }).join('\n'), /has none[\s\S]*no \/proc/)
  })
})
