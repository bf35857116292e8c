// What `session.witness` and `session.custom_names` ask of a server while it works for a client: that all is
// asked after each transaction, or that nobody else gets it once a custom name was used. It owns the marks
// for that on the talk, and nothing else.
import type { Settings } from '../session/settings.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { Touch } from '../sql/effects.ts'
import type { Route } from './route.ts'
import type { Talk } from './talk.ts'

/** What may give the server a custom name, which Postgres never forgets (RULES 4). */
const MAY_NAME = Touch.NamesCustom | Touch.AnyName | Touch.Unknown

/** A lease begins. */
export function beginWitness(talk: Talk, session: VirtualSession, route: Route): void {
  // What runs on a lane is known to leave nothing.
  const isKnown = route.mode === 'session' || session.once !== null || session.isLane
  talk.isWitnessed = route.witness === 'always' && !isKnown
  talk.isStrict = route.customNames === 'strict'
  talk.sequences = route.sequences
  if (talk.isStrict && hasCustom(session.settings)) spend(talk, session)
}

/** A text is sent, or was. @param touches `Touch` bits of what it may do */
export function noteNames(talk: Talk, session: VirtualSession | null, touches: number, label = ''): void {
  if (talk.isStrict && (touches & MAY_NAME) !== 0) spend(talk, session, label)
}

/** Nobody else gets this server, and its client keeps it. */
export function spend(talk: Talk, session: VirtualSession | null, label = ''): void {
  talk.isSpent = true
  if (session !== null && session.once === null) session.pins.add('custom_name', label)
}

function hasCustom({ values }: Settings): boolean {
  for (const name of values.keys()) if (name.includes('.')) return true
  return false
}

/** Must nobody else get the server? */
export function isUsedUp({ isSpent, lostSetup }: Talk, { mode }: Route): boolean {
  return isSpent || (lostSetup && mode !== 'session')
}
