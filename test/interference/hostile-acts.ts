// Owns: what client B does between A's requests: every kind of state of a session. Must never be anything
// that A could see on a Postgres of its own, such as a lock that A wants or a row in A's tables.
import * as m from '../support/messages.ts'
import { bytesOf, type Names, textOf } from './text.ts'

/** Names that A's scripts use for prepared statements. */
export const STATEMENTS = ['s1', 's2']

/** Reported ones first. Those that hinder the next ones stand last. */
const SETTINGS: Readonly<Record<string, string>> = {
  application_name: "'client B'",
  client_encoding: 'LATIN1',
  datestyle: "'German, DMY'",
  intervalstyle: 'iso_8601',
  timezone: "'Asia/Tokyo'",
  search_path: 'hostile, public',
  work_mem: "'123kB'",
  statement_timeout: "'59min'",
  lock_timeout: "'58min'",
  idle_in_transaction_session_timeout: "'57min'",
  extra_float_digits: '-3',
  bytea_output: 'escape',
  xmlbinary: 'hex',
  xmloption: 'document',
  row_security: 'off',
  check_function_bodies: 'off',
  client_min_messages: 'error',
  quote_all_identifiers: 'on',
  transform_null_equals: 'on',
  array_nulls: 'off',
  synchronous_commit: 'off',
  enable_seqscan: 'off',
  geqo: 'off',
  plan_cache_mode: 'force_generic_plan',
  cursor_tuple_fraction: '0.7',
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  escape_string_warning: 'off',
  backslash_quote: 'on',
  'app.tenant': "'tenant B'",
  'app.person': "'person B'",
  'b.own': "'only B'",
  standard_conforming_strings: 'off',
  default_transaction_read_only: 'on',
}

const SUPERUSER_SETTINGS: Readonly<Record<string, string>> = {
  session_replication_role: 'replica',
  log_min_duration_statement: '54321',
}

/** What B makes in one gap, and how it gets rid of it where it must not keep its server. */
interface Round {
  readonly make: readonly string[]
  readonly clear: string
}

/** Under names that A's scripts use as well. */
const ROUND: readonly Round[] = [
  {
    make: ['create temp table items (id int, name text)', "insert into items values (1, 'B 1'), (2, 'B 2')"],
    clear: 'drop table items',
  },
  {
    make: [
      'select pg_advisory_lock(990001), pg_advisory_lock_shared(990002), pg_try_advisory_lock(99, 3)',
      "declare kept cursor with hold for select 'row of B'::text as name from generate_series(1, 3)",
      'listen b_channel',
      'notify b_channel',
    ],
    clear: 'select pg_advisory_unlock_all(); close all; unlisten *',
  },
  {
    make: [
      'create temp sequence numbers start 7000',
      "create temp table scratch as select 'B'::text as b",
      "select nextval('numbers'), nextval('hostile.numbers') > 0",
      "select set_config('app.tenant', 'tenant B by function', false)",
      'select setseed(0.25), random() is null',
    ],
    clear: 'discard all',
  },
]

/** Postgres is asked for all functions anew after this: that takes longer than all the rest. */
const DEFINITIONS: Round = {
  make: [
    "create temp view named as select 'view of B'::text as name",
    "create function pg_temp.own() returns text language sql as $$ select 'function of B'::text $$",
    'create type pg_temp.pair as (b text)',
  ],
  clear: 'drop function pg_temp.own(); drop view named; drop type pg_temp.pair',
}

/** B goes on with what it has: pgmux brings that to the server, and no statement of B's. */
const PLAIN: Round = { make: [], clear: '' }

/** So many of these behind each other round. */
const PLAINS = process.env.LONG === '1' ? 1 : 2

const ORDER: readonly Round[] = [...ROUND, ...ROUND, ...ROUND, DEFINITIONS].flatMap((round) => {
  return [round, ...Array<Round>(PLAINS).fill(PLAIN)]
})

/** After so many gaps B does the same again. */
export const ROUNDS = ORDER.length

/** These stay, under A's names. */
const PREPARED = [
  "prepare q as select 'prepared by B'::text as name",
  "prepare q2 (int) as select 'prepared by B'::text as name, $1 as n",
]

/** What B has set before must not hinder it. */
const FRESH = 'reset session authorization; reset all; set transaction read write; deallocate all'

/** What B is. A's state must not show here. */
const LOOK = `select current_user = session_user, ${Object.keys(SETTINGS)
  .map((name) => `current_setting('${name}', true)`)
  .join(', ')},
  (select count(*) from pg_catalog.pg_class where relnamespace = pg_my_temp_schema()),
  (select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
  (select string_agg(name, ',' order by name) from pg_catalog.pg_cursors where is_holdable),
  (select string_agg(c, ',' order by c) from pg_catalog.pg_listening_channels() as c)`

/** One exchange of B, with one ReadyForQuery; `isCompared`: its answer is the same in each gap. */
export interface Act {
  readonly bytes: Buffer
  readonly isCompared: boolean
}

export interface Circumstances {
  readonly isOrdinary: boolean
  /** Does B keep what pins it? Not where A waits for the only server. */
  readonly keepsPins: boolean
  /** Is what B got from sequences a pin, too? */
  readonly hasSequencePins: boolean
  readonly names: Names
}

const sql = (text: string, isCompared = true): Act => ({ bytes: m.query(text), isCompared })

function settings(isOrdinary: boolean): string {
  const all = isOrdinary ? SETTINGS : { ...SUPERUSER_SETTINGS, ...SETTINGS }
  return Object.entries(all)
    .map(([name, value]) => `set ${name} = ${value}`)
    .join('; ')
}

/** All settings at once. */
export const SET_ALL = settings(true)

/** Statements under A's names, the unnamed one as the last. */
function statements(): Act {
  const text = `select 'statement of B'::text as name`
  const named = STATEMENTS.flatMap((name) => [m.close('S', name), m.parse(text, { name })])
  const unnamed = [m.parse(text), m.bind(), m.describe('P'), m.execute()]
  return { bytes: Buffer.concat([...named, ...unnamed, m.sync()]), isCompared: true }
}

/** All that B does in a gap. @param round number of the gap */
export function hostileActs(of: Circumstances, round: number, extra: readonly string[]): Act[] {
  const own = extra.map((text) => ({ bytes: m.query(bytesOf(text, of.names)), isCompared: false }))
  const role = of.isOrdinary ? 'set role {bob}' : 'set session authorization {bob}; set role {alice}'
  const { make, clear } = ORDER[round % ROUNDS] as Round
  // Behind both kinds of rounds.
  const looks = [0, 3].includes(round % 5) ? [sql(LOOK)] : []
  const forgotten = of.hasSequencePins && !of.keepsPins ? [sql('discard sequences')] : []
  if (make.length === 0) return [...own, sql('execute q2 (42)'), ...forgotten, statements(), ...looks]
  const made = sql([FRESH, ...make].join('; '))
  const prepared = PREPARED.join('; ')
  const isAlone = clear === 'discard all'
  const cleared = isAlone ? [sql(clear), sql(prepared)] : [sql(`${clear}; ${prepared}`)]
  // Apart from the settings: what is prepared in one transaction with them keeps its server.
  const rest = [`${settings(of.isOrdinary)}; ${textOf(role, of.names)}`, 'execute q2 (42)']
  return [
    ...(of.keepsPins ? [sql('discard all'), made, sql(prepared)] : [made, ...cleared]),
    ...own,
    sql(rest.join('; ')),
    ...forgotten,
    statements(),
    ...looks,
  ]
}
