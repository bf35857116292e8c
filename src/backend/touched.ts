// Notes what a client's messages may leave on its server, as they are sent: whether it came to that, Postgres
// is asked at the end of the transaction (read-back.ts). Functions on the talk; they write no bytes.
import type { VirtualSession } from '../session/virtual-session.ts'
import { type Effects, Touch } from '../sql/effects.ts'
import { READ_UNSEEN, settingName } from '../sql/settings.ts'
import type { Framer } from '../wire/framer.ts'
import { blamed } from './blame.ts'
import { noteSequences } from './sequences.ts'
import type { Talk } from './talk.ts'
import { noteNames } from './witness.ts'

const HEADER = 5
/** Custom names of one transaction; beyond it they count as not known. */
const NAMES_MAX = 10_000
/** Names of settings are short. */
const NAME_MAX = 1024

/** Functions of large objects, as libpq calls them: what they change is the transaction's. */
const LARGE_OBJECTS = new Set([715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172])

/** A text is sent to be run. */
export function noteEffects(talk: Talk, session: VirtualSession | null, effects: Effects): void {
  noteNames(talk, session, effects.touches | effects.prepared, effects.label)
  // What a session of one request leaves goes with it.
  if (session === null || session.once !== null) return
  talk.touched |= effects.touches
  noteSequences(talk, session, effects.touches)
  if (effects.label !== '') talk.touchedBy = effects.label
  talk.blame = blamed(talk.blame, effects)
  for (const name of effects.customNames) noteName(talk, name)
}

/** A portal of a statement is made, to be run. */
export function noteBind(talk: Talk, session: VirtualSession | null, effects: Effects, framer: Framer): void {
  if (effects.touches === 0) return
  noteEffects(talk, session, effects)
  if (session?.once === null)
    for (const number of effects.boundLocally) noteRead(talk, parameterOf(framer, number))
  for (const number of effects.boundNames) {
    const name = parameterOf(framer, number)
    noteRead(talk, name)
    if (name === null) talk.touched |= Touch.AnyName
    else if (name.includes('.')) {
      noteName(talk, settingName(name))
      noteNames(talk, session, Touch.NamesCustom, effects.label)
    }
  }
}

/** A setting of this name is changed, of any where that is not known. */
function noteRead(talk: Talk, name: string | null): void {
  if (name === null || READ_UNSEEN.has(settingName(name))) talk.touched |= Touch.Reading
}

/** A function is called by its number: only those of large objects are known to leave nothing. */
export function noteCall(talk: Talk, { src, start, stop }: Framer): void {
  const isKnown = stop - start >= HEADER + 4 && LARGE_OBJECTS.has(src.readInt32BE(start + HEADER))
  if (isKnown) return
  talk.touched |= Touch.Unknown
  noteNames(talk, null, Touch.Unknown)
}

function noteName(talk: Talk, name: string): void {
  talk.customTouched ??= new Set()
  if (talk.customTouched.size < NAMES_MAX) talk.customTouched.add(name)
  else talk.touched |= Touch.AnyName
}

/** The text of a parameter of a Bind message, one character a byte; null: NULL, or not all here. */
function parameterOf({ src, start, stop, rest }: Framer, number: number): string | null {
  if (rest > 0) return null
  const statement = src.indexOf(0, start + HEADER) + 1
  let at = src.indexOf(0, statement) + 1
  if (at === 0 || at + 2 > stop) return null
  at += 2 + 2 * src.readUInt16BE(at)
  if (at + 2 > stop || src.readUInt16BE(at) < number) return null
  at += 2
  for (let left = number; at + 4 <= stop; left--) {
    const length = src.readInt32BE(at)
    at += 4
    if (left === 1) {
      if (length < 0 || length > NAME_MAX || at + length > stop) return null
      return src.toString('latin1', at, at + length)
    }
    at += Math.max(0, length)
  }
  return null
}
