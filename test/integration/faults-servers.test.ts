// One server process of Postgres that is ended, killed or frozen: who is told, how soon, and that nothing is
// done twice and nobody else is harmed (faults F1 to F3). What each moment of a loss means for its client is
// in loss.test.ts.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { direct, through } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { assertFullStrength, onlyError, took } from '../support/strength.ts'
import { result, WireClient } from '../support/wire-client.ts'

/** Promised are 100 ms; machines that run tests are busy. */
const SOON_MS = 1500
const QUERY_TIMEOUT_MS = 500

// What Postgres has acknowledged must be there after its crash.
const postgres = await getPostgres({ settings: { synchronous_commit: 'on' } })
const local = { skip: postgres.control === null ? postgres.missing : false }

describe('a server that is terminated while it works (F1)', () => {
  it('its client learns it at once and once; nothing runs twice, others do not notice', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 3 } })
    await rig.see('create table f1 (mark text); create sequence f1_runs')
    const healthy = await Healthy.start(through(rig.test, postgres))
    await using idle = await rig.client()
    await idle.query('select 1')
    const outside = await rig.client()
    outside.send(m.query("select nextval('f1_runs'), pg_sleep(60)"))
    const one = await rig.running('%f1_runs%')
    const inside = await rig.client()
    await inside.query("begin; insert into f1 values ('lost')")
    const two = await rig.pidOf(inside)
    await using waiting = await rig.client()
    waiting.send(m.query('select pg_sleep(0.01), 7'))

    const first = await took(async () => {
      await rig.see(`select pg_terminate_backend(${one})`)
      const answer = await outside.until('Z')
      assert.equal(onlyError(answer, ['57P01']).severity, 'ERROR')
    })
    const second = await took(async () => {
      await rig.see(`select pg_terminate_backend(${two})`)
      assert.equal(onlyError(await inside.untilClosed(), ['57P01']).severity, 'FATAL')
    })
    assert.ok(first < SOON_MS && second < SOON_MS, `${first} and ${second} ms`)
    assert.equal(result(await waiting.until('Z')).rows[0]?.[1], '7')
    assert.deepEqual((await outside.query('select 7')).rows, [['7']])
    assert.deepEqual(outside.drain(), [])
    assert.deepEqual((await idle.query('select 8')).rows, [['8']])
    await healthy.goesOn()
    await healthy.stop()
    assert.equal(await rig.value('select last_value from f1_runs'), '1', 'it ran once')
    assert.equal(await rig.value('select count(*) from f1'), '0')
    for (const client of [outside, idle, waiting]) await client.end()
    await assertFullStrength(rig, 3)
  })
})

describe('a server that is killed: Postgres restarts all of them (F2)', local, () => {
  it('each client is told once; acknowledged commits are there, a COMMIT under way is 08007', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 8 } })
    await rig.see('create table f2 (writer int, mark int)')
    await rig.see(
      `create function slow() returns trigger language plpgsql as
         'begin perform pg_sleep(60); return null; end';
       create table f2_slow (mark text);
       create constraint trigger slow after insert on f2_slow deferrable initially deferred
         for each row execute function slow()`,
    )
    await using idle = await rig.client()
    await idle.query('select 1')
    const committing = await rig.client()
    await committing.query("begin; insert into f2_slow values ('unknown')")
    committing.send(m.query('commit'))
    const inside = await rig.client()
    await inside.query('begin; insert into f2 values (0, 0)')
    const outside = await rig.client()
    outside.send(m.query('select pg_sleep(60)'))
    const victim = await rig.running('select pg_sleep%')
    await rig.running('commit')
    let isOver = false
    const writers = Array.from({ length: 3 }, (_, number) => writer(rig, number + 1, () => isOver))
    await eventually(async () => Number(await rig.value('select count(*) from f2')) > 30)

    const since = performance.now()
    process.kill(victim, 'SIGKILL')
    const codes = ['08006', '57P02']
    assert.equal(onlyError(await outside.until('Z'), codes).severity, 'ERROR')
    assert.equal(onlyError(await inside.untilClosed(), codes).severity, 'FATAL')
    assert.equal(onlyError(await committing.untilClosed(), ['08007']).severity, 'FATAL')
    assert.ok(performance.now() - since < SOON_MS, `after ${performance.now() - since} ms`)
    const served = outside.query('select 7').then(({ rows }) => [rows, performance.now()] as const)
    const accepting = await reachable()
    const [rows, at] = await served
    assert.deepEqual(rows, [['7']])
    assert.ok(at - accepting < SOON_MS, `${at - accepting} ms after Postgres lets us in`)
    assert.deepEqual((await idle.query('select 8')).rows, [['8']], 'it never knew')

    isOver = true
    const fresh = await Rig.start(postgres, { pool: { size: 3 } })
    for (const [number, work] of writers.entries()) {
      const { acknowledged, unknown } = await work
      const written = await fresh.value(`select count(*) from f2 where writer = ${number + 1}`)
      assert.ok(unknown <= 1, 'one error at most for each')
      assert.ok(
        Number(written) >= acknowledged && Number(written) <= acknowledged + unknown,
        `${written} rows of ${acknowledged} acknowledged and ${unknown} unknown`,
      )
    }
    assert.equal(await fresh.value('select count(*) from f2 where writer = 0'), '0')
    assert.equal(await fresh.value('select count(*) from f2_slow'), '0')
    await Promise.all([outside, idle].map((client) => client.end()))
    await rig.test.stop()
    const { clients, servers } = rig.test.pooler.gauges()
    assert.deepEqual(
      Object.values({ ...clients, ...servers }).filter((count) => count > 0),
      [],
    )
    await assertFullStrength(fresh, 3)
  })
})

