// Times: whoever takes too long is ended with the right words, and its server is free again; servers that
// are old, idle or dead are replaced unseen (DESIGN section 8, hazards F01 to F07).
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Gate } from '../support/gate.ts'
import * as m from '../support/messages.ts'
import { CHOPPED, CHOPS, type Overrides } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { transcript } from '../support/transcript.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin('create table marks (mark text)')

const LIMIT_MS = 200
/** The pooler looks at its clock this often; the rest is for a busy machine. */
const EARLY_MS = 60
const LATE_MS = 1500

const withClient = (client: Overrides['client']) =>
  Rig.start(postgres, { pool: { size: 1 }, client: client as object })

/** The client is ended with one FATAL, about `LIMIT_MS` from now; then its server is free. */
async function assertEnded(
  rig: Rig,
  client: WireClient,
  code: string,
  act: () => Promise<unknown> | unknown,
): Promise<void> {
  await act()
  const since = performance.now()
  const messages = (await client.untilClosed()).filter(({ type }) => type !== 'S')
  const tookMs = performance.now() - since
  const last = messages.at(-1)
  assert.ok(last?.type === 'E', transcript(messages))
  assert.deepEqual([last.severity, last.code], ['FATAL', code])
  assert.equal(messages.filter(({ type }) => type === 'E').length, 1)
  assert.ok(tookMs > LIMIT_MS - EARLY_MS && tookMs < LIMIT_MS + LATE_MS, `after ${tookMs} ms`)
  await rig.healthy()
  await rig.quiet()
}

