// The reset of a server behind a session of one request: everything that a session can leave behind,
// except the statements that pgmux itself has prepared there. It owns these. It writes them behind what
// the session asked for, and says what came of it; a server that is not known to be clean is its caller's
// to close.
import { Fate, Reply } from '../pool/replies.ts'
import { PREFIX } from '../session/statements.ts'
import type { Settings } from '../session/settings.ts'
import { errorResponse } from '../wire/error-response.ts'
import { bind, execute, parse } from '../wire/messages.ts'
import { Status } from '../wire/protocol.ts'
import {
  changesBetween,
  type InternalExchange,
  internalExchange,
  RUN_BEGIN,
  RUN_COMMIT,
  writeQuery,
  writeSet,
  writeSetup,
} from './internal.ts'
import type { Output } from './output.ts'
import type { Talk } from './talk.ts'

/** What a reset has left. */
export const Left = { Nothing: 0, Statements: 1, Unknown: 2 } as const

/** Who it is comes first: it may be somebody who may not do the rest. */
const IDENTITY = ['RESET SESSION AUTHORIZATION', 'RESET ALL']
const BELONGINGS = [
  'CLOSE ALL',
  'UNLISTEN *',
  'SELECT pg_catalog.pg_advisory_unlock_all()',
  'DISCARD TEMP',
  'DISCARD SEQUENCES',
]
const TEXTS = [...IDENTITY, ...BELONGINGS]

const nameOf = (text: string): string => `${PREFIX}reset_${TEXTS.indexOf(text)}`
const PARSES = Buffer.concat(TEXTS.map((text) => parse(nameOf(text), text)))
const RUN_IDENTITY = Buffer.concat(IDENTITY.map(run))
const RUN_BELONGINGS = Buffer.concat(BELONGINGS.map(run))
/**
 * One row for each statement of an SQL PREPARE. Such a one may have taken the name of ours and do nothing,
 * or put everything back before anybody looks: so this is parsed each time and comes in front of the others,
 * which are not believed unless there is none.
 */
const COUNT_LEFT = runAfresh('SELECT 1 FROM pg_catalog.pg_prepared_statement() WHERE from_sql')
/** The same where something follows: it meets a failed transaction if there is one. */
const GUARD_BEGIN = runAfresh('BEGIN ISOLATION LEVEL READ COMMITTED')
const GUARD_COUNT = runAfresh(
  'SELECT pg_catalog.int4div(1, pg_catalog.int4(NOT from_sql)) ' +
    'FROM pg_catalog.pg_prepared_statement() WHERE from_sql',
)

function run(text: string): Buffer {
  return Buffer.concat([bind('', nameOf(text), []), execute('')])
}

function runAfresh(text: string): Buffer {
  return Buffer.concat([parse('', text), bind('', '', []), execute('')])
}

/** How a reset is done. */
export interface Resetting {
  /** Settings to bring the server to, so that its next client need not; null: those of its login. */
  readonly wanted: Settings | null
  /** What follows it rests on it. */
  readonly isGuard: boolean
}

/**
 * Writes the reset, in a transaction of a kind of our own: in one as the session likes them
 * (serializable, read only, deferrable) it could wait for a stranger. In an open block it does nothing
 * that stays, and says so.
 */
export function writeReset(
  talk: Talk,
  out: Output,
  { wanted, isGuard }: Resetting,
  then: (left: number) => void,
): void {
  const { replies, loginSettings } = talk
  const exchange = internalExchange('reset', isGuard, (status) => {
    const isDone = exchange.error === null && count.error === null && status === Status.Idle
    if (isDone) talk.hasResets = true
    const left = !isDone ? Left.Unknown : count.rows > 0 ? Left.Statements : Left.Nothing
    talk.isClean = left === Left.Nothing
    if (isGuard && !talk.isClean) exchange.error ??= NOT_CLEAN
    then(left)
  })
  // Rows of what may not be ours must not be counted with it.
  const count = internalExchange('reset', false, () => {})
  if (isGuard) talk.unconfirmed++
  if (isGuard) replies.push(Reply.Parse | Fate.Internal, exchange)
  expect(talk, 1, exchange)
  out.write(isGuard ? GUARD_BEGIN : RUN_BEGIN)
  // Behind the BEGIN: to parse a SELECT takes a snapshot, and then no other isolation level can be had.
  if (!talk.hasResets) {
    for (let place = 0; place < TEXTS.length; place++) replies.push(Reply.Parse | Fate.Internal, exchange)
    out.write(PARSES)
  }
  replies.push(Reply.Parse | Fate.Internal, count)
  expect(talk, 1, count)
  out.write(isGuard ? GUARD_COUNT : COUNT_LEFT)
  talk.unnamedOf = null
  expect(talk, IDENTITY.length, exchange)
  out.write(RUN_IDENTITY)
  if (wanted !== null && loginSettings !== null && wanted !== loginSettings)
    writeSet(talk, out, changesBetween(loginSettings, wanted), exchange)
  expect(talk, BELONGINGS.length + 1, exchange)
  out.write(RUN_BELONGINGS)
  replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(RUN_COMMIT)
}

const NOT_CLEAN = errorResponse({
  severity: 'ERROR',
  code: '08006',
  message: 'the server could not be cleaned of what another session had left',
  detail: 'Whether the statement was executed is not known; the connection to that server was closed.',
})

function expect(talk: Talk, statements: number, exchange: InternalExchange): void {
  for (let done = 0; done < statements; done++) {
    talk.replies.push(Reply.Bind | Fate.Internal, exchange)
    talk.replies.push(Reply.Execute | Fate.Internal, exchange)
  }
}

/**
 * Drops all prepared statements, and prepares our own again. A reset before it may have been done by others:
 * another one has to follow.
 */
export function writeDeallocation(talk: Talk, out: Output, then: (isDone: boolean) => void): void {
  const drop = internalExchange('reset', false, () => {})
  writeQuery(talk, out, 'DEALLOCATE ALL', drop)
  const setup = internalExchange('setup', false, () => {
    talk.hasResets = talk.lostSetup = false
    talk.statements.clear()
    then(drop.error === null && setup.error === null)
  })
  writeSetup(talk, out, setup)
}
