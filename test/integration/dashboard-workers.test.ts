// The dashboard of several workers: numbers, rows and log of all of them, commands for all of them, and one
// that is gone makes no hole.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TestCrew, workerOf } from '../support/crew.ts'
import { DashboardClient } from '../support/dashboard.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { user, password } = postgres

/** As the admin. */
async function loggedIn(crew: TestCrew): Promise<DashboardClient> {
  const page = new DashboardClient(crew.adminPort)
  const answer = await page.post('/dashboard/login', { user, password })
  assert.equal(answer.status, 200, answer.body)
  page.cookie = String(answer.headers['set-cookie']?.[0]).split(';')[0] ?? ''
  return page
}

/** Clients of both workers, as many of each. */
async function spread(crew: TestCrew, count: number): Promise<[WireClient[], WireClient[]]> {
  const clients = await crew.clients(2 * count)
  const halves = [0, 1].map((number) => clients.filter(({ pid }) => workerOf(pid, 2) === number))
  const [one = [], other = []] = halves
  assert.equal(one.length, count, 'connections are given out evenly')
  return [one, other]
}

/** Resolves when nothing is done for this client. */
function idOf(page: DashboardClient, name: string): Promise<string> {
  return eventually(async () => {
    const answer = await page.ask(`/dashboard/show?command=CLIENTS&application_name=${name}&state=idle`)
    const { columns, rows } = answer.json<{ columns: { name: string }[]; rows: unknown[][] }>()
    assert.equal(rows.length, 1)
    return String(rows[0]?.[columns.findIndex(({ name: column }) => column === 'id')])
  })
}

describe('of two workers', async () => {
  const crew = await TestCrew.start(postgres, { config: { pool: { size: 1 } } })
  const page = await loggedIn(crew)

  it('numbers and rows are those of both', async () => {
    const events = await page.watch()
    assert.equal((await events.next('now')).workers, 2)
    const [ones, others] = await spread(crew, 2)
    const all = [...ones, ...others]
    for (let i = 0; i < 8; i++) {
      for (const client of ones) await client.query('select 11 as eleven')
      for (const client of others) await client.query('select 12 as twelve')
    }
    const now = await events.next('now', ({ statements }) => {
      const texts = statements.frequent.map(({ statement }) => statement)
      return texts.includes('select ? as eleven') && texts.includes('select ? as twelve')
    })
    const [pool] = now.pools
    assert.equal(now.pools.length, 1, 'one row for both')
    assert.ok(pool !== undefined)
    assert.equal(pool.clients_idle + pool.clients_active + pool.clients_waiting, 4)
    const sample = await events.next('sample', ({ values }) => values.clients_idle === 4)
    assert.ok((sample.values.rss ?? 0) > 100e6, 'three processes')
    await Promise.all(all.map((client) => client.end()))
  })

  it('who waits in one is told who is in the way in the other', async () => {
    const [[holder], [waiter]] = await spread(crew, 1)
    assert.ok(holder !== undefined && waiter !== undefined)
    await holder.query("set application_name = 'the holder'")
    await holder.query('begin')
    waiter.send(m.query('select 1'))
    const events = await page.watch()
    const { causes } = await events.next('now', ({ causes: [cause] }) => cause?.reason === 'pool_full')
    assert.equal(causes.length, 1)
    assert.equal(causes[0]?.holder?.application_name, 'the holder')
    assert.equal(causes[0]?.holder?.state, 'idle in transaction')
    assert.match(causes[0]?.cause ?? '', /all 1 servers of the pool are in use: 1 idle in transaction/)
    await holder.query('commit')
    await waiter.until()
    await Promise.all([holder, waiter].map((client) => client.end()))
  })

  it('commands reach all, and the one that has the client', async () => {
    const act = async (command: string, argument = '') => {
      const { status, body } = await page.post('/dashboard/act', { command, argument })
      return `${status} ${JSON.parse(body).error ?? ''}`.trim()
    }
    const [[one], [other]] = await spread(crew, 1)
    assert.ok(one !== undefined && other !== undefined)
    assert.equal(await act('PAUSE'), '200')
    const events = await page.watch()
    await events.next('now', ({ state }) => state === 'paused')
    assert.equal(await act('PAUSE'), '409 already suspended/paused')
    assert.equal(await act('RESUME'), '200')
    for (const [client, name] of [
      [one, 'one'],
      [other, 'other'],
    ] as const) {
      await client.query(`set application_name = '${name}'`)
      const id = await idOf(page, name)
      assert.equal(await act('CANCEL', id), '409 the client runs nothing and waits for nothing')
      client.send(m.query('select pg_sleep(60)'))
      // A cancel that is there before the query finds nothing to cancel.
      const running =
        "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
      await eventually(async () => (await postgres.admin(running)).length === 1)
      assert.equal(await act('CANCEL', id), '200')
      await client.until()
      assert.equal(await act('KILL_CLIENT', id), '200')
      await client.closed
      assert.equal(await act('KILL_CLIENT', id), '409 client not found')
    }
    crew.rewrite('pool', { size: 'many' })
    assert.match(await act('RELOAD'), /^409 RELOAD failed/)
    crew.rewrite('pool', { size: 7 })
    assert.equal(await act('RELOAD'), '200')
    const config = await page.ask('/dashboard/show?command=CONFIG&key=pool.size')
    assert.deepEqual(config.json<{ rows: unknown[][] }>().rows[0]?.slice(0, 2), ['pool.size', '7'])
    // Its log comes through a pipe.
    await eventually(() => assert.equal(crew.logged('dashboard: RELOAD')[0]?.user, user))
    await Promise.all([one, other].map((client) => client.end()))
  })

  it('the log of each is told, with its number', async () => {
    const before = crew.logged('client refused').length
    const events = await page.watch()
    await events.next('log')
    const wrong = () => assert.rejects(crew.client({ password: 'wrong' }), /28P01/)
    await Promise.all([wrong(), wrong()])
    const seen = new Set<unknown>()
    await events.next('log', ({ lines }) => {
      for (const { message, fields } of lines) if (message === 'client refused') seen.add(fields.worker)
      return seen.size === 2
    })
    const late = await page.watch()
    const { lines } = await late.next('log')
    assert.equal(lines.filter(({ message }) => message === 'client refused').length, before + 2)
  })

  it('one that is gone leaves no hole, and the end is told', async () => {
    const [[one]] = await spread(crew, 1)
    assert.ok(one !== undefined)
    for (let i = 0; i < 50; i++) await one.query('select 1')
    const events = await page.watch()
    await events.next('now')
    process.kill(crew.processOf(one), 'SIGKILL')
    await one.closed
    await eventually(() => crew.logged('a new worker takes clients').length === 1, 20_000)
    await events.next('now')
    await events.next('now', ({ workers }) => workers === 2)
    const values = events.all.flatMap(({ event, data }) => (event === 'now' ? [data.values] : []))
    for (const { queries = 0, cpu = 0 } of values) assert.ok(queries >= 0 && queries < 1000 && cpu >= 0)
    assert.equal(await crew.stop(), 0)
    await events.next('bye')
  })
})
