// The admin port of a running pooler: numbers that are those of what was done, and the truth about readiness.
// Must never read the pooler's own fields for what the port can tell.
import assert from 'node:assert/strict'
import { after, suite, test } from 'node:test'
import { direct, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { until } from '../support/waits.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const ADMIN: Overrides = { admin: { host: '127.0.0.1', port: 0 } }

interface Admin {
  test: TestPooler
  get(path: string, method?: string): Promise<{ status: number; body: string }>
  /** Samples by name with labels, as they stand in the text. */
  metrics(): Promise<Map<string, number>>
}

async function startAdmin(overrides: Overrides = {}): Promise<Admin> {
  const pooler = await startPooler(postgres.url, { ...ADMIN, ...overrides })
  after(() => pooler.stop())
  const port = pooler.pooler.addresses.admin?.port
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
    return { status: response.status, body: await response.text() }
  }
  return { test: pooler, get, metrics: async () => samples((await get('/metrics')).body) }
}

function samples(text: string): Map<string, number> {
  const found = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const space = line.lastIndexOf(' ')
    found.set(line.slice(0, space), Number(line.slice(space + 1)))
  }
  return found
}

function counters(all: Map<string, number>): [string, number][] {
  return [...all].filter(([name]) => /^pgmux_.*_(total|count|bucket|sum)(\{|$)/.test(name))
}

suite('admin port', () => {
  test('counts what was done, exactly', async () => {
    const admin = await startAdmin({ pool: { size: 2 } })
    const connect = () => WireClient.connect(through(admin.test, postgres))
    const before = await admin.metrics()
    const clients = await Promise.all([connect(), connect(), connect()])
    const [one] = clients
    assert.ok(one !== undefined)
    const sent = [m.query('select 1'), m.query('begin'), m.query('select 2'), m.query('commit')]
    const received = one.bytesReceived
    for (const bytes of sent) await one.run(bytes)
    const parsed = [m.parse('select 3', { name: 'a' }), m.bind({ statement: 'a' }), m.execute(), m.sync()]
    await one.run(...parsed)
    const answered = one.bytesReceived - received
    const grown = growth(before, await admin.metrics())
    assert.equal(grown('pgmux_client_logins_total'), 3)
    assert.equal(grown('pgmux_exchanges_total'), 5)
    assert.equal(grown('pgmux_transactions_total'), 3)
    assert.equal(
      grown('pgmux_bytes_total{direction="from_clients"}'),
      Buffer.concat([...sent, ...parsed]).length,
    )
    assert.equal(grown('pgmux_bytes_total{direction="to_clients"}'), answered)
    assert.ok(grown('pgmux_bytes_total{direction="from_servers"}') >= answered)
    assert.ok(grown('pgmux_bytes_total{direction="to_servers"}') > 0)
    assert.equal(grown('pgmux_parses_total{side="from_clients"}'), 1)
    assert.equal(grown('pgmux_parses_total{side="to_servers"}'), 1)
    const backends = await serversOf()
    assert.equal(grown('pgmux_server_opens_total'), backends)
    assert.equal(grown('pgmux_server_open_failures_total'), 0)
    await Promise.all(clients.map((client) => client.end()))
  })

  test('a statement that the server has already is parsed for the client only', async () => {
    const admin = await startAdmin({ pool: { size: 1 } })
    const before = await admin.metrics()
    for (let round = 0; round < 5; round++) {
      await using client = await WireClient.connect(through(admin.test, postgres))
      await client.run(
        m.parse('select 4', { name: 'same' }),
        m.bind({ statement: 'same' }),
        m.execute(),
        m.sync(),
      )
    }
    const grown = growth(before, await admin.metrics())
    assert.equal(grown('pgmux_parses_total{side="from_clients"}'), 5)
    assert.equal(grown('pgmux_parses_total{side="to_servers"}'), 1)
  })

  test('shows who is there and who waits', async () => {
    const admin = await startAdmin({ pool: { size: 1 } })
    const connect = () => WireClient.connect(through(admin.test, postgres))
    const [holder, waiter, idler] = await Promise.all([connect(), connect(), connect()])
    assert.ok(holder !== undefined && waiter !== undefined && idler !== undefined)
    await holder.query('begin')
    waiter.send(m.query('select 1'))
    const shown = async () => {
      const now = await admin.metrics()
      const clients = ['active', 'waiting', 'idle', 'login'].map((state) =>
        now.get(`pgmux_clients{state="${state}"}`),
      )
      return [...clients, now.get('pgmux_client_waiting'), now.get('pgmux_servers{state="active"}')].join()
    }
    await until(
      async () => (await shown()) === '1,1,1,0,1,1',
      () => 'not one active, one waiting, one idle',
    )
    await holder.query('commit')
    await waiter.until()
    const now = await admin.metrics()
    assert.equal(now.get('pgmux_wait_seconds_count'), 1, 'the one that waited')
    assert.equal(now.get('pgmux_clients{state="idle"}'), 3)
    assert.equal(now.get('pgmux_servers{state="idle"}'), 1)
    await Promise.all([holder.end(), waiter.end(), idler.end()])
    await until(
      async () => (await shown()) === '0,0,0,0,0,0',
      () => 'somebody is left',
    )
  })

  test('errors that we make are counted by SQLSTATE and reason; counters never go down', async () => {
    const admin = await startAdmin({ pool: { size: 1 } })
    let last = new Map<string, number>()
    const check = async () => {
      const now = await admin.metrics()
      for (const [name, value] of counters(last)) assert.ok((now.get(name) ?? -1) >= value, name)
      last = now
    }
    await check()
    const wrong = WireClient.connect({ ...through(admin.test, postgres), password: 'wrong' })
    await assert.rejects(wrong, /28P01/)
    await check()
    assert.equal(last.get('pgmux_errors_total{sqlstate="28P01",reason="auth_failed"}'), 1)
    const client = await WireClient.connect(through(admin.test, postgres))
    await check()
    client.send(m.query('select pg_sleep(10)'))
    // A cancel that is there before the query finds nothing to cancel.
    const running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(10)'"
    await until(
      async () => (await postgres.admin(running)).length === 1,
      () => 'the query does not run',
    )
    await client.cancel()
    await client.until()
    await client.query('select pg_terminate_backend(pg_backend_pid())')
    await check()
    assert.equal(last.get('pgmux_cancels_total'), 1)
    await client.query('select 1')
    await client.end()
    await check()
    assert.equal(last.get('pgmux_server_opens_total'), 2)
    const closed = counters(last).filter(([name]) => name.startsWith('pgmux_server_closes_total'))
    assert.equal(
      closed.reduce((sum, [, count]) => sum + count, 0),
      1,
    )
  })

  test('lives and is ready, and says why not', async (t) => {
    const admin = await startAdmin({ pool: { size: 1 }, upstream: { connectTimeoutMs: 500 } })
    assert.deepEqual(await admin.get('/healthz'), { status: 200, body: '{"ok":true}\n' })
    assert.equal((await admin.get('/readyz')).status, 200)
    assert.equal((await admin.get('/nothing')).status, 404)
    assert.equal((await admin.get('/metrics', 'POST')).status, 405)
    assert.equal((await admin.get('/metrics', 'HEAD')).body, '')
    const { control } = postgres
    if (control === null) return notRun(t, postgres.missing)
    await using client = await WireClient.connect(through(admin.test, postgres))
    await control.stopFast()
    client.send(m.query('select 1'))
    const isReady = async () => (await admin.get('/readyz')).status === 200
    await until(
      async () => !(await isReady()),
      () => 'it is still ready',
    )
    const { body } = await admin.get('/readyz')
    assert.match(body, /"ok":false,"reason":".*(connect|shutting down).*"/)
    assert.equal((await admin.get('/healthz')).status, 200, 'the process is well')
    await control.start()
    await client.until()
    await client.query('select 1')
    assert.equal(await isReady(), true)
  })

  test('a drain shows at once', async () => {
    const admin = await startAdmin({ pool: { size: 1 } })
    const client = await WireClient.connect(through(admin.test, postgres))
    await client.query('begin')
    const drained = admin.test.pooler.drain(10_000)
    const { status, body } = await admin.get('/readyz')
    assert.equal(status, 503)
    assert.match(body, /shutting down/)
    await client.query('commit')
    await drained
    await client.closed
  })

  test('nothing on it is a secret', async () => {
    const admin = await startAdmin()
    await using client = await WireClient.connect(through(admin.test, postgres))
    await client.query("select 'a secret of a client'")
    const { body } = await admin.get('/metrics')
    assert.ok(!body.includes(postgres.password) && !body.includes('secret'))
  })
})

/** What a counter has grown by; a label that was not there before stands for 0. */
function growth(before: Map<string, number>, after: Map<string, number>): (name: string) => number {
  return (name) => {
    assert.ok(after.has(name), `no ${name}`)
    return (after.get(name) ?? 0) - (before.get(name) ?? 0)
  }
}

async function serversOf(): Promise<number> {
  await using observer = await WireClient.connect(direct(postgres))
  const others = "backend_type = 'client backend' and pid <> pg_backend_pid()"
  const { rows } = await observer.query(`select count(*) from pg_stat_activity where ${others}`)
  return Number(rows[0]?.[0])
}
