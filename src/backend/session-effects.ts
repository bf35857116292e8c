// What answers of Postgres mean for the client's session and for what the server has: statements parsed and
// closed, everything deallocated. Functions on the talk; they write no bytes.
import { Fate } from '../pool/replies.ts'
import type { Definition } from '../session/statements.ts'
import { READS_ANEW, Touch } from '../sql/effects.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Framer } from '../wire/framer.ts'
import {
  BRINGING,
  Brought,
  HIDDEN,
  NamedClose,
  NamedParse,
  UNNAMED_CLOSE,
  UnnamedFix,
  UnnamedParse,
} from './refs.ts'
import { hidden } from './sql-prepared.ts'
import type { Talk } from './talk.ts'

/** ParseComplete came for the entry at the head. */
export function parseAnswered(talk: Talk, head: number, session: VirtualSession | undefined): void {
  const ref = talk.replies.headRef
  if (ref instanceof UnnamedParse) {
    if (session === undefined) return
    session.setUnnamed(ref.unnamed)
    if (ref.isBehind) ref.unnamed.settings = null
    else if (talk.touched !== 0) session.madeUnseen(ref.unnamed)
    talk.confirmUnnamed(session, ref.version)
  } else if (ref instanceof NamedParse) {
    if (!ref.definition.isLarge) talk.statements.add(ref.definition)
    nameParsed(talk, ref, session)
  } else if (ref instanceof UnnamedFix) {
    if (session !== undefined) talk.confirmUnnamed(session, ref.version)
  } else if (ref instanceof Brought) ref.onDone()
  else if ((head & Fate.Swallow) !== 0 && ref !== BRINGING) brought(talk, ref as Definition)
}

/** What was parsed under settings of this transaction is nothing for others. */
function brought({ statements, touched, watch, readAt }: Talk, definition: Definition): void {
  watch?.tracing?.brought(readAt)
  if ((touched & READS_ANEW) === 0) statements.add(definition)
  else statements.spoil(definition)
}

/** A client's Parse of a name is done, by Postgres or in its place. */
export function nameParsed(talk: Talk, ref: NamedParse, session: VirtualSession | undefined): void {
  if (session === undefined) return
  const { definition } = ref
  if (definition.parseKey === 0) {
    // Behind exchanges in flight they were not known when it was sent; now those that Postgres reports are.
    // Where they are told later, it is brought to another server under those that are known by then.
    definition.settings = ref.isBehind ? null : session.settings
    if (talk.touched !== 0) session.madeUnseen(definition)
  }
  session.statements.confirm(ref.change)
}

/** CloseComplete came for the entry at the head. */
export function closeAnswered(talk: Talk, head: number, session: VirtualSession | undefined): void {
  const ref = talk.replies.headRef
  if (ref instanceof UnnamedFix) {
    if (session !== undefined) talk.confirmUnnamed(session, ref.version)
  } else if (ref === UNNAMED_CLOSE) session?.setUnnamed(null)
  else if (ref instanceof NamedClose) {
    talk.names.there.delete(ref.change.name)
    session?.statements.confirm(ref.change)
  } else if ((head & Fate.Swallow) !== 0 && ref !== BRINGING) talk.statements.delete((ref as Definition).id)
}

/** A command tag whose command concerns what we know of the session. */
export function noteTag(talk: Talk, framer: Framer, session: VirtualSession | undefined): void {
  if ((talk.replies.head & Fate.Swallow) !== 0) {
    ownDone(talk)
    return
  }
  const { src, start, stop } = framer
  const first = src[start + 5]
  if (isDefinition(first, src[start + 6])) {
    // Temporary tables are made all the time, and are seen by their own session only.
    talk.hasDefined ||= (talk.touched & Touch.Temp) === 0
    return
  }
  // D(ISCARD ALL), D(EALLOCATE ALL), L(ISTEN).
  if ((first !== 0x44 && first !== 0x4c) || stop - start > 64) return
  const tag = src.toString('latin1', start + 5, stop - 1)
  if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') {
    hidden(talk)
    talk.unnamedOf = null
    talk.names.there.clear()
    // With nothing behind it, it is known again what names stand for.
    if (talk.exchanges <= 1 && !talk.isBatchOpen) talk.names.isAllLive = false
    session?.statements.clear()
    session?.pins.delete('sql_prepare')
    if (tag === 'DISCARD ALL') discarded(talk, session)
  } else if (tag === 'LISTEN') listens(talk, session)
  // Where the text was not understood it may have been one of ours.
  else if (tag === 'DEALLOCATE' && (talk.touched & Touch.Unknown) !== 0) talk.lostSetup = true
}

/** CR(EATE ..), DR(OP ..), AL(TER ..). */
function isDefinition(first: number, second: number): boolean {
  return second === 0x52 ? first === 0x43 || first === 0x44 : second === 0x4c && first === 0x41
}

/** Behind the transaction somebody else does that for the session, or it keeps its server. */
function listens(talk: Talk, session: VirtualSession | undefined): void {
  if (session === undefined) return
  const statement = talk.blame?.of('listen')
  if (talk.channels?.takesOver(session, statement) !== true) session.pins.add('listen', statement)
}

/** A command of ours in the middle of a client's batch is done. */
function ownDone(talk: Talk): void {
  const ref = talk.replies.headRef
  if (ref instanceof Brought) ref.onDone()
  else if (ref === HIDDEN) hidden(talk)
}

/** What DISCARD ALL ends and no question about what is left can tell. */
function discarded(talk: Talk, session: VirtualSession | undefined): void {
  // What was sent in front of it; of what follows it in the same write nobody can tell.
  if (talk.exchanges <= 1) talk.touched &= ~(Touch.Backend | Touch.AnyName)
  if (session === undefined) return
  talk.channels?.discarded(session)
  for (const reason of ['backend_state', 'custom_setting'] as const) session.pins.delete(reason)
}

/** Name and value of a ParameterStatus, one character a byte; null for a broken one. */
export function readParameter(framer: Framer): [name: string, value: string] | null {
  const { src, start, stop } = framer
  const nameStop = src.indexOf(0, start + 5)
  const valueStop = src.indexOf(0, nameStop + 1)
  if (framer.rest > 0 || nameStop < 0 || valueStop < 0 || valueStop >= stop) return null
  return [src.toString('latin1', start + 5, nameStop), src.toString('latin1', nameStop + 1, valueStop)]
}
