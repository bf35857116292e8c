// What the bench concludes about the dashboard. Nothing is measured here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkDashboard, type DashboardCell, dashboardTables } from '../../../bench/dashboard-figures.ts'
import { dashboardRounds } from '../../../bench/dashboard-rounds.ts'
import type { Outcome } from '../../../bench/figures.ts'

const run = (cpu: number): Outcome => ({
  ...{ kind: 'run', amount: 1, rate: 1000, latency: null, postgres: null, generator: null },
  ...{ cpu: { user: cpu, system: 0 }, peakMemory: null },
})

/** CPU of each round without and with viewers. */
function cells(...rounds: [without: number, beside: number][]): DashboardCell[] {
  return [0, 1].map((which) => ({
    viewers: 2 * which,
    outcomes: rounds.map((round) => run(round[which] ?? 0)),
  }))
}

describe('the dashboard', () => {
  it('is compared within rounds, by the median', () => {
    const fine = checkDashboard(cells([100, 102], [200, 202], [100, 150]))
    assert.deepEqual(
      fine.map(({ failed }) => failed),
      [false],
    )
    assert.match(fine[0]?.text ?? '', /while 2 look \/ while nobody does: 1\.020 .*at most 1\.03 is asked/)
    const [dear] = checkDashboard(cells([100, 104], [200, 210], [100, 100]))
    assert.equal(dear?.failed, true)
    assert.deepEqual(checkDashboard([]), [], 'not measured')
  })

  it('has failed where a run has', () => {
    const some = cells([1, 1])
    some[1]?.outcomes.push({ kind: 'failed', reason: 'pgbench printed no result' })
    assert.deepEqual(checkDashboard(some), [
      { text: 'dashboard: a run failed: pgbench printed no result', failed: true },
    ])
  })

  it('is shown in a table, and measured often enough', () => {
    assert.match(
      dashboardTables(cells([100, 102])).join('\n'),
      /\| 2 +\| 1000 .* tps \| 102\.00 .* \| 1\.020 /,
    )
    assert.deepEqual([4, 12].map(dashboardRounds), [9, 12])
  })
})
