// Networks that fail slowly: a client that vanishes without a FIN, lost packets, a thin line (faults F11,
// F13, F14). The pooler runs at the far end of a cable that a test can make deaf, lossy or slow.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { direct } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { Network } from '../support/network.ts'
import type { Overrides } from '../support/pooler.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { TestProxy } from '../support/proxy.ts'
import { eventually } from '../support/rig.ts'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'

const MB = 1024 * 1024
const LONG = process.env.LONG === '1'
/** As memory.test.ts: what the allocator keeps on a busy machine. */
const REMAINS = 48 * MB
/** Silence after which the kernel asks, and how often it asks once a second (of libuv). */
const KEEPALIVE_MS = 1000
const PROBES_MS = 10_000

const postgres = await getPostgres()
const network = await Network.open()
const missing = typeof network === 'string' ? network : false

describe('a pooler at the end of a bad line', { skip: missing }, () => {
  const cable = network as Network
  let proxy: TestProxy
  let pooler: PoolerProcess

  const overrides: Overrides = { pool: { size: 4 } }
  const address = (): ClientOptions => ({ ...direct(postgres), host: cable.far, port: pooler.port })
  const upstream = () => {
    const url = new URL(postgres.url)
    url.hostname = cable.near
    url.port = String(proxy.port)
    return url.href
  }
  const start = (more: Overrides = {}) => {
    const listen = { hosts: [cable.far] as const, keepaliveMs: KEEPALIVE_MS }
    return startPoolerProcess(upstream(), { ...overrides, ...more, listen }, { through: cable.inside })
  }

  before(async () => {
    // Postgres itself listens on loopback only, which the far end does not reach.
    proxy = await TestProxy.listen({ host: postgres.host, port: postgres.port, address: cable.near })
    pooler = await start()
  })
  after(async () => {
    await cable.drop('')
    await pooler.stop()
    await proxy.close()
    await cable.close()
  })

  for (const percent of [1, 10]) {
    it(`loses ${percent} % of the packets (F13): slower, and no error`, { timeout: 60_000 }, async () => {
      const clients = await Promise.all(
        Array.from({ length: 8 }, () => WireClient.connect({ ...address(), timeout: 30_000 })),
      )
      await cable.drop(`numgen random mod 100 < ${percent}`)
      try {
        await Promise.all(
          clients.map(async (client, who) => {
            for (let turn = 0; turn < 10; turn++) {
              const { rows, error } = await client.extended('select $1::text', [`${who} ${turn}`])
              assert.deepEqual([error, rows], [null, [[`${who} ${turn}`]]])
            }
          }),
        )
      } finally {
        await cable.drop('')
      }
      await Promise.all(clients.map((client) => client.end()))
      await assertCalm()
    })
  }

  /** Everything is counted as gone, and nothing of anybody is left at Postgres. */
  async function assertCalm(): Promise<void> {
    await eventually(async () => {
      const { clients, servers, waiting } = await pooler.gauges()
      assert.deepEqual({ ...clients, waiting }, { login: 0, idle: 0, active: 0, waiting: 0 })
      assert.equal(servers.active + servers.opening + servers.testing, 0)
      assert.ok(servers.idle <= 4)
    }, 10_000)
  }

  it('is thin (F14): memory stays flat, and others are served', { timeout: 60_000 }, async () => {
    const warm = await WireClient.connect(address())
    await warm.query("select repeat('x', 10000) from generate_series(1, 2000)")
    await warm.end()
    const { rss } = await pooler.memory()
    await cable.throttle('16mbit')
    try {
      const reader = await WireClient.connect(address())
      const before = reader.bytesReceived
      reader.send(m.query("select repeat('x', 10000) from generate_series(1, 10000)"))
      await eventually(() => reader.bytesReceived - before > MB / 4, 20_000)
      const healthy = await Healthy.start(address())
      await healthy.goesOn()
      const now = await pooler.memory()
      assert.ok(now.rss - rss < REMAINS, `${Math.round((now.rss - rss) / MB)} MiB of 100`)
      assert.ok(reader.bytesReceived - before < 20 * MB, 'the line is thin')
      await healthy.stop()
      reader.destroy()
      await reader.closed
    } finally {
      await cable.throttle('1000mbit')
    }
    await assertCalm()
  })

  it('a client is gone without a word (F11): keepalive finds it, and its transaction ends', async (t) => {
    if (!LONG) {
      notRun(t, 'takes 12 s: npm run test:long')
      return
    }
    const client = await WireClient.connect(address())
    await client.query('begin; create table f11 (mark text)')
    const { localPort } = client
    // While an answer is not acknowledged the kernel sends that again, and asks nothing: tcp_retries2 counts.
    await eventually(async () => assert.equal(await cable.unacknowledged(localPort), 0))
    const since = performance.now()
    await cable.drop(`tcp sport ${localPort}`)
    await eventually(
      async () => {
        const { clients } = await pooler.gauges()
        assert.deepEqual(clients, { login: 0, idle: 0, active: 0, waiting: 0 })
      },
      KEEPALIVE_MS + PROBES_MS + 10_000,
    )
    const took = performance.now() - since
    assert.ok(took > KEEPALIVE_MS, `${took} ms`)
    const [row] = await postgres.admin("select to_regclass('f11') as gone")
    assert.equal(row?.gone, null, 'rolled back')
    const left = "select count(*)::int as n from pg_stat_activity where state like 'idle in%'"
    assert.equal((await postgres.admin(left))[0]?.n, 0)
    await cable.drop('')
    client.destroy()
    await assertCalm()
  })
})
