// The words for messages that are refused in the middle of a batch. Data only; Postgres makes the error
// itself, and these take its place (see Substitute in refs.ts).
import { PREFIX } from '../session/statements.ts'
import type { Effects } from '../sql/effects.ts'
import { errorResponse, replaceName } from '../wire/error-response.ts'

/** A client, or all of a pool, may keep no more text. */
export function statementsFull(): Buffer {
  return errorResponse({
    severity: 'ERROR',
    code: '53400',
    message: 'too many prepared statements',
    detail:
      'The text of all prepared statements of this pool, or of this client, exceeds pool.prepared_memory.',
    hint: 'Close statements that are not used any more, or raise pool.prepared_memory.',
  })
}

/** Postgres' own words for a statement whose result is not any more what its client was told of. */
export function outgrown(): Buffer {
  return errorResponse({
    severity: 'ERROR',
    code: '0A000',
    message: 'cached plan must not change result type',
    routine: 'RevalidateCachedQuery',
  })
}

/** What it asks for may be what another client got. */
export function notOwnSequence(): Buffer {
  return errorResponse({
    severity: 'ERROR',
    code: '55000',
    message: 'currval and lastval are not yet known to be of this session',
    detail: 'Other clients have used this server since; from now on this is looked after in this database.',
    hint: 'Run the transaction again, use INSERT .. RETURNING, or set session.sequences to pin.',
  })
}

/** The refusal of transaction blocks in statement mode. */
export function noBlocks(): Buffer {
  return errorResponse({
    severity: 'ERROR',
    code: '0A000',
    message: 'transaction blocks not allowed in statement pooling mode',
    hint: 'Use a pool in transaction mode, or send the statements one by one.',
  })
}

/** Postgres' own words for a Parse of a name that is taken. @param name one character a byte */
export function taken(name: string): Buffer {
  return named('42P05', name, 'already exists', 'StorePreparedStatement')
}

/** A name in SQL that looks like one of ours: nobody else's is ever found under it, nor can one be made. */
export function reserved(effects: Effects): Buffer | null {
  const use = effects.uses.find(({ name }) => name?.startsWith(PREFIX) === true)
  if (use === undefined || use.name === null) return null
  if (use.how !== 'prepare') return named('26000', use.name, 'does not exist', 'FetchPreparedStatement')
  const error = errorResponse({
    severity: 'ERROR',
    code: '42939',
    message: 'unacceptable name of a prepared statement "*"',
    detail: `The prefix "${PREFIX}" is reserved for the pooler.`,
  })
  return replaceName(error, '*', Buffer.from(use.name, 'latin1'))
}

function named(code: string, name: string, what: string, routine: string): Buffer {
  const error = errorResponse({ severity: 'ERROR', code, message: `prepared statement "*" ${what}`, routine })
  return replaceName(error, '*', Buffer.from(name, 'latin1'))
}

/** For an exchange that waited behind others and was cancelled there. */
export function sharedCancelled(): Buffer {
  return errorResponse({
    severity: 'ERROR',
    code: '57014',
    message: 'canceling statement due to user request',
  })
}
