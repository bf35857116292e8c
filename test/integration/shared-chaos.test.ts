// Everything at once on shared servers: reads that carry their client's number, writes that carry a key,
// transactions, servers that are terminated, cancels, departures. No answer is wrong, no write is done twice,
// no read is lost that did not run, and all is as it was when it is over. 45 s in bursts, so that other tests
// get something of the machine; LONG=1: ten minutes without a pause.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { Prng } from '../support/prng.ts'
import { SharingRig } from '../support/sharing.ts'
import type { Result, WireClient } from '../support/wire-client.ts'

const LONG = process.env.LONG === '1'
const RUN_MS = LONG ? 600_000 : 45_000
/** Of so many ms the clients work for so many. */
const PERIOD_MS = 1500
const BURST_MS = LONG ? PERIOD_MS : 120
const CLIENTS = 300
const SERVERS = 8
/** What a client may be told when its server is terminated, or its request is cancelled. */
const EXCUSED = new Set(['57P01', '08006', '08007', '57014'])

/** What the clients of the test and a pooler that is warm may keep, and one key that is remembered. */
const LEFT_MAX = 16 * 1024 * 1024
const KEY_BYTES = 400

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const postgres = await getPostgres()
await postgres.admin('create table ledger (key text)')
await postgres.admin('create table numbers (id int primary key, text text)')
await postgres.admin("insert into numbers select n, 'text ' || n from generate_series(0, 999) n")

/** What happened, for the end. */
class Tally {
  readonly acknowledged = new Set<string>()
  readonly doubtful = new Set<string>()
  readonly wrong: string[] = []
  reads = 0
  excused = 0
  replaced = 0
}

/** Resolves at once in a burst, else at the beginning of the next one, for all at the same time. */
function burst(): Promise<unknown> | null {
  const passed = performance.now() % PERIOD_MS
  return passed < BURST_MS ? null : pause(PERIOD_MS - passed)
}

function heapInUse(): number {
  collect()
  return process.memoryUsage().heapUsed
}

class Actor {
  readonly #sharing: SharingRig
  readonly #tally: Tally
  readonly #number: number
  readonly #chance: Prng
  #client: WireClient | null = null
  #count = 0

  constructor(sharing: SharingRig, tally: Tally, number: number) {
    this.#sharing = sharing
    this.#tally = tally
    this.#number = number
    this.#chance = new Prng(number + 1)
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await burst()
      this.#client ??= await this.#connect()
      try {
        await this.#act(this.#client)
      } catch (error) {
        // Inside a transaction, or by its own wish.
        if (!/the server ended|is closed|ECONNRESET/.test((error as Error).message)) throw error
        this.#tally.replaced++
        this.#client = null
      }
    }
    await this.#client?.end()
  }

  async #connect(): Promise<WireClient> {
    const client = await this.#sharing.client()
    const parse = m.parse('select id, text from numbers where id = $1', { name: 's' })
    for (;;) {
      const { error } = await client.run(parse, m.sync())
      // Its server may be terminated before Postgres has parsed it, or behind that.
      if (error === null || error.code === '42P05') return client
      this.#excuse(error.code, 'a Parse')
    }
  }

  async #act(client: WireClient): Promise<void> {
    const dice = this.#chance.next()
    if (dice < 0.02) {
      client.send(m.query(`select ${this.#number} as chaos`))
      client.destroy()
      this.#client = null
    } else if (dice < 0.05) await this.#write(client)
    else if (dice < 0.07) await this.#transact(client)
    else await this.#read(client, dice)
  }

  async #read(client: WireClient, dice: number): Promise<void> {
    const id = (this.#number * 3 + this.#count++) % 1000
    const answer = this.#ask(client, id)
    const cancel = dice > 0.995 ? client.cancel() : null
    const { rows, error, status } = await answer
    await cancel
    this.#tally.reads++
    if (error !== null) this.#excuse(error.code, `read ${id}`)
    else if (rows.length !== 1 || rows[0]?.[0] !== `${id}` || status !== 'I')
      this.#tally.wrong.push(`client ${this.#number} asked for ${id}: ${JSON.stringify(rows)} ${status}`)
  }

  #ask(client: WireClient, id: number): Promise<Result> {
    const way = this.#chance.next()
    if (way < 0.3) return client.query(`select id, text from numbers where id = ${id}`)
    if (way < 0.5) return client.query(`select ${id} as chaos`)
    if (way < 0.7) return client.extended('select id from numbers where id = $1', [`${id}`])
    return client.run(m.bind({ statement: 's', params: [`${id}`] }), m.execute(), m.sync())
  }

  async #write(client: WireClient): Promise<void> {
    const key = `${this.#number} ${this.#count++}`
    this.#tally.doubtful.add(key)
    const { error, tag } = await client.query(`insert into ledger values ('${key}')`)
    if (error !== null) this.#excuse(error.code, `write ${key}`)
    else if (tag === 'INSERT 0 1') this.#tally.acknowledged.add(key)
    else this.#tally.wrong.push(`write ${key}: ${tag}`)
  }

  async #transact(client: WireClient): Promise<void> {
    const id = this.#number
    const results = []
    for (const sql of ['begin', `select id from numbers where id = ${id}`, 'commit'])
      results.push(await client.query(sql))
    const [, read] = results
    if (read?.error !== null) this.#excuse(read?.error?.code, 'a transaction')
    else if (read.rows[0]?.[0] !== `${id}`) this.#tally.wrong.push(`transaction of ${id}: ${read.rows}`)
  }

  #excuse(code: string | undefined, what: string): void {
    if (code !== undefined && EXCUSED.has(code)) this.#tally.excused++
    else this.#tally.wrong.push(`${what}: ${code}`)
  }
}

