// What Postgres says about the names of prepared statements that a client has made or dropped in SQL becomes
// the client's: whatever a text has tried, what is there afterwards is what counts (RULES 7). What cannot be
// brought to another server keeps its client where it is. It owns the question; it writes nothing.
import { PREFIX } from '../session/statements.ts'
import { defineSql, stuck } from '../session/sql-statements.ts'
import type { Definition } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { NOT_READ, storedEffects, Touch } from '../sql/effects.ts'
import { parseAnew } from './internal.ts'
import type { Insight } from './insight.ts'
import type { OwnRow } from './own-rows.ts'
import { STAND_IN } from './own-names.ts'
import type { Talk } from './talk.ts'

/** The statement that asks for names. */
export const NAMES = `${PREFIX}names`
/** Columns of its rows. */
export const NAMES_WIDTH = 6

/** Longest text that is kept. */
const TEXT_MAX = 256 * 1024

const TEXT_ARRAY = 1009

/** The last two columns tell its rows from others. The parameter: which names, NULL: all. */
export const PARSE_NAMES: Buffer = parseAnew(
  NAMES,
  `SELECT p.name, p.from_sql, p.parameter_types::pg_catalog.oid[],
CASE WHEN pg_catalog.octet_length(p.statement) OPERATOR(pg_catalog.<=) ${TEXT_MAX} THEN p.statement END,
'prepared', 'statement' FROM pg_catalog.pg_prepared_statement() p
WHERE ($1 IS NULL OR p.name OPERATOR(pg_catalog.=) ANY ($1))
AND NOT pg_catalog.starts_with(p.name, '${PREFIX}')`,
  [TEXT_ARRAY],
)

/** What is needed besides the rows. */
export interface NamesTarget {
  readonly talk: Talk
  readonly parts: { readonly insight: Insight }
}

/** @param touched `Touch` bits of what the rows are asked about */
export function takeNames(
  target: NamesTarget,
  session: VirtualSession,
  { names: rows, isForeign }: { readonly names: readonly OwnRow[]; readonly isForeign: boolean },
  touched: number,
): void {
  const { names } = target.talk
  const found = new Map<string, OwnRow>()
  for (const row of rows) if (typeof row[0] === 'string') found.set(row[0], row)
  for (const [name, { definition }] of names.there) {
    if (found.has(name) || names.changed?.has(name) === false) continue
    names.there.delete(name)
    if (definition !== null) session.statements.drop(name)
  }
  for (const [name, row] of found)
    takeName(target, session, { name, row, isSure: !isForeign && (touched & Touch.Local) === 0 })
  const isStuck = [...names.there.values()].some(
    ({ definition }) =>
      definition !== null && definition !== STAND_IN && definition.isSql && definition.isLarge,
  )
  if (isStuck) session.pins.add('sql_prepare')
  else session.pins.delete('sql_prepare')
  names.settle()
}

interface Found {
  readonly name: string
  readonly row: OwnRow
  /** The settings of the session are those under which it was parsed, and it is read. */
  readonly isSure: boolean
}

function takeName({ talk, parts }: NamesTarget, session: VirtualSession, found: Found): void {
  const { names } = talk
  const { name, row } = found
  const source = row[3] ?? null
  const before = names.there.get(name)
  if (before !== undefined && before.definition !== null && before.source === source) {
    // A stand-in is nothing that the client has made.
    if (before.definition === STAND_IN) {
      names.there.set(name, { definition: null, source: '' })
      return
    }
    if (!names.dropped.has(name)) return
  }
  const { settings } = session
  const isParsedAlike = names.under === null || names.under.parseKey === settings.parseKey
  const isSure = found.isSure && isParsedAlike
  const definition =
    (isSure && source !== null ? define(parts.insight, session, row) : null) ?? stuckAs(names.stored, name)
  if (!definition.isLarge) definition.settings ??= settings
  session.statements.adopt(name, definition)
  names.there.set(name, { definition, source: source ?? '' })
}

/** What was prepared may be run: it leaves what all that was stored may leave, or anything. */
function stuckAs(stored: number, name: string): Definition {
  return stuck(name, { ...NOT_READ, touches: NOT_READ.touches | stored })
}

/** null: it cannot be kept, or not be told from its text. */
function define(
  insight: Insight,
  session: VirtualSession,
  [name, fromSql, types, source]: OwnRow,
): Definition | null {
  const { statements, settings } = session
  const text = Buffer.from(source ?? '', 'latin1')
  if (fromSql !== 't') {
    const body = Buffer.concat([text, typesOf(types ?? '')])
    return statements.define(body, settings.parseKey, (of) => insight.ofBody(of, settings))
  }
  const { uses } = insight.effects(text, 0, text.length, settings)
  const made = uses.filter((use) => use.how === 'prepare' && use.name === name)
  const place = made.length === 1 ? made[0].place : null
  if (place === null || name === null) return null
  const own = text.subarray(...place)
  return defineSql(statements, name, { text: own, parseKey: settings.parseKey }, (of) =>
    storedEffects(insight.effects(of, 0, of.length, settings)),
  )
}

/** `{23,25}` as the end of a Parse message. */
function typesOf(array: string): Buffer {
  const types = array.match(/\d+/g) ?? []
  const end = Buffer.alloc(3 + types.length * 4)
  end.writeUInt16BE(types.length, 1)
  for (const [at, type] of types.entries()) end.writeUInt32BE(Number(type), 3 + at * 4)
  return end
}
