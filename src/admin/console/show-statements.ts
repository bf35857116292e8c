// SHOW STATEMENTS: statements of each database with their constants taken out: how often they ran, how long,
// what they gave, and how they share servers. Reads; changes nothing.
import type { Shape } from '../../sql/shapes.ts'
import type { Value } from '../../wire/rows.ts'
import { columns } from './columns.ts'
import type { Command, Operator } from './types.ts'

function statements({ source }: Operator): Value[][] {
  const all: [database: string, shape: Shape][] = []
  const seen = new Set<string>()
  for (const { database, insight } of source.router.entries()) {
    if (seen.has(database)) continue
    seen.add(database)
    for (const shape of insight.shapes.all()) all.push([database, shape])
    all.push([database, insight.shapes.others])
  }
  return all
    .filter(([, { calls, errors, isKnown }]) => calls + errors > 0 || isKnown)
    .sort(([, a], [, b]) => b.totalMs - a.totalMs)
    .map(([database, shape]) => [database, ...rowOf(shape)])
}

function rowOf(shape: Shape): Value[] {
  const { label, calls, totalMs, maxMs, rows, errors, shared, sentAgain, refusal } = shape
  return [
    ...[label, calls, micros(totalMs), calls === 0 ? null : micros(totalMs / calls), micros(maxMs)],
    ...[rows, errors, shared, sentAgain, refusal === undefined ? 'not judged yet' : refusal],
  ]
}

function micros(ms: number): number {
  return Math.round(ms * 1000)
}

export const STATEMENT_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW STATEMENTS',
    role: 'stats',
    takes: 'nothing',
    help: 'Statements without their constants: calls, times in microseconds, rows, errors, sharing',
    columns: columns(
      'text: database statement, int8: calls total_time avg_time max_time rows errors shared sent_again, ' +
        'text: not_shared',
    ),
    rows: statements,
  },
]
