// What a client is told when the server that worked for it is gone (DESIGN section 8, RULES 25). Pure.
import type { ServerLoss } from '../pool/lease.ts'
import type { OpenFailure, Refusal } from '../pool/types.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Status } from '../wire/protocol.ts'
import { type InternalExchange, SETTINGS_DIFF } from './internal.ts'
import type { Server } from './server.ts'

/** Why a server is closed that was left in a transaction block in statement mode. */
export const BLOCK_IN_STATEMENT_MODE = 'transaction block in statement mode'

/** The loss of this server for its lessee. `isMidMessage`: the client has half a message of an answer. */
export function lossOf(
  server: Server,
  reason: string,
  lastWords: Buffer | null,
  isMidMessage: boolean,
): ServerLoss {
  const { talk, lessee, parts } = server
  // A statement that opens a block is refused; the rest of the client's session is not touched.
  const isRefused = reason === BLOCK_IN_STATEMENT_MODE
  const isInside =
    talk.status !== Status.Idle ||
    talk.isReadingBack ||
    talk.isListening ||
    lessee?.session.isPinned === true ||
    parts.route.mode === 'session'
  const isFatal = (isInside && !isRefused) || talk.copy === 3
  return {
    refusal: isFatal && talk.endsTransaction ? unknownCommit(reason) : lost(reason, lastWords, isFatal),
    lastWords: talk.endsTransaction ? null : lastWords,
    isFatal,
    isMidMessage,
    exchanges: talk.exchanges,
    isBatchOpen: talk.isBatchOpen,
    isFailedBatch: talk.replies.isSkipping,
    isUnfit: false,
  }
}

/** What a session has is not there any more, or not allowed to it: it would be refused on every server. */
const FOR_GOOD = /^(22|42)/

/** The same of a server that could not be made fit for its lessee: nothing of the lessee's has run. */
export function unfit(server: Server, { name, error }: InternalExchange): ServerLoss {
  const { lessee } = server
  const loss = lossOf(server, 'settings diff failed', null, false)
  const refusal = error === null ? loss.refusal : refusalOf(error, 'settings')
  // What is of one request ends with it, and who logs in is told so anyway.
  const isSession = lessee !== null && lessee.session.once === null && !lessee.isProbe
  const isFatal = isSession && name === SETTINGS_DIFF && FOR_GOOD.test(refusal.code)
  const told = isFatal ? { detail: SESSION_LOST, ...refusal } : refusal
  return { ...loss, refusal: told, lastWords: null, isFatal, isUnfit: true }
}

const SESSION_LOST =
  'A setting of the session could not be brought to another server, so the session has ended.'

/** A server's error as a refusal of ours. */
export function refusalOf(bytes: Buffer, reason: string): Refusal {
  const { code, message, detail, hint } = parseErrorResponse(bytes, 0, bytes.length)
  return {
    severity: 'ERROR',
    code: code === '' ? '08006' : code,
    message: message === '' ? 'Postgres gave no reason' : message,
    ...(detail === '' ? {} : { detail }),
    ...(hint === '' ? {} : { hint }),
    reason,
  }
}

function lost(reason: string, lastWords: Buffer | null, isFatal: boolean): Refusal {
  if (reason === BLOCK_IN_STATEMENT_MODE) {
    return {
      severity: 'ERROR',
      code: '0A000',
      message: 'transaction blocks not allowed in statement pooling mode',
      hint: 'Use a pool in transaction mode, or send the statements one by one.',
      reason: 'statement_mode',
    }
  }
  const detail = isFatal
    ? 'The session and its open transaction are lost with it.'
    : 'Whether the statement was executed is not known.'
  if (lastWords !== null) {
    const words = refusalOf(lastWords, 'server_lost')
    return { ...words, severity: isFatal ? 'FATAL' : 'ERROR', detail: words.detail ?? detail }
  }
  return {
    severity: isFatal ? 'FATAL' : 'ERROR',
    code: '08006',
    message: 'server closed the connection unexpectedly',
    detail: `${detail} (${reason})`,
    reason: 'server_lost',
  }
}

function unknownCommit(reason: string): Refusal {
  return {
    severity: 'FATAL',
    code: '08007',
    message: 'the connection to Postgres was lost while a COMMIT was under way',
    detail: `Whether the transaction was committed is not known. (${reason})`,
    reason: 'commit_unknown',
  }
}

/** A server that was lost before it could work for anybody. */
export function notOpened({ parts }: Server, reason: string, lastWords: Buffer | null): OpenFailure {
  const refusal =
    lastWords === null ? unreachable(parts.route.where, reason) : refusalOf(lastWords, 'server_login')
  return { refusal, isFinal: false }
}

function unreachable(where: string, reason: string): Refusal {
  return {
    severity: 'FATAL',
    code: '08001',
    message: `could not use the connection to Postgres at ${where}: ${reason}`,
    reason: 'server_unreachable',
  }
}
