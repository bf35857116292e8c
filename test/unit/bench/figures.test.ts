// What the bench concludes from its figures: ratios, verdicts, tables. No load is run here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Cell, type Outcome, type PeerName, ratiosOf, rotated } from '../../../bench/figures.ts'
import { spreadOf, verdictOf } from '../../../bench/figures.ts'
import { BenchError, parseOptions, type Scenario } from '../../../bench/options.ts'
import { notMeasured, page, type Results, tables, verdictLine } from '../../../bench/report.ts'

function run(tps: number): Outcome {
  const cpu = { user: 10.04, system: 5 }
  return { kind: 'run', transactions: tps, tps, latencyAverage: 2, latencyDeviation: null, cpu }
}

function cell(scenario: Scenario, peer: PeerName, outcomes: Outcome[]): Cell {
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
  const verdict = (scenario: Scenario, ours: Outcome[], theirs: Outcome[] | null) =>
    verdictOf(cell(scenario, 'pgmux', ours), theirs === null ? null : cell(scenario, 'pgbouncer', theirs))

  it('fail below 0.85 in the median, not in one round', () => {
    const good = verdict('simple', [run(50), run(85), run(90)], [run(100), run(100), run(100)])
    assert.equal(good.median, 0.85)
    assert.equal(good.complaint, '')
    const bad = verdict('extended', [run(84), run(84), run(200)], [run(100), run(100), run(100)])
    assert.match(verdictLine(bad), /^FAILED extended: pgmux reaches 0\.840 of PgBouncer's throughput/)
  })

  it('prepared is compared and held to nothing', () => {
    const slow = verdict('prepared', [run(10)], [run(100)])
    assert.equal(slow.complaint, '')
    assert.match(verdictLine(slow), /0\.100 \(nothing is asked of it\)/)
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
      assert.equal(none.median, null)
      assert.equal(none.complaint, '')
      assert.match(verdictLine(none), /not compared/)
    }
  })
})

describe('report', () => {
  const cells = [
    cell('prepared', 'direct', [{ ...(run(1000) as Extract<Outcome, { kind: 'run' }>), cpu: null }]),
    cell('prepared', 'pgmux', [run(900.4)]),
    cell('prepared', 'pgbouncer', [CANNOT]),
  ]
  const results: Results = {
    date: '2020-01-02T03:04:05.000Z',
    options: { seconds: 5, rounds: 1, clients: 64, pool: 10, scenarios: ['prepared'] },
    machine: {
      cpu: 'a CPU',
      cores: 2,
      memoryGib: 4,
      system: 'linux',
      node: '24.0.0',
      pgmux: '0.1.0',
      postgres: '17.1',
      pgbouncer: '1.18.0',
      pgbench: '15.1',
      loadBefore: [0, 0, 0],
      loadAfter: [1, 0, 0],
    },
    cells,
    verdicts: [verdictOf(cells[1]!, cells[2]!)],
    peakMemory: { pgmux: 2048, pgbouncer: null },
    notMeasured: notMeasured(cells, { pgbouncer: true, cpu: true }),
  }

  it('what a peer cannot do is said, never 0', () => {
    const line = tables(results)
      .split('\n')
      .find((each) => /^\| prepared \| PgBouncer/.test(each))!
    assert.match(line, /cannot/)
    assert.doesNotMatch(line, /\d/)
    assert.match(page(results), /- prepared on PgBouncer: too old/)
  })

  it('what was not measured has words in its place', () => {
    const text = tables(results)
    assert.match(text, /direct +\| 1000 \(1000-1000\) .*not measured .*no pooler/)
    assert.match(text, /pgmux +\| 900 \(900-900\) .* 15\.0 \(15\.0-15\.0\) +\| 10\.0 \+ 5\.0/)
    assert.match(text, /pgmux 2\.0 MiB, PgBouncer not measured/)
    assert.match(notMeasured([], { pgbouncer: false, cpu: false }).join('\n'), /has none[\s\S]*no \/proc/)
  })
})

describe('options', () => {
  it('have defaults', () => {
    const { seconds, rounds, clients, pool, scenarios, assert: asserts } = parseOptions([])
    assert.deepEqual([seconds, rounds, clients, pool, asserts], [5, 5, 64, 10, true])
    assert.deepEqual(scenarios, ['simple', 'extended', 'prepared'])
  })

  it('take both ways of writing', () => {
    const {
      seconds,
      scenarios,
      assert: asserts,
    } = parseOptions(['--seconds', '1', '--only=extended,simple', '--no-assert'])
    assert.deepEqual([seconds, asserts], [1, false])
    assert.deepEqual(scenarios, ['simple', 'extended'])
  })

  it('refuse what is none, by name', () => {
    const wrong = [
      ['--seconds=0'],
      ['--rounds', '1.5'],
      ['--clients=1e3'],
      ['--only='],
      ['--secs=1'],
      ['more'],
    ]
    for (const args of wrong) assert.throws(() => parseOptions(args), BenchError, args.join(' '))
    assert.throws(() => parseOptions(['--pool=x']), /--pool expects a whole number from 1 to 900, not "x"/)
  })
})
