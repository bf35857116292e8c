// What becomes of one command where several processes share the work: whether it is run in all of them, and
// how the rows of all become one table. Pure. What it does not know by name is shown row by row, so nothing
// is lost.
import type { Column, Value } from '../../wire/rows.ts'
import type { Command } from './types.ts'

type Row = readonly Value[]
type Rows = readonly Row[]

/**
 * How two values of one thing become one. `first`: the one that there is. `most NAME`, `least NAME`: that of
 * the row in which NAME is larger, smaller. `mean NAME`: the average, where NAME says how much each counts.
 * `of A B`: of these words the one that stands further behind.
 */
type How = 'sum' | 'max' | 'min' | 'first' | `${'most' | 'least' | 'mean' | 'of'} ${string}`

/** Rows with the same key are about the same thing; without a key each is about another. */
interface Rule {
  readonly key: readonly string[]
  /** For the columns that `how` does not name: numbers, and texts as `first`. */
  readonly rest: 'sum' | 'first'
  readonly how?: Readonly<Record<string, How>>
  /** By their keys, the console's at the end; or by this column, the smallest or the largest first. */
  readonly order?: 'key' | `${'least' | 'most'} ${string}`
}

const AVERAGES: Readonly<Record<string, How>> = {
  avg_xact_time: 'mean avg_xact_count',
  avg_query_time: 'mean avg_query_count',
  avg_wait_time: 'mean avg_server_assignment_count',
}
const CONNECTIONS = {
  current_connections: 'sum',
  current_client_connections: 'sum',
  paused: 'max',
  disabled: 'max',
} as const

const RULES: Readonly<Record<string, Rule>> = {
  'SHOW POOLS': {
    key: ['database', 'user', 'pool_mode'],
    rest: 'sum',
    how: { maxwait: 'max', maxwait_us: 'most maxwait' },
    order: 'key',
  },
  'SHOW DATABASES': { key: ['name'], rest: 'first', how: CONNECTIONS, order: 'key' },
  'SHOW USERS': { key: ['name'], rest: 'first', how: CONNECTIONS, order: 'key' },
  'SHOW LISTS': { key: ['list'], rest: 'sum' },
  'SHOW STATS': { key: ['database'], rest: 'sum', how: AVERAGES, order: 'key' },
  'SHOW STATS_TOTALS': { key: ['database'], rest: 'sum', order: 'key' },
  'SHOW STATS_AVERAGES': {
    key: ['database'],
    rest: 'sum',
    how: {
      xact_time: 'mean xact_count',
      query_time: 'mean query_count',
      wait_time: 'mean server_assignment_count',
    },
    order: 'key',
  },
  'SHOW TOTALS': { key: ['name'], rest: 'sum' },
  'SHOW MEM': { key: ['name'], rest: 'sum' },
  'SHOW STATEMENTS': {
    key: ['database', 'statement'],
    rest: 'sum',
    how: { avg_time: 'mean calls', max_time: 'max' },
    order: 'most total_time',
  },
  'SHOW HOSTS': {
    key: ['database'],
    rest: 'sum',
    how: { port: 'first', state: 'of unknown down up' },
    order: 'key',
  },
  'SHOW ERRORS': {
    key: ['reason', 'sqlstate'],
    rest: 'sum',
    how: {
      first_time: 'min',
      last_time: 'max',
      age: 'min',
      last_message: 'least age',
      last_database: 'least age',
      last_user: 'least age',
      last_addr: 'least age',
    },
    order: 'least age',
  },
  'SHOW WAITS': { key: [], rest: 'first', order: 'most wait' },
  'SHOW RECENT_ERRORS': { key: [], rest: 'first', order: 'least age' },
  'SHOW LEAKS': { key: [], rest: 'first', order: 'least age' },
}

/** Each process would say the same. */
const SAME = new Set(['SHOW HELP', 'SHOW VERSION', 'SHOW CONFIG', 'SHOW STATE', 'SHOW PEERS'])
const ALSO_SAME = new Set(['SHOW PEER_POOLS', 'SHOW DNS_HOSTS', 'SHOW DNS_ZONES'])
/** They go through the source, which knows of the others. */
const BY_SOURCE = new Set(['RELOAD', 'SET', 'SHUTDOWN'])

/** Is it a question to all of them? */
export function isAskedOfAll({ name, columns }: Command): boolean {
  const isShown = name.startsWith('SHOW ') && columns !== undefined
  return isShown && !SAME.has(name) && !ALSO_SAME.has(name)
}

/** Is it an order to all of them? */
export function isDoneByAll({ name, role, act }: Command): boolean {
  return act !== undefined && role === 'admin' && !BY_SOURCE.has(name)
}

/** Of which commands all rows are needed to show this one. */
export function partsOf(name: string): readonly string[] {
  return name === 'SHOW LISTS' ? [name, ...COUNTED.map(([, by]) => by)] : [name]
}

/** What SHOW LISTS counts that may be in several processes. */
const COUNTED: readonly (readonly [list: string, command: string])[] = [
  ['databases', 'SHOW DATABASES'],
  ['users', 'SHOW USERS'],
  ['pools', 'SHOW POOLS'],
]

