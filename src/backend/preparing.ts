// Makes a server ready for clients when it has logged in: connect_query, the statements of our own exchanges,
// what is to be known of its database. In session mode the server is its client's alone, and only the first
// is done. It owns the order of these and nothing else.
import { Survey } from '../sql/catalogue.ts'
import { digestQuery, surveyQuery } from '../sql/catalogue-queries.ts'
import { sharingQuery } from '../sql/sharing-queries.ts'
import type { Question } from '../sql/freshness.ts'
import { writeConnectQuery } from './connect-query.ts'
import { internalExchange, writeQuery, writeSetup } from './internal.ts'
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
    const since = parts.clock.now()
    const setup = internalExchange('setup', false, (_status, { error }) => {
      // Nothing in it takes Postgres long.
      parts.insight.noteRoundTrip(parts.clock.now() - since)
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

/**
 * Reads the functions of the database, if nobody has done so lately and they may have changed.
 * @param isUrgent however short ago that was
 */
export function learn(target: ResetTarget, then: (problem: null) => void, isUrgent = false): void {
  const question = askCatalogue(target, isUrgent, () => {
    if (question !== 'digest' || askCatalogue(target, isUrgent, () => then(null)) === 'nothing') then(null)
  })
  if (question === 'nothing') then(null)
}

/**
 * Puts the question that is due about the functions of the database, if there is one.
 * @param then when it is answered, or cannot be
 */
function askCatalogue(target: ResetTarget, isUrgent: boolean, then: () => void): Question {
  const { parts, talk, out } = target
  const { insight, clock } = parts
  const question = insight.next(clock.now(), isUrgent)
  if (question === 'nothing') return question
  const survey = new Survey(insight.builtins)
  const exchange = internalExchange('catalogue', false, (_status, { error }) => {
    if (error === null) insight.onAnswer(clock.now())
    if (error !== null) {
      const isFirst = insight.onFailure()
      if (isFirst) parts.warn('the functions of the database could not be read: each statement matters')
    } else if (question === 'digest') {
      insight.onDigest(survey.digest)
    } else {
      insight.learned(survey.finish(), survey.digest, survey.sharing)
    }
    then()
  })
  exchange.onRow = (row) => survey.add(row.map(utf8))
  const major = majorOf(talk.parameters.get('server_version'))
  const everything = `${surveyQuery(major)};\n${sharingQuery(insight.builtins === null)}`
  writeQuery(talk, out, question === 'digest' ? digestQuery(major) : everything, exchange)
  out.flush()
  return question
}

/** Rows are kept one character a byte. */
function utf8(text: string | null): string | null {
  return text === null ? null : Buffer.from(text, 'latin1').toString()
}

function majorOf(version: string | undefined): number {
  return Number.parseInt(version ?? '', 10) || 13
}