/** Inserts one row after the other until told to stop. Between two of them a loss goes unnoticed. */
async function writer(rig: Rig, number: number, isOver: () => boolean) {
  await using client = await rig.client()
  const count = { acknowledged: 0, unknown: 0 }
  for (let mark = 0; !isOver(); mark++) {
    const { error } = await client.query(`insert into f2 values (${number}, ${mark})`)
    if (error === null) count.acknowledged++
    else count.unknown++
    if (error !== null) assert.match(error.code, /^(08006|57P02)$/)
  }
  return count
}

/** Resolves with the time at which Postgres itself lets somebody in. */
async function reachable(): Promise<number> {
  await eventually(async () => (await WireClient.connect(direct(postgres))).end(), 20_000)
  return performance.now()
}

describe('a server that is frozen (F3)', local, () => {
  it('query_timeout ends the wait; nobody else gets that server, and others are served', async () => {
    const rig = await Rig.start(postgres, {
      pool: { size: 2, cancelTimeoutMs: 500 },
      client: { queryTimeoutMs: QUERY_TIMEOUT_MS },
    })
    const healthy = await Healthy.start(through(rig.test, postgres))
    await using client = await rig.client()
    client.send(m.query('select pg_sleep(0.3), 1'))
    const frozen = await rig.running('select pg_sleep(0.3)%')
    process.kill(frozen, 'SIGSTOP')
    try {
      const since = performance.now()
      onlyError(await client.until('Z'), ['57014', '08006'])
      const waited = performance.now() - since
      assert.ok(waited < QUERY_TIMEOUT_MS + 500 + SOON_MS, `told after ${waited} ms`)
      await using other = await rig.client()
      for (const one of [client, other]) assert.notEqual(await rig.pidOf(one), frozen)
      await healthy.goesOn()
      assert.ok(rig.test.pooler.gauges().servers.active + rig.test.pooler.gauges().servers.idle <= 2)
    } finally {
      process.kill(frozen, 'SIGCONT')
    }
    await eventually(async () => (await rig.backends(`pid = ${frozen}`)).length === 0)
    await healthy.stop()
    await client.end()
    await assertFullStrength(rig, 2)
  })

  it("a cancel reaches it when it goes on, and never another client's statement", async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2, cancelTimeoutMs: 60_000 } })
    const healthy = await Healthy.start(through(rig.test, postgres))
    await using client = await rig.client()
    client.send(m.query('select pg_sleep(60)'))
    const frozen = await rig.running('%pg_sleep(60)%')
    process.kill(frozen, 'SIGSTOP')
    try {
      await client.cancel()
      for (let round = 0; round < 20; round++) await healthy.goesOn()
      assert.deepEqual(client.drain(), [])
    } finally {
      process.kill(frozen, 'SIGCONT')
    }
    onlyError(await client.until('Z'), ['57014'])
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
    await healthy.stop()
    await client.end()
    await assertFullStrength(rig, 2)
  })
})
