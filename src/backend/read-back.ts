// What is done at the end of a client's transaction that may have left something on its server: Postgres is
// asked, and what it says becomes the session's (settings) or a pin (RULES 7, 8). It owns nothing; until the
// answer is there the server stays the client's, and without one neither is believed any more.
import type { Lessee } from '../pool/lease.ts'
import type { PinReason, VirtualSession } from '../session/virtual-session.ts'
import { TO_ASK, Touch } from '../sql/effects.ts'
import type { Insight } from './insight.ts'
import { Blame } from './blame.ts'
import { Ask, type ProbeTarget, type Remains, writeProbe } from './probe.ts'
import { learn } from './preparing.ts'
import { bringSetup } from './reset.ts'
import type { ServerParts } from './route.ts'
import { lingers } from './sequences.ts'
import { takeNames } from './sql-read-back.ts'
import type { Talk } from './talk.ts'
import { noteNames } from './witness.ts'

/** What is needed of a server. */
export interface ReadBackTarget extends ProbeTarget {
  /** Whom it works for. */
  readonly lessee: Lessee | null
  readonly parts: ServerParts
  close(reason: string): void
}

/** Why a server is closed about which Postgres did not answer. */
export const UNKNOWN_STATE = 'what a session has left on the server could not be read'

/** What was made in a transaction may have been used in it, too. */
const ANYTHING = Touch.Unknown | Touch.Defines

/** And after DISCARD ALL it is asked whether all pins are over. */
const ALL = ANYTHING | Touch.DiscardsAll

/** What is asked because of what was touched. */
const OF_TOUCHES: readonly (readonly [touches: number, ask: number])[] = [
  [Touch.Settings | ALL, Ask.Settings],
  [Touch.Temp | ALL, Ask.Temp],
  [Touch.Locks | ALL, Ask.Locks],
  [Touch.Cursors | ALL, Ask.Cursors],
  [Touch.Channels | ALL, Ask.Channels],
  [Touch.Prepared | ALL, Ask.Prepared],
]

/** Pins that end when Postgres says that nothing is left, and statements that may have ended them. */
const PROBED: readonly (readonly [reason: PinReason, ask: number, endedBy: number])[] = [
  ['temp', Ask.Temp, Touch.Acts],
  ['advisory_lock', Ask.Locks, Touch.Locks],
  ['cursor', Ask.Cursors, Touch.Acts],
  ['listen', Ask.Channels, Touch.Channels],
]

/** A session with more settings of its own keeps its server: to bring them elsewhere would cost all. */
const OWN_MAX = 1000

/** A client keeps its server because it says so; what counts as on is as for a boolean of Postgres. */
const PIN = 'pgmux.pin'
const ON = /^(on|true|yes|1)$/i

const NOBODY = new Blame()
const NO_NAMES: readonly string[] = Object.freeze([])

/** Has something been touched, and is there nothing in flight any more? */
export function isReadBackDue(talk: Talk, { pins }: VirtualSession): boolean {
  return (talk.touched !== 0 || pins.has('sequence')) && talk.isQuiet
}

/** Asks what has to be asked. The server must have nothing in flight and be outside a transaction. */
export function readBack(target: ReadBackTarget, session: VirtualSession): void {
  const { talk, out, parts } = target
  const { touched, customTouched } = talk
  talk.touched = 0
  talk.customTouched = null
  const blame = talk.blame ?? NOBODY
  talk.blame = null
  if ((touched & Touch.Defines) !== 0) parts.insight.doubt((touched & Touch.Temp) !== 0)
  if (customTouched !== null && customTouched.size > OWN_MAX) keepServer(session, blame)
  // Without a witness what was out of sight does not follow its client; others are safe from it all the same.
  const isBlind = parts.route.witness === 'off'
  let asked = askedFor(isBlind ? touched & ~ANYTHING : touched, session)
  // What it listens to is read by those who take it over. Who has never listened is asked with all else.
  const mayListen = (touched & Touch.Channels) !== 0 && (talk.isListening || session.mail !== null)
  if (mayListen && talk.channels?.takesOver(session, blame.of('listen')) === true) asked &= ~Ask.Channels
  noteNames(talk, session, touched)
  setPin(session, 'sequence', lingers(talk, session, touched, parts.insight) ? blame : null)
  if ((touched & ANYTHING) !== 0) {
    talk.taintedBy = session
    talk.names.isAllLive = true
  }
  if ((touched & Touch.Backend) !== 0) setPin(session, 'backend_state', blame)
  if ((touched & (Touch.AnyName | Touch.Unknown)) === Touch.AnyName) setPin(session, 'custom_setting', blame)
  if ((asked & Ask.Settings) === 0) session.seen(talk.reported, null)
  if (asked === 0) {
    talk.channels?.settle(session)
    return
  }
  talk.isReadingBack = true
  bringSetup(talk, out)
  const probe = () => {
    const names = customNames(touched, customTouched, parts.insight, session)
    writeProbe(target, asked, names, (remains) => {
      talk.isReadingBack = false
      if (remains === null) {
        // Its client is told that its session is lost.
        talk.isReadingBack = true
        target.close(UNKNOWN_STATE)
      } else if (target.lessee?.session === session) {
        apply(target, session, { remains, blame })
        if ((asked & Ask.Prepared) !== 0) takeNames(target, session, remains, touched)
      }
    })
    out.flush()
  }
  // Custom settings are asked for by their names, of which functions that were just made may have new ones.
  // Those of this very transaction are in its texts: a long row of definitions need not read all each time.
  if (parts.insight.isCurrent) probe()
  else learn(target, probe, (touched & Touch.Defines) === 0)
  out.flush()
}

