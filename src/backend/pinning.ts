// Where pins meet the conversation with a server: texts that must not run because they would pin, and the
// moment at which what is new about pins is told. It owns nothing; the judgement is the pool's.
import type { Lessee } from '../pool/lease.ts'
import type { PinRefusal } from '../session/pins.ts'
import { UNNAMED_MAX, type VirtualSession } from '../session/virtual-session.ts'
import { errorResponse } from '../wire/error-response.ts'
import type { Framer } from '../wire/framer.ts'
import type { Talk } from './talk.ts'

const HEADER = 5

/** Why a text that touches this must not be run; null: it may. */
export function refusedText(session: VirtualSession | null, touches: number): Buffer | null {
  return touches === 0 || session === null ? null : inBytes(session.pins.refusalOf(touches))
}

/** Why a Parse must not be sent: its text is too long to be kept; null: it may. */
export function refusedLength(
  session: VirtualSession | null,
  framer: Framer,
  nameStop: number,
): Buffer | null {
  const { start, stop, rest } = framer
  const max = nameStop === start + HEADER ? UNNAMED_MAX : Number.POSITIVE_INFINITY
  if (session === null || nameStop < 0 || (rest === 0 && stop - nameStop - 1 <= max)) return null
  return inBytes(session.pins.refusalOfReason('large_statement'))
}

function inBytes(refusal: PinRefusal | null): Buffer | null {
  return refusal === null ? null : errorResponse(refusal)
}

/** Tells what is new about pins, if it is time for that. @returns whether the session has ended over it */
export function endsOverPins(server: { lessee: Lessee | null; talk: Talk }, lessee: Lessee): boolean {
  if (!lessee.session.hasNews || !server.talk.isQuiet) return false
  lessee.session.settlePins()
  return server.lessee !== lessee
}
