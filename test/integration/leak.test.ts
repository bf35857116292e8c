// Proof that nothing of one client reaches another: many clients on few servers, all with the same statement
// names, vanishing at any byte. Each answer must carry its client's number and a nonce. Must never repair an
// answer before it is compared.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Application, PLAIN_ACTS } from '../support/applications.ts'
import { assertLedger, CREATE_LEDGER, READ_LEDGER } from '../support/ledger.ts'
import { CHOPS, startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'

// Single bytes take their time.
const CLIENTS = CHOPS ? 40 : 200
const POOL = 5
const EXCHANGES = CHOPS ? 2000 : 10_000
const SEED = 20_260

const postgres = await getPostgres({ settings: { max_connections: '40' } })
await postgres.admin(CREATE_LEDGER)
const pooler = await startPooler(postgres.url, {
  client: { auth: 'trust', abandonGraceMs: 200 },
  pool: { size: POOL, maxPreparedStatements: 20 },
})

after(() => pooler.stop())

const { host, port } = pooler
const { user, database } = postgres
const target = { host, port, user, database, timeout: 15_000 }

/** Resolves when the pooler has nothing left to do for clients that have gone. */
async function quiet(): Promise<void> {
  const deadline = performance.now() + 20_000
  for (;;) {
    const { clients, servers } = pooler.pooler.gauges()
    const busy = servers.active + servers.opening + servers.testing
    if (clients.active + clients.idle + clients.waiting + clients.login + busy === 0) return
    assert.ok(performance.now() < deadline, `still there: ${JSON.stringify({ clients, servers })}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function run(apps: readonly Application[], exchanges: number): Promise<void> {
  const total = () => apps.reduce((sum, app) => sum + app.exchanges, 0)
  const work = async (app: Application) => {
    while (total() < exchanges) await app.step()
    await app.forget()
  }
  await Promise.all(apps.map(work))
}

test('ten thousand exchanges of vanishing clients: every answer is its own client’s', async () => {
  const seeds = new Prng(SEED)
  const apps = Array.from({ length: CLIENTS }, (_, number) => new Application(number, seeds.fork(), target))
  await run(apps, EXCHANGES)
  await quiet()
  const sum = (of: (app: Application) => number) => apps.reduce((total, app) => total + of(app), 0)
  assert.ok(sum((app) => app.vanished) > CLIENTS, 'many clients have vanished')
  const { totals } = await metrics()
  assert.equal(
    totals('pgmux_client_logins_total'),
    sum((app) => app.logins),
  )
  assert.deepEqual(
    pooler.lines.filter(({ level }) => level === 'error'),
    [],
  )
  assert.deepEqual(
    pooler.lines.filter(({ message }) => message.startsWith('Postgres sent')),
    [],
  )
  assertLedger(apps, await postgres.admin(READ_LEDGER))
  await checkServers()
})

/** No transaction, no lock, no listener is left on a server, and there are no more than the pool may have. */
async function checkServers(): Promise<void> {
  const others = "backend_type = 'client backend' and pid <> pg_backend_pid()"
  const servers = await postgres.admin(
    `select state, xact_start is null as free, pid from pg_stat_activity where ${others}`,
  )
  assert.ok(servers.length <= POOL, `${servers.length} servers`)
  for (const { state, free } of servers) assert.deepEqual({ state, free }, { state: 'idle', free: true })
  const locks = await postgres.admin('select count(*)::int as n from pg_locks where pid <> pg_backend_pid()')
  assert.deepEqual(locks, [{ n: 0 }])
  const listed = [...pooler.pooler.router.entries()].flatMap(({ pool }) => [...pool.idle])
  assert.equal(listed.length, servers.length, 'our list of servers is that of Postgres')
}

async function metrics(): Promise<{ totals(name: string): number }> {
  const text = await pooler.pooler.metrics()
  return {
    totals(name) {
      const line = text.split('\n').find((one) => one.startsWith(`${name} `))
      assert.ok(line !== undefined, `no ${name}`)
      return Number(line.slice(name.length + 1))
    },
  }
}

test('afterwards the counters count exactly what is done', async () => {
  const before = await metrics()
  const app = new Application(CLIENTS, new Prng(SEED + 1), target)
  for (const act of PLAIN_ACTS) {
    await act(app, await app.client())
  }
  await app.forget()
  await quiet()
  const after = await metrics()
  const grown = (name: string) => after.totals(name) - before.totals(name)
  assert.equal(grown('pgmux_client_logins_total'), 1)
  assert.equal(grown('pgmux_exchanges_total'), app.exchanges)
  assert.equal(grown('pgmux_transactions_total'), app.exchanges)
})
