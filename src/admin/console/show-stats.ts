// SHOW STATS and its relatives: what each database has counted. Reads; changes nothing.
import type { Counters } from '../../observe/counters.ts'
import type { Column, Value } from '../../wire/rows.ts'
import { averagesOf, totalsOf } from './averages.ts'
import type { Command, Operator } from './types.ts'

/** As the totals are called, in each table: STATS, STATS_TOTALS, TOTALS. */
const NAMES: readonly (readonly [key: string, stats: string, totals: string, all: string])[] = [
  [
    'server_assignment_count',
    'server_assignment_count',
    'server_assignment_count',
    'server_assignment_count',
  ],
  ['xact_count', 'xact_count', 'xact_count', 'xact_count'],
  ['query_count', 'query_count', 'query_count', 'query_count'],
  ['received', 'received', 'bytes_received', 'client_bytes'],
  ['sent', 'sent', 'bytes_sent', 'server_bytes'],
  ['xact_time', 'xact_time', 'xact_time', 'xact_time'],
  ['query_time', 'query_time', 'query_time', 'query_time'],
  ['wait_time', 'wait_time', 'wait_time', 'wait_time'],
  ['client_parse_count', 'client_parse_count', 'client_parse_count', 'ps_client_parse_count'],
  ['server_parse_count', 'server_parse_count', 'server_parse_count', 'ps_server_parse_count'],
  ['bind_count', 'bind_count', 'bind_count', 'ps_bind_count'],
  ['client_login_count', 'client_login_count', 'client_login_count', 'client_login_count'],
]
/** In the averages these two are shorter. */
const SHORT: Readonly<Record<string, string>> = { received: 'recv' }
/** STATS_AVERAGES calls these avg_*, and no others. */
const PREFIXED = new Set(['client_parse_count', 'server_parse_count', 'bind_count', 'client_login_count'])

const DATABASE: Column = { name: 'database', type: 'text' }
const numeric = (name: string): Column => ({ name, type: 'numeric' })

type Numbers = ReadonlyMap<string, number>

/** Per database, in the order of their names. */
function databases(operator: Operator): [string, Counters][] {
  return [...operator.source.counters.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
}

function values(numbers: Numbers): number[] {
  return NAMES.map(([key]) => numbers.get(key) ?? 0)
}

function* perDatabase(
  operator: Operator,
  pick: (totals: Numbers, averaged: Numbers) => number[],
): Generator<Value[]> {
  for (const [database, counters] of databases(operator))
    yield [database, ...pick(totalsOf(counters), averages(operator, operator.averages.growthOf(counters)))]
}

function averages(operator: Operator, growth: Numbers): Numbers {
  return averagesOf(growth, operator.averages.seconds)
}

function sum(all: Iterable<Numbers>): Numbers {
  const total = new Map<string, number>()
  for (const numbers of all) for (const [key, value] of numbers) total.set(key, (total.get(key) ?? 0) + value)
  return total
}

function* totalRows(operator: Operator): Generator<Value[]> {
  const all = databases(operator).map(([, counters]) => counters)
  const total = sum(all.map(totalsOf))
  const average = averages(operator, sum(all.map((counters) => operator.averages.growthOf(counters))))
  for (const [key, , , name] of NAMES) yield [`total_${name}`, total.get(key) ?? 0]
  for (const [key, , , name] of NAMES) yield [`avg_${name}`, average.get(key) ?? 0]
}

export const STATS_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW STATS',
    role: 'stats',
    takes: 'nothing',
    help: 'Counters of each database, and their averages',
    columns: [
      DATABASE,
      ...NAMES.map(([, name]) => numeric(`total_${name}`)),
      ...NAMES.map(([key, name]) => numeric(`avg_${SHORT[key] ?? name}`)),
      // As it was called up to 1.7: the exporter of Debian looks for it.
      numeric('total_requests'),
    ],
    rows: (operator) =>
      perDatabase(operator, (totals, averaged) => [
        ...[...values(totals), ...values(averaged)],
        totals.get('query_count') ?? 0,
      ]),
  },
  {
    name: 'SHOW STATS_TOTALS',
    role: 'stats',
    takes: 'nothing',
    help: 'Counters of each database',
    columns: [DATABASE, ...NAMES.map(([, , name]) => numeric(name))],
    rows: (operator) => perDatabase(operator, values),
  },
  {
    name: 'SHOW STATS_AVERAGES',
    role: 'stats',
    takes: 'nothing',
    help: 'Averages of each database over the last minute',
    columns: [DATABASE, ...NAMES.map(([key, , name]) => numeric(PREFIXED.has(key) ? `avg_${name}` : name))],
    rows: (operator) => perDatabase(operator, (_totals, averaged) => values(averaged)),
  },
  {
    name: 'SHOW TOTALS',
    role: 'stats',
    takes: 'nothing',
    help: 'The sums over all databases',
    columns: [{ name: 'name', type: 'text' }, numeric('value')],
    rows: totalRows,
  },
]
