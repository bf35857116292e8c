// Asks a server what a session has left on it: settings with their values, and whether there are temporary
// objects, advisory locks, held cursors, channels, prepared statements (RULES 7, 8). It owns the statements
// for that; what follows from the answer is for others. Runs only between transactions of a client, and what
// could not be answered counts as unknown.
import { Fate, Reply } from '../pool/replies.ts'
import { PREFIX } from '../session/statements.ts'
import { field } from '../wire/error-response.ts'
import { bind, execute } from '../wire/messages.ts'
import { Status } from '../wire/protocol.ts'
import {
  type InternalExchange,
  internalExchange,
  parseAnew,
  RUN_BEGIN,
  RUN_COMMIT,
  SET_LOCAL,
  writeAnew,
  writeQuery,
} from './internal.ts'
import type { Output } from './output.ts'
import type { OwnRow } from './own-rows.ts'
import { NAMES, NAMES_WIDTH, PARSE_NAMES } from './sql-read-back.ts'
import { bringSetup } from './reset.ts'
import type { Talk } from './talk.ts'

/** Parts of what is asked; a bit set. */
export const Ask = {
  Settings: 1,
  Temp: 2,
  Locks: 4,
  Cursors: 8,
  Channels: 16,
  Prepared: 32,
  All: 63,
} as const

/** What a session has. */
export interface Remains {
  /** `Ask` bits that were asked. */
  readonly asked: number
  /** Settings that the session has set, by Postgres' names; one character a byte. Only with Ask.Settings. */
  readonly settings: Map<string, string>
  /** The encoding of the client lacks a letter of one: it cannot be brought to another server. */
  readonly isForeign: boolean
  /** One of them may be set by a superuser only. */
  isPrivileged: boolean
  /** `Ask` bits of what there is, but for settings and names. */
  present: number
  /** Names of prepared statements that are not ours (sql-read-back.ts). */
  readonly names: OwnRow[]
}

/** What is needed of a server. */
export interface ProbeTarget {
  readonly talk: Talk
  readonly out: Output
}

const SETTINGS = `${PREFIX}settings`
const STATE = `${PREFIX}state`
const TIMES = `${PREFIX}times`

/** Times that would end a question of ours too. */
export const TIME_NAMES: readonly string[] = ['statement_timeout', 'lock_timeout']

/** Name, value, kind. What is the transaction's own would be an error to set again. */
const SETTINGS_SQL = `SELECT s.name, s.setting, s.context FROM pg_catalog.pg_show_all_settings() s
WHERE s.source OPERATOR(pg_catalog.=) 'session' AND NOT s.name OPERATOR(pg_catalog.=) ANY
  (ARRAY['transaction_isolation','transaction_read_only','transaction_deferrable'])
UNION ALL SELECT n, pg_catalog.current_setting(n), 'identity'
  FROM pg_catalog.unnest(ARRAY['role','session_authorization']) n
UNION ALL SELECT n, pg_catalog.current_setting(n, true), 'custom' FROM pg_catalog.unnest($1) n`

const STATE_SQL = `SELECT
CASE WHEN $1 THEN EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid OPERATOR(pg_catalog.=) 2615
  AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) END,
CASE WHEN $2 THEN EXISTS (SELECT FROM pg_catalog.pg_lock_status() l
  WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
  AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) END,
CASE WHEN $3 THEN EXISTS (SELECT FROM pg_catalog.pg_cursor() c WHERE c.is_holdable) END,
CASE WHEN $4 THEN EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) END`

/** Reads the times and takes them off for this transaction, in this order. Its width is its own. */
const TIMES_SQL = `SELECT pg_catalog.current_setting('statement_timeout'),
pg_catalog.current_setting('lock_timeout'), pg_catalog.set_config('statement_timeout', '0', true),
pg_catalog.set_config('lock_timeout', '0', true), 'times'`

const BOOL = 16
const TEXT_ARRAY = 1009
const STATEMENTS = [
  parseAnew(SETTINGS, SETTINGS_SQL, [TEXT_ARRAY]),
  parseAnew(STATE, STATE_SQL, [BOOL, BOOL, BOOL, BOOL]),
  parseAnew(TIMES, TIMES_SQL),
  PARSE_NAMES,
]
const EXECUTE = execute('')
/** In the order of the columns of STATE. */
const OF_COLUMNS = [Ask.Temp, Ask.Locks, Ask.Cursors, Ask.Channels]
const IN_COLUMNS = Ask.Temp | Ask.Locks | Ask.Cursors | Ask.Channels
/** Custom names that are asked for at once. */
const CUSTOM_MAX = 10_000

/**
 * Writes the question.
 * @param customNames settings with a dot in their names that may be there: Postgres does not list them
 * @param then null: it could not be answered, so anything may be there
 */
export function writeProbe(
  target: ProbeTarget,
  asked: number,
  customNames: readonly string[],
  then: (remains: Remains | null) => void,
): void {
  ask(target, { asked, customNames, isPatient: false, isForeign: false }, (remains, error) => {
    const code = error === null ? '' : field(error, 'C')
    const isForeign = code === UNTRANSLATABLE
    const isLost = code === STATEMENT_LOST
    if (remains !== null || (!TIMED_OUT.has(code) && !isForeign && !isLost)) {
      then(remains)
      return
    }
    const { talk, out } = target
    // Times of the session's own, of a few milliseconds, or its encoding: without them, then.
    writeQuery(
      talk,
      out,
      'ROLLBACK',
      internalExchange('rollback', false, () => {}),
    )
    // A function, or DO, has deallocated all.
    if (isLost) talk.hasProbes = false
    talk.needsSetup ||= isLost
    bringSetup(talk, out)
    ask(target, { asked, customNames, isPatient: true, isForeign }, then)
    out.flush()
  })
}

