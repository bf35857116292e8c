// The tables about WebSocket and HTTP. Pure.
// Must never show a figure that was not measured: such a field says in words why it is empty.
import { missingOf, type Run, runsOf, spreadOf, spreadOver, total } from './figures.ts'
import { runsIn } from './login-figures.ts'
import { shown, table } from './report-table.ts'
import { baseOf, rateRatio, type WebCell, type WebStormRound, webStormRatio } from './web-figures.ts'
import { GOOD_KINDS } from './web-scenarios.ts'

const HEAD = [
  'way',
  'rate/s',
  'of the first',
  'p50 ms',
  'p99 ms',
  'pgmux CPU us',
  'user + system',
  'load CPU us',
  'Postgres CPU us',
  'peak MiB',
]

/** One table for each group, with the title above it. */
export function webTables(cells: readonly WebCell[], storms: readonly WebStormRound[]): string[] {
  const groups = Map.groupBy(cells, ({ scenario, group }) => `${scenario}: ${group}`)
  const parts = [...groups].flatMap(([title, rows]) => [
    `${title}`,
    table([HEAD, ...rows.map((cell) => rowOf(cell, cells))]),
  ])
  if (storms.length > 0) {
    const title =
      '100 wrong passwords a second over WebSocket and HTTP, and p99 of good traffic without and with'
    parts.push(`${title} them:`, table([STORM_HEAD, ...GOOD_KINDS.map((kind) => stormRow(storms, kind))]))
  }
  return parts
}

function rowOf(cell: WebCell, cells: readonly WebCell[]): string[] {
  const runs = runsOf(cell)
  if (runs.length === 0) return [cell.way, missingOf(cell)?.kind ?? 'not run', ...HEAD.slice(2).map(() => '')]
  const pick = (take: (run: Run) => number | null, digits: number): string =>
    shown(spreadOver(runs, take), digits)
  const median = (take: (run: Run) => number | null): string =>
    spreadOver(runs, take)?.median.toFixed(1) ?? 'not measured'
  const base = baseOf(cell, cells)
  const peak = spreadOver(runs, (run) => run.peakMemory)
  return [
    cell.way,
    pick((run) => run.rate, 0),
    base === cell ? '-' : shown(rateRatio(cell, base), 3),
    pick((run) => run.latency?.p50 ?? null, 2),
    pick((run) => run.latency?.p99 ?? null, 2),
    pick((run) => total(run.cpu), 1),
    `${median((run) => run.cpu?.user ?? null)} + ${median((run) => run.cpu?.system ?? null)}`,
    median((run) => total(run.generator)),
    median((run) => total(run.postgres)),
    peak === null ? 'not measured' : (peak.most / 1024).toFixed(1),
  ]
}

const STORM_HEAD = ['good traffic', 'without ms', 'with ms', 'times', 'failed', 'CPU us per attempt']

function stormRow(rounds: readonly WebStormRound[], kind: (typeof GOOD_KINDS)[number]): string[] {
  const runs = runsIn(rounds)
  if (runs.length === 0) return [kind, rounds[0]?.kind ?? 'not run', '', '', '', '']
  const p99 = (when: 'calm' | 'hurt'): string =>
    shown(spreadOf(runs.flatMap((run) => run.good[when][kind]?.p99 ?? [])), 2)
  const failed = runs.reduce((sum, run) => sum + run.good.failed, 0)
  const cpu = spreadOf(runs.flatMap((run) => total(run.cpu) ?? []))
  return [
    kind,
    p99('calm'),
    p99('hurt'),
    shown(webStormRatio(rounds, kind), 2),
    String(failed),
    shown(cpu, 0),
  ]
}
