// CancelRequests: what runs or waits for the client that asks is stopped, and nothing else ever is, however
// late a cancel reaches Postgres (DESIGN section 8, RULES 24).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, gated, latch, Rig } from '../support/rig.ts'
import { result } from '../support/wire-client.ts'

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } })
await rig.see('create table marks (mark text)')

/** A statement that is cancelled long before it ends. */
const LONG = 'select pg_sleep(60)'

describe('a cancel of what runs', () => {
  const scripts: Record<string, Buffer[]> = {
    'a simple query': [m.query(`select 1; ${LONG}; select 2`)],
    'a batch': [m.parse(LONG), m.bind(), m.describe('P'), m.execute(), m.sync()],
    'a COPY out': [m.query('copy (select pg_sleep(60)) to stdout')],
    'a statement in a transaction': [m.query(`begin; select 1; ${LONG}`)],
  }
  for (const [name, request] of Object.entries(scripts)) {
    it(`${name} fails as on a connection of one's own`, () =>
      assertSame(postgres, [{ name: 'pooled', pooler: rig.test }], async (client) => {
        client.send(...request)
        // The direct connection calls itself an observer nowhere: look for the statement alone.
        await eventually(async () => Number(await rig.value(RUNNING)) > 0)
        await client.cancel()
        await client.until('Z')
        await client.query('rollback')
        await client.query('select 1')
      }))
  }

  it('the server is used again', async () => {
    const before = await rig.healthy()
    await using client = await rig.client()
    client.send(m.query(LONG))
    await rig.running(LONG)
    await client.cancel()
    assert.equal(result(await client.until('Z')).error?.code, '57014')
    assert.equal(await rig.pidOf(client), before)
  })

  it('a pipeline: the one that runs, not the ones behind it', async () => {
    await using client = await rig.client()
    client.send(m.query(LONG), m.query('select 2'))
    await rig.running(LONG)
    await client.cancel()
    assert.equal(result(await client.until('Z')).error?.code, '57014')
    assert.deepEqual(result(await client.until('Z')).rows, [['2']])
  })

  it('with a key of 32 bytes', async () => {
    await using client = await rig.client({ minor: 2 })
    assert.equal(client.key.length, 32)
    client.send(m.query(LONG))
    await rig.running(LONG)
    await client.cancel(client.key.subarray(0, 31))
    await client.cancel(Buffer.concat([client.key, Buffer.alloc(1)]))
    assert.equal((await rig.backends("state = 'active'")).length, 1)
    await client.cancel()
    assert.equal(result(await client.until('Z')).error?.code, '57014')
  })
})

const RUNNING = `select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%'
  and pid <> pg_backend_pid()`

describe('a cancel that must not do anything', () => {
  it('a wrong key for the right number', async () => {
    await using client = await rig.client()
    client.send(m.query(LONG))
    const pid = await rig.running(LONG)
    const wrong = Buffer.from(client.key)
    wrong[3] = (wrong[3] as number) ^ 1
    await client.cancel(wrong)
    await client.cancel(Buffer.alloc(0))
    await client.cancel(client.key, client.pid + 1)
    await client.cancel(client.key, pid)
    assert.equal((await rig.backends("state = 'active'")).length, 1)
    await client.cancel()
    await client.until('Z')
  })

  it('a client that is idle, or idle in a transaction', async () => {
    await using client = await rig.client()
    await client.cancel()
    assert.equal((await client.query('select 1')).error, null)
    await client.query('begin')
    await client.cancel()
    const { error, status } = await client.query('select 1')
    assert.equal(error, null)
    assert.equal(status, 'T')
    await client.query('commit')
  })

  it('a client that has gone', async () => {
    const client = await rig.client()
    await client.end()
    await using other = await rig.client()
    other.send(m.query('select pg_sleep(0.1)'))
    await rig.running('%pg_sleep(0.1)%')
    await client.cancel()
    assert.equal(result(await other.until('Z')).error, null)
  })
})

describe('a cancel of a client that waits for a server', () => {
  it('is answered at once, and its statement never reaches Postgres', async () => {
    await using holder = await rig.client()
    await holder.query('begin')
    for (const request of [
      [m.query("insert into marks values ('waited')")],
      [m.parse("insert into marks values ('waited')"), m.bind(), m.execute(), m.sync()],
    ]) {
      await using waiter = await rig.client()
      waiter.send(...request, m.query('select 2'))
      await eventually(() => rig.test.pooler.gauges().waiting === 1)
      await waiter.cancel()
      const { error, status, messages } = result(await waiter.until('Z'))
      assert.equal(error?.code, '57014')
      assert.equal(error?.severity, 'ERROR')
      assert.equal(status, 'I')
      assert.equal(messages.length, 2)
      await holder.query('commit')
      assert.deepEqual(result(await waiter.until('Z')).rows, [['2']])
      await holder.query('begin')
    }
    await holder.query('commit')
    assert.equal(await rig.value("select count(*) from marks where mark = 'waited'"), '0')
  })
})

