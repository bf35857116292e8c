// Makes a server ready for clients when it has logged in: connect_query, the statements of our own exchanges,
// what is to be known of its database. In session mode the server is its client's alone, and only the first
// is done. It owns the order of these and nothing else.
import { type Routine, Routines, routinesQuery } from '../sql/catalogue.ts'
import { writeConnectQuery } from './connect-query.ts'
import { internalExchange, writeQuery, writeSetup } from './internal.ts'
import type { OwnRow } from './own-rows.ts'
import { Ask, writeProbe } from './probe.ts'
import type { ResetTarget } from './reset.ts'

/** @param then told what went wrong, or null */
export function prepare(target: ResetTarget, then: (problem: string | null) => void): void {
  const { parts, talk, out } = target
  const { mode, connectQuery } = parts.route
  writeConnectQuery(target, () => {
    if (mode === 'session') {
      then(null)
      return
    }
    const setup = internalExchange('setup', false, (_status, { error }) => {
      if (error !== null) then('Postgres refused the statements that pgmux prepares at login')
      else if (connectQuery === '') learn(target, then)
      else readLogin(target, () => learn(target, then))
    })
    writeSetup(talk, out, setup)
    out.flush()
  })
}

/** What connect_query has set is not a session's: it is on every server. */
function readLogin(target: ResetTarget, then: () => void): void {
  const { talk, out } = target
  writeProbe(target, Ask.Settings, [], (remains) => {
    if (remains !== null && talk.settings !== null) {
      talk.loginSettings = talk.settings = talk.settings.withOwn(talk.reported, remains.settings)
    }
    then()
  })
  out.flush()
}

/** Reads the functions of the database, if nobody has done so lately. */
export function learn(target: ResetTarget, then: (problem: null) => void): void {
  const { parts, talk, out } = target
  const { insight, clock } = parts
  if (!insight.isDue(clock.now())) {
    then(null)
    return
  }
  insight.isBeingRead(clock.now())
  const routines: Routine[] = []
  const exchange = internalExchange('catalogue', false, (_status, { error }) => {
    if (error === null) insight.learned(new Routines(routines))
    else parts.warn('the functions of the database could not be read: each call of one is taken to matter')
    then(null)
  })
  exchange.onRow = (row) => routines.push(routineOf(row))
  writeQuery(talk, out, routinesQuery(majorOf(talk.parameters.get('server_version'))), exchange)
  out.flush()
}

function routineOf([name, language, source, isCut, extension]: OwnRow): Routine {
  return {
    name: utf8(name ?? ''),
    language: language ?? '',
    source: utf8(source ?? ''),
    isCut: isCut === 't',
    extension: extension ?? null,
  }
}

/** Rows are kept one character a byte. */
function utf8(text: string): string {
  return Buffer.from(text, 'latin1').toString()
}

function majorOf(version: string | undefined): number {
  return Number.parseInt(version ?? '', 10) || 13
}
