// What is concluded of quick queries that have slow ones among them: pgmux beside itself without shared
// servers. Pure. Must never compare runs of two rounds.
import { type Cell, missingOf, ratiosOf, ratiosOver, spreadOfRatios } from './figures.ts'
import type { Check } from './login-figures.ts'
import { shown } from './report-table.ts'
import { LOADS } from './scenarios.ts'

/** p99 of the quick ones may be so many times that without shared servers: runs differ by as much. */
const MOST_P99 = 1.1

/** Nothing where nothing of it was measured, or pgmux has no shared servers. */
export function checkMixed(cells: readonly Cell[]): Check[] {
  return LOADS.filter((load) => load.startsWith('mixed-')).flatMap((load) => {
    const find = (peer: string) => cells.find((cell) => cell.scenario === load && cell.peer === peer)
    const [ours, leased] = [find('pgmux'), find('pgmux-leased')]
    return ours === undefined || leased === undefined ? [] : [check(ours, leased)]
  })
}

function check(ours: Cell, leased: Cell): Check {
  const broken = missingOf(ours) ?? missingOf(leased)
  const name = `${ours.scenario}: pgmux / pgmux-leased`
  if (broken !== null) return { text: `${name}: a run failed: ${broken.reason}`, failed: true }
  const p99 = spreadOfRatios(ratiosOver(ours, leased, (run) => run.latency?.p99 ?? null))
  const rate = spreadOfRatios(ratiosOf(ours, leased))
  const asked = `(at most ${MOST_P99} is asked), rate ${shown(rate, 3)} (more than 1 is asked)`
  const text = `${name}: p99 of the quick queries ${shown(p99, 3)} ${asked}`
  return { text, failed: (p99?.median ?? Infinity) > MOST_P99 || (rate?.median ?? 0) <= 1 }
}
