// Owns: what must be true in a lull: gauges equal a recount, idle servers bear no trace of anybody, what was
// acknowledged is there. Must never be asked while an application is in an act.
import assert from 'node:assert/strict'
import { assertLedger, READ_LEDGER } from '../support/ledger.ts'
import { eventually } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'
import type { Crowd } from './crowd.ts'
import type { Samples, Subject } from './subject.ts'
import type { Mode, Place, World } from './world.ts'

/** Time for what vanished clients have left under way. */
const SETTLE_MS = 15_000
/** Seconds for which servers are held, so that each client has one of its own. */
const HELD_S = 0.3
/** Differs between any two sessions. */
const OWN_SETTINGS = ['application_name']
/** Files beyond connections that may come and go: a file that is read, a scrape, a name that is looked up. */
const FILES_SLACK = 6

export interface Sample {
  readonly rss: number
  readonly heap: number
  readonly files: number
}

export class Recount {
  readonly #world: World
  readonly #subject: Subject
  readonly #crowd: Crowd
  /** Open files of the first lull, besides connections. */
  #files = 0

  constructor(world: World, subject: Subject, crowd: Crowd) {
    this.#world = world
    this.#subject = subject
    this.#crowd = crowd
  }

  /** @returns how much is in use. @throws what is not as it must be */
  async check(): Promise<Sample> {
    const { places } = this.#world
    await eventually(() => this.#gauges(), SETTLE_MS)
    for (const { mode } of places) await this.#written(mode)
    for (const place of places) await this.#traces(place)
    await eventually(() => this.#gauges(), SETTLE_MS)
    for (const place of places) place.most = place.size
    assert.deepEqual(this.#subject.bad, [], 'the log tells of no fault')
    return eventually(() => this.#sample(), SETTLE_MS)
  }

  async #gauges(): Promise<void> {
    const { world, subject, crowd } = { world: this.#world, subject: this.#subject, crowd: this.#crowd }
    const samples = await subject.metrics()
    const servers = await world.servers()
    const clients = states(samples, 'pgmux_clients')
    assert.deepEqual(clients, { login: 0, idle: crowd.doors.open.size, active: 0, waiting: 0 })
    assert.equal(samples.get('pgmux_client_waiting'), 0)
    const expected = { opening: 0, idle: servers.length, testing: 0, active: 0 }
    assert.deepEqual(states(samples, 'pgmux_servers'), expected)
    assert.equal(samples.get('pgmux_client_logins_total'), crowd.doors.logins, 'logins')
    for (const { mode, most } of world.places) {
      const own = servers.filter((server) => server.mode === mode)
      assert.ok(own.length <= most, `${own.length} servers in ${mode} mode, of ${most}`)
    }
    for (const { state, free, query } of servers)
      assert.deepEqual({ state, free }, { state: 'idle', free: true }, query)
    const pids = servers.map(({ pid }) => pid)
    const locks = await world.postgres.admin('select * from pg_locks where pid = any($1)', [pids])
    assert.deepEqual(locks, [], 'locks of idle servers')
    assert.ok(await subject.isReady(), 'it is ready')
  }

  /** What was acknowledged since the last lull is there, and nothing else. Then it is removed. */
  async #written(mode: Mode): Promise<void> {
    const members = this.#crowd.members.filter((member) => member.mode === mode)
    assertLedger(members, await this.#world.see(mode, READ_LEDGER))
    const halves = 'select client, nonce, count(*) from bulk group by 1, 2, total having count(*) <> total'
    assert.deepEqual(
      await this.#world.see(mode, halves),
      [],
      'a COPY is there as a whole, once, or not at all',
    )
    await this.#world.see(mode, 'truncate ledger, bulk')
    for (const { acknowledged, doubtful } of members) {
      acknowledged.length = 0
      doubtful.length = 0
    }
  }

  /** Fresh clients, one for each server at the same time, find what they would find on one of their own. */
  async #traces({ mode, size }: Place): Promise<void> {
    const own = await this.#world.direct(mode)
    const expected = await found(own)
    await own.end()
    const enter = () => this.#crowd.doors.enter(this.#world.target(mode))
    const clients = await Promise.all(Array.from({ length: size }, enter))
    const seen = await Promise.all(clients.map(found))
    await Promise.all(clients.map((client) => client.end()))
    for (const one of seen) assert.deepEqual(differences(expected, one), [], `a server in ${mode} mode`)
  }

  async #sample(): Promise<Sample> {
    const { rss, heap } = await this.#subject.memory()
    const open = this.#subject.files()
    const servers = await this.#world.servers()
    const files = open - this.#crowd.doors.open.size - servers.length
    this.#files ||= files
    const words = `${files} open files besides connections; in the first lull ${this.#files}`
    assert.ok(files <= this.#files + FILES_SLACK, words)
    return { rss, heap, files: open }
  }
}

/** The values of a gauge by state. */
function states(samples: Samples, name: string): Record<string, number> {
  const pattern = new RegExp(`^${name}\\{state="(\\w+)"\\}$`)
  const pairs = [...samples].map(([sample, value]) => [pattern.exec(sample)?.[1] ?? '', value] as const)
  return Object.fromEntries(pairs.filter(([state]) => state !== ''))
}

/** Settings and leftovers of a session, by name. */
async function found(client: WireClient): Promise<Map<string, string | null>> {
  const { rows, error } = await client.query(
    `select name, setting from pg_settings where context in ('user', 'superuser', 'backend')
     union all select 'role now', current_user::text
     union all select 'channels', count(*)::text from pg_listening_channels()
     union all select 'advisory locks', count(*)::text from pg_locks
       where locktype = 'advisory' and pid = pg_backend_pid()
     union all select 'temporary tables', count(*)::text from pg_class
       where relnamespace = pg_my_temp_schema()
     union all select 'statements', count(*)::text from pg_prepared_statements
       where name not like 'pgmux\\_%' or from_sql
     union all select 'slept', pg_sleep(${HELD_S})::text`,
  )
  assert.equal(error, null, error?.message)
  return new Map(rows.map(([name, value]) => [name as string, value as string | null]))
}

function differences(expected: Map<string, string | null>, seen: Map<string, string | null>): string[] {
  const names = new Set([...expected.keys(), ...seen.keys()])
  return [...names]
    .filter((name) => !OWN_SETTINGS.includes(name) && expected.get(name) !== seen.get(name))
    .map((name) => `${name} is ${seen.get(name)} instead of ${expected.get(name)}`)
}
