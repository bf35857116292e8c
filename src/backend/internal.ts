// Exchanges of our own on a server: the settings diff, statements of other settings, evictions, resets,
// rollbacks and checks. It owns their bytes and what their end means; their replies never reach a client.
import { Fate, Reply } from '../pool/replies.ts'
import type { Change } from '../session/settings.ts'
import { type Definition, PREFIX } from '../session/statements.ts'
import { bind, close, execute, parse, query, SYNC } from '../wire/messages.ts'
import type { Output } from './output.ts'
import type { OwnRow } from './own-rows.ts'
import type { Talk } from './talk.ts'

/** Names of the statements that each server gets at its login. They are never closed while it is used. */
const BEGIN = `${PREFIX}begin`
const SET = `${PREFIX}set`
/** Sets its two parameters for the transaction. */
export const SET_LOCAL = `${PREFIX}set_local`
const COMMIT = `${PREFIX}commit`

/** A statement name that exists on every server: a Parse of it fails as a duplicate. */
export const TAKEN_NAME = BEGIN
/** A statement name that exists on no server. */
export const MISSING_NAME = `${PREFIX}none`

/** The name of the exchange that brings a session's settings. */
export const SETTINGS_DIFF = 'settings diff'
/** The name of the exchange that `writeFence` makes. */
export const FENCE = 'fence'

/** One exchange of ours, told what came of it. */
export interface InternalExchange {
  /** For log lines and errors. */
  readonly name: string
  /** Nothing behind it may run when it fails. */
  readonly isGuard: boolean
  /** The first ErrorResponse that came for it. */
  error: Buffer | null
  /** Told each row; null: nobody reads them. */
  onRow: ((row: OwnRow) => void) | null
  /** Its ReadyForQuery came, with this status. */
  onDone(status: number, exchange: InternalExchange): void
}

/** What to do at its end, and how it is known. */
export function internalExchange(
  name: string,
  isGuard: boolean,
  onDone: (status: number, exchange: InternalExchange) => void,
): InternalExchange {
  return { name, isGuard, error: null, onRow: null, onDone }
}

const SETUP: readonly Buffer[] = [
  parseAnew(BEGIN, 'BEGIN ISOLATION LEVEL READ COMMITTED'),
  parseAnew(SET, 'SELECT pg_catalog.set_config($1, $2, false)', [25, 25]),
  parseAnew(SET_LOCAL, 'SELECT pg_catalog.set_config($1, $2, true)', [25, 25]),
  parseAnew(COMMIT, 'COMMIT'),
]

/** Close and Parse of a statement of ours: it may be there, or not. */
export function parseAnew(name: string, text: string, types: readonly number[] = []): Buffer {
  return Buffer.concat([close('S', name), parse(name, text, types)])
}
/** The transaction of an exchange of ours, from here ... */
export const RUN_BEGIN: Buffer = Buffer.concat([bind('', BEGIN, []), execute('')])
/** ... to here, with its Sync. */
export const RUN_COMMIT: Buffer = Buffer.concat([bind('', COMMIT, []), execute(''), SYNC])
const EXECUTE = execute('')

/** Prepares the statements that the other exchanges use. */
export function writeSetup(talk: Talk, out: Output, exchange: InternalExchange): void {
  writeAnew(talk, out, SETUP, exchange)
}

/** Writes what `parseAnew` has made, and a Sync. */
export function writeAnew(
  talk: Talk,
  out: Output,
  statements: readonly Buffer[],
  exchange: InternalExchange,
): void {
  for (const statement of statements) {
    talk.replies.push(Reply.Close | Fate.Internal, exchange)
    talk.replies.push(Reply.Parse | Fate.Internal, exchange)
    out.write(statement)
  }
  writeSync(talk, out, exchange)
}

/**
 * Brings reported settings from what the server has to what the client wants: one transaction in front of the
 * client's messages. If a part fails, the COMMIT is skipped and everything behind it meets a failed
 * transaction (RULES 1). Values travel as parameters, never as literals. It uses the unnamed portal, never
 * the unnamed statement.
 */
export function writeDiff(
  talk: Talk,
  out: Output,
  changes: readonly Change[],
  exchange: InternalExchange,
): void {
  const replies = talk.replies
  replies.push(Reply.Bind | Fate.Internal, exchange)
  replies.push(Reply.Execute | Fate.Internal, exchange)
  out.write(RUN_BEGIN)
  writeSet(talk, out, changes, exchange)
  replies.push(Reply.Bind | Fate.Internal, exchange)
  replies.push(Reply.Execute | Fate.Internal, exchange)
  replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(RUN_COMMIT)
  talk.unconfirmed++
}

