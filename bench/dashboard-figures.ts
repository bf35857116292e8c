// What is concluded about the dashboard: what it costs a transaction while somebody looks. Pure.
// Must never take the figures of two different rounds for a comparison.
import { missingOf, type Outcome, ratiosOver, runsOf, spreadOfRatios, spreadOver, total } from './figures.ts'
import type { Check } from './login-figures.ts'
import { shown, table } from './report-table.ts'

/** Most CPU per transaction while two look, to that while nobody does. */
export const MOST_CPU = 1.03

/** One way to run the load, with an outcome for each round. */
export interface DashboardCell {
  readonly viewers: number
  readonly outcomes: Outcome[]
}

const HEAD = ['who looks', 'rate', 'pgmux CPU us', 'of the first', 'p50 ms', 'p99 ms']

/** @param cells the first is the one that nobody looks at */
export function checkDashboard([without, beside]: readonly DashboardCell[]): Check[] {
  if (without === undefined || beside === undefined) return []
  const missing = missingOf(without) ?? missingOf(beside)
  if (missing !== null) return [{ text: `dashboard: a run failed: ${missing.reason}`, failed: true }]
  const ratio = spreadOfRatios(ratiosOver(beside, without, (run) => total(run.cpu)))
  const what = `dashboard: CPU per transaction while ${beside.viewers} look / while nobody does`
  if (ratio === null) return [{ text: `${what}: not measured`, failed: true }]
  const text = `${what}: ${shown(ratio, 3)} (at most ${MOST_CPU} is asked)`
  return [{ text, failed: ratio.median > MOST_CPU }]
}

export function dashboardTables(cells: readonly DashboardCell[]): string[] {
  const [first] = cells
  if (first === undefined) return []
  const rows = cells.map((cell) => {
    const runs = runsOf(cell)
    const ratio = spreadOfRatios(ratiosOver(cell, first, (run) => total(run.cpu)))
    return [
      cell.viewers === 0 ? 'nobody' : String(cell.viewers),
      `${shown(
        spreadOver(runs, (run) => run.rate),
        0,
      )} tps`,
      shown(
        spreadOver(runs, (run) => total(run.cpu)),
        2,
      ),
      cell === first ? '-' : shown(ratio, 3),
      shown(
        spreadOver(runs, (run) => run.latency?.p50 ?? null),
        2,
      ),
      shown(
        spreadOver(runs, (run) => run.latency?.p99 ?? null),
        2,
      ),
    ]
  })
  return ['dashboard: selects by key of 2000 clients', table([HEAD, ...rows])]
}
