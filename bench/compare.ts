// This bench beside an old one: what has changed, for each scenario and peer. Pure but for reading the file.
// Must never hide that two runs are no alternating rounds: the machine may have changed as well, and the
// peers that did not change show by how much.
import { readFileSync } from 'node:fs'
import { type Cell, type PeerName, type Run, runsOf, spreadOver, total } from './figures.ts'
import { BenchError } from './options.ts'
import { table } from './report-table.ts'
import type { Load } from './scenarios.ts'

/** What is read of the .json file of an old bench. */
export interface OldResults {
  readonly date: string
  readonly options: { readonly clients: number; readonly pool: number; readonly seconds: number }
  readonly machine: { readonly pgmux: string }
  readonly cells: readonly Cell[]
}

/** New medians / old medians; null where one of them is missing. */
export interface Change {
  readonly scenario: Load
  readonly peer: PeerName
  readonly rate: number | null
  readonly p99: number | null
  readonly cpu: number | null
}

/** What was compared with. */
export interface Comparison {
  readonly date: string
  readonly pgmux: string
  /** One sentence where the two were not run alike; else ''. */
  readonly warning: string
  readonly changes: readonly Change[]
}

/** @throws BenchError where the file is not one of a bench */
export function readOld(file: string): OldResults {
  let found: Partial<OldResults>
  try {
    found = JSON.parse(readFileSync(file, 'utf8')) as Partial<OldResults>
  } catch (error) {
    throw new BenchError(`--compare cannot read ${file}: ${(error as Error).message}`)
  }
  if (!Array.isArray(found?.cells) || found.machine === undefined || found.options === undefined) {
    throw new BenchError(`--compare expects a .json file of this bench, which ${file} is not`)
  }
  return found as OldResults
}

/** @param now what this bench has measured */
export function compare(now: Pick<OldResults, 'options' | 'cells'>, old: OldResults): Comparison {
  const changes = now.cells.flatMap((cell): Change[] => {
    const before = old.cells.find((each) => each.scenario === cell.scenario && each.peer === cell.peer)
    if (before === undefined) return []
    const times = (pick: (run: Run) => number | null): number | null => ratioOfMedians(cell, before, pick)
    const { scenario, peer } = cell
    const p99 = times((run) => run.latency?.p99 ?? null)
    return [{ scenario, peer, rate: times((run) => run.rate), p99, cpu: times((run) => total(run.cpu)) }]
  })
  const differing = (['clients', 'pool', 'seconds'] as const).filter(
    (name) => now.options[name] !== old.options[name],
  )
  const warning = differing.length === 0 ? '' : `Not run alike: ${differing.join(', ')} differ.`
  return { date: old.date, pgmux: old.machine.pgmux, warning, changes }
}

function ratioOfMedians(now: Cell, old: Cell, pick: (run: Run) => number | null): number | null {
  const [above, below] = [now, old].map((cell) => spreadOver(runsOf(cell), pick)?.median ?? null)
  return above == null || below == null || below === 0 ? null : above / below
}

/** The heading and the table; nothing where nothing was compared. */
export function comparisonTable(comparison: Comparison | null, nameOf: (peer: PeerName) => string): string[] {
  if (comparison === null) return []
  const { date, pgmux, warning, changes } = comparison
  const shown = (value: number | null): string => (value === null ? '-' : value.toFixed(3))
  const rows = changes.map(({ scenario, peer, rate, p99, cpu }) => [
    scenario,
    nameOf(peer),
    shown(rate),
    shown(p99),
    shown(cpu),
  ])
  const title = `This run / the one of ${date.slice(0, 10)} (pgmux ${pgmux}), medians. ${warning}`.trim()
  if (rows.length === 0) return [`${title} They have nothing in common.`]
  return [title, table([['scenario', 'peer', 'rate', 'p99', 'pooler CPU'], ...rows])]
}
