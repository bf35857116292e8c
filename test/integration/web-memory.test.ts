// What WebSockets cost: idle clients, strangers, a reader that stops, large parameters. The pooler has a
// process of its own, so that nothing of the test is measured.
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type Crowd, startCrowd } from '../support/crowd.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { until } from '../support/waits.ts'
import { frame, TestWebSocket } from '../support/web-socket.ts'
import { WireClient } from '../support/wire-client.ts'

const MB = 1024 * 1024
const CLIENTS = process.env.LONG === '1' ? 5000 : 2000
const WARM = 300
/** KiB for a client that has worked and is idle. */
const MOST = 24
const AT_ONCE = 50
const POOL = 10

const postgres = await getPostgres()
const { user, database } = postgres
const STARTUP = m.startup({ user, database })

suite('memory over WebSockets', () => {
  let pooler: PoolerProcess
  let healthy: Healthy

  const at = () => ({ host: pooler.host, port: pooler.port, user, database })
  const rss = async (): Promise<number> => (await pooler.memory()).rss
  const enter = async (into: Crowd, count: number, name: string | undefined): Promise<void> => {
    const door = { host: pooler.host, port: pooler.webPort, isWeb: true, count, atOnce: AT_ONCE, database }
    const told = await into.open(name === undefined ? door : { ...door, user: name })
    assert.equal(told.lost, 0)
  }
  const alone = () =>
    until(
      async () => {
        const { clients } = await pooler.gauges()
        return clients.idle + clients.active === 1 && clients.login === 0
      },
      () => 'others are still there',
    )

  before(async () => {
    pooler = await startPoolerProcess(postgres.url, {
      client: { auth: 'trust', maxConnections: 2 * CLIENTS, maxUnauthenticated: 2 * CLIENTS },
      pool: { size: POOL },
      serverless: { host: '127.0.0.1', port: 0 },
    })
    healthy = await Healthy.start({ ...at(), password: postgres.password })
    await healthy.goesOn()
    const first = startCrowd()
    await enter(first, WARM, user)
    await first.ask(m.query('select 1'))
    await first.stop()
    await alone()
  })
  after(async () => {
    await healthy.stop()
    await pooler.stop()
  })

  test(`${CLIENTS} clients with transactions on ${POOL} servers, then idle`, async (t) => {
    const base = await rss()
    const crowd = startCrowd()
    await enter(crowd, CLIENTS, user)
    for (const sql of ['select 1', 'begin; select 2; commit', "select repeat('x', 2000)"])
      assert.equal((await crowd.ask(m.query(sql), 200)).lost, 0)
    const cost = ((await rss()) - base) / CLIENTS / 1024
    t.diagnostic(`${cost.toFixed(1)} KiB each`)
    assert.ok(cost <= MOST, `${cost.toFixed(1)} KiB each`)
    await crowd.stop()
    await alone()
  })

  test(`${CLIENTS} connections that have not said anything since their upgrade`, async (t) => {
    const base = await rss()
    const sockets: TestWebSocket[] = []
    for (let count = 0; count < CLIENTS; count++)
      sockets.push(await TestWebSocket.open({ port: pooler.webPort }))
    assert.equal((await pooler.gauges()).clients.login, CLIENTS)
    await healthy.goesOn()
    const cost = ((await rss()) - base) / CLIENTS / 1024
    t.diagnostic(`${cost.toFixed(1)} KiB each`)
    assert.ok(cost <= MOST, `${cost.toFixed(1)} KiB each`)
    for (const socket of sockets) socket.destroy()
    await alone()
  })

  test('40 MiB before the login are not kept', async () => {
    const base = await rss()
    const socket = await TestWebSocket.open({ port: pooler.webPort })
    // A stranger: the database does not exist, so the login fails when Postgres is asked.
    const startup = m.startup({ user: 'nobody_of_this_name', database })
    socket.on('error', () => {}).resume()
    socket.raw(frame(Buffer.concat([startup, m.query('x'.repeat(40 * MB))])))
    await until(
      async () => (await pooler.gauges()).clients.login <= 1,
      () => 'no login',
    )
    await healthy.goesOn()
    assert.ok((await pooler.memory()).peak - base < 40 * MB)
    socket.destroy()
    await alone()
  })

  test('a parameter of 40 MiB in one message', async () => {
    await using wire = await WireClient.connect({ ...at(), web: { port: pooler.webPort } })
    const { rows, error } = await wire.extended('select length($1)', ['p'.repeat(40 * MB)])
    assert.equal(error, null)
    assert.deepEqual(rows, [[String(40 * MB)]])
  })

  test('a reader that stops inside 200 MB: little is kept, others are served, it gets the rest', async () => {
    await alone()
    const socket = await TestWebSocket.open({ port: pooler.webPort })
    let bytes = 0
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    socket.write(STARTUP)
    await until(
      () => bytes > 0,
      () => 'no login',
    )
    const base = (await pooler.memory()).peak
    socket.write(m.query("select repeat('y', 1000000) from generate_series(1, 200)"))
    await until(
      () => bytes > 4 * MB,
      () => `${bytes} bytes`,
    )
    socket.pause()
    for (let round = 0; round < 5; round++) await healthy.goesOn()
    assert.ok((await pooler.memory()).peak - base < 24 * MB)
    assert.ok(bytes < 100 * MB, 'it has really stopped')
    socket.resume()
    await until(
      () => bytes > 200_000_000,
      () => `${bytes} bytes`,
    )
    assert.ok(Math.max(...socket.messages) <= 64 * 1024, 'no message is longer than 64 KiB')
    assert.ok((await pooler.memory()).peak - base < 48 * MB)
    socket.destroy()
  })
})
