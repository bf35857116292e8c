// What is concluded about the endpoint for WebSocket and HTTP. Pure.
// Must never take the figures of two different rounds for a comparison.
import { type CpuPerUnit, type Missing, type Outcome, type Spread, spreadOf } from './figures.ts'
import type { StormFigures } from './load/storm.ts'
import type { WebGoodFigures } from './load/web-storm.ts'
import { type Check, runsIn } from './login-figures.ts'
import {
  GOOD_KINDS,
  type GoodKind,
  LEAST_HTTP,
  LEAST_VISIT,
  WEB_STORM_TIMES,
  type WebRow,
} from './web-scenarios.ts'

/** One row, with an outcome for each round. */
export interface WebCell extends WebRow {
  readonly outcomes: Outcome[]
}

/** Good traffic without and with wrong passwords, one round. */
export interface WebStormRun {
  readonly kind: 'run'
  readonly good: WebGoodFigures
  readonly storm: StormFigures
  /** The pooler's CPU while the storm lasted, per attempt, good traffic included. */
  readonly cpu: CpuPerUnit | null
}

export type WebStormRound = WebStormRun | Missing

/** What a wrong password may be answered: it was looked at and is wrong, or was not looked at. */
const REFUSALS = ['28P01', '53300']

/** The first row of the group of a cell. */
export function baseOf(cell: WebCell, cells: readonly WebCell[]): WebCell {
  return cells.find(({ scenario, group }) => scenario === cell.scenario && group === cell.group) ?? cell
}

/** @returns rate / rate of `base`, over the rounds that both have; null: there is none */
export function rateRatio(cell: WebCell, base: WebCell): Spread | null {
  const ratios = cell.outcomes.flatMap((mine, round) => {
    const other = base.outcomes[round]
    return mine.kind === 'run' && other?.kind === 'run' && other.rate > 0 ? [mine.rate / other.rate] : []
  })
  return spreadOf(ratios)
}

/** Everything that is asked of the two scenarios, as far as they were run. */
export function checkWeb(cells: readonly WebCell[]): Check[] {
  return [...failures(cells), ...cells.flatMap((cell) => checkRow(cell, cells))]
}

function failures(cells: readonly WebCell[]): Check[] {
  return cells.flatMap(({ scenario, group, way, outcomes }) => {
    const missing = outcomes.find((outcome) => outcome.kind !== 'run')
    const text = `${scenario}, ${group}, ${way}: a run failed: ${missing?.reason}`
    return missing === undefined ? [] : [{ text, failed: true }]
  })
}

function checkRow(cell: WebCell, cells: readonly WebCell[]): Check[] {
  const { scenario, group, way, load } = cell
  const name = `${scenario}, ${group}`
  const base = baseOf(cell, cells)
  const ratio = rateRatio(cell, base)
  if (ratio === null) return []
  const shown = ratio.median.toFixed(3)
  if (way === 'websocket' && load === 'visit') {
    const text = `${name}: WebSocket reaches ${shown} of the rate of TCP (at least ${LEAST_VISIT} is asked)`
    return [{ text, failed: ratio.median < LEAST_VISIT }]
  }
  if (way !== 'http' || load !== 'query') return []
  const rate = spreadOf(cell.outcomes.flatMap((run) => (run.kind === 'run' ? [run.rate] : [])))!.median
  const failed = rate < LEAST_HTTP.rate && ratio.median < LEAST_HTTP.share
  const asked = `${LEAST_HTTP.rate} or ${LEAST_HTTP.share} of that, whichever is less, is asked`
  return [{ text: `${name}: ${rate.toFixed(0)} a second, ${shown} of ${base.way} (${asked})`, failed }]
}

/** @returns p99 with the storm / p99 without it, over the rounds; null: there is none */
export function webStormRatio(rounds: readonly WebStormRound[], kind: GoodKind): Spread | null {
  const ratios = runsIn(rounds).flatMap(({ good }) => {
    const [before, during] = [good.calm[kind], good.hurt[kind]]
    return before === null || during === null ? [] : [during.p99 / before.p99]
  })
  return spreadOf(ratios)
}

/** What is asked in a storm: one check for each kind of good traffic. */
export function checkWebStorm(rounds: readonly WebStormRound[]): Check[] {
  const missing = rounds.find((round) => round.kind !== 'run')
  if (missing !== undefined) return [{ text: `web-storm: a run failed: ${missing.reason}`, failed: true }]
  const runs = runsIn(rounds)
  const wrong = runs.map(({ good }) => good).find(({ failed }) => failed > 0)
  if (wrong !== undefined)
    return [{ text: `web-storm: ${wrong.failed} good requests failed: ${wrong.reason}`, failed: true }]
  const odd = runs.find(({ storm }) => Object.keys(storm.answers).some((code) => !REFUSALS.includes(code)))
  const answers = odd === undefined ? '' : JSON.stringify(odd.storm.answers)
  const strange = odd === undefined ? [] : [{ text: `web-storm: answers were ${answers}`, failed: true }]
  const checks = GOOD_KINDS.map((kind): Check => {
    const ratio = webStormRatio(rounds, kind)
    if (ratio === null) return { text: `web-storm: ${kind} were not measured`, failed: true }
    const text = `web-storm: p99 of good ${kind} is ${ratio.median.toFixed(2)} times that without it`
    return {
      text: `${text} (at most ${WEB_STORM_TIMES} is asked)`,
      failed: ratio.median > WEB_STORM_TIMES,
    }
  })
  return [...strange, ...checks]
}