/** Sets them for the session, within an exchange of ours. */
function writeSet(talk: Talk, out: Output, changes: readonly Change[], exchange: InternalExchange): void {
  for (const [name, value] of changes) {
    talk.replies.push(Reply.Bind | Fate.Internal, exchange)
    talk.replies.push(Reply.Execute | Fate.Internal, exchange)
    out.write(bind('', SET, [fromBinary(name), value === null ? null : fromBinary(value)]))
    out.write(EXECUTE)
  }
}

/**
 * Changes settings in the middle of a client's batch (then an error there is the client's) or of an exchange
 * of ours in its transaction. Only as
 * SET LOCAL does: the way back must not turn what the client has set for its transaction into a setting of
 * its session.
 */
export function writeSettings(
  talk: Talk,
  out: Output,
  changes: readonly Change[],
  exchange: InternalExchange | null,
): void {
  const fate = exchange === null ? Fate.Swallow : Fate.Internal
  for (const [name, value] of changes) {
    talk.replies.push(Reply.Bind | fate, exchange)
    talk.replies.push(Reply.Execute | fate, exchange)
    out.write(bind('', SET_LOCAL, [fromBinary(name), value === null ? null : fromBinary(value)]))
    out.write(EXECUTE)
  }
}

/** Parses a statement outside any exchange of a client, so that settings can be changed before and after. */
export function writeParse(talk: Talk, out: Output, definition: Definition): void {
  const exchange = internalExchange('parse', false, (_status, { error }) => {
    if (error === null) talk.statements.add(definition)
    else talk.failedParse = { id: definition.id, error }
  })
  talk.replies.push(Reply.Close | Fate.Internal, exchange)
  talk.replies.push(Reply.Parse | Fate.Internal, exchange)
  talk.replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(close('S', definition.name))
  writeNamed(out, definition.name, definition.bodyNow)
  out.write(SYNC)
}

/** The same of a client's unnamed statement. @param onDone whether it is there now */
export function writeUnnamed(
  talk: Talk,
  out: Output,
  body: Uint8Array,
  onDone: (isThere: boolean) => void,
): void {
  const exchange = internalExchange('unnamed statement', false, (_status, { error }) =>
    onDone(error === null),
  )
  talk.replies.push(Reply.Parse | Fate.Internal, exchange)
  talk.replies.push(Reply.Sync | Fate.Internal, exchange)
  writeNamed(out, '', body)
  out.write(SYNC)
}

/** Writes, and counts, the Parse of a client's statement under another name. */
export function writeNamed(out: Output, name: string, body: Uint8Array): void {
  out.counters.parsesToServers++
  out.write(namedParse(name, body))
}

/** Closes statements that the server has too many of. */
export function writeEvictions(talk: Talk, out: Output, max: number, exchange: InternalExchange): void {
  for (;;) {
    const surplus = talk.statements.surplus(max)
    if (surplus === null) break
    talk.statements.delete(surplus.id)
    talk.replies.push(Reply.Close | Fate.Internal, exchange)
    out.write(close('S', surplus.name))
  }
  talk.replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(SYNC)
}

/** A simple Query of ours. */
export function writeQuery(talk: Talk, out: Output, text: string, exchange: InternalExchange): void {
  talk.replies.push(Reply.Query | Fate.Internal, exchange)
  out.write(query(text))
  // A simple Query drops the unnamed statement.
  talk.unnamedOf = null
}

/** An empty Query whose answer shows where the server stands when Syncs may have been eaten by a COPY. */
export function writeFence(talk: Talk, out: Output): void {
  talk.needsFence = false
  writeQuery(
    talk,
    out,
    '',
    internalExchange(FENCE, false, () => {
      talk.isDoubtful = false
    }),
  )
}

/** A Sync of ours, behind messages of a client that will never send it. */
export function writeSync(talk: Talk, out: Output, exchange: InternalExchange): void {
  talk.replies.push(Reply.Sync | Fate.Internal, exchange)
  out.write(SYNC)
}

/** A Parse message with this statement name in front of a body (text, NUL, types). */
export function namedParse(name: string, body: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(5 + name.length + 1 + body.length)
  message[0] = 0x50
  message.writeInt32BE(message.length - 1, 1)
  message.write(name, 5, 'latin1')
  message[5 + name.length] = 0
  message.set(body, 5 + name.length + 1)
  return message
}

/** Names and values are kept one character a byte, so that any client_encoding survives. */
function fromBinary(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
