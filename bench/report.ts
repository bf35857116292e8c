// What people read: the tables, the verdicts, the page. Pure.
// Must never show a figure that was not measured: such a field says in words why it is empty.
import {
  type Cell,
  missingOf,
  type PeerName,
  type Run,
  runsOf,
  spreadOf,
  spreadOver,
  total,
  type Verdict,
} from './figures.ts'
import { type Comparison, comparisonTable } from './compare.ts'
import { type DashboardCell, dashboardTables } from './dashboard-figures.ts'
import { type IdleCell, idleTable } from './idle-figures.ts'
import { type Check, type LoginCell, runsIn, type StormCell, stormRatio } from './login-figures.ts'
import type { Machine } from './machine.ts'
import type { BenchOptions } from './options.ts'
import { shown, table } from './report-table.ts'
import { FACTS, isBulk } from './scenarios.ts'
import { type SessionCell, sessionTables } from './session-figures.ts'
import type { WebCell, WebStormRound } from './web-figures.ts'
import { webTables } from './web-report.ts'

/** Everything that one bench found out; the .json file is this. */
export interface Results {
  /** ISO 8601. */
  readonly date: string
  readonly options: Pick<BenchOptions, 'seconds' | 'rounds' | 'clients' | 'pool' | 'logins' | 'scenarios'>
  readonly machine: Machine
  /** What made the load. */
  readonly generator: string
  /** What the poolers were told, without secrets. */
  readonly configurations: readonly { readonly name: string; readonly text: string }[]
  /** ms that a relay between pooler and Postgres adds to a round trip; null: not measured. */
  readonly addedRoundTrip: number | null
  readonly cells: readonly Cell[]
  readonly verdicts: readonly Verdict[]
  readonly idle: readonly IdleCell[]
  readonly logins: readonly LoginCell[]
  readonly storms: readonly StormCell[]
  readonly web: readonly WebCell[]
  readonly webStorms: readonly WebStormRound[]
  readonly sessions: readonly SessionCell[]
  readonly dashboards: readonly DashboardCell[]
  /** Of all that is not compared with PgBouncer by its rate. */
  readonly checks: readonly Check[]
  /** null: with nothing. */
  readonly comparison: Comparison | null
  readonly notMeasured: readonly string[]
}

const NAMES: Readonly<Record<PeerName, string>> = { pgbouncer: 'PgBouncer' }

/** What this version of the bench does not look at, whatever the machine. */
const NEVER_MEASURED = [
  'TLS, Unix sockets, a Postgres on another machine',
  'slow readers',
  'WebSocket and HTTP: with TLS, with tokens, from a browser, answers of more than one row',
  'what limits: load, pooler and Postgres share the machine',
]

/** @returns how a peer is called where people read */
export function nameOf(peer: PeerName): string {
  return NAMES[peer] ?? peer
}

/** @returns one sentence for each thing that a reader might miss */
export function notMeasured(cells: readonly Cell[], has: { pgbouncer: boolean; cpu: boolean }): string[] {
  const gaps = cells.flatMap((cell) => {
    const missing = missingOf(cell)
    return missing === null
      ? []
      : [`${cell.scenario} on ${nameOf(cell.peer)}: ${missing.kind}: ${missing.reason}`]
  })
  if (!has.pgbouncer) gaps.push('PgBouncer: this machine has none, so nothing was compared with it')
  if (!has.cpu) gaps.push('CPU and memory: this machine has no /proc')
  return [...gaps, ...NEVER_MEASURED]
}

/** The tables that the terminal shows as well. */
export function tables(results: Results): string {
  const { cells, verdicts, logins, storms, options } = results
  const parts: string[] = []
  if (cells.length > 0) {
    const load = `${options.clients} clients, pool of ${options.pool}`
    const rounds = `${options.rounds} rounds of ${options.seconds} s`
    parts.push(
      `${load}, ${rounds}. Medians, in brackets least and most of all rounds.`,
      table([FIGURE_HEAD, ...cells.map(figureRow)]),
      'CPU of the others, and memory of the poolers:',
      table([OTHER_HEAD, ...cells.map(otherRow)]),
    )
  }
  const compared = verdicts.filter((verdict) => verdict.ratios.length > 0)
  if (compared.length > 0) parts.push('Rates beside each other, round by round:', table(ratioRows(compared)))
  parts.push(...idleTable(results.idle, nameOf))
  if (logins.length > 0) {
    parts.push(`${options.logins} logins within one second:`, table([LOGIN_HEAD, ...logins.map(loginRow)]))
  }
  if (storms.length > 0) {
    const title = '500 wrong passwords a second, and p99 of good traffic without and with them:'
    parts.push(title, table([STORM_HEAD, ...storms.flatMap(stormRows)]))
  }
  parts.push(...webTables(results.web, results.webStorms), ...sessionTables(results.sessions))
  parts.push(...dashboardTables(results.dashboards))
  parts.push(...comparisonTable(results.comparison, nameOf))
  return parts.join('\n\n')
}

