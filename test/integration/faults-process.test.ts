// The pooler is killed (fault F19), and its clock jumps (fault F20).
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { direct } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { onlyError, took } from '../support/strength.ts'
import { result, WireClient } from '../support/wire-client.ts'

/** Promised is "at once"; machines that run tests are busy. */
const SOON_MS = 2000
const HOUR_MS = 3_600_000

const postgres = await getPostgres()

async function count(table: string): Promise<unknown> {
  return (await postgres.admin(`select count(*)::int as n from ${table}`))[0]?.n
}

describe('the pooler is killed (F19)', () => {
  it('what was not committed is rolled back at once, no part of a COPY stays', async (t) => {
    await postgres.admin('create table f19 (mark text)')
    const first = await startPoolerProcess(postgres.url, { pool: { size: 5 } })
    t.after(() => first.stop())
    const address = { ...direct(postgres), host: first.host, port: first.port }
    const clients = await Promise.all(Array.from({ length: 4 }, () => WireClient.connect(address)))
    const [done, inside, copying, batch] = clients as [WireClient, WireClient, WireClient, WireClient]
    assert.equal((await done.query("insert into f19 values ('done')")).tag, 'INSERT 0 1')
    await inside.query("begin; insert into f19 values ('inside')")
    copying.send(m.query('copy f19 from stdin'))
    await copying.until('G')
    for (let piece = 0; piece < 100; piece++) copying.send(m.copyData('copied\n'.repeat(1000)))
    batch.send(m.parse("insert into f19 values ('half')"), m.bind(), m.execute(), m.flush())
    await batch.until('C')
    const busy = "from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid()"
    const others = `select count(*)::int as n ${busy} and backend_type = 'client backend'`
    // A server may just be asked about its database.
    await eventually(async () => assert.equal((await postgres.admin(others))[0]?.n, 3))
    const ended = await took(async () => {
      await first.kill()
      await Promise.all(clients.map((client) => client.closed))
      await eventually(async () => assert.equal((await postgres.admin(others))[0]?.n, 0))
    })
    assert.ok(ended < SOON_MS, `${ended} ms`)
    for (const client of clients) assert.deepEqual(client.drain(), [])
    assert.equal(await count('f19'), 1)

    const second = await startPoolerProcess(postgres.url, { pool: { size: 5 } })
    t.after(() => second.stop())
    const healthy = await Healthy.start({ ...address, port: second.port })
    await healthy.goesOn()
    await healthy.stop()
  })
})

/** The library that gives a process another clock, where it is installed. */
function fakeClock(): string | null {
  const folders = ['/usr/lib/faketime', '/usr/local/lib/faketime']
  if (existsSync('/usr/lib')) {
    for (const name of readdirSync('/usr/lib')) folders.push(join('/usr/lib', name, 'faketime'))
  }
  return folders.map((name) => join(name, 'libfaketimeMT.so.1')).find((name) => existsSync(name)) ?? null
}

describe('the clock of the pooler jumps (F20)', () => {
  it('an hour on and an hour back: nobody is timed out, and no timeout is lost', async (t) => {
    const library = fakeClock()
    if (library === null) return notRun(t, 'libfaketime is not installed')
    const folder = mkdtempSync(join(tmpdir(), 'pgmux-clock-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'offset')
    writeFileSync(file, '+0\n')
    const minute = 60_000
    const limits = {
      client: { idleTimeoutMs: minute, idleTransactionTimeoutMs: minute, transactionTimeoutMs: minute },
      pool: { size: 3, queryWaitTimeoutMs: 1500, serverLifetimeMs: minute, serverIdleTimeoutMs: minute },
    }
    const env = { FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' }
    const pooler = await startPoolerProcess(postgres.url, limits, { env: { ...env, LD_PRELOAD: library } })
    t.after(() => pooler.stop())
    const address = { ...direct(postgres), host: pooler.host, port: pooler.port }
    const healthy = await Healthy.start(address)
    const clients = await Promise.all(Array.from({ length: 4 }, () => WireClient.connect(address)))
    const [inside, other, waiting, idle] = clients as [WireClient, WireClient, WireClient, WireClient]
    await inside.query('begin')
    for (const offset of ['+1h', '-1h', '+0']) {
      const before = await pooler.clock()
      writeFileSync(file, `${offset}\n`)
      await eventually(async () => assert.ok(Math.abs((await pooler.clock()) - before) > HOUR_MS / 2))
      for (let round = 0; round < 5; round++) await healthy.goesOn()
      assert.deepEqual((await inside.query('select 1')).rows, [['1']])
      assert.deepEqual((await idle.query('select 2')).rows, [['2']])
    }
    await healthy.stop()
    // With every server taken, a wait ends at its time, an hour back or on.
    await other.query('begin')
    await idle.query('begin')
    for (const offset of ['-1h', '+1h']) {
      waiting.send(m.query('select 3'))
      await eventually(async () => assert.equal((await pooler.gauges()).waiting, 1))
      const waited = await took(async () => {
        writeFileSync(file, `${offset}\n`)
        onlyError(await waiting.until('Z'), ['53300'])
      })
      assert.ok(waited > 500 && waited < 1500 + SOON_MS, `${waited} ms`)
    }
    waiting.send(m.query('select 4'))
    for (const client of [inside, other, idle]) assert.equal((await client.query('commit')).tag, 'COMMIT')
    assert.deepEqual(result(await waiting.until('Z')).rows, [['4']])
    await Promise.all(clients.map((client) => client.end()))
    await eventually(async () => {
      const { clients: now, servers } = await pooler.gauges()
      assert.deepEqual({ ...now }, { login: 0, idle: 0, active: 0, waiting: 0 })
      assert.deepEqual(servers, { opening: 0, idle: 3, testing: 0, active: 0 })
    })
  })
})
