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
/** One row, and one for each statement of an SQL PREPARE. */
const COUNT_LEFT =
  'SELECT 1 FROM pg_catalog.pg_advisory_unlock_all() UNION ALL ' +
  'SELECT 1 FROM pg_catalog.pg_prepared_statement() WHERE from_sql'
const BELONGINGS = ['CLOSE ALL', 'UNLISTEN *', COUNT_LEFT, 'DISCARD TEMP', 'DISCARD SEQUENCES']
const TEXTS = [...IDENTITY, ...BELONGINGS]

const nameOf = (text: string): string => `${PREFIX}reset_${TEXTS.indexOf(text)}`
const PARSES = Buffer.concat(TEXTS.map((text) => parse(nameOf(text), text)))
const RUN_IDENTITY = Buffer.concat(IDENTITY.map(run))
const RUN_BELONGINGS = Buffer.concat(BELONGINGS.map(run))

function run(text: string): Buffer {
  return Buffer.concat([bind('', nameOf(text), []), execute('')])
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
    const isDone = exchange.error === null && status === Status.Idle
    if (isDone) talk.hasResets = true
    const left = !isDone ? Left.Unknown : exchange.rows > 1 ? Left.Statements : Left.Nothing
    talk.isClean = left === Left.Nothing
    if (isGuard && !talk.isClean) exchange.error ??= NOT_CLEAN
    then(left)
  })
  if (isGuard) talk.unconfirmed++
  if (!talk.hasResets) {
    for (let count = 0; count < TEXTS.length; count++) replies.push(Reply.Parse | Fate.Internal, exchange)
    out.write(PARSES)
  }
  expect(talk, 1 + IDENTITY.length, exchange)
  out.write(RUN_BEGIN)
  out.write(RUN_IDENTITY)
  // In front of the count: the last SELECT must be that one.
  if (wanted !== null && loginSettings !== null && wanted !== loginSettings)
    writeSet(talk, out, changesBetween(loginSettings, wanted), exchange)
  expect(talk, BELONGINGS.length + 1, exchange)
  replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(RUN_BELONGINGS)
  out.write(RUN_COMMIT)
}

const NOT_CLEAN = errorResponse({
  severity: 'ERROR',
  code: '08006',
  message: 'the server could not be cleaned of what another session had left',
  detail: 'Whether the statement was executed is not known; the connection to that server was closed.',
})

function expect(talk: Talk, statements: number, exchange: InternalExchange): void {
  for (let count = 0; count < statements; count++) {
    talk.replies.push(Reply.Bind | Fate.Internal, exchange)
    talk.replies.push(Reply.Execute | Fate.Internal, exchange)
  }
}

/** Drops all prepared statements, and prepares our own again. */
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