/** @returns one sentence for everything that was asked, or could not be */
export function conclusions(results: Pick<Results, 'verdicts' | 'checks'>): string[] {
  const checks = results.checks.map(({ text, failed }) => `${failed ? 'FAILED ' : ''}${text}.`)
  return [...results.verdicts.map(verdictLine), ...checks]
}

/** The page beside the .json file. @param chart name of the picture; '' for none */
export function page(results: Results, chart: string): string {
  return [
    `# Benchmark, ${results.date.slice(0, 10)}`,
    ...(chart === '' ? [] : [`![rates, latencies and CPU](${chart})`]),
    tables(results),
    list(conclusions(results)),
    `## Machine\n\n${list(machineFacts(results))}`,
    `## Configuration\n\n${configurationsOf(results)}`,
    `## Not measured\n\n${list(results.notMeasured)}`,
    'How this was measured: docs/benchmarks.md.\n',
  ].join('\n\n')
}

/** What the figures were made on. */
export function machineFacts(results: Results): string[] {
  const { machine } = results
  return [
    `CPU: ${machine.cpu}, ${machine.cores} cores; memory ${machine.memoryGib} GiB; ${machine.system}`,
    `pgmux ${machine.pgmux} on Node ${machine.node}`,
    `Postgres ${machine.postgres}, PgBouncer ${machine.pgbouncer ?? '(none)'}`,
    `load by ${results.generator}; COPY, logins, WebSocket and HTTP by a generator of the bench's own`,
    ...(results.addedRoundTrip === null
      ? []
      : [`far relays: ${results.addedRoundTrip.toFixed(2)} ms more for a round trip when all else is quiet`]),
    `load average before ${machine.loadBefore.join(' ')}, after ${machine.loadAfter.join(' ')}`,
  ]
}

/** One block for each; most differ in a port only. */
function configurationsOf({ configurations }: Results): string {
  if (configurations.length === 0) return 'The scenarios started poolers of their own.'
  return configurations.map(({ name, text }) => `${nameOf(name)}:\n\n\`\`\`\n${text}\n\`\`\``).join('\n\n')
}

/** One sentence on one load. */
export function verdictLine(verdict: Verdict): string {
  if (verdict.complaint !== '') return `FAILED ${verdict.complaint}.`
  const { scenario, peer, spread, least, cpu, cpuMost } = verdict
  if (spread === null) return `${scenario}: ${peer} not compared, PgBouncer has no figure here.`
  const bound = least === null ? 'nothing is asked of it' : `at least ${least} is asked`
  const range = `${ratio(spread.median)}, rounds ${ratio(spread.least)}-${ratio(spread.most)}`
  const cpuBound = cpuMost === null ? '' : ` (at most ${cpuMost} is asked)`
  const cpuWords = cpu === null ? '' : `; CPU ${ratio(cpu.median)}${cpuBound}`
  return `${scenario}: ${peer} / ${nameOf(verdict.against)} ${range} (${bound})${cpuWords}.`
}

const FIGURE_HEAD = [
  'scenario',
  'peer',
  'rate',
  'p50 ms',
  'p95 ms',
  'p99 ms',
  'max ms',
  'pooler CPU us',
  'user + system',
]

function figureRow(cell: Cell): string[] {
  const runs = runsOf(cell)
  const start = [cell.scenario, nameOf(cell.peer)]
  if (runs.length === 0) return [...start, missingOf(cell)?.kind ?? 'not run', '', '', '', '', '', '']
  const failed = cell.outcomes.length - runs.length
  const unit = isBulk(cell.scenario) ? 'MB/s' : 'tps'
  const rate = `${shown(
    spreadOver(runs, (run) => run.rate),
    0,
  )} ${unit}`
  const percentile = (which: 'p50' | 'p95' | 'p99' | 'most'): string =>
    isBulk(cell.scenario)
      ? 'one stream'
      : shown(
          spreadOver(runs, (run) => run.latency?.[which] ?? null),
          2,
        )
  return [
    ...start,
    failed === 0 ? rate : `${rate}, ${failed} of ${cell.outcomes.length} failed`,
    percentile('p50'),
    percentile('p95'),
    percentile('p99'),
    percentile('most'),
    ...cpuOf(cell.peer, runs),
  ]
}

