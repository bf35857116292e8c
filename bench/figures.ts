// What is made of the figures of several runs: medians, spreads, percentiles, ratios. Pure.
// Must never turn what was not measured into a number.
import { type Asked, FACTS, type Load } from './scenarios.ts'

/** 'direct', 'pgmux', 'pgmux-leased', 'pgbouncer', 'relay', or the name that --peer gave. */
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
  readonly p95: number
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
  return { average, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), most: sorted[samples - 1]!, samples }
}

/** The runs of a cell that have figures. */
export function runsOf(cell: Pick<Cell, 'outcomes'>): Run[] {
  return cell.outcomes.filter((outcome) => outcome.kind === 'run')
}

/** Why the first run without figures has none; null: all have. */
export function missingOf(cell: Pick<Cell, 'outcomes'> | null): Missing | null {
  return cell?.outcomes.find((outcome) => outcome.kind !== 'run') ?? null
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
  return ratiosOver(ours, theirs, (run) => run.rate)
}

type Rounds = Pick<Cell, 'outcomes'>

/** As ratiosOf, for another figure of a run. */
export function ratiosOver(
  ours: Rounds,
  theirs: Rounds,
  pick: (run: Run) => number | null,
): (number | null)[] {
  return ours.outcomes.map((mine, round) => {
    const other = theirs.outcomes[round]
    if (mine.kind !== 'run' || other?.kind !== 'run') return null
    const [above, below] = [pick(mine), pick(other)]
    return above === null || below === null || below === 0 ? null : above / below
  })
}

/** @returns the spread of those that are there */
export function spreadOfRatios(ratios: readonly (number | null)[]): Spread | null {
  return spreadOf(ratios.filter((ratio) => ratio !== null))
}

/** Peers in the order of one round: each round begins with another one. */
export function rotated<T>(peers: readonly T[], round: number): T[] {
  const first = round % peers.length
  return [...peers.slice(first), ...peers.slice(0, first)]
}

/** The comparison of pgmux in one scenario: with PgBouncer, or where that cannot do it, with Postgres. */
export interface Verdict {
  readonly scenario: Load
  /** pgmux, or pgmux-leased. */
  readonly peer: PeerName
  readonly against: 'pgbouncer' | 'direct'
  readonly ratios: readonly (number | null)[]
  /** null: nothing to compare with. */
  readonly spread: Spread | null
  /** The median below which it fails; null: it is held to nothing. */
  readonly least: number | null
  /** CPU of the pooler per transaction, as ratio to PgBouncer's; null: not known. */
  readonly cpu: Spread | null
  /** The median of that above which it fails; null: it is held to nothing. */
  readonly cpuMost: number | null
  /** One sentence where the bench has to fail, else ''. */
  readonly complaint: string
}

/** What a cell of pgmux is compared with; null: there is none on this machine. */
export interface Others {
  readonly pgbouncer: Cell | null
  readonly direct: Cell | null
  /** Whether this pgmux shares servers: more is asked of it then. */
  readonly isSharing: boolean
}

/** @param ours of pgmux in one scenario */
export function verdictOf(ours: Cell, { pgbouncer, direct, isSharing }: Others): Verdict {
  const { scenario, peer } = ours
  const asked = isSharing ? FACTS[scenario].shared : FACTS[scenario].leased
  const isAgainstDirect = asked.direct !== null && direct !== null && missingOf(pgbouncer)?.kind === 'cannot'
  const theirs = isAgainstDirect ? direct : pgbouncer
  const ratios = theirs === null ? [] : ratiosOf(ours, theirs)
  const found = {
    scenario,
    peer,
    against: isAgainstDirect ? 'direct' : 'pgbouncer',
    ratios,
    spread: spreadOfRatios(ratios),
    least: isAgainstDirect ? asked.direct : asked.rate,
    cpu: pgbouncer === null ? null : spreadOfRatios(ratiosOver(ours, pgbouncer, (run) => total(run.cpu))),
    cpuMost: asked.cpu,
  } as const
  return { ...found, complaint: brokenRun(ours, theirs) || complaintOf(found, asked) }
}

function brokenRun(ours: Cell, theirs: Cell | null): string {
  const { scenario, peer } = ours
  const broken = missingOf(ours)
  if (broken !== null) return `${scenario}: a run of ${peer} failed: ${broken.reason}`
  const failed = missingOf(theirs)
  if (failed?.kind !== 'failed') return ''
  const name = theirs!.peer === 'direct' ? 'Postgres' : 'PgBouncer'
  return `${scenario}: a run of ${name} failed: ${failed.reason}`
}

function complaintOf(verdict: Omit<Verdict, 'complaint'>, asked: Asked): string {
  const { scenario, peer, spread, least, cpu, against } = verdict
  const whose = against === 'direct' ? "Postgres' own" : "PgBouncer's"
  const missed: string[] = []
  if (spread !== null && least !== null && spread.median < least) {
    missed.push(`reaches ${spread.median.toFixed(3)} of ${whose} throughput, less than ${least}`)
  }
  if (cpu !== null && asked.cpu !== null && cpu.median > asked.cpu) {
    missed.push(`needs ${cpu.median.toFixed(3)} of PgBouncer's CPU, more than ${asked.cpu}`)
  }
  return missed.length === 0 ? '' : `${scenario}: ${peer} ${missed.join(' and ')}`
}
