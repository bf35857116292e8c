// Owns: the extended protocol of the model: Parse, Bind, Describe, Execute, Close. Must never send
// ReadyForQuery: that is Sync's, in the main loop.

import type { Statement, Steps } from './language.ts'
import { analyse, checkSyntax, exitsBlock, split } from './grammar.ts'
import type { Live, Session } from './session.ts'
import { answer, type Fields, PgError } from './wire.ts'

/** A prepared statement. */
export interface Prepared {
  readonly sql: string
  readonly statement: Statement
  readonly types: readonly number[]
}

/** A portal: a statement with its values, and how far it has been read. */
export interface Portal {
  readonly live: Live
  /** One for each column. */
  readonly formats: readonly number[]
  /** Its transaction failed, or a Query made it: it only keeps its name. */
  released: boolean
}

/** Runs one message of the extended protocol. */
export function* extended(session: Session, type: string, fields: Fields): Steps<void> {
  if (type === 'P') parse(session, fields)
  else if (type === 'B') bind(session, fields)
  else if (type === 'D') describe(session, fields)
  else if (type === 'E') yield* execute(session, fields)
  else close(session, fields)
}

function parse(session: Session, fields: Fields): void {
  const name = fields.text()
  const sql = fields.text()
  const types = fields.list(() => fields.int())
  fields.end()
  session.tx.start()
  if (name === '') session.dropUnnamed()
  const parts = split(sql)
  checkSyntax(parts, session)
  if (parts.length > 1) {
    throw new PgError('42601', 'cannot insert multiple commands into a prepared statement')
  }
  const part = parts[0]
  if (part !== undefined) session.refuseIfFailed(exitsBlock(part.text))
  const statement: Statement = part === undefined ? { form: 'empty' } : analyse(part, session)
  if (statement.startError !== undefined) throw statement.startError
  if (session.statements.has(name)) throw new PgError('42P05', `prepared statement "${name}" already exists`)
  const inferred = statement.params ?? []
  const merged = inferred.map((inferredType, i) => types[i] || inferredType)
  session.statements.set(name, { sql: part?.text ?? '', statement, types: merged })
  session.emit(answer.bare('1'))
}

function preparedOf(session: Session, name: string): Prepared {
  const prepared = session.statements.get(name)
  if (prepared !== undefined) return prepared
  const text =
    name === '' ? 'unnamed prepared statement does not exist' : `prepared statement "${name}" does not exist`
  throw new PgError('26000', text)
}

function portalOf(session: Session, name: string): Portal {
  const portal = session.portals.get(name)
  if (portal === undefined) throw new PgError('34000', `portal "${name}" does not exist`)
  return portal
}

function checkCount(prepared: Prepared, name: string, formats: number, given: number): void {
  if (formats > 1 && formats !== given) {
    throw new PgError('08P01', `bind message has ${formats} parameter formats but ${given} parameters`)
  }
  const needed = prepared.types.length
  if (given === needed) return
  const text =
    `bind message supplies ${given} parameters, ` + `but prepared statement "${name}" requires ${needed}`
  throw new PgError('08P01', text)
}

function bind(session: Session, fields: Fields): void {
  const portal = fields.text()
  const name = fields.text()
  const prepared = preparedOf(session, name)
  session.tx.start()
  const formats = fields.list(fields.short)
  const params = fields.list(() => fields.value()?.toString('utf8') ?? null)
  const results = fields.list(fields.short)
  fields.end()
  checkCount(prepared, name, formats.length, params.length)
  session.refuseIfFailed(exitsBlock(prepared.sql) && params.length === 0)
  if (portal !== '' && session.portals.has(portal)) {
    throw new PgError('42P03', `cursor "${portal}" already exists`)
  }
  const { planError } = prepared.statement
  // Where planning fails the portal stays, without a statement.
  const planned: Statement = planError === undefined ? prepared.statement : { form: 'empty' }
  const live = session.execute(planned, prepared.sql, params)
  const spreadOut = spread(results, prepared.statement)
  session.portals.set(portal, { live, formats: spreadOut, released: false })
  if (planError !== undefined) throw planError
  session.emit(answer.bare('2'))
}

/** None means text for all, one means the same for all. */
function spread(results: readonly number[], statement: Statement): number[] {
  const count = statement.form === 'rows' ? statement.columns.length : 0
  if (results.length > 1 && results.length !== count) {
    throw new PgError(
      '08P01',
      `bind message has ${results.length} result formats but query has ${count} columns`,
    )
  }
  return Array.from({ length: count }, (_, i) => (results.length === 1 ? results[0] : results[i]) ?? 0)
}

function describe(session: Session, fields: Fields): void {
  const kind = fields.letter()
  const name = fields.text()
  fields.end()
  session.tx.start()
  if (kind === 'S') {
    const { statement, types } = preparedOf(session, name)
    session.refuseIfFailed(statement.form !== 'rows')
    session.emit(answer.parameterDescription(types))
    describeRows(session, statement, [])
  } else if (kind === 'P') {
    const { live, formats } = portalOf(session, name)
    session.refuseIfFailed(live.statement.form !== 'rows')
    describeRows(session, live.statement, formats)
  } else throw new PgError('08P01', `invalid DESCRIBE message subtype ${kind.charCodeAt(0)}`)
}

function describeRows(session: Session, statement: Statement, formats: readonly number[]): void {
  if (statement.form === 'rows') session.emit(answer.rowDescription(statement.columns, formats))
  else session.emit(answer.bare('n'))
}

function* execute(session: Session, fields: Fields): Steps<void> {
  const name = fields.text()
  const max = fields.int()
  fields.end()
  const { live, formats, released } = portalOf(session, name)
  if (live.statement.form === 'empty') {
    session.emit(answer.bare('I'))
    return
  }
  session.tx.start()
  session.refuseIfFailed(exitsBlock(live.sql) && !released)
  if (live.done && live.statement.form !== 'rows')
    throw new PgError('55000', `portal "${name}" cannot be run`)
  const tag = yield* session.fetch(live, { max: Math.max(0, max), formats })
  if (tag === '') {
    session.emit(answer.bare('s'))
    session.tx.pipelining = true
    return
  }
  if (live.statement.transaction === true) session.tx.finish()
  else session.tx.pipelining = session.tx.block !== 'none'
  session.emit(answer.commandComplete(tag))
}

function close(session: Session, fields: Fields): void {
  const kind = fields.letter()
  const name = fields.text()
  fields.end()
  if (kind === 'S') session.statements.delete(name)
  else if (kind === 'P') session.portals.delete(name)
  else throw new PgError('08P01', `invalid CLOSE message subtype ${kind.charCodeAt(0)}`)
  session.emit(answer.bare('3'))
}
