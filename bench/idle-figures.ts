// What is concluded about clients that have nothing to do, and the table of it. Pure.
// Must never show a figure that was not measured.
import type { Missing, PeerName } from './figures.ts'
import type { IdleFigures } from './load/idle.ts'
import type { Check } from './login-figures.ts'
import { table } from './report-table.ts'

/** One run. */
export interface IdleCell {
  readonly peer: PeerName
  readonly count: number
  readonly outcome: (IdleFigures & { readonly kind: 'run' }) | Missing
}

/** KiB that a client may cost above the base process, where there are so many that it counts. */
const MOST_KIB = 8
const ASKED_OF = 10_000

/** @returns KiB of one client above the base process; null where it was not measured */
export function kibEach({ outcome, count }: IdleCell): number | null {
  if (outcome.kind !== 'run' || outcome.base === null || outcome.full === null) return null
  return (outcome.full - outcome.base) / count
}

/** What is asked of pgmux. */
export function checkIdle(cells: readonly IdleCell[]): Check[] {
  const cell = cells.find(({ peer, count }) => peer === 'pgmux' && count === ASKED_OF)
  if (cell === undefined || cell.outcome.kind === 'cannot') return []
  const each = kibEach(cell)
  const name = `idle, ${ASKED_OF} clients of pgmux`
  if (cell.outcome.kind === 'failed') return [{ text: `${name}: ${cell.outcome.reason}`, failed: true }]
  if (each === null) return [{ text: `${name}: memory was not measured`, failed: false }]
  const text = `${name}: ${each.toFixed(2)} KiB each above the base process (at most ${MOST_KIB} is asked)`
  return [{ text, failed: each > MOST_KIB }]
}

/** One line while it runs. */
export function idleWords(cell: IdleCell): string {
  const { peer, count, outcome } = cell
  const start = `idle, ${count} clients, ${peer}`
  if (outcome.kind !== 'run') return `${start}: ${outcome.kind}: ${outcome.reason}`
  const { p50, p99 } = outcome.wake
  const memory = kibEach(cell)?.toFixed(2) ?? 'unknown'
  return `${start}: ${memory} KiB each, woken in p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`
}

const HEAD = ['clients', 'peer', 'base MiB', 'with all MiB', 'KiB each', 'woken p50 ms', 'p99 ms', 'max ms']

/** @param nameOf how a peer is called where people read */
export function idleTable(cells: readonly IdleCell[], nameOf: (peer: PeerName) => string): string[] {
  if (cells.length === 0) return []
  const rows = cells.map((cell) => {
    const { peer, count, outcome } = cell
    const start = [String(count), nameOf(peer)]
    if (outcome.kind !== 'run') return [...start, outcome.kind, '', '', '', '', '']
    const mib = (kib: number | null): string => (kib === null ? 'not measured' : (kib / 1024).toFixed(1))
    const times = [outcome.wake.p50, outcome.wake.p99, outcome.wake.most].map((value) => value.toFixed(2))
    return [...start, mib(outcome.base), mib(outcome.full), kibEach(cell)?.toFixed(2) ?? '', ...times]
  })
  return ['Clients that do nothing, and one select of each when they come back:', table([HEAD, ...rows])]
}
