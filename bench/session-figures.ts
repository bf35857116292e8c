// What is concluded about sessions, and its tables. Pure.
// Must never take the figures of two different rounds for a comparison.
import {
  missingOf,
  type Outcome,
  type Run,
  runsOf,
  type Spread,
  spreadOf,
  spreadOver,
  total,
} from './figures.ts'
import type { Check } from './login-figures.ts'
import { shown, table } from './report-table.ts'
import { LEAST_LOCAL, LEAST_SET, type SessionRow } from './session-scenarios.ts'

/** One row, with an outcome for each round. */
export interface SessionCell extends SessionRow {
  readonly outcomes: Outcome[]
}

const HEAD = ['script', 'way', 'rate', 'of the first', 'p50 ms', 'p99 ms', 'pgmux CPU us', 'Postgres CPU us']

/** The first row of the same way in the group of a cell. */
function baseOf(cell: SessionCell, cells: readonly SessionCell[]): SessionCell {
  return cells.find(({ group, peer }) => group === cell.group && peer === cell.peer) ?? cell
}

/** @returns rate / rate of the first row, for each round; null where one has no figure */
function ratiosOf(cell: SessionCell, cells: readonly SessionCell[]): (number | null)[] {
  const base = baseOf(cell, cells)
  return cell.outcomes.map((mine, round) => {
    const other = base.outcomes[round]
    return mine.kind === 'run' && other?.kind === 'run' && other.rate > 0 ? mine.rate / other.rate : null
  })
}

function spreadOfRatios(ratios: readonly (number | null)[]): Spread | null {
  return spreadOf(ratios.filter((ratio) => ratio !== null))
}

/** What SET LOCAL costs through pgmux beyond what it costs directly: 1 is nothing. */
function localRatio(cells: readonly SessionCell[]): Spread | null {
  const of = (peer: SessionRow['peer']): (number | null)[] => {
    const last = cells.findLast((cell) => cell.group === 'set local' && cell.peer === peer)
    return last === undefined ? [] : ratiosOf(last, cells)
  }
  const directly = of('direct')
  return spreadOfRatios(
    of('pgmux').map((ratio, round) => {
      const other = directly[round] ?? null
      return ratio === null || other === null ? null : ratio / other
    }),
  )
}

/** Everything that is asked of the scenario. */
export function checkSessions(cells: readonly SessionCell[]): Check[] {
  const broken = cells.find((cell) => missingOf(cell) !== null)
  if (broken !== undefined) {
    const text = `session, ${broken.title}, ${broken.peer}: a run failed: ${missingOf(broken)?.reason}`
    return [{ text, failed: true }]
  }
  const settings = cells.filter(({ group }) => group === 'settings')
  const two = settings[1] === undefined ? null : spreadOfRatios(ratiosOf(settings[1], cells))
  const local = localRatio(cells)
  return [
    check('the rate with a SET of two values for each session / that without', two, LEAST_SET),
    check('SET LOCAL / another statement in its place, in shares of the same directly', local, LEAST_LOCAL),
  ]
}

function check(what: string, ratio: Spread | null, least: number): Check {
  if (ratio === null) return { text: `session: ${what}: not measured`, failed: true }
  const text = `session: ${what}: ${shown(ratio, 3)} (at least ${least} is asked)`
  return { text, failed: ratio.median < least }
}

/** One table for each group, with its title above it. */
export function sessionTables(cells: readonly SessionCell[]): string[] {
  const groups = Map.groupBy(cells, ({ group }) => group)
  return [...groups].flatMap(([group, rows]) => [
    group === 'settings' ? 'session: selects by key' : 'session: transactions of a statement and a select',
    table([HEAD, ...rows.map((cell) => rowOf(cell, cells))]),
  ])
}

function rowOf(cell: SessionCell, cells: readonly SessionCell[]): string[] {
  const runs = runsOf(cell)
  const start = [cell.title, cell.peer]
  if (runs.length === 0) return [...start, missingOf(cell)?.kind ?? 'not run', ...HEAD.slice(3).map(() => '')]
  const pick = (take: (run: Run) => number | null, digits: number): string =>
    shown(spreadOver(runs, take), digits)
  return [
    ...start,
    `${pick((run) => run.rate, 0)} tps`,
    baseOf(cell, cells) === cell ? '-' : shown(spreadOfRatios(ratiosOf(cell, cells)), 3),
    pick((run) => run.latency?.p50 ?? null, 2),
    pick((run) => run.latency?.p99 ?? null, 2),
    cell.peer === 'direct' ? 'no pooler' : pick((run) => total(run.cpu), 1),
    pick((run) => total(run.postgres), 1),
  ]
}
