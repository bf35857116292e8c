// Owns: a hostile client on the same pool as the suite: it changes every kind of state of its session, under
// the names that the suite uses. Must never change what all sessions of a Postgres share.
import { setTimeout as pause } from 'node:timers/promises'
import * as m from '../support/messages.ts'
import { Prng } from '../support/prng.ts'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'

/** A role that it may become; the runner creates it. */
export const HOSTILE_ROLE = 'pgmux_hostile'
/** Own keys of advisory locks. */
const KEY = 0x706d_0000
/** ms between an answer and its next request, at most. */
const PAUSE_MS = 8
/** ms that an answer may take: it waits for a server like everybody else. */
const ANSWER_MS = 600_000

/** What pg_regress puts into the environment of psql. */
const LOGIN = {
  datestyle: 'Postgres, MDY',
  timezone: 'America/Los_Angeles',
  options: ' -c intervalstyle=postgres_verbose',
}

const SETTINGS = [
  "set datestyle = 'SQL, DMY'",
  "set timezone = 'Asia/Tokyo'",
  'set intervalstyle = iso_8601',
  'set search_path = pg_catalog',
  "set search_path = ''",
  'set extra_float_digits = -10',
  'set bytea_output = escape',
  'set standard_conforming_strings = off',
  'set client_encoding = latin1',
  'set xmloption = document',
  "set lc_monetary = 'C'",
  'set enable_seqscan = off; set enable_hashjoin = off; set enable_sort = off',
  'set enable_indexscan = off; set enable_bitmapscan = off; set enable_nestloop = off',
  "set work_mem = '64kB'",
  'set max_parallel_workers_per_gather = 4; set parallel_setup_cost = 0; set force_parallel_mode = on',
  'set default_transaction_isolation = serializable',
  'set session characteristics as transaction isolation level repeatable read',
  'set default_transaction_read_only = on',
  'set check_function_bodies = off',
  'set constraint_exclusion = on',
  'set row_security = off',
  'set array_nulls = off',
  'set quote_all_identifiers = on',
  'set transform_null_equals = on',
  "set statement_timeout = '200ms'",
  "set lock_timeout = '50ms'",
  'set client_min_messages = debug1',
  "set application_name = 'hostile'",
  "set app.tenant = 'hostile'",
  "select set_config('plpgsql.extra_warnings', 'all', false)",
  "select set_config('search_path', 'pg_temp', false), set_config('work_mem', '80kB', false)",
  'begin; set local enable_material = off; set timezone = 1; commit',
  "do $$ begin perform set_config('enable_tidscan', 'off', false); end $$",
  'reset all',
]

const ROLES = [`set role ${HOSTILE_ROLE}`, `set session authorization ${HOSTILE_ROLE}`, 'set role none']

const TEMP = [
  'tenk1',
  'onek',
  'int4_tbl',
  'int8_tbl',
  'text_tbl',
  'foo',
  'test1',
  'tmp',
  'temptest',
  'x',
  't',
].map((name) => `set search_path = public; create temp table ${name} (hostile text)`)

const STATEMENTS = [
  'q1',
  'q2',
  'q3',
  'p1',
  'p2',
  'data_sel',
  'foo',
  'prepstmt',
  'ss1',
  'st1',
  'mp_stmt',
  'test',
].map((name) => `prepare ${name} as select 'hostile ${name}'`)

const CURSORS = ['foo', 'c1', 'c', 'foo24', 'foo25', 'cur'].map(
  (name) => `declare ${name} cursor with hold for select 'hostile'`,
)

const REST = [
  'listen hostile',
  'listen foo_event',
  'unlisten *',
  'select setseed(0.25)',
  'discard plans',
  'discard temp',
]

export class Neighbour {
  /** Statements that it was answered. */
  statements = 0
  /** Why connections ended under it. */
  readonly losses: string[] = []
  /** Locks of its own that it met in another session. */
  strayLocks = 0
  #isLoud = true
  #goesOn = true
  #work: Promise<void>
  readonly #options: ClientOptions
  readonly #scripts: readonly string[]
  readonly #random: Prng

  /** @param scripts names of the suite's scripts */
  constructor(options: ClientOptions, scripts: readonly string[], seed: number) {
    this.#options = options
    this.#scripts = scripts
    this.#random = new Prng(seed)
    this.#work = this.#run()
  }

  /** Resolves when it has neither locks nor temporary tables and makes none from now on. */
  async keepQuiet(): Promise<void> {
    this.#isLoud = false
    await this.#ended()
    this.#goesOn = true
    this.#work = this.#run()
  }

  async stop(): Promise<void> {
    await this.#ended()
  }

  async #ended(): Promise<void> {
    this.#goesOn = false
    await this.#work
  }

  async #run(): Promise<void> {
    while (this.#goesOn) {
      try {
        await using client = await WireClient.connect(this.#login())
        await this.#session(client)
        await client.end()
      } catch (error) {
        this.losses.push((error as Error).message)
        await pause(PAUSE_MS)
      }
    }
  }

  /** As a script of the suite logs in: other startup parameters would get servers of their own. */
  #login(): ClientOptions {
    const params = { ...LOGIN, application_name: `pg_regress/${this.#random.pick(this.#scripts)}` }
    return { ...this.#options, params, timeout: ANSWER_MS }
  }

  /** One session: some acts, and sometimes everything thrown away. */
  async #session(client: WireClient): Promise<void> {
    for (let left = this.#random.between(5, 40); left > 0 && this.#goesOn; left--) {
      await this.#act(client)
      this.statements++
      client.received.length = 0
      client.drain()
      await pause(this.#random.below(PAUSE_MS))
    }
    if (this.#random.chance(0.5)) await client.query('discard all')
    // Its next session may come before Postgres has seen the end of this one: on a direct connection, too.
    await client.query('rollback; discard temp; select pg_catalog.pg_advisory_unlock_all()')
  }

  /** Nobody else uses its keys: one that is held is held in its name. */
  async #lock(client: WireClient): Promise<void> {
    if (!this.#isLoud) return
    const { rows } = await client.query(`select pg_try_advisory_lock(${KEY + this.#random.below(8)})`)
    if (rows[0]?.[0] === 'f') this.strayLocks++
  }

  /** Errors are its own business: many an act is refused under what an earlier one has set. */
  async #act(client: WireClient): Promise<unknown> {
    const random = this.#random
    switch (random.below(10)) {
      case 0:
        return client.query(random.pick(ROLES))
      case 1:
        return client.query(this.#isLoud ? random.pick(TEMP) : 'select 1')
      case 2:
        return client.query(random.pick(STATEMENTS))
      case 3:
        return client.run(m.parse("select 'hostile'", { name: random.pick(['', 's1', 'q1']) }), m.sync())
      case 4:
        return client.query(random.pick(CURSORS))
      case 5:
        return this.#lock(client)
      case 6:
        return client.query(random.pick(REST))
      case 7:
        return client.query('discard all')
      default:
        return client.query(random.pick(SETTINGS))
    }
  }
}