describe('a client that takes too long', () => {
  it('query_timeout: the query is cancelled, the client stays', async () => {
    const rig = await withClient({ queryTimeoutMs: LIMIT_MS })
    await using client = await rig.client()
    const pid = await rig.pidOf(client)
    const requests = [
      [m.query('select pg_sleep(60)')],
      [m.parse('select pg_sleep(60)'), m.bind(), m.execute(), m.sync()],
    ]
    for (const request of requests) {
      const { error, status } = await client.run(...request)
      assert.equal(error?.code, '57014')
      assert.equal(error?.severity, 'ERROR')
      assert.equal(status, 'I')
    }
    // Several quick ones together may take longer.
    for (let turn = 0; turn < 4; turn++) {
      assert.equal((await client.query('select pg_sleep(0.08)')).error, null)
    }
    assert.equal(await rig.pidOf(client), pid)
  })

  it('query_timeout with a Postgres that does not answer at all: the server is given up', async () => {
    const gate = await Gate.open(postgres)
    after(() => gate.close())
    const overrides = { pool: { size: 1, cancelTimeoutMs: 200 }, client: { queryTimeoutMs: LIMIT_MS } }
    const rig = await Rig.start(postgres, overrides, gate.url(postgres.url))
    await using client = await rig.client()
    gate.hooks.onAnswer = () => null
    client.send(m.query('select 1'))
    await eventually(() => gate.cancels.length === 1)
    await eventually(
      () => client.received.at(-1)?.type === 'Z' && client.received.at(-2)?.type === 'E',
      15_000,
    )
    gate.hooks = {}
    client.drain()
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
  })

  it('idle_transaction_timeout: 25P03', async () => {
    const rig = await withClient({ idleTransactionTimeoutMs: LIMIT_MS })
    for (const begin of ["begin; insert into marks values ('x')", 'begin; select 1/0']) {
      const client = await rig.client()
      await assertEnded(rig, client, '25P03', () => client.query(begin))
    }
    await using busy = await rig.client()
    await busy.query('begin')
    assert.equal((await busy.query('select pg_sleep(0.4)')).error, null, 'a running query is not idle')
    await busy.query('rollback')
    assert.equal(await rig.value('select count(*) from marks'), '0')
  })

  it('transaction_timeout: 25P04, also in the middle of a query', async () => {
    const rig = await withClient({ transactionTimeoutMs: LIMIT_MS })
    const idle = await rig.client()
    await assertEnded(rig, idle, '25P04', () => idle.query('begin'))
    const running = await rig.client()
    await running.query('begin')
    await assertEnded(rig, running, '25P04', () => running.send(m.query('select pg_sleep(60)')))
    const busy = await rig.client()
    await busy.query('begin')
    await assert.rejects(async () => {
      for (;;) await busy.query('select pg_sleep(0.01)')
    })
    await rig.healthy()
  })

  it('transaction_timeout: in session mode the time between two is not part of one', async () => {
    const limits = { transactionTimeoutMs: LIMIT_MS }
    const rig = await Rig.start(postgres, { pool: { mode: 'session' }, client: limits as object })
    await using client = await rig.client()
    await client.query('select 1')
    await pause(2 * LIMIT_MS)
    await client.query('begin')
    assert.equal((await client.query('select pg_sleep(0.12)')).error, null)
    assert.equal((await client.query('commit')).error, null)
  })

  it('idle_timeout: 57P05, but not while it works or waits', async () => {
    const rig = await withClient({ idleTimeoutMs: LIMIT_MS })
    const idle = await rig.client()
    await assertEnded(rig, idle, '57P05', () => idle.query('select 1'))
    await using one = await rig.client()
    await using two = await rig.client()
    one.send(m.query('select pg_sleep(0.5), 1'))
    two.send(m.query('select 2'))
    assert.equal(result(await one.until('Z')).error, null)
    assert.equal(result(await two.until('Z')).error, null)
  })

  it('idle_timeout in session mode, where it holds a server', async () => {
    const overrides = { pool: { mode: 'session' as const, size: 1 }, client: { idleTimeoutMs: LIMIT_MS } }
    const rig = await Rig.start(postgres, overrides)
    const client = await rig.client()
    await assertEnded(rig, client, '57P05', () => client.query('select 1'))
  })

  it('batch_timeout: half a batch, or half a message', async () => {
    const rig = await withClient({ batchTimeoutMs: LIMIT_MS })
    const halves = [
      [m.parse("insert into marks values ('x')"), m.bind(), m.execute()],
      [m.query(`insert into marks values ('${'x'.repeat(400_000)}')`).subarray(0, 50_000)],
      [
        m.query(`select 1`),
        m.query(`insert into marks values ('${'x'.repeat(400_000)}')`).subarray(0, 50_000),
      ],
    ]
    for (const half of halves) {
      const client = await rig.client()
      await assertEnded(rig, client, '08P01', () => client.send(...half))
    }
    assert.equal(await rig.value('select count(*) from marks'), '0')
    // A batch that Postgres works on is not the client's delay.
    await using slow = await rig.client()
    slow.send(m.parse('select pg_sleep(0.5)'), m.bind(), m.execute(), m.flush())
    await slow.until('C')
    assert.equal((await slow.run(m.sync())).error, null)
  })

  it('write_timeout: a reader that has stopped loses its connection, and its server is free', async () => {
    const rig = await withClient({ writeTimeoutMs: LIMIT_MS })
    const client = await rig.client()
    client.pause()
    client.send(m.query("select repeat('x', 1000) from generate_series(1, 100000)"))
    await rig.running('%repeat%')
    await rig.quiet()
    await rig.healthy()
    client.resume()
    await client.closed
    assert.notEqual(client.received.at(-1)?.type, 'E', 'no error stands where a row was to be')
  })

  it('login_timeout: one byte at a time, or nothing at all', async () => {
    const rig = await withClient({ loginTimeoutMs: LIMIT_MS })
    const silent = await rig.stranger()
    await assertEnded(rig, silent, '08P01', () => {})
    const slow = await rig.stranger()
    const bytes = m.startup({ user: postgres.user, database: postgres.database })
    let isOver = false
    void slow.closed.then(() => {
      isOver = true
    })
    for (const byte of bytes) {
      if (isOver) break
      slow.send(Buffer.from([byte]))
      await pause(20)
    }
    const messages = await slow.untilClosed()
    assert.equal(transcript(messages), 'E(08P01)')
    const half = await rig.stranger()
    half.send(bytes)
    await half.until('R')
    await assertEnded(rig, half, '08P01', () => {})
    assert.equal(rig.test.pooler.gauges().clients.login, 0)
  })
})