describe('a cancel that is late', () => {
  it("never hits the next client's query", async () => {
    const random = new Prng(3)
    const [gate, late] = await gated(postgres, { pool: { mode: 'transaction', size: 1 } })
    gate.hooks.onCancel = () => new Promise((resolve) => setTimeout(resolve, random.between(0, 20)))
    await using one = await late.client()
    await using two = await late.client()
    for (let round = 0; round < 5; round++) {
      one.send(m.query('select pg_sleep(0.5)'))
      await late.running('%pg_sleep(0.5)%')
      two.send(m.query('select pg_sleep(0.03), 2'))
      const cancels = Promise.all(Array.from({ length: 100 }, () => one.cancel()))
      await Promise.all([
        (async () => {
          const { error } = result(await one.until('Z'))
          assert.ok(error === null || error.code === '57014')
          // A cancel that is still on its way to us would be one of what the client asks next.
          await cancels
          one.send(m.query('select 1'))
          assert.equal(result(await one.until('Z')).error, null, 'nor the next one of the same client')
        })(),
        (async () => assert.deepEqual(result(await two.until('Z')).rows, [['', '2']]))(),
      ])
    }
  })

  it("keeps the server and the client's request until Postgres has closed our connection", async () => {
    const [gate, late] = await gated(postgres, { pool: { mode: 'transaction', size: 1 } })
    const held = latch()
    gate.hooks.onCancel = () => held.opened
    await using one = await late.client()
    await using two = await late.client()
    one.send(m.query('select pg_sleep(0.5), 1'))
    await late.running('%pg_sleep(0.5)%')
    let isClosed = false
    const cancelled = one.cancel().then(() => {
      isClosed = true
    })
    two.send(m.query('select 2'))
    assert.equal(result(await one.until('Z')).error, null)
    await eventually(() => gate.cancels.length === 1)
    // The first query is over, the cancel is under way: nobody may use the server now.
    assert.equal(late.test.pooler.gauges().waiting, 1)
    one.send(m.query('select 3'))
    // Round trips of somebody else, for the pooler to see it.
    for (let turn = 0; turn < 5; turn++) await (await late.client()).end()
    assert.deepEqual([one.drain(), two.drain()], [[], []])
    assert.equal(isClosed, false)
    held.open()
    await cancelled
    assert.deepEqual(result(await one.until('Z')).rows, [['3']])
    assert.deepEqual(result(await two.until('Z')).rows, [['2']])
  })

  it("does not hit the client's own next query, 200 times", async () => {
    await using client = await rig.client()
    for (let round = 0; round < 200; round++) {
      client.send(m.query(`select pg_sleep(${(round % 4) / 1000})`))
      const first = client.until('Z')
      await client.cancel()
      const { error } = result(await first)
      assert.ok(error === null || error.code === '57014')
      const next = await client.query('select 1')
      assert.equal(next.error, null, `round ${round}`)
    }
  })

  it('that Postgres never takes is given up, and the server with it', async () => {
    const [gate, late] = await gated(postgres, {
      pool: { mode: 'transaction', size: 1, cancelTimeoutMs: 200 },
    })
    gate.hooks.onCancel = () => new Promise(() => {})
    const before = await late.healthy()
    await using client = await late.client()
    client.send(m.query('select pg_sleep(0.5)'))
    await late.running('%pg_sleep(0.5)%')
    await client.cancel()
    assert.equal(result(await client.until('Z')).error, null)
    await using other = await late.client()
    assert.notEqual(await late.pidOf(other), before)
    await eventually(() => gate.cancels.every(({ near }) => near.destroyed))
    await late.quiet()
    assert.equal(late.test.pooler.gauges().clients.login, 0)
  })

  it('whose connection breaks may still arrive: the server is not used again', async () => {
    const [gate, late] = await gated(postgres, { pool: { mode: 'transaction', size: 1 } })
    gate.hooks.onCancel = (link) => {
      link.near.resetAndDestroy()
      return new Promise(() => {})
    }
    const before = await late.healthy()
    await using client = await late.client()
    client.send(m.query('select pg_sleep(0.5)'))
    await late.running('%pg_sleep(0.5)%')
    await client.cancel()
    assert.equal(result(await client.until('Z')).error, null)
    assert.notEqual(await late.pidOf(client), before)
  })

  it('and whose server is lost: the client that asked is not kept waiting', async () => {
    const [gate, late] = await gated(postgres, {
      pool: { mode: 'transaction', size: 1, cancelTimeoutMs: 60_000 },
    })
    gate.hooks.onCancel = () => new Promise(() => {})
    await using client = await late.client()
    client.send(m.query(LONG))
    const pid = await late.running(LONG)
    const cancelled = client.cancel()
    await eventually(() => gate.cancels.length === 1)
    await late.see(`select pg_terminate_backend(${pid})`)
    assert.equal(result(await client.until('Z')).error?.code, '57P01')
    let isOver = false
    void cancelled.then(() => {
      isOver = true
    })
    await eventually(() => isOver)
    await eventually(() => gate.cancels.every(({ near }) => near.destroyed))
    assert.equal(late.test.pooler.gauges().clients.login, 0)
  })
})

describe('a cancel while the pooler speaks to the server itself', () => {
  it('does not hit the settings in front of the query', async () => {
    const [gate, slow] = await gated(postgres, { pool: { mode: 'transaction', size: 1 } })
    await using plain = await slow.client()
    await using other = await slow.client({ params: { application_name: 'another' } })
    await plain.query('select 1')
    const held = latch()
    const answers: Buffer[] = []
    // The answer to the settings is kept back, so that the cancel comes while they are on their way.
    gate.hooks.onAnswer = (chunk, link) => {
      if (answers.push(chunk) === 1) void held.opened.then(() => link.near.write(Buffer.concat(answers)))
      return null
    }
    other.send(m.query(LONG))
    await eventually(() => answers.length > 0)
    const cancelled = other.cancel()
    // The cancel has reached the pooler when a later one, which is dropped, has been answered.
    await plain.cancel()
    assert.equal(gate.cancels.length, 0)
    held.open()
    gate.hooks = {}
    await cancelled
    assert.equal(result(await other.until('Z')).error?.code, '57014')
    assert.equal(gate.cancels.length, 1)
    assert.deepEqual((await other.query('show application_name')).rows, [['another']])
  })
})
