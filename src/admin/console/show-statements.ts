// SHOW STATEMENTS: statements of each database with their constants taken out, and how they share servers.
// Reads; changes nothing. Only texts that came while no server was free are known.
import type { Shape } from '../../sql/shapes.ts'
import type { Value } from '../../wire/rows.ts'
import { columns } from './columns.ts'
import type { Command, Operator } from './types.ts'

function statements({ source }: Operator): Value[][] {
  const rows: Value[][] = []
  const seen = new Set<string>()
  for (const { database, sharing } of source.router.entries()) {
    if (sharing === null || seen.has(database)) continue
    seen.add(database)
    for (const shape of sharing.shapes()) rows.push([database, ...rowOf(shape)])
  }
  return rows
}

function rowOf({ label, ms, shared, sentAgain, refusal }: Shape): Value[] {
  const averageUs = ms < 0 ? null : Math.round(ms * 1000)
  return [label, averageUs, shared, sentAgain, refusal === undefined ? 'not judged yet' : refusal]
}

export const STATEMENT_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW STATEMENTS',
    role: 'stats',
    takes: 'nothing',
    help: 'Statements that came while no server was free, and whether they share servers',
    columns: columns('text: database statement, int8: avg_time shared sent_again, text: not_shared'),
    rows: statements,
  },
]
