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
  const latency = { average: 2, p50: 1.5, p99: 9.25, most: 12, samples: 100 }
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
    assert.deepEqual(latencyOf(hundred), { average: 50.5, p50: 50, p99: 99, most: 100, samples: 100 })
    assert.deepEqual(latencyOf([7]), { average: 7, p50: 7, p99: 7, most: 7, samples: 1 })
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
  const verdict = (scenario: Load, ours: Outcome[], theirs: Outcome[] | null) =>
    verdictOf(cell(scenario, 'pgmux', ours), theirs === null ? null : cell(scenario, 'pgbouncer', theirs))

  it('fail below what is asked in the median, not in one round', () => {
    const good = verdict('simple', [run(50), run(90), run(95)], [run(100), run(100), run(100)])
    assert.deepEqual(good.spread, { median: 0.9, least: 0.5, most: 0.95 })
    assert.equal(good.complaint, '')
    const bad = verdict('extended', [run(89), run(89), run(200)], [run(100), run(100), run(100)])
    assert.match(verdictLine(bad), /^FAILED extended: pgmux reaches 0\.890 of PgBouncer's throughput/)
  })

  it('ask of each load what it is held to', () => {
    const fails = (load: Load, rate: number) => verdict(load, [run(rate)], [run(100)]).complaint !== ''
    assert.deepEqual([fails('simple', 89), fails('extended', 89), fails('connect', 69)], [true, true, true])
    assert.deepEqual(
      [fails('connect', 70), fails('copy-out', 120), fails('copy-out', 119)],
      [false, false, true],
    )
    assert.deepEqual([fails('tpcb', 1), fails('copy-in', 1)], [false, false])
  })

  it('prepared is compared and held to nothing', () => {
    const slow = verdict('prepared', [run(10)], [run(100)])
    assert.equal(slow.complaint, '')
    assert.match(verdictLine(slow), /0\.100, rounds 0\.100-0\.100 \(nothing is asked of it\)/)
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
      const none = verdict('prepared', [run(100)], theirs)
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
    verdicts: [verdictOf(cells[1]!, cells[2]!)],
    generator: 'pgbench 15.1',
    logins: [],
    storms: [],
    web: [],
    webStorms: [],
    sessions: [],
    checks: [],
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

  it('what was not measured has words in its place', () => {
    const text = tables(results)
    assert.match(text, /direct +\| 1000 \(1000-1000\) tps .*1\.50 .*9\.25 .*no pooler/)
    assert.match(text, /pgmux +\| 900 \(900-900\) tps .* 15\.0 \(15\.0-15\.0\) +\| 10\.0 \+ 5\.0/)
    assert.match(text, /pgmux +\| 15\.0 +\| not measured +\| 2\.0 /)
    assert.match(text, /direct +\| 15\.0 +\| not measured +\| no pooler /)
    assert.match(notMeasured([], { pgbouncer: false, cpu: false }).join('\n'), /has none[\s\S]*no \/proc/)
  })
})