function askedFor(touched: number, session: VirtualSession): number {
  if ((touched & Touch.Witness) !== 0) return Ask.All
  let asked = 0
  if ((touched & (TO_ASK | ALL)) !== 0) {
    for (const [touches, ask] of OF_TOUCHES) if ((touched & touches) !== 0) asked |= ask
  }
  if (session.keepsSettings && (touched & Touch.DiscardsAll) === 0) asked &= ~Ask.Settings
  if ((touched & Touch.Creates) !== 0 && mayCreateTemp(touched, session)) asked |= Ask.Temp
  if (session.pins.size > 0) {
    for (const [reason, ask, endedBy] of PROBED)
      if ((touched & endedBy) !== 0 && session.pins.has(reason)) asked |= ask
  }
  return asked
}

/** The search path names pg_temp, or may have done so for a while (RULES 11). */
function mayCreateTemp(touched: number, { settings }: VirtualSession): boolean {
  if ((touched & (Touch.Settings | Touch.Local)) !== 0) return true
  return settings.values.get('search_path')?.includes('pg_temp') === true
}

function customNames(
  touched: number,
  touchedNames: ReadonlySet<string> | null,
  insight: Insight,
  { settings }: VirtualSession,
): readonly string[] {
  if ((touched & (Touch.Settings | Touch.Unknown | Touch.Witness)) === 0) return NO_NAMES
  const names = new Set(touchedNames)
  if ((touched & (Touch.Unknown | Touch.Witness)) !== 0)
    for (const name of insight.customNames) names.add(name)
  for (const name of settings.values.keys()) if (name.includes('.')) names.add(name)
  return [...names]
}

/** Its settings are on its server only, from now until DISCARD ALL. */
function keepServer(session: VirtualSession, blame: Blame): void {
  session.keepsSettings = true
  setPin(session, 'custom_setting', blame)
}

interface Found {
  readonly remains: Remains
  readonly blame: Blame
}

function apply({ talk }: ReadBackTarget, session: VirtualSession, { remains, blame }: Found): void {
  const { present } = remains
  let { asked } = remains
  if ((asked & Ask.Settings) !== 0 && remains.settings.size > OWN_MAX) keepServer(session, blame)
  else if ((asked & Ask.Settings) !== 0 && talk.settings !== null) {
    session.keepsSettings = false
    talk.settings = talk.settings.withOwn(talk.reported, remains.settings)
    session.settings = talk.settings
    session.seen(talk.reported, remains.settings)
    setPin(session, 'privileged_setting', remains.isPrivileged ? blame : null)
    if (remains.isForeign) setPin(session, 'custom_setting', blame)
    setPin(session, 'by_hand', ON.test(talk.settings.values.get(PIN) ?? '') ? blame : null)
  }
  if ((asked & Ask.Channels) !== 0) {
    const isAny = (present & Ask.Channels) !== 0
    if (talk.channels?.note(session, isAny, blame.of('listen')) === true) asked &= ~Ask.Channels
  }
  for (const [reason, ask] of PROBED) {
    if ((asked & ask) !== 0) setPin(session, reason, (present & ask) !== 0 ? blame : null)
  }
}

/** @param blame null: there is no such pin */
function setPin({ pins }: VirtualSession, reason: PinReason, blame: Blame | null): void {
  if (blame === null) pins.delete(reason)
  else pins.add(reason, blame.of(reason))
}
