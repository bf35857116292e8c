// Owns what a text may leave behind in the session that runs it, as the few bits that decide what Postgres is
// asked afterwards. It judges facts and verdicts only; that a statement failed or was rolled back is for
// Postgres to tell. What is not understood may leave anything.
import type { Routines } from './catalogue.ts'
import { type NameUse, NO_USES, nameUses } from './name-uses.ts'
import { READ_UNSEEN } from './settings.ts'
import { Act, type Statement, type Verdict } from './verdict.ts'
import { Fact } from './vocabulary.ts'
import { lower } from './words.ts'

/** What may be left behind; a bit set. */
export const Touch = {
  /** A setting has another value, role and session authorization among them. */
  Settings: 1,
  /** Temporary objects. */
  Temp: 1 << 1,
  /** Advisory locks of the session. */
  Locks: 1 << 2,
  /** Cursors WITH HOLD. */
  Cursors: 1 << 3,
  /** Channels that are listened to. */
  Channels: 1 << 4,
  /** Statements that were prepared or deallocated in SQL. */
  Prepared: 1 << 5,
  /** State inside the process that nothing shows: libraries, the seed of random(). */
  Backend: 1 << 6,
  /** Anything. */
  Unknown: 1 << 7,
  /** Brings a setting back to its default, which is the client's own (RULES 3). */
  Resets: 1 << 8,
  /** The name of a setting is not in the text: it may be a custom one. */
  AnyName: 1 << 9,
  /** Makes objects, which are temporary if the search path begins with pg_temp (RULES 11). */
  Creates: 1 << 10,
  /** Anything but a query: it may end what a pin is for. */
  Acts: 1 << 11,
  /** currval, lastval. */
  ReadsSequence: 1 << 12,
  /** nextval, setval. */
  WritesSequence: 1 << 13,
  /** Runs what PREPARE has stored. */
  Executes: 1 << 14,
  /** DISCARD ALL. */
  DiscardsAll: 1 << 15,
  /** A setting that only the transaction has: a custom name is known to the server from then on. */
  Local: 1 << 16,
  /** Makes or changes what others reach without our seeing it: functions, tables, triggers, views, casts. */
  Defines: 1 << 17,
  /** The text alone shows that there will be temporary objects beyond the transaction, */
  KeepsTemp: 1 << 20,
  /** advisory locks, */
  KeepsLock: 1 << 21,
  /** channels. */
  KeepsChannel: 1 << 22,
  /** Uses the name of a custom setting, for the transaction only too. */
  NamesCustom: 1 << 23,
  /** Everything is to be asked, whatever was sent. */
  Witness: 1 << 24,
  /** DISCARD SEQUENCES, also as a part of DISCARD ALL. */
  ForgetsSequence: 1 << 25,
  /** What Postgres reads while it makes a statement, for the transaction or longer (`READ_UNSEEN`). */
  Reading: 1 << 26,
  /** NOTIFY, pg_notify. */
  Notifies: 1 << 18,
  /** UNLISTEN: what it leaves depends on what was listened to before. */
  Unlistens: 1 << 19,
} as const

/** What may have changed what the session has, so that Postgres is asked. */
export const TO_ASK =
  Touch.Settings |
  Touch.Temp |
  Touch.Locks |
  Touch.Cursors |
  Touch.Channels |
  Touch.Prepared |
  Touch.Backend |
  Touch.Unknown

/** What is made of a text behind it may be another statement than the known settings would make of it. */
export const READS_ANEW = Touch.Reading | Touch.Resets

/** What a text may leave behind. */
export interface Effects {
  /** `Fact` bits of the text. */
  readonly facts: number
  /** `Touch` bits. */
  readonly touches: number
  /** Custom settings (`app.tenant`) that it names. */
  readonly customNames: readonly string[]
  /** Numbers of parameters that are names of settings. */
  readonly boundNames: readonly number[]
  /** The same of settings for the transaction. */
  readonly boundLocally: readonly number[]
  /** `Touch` bits of what PREPARE stores. */
  readonly prepared: number
  /** How the text begins, without its strings, for logs; '' for a plain one. */
  readonly label: string
  /** Names of prepared statements, in the order in which they are used. */
  readonly uses: readonly NameUse[]
}

const NO_NAMES: readonly string[] = Object.freeze([])
const NO_NUMBERS: readonly number[] = Object.freeze([])

/** Not understood. */
const UNKNOWN = Touch.Unknown | Touch.Acts | Touch.AnyName

/** Of a text that is not all there, or too long. */
export const NOT_READ: Effects = simple(Fact.Unclear, UNKNOWN)

