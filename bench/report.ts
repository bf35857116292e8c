// What people read: the tables, the verdicts, the page. Pure.
// Must never show a figure that was not measured: such a field says in words why it is empty.
import { type Cell, LEAST_RATIO, missingOf, type PeerName, type Run, runsOf } from './figures.ts'
import { type Spread, spreadOf, type Verdict } from './figures.ts'
import type { Machine } from './machine.ts'
import type { BenchOptions } from './options.ts'

/** Everything that one bench found out; the .json file is this. */
export interface Results {
  /** ISO 8601. */
  readonly date: string
  readonly options: Pick<BenchOptions, 'seconds' | 'rounds' | 'clients' | 'pool' | 'scenarios'>
  readonly machine: Machine
  readonly cells: readonly Cell[]
  readonly verdicts: readonly Verdict[]
  /** KiB, over all runs of a pooler; null: this machine does not tell. */
  readonly peakMemory: Readonly<Partial<Record<PeerName, number | null>>>
  readonly notMeasured: readonly string[]
}

const NAMES: Readonly<Record<PeerName, string>> = {
  direct: 'direct',
  pgmux: 'pgmux',
  pgbouncer: 'PgBouncer',
}

/** What this version of the bench does not look at, whatever the machine. */
const NEVER_MEASURED = [
  'percentiles of the latency (pgbench gives its average and its deviation)',
  'writes, transactions of several statements, large results, COPY',
  'logging in with a password, TLS, Unix sockets, a Postgres on another machine',
  "CPU of pgbench and of Postgres; with `-j 1` pgbench's one thread may be what limits",
]

/** @returns one sentence for each thing that a reader might miss */
export function notMeasured(cells: readonly Cell[], has: { pgbouncer: boolean; cpu: boolean }): string[] {
  const gaps = cells.flatMap((cell) => {
    const missing = missingOf(cell)
    return missing === null ? [] : [`${cell.scenario} on ${NAMES[cell.peer]}: ${missing.reason}`]
  })
  if (!has.pgbouncer) gaps.push('PgBouncer: this machine has none, so nothing was compared with it')
  if (!has.cpu) gaps.push('CPU and memory of the poolers: this machine has no /proc')
  return [...gaps, ...NEVER_MEASURED]
}

/** The figures, as Markdown whose columns also stand in line in a terminal. */
export function tables(results: Results): string {
  const { clients, pool, rounds, seconds } = results.options
  const load = `${clients} clients, pool of ${pool}, rounds of ${seconds} s: ${rounds}`
  const parts = [
    `${load}. Medians, in brackets least and most of all rounds.`,
    table(figureRows(results.cells)),
  ]
  const compared = results.verdicts.filter((verdict) => verdict.ratios.length > 0)
  if (compared.length > 0) {
    parts.push('Throughput of pgmux / PgBouncer, round by round:', table(ratioRows(compared)))
  }
  const memory = Object.entries(results.peakMemory).map(
    ([peer, kib]) =>
      `${NAMES[peer as PeerName]} ${kib === null ? 'not measured' : `${(kib / 1024).toFixed(1)} MiB`}`,
  )
  if (memory.length > 0) parts.push(`Peak memory (RSS) of the poolers over all runs: ${memory.join(', ')}.`)
  return parts.join('\n\n')
}

/** The page beside the .json file. */
export function page(results: Results): string {
  const { machine } = results
  const facts = [
    `CPU: ${machine.cpu}, ${machine.cores} cores; memory ${machine.memoryGib} GiB; ${machine.system}`,
    `pgmux ${machine.pgmux} on Node ${machine.node}`,
    `Postgres ${machine.postgres}, PgBouncer ${machine.pgbouncer ?? '(none)'}, pgbench ${machine.pgbench}`,
    `load average before ${machine.loadBefore.join(' ')}, after ${machine.loadAfter.join(' ')}`,
  ]
  return [
    `# Select-only load, ${results.date.slice(0, 10)}`,
    tables(results),
    ...results.verdicts.map(verdictLine),
    `## Machine\n\n${list(facts)}`,
    `## Not measured\n\n${list(results.notMeasured)}`,
    'How this was measured: docs/benchmarks.md.\n',
  ].join('\n\n')
}

/** One sentence on one scenario. */
export function verdictLine(verdict: Verdict): string {
  if (verdict.complaint !== '') return `FAILED ${verdict.complaint}.`
  if (verdict.median === null) return `${verdict.scenario}: not compared, PgBouncer has no figure here.`
  const bound = verdict.held ? `at least ${LEAST_RATIO} is asked` : 'nothing is asked of it'
  return `${verdict.scenario}: pgmux / PgBouncer ${verdict.median.toFixed(3)} (${bound}).`
}

function figureRows(cells: readonly Cell[]): string[][] {
  const head = [
    'scenario',
    'peer',
    'tps',
    'latency ms',
    'deviation ms',
    'CPU us/transaction',
    'user + system',
  ]
  const rows = cells.map((cell) => [cell.scenario, NAMES[cell.peer], ...figuresOf(cell)])
  return [head, ...rows]
}

function figuresOf(cell: Cell): string[] {
  const runs = runsOf(cell)
  const missing = missingOf(cell)
  if (runs.length === 0) return [missing?.kind ?? 'not run', '', '', '', '']
  const failed = cell.outcomes.length - runs.length
  const tps = shown(
    spread(runs, (run) => run.tps),
    0,
  )
  return [
    failed === 0 ? tps : `${tps}, ${failed} of ${cell.outcomes.length} failed`,
    shown(
      spread(runs, (run) => run.latencyAverage),
      3,
    ),
    shown(
      spread(runs, (run) => run.latencyDeviation),
      3,
    ),
    ...cpuOf(cell.peer, runs),
  ]
}

function cpuOf(peer: PeerName, runs: readonly Run[]): string[] {
  if (peer === 'direct') return ['no pooler', '']
  const user = spread(runs, (run) => run.cpu?.user ?? null)
  const system = spread(runs, (run) => run.cpu?.system ?? null)
  if (user === null || system === null) return ['not measured', '']
  const sum = spread(runs, (run) => (run.cpu === null ? null : run.cpu.user + run.cpu.system))
  return [shown(sum, 1), `${user.median.toFixed(1)} + ${system.median.toFixed(1)}`]
}

function spread(runs: readonly Run[], pick: (run: Run) => number | null): Spread | null {
  return spreadOf(runs.map(pick).filter((value) => value !== null))
}

function shown(values: Spread | null, digits: number): string {
  if (values === null) return 'not measured'
  const { median, least, most } = values
  return `${median.toFixed(digits)} (${least.toFixed(digits)}-${most.toFixed(digits)})`
}

function ratioRows(verdicts: readonly Verdict[]): string[][] {
  const rounds = verdicts[0]!.ratios.map((_ratio, i) => `round ${i + 1}`)
  const rows = verdicts.map(({ scenario, ratios, median }) => [scenario, ...[...ratios, median].map(ratio)])
  return [['scenario', ...rounds, 'median'], ...rows]
}

function ratio(value: number | null): string {
  return value === null ? '-' : value.toFixed(3)
}

function table(rows: readonly string[][]): string {
  const widths = rows[0]!.map((_cell, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join('\n')
}

function list(items: readonly string[]): string {
  return items.map((item) => `- ${item}`).join('\n')
}
