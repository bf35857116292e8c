// What is concluded from logins and from the storm of wrong passwords. Pure.
// Must never call a pooler fast that has refused whom it should let in.
import { type CpuPerUnit, type Missing, type PeerName, type Spread, spreadOf } from './figures.ts'
import type { LoginFigures } from './load/logins.ts'
import type { GoodFigures, StormFigures } from './load/storm.ts'

export type LoginAuth = 'trust' | 'scram-sha-256'

/** Many logins at once, one round. */
export interface LoginRun extends LoginFigures {
  readonly kind: 'run'
  /** Of the pooler, per login. */
  readonly cpu: CpuPerUnit | null
}

export interface LoginCell {
  readonly auth: LoginAuth
  readonly peer: PeerName
  readonly rounds: (LoginRun | Missing)[]
}

/** Good traffic without and with wrong passwords, one round. */
export interface StormRun {
  readonly kind: 'run'
  readonly calm: GoodFigures
  readonly hurt: GoodFigures
  readonly storm: StormFigures
  /** The pooler's CPU while the storm lasted, per attempt, good traffic included. */
  readonly cpu: CpuPerUnit | null
}

export interface StormCell {
  readonly peer: PeerName
  readonly rounds: (StormRun | Missing)[]
}

/** One thing that was asked of pgmux. */
export interface Check {
  /** One sentence, with the figures. */
  readonly text: string
  readonly failed: boolean
}

/** ms: the slowest logins but one in a hundred may take this long, or TIMES what PgBouncer's take. */
const LOGIN_P99 = 60
const TIMES = 2
/** Good traffic may be slowed less than so many times. */
const STORM_TIMES = 2

/** @returns the runs that have figures */
export function runsIn<T extends { kind: 'run' }>(rounds: readonly (T | Missing)[]): T[] {
  return rounds.filter((round): round is T => round.kind === 'run')
}

function troubleIn(rounds: readonly ({ kind: 'run' } | Missing)[]): string {
  const missing = rounds.find((round): round is Missing => round.kind !== 'run')
  return missing === undefined ? '' : missing.reason
}

/** @param theirs PgBouncer's; null: this machine has none */
export function checkLogins(ours: LoginCell, theirs: LoginCell | null): Check {
  const name = `logins, ${ours.auth}`
  const trouble = troubleIn(ours.rounds)
  if (trouble !== '') return { text: `${name}: a run of pgmux failed: ${trouble}`, failed: true }
  const runs = runsIn(ours.rounds)
  const refused = runs.find((run) => run.failed > 0)
  if (refused !== undefined) {
    const text = `${name}: pgmux failed ${refused.failed} of ${refused.count} logins: ${refused.reason}`
    return { text, failed: true }
  }
  const p99 = spreadOf(runs.map((run) => run.latency!.p99))
  if (p99 === null) return { text: `${name}: not measured`, failed: false }
  const ratio = loginRatio(ours, theirs)
  const beside = ratio === null ? 'not compared' : `${ratio.median.toFixed(2)} times PgBouncer's`
  const failed = p99.median > LOGIN_P99 && (ratio === null || ratio.median > TIMES)
  const asked = `at most ${LOGIN_P99} ms or ${TIMES} times PgBouncer's is asked`
  return { text: `${name}: p99 of pgmux ${p99.median.toFixed(1)} ms, ${beside} (${asked})`, failed }
}

/** @returns p99 of pgmux / p99 of PgBouncer over the rounds that both have; null: there is none */
function loginRatio(ours: LoginCell, theirs: LoginCell | null): Spread | null {
  const ratios = ours.rounds.flatMap((mine, round) => {
    const other = theirs?.rounds[round]
    if (mine.kind !== 'run' || other?.kind !== 'run' || other.failed > 0) return []
    return mine.latency === null || other.latency === null ? [] : [mine.latency.p99 / other.latency.p99]
  })
  return spreadOf(ratios)
}

/** @returns p99 with the storm / p99 without it, over the rounds; null: there is none */
export function stormRatio(cell: StormCell, what: 'selects' | 'logins'): Spread | null {
  const ratios = runsIn(cell.rounds).flatMap(({ calm, hurt }) => {
    const [before, during] = [calm[what], hurt[what]]
    return before === null || during === null ? [] : [during.p99 / before.p99]
  })
  return spreadOf(ratios)
}

/** What is asked of pgmux in a storm: one check for each kind of good traffic. */
export function checkStorm(ours: StormCell): Check[] {
  const trouble = troubleIn(ours.rounds)
  if (trouble !== '') return [{ text: `auth-storm: a run of pgmux failed: ${trouble}`, failed: true }]
  const runs = runsIn(ours.rounds)
  const wrong = runs.flatMap(({ calm, hurt }) => [calm, hurt]).find((good) => good.failed > 0)
  if (wrong !== undefined) {
    const text = `auth-storm: pgmux failed ${wrong.failed} good requests: ${wrong.reason}`
    return [{ text, failed: true }]
  }
  const letIn = runs.find(({ storm }) => Object.keys(storm.answers).some((code) => code !== '28P01'))
  const answers = letIn === undefined ? '' : JSON.stringify(letIn.storm.answers)
  const strange = letIn === undefined ? [] : [{ text: `auth-storm: answers were ${answers}`, failed: true }]
  const ratios = (['selects', 'logins'] as const).map((what): Check => {
    const ratio = stormRatio(ours, what)
    if (ratio === null) return { text: `auth-storm: good ${what} were not measured`, failed: true }
    const text = `auth-storm: p99 of good ${what} is ${ratio.median.toFixed(2)} times that without it`
    return { text: `${text} (less than ${STORM_TIMES} is asked)`, failed: ratio.median >= STORM_TIMES }
  })
  return [...strange, ...ratios]
}
