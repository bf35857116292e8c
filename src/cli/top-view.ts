// What `pgmux top` shows: one screen from what the console said, in one of several views, sorted by one of
// its columns; and what a key changes. Pure: it knows no terminal.
import type { Row } from './console-client.ts'
import { waitLines } from './status.ts'
import { type Heading, table } from './table.ts'

/** A view: its key, the command, its columns. */
export interface View {
  readonly key: string
  readonly name: string
  readonly command: string
  readonly headings: readonly Heading[]
  /** The column by which it is sorted at first, downwards. */
  readonly sortedBy: string
}

function named(names: string): Heading[] {
  return names.split(' ').map((name) => [name, name])
}

export const VIEWS: readonly View[] = [
  {
    key: 'p',
    name: 'pools',
    command: 'SHOW POOLS',
    headings: named('database user pool_mode cl_active cl_waiting sv_active sv_idle sv_login maxwait'),
    sortedBy: 'cl_active',
  },
  {
    key: 'w',
    name: 'waits',
    command: 'SHOW WAITS',
    headings: named('wait id database user reason holder_id holder_state holder_time statement'),
    sortedBy: 'wait',
  },
  {
    key: 's',
    name: 'statements',
    command: 'SHOW STATEMENTS',
    headings: named('calls total_time avg_time max_time rows errors shared database statement'),
    sortedBy: 'total_time',
  },
  {
    key: 'c',
    name: 'clients',
    command: 'SHOW CLIENTS',
    headings: named('id user database state addr wait prepared_statements application_name request_time'),
    sortedBy: 'wait',
  },
  {
    key: 'v',
    name: 'servers',
    command: 'SHOW SERVERS',
    headings: named('id user database state addr remote_pid prepared_statements request_time'),
    sortedBy: 'request_time',
  },
]

/** What is shown now. */
export interface Screen {
  readonly view: View
  /** Number of the column. */
  readonly sort: number
  readonly isReversed: boolean
  readonly isOver: boolean
}

export function screenOf(view: View): Screen {
  const sort = view.headings.findIndex(([name]) => name === view.sortedBy)
  return { view, sort, isReversed: false, isOver: false }
}

/** What a key does; keys that mean nothing change nothing. */
export function pressed(screen: Screen, key: string): Screen {
  const { view, sort, isReversed } = screen
  const found = VIEWS.find((each) => each.key === key)
  if (found !== undefined) return found === view ? screen : screenOf(found)
  if (key === 'q' || key === '\u0003') return { ...screen, isOver: true }
  if (key === 'r') return { ...screen, isReversed: !isReversed }
  const last = view.headings.length - 1
  if (key === '>' || key === '\u001b[C') return { ...screen, sort: Math.min(last, sort + 1) }
  if (key === '<' || key === '\u001b[D') return { ...screen, sort: Math.max(0, sort - 1) }
  return screen
}

/** What was read, and when (ms). */
export interface Sample {
  readonly at: number
  readonly version: string
  readonly totals: Row
  readonly lists: Row
  readonly waits: readonly Row[]
  readonly rows: readonly Row[]
}

/** The lines of a screen. @param before what was read before, for what happened in between */
export function linesOf(screen: Screen, now: Sample, before: Sample | null): string[] {
  const { view, sort, isReversed } = screen
  const [name] = view.headings[sort]
  const shown = view.headings.map(([column, text], at): Heading => {
    return [column, at === sort ? `${text}${isReversed ? '+' : '-'}` : text]
  })
  const keys = VIEWS.map((each) => `${each.key} ${each.name}`).join('  ')
  return [
    summary(now, before),
    `${keys}  < > sort  r reverse  q quit`,
    ...waitLines(now.waits).slice(0, 6),
    '',
    ...table(sorted(now.rows, name, isReversed), shown),
  ]
}

function summary(now: Sample, before: Sample | null): string {
  const { version, lists, waits } = now
  const parts = [version, `${lists.used_clients} clients`, `${waits.length} waiting`]
  const seconds = before === null ? 0 : (now.at - before.at) / 1000
  if (before !== null && seconds > 0) {
    const grown = (key: string): number => Number(now.totals[key]) - Number(before.totals[key])
    const queries = grown('total_query_count')
    parts.push(`${Math.round(grown('total_xact_count') / seconds)} transactions/s`)
    parts.push(`${Math.round(queries / seconds)} queries/s`)
    if (queries > 0) parts.push(`${Math.round(grown('total_query_time') / queries)} us/query`)
  }
  return parts.join('  ')
}

/** Downwards, unless it is reversed; rows that are equal stay in the console's order. */
function sorted(rows: readonly Row[], name: string, isReversed: boolean): Row[] {
  const sign = isReversed ? 1 : -1
  return rows.toSorted((one, other) => sign * compare(one[name] ?? null, other[name] ?? null))
}

function compare(one: Row[string], other: Row[string]): number {
  if (one === other) return 0
  if (one === null || other === null) return one === null ? -1 : 1
  if (typeof one === 'number' && typeof other === 'number') return one - other
  return String(one) < String(other) ? -1 : 1
}
