// An application with many tenants: row-level security by a setting of the session or of the transaction, and
// far more clients than servers. Nobody ever gets a row of another tenant, everybody gets each of its own.
// A million statements with LONG=1 (npm run test:long).
import assert from 'node:assert/strict'
import { after, suite, test } from 'node:test'
import * as m from '../support/messages.ts'
import { CHOPS } from '../support/pooler.ts'
import { startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { type Result, WireClient } from '../support/wire-client.ts'

const CLIENTS = CHOPS ? 20 : 500
const TENANTS = 50
const SERVERS = 8
const STATEMENTS = process.env.LONG === '1' ? 1_000_000 : CHOPS ? 2000 : 10_000
const PASSWORD = 'of the application'
/** Rows of tenant n: n of them, so that a mistake shows in their number, too. */
const MINE = "select tenant, current_setting('app.tenant', true) from papers"
const WRITE =
  "insert into notes (tenant) values (nullif(current_setting('app.tenant'), '')::int) returning tenant"
const THEIRS = 'insert into notes (tenant) values (0)'

const postgres = await getPostgres()

const SCHEMA = [
  'create table papers (tenant int, n int)',
  'create table notes (tenant int)',
  `insert into papers select t, i from generate_series(1, ${TENANTS}) t, generate_series(1, t) i`,
  `create role application login password '${PASSWORD}'`,
  'grant select, insert on papers, notes to application',
  ...['papers', 'notes'].flatMap((name) => [
    `alter table ${name} enable row level security`,
    `create policy own on ${name} using (tenant = nullif(current_setting('app.tenant', true), '')::int)`,
  ]),
]

/** What all clients together have done. */
const done = { statements: 0, written: new Map<number, number>() }

class Application {
  readonly #client: WireClient
  readonly #random: Prng
  /** Of its session; 0: none. */
  #own = 0

  constructor(client: WireClient, random: Prng) {
    this.#client = client
    this.#random = random
  }

  async start(): Promise<void> {
    await this.#run(this.#client.run(m.parse(MINE, { name: 'mine' }), m.sync()))
    // Some have no tenant but in transactions.
    if (this.#random.chance(0.7)) await this.#setOwn()
  }

  async act(): Promise<void> {
    const random = this.#random
    switch (random.below(12)) {
      case 0:
        return this.#setOwn()
      case 1:
        await this.#ask('reset app.tenant')
        this.#own = 0
        return
      case 2:
        return this.#write(this.#own)
      case 3:
      case 4:
        return this.#local()
      case 5:
        return this.#inTransaction()
      default:
        return this.#look(this.#own)
    }
  }

  async #setOwn(): Promise<void> {
    const tenant = this.#random.between(1, TENANTS)
    const ways = [
      () => this.#ask(`set app.tenant = '${tenant}'`),
      () => this.#ask(`set session app.tenant to ${tenant}`),
      () => this.#run(this.#client.extended("select set_config('app.tenant', $1, false)", [String(tenant)])),
    ]
    await this.#random.pick(ways)()
    this.#own = tenant
  }

  /** The tenant of a transaction, which ends either way. */
  async #local(): Promise<void> {
    const tenant = this.#random.between(1, TENANTS)
    await this.#ask('begin')
    if (this.#random.chance(0.3)) await this.#look(this.#own)
    await this.#ask(`set local app.tenant = '${tenant}'`)
    await this.#look(tenant)
    const commits = this.#random.chance(0.7)
    if (commits && this.#random.chance(0.5)) await this.#write(tenant)
    await this.#ask(commits ? 'commit' : 'rollback')
    await this.#look(this.#own)
  }

  /** The tenant of the session, set inside a transaction, kept or taken back. */
  async #inTransaction(): Promise<void> {
    const [first, second] = [this.#random.between(1, TENANTS), this.#random.between(1, TENANTS)]
    await this.#ask('begin')
    await this.#ask(`set app.tenant = '${first}'`)
    await this.#ask('savepoint here')
    await this.#ask(`set app.tenant = '${second}'`)
    await this.#look(second)
    await this.#ask('rollback to here')
    await this.#look(first)
    const commits = this.#random.chance(0.5)
    await this.#ask(commits ? 'commit' : 'rollback')
    if (commits) this.#own = first
    await this.#look(this.#own)
  }

  /** All rows of this tenant and no other. */
  async #look(tenant: number): Promise<void> {
    const asked = this.#random.chance(0.4)
      ? this.#client.run(m.bind({ statement: 'mine' }), m.execute(), m.sync())
      : this.#client.query(MINE)
    const { rows } = await this.#run(asked)
    assert.equal(rows.length, tenant, `rows of tenant ${tenant}: ${JSON.stringify(rows)}`)
    for (const row of rows) assert.deepEqual(row, [String(tenant), String(tenant)])
  }

  async #write(tenant: number): Promise<void> {
    // Not even a statement that is refused goes through as somebody else.
    if (tenant === 0) return this.#refused()
    const { rows } = await this.#ask(WRITE)
    assert.deepEqual(rows, [[String(tenant)]])
    done.written.set(tenant, (done.written.get(tenant) ?? 0) + 1)
  }

  async #refused(): Promise<void> {
    const { error } = await this.#client.query(THEIRS)
    assert.equal(error?.code, '42501')
    done.statements++
  }

  #ask(sql: string): Promise<Result> {
    return this.#run(this.#client.query(sql))
  }

  async #run(asked: Promise<Result>): Promise<Result> {
    const result = await asked
    assert.equal(result.error, null)
    this.#client.received.length = 0
    done.statements++
    return result
  }
}

suite('tenants', () => {
  test(`${STATEMENTS} statements of ${CLIENTS} clients on ${SERVERS} servers`, async (t) => {
    for (const sql of SCHEMA) await postgres.admin(sql)
    const url = new URL(postgres.url)
    url.username = 'application'
    url.password = PASSWORD
    const pooler = await startPoolerProcess(url.href, { pool: { size: SERVERS } })
    after(() => pooler.stop())
    const random = new Prng(Number(process.env.SEED || 50))
    const { host, port } = pooler
    const login = { host, port, user: 'application', password: PASSWORD, database: postgres.database }
    const from = performance.now()
    await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        const own = random.fork()
        await using client = await WireClient.connect({ ...login, timeout: 60_000 })
        const application = new Application(client, own)
        await application.start()
        while (done.statements < STATEMENTS) await application.act()
        await client.end()
      }),
    )
    const rate = (done.statements / (performance.now() - from)) * 1000
    t.diagnostic(`${done.statements} statements, ${Math.round(rate)} a second`)
    const kept = await postgres.admin('select tenant, count(*)::int as n from notes group by 1 order by 1')
    const written = [...done.written].sort(([a], [b]) => a - b)
    assert.deepEqual(
      kept.map(({ tenant, n }) => [tenant, n]),
      written,
    )
    assert.equal(written.length, TENANTS)
  })
})