const TIMED_OUT = new Set(['57014', '55P03'])
const UNTRANSLATABLE = '22P05'
const STATEMENT_LOST = '26000'

interface Question {
  readonly asked: number
  readonly customNames: readonly string[]
  /** Without the session's own times. */
  readonly isPatient: boolean
  /** In the encoding of the server. */
  readonly isForeign: boolean
}

function ask(
  { talk, out }: ProbeTarget,
  { asked, customNames, isPatient, isForeign }: Question,
  then: (remains: Remains | null, error: Buffer | null) => void,
): void {
  const remains: Remains = {
    asked,
    settings: new Map(),
    isForeign,
    isPrivileged: false,
    present: 0,
    names: [],
  }
  let isBroken = customNames.length > CUSTOM_MAX
  const exchange = internalExchange('read-back', false, (status, { error }) => {
    // Somebody may have put other statements in the place of ours: then the answers are not all there.
    const hasAll = isAnswered(asked, answered)
    const isKnown = error === null && status === Status.Idle && !isBroken && hasAll
    then(isKnown ? remains : null, error)
  })
  const answered = { identities: 0, states: 0 }
  exchange.onRow = (row) => {
    if (row[2] === 'identity') answered.identities++
    if (row.length === OF_COLUMNS.length) answered.states++
    if (row.length === 3) noteSetting(talk, remains, row)
    else if (row.length === 1)
      return // The encoding.
    else if (row.length === 5) noteTimes(remains, row)
    else if (row.length === NAMES_WIDTH) remains.names.push(row)
    else if (row.length === OF_COLUMNS.length) notePresent(remains, row)
    else isBroken = true
  }
  if (!talk.hasProbes) prepare(talk, out)
  push(talk, out, RUN_BEGIN, exchange)
  if (isForeign) {
    const encoding = talk.parameters.get('server_encoding') ?? 'SQL_ASCII'
    push(talk, out, Buffer.concat([bind('', SET_LOCAL, ['client_encoding', encoding]), EXECUTE]), exchange)
  }
  if (isPatient) push(talk, out, Buffer.concat([bind('', TIMES, []), EXECUTE]), exchange)
  if ((asked & Ask.Settings) !== 0) {
    const names = arrayOf(customNames.slice(0, CUSTOM_MAX))
    push(talk, out, Buffer.concat([bind('', SETTINGS, [names]), EXECUTE]), exchange)
  }
  if ((asked & IN_COLUMNS) !== 0) {
    const values = OF_COLUMNS.map((bit) => ((asked & bit) === 0 ? 'f' : 't'))
    push(talk, out, Buffer.concat([bind('', STATE, values), EXECUTE]), exchange)
  }
  if ((asked & Ask.Prepared) !== 0) {
    const { changed } = talk.names
    const names = changed === null || isForeign ? null : arrayOf([...changed])
    push(talk, out, Buffer.concat([bind('', NAMES, [names]), EXECUTE]), exchange)
  }
  push(talk, out, RUN_COMMIT, exchange)
  talk.replies.push(Reply.Sync | Fate.Internal, exchange)
}

/**
 * The statements stay until a reset, or DEALLOCATE ALL, takes them. In an exchange of their own: to parse
 * them is a query, behind which BEGIN could not choose its isolation.
 */
function prepare(talk: Talk, out: Output): void {
  talk.hasProbes = true
  writeAnew(
    talk,
    out,
    STATEMENTS,
    internalExchange('setup', false, () => {}),
  )
}

function push(talk: Talk, out: Output, bytes: Buffer, exchange: InternalExchange): void {
  talk.replies.push(Reply.Bind | Fate.Internal, exchange)
  talk.replies.push(Reply.Execute | Fate.Internal, exchange)
  out.write(bytes)
}

function isAnswered(asked: number, { identities, states }: { identities: number; states: number }): boolean {
  const settings = (asked & Ask.Settings) === 0 ? 0 : 2
  return identities === settings && states === ((asked & IN_COLUMNS) === 0 ? 0 : 1)
}

function noteSetting(talk: Talk, remains: Remains, [name, value, kind]: OwnRow): void {
  if (name === null || name === undefined || value === null || value === undefined) return
  if (kind === 'identity') {
    const own = name === 'role' ? 'none' : talk.parameters.get('session_authorization')
    if (value !== own) remains.settings.set(name, value)
    return
  }
  if (TIME_NAMES.includes(name) && remains.settings.has(name)) return
  remains.settings.set(name, value)
  if (kind === 'superuser' && talk.parameters.get('is_superuser') !== 'on') remains.isPrivileged = true
}

function noteTimes(remains: Remains, row: OwnRow): void {
  for (const [at, name] of TIME_NAMES.entries()) remains.settings.set(name, row[at] ?? '0')
}

function notePresent(remains: Remains, row: OwnRow): void {
  for (const [at, bit] of OF_COLUMNS.entries()) if (row[at] === 't') remains.present |= bit
}

/** An array of texts as Postgres reads it. */
function arrayOf(texts: readonly string[]): Buffer {
  const quoted = texts.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`)
  return Buffer.from(`{${quoted.join(',')}}`, 'latin1')
}
