// What is made of the figures of several runs: medians, spreads, ratios. Pure.
// Must never turn what was not measured into a number.
import type { Scenario } from './options.ts'

export const PEERS = ['direct', 'pgmux', 'pgbouncer'] as const
export type PeerName = (typeof PEERS)[number]

/** CPU of a pooler per transaction, in microseconds. */
export interface CpuPerTransaction {
  readonly user: number
  readonly system: number
}

/** One run of pgbench that went well. */
export interface Run {
  readonly kind: 'run'
  readonly transactions: number
  /** Transactions a second, without the time to connect. */
  readonly tps: number
  /** ms. */
  readonly latencyAverage: number
  /** ms; null where pgbench did not tell. */
  readonly latencyDeviation: number | null
  /** null: no pooler, or a machine that does not tell. */
  readonly cpu: CpuPerTransaction | null
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
  readonly scenario: Scenario
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

/** The runs of a cell that have figures. */
export function runsOf(cell: Cell): Run[] {
  return cell.outcomes.filter((outcome) => outcome.kind === 'run')
}

/** Why the first run without figures has none; null: all have. */
export function missingOf(cell: Cell): Missing | null {
  return cell.outcomes.find((outcome) => outcome.kind !== 'run') ?? null
}

/**
 * @returns tps of `ours` / tps of `theirs`, one for each round; null for a round in which one has no figure.
 *   Only runs of the same round are compared: a machine changes its mind within minutes.
 */
export function ratiosOf(ours: Cell, theirs: Cell): (number | null)[] {
  return ours.outcomes.map((mine, round) => {
    const other = theirs.outcomes[round]
    if (mine.kind !== 'run' || other?.kind !== 'run' || other.tps === 0) return null
    return mine.tps / other.tps
  })
}

/** Peers in the order of one round: each round begins with another one. */
export function rotated<T>(peers: readonly T[], round: number): T[] {
  const first = round % peers.length
  return [...peers.slice(first), ...peers.slice(0, first)]
}

/** Least ratio of tps to PgBouncer's: below it the bench fails. */
export const LEAST_RATIO = 0.85
/** `prepared` is not held to it: most PgBouncers around cannot. */
const HELD: readonly Scenario[] = ['simple', 'extended']

/** The comparison with PgBouncer in one scenario. */
export interface Verdict {
  readonly scenario: Scenario
  readonly ratios: readonly (number | null)[]
  /** null: nothing to compare with. */
  readonly median: number | null
  /** Whether a median below LEAST_RATIO fails. */
  readonly held: boolean
  /** One sentence where the bench has to fail, else ''. */
  readonly complaint: string
}

/** @param cells those of pgmux and PgBouncer in one scenario; null: this machine has no PgBouncer */
export function verdictOf(ours: Cell, theirs: Cell | null): Verdict {
  const { scenario } = ours
  const ratios = theirs === null ? [] : ratiosOf(ours, theirs)
  const median = spreadOf(ratios.filter((ratio) => ratio !== null))?.median ?? null
  return {
    scenario,
    ratios,
    median,
    held: HELD.includes(scenario),
    complaint: complaintOf(ours, theirs, median),
  }
}

function complaintOf(ours: Cell, theirs: Cell | null, median: number | null): string {
  const { scenario } = ours
  const broken = missingOf(ours)
  if (broken !== null) return `${scenario}: a run of pgmux failed: ${broken.reason}`
  const failed = theirs === null ? null : missingOf(theirs)
  if (failed?.kind === 'failed') return `${scenario}: a run of PgBouncer failed: ${failed.reason}`
  if (median === null || median >= LEAST_RATIO || !HELD.includes(scenario)) return ''
  return `${scenario}: pgmux reaches ${median.toFixed(3)} of PgBouncer's throughput, less than ${LEAST_RATIO}`
}
