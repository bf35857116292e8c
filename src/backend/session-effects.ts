// What answers of Postgres mean for the client's session and for what the server has: statements parsed and
// closed, everything deallocated. Functions on the talk; they write no bytes.
import { Fate } from '../pool/replies.ts'
import type { Definition } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Framer } from '../wire/framer.ts'
import { NamedClose, NamedParse, UNNAMED_CLOSE, UnnamedFix, UnnamedParse } from './refs.ts'
import type { Talk } from './talk.ts'

/** ParseComplete came for the entry at the head. */
export function parseAnswered(talk: Talk, head: number, session: VirtualSession | undefined): void {
  const ref = talk.replies.headRef
  if (ref instanceof UnnamedParse) {
    if (session === undefined) return
    session.setUnnamed(ref.unnamed)
    talk.confirmUnnamed(session, ref.version)
  } else if (ref instanceof NamedParse) {
    if (!ref.definition.isLarge) talk.statements.add(ref.definition)
    nameParsed(ref, session)
  } else if (ref instanceof UnnamedFix) {
    if (session !== undefined) talk.confirmUnnamed(session, ref.version)
  } else if ((head & Fate.Swallow) !== 0) talk.statements.add(ref as Definition)
}

/** A client's Parse of a name is done, by Postgres or in its place. */
export function nameParsed(ref: NamedParse, session: VirtualSession | undefined): void {
  if (session === undefined) return
  const { definition } = ref
  // Behind exchanges in flight the settings were not known when it was sent; now they are.
  if (definition.parseKey === 0) definition.settings = session.settings
  session.statements.confirm(ref.change)
}

/** CloseComplete came for the entry at the head. */
export function closeAnswered(talk: Talk, head: number, session: VirtualSession | undefined): void {
  const ref = talk.replies.headRef
  if (ref instanceof UnnamedFix) {
    if (session !== undefined) talk.confirmUnnamed(session, ref.version)
  } else if (ref === UNNAMED_CLOSE) session?.setUnnamed(null)
  else if (ref instanceof NamedClose) session?.statements.confirm(ref.change)
  else if ((head & Fate.Swallow) !== 0) talk.statements.delete((ref as Definition).id)
}

/** A command tag whose command concerns what we know of the session. */
export function noteTag(talk: Talk, framer: Framer, session: VirtualSession | undefined): void {
  const { src, start, stop } = framer
  const first = src[start + 5]
  // D(ISCARD ALL), D(EALLOCATE ALL), L(ISTEN), P(REPARE).
  if ((first !== 0x44 && first !== 0x4c && first !== 0x50) || stop - start > 64) return
  const tag = src.toString('latin1', start + 5, stop - 1)
  if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') {
    talk.statements.clear()
    talk.unnamedOf = null
    talk.needsSetup = true
    talk.hasProbes = false
    session?.statements.clear()
    session?.pins.delete('sql_prepare')
    if (tag === 'DISCARD ALL') discarded(session)
  } else if (tag === 'LISTEN') session?.pins.add('listen')
  else if (tag === 'PREPARE') session?.pins.add('sql_prepare')
  // It may have been one of ours: who has prepared nothing in SQL has no other.
  else if (tag === 'DEALLOCATE') talk.lostSetup = true
}

/** What DISCARD ALL ends and no question about what is left can tell. */
function discarded(session: VirtualSession | undefined): void {
  if (session === undefined) return
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
