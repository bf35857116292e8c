// What the answer to the authentication query means. Pure. Whatever can differ between a user that exists and
// one that does not ends as "unknown user": only the operator is told more. It never falls back to anybody
// else's identity.
import { type AuthFailure, tooBusy } from './failure.ts'
import type { FreshAnswer } from './secret-cache.ts'
import { parseSecret, type SecretAnswer } from './secrets.ts'

/** What came back from Postgres. */
export type QueryOutcome =
  /** `rows`: two at most are asked for. */
  | { readonly kind: 'rows'; readonly columns: number; readonly rows: readonly (string | null)[][] }
  /** Postgres refused the statement. */
  | { readonly kind: 'error'; readonly code: string; readonly message: string }
  /** Nobody answered: no connection, no login, no answer in time. `isRefused`: Postgres refused our login. */
  | {
      readonly kind: 'lost'
      readonly code: string
      readonly message: string
      readonly isRefused: boolean
    }
  /** More questions wait than the queue takes. */
  | { readonly kind: 'busy' }

/** An answer for the cache, and what the operator should know ('' : nothing). */
export interface Verdict extends FreshAnswer {
  readonly problem: string
}

/** What was asked. */
export interface AskedFor {
  readonly user: string
  /** The client named the database in which we asked: what Postgres says of it must not show. */
  readonly isClientsDatabase: boolean
}

const UNKNOWN: SecretAnswer = { secret: null }
const FOREVER = Number.POSITIVE_INFINITY

/** Errors that a statement can run into for one user and not for another. */
const OF_THE_ROW = /^(P0|0[12]|2[0-3]|XX0)/
/** What Postgres says of a database that is not there, or not for us. */
const OF_THE_DATABASE = new Set(['3D000', '55000', '42501', '28000'])

/** The meaning of an answer. */
export function verdictOf(asked: AskedFor, outcome: QueryOutcome): Verdict {
  switch (outcome.kind) {
    case 'rows':
      return verdictOfRows(asked.user, outcome.columns, outcome.rows)
    case 'error': {
      const problem = `the query failed: ${outcome.message} (${outcome.code})`
      return OF_THE_ROW.test(outcome.code) ? unknown(problem) : failed(broken(), problem)
    }
    case 'lost':
      if (asked.isClientsDatabase && outcome.isRefused && OF_THE_DATABASE.has(outcome.code))
        return unknown(outcome.code === '3D000' ? '' : outcome.message)
      return failed(unreachable(), outcome.message)
    case 'busy':
      return failed(tooBusy(), 'too many logins wait for it')
  }
}

function verdictOfRows(user: string, columns: number, rows: readonly (string | null)[][]): Verdict {
  // Known without any row: the same for everybody.
  if (columns < 2 || columns > 3) {
    const problem = `the query gives ${columns} columns; it must give name, secret and, if it likes, seconds`
    return failed(broken(), problem)
  }
  if (rows.length === 0) return unknown('')
  if (rows.length > 1) return unknown('the query gives more than one row for a user')
  const [name, secret, seconds = null] = rows[0] ?? []
  if (name === null) return unknown('the query gives a row without a name')
  // Names that Postgres cuts, folds or prefixes: whoever asked for one must not become another.
  if (name !== user) return unknown('the query gives another name than the one asked for')
  const left = seconds === null ? FOREVER : Number(seconds) * 1000
  if (Number.isNaN(left) || seconds === '')
    return unknown('the third column of the query is no number of seconds')
  if (left <= 0 || secret === null || secret === undefined) return unknown('')
  return { answer: { secret: parseSecret(secret) }, validMs: left, problem: '' }
}

function unknown(problem: string): Verdict {
  return { answer: UNKNOWN, validMs: FOREVER, problem }
}

function failed(failure: AuthFailure, problem: string): Verdict {
  return { answer: { failure }, validMs: 0, problem }
}

function broken(): AuthFailure {
  return {
    sqlstate: '58000',
    message: 'the password of the user could not be looked up',
    detail: '',
    hint: 'The authentication query of the pooler does not work; its log says why.',
  }
}

function unreachable(): AuthFailure {
  return {
    sqlstate: '08001',
    message: 'the password of the user could not be looked up: Postgres does not answer the pooler',
    detail: '',
    hint: 'Try again in a moment; the log of the pooler says why.',
  }
}
