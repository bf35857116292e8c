// How a pooler stops: nobody new, transactions to their end, a deadline, and a process that leaves nothing
// behind (DESIGN section 9, hazard L04).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { direct } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { eventually, Rig } from '../support/rig.ts'
import { result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin('create table marks (mark text)')
const marks = async (mark: string) =>
  Number((await postgres.admin(`select count(*) as n from marks where mark = '${mark}'`))[0]?.n)

/** The client is told that the pooler stops, and nothing else. */
async function assertShutDown(client: WireClient): Promise<void> {
  const messages = (await client.untilClosed()).filter(({ type }) => type === 'E')
  assert.deepEqual(
    messages.map((message) => message.type === 'E' && [message.severity, message.code]),
    [['FATAL', '57P01']],
  )
}

describe('a drain', () => {
  for (const mode of ['transaction', 'session'] as const) {
    it(`${mode} mode: ends idle clients, lets transactions and waiting clients finish`, async () => {
      const rig = await Rig.start(postgres, { pool: { mode, size: mode === 'session' ? 4 : 1 } })
      const [idle, inside, waiting] = [await rig.client(), await rig.client(), await rig.client()]
      await idle.query('select 1')
      await inside.query(`begin; insert into marks values ('${mode}')`)
      waiting.send(m.query('select pg_sleep(0.2), 5'))
      if (mode === 'session') await rig.running('%pg_sleep(0.2)%')
      else await eventually(() => rig.test.pooler.gauges().waiting === 1)
      const drained = rig.test.pooler.drain(10_000)
      await assertShutDown(idle)
      await assert.rejects(rig.stranger(), { code: 'ECONNREFUSED' })
      assert.equal((await inside.query('select 1')).error, null)
      assert.equal((await inside.query('commit')).error, null)
      await assertShutDown(inside)
      assert.equal(result(await waiting.until('Z')).rows[0]?.[1], '5')
      await assertShutDown(waiting)
      await drained
      assert.equal(await marks(mode), 1)
      await eventually(async () => assert.deepEqual(await rig.backends(), []))
    })
  }

  it('what a client that said goodbye has left is finished', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const client = await rig.client()
    client.send(m.query("select pg_sleep(0.2); insert into marks values ('goodbye')"), m.terminate())
    await rig.running('%pg_sleep(0.2)%')
    await rig.test.pooler.drain(10_000)
    assert.equal(await marks('goodbye'), 1)
  })

  it('at the deadline everybody is cut off, and what ran is cancelled', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 3 } })
    const [inside, running, gone] = [await rig.client(), await rig.client(), await rig.client()]
    await inside.query("begin; insert into marks values ('cut')")
    running.send(m.query('select pg_sleep(60)'))
    gone.send(m.query('select pg_sleep(61)'), m.terminate())
    await rig.running('%pg_sleep(60)%')
    await rig.running('%pg_sleep(61)%')
    const since = performance.now()
    await Promise.all([assertShutDown(inside), assertShutDown(running), rig.test.pooler.drain(200)])
    assert.ok(performance.now() - since < 2500)
    await eventually(async () => assert.deepEqual(await rig.backends(), []))
    assert.equal(await marks('cut'), 0)
  })

  it('a second, shorter one counts', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const client = await rig.client()
    await client.query('begin')
    const first = rig.test.pooler.drain(60_000)
    const second = rig.test.pooler.drain(0)
    await Promise.all([assertShutDown(client), first, second])
  })

  it('those who are about to log in are refused with 57P03', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const holder = await rig.client()
    await holder.query('begin')
    const stranger = await rig.stranger()
    await eventually(() => rig.test.pooler.gauges().clients.login === 1)
    const drained = rig.test.pooler.drain(10_000)
    const [error] = await stranger.untilClosed()
    assert.equal(error?.type === 'E' && error.code, '57P03')
    await holder.query('commit')
    await drained
  })
})

describe('the process', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`${signal}: with its own Postgres an open transaction is committed, then both stop`, async (t) => {
      if (postgres.kind !== 'embedded') {
        notRun(t, 'the embedded Postgres is not installed, or another one is to be tested')
        return
      }
      const program = await Program.start(['--ephemeral'], postgres.password)
      const [client, idle] = [await program.client(), await program.client()]
      const { rows } = await client.query(
        "select pg_backend_pid(), current_setting('data_directory'), inet_server_port()",
      )
      await client.query('begin; create table t (n int)')
      program.child.kill(signal)
      await assertShutDown(idle)
      assert.equal((await client.query('commit')).tag, 'COMMIT')
      await assertShutDown(client)
      assert.equal(await program.exit, 0)
      const port = Number(rows[0]?.[2])
      await assert.rejects(WireClient.open({ port }), { code: 'ECONNREFUSED' }, 'Postgres has stopped')
    })
  }

  it('SIGTERM: an upstream of somebody else goes on', async () => {
    const program = await Program.start(['--upstream', postgres.url], postgres.password)
    const client = await program.client()
    await client.query('begin')
    program.child.kill('SIGTERM')
    await eventually(async () => assert.rejects(program.client()))
    assert.equal((await client.query("insert into marks values ('process')")).error, null)
    assert.equal((await client.query('commit')).error, null)
    assert.equal(await program.exit, 0)
    assert.equal(await marks('process'), 1)
  })

  it('a second signal, or SIGQUIT, stops now', async () => {
    for (const signals of [['SIGTERM', 'SIGTERM'], ['SIGINT', 'SIGQUIT'], ['SIGQUIT']] as const) {
      const program = await Program.start(['--upstream', postgres.url], postgres.password)
      const client = await program.client()
      await client.query("begin; insert into marks values ('now')")
      const [first, second] = signals
      program.child.kill(first)
      if (second !== undefined) {
        await eventually(async () => assert.rejects(program.client()))
        // Sooner it would be taken for the same signal once more.
        await new Promise((resolve) => setTimeout(resolve, 600))
        program.child.kill(second)
      }
      await assertShutDown(client)
      assert.equal(await program.exit, 0)
    }
    assert.equal(await marks('now'), 0)
  })

  it('the same signal twice at once (npm passes it on) is one', async () => {
    const program = await Program.start(['--upstream', postgres.url], postgres.password)
    const client = await program.client()
    await client.query('begin')
    program.child.kill('SIGINT')
    program.child.kill('SIGINT')
    await eventually(async () => assert.rejects(program.client()))
    assert.equal((await client.query('commit')).error, null)
    assert.equal(await program.exit, 0)
  })

  it('a client that does not read does not keep it', async () => {
    const program = await Program.start(['--upstream', postgres.url], postgres.password)
    const client = await program.client()
    client.pause()
    client.send(m.query("select repeat('x', 1000) from generate_series(1, 100000)"))
    const observer = await WireClient.connect(direct(postgres))
    await eventually(async () => {
      const { rows } = await observer.query(
        "select count(*) from pg_stat_activity where query like '%repeat%' and pid <> pg_backend_pid()",
      )
      return rows[0]?.[0] === '1'
    })
    await observer.end()
    program.child.kill('SIGQUIT')
    assert.equal(await program.exit, 0)
    client.destroy()
  })
})