describe('a FATAL in the middle of a row', () => {
  it('is not sent: the client sees the end of the connection', async (t) => {
    if (CHOPS) return notRun(t, CHOPPED)
    const gate = await Gate.open(postgres)
    after(() => gate.close())
    const rig = await Rig.start(
      postgres,
      { pool: { size: 1 }, client: { transactionTimeoutMs: LIMIT_MS } },
      gate.url(postgres.url),
    )
    const client = await rig.client()
    await client.query('begin')
    let passed = 0
    gate.hooks.onAnswer = (chunk) => {
      const part = chunk.subarray(0, Math.max(0, 300_000 - passed))
      passed += chunk.length
      return part.length === 0 ? null : part
    }
    const before = client.bytesReceived
    client.send(m.query("select repeat('x', 1000000)"))
    await client.closed
    assert.equal(client.bytesReceived - before, 300_000)
    gate.hooks = {}
    gate.sessions[0]?.cut()
    await rig.healthy()
  })
})

describe('a limit of 0', () => {
  it('is no limit', async () => {
    const rig = await Rig.start(postgres, {
      upstream: { connectTimeoutMs: 0 },
      pool: {
        size: 1,
        reserveSize: 1,
        reserveTimeoutMs: 0,
        cancelTimeoutMs: 0,
        queryWaitTimeoutMs: 0,
        serverLifetimeMs: 0,
        serverIdleTimeoutMs: 0,
        serverCheckDelayMs: 0,
      },
      client: {
        loginTimeoutMs: 0,
        idleTimeoutMs: 0,
        idleTransactionTimeoutMs: 0,
        transactionTimeoutMs: 0,
        queryTimeoutMs: 0,
        writeTimeoutMs: 0,
        batchTimeoutMs: 0,
        goneGraceMs: 0,
      },
    })
    await using client = await rig.client()
    await using other = await rig.client()
    const pid = await rig.pidOf(client)
    client.send(m.query('begin; select pg_sleep(60)'))
    await rig.running('%pg_sleep(60)%')
    other.send(m.query('select pg_backend_pid()'))
    await client.cancel()
    assert.equal(result(await client.until('Z')).error?.code, '57014')
    assert.equal(rig.test.pooler.gauges().waiting, 1, 'without a time for it the reserve is not used')
    await client.query('rollback')
    assert.equal(Number(result(await other.until('Z')).rows[0]?.[0]), pid)
  })
})

describe('a server', () => {
  it('server_lifetime: replaced between two transactions, never in one', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1, serverLifetimeMs: LIMIT_MS } })
    await using client = await rig.client()
    const first = await rig.pidOf(client)
    await client.query('begin')
    await client.query('select pg_sleep(0.5)')
    assert.equal(await rig.pidOf(client), first)
    await client.query('commit')
    assert.notEqual(await rig.pidOf(client), first)
    await eventually(async () => (await rig.backends(`pid = ${first}`)).length === 0)
    // Also when nobody asks.
    await eventually(() => rig.test.pooler.gauges().servers.idle === 0)
  })

  it('server_idle_timeout: closed when nobody has used it', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2, serverIdleTimeoutMs: LIMIT_MS } })
    await using client = await rig.client()
    await client.query('begin')
    await client.query('select pg_sleep(0.4)')
    assert.equal((await client.query('commit')).error, null)
    await eventually(() => rig.test.pooler.gauges().servers.idle === 0)
    assert.equal((await client.query('select 1')).error, null)
  })

  it('server_check_delay: a dead one is found and replaced before a client gets it', async () => {
    const gate = await Gate.open(postgres)
    after(() => gate.close())
    const overrides = { pool: { size: 1, serverCheckDelayMs: 1 }, upstream: { connectTimeoutMs: 300 } }
    const rig = await Rig.start(postgres, overrides, gate.url(postgres.url))
    await using client = await rig.client()
    const first = await rig.pidOf(client)
    await pause(10)
    assert.equal(await rig.pidOf(client), first, 'one that lives is used')
    await pause(10)
    // It neither answers nor closes: as after the loss of a host.
    const [dead] = gate.sessions
    gate.hooks.onRequest = (chunk, link) => (link === dead ? null : chunk)
    assert.notEqual(await rig.pidOf(client), first)
    assert.equal(client.received.filter(({ type }) => type === 'E').length, 0)
  })
})
