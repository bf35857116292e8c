// Asks Postgres which of some types are arrays, and of what, as one more run of the same login. It owns
// the words of the question; what it learns goes to the table of the database.
import { isUtf8 } from 'node:buffer'
import type { Problem } from './problem.ts'
import { Run, type RunParts } from './run.ts'
import type { TypeTable } from './types.ts'
import { batchOf, PLAIN } from './wire.ts'

const QUESTION =
  'SELECT oid, typelem, pg_catalog.ascii(typdelim::pg_catalog.text) FROM pg_catalog.pg_type ' +
  'WHERE oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) ' +
  "AND typinput OPERATOR(pg_catalog.=) 'pg_catalog.array_in'::pg_catalog.regproc"

/**
 * @param parts of the run that cannot go on
 * @param onLearned null: the table knows them now
 */
export function askTypes(
  table: TypeTable,
  types: readonly number[],
  parts: RunParts,
  onLearned: (found: Problem | null) => void,
): Run {
  const statement = { text: QUESTION, parameters: [`{${types.join(',')}}`], isArrayMode: true }
  const owner = {
    onProgress: () => true,
    onEnd: (found: Problem | null) => {
      if (found === null) learn(table, types, run.reader.out.take())
      onLearned(found)
    },
  }
  const plan = { statements: [statement], isBatch: false, before: 0, isArrayMode: true, types: null }
  const run = new Run({ ...parts, owner }, plan, true)
  run.start(batchOf([statement], PLAIN))
  return run
}

function learn(table: TypeTable, types: readonly number[], answer: Buffer): void {
  for (const type of types) table.learn(type, null)
  if (!isUtf8(answer)) return
  const { rows } = JSON.parse(answer.toString('utf8')) as { rows: [string, string, string][] }
  for (const [array, element, delimiter] of rows)
    table.learn(Number(array), { element: Number(element), delimiter: Number(delimiter) })
}