suite('chaos on shared servers', () => {
  test(`${CLIENTS} clients, ${RUN_MS / 1000} s`, { timeout: RUN_MS + 40_000 }, async (t) => {
    const sharing = await SharingRig.start(postgres, SERVERS)
    const tally = new Tally()
    const end = performance.now() + RUN_MS
    const isOver = () => performance.now() > end
    const heapBefore = heapInUse()
    const actors = Array.from({ length: CLIENTS }, (_, at) => new Actor(sharing, tally, at).run(isOver))
    const kill = async () => {
      while (!isOver()) {
        await burst()
        await pause(LONG ? 200 : 40)
        await sharing.rig.see(`select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and application_name = ''
          order by random() limit 1`)
      }
    }
    await Promise.all([...actors, kill()])
    t.diagnostic(
      `${tally.reads} reads, ${sharing.shared} shared, ${tally.acknowledged.size} writes, ` +
        `${tally.excused} excused, ${tally.replaced} connections lost, ` +
        `${sharing.sentAgain('server_lost')} sent again for lost servers`,
    )
    assert.deepEqual(tally.wrong.slice(0, 20), [])
    const rows = await postgres.admin('select key, count(*)::int as times from ledger group by key')
    const times = new Map(rows.map(({ key, times: count }) => [String(key), Number(count)]))
    for (const key of tally.acknowledged) assert.equal(times.get(key), 1, `acknowledged ${key}`)
    for (const [key, count] of times) {
      assert.equal(count, 1, `${key} was written ${count} times`)
      assert.ok(tally.doubtful.has(key), key)
    }
    assert.ok(sharing.shared > tally.reads / 4, `${sharing.shared} of ${tally.reads} shared`)
    await sharing.quiet()
    await eventually(() => sharing.rig.test.pooler.gauges().clients.active === 0)
    assert.equal(sharing.entry.clients, SERVERS)
    assert.equal(sharing.entry.counters.leaks, 0)
    assert.ok(sharing.entry.pool.size <= SERVERS)
    const left = heapInUse() - heapBefore - KEY_BYTES * tally.doubtful.size
    t.diagnostic(`${left} bytes more than before`)
    assert.ok(left < LEFT_MAX, `${left} bytes more than before`)
  })
})
