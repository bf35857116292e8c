// What the dashboard shows, as its stream says it: numbers and rows that are those of what was done, an hour
// of them and no more, and an end that is told.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { mergeParts } from '../../src/admin/dashboard/picture.ts'
import { type ConsoleRig, startConsole } from '../support/console.ts'
import { DashboardClient } from '../support/dashboard.ts'
import * as m from '../support/messages.ts'
import type { Overrides } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
/** So long nothing else may have to wait. */
const HELD_MS = 5
const SERIES =
  'queries transactions errors shared logins bytes_in bytes_out cpu clients_active clients_idle ' +
  'clients_waiting servers_active servers_idle servers_other pins rss oldest_wait loop_delay query_p50 ' +
  'query_p95 query_p99 wait_p99'

async function start(overrides: Overrides = {}): Promise<{ rig: ConsoleRig; page: DashboardClient }> {
  const rig = await startConsole(postgres, { ...overrides, admin: { host: '127.0.0.1', port: 0 } })
  const port = rig.test.pooler.addresses.admin?.port ?? 0
  return { rig, page: new DashboardClient(port) }
}

suite('the stream', () => {
  test('begins with what there is, and goes on with what is done', async () => {
    const { rig, page } = await start({ pool: { size: 3 } })
    const events = await page.watch()
    const history = await events.next('history')
    assert.equal(history.step, 2000)
    assert.deepEqual(Object.keys(history.series), SERIES.split(' '))
    const first = await events.next('now')
    assert.equal(first.state, 'active')
    assert.equal(first.workers, 1)
    assert.deepEqual(first.pools, [])
    await using client = await rig.client()
    await client.query('begin')
    await client.query('create temp table t (n int)')
    await client.query('commit')
    const { user, database } = postgres
    const now = await events.next('now', ({ values, pins }) => values.queries > 0 && pins.length > 0)
    assert.ok(now.values.query_p99 > 0, 'it took some time')
    assert.ok(now.values.bytes_in > 0 && now.values.bytes_out > 0 && now.values.rss > 1e6)
    const [pool] = now.pools
    assert.equal(`${pool.database} ${pool.user} ${pool.size}`, `${database} ${user} 3`)
    const [pin] = now.pins
    assert.equal(`${pin.reason} ${pin.statement}`, 'temp create temp table t (n int)')
    const texts = now.statements.frequent.map(({ statement }: { statement: string }) => statement)
    assert.ok(texts.includes('create temp table t (n int)'), texts.join('\n'))
    const [host] = now.hosts
    assert.equal(`${host.database} ${host.state}`, `${database} up`)
    const sample = await events.next('sample', ({ values }) => values.clients_active === 1)
    assert.equal(sample.values.pins, 1)
    assert.deepEqual(Object.keys(sample.values), SERIES.split(' '))
    const later = await (await page.watch()).next('history')
    assert.equal(later.series.pins?.at(-1), 1, 'whoever comes now sees what was')
    assert.ok(Math.abs(later.end - sample.at) < 10)
  })

  test('says why clients wait, and who is in the way', async () => {
    const { rig, page } = await start({ pool: { size: 1 } })
    const [holder, waiter, other] = await Promise.all([
      rig.client({ params: { application_name: 'the holder' } }),
      rig.client(),
      rig.client(),
    ])
    await holder.query('begin')
    await holder.query('select 7 as seven')
    for (const one of [waiter, other]) one.send(m.query('select 1'))
    const events = await page.watch()
    const { causes, values } = await events.next('now', ({ causes: [cause] }) => cause?.clients === 2)
    assert.equal(values.clients_waiting, 2)
    const [{ reason, advice, holder: found, cause }] = causes
    assert.equal(causes.length, 1, 'one row for all that wait for the same')
    assert.equal(reason, 'pool_full')
    assert.match(cause, /all 1 servers of the pool are in use: 1 idle in transaction/)
    assert.ok(found !== null)
    assert.equal(found.state, 'idle in transaction')
    assert.equal(found.statement, 'select ? as seven')
    assert.equal(found.application_name, 'the holder')
    assert.match(advice, new RegExp(`KILL_CLIENT ${found.id};`))
    await holder.query('commit')
    await Promise.all([waiter.until(), other.until()])
    const after = await events.next('now', ({ causes: [still] }) => still === undefined)
    assert.equal(after.values.clients_waiting, 0)
    await Promise.all([holder, waiter, other].map((client) => client.end()))
  })

  test('shows errors and hosts that are down', async () => {
    const { rig, page } = await start({ upstream: { port: 1, connectTimeoutMs: 300 } })
    const failing = rig.client()
    const events = await page.watch()
    await assert.rejects(failing)
    const now = await events.next('now', ({ errors, hosts: [host] }) => errors[0] && host?.state === 'down')
    assert.match(now.hosts[0].last_error ?? '', /connect/)
    assert.ok(now.errors[0].count >= 1 && Math.abs(now.errors[0].last_at - Date.now()) < 10_000)
    assert.equal(now.recent[0].user, postgres.user)
  })

  test('ends with a word when the pooler does, and so do those who do not listen', async () => {
    const { rig, page } = await start()
    const [events, deaf] = await Promise.all([page.watch(), page.watch()])
    await events.next('now')
    deaf.stall()
    await rig.test.pooler.drain(0)
    assert.match((await events.next('bye')).reason, /stopped/)
    await events.end()
    await assert.rejects(page.ask('/dashboard/me'), /ECONNREFUSED|ECONNRESET/)
  })

  test('what is named maliciously is data and nothing else', async () => {
    const { rig, page } = await start({ pool: { size: 1 } })
    const evil = '</script><script>alert(1)</script>\u2028"\'\\'
    await using client = await rig.client({ params: { application_name: evil } })
    await client.query('begin')
    await client.query(`select 1 as "event: bye\ndata: {}\n\n<b>"`)
    await using waiter = await rig.client()
    waiter.send(m.query('select 1'))
    const events = await page.watch()
    const { causes } = await events.next('now', ({ causes: [cause] }) => cause !== undefined)
    assert.match(causes[0].holder?.statement ?? '', /event: bye/)
    assert.match(causes[0].holder?.application_name ?? '', /script.alert/)
    assert.ok(!events.all.some(({ event }) => event === 'bye'))
    await client.query('rollback')
    await waiter.until()
  })
})