/** A command with the rows of each process. */
export interface Asked {
  readonly command: Command
  readonly lists: readonly Rows[]
}

/** The rows of all as one table. @param asked for each of `partsOf` */
export function mergeAll(asked: readonly Asked[]): Rows {
  const [first, ...counted] = asked.map((one) => merged(one))
  const { name } = asked[0].command
  if (name === 'SHOW TOTALS') return withMeans(asked[0].lists, first)
  if (name !== 'SHOW LISTS') return first
  const sizes = new Map(COUNTED.map(([list], index) => [list, counted[index].length]))
  return first.map(([list, items]) => [list, sizes.get(String(list)) ?? items])
}

function merged({ command, lists }: Asked): Rows {
  const rule = RULES[command.name]
  const columns = command.columns ?? []
  if (rule === undefined) return lists.flat()
  const at = rule.key.map((name) => indexOf(columns, name))
  const found = new Map<string, Row>()
  for (const row of lists.flat()) {
    const key = JSON.stringify(at.length === 0 ? found.size : at.map((index) => row[index] ?? null))
    const before = found.get(key)
    found.set(key, before === undefined ? row : join(before, row, { rule, columns }))
  }
  return inOrder(found, rule, columns)
}

function inOrder(found: ReadonlyMap<string, Row>, { order }: Rule, columns: readonly Column[]): Rows {
  if (order === undefined) return [...found.values()]
  if (order === 'key') {
    // The console names itself pgmux.
    const rank = (key: string): string => (key.startsWith('["pgmux"') ? `1${key}` : `0${key}`)
    return [...found].sort(([a], [b]) => (rank(a) < rank(b) ? -1 : 1)).map(([, row]) => row)
  }
  const [kind, name] = order.split(' ') as [string, string]
  const sign = kind === 'least' ? 1 : -1
  const index = indexOf(columns, name)
  return [...found.values()].sort((a, b) => sign * (Number(a[index]) - Number(b[index])))
}

function indexOf(columns: readonly Column[], name: string): number {
  return columns.findIndex((column) => column.name === name)
}

function join(a: Row, b: Row, by: { rule: Rule; columns: readonly Column[] }): Row {
  const { rule, columns } = by
  return columns.map(({ name, type }, index) => {
    const [one, other] = [a[index], b[index]]
    if (one === null || one === undefined || one === '') return other
    if (other === null || other === undefined || rule.key.includes(name)) return one
    const how = rule.how?.[name] ?? (type === 'text' ? 'first' : rule.rest)
    const [kind, ...words] = how.split(' ') as [string, ...string[]]
    if (kind === 'of') return words.indexOf(String(one)) > words.indexOf(String(other)) ? one : other
    const at = indexOf(columns, words[0] ?? name)
    const [weight, otherWeight] = [Number(a[at]), Number(b[at])]
    if (kind === 'mean') return mean([Number(one), weight], [Number(other), otherWeight])
    return JOIN[kind]?.([one, other], weight - otherWeight) ?? one
  })
}

/** @param more how much more the row of the first value has of what is compared */
const JOIN: Readonly<Record<string, (values: readonly [Value, Value], more: number) => Value>> = {
  sum: ([a, b]) => Number(a) + Number(b),
  max: ([a, b]) => (isLess(a, b) ? b : a),
  min: ([a, b]) => (isLess(a, b) ? a : b),
  most: ([a, b], more) => (more > 0 || (more === 0 && isLess(b, a)) ? a : b),
  least: ([a, b], more) => (more <= 0 ? a : b),
}

function isLess(a: Value, b: Value): boolean {
  return typeof a === 'string' && typeof b === 'string' ? a < b : Number(a) < Number(b)
}

function mean([a, weight]: [number, number], [b, otherWeight]: [number, number]): number {
  const all = weight + otherWeight
  return all === 0 ? 0 : (a * weight + b * otherWeight) / all
}

/** In SHOW TOTALS what counts how much stands in other rows. */
const TOTAL_MEANS: readonly (readonly [name: string, by: string])[] = [
  ['avg_xact_time', 'avg_xact_count'],
  ['avg_query_time', 'avg_query_count'],
  ['avg_wait_time', 'avg_server_assignment_count'],
]

function withMeans(lists: readonly Rows[], sums: Rows): Rows {
  const means = new Map<string, number>()
  for (const [name, by] of TOTAL_MEANS) {
    const pairs = lists.map((rows): [number, number] => [numberIn(rows, name), numberIn(rows, by)])
    const weight = pairs.reduce((sum, [, one]) => sum + one, 0)
    const total = pairs.reduce((sum, [value, one]) => sum + value * one, 0)
    means.set(name, weight === 0 ? 0 : total / weight)
  }
  return sums.map(([name, value]) => [name, means.get(String(name)) ?? value])
}

function numberIn(rows: Rows, name: string): number {
  return Number(rows.find(([key]) => key === name)?.[1] ?? 0)
}
