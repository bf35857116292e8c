// What is made of the figures of several runs: medians, spreads, percentiles, ratios. Pure.
// Must never turn what was not measured into a number.
import { FACTS, type Load } from './scenarios.ts'

/** 'direct', 'pgmux', 'pgbouncer', or the name that --peer gave. */
export type PeerName = string

/** CPU of one side per transaction or MB, in microseconds. */
export interface CpuPerUnit {
  readonly user: number
  readonly system: number
}

/** How long transactions took, in ms. */
export interface Latency {
  readonly average: number
  readonly p50: number
  readonly p99: number
  readonly most: number
  /** Transactions that this was taken from. */
  readonly samples: number
}

/** What a load generator tells of one run that went well. */
export interface Measured {
  /** Transactions, or MB. */
  readonly amount: number
  /** A second, without the time to log in (in `connect`: with it). */
  readonly rate: number
  /** null for a COPY. */
  readonly latency: Latency | null
}

/** One run that went well. */
export interface Run extends Measured {
  readonly kind: 'run'
  /** null: no pooler, or one whose process is not known, or a machine that does not tell. */
  readonly cpu: CpuPerUnit | null
  /** Of Postgres with all its processes, and of the load generator; null: this machine does not tell. */
  readonly postgres: CpuPerUnit | null
  readonly generator: CpuPerUnit | null
  /** KiB: the most memory that the pooler had during the run; null: not known. */
  readonly peakMemory: number | null
}

/** A run that gave no figures, and why. */
export interface Missing {
  /** `cannot`: this peer has no such feature. `failed`: it should have worked. */
  readonly kind: 'cannot' | 'failed'
  readonly reason: string
}

export type Outcome = Run | Missing

/** All runs, in the order of the rounds. */
export interface Cell {
  readonly scenario: Load
  readonly peer: PeerName
  readonly outcomes: Outcome[]
}

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** @returns null for no values. */
export function spreadOf(values: readonly number[]): Spread | null {
  const sorted = values.toSorted((a, b) => a - b)
  if (sorted.length === 0) return null
  const upper = sorted[sorted.length >> 1]!
  const lower = sorted[(sorted.length - 1) >> 1]!
  return { median: (lower + upper) / 2, least: sorted[0]!, most: sorted.at(-1)! }
}

/**
 * @param values ms
 * @returns percentiles by nearest rank (always a value that occurred); null for no values
 */
export function latencyOf(values: Iterable<number>): Latency | null {
  const sorted = Float64Array.from(values).sort()
  const samples = sorted.length
  if (samples === 0) return null
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(samples * share) - 1)]!
  const average = sorted.reduce((sum, value) => sum + value, 0) / samples
  return { average, p50: rank(0.5), p99: rank(0.99), most: sorted[samples - 1]!, samples }
}

/** The runs of a cell that have figures. */
export function runsOf(cell: Pick<Cell, 'outcomes'>): Run[] {
  return cell.outcomes.filter((outcome) => outcome.kind === 'run')
}

/** Why the first run without figures has none; null: all have. */
export function missingOf(cell: Pick<Cell, 'outcomes'>): Missing | null {
  return cell.outcomes.find((outcome) => outcome.kind !== 'run') ?? null
}

/** The spread of one figure over the runs that have it; null: none has. */
export function spreadOver(runs: readonly Run[], pick: (run: Run) => number | null): Spread | null {
  return spreadOf(runs.map(pick).filter((value) => value !== null))
}

/** @returns user and system together; null stays null */
export function total(cpu: CpuPerUnit | null): number | null {
  return cpu === null ? null : cpu.user + cpu.system
}

/**
 * @returns rate of `ours` / rate of `theirs`, one for each round; null for a round in which one has no
 *   figure. Only runs of the same round are compared: a machine changes its mind within minutes.
 */
export function ratiosOf(ours: Cell, theirs: Cell): (number | null)[] {
  return ours.outcomes.map((mine, round) => {
    const other = theirs.outcomes[round]
    if (mine.kind !== 'run' || other?.kind !== 'run' || other.rate === 0) return null
    return mine.rate / other.rate
  })
}

/** Peers in the order of one round: each round begins with another one. */
export function rotated<T>(peers: readonly T[], round: number): T[] {
  const first = round % peers.length
  return [...peers.slice(first), ...peers.slice(0, first)]
}

/** The comparison with PgBouncer in one scenario. */
export interface Verdict {
  readonly scenario: Load
  readonly ratios: readonly (number | null)[]
  /** null: nothing to compare with. */
  readonly spread: Spread | null
  /** The median below which it fails; null: it is held to nothing. */
  readonly least: number | null
  /** One sentence where the bench has to fail, else ''. */
  readonly complaint: string
}

/** @param cells those of pgmux and PgBouncer in one scenario; null: this machine has no PgBouncer */
export function verdictOf(ours: Cell, theirs: Cell | null): Verdict {
  const { scenario } = ours
  const ratios = theirs === null ? [] : ratiosOf(ours, theirs)
  const spread = spreadOf(ratios.filter((ratio) => ratio !== null))
  const { least } = FACTS[scenario]
  return { scenario, ratios, spread, least, complaint: complaintOf(ours, theirs, spread) }
}

function complaintOf(ours: Cell, theirs: Cell | null, spread: Spread | null): string {
  const { scenario } = ours
  const { least } = FACTS[scenario]
  const broken = missingOf(ours)
  if (broken !== null) return `${scenario}: a run of pgmux failed: ${broken.reason}`
  const failed = theirs === null ? null : missingOf(theirs)
  if (failed?.kind === 'failed') return `${scenario}: a run of PgBouncer failed: ${failed.reason}`
  if (spread === null || least === null || spread.median >= least) return ''
  const share = spread.median.toFixed(3)
  return `${scenario}: pgmux reaches ${share} of PgBouncer's throughput, less than ${least}`
}