function cpuOf(peer: PeerName, runs: readonly Run[]): string[] {
  if (peer === 'direct') return ['no pooler', '']
  const user = spreadOver(runs, (run) => run.cpu?.user ?? null)
  const system = spreadOver(runs, (run) => run.cpu?.system ?? null)
  if (user === null || system === null) return ['not measured', '']
  const sum = spreadOver(runs, (run) => total(run.cpu))
  return [shown(sum, 1), `${user.median.toFixed(1)} + ${system.median.toFixed(1)}`]
}

const OTHER_HEAD = ['scenario', 'peer', 'Postgres CPU us', 'load CPU us', 'peak memory MiB']

function otherRow(cell: Cell): string[] {
  const runs = runsOf(cell)
  const median = (pick: (run: Run) => number | null): string => {
    const found = spreadOver(runs, pick)
    return found === null ? 'not measured' : found.median.toFixed(1)
  }
  const start = [cell.scenario, nameOf(cell.peer)]
  if (runs.length === 0) return [...start, missingOf(cell)?.kind ?? 'not run', '', '']
  const peak = spreadOver(runs, (run) => run.peakMemory)
  const memory = peak === null ? 'not measured' : (peak.most / 1024).toFixed(1)
  return [
    ...start,
    median((run) => total(run.postgres)),
    median((run) => total(run.generator)),
    cell.peer === 'direct' ? 'no pooler' : memory,
  ]
}

function ratioRows(verdicts: readonly Verdict[]): string[][] {
  const rounds = verdicts[0]!.ratios.map((_ratio, i) => `round ${i + 1}`)
  const rows = verdicts.map(({ scenario, peer, against, ratios, spread, least, cpu, cpuMost }) => [
    `${scenario} (${FACTS[scenario].title})`,
    `${peer} / ${nameOf(against)}`,
    ...ratios.map(ratio),
    ratio(spread?.median ?? null),
    least === null ? '-' : String(least),
    ratio(cpu?.median ?? null),
    cpuMost === null ? '-' : String(cpuMost),
  ])
  return [['scenario', 'of', ...rounds, 'median', 'asked', 'CPU', 'asked at most'], ...rows]
}

const LOGIN_HEAD = [
  'authentication',
  'peer',
  'p50 ms',
  'p99 ms',
  'max ms',
  'failed',
  'CPU us',
  'load CPU us',
  'load late ms',
]

function loginRow({ auth, peer, rounds }: LoginCell): string[] {
  const runs = runsIn(rounds)
  const start = [auth, nameOf(peer)]
  const missing = rounds.find((round) => round.kind !== 'run')
  if (runs.length === 0) return [...start, missing?.kind ?? 'not run', '', '', '', '', '', '']
  const pick = (take: (run: (typeof runs)[number]) => number | null): string =>
    shown(spreadOf(runs.map(take).filter((value) => value !== null)), 1)
  return [
    ...start,
    ...(['p50', 'p99', 'most'] as const).map((which) => pick((run) => run.latency?.[which] ?? null)),
    String(runs.reduce((sum, run) => sum + run.failed, 0)),
    pick((run) => total(run.cpu)),
    pick((run) => run.ownCpu),
    pick((run) => run.lateness.p99),
  ]
}

const STORM_HEAD = ['peer', 'good traffic', 'without ms', 'with ms', 'times', 'failed', 'CPU us per attempt']

function stormRows(cell: StormCell): string[][] {
  const runs = runsIn(cell.rounds)
  return (['selects', 'logins'] as const).map((what) => {
    const start = [nameOf(cell.peer), what]
    if (runs.length === 0) return [...start, cell.rounds[0]?.kind ?? 'not run', '', '', '', '']
    const p99 = (when: 'calm' | 'hurt'): string =>
      shown(spreadOf(runs.map((run) => run[when][what]?.p99 ?? null).filter((value) => value !== null)), 2)
    const failed = runs.reduce((sum, run) => sum + run.calm.failed + run.hurt.failed, 0)
    const cpu = spreadOf(runs.map((run) => total(run.cpu)).filter((value) => value !== null))
    const times = shown(stormRatio(cell, what), 2)
    return [...start, p99('calm'), p99('hurt'), times, String(failed), shown(cpu, 0)]
  })
}

function ratio(value: number | null): string {
  return value === null ? '-' : value.toFixed(3)
}

function list(items: readonly string[]): string {
  return items.map((item) => `- ${item}`).join('\n')
}