test('the picture of 200 pools holds nobody up', async () => {
  const { rig } = await start()
  const { router, desk } = rig.test.pooler
  for (let n = 0; n < 200; n++) router.get(`${postgres.database}`, `user ${n}`)
  const held: number[] = []
  for (let round = 0; round < 10; round++) {
    const from = performance.now()
    const { pools } = mergeParts(desk.parts())
    desk.readings('now')
    held.push(performance.now() - from)
    assert.equal(pools.length, 200)
  }
  // The first ones are compiled; of the others other work of this machine may be in one.
  assert.ok(Math.min(...held) < HELD_MS, held.map((ms) => ms.toFixed(1)).join(' '))
})

suite('the log', () => {
  test('begins with the last lines and goes on, each line once', async () => {
    const { rig, page } = await start()
    const wrong = () => assert.rejects(rig.client({ password: 'wrong' }))
    await wrong()
    const events = await page.watch()
    const [{ lines }, early] = [await events.next('log'), 'client refused']
    const first = lines.filter(({ message }) => message === early)
    assert.equal(first.length, 1)
    const [line] = first
    assert.equal(`${line?.level} ${line?.fields.user} ${line?.fields.code}`, `info ${postgres.user} 28P01`)
    assert.ok(Math.abs((line?.at ?? 0) - Date.now()) < 10_000)
    await wrong()
    await events.next('log', ({ lines: [next] }) => next?.message === early)
    // Somebody who comes right behind a line reads it once as well.
    rig.test.pooler.pause()
    const late = await page.watch()
    await late.next('log')
    rig.test.pooler.resume()
    await late.next('log', ({ lines: more }) => more.some(({ message }) => message === 'resumed'))
    const all = late.all.flatMap(({ event, data }) => (event === 'log' ? data.lines : []))
    const times = (message: string) => all.filter((one) => one.message === message).length
    assert.deepEqual(['paused: clients wait', 'resumed', early].map(times), [1, 1, 2])
  })
})

suite('files', () => {
  test('are those of the page and no others', async () => {
    const { page } = await start()
    const index = await page.ask('/')
    assert.equal(index.status, 200)
    assert.match(String(index.headers['content-security-policy']), /default-src 'none'; script-src 'self'/)
    assert.doesNotMatch(
      index.body,
      /<script(?!( type="module")? src=)|style=|https?:/,
      'nothing inline or foreign',
    )
    const named = [...index.body.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, path]) => `/${path}`)
    assert.ok(named.length > 5, 'they are named from where the page is')
    for (const path of [...named, '/dashboard/uplot.js', '/dashboard/uplot.css']) {
      const found = await page.ask(path)
      assert.equal(found.status, 200, path)
      assert.match(found.headers['content-type'] ?? '', /^(text\/(javascript|css)|image\/svg)/, path)
      const again = await page.ask(path, { headers: { 'if-none-match': String(found.headers.etag) } })
      assert.deepEqual([again.status, again.body], [304, ''], path)
      const head = await page.ask(path, { method: 'HEAD' })
      assert.deepEqual([head.status, head.body], [200, ''])
    }
    for (const path of ['../package.json', '..%2fport.ts', 'index.html', 'constructor', '', 'uplot/dist'])
      assert.equal((await page.ask(`/dashboard/${path}`)).status, 404, path)
  })
})
