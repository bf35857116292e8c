// What a client that does nothing costs the pooler: its memory after two collections, less that of the same
// process without clients. Logged in, no TLS. Pooler and clients have processes of their own.
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type Crowd, startCrowd } from '../support/crowd.ts'
import * as m from '../support/messages.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { until } from '../support/waits.ts'

const CLIENTS = process.env.LONG === '1' ? 10_000 : 2000
/** Before the first measurement: code is compiled, and the pool has its servers. */
const WARM = 300
/** KiB for a client. Where the heap's young generation may grow it is 9. */
const MOST = 8
const LARGE = 60_000
/** KiB that the allocator keeps in pieces once much has gone through, however many clients there are. */
const PIECES = 24 * 1024
const AT_ONCE = 50
/** As many as there are servers: others would wait, with what they have sent. */
const FEW = 4

const postgres = await getPostgres()

suite('memory of idle clients', () => {
  let pooler: PoolerProcess
  let crowd: Crowd
  let base = 0

  const enter = async (into: Crowd, count: number): Promise<void> => {
    const { host, port } = pooler
    const { user, database } = postgres
    const told = await into.open({ host, port, user, database, count, atOnce: AT_ONCE })
    assert.equal(told.lost, 0)
  }

  const perClient = async (): Promise<number> => ((await pooler.memory()).rss - base) / CLIENTS / 1024

  before(async () => {
    pooler = await startPoolerProcess(postgres.url, {
      client: { auth: 'trust', maxConnections: CLIENTS + WARM },
      pool: { size: 4 },
    })
    const first = startCrowd()
    await enter(first, WARM)
    await first.ask(m.query('select 1'))
    await first.stop()
    await until(
      async () => (await pooler.gauges()).clients.idle === 0,
      () => 'the first have not gone',
    )
    base = (await pooler.memory()).rss
    crowd = startCrowd()
    await enter(crowd, CLIENTS)
  })
  after(async () => {
    await crowd.stop()
    await pooler.stop()
  })

  test(`${CLIENTS} that have logged in`, async (t) => {
    const cost = await perClient()
    t.diagnostic(`${cost.toFixed(1)} KiB each`)
    assert.ok(cost <= MOST, `${cost.toFixed(1)} KiB each`)
  })

  test(`${CLIENTS} that have worked`, async (t) => {
    const batch = [m.parse('select $1::text'), m.bind({ params: ['x'] }), m.describe('P', ''), m.execute()]
    for (const asked of [m.query('select 1'), Buffer.concat([...batch, m.sync()])])
      assert.equal((await crowd.ask(asked)).lost, 0)
    const cost = await perClient()
    t.diagnostic(`${cost.toFixed(1)} KiB each`)
    assert.ok(cost <= MOST, `${cost.toFixed(1)} KiB each`)
  })

  test(`${CLIENTS} that have received and sent ${LARGE} bytes at once do not keep them`, async (t) => {
    const long = m.query(`select length('${'l'.repeat(LARGE)}')`)
    // The last reads are large: who reads a small message behind them could not keep their buffer anyway.
    for (const asked of [m.query(`select repeat('l', ${LARGE})`), long, long])
      assert.equal((await crowd.ask(asked, FEW)).lost, 0)
    const cost = await perClient()
    t.diagnostic(`${cost.toFixed(1)} KiB each`)
    assert.ok(cost <= MOST + PIECES / CLIENTS, `${cost.toFixed(1)} KiB each`)
  })
})