/** Of texts without a word that matters: one for each combination of their facts. */
const PLAIN = new Map<number, Effects>()
const PLAIN_MAX = 4096

/** Effects of a text that the grammar need not see. */
export function plainEffects(facts: number): Effects {
  const known = PLAIN.get(facts)
  if (known !== undefined) return known
  const acts = (facts & Fact.Acts) !== 0 ? Touch.Acts : 0
  const creates = (facts & Fact.Creates) !== 0 ? Touch.Creates : 0
  const effects = simple(facts, acts | creates)
  if (PLAIN.size < PLAIN_MAX) PLAIN.set(facts, effects)
  return effects
}

function simple(facts: number, touches: number, label = ''): Effects {
  const none = { customNames: NO_NAMES, boundNames: NO_NUMBERS, boundLocally: NO_NUMBERS, uses: NO_USES }
  return { facts, touches, prepared: 0, label, ...none }
}

/** Longest beginning of a text that is shown, in bytes. */
const LABEL_MAX = 120

/**
 * The beginning of a text without what its strings say: there may be secrets in them. Where a string ends is
 * another matter (backslashes, comments with quotes), so nothing behind the first quote is shown.
 */
function labelOf(text: Buffer): string {
  return text
    .toString('utf8', 0, LABEL_MAX)
    .replace(/('|\$(?!\d))[\s\S]*/, '…')
    .replace(/\s+/g, ' ')
    .trim()
}

/** What looks like the name of a custom setting, in a string or behind SET: a function may set it. */
const DOTTED = '[a-z_][a-z0-9_$]*(?:\\.[a-z_][a-z0-9_$]*)+'
const CUSTOM_NAME = new RegExp(
  `'(${DOTTED})'|\\bset\\s+(?:(?:session|local)\\s+)?(${DOTTED})\\s*(?:=|to\\b)`,
  'gi',
)
const CUSTOM_MAX = 100
/** Of a longer text this much is looked through for names. */
const LOOKED_THROUGH = 64 * 1024

/** Names of custom settings that a text may set out of our sight. */
export function customNamesIn(text: string): string[] {
  const names = new Set<string>()
  for (const [, quoted, bare] of text.slice(0, LOOKED_THROUGH).matchAll(CUSTOM_NAME)) {
    if (names.size >= CUSTOM_MAX) break
    names.add(lower(quoted ?? bare))
  }
  return [...names]
}

/**
 * Effects of a text that the grammar was asked about.
 * @param routines of this database
 */
export function effectsOf(
  { text, facts, flags }: { readonly text: Buffer; readonly facts: number; readonly flags: number },
  verdict: Verdict,
  routines: Routines | undefined,
): Effects {
  if (verdict === null) {
    return { ...simple(facts, UNKNOWN, labelOf(text)), customNames: customNamesIn(text.toString('latin1')) }
  }
  let touches = 0
  let prepared = 0
  const custom = new Set<string>()
  const bound = new Set<number>()
  const locally = new Set<number>()
  for (const statement of verdict) {
    touches |= touchesOf(statement, routines, facts)
    for (const { body } of statement.prepared) {
      if (body !== null) prepared |= touchesOf(body, routines, facts) | names(body, custom, bound, locally)
    }
    touches |= names(statement, custom, bound, locally)
  }
  if (((touches | prepared) & (Touch.Unknown | Touch.Defines)) !== 0)
    for (const name of customNamesIn(text.toString('latin1'))) custom.add(name)
  return {
    facts,
    touches,
    customNames: custom.size === 0 ? NO_NAMES : [...custom],
    boundNames: bound.size === 0 ? NO_NUMBERS : [...bound],
    boundLocally: locally.size === 0 ? NO_NUMBERS : [...locally],
    prepared,
    uses: nameUses(text, flags, verdict),
    label: labelOf(text),
  }
}

/** The same of a text for which a value is made that may do anything. */
export function withAnything(effects: Effects, text: Buffer): Effects {
  const label = effects.label === '' ? labelOf(text) : effects.label
  return { ...effects, touches: effects.touches | Touch.Unknown | Touch.AnyName, label }
}

/** What running it may leave behind, of a text that is a PREPARE: what that has stored. */
export function storedEffects({ facts, prepared, customNames, boundNames, boundLocally }: Effects): Effects {
  // The arguments of an EXECUTE are not looked at.
  const reading = boundNames.length + boundLocally.length > 0 ? Touch.Reading : 0
  const touches = prepared | reading | (boundNames.length > 0 ? Touch.AnyName : 0)
  return { ...simple(facts, touches), customNames }
}

/**
 * Kinds of statements behind which a statement may do what its own text does not show: what makes or changes
 * a function, or a relation or type by which functions are reached.
 */
const DEFINES = /^(Create|Alter|CompositeType|Define|Import|Index|Rename|Rule|View)/
const DEFINES_NOT =
  /^(Create|Alter)(d|Database|DefaultPriv|Enum|Owner|Publication|Role|Seq|Subscription|System|TableSpace)/
const TABLES: ReadonlySet<string> = new Set(['CreateStmt', 'CreateTableAsStmt'])

/** Acts, and what each may leave behind. */
const OF_ACTS: readonly (readonly [act: number, touch: number])[] = [
  [Act.Temp, Touch.Temp],
  [Act.Creates, Touch.Creates],
  [Act.Locks, Touch.Locks],
  [Act.Holds, Touch.Cursors],
  [Act.Loads | Act.Backend, Touch.Backend],
  [Act.WritesSequence, Touch.WritesSequence],
  [Act.ReadsSequence, Touch.ReadsSequence],
  [Act.Runs, Touch.Unknown | Touch.AnyName],
  [Act.ResetsAll, Touch.Settings | Touch.Resets],
  [Act.DiscardsAll, Touch.DiscardsAll | Touch.Resets | Touch.Settings | Touch.Prepared | Touch.Channels],
  [Act.DiscardsTemp, Touch.Temp],
  [Act.DiscardsSequences, Touch.ForgetsSequence],
  [Act.Listens, Touch.Channels],
  [Act.Notifies, Touch.Notifies],
  [Act.Writes, Touch.Acts],
]

/** The others of these functions give locks back. */
const TAKES_LOCK = /^pg_(try_)?advisory_lock/

/** What surely outlives the transaction. */
function keptBy({ acts, functions, channels }: Statement): number {
  let touches = (acts & (Act.Temp | Act.Fleeting)) === Act.Temp ? Touch.KeepsTemp : 0
  const isLock = (acts & Act.Locks) !== 0 && functions.some(({ name }) => TAKES_LOCK.test(name))
  if (isLock) touches |= Touch.KeepsLock
  if (channels.some(({ how }) => how === 'listen')) touches |= Touch.KeepsChannel
  return touches
}

function touchesOf(statement: Statement, routines: Routines | undefined, facts: number): number {
  let touches = keptBy(statement)
  const acts = isHarmlessCall(statement, routines) ? statement.acts & ~Act.Runs : statement.acts
  for (const [act, touch] of OF_ACTS) if ((acts & act) !== 0) touches |= touch
  // It writes nothing; what else DISCARD ALL ends is asked for because of DiscardsAll.
  if ((acts & Act.DiscardsSequences) !== 0) touches &= ~Touch.Acts
  for (const { how } of statement.channels) if (how === 'unlisten') touches |= Touch.Unlistens
  for (const { how } of statement.prepared) touches |= how === 'execute' ? Touch.Executes : Touch.Prepared
  // Only a text in which a word was found may come to a function that matters.
  const reached = routines?.mayReach(facts) === true ? routines.reachedBy(statement) : 0
  if (isDefinition(statement, reached !== 0)) touches |= Touch.Defines
  return reached === 0 ? touches : touches | Touch.Unknown | Touch.AnyName
}

/** Temporary tables are made all the time: one counts only if it names something that matters. */
function isDefinition({ kind, acts }: Statement, isReaching: boolean): boolean {
  if (!DEFINES.test(kind) || DEFINES_NOT.test(kind)) return false
  return (acts & Act.Temp) === 0 || isReaching || !TABLES.has(kind)
}

/** CALL of a procedure of which all is known, and of nothing else. */
function isHarmlessCall({ kind, functions }: Statement, routines: Routines | undefined): boolean {
  return kind === 'CallStmt' && functions.every(({ name }) => routines?.isHarmless(name) === true)
}

/** Collects names of settings. @returns `Touch` bits of the changes */
function names(statement: Statement, custom: Set<string>, bound: Set<number>, locally: Set<number>): number {
  let touches = 0
  for (const { name, parameter, value, isLocal } of statement.settings) {
    const isCustom = name === null ? parameter === 0 || isLocal === true : name.includes('.')
    if (isCustom) touches |= Touch.NamesCustom
    if (name === null ? parameter === 0 : READ_UNSEEN.has(name)) touches |= Touch.Reading
    if (isLocal === true) {
      touches |= Touch.Local
      if (parameter > 0) locally.add(parameter)
      continue
    }
    if (name?.includes('.') === true) custom.add(name)
    if (parameter > 0) bound.add(parameter)
    else if (name === null) touches |= Touch.AnyName
    touches |= Touch.Settings | (value === 'default' ? Touch.Resets : 0)
  }
  return touches
}
