// What runs out on a machine: the disk of Postgres, open files, memory (faults F15, F17, F18). Each ends with
// everything as before. Memory of large answers is in memory.test.ts, a log that nobody takes in
// faults-log.test.ts.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chownSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it, type TestContext } from 'node:test'
import { direct, through } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram } from '../support/programs.ts'
import { eventually, Rig } from '../support/rig.ts'
import { assertFullStrength, onlyError, took } from '../support/strength.ts'
import { result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()

describe('the disk of Postgres is full (F15)', () => {
  it('its error is passed on, and the pool is as before', async (t) => {
    const place = smallDisk(t)
    if (place === null) return
    const rig = await Rig.start(postgres, { pool: { size: 3 } })
    await rig.see(`create tablespace small location '${place}'`)
    await rig.see('create table f15 (filler text) tablespace small')
    await rig.see('alter table f15 alter column filler set storage external')
    const healthy = await Healthy.start(through(rig.test, postgres))
    const fill = 'insert into f15 select repeat(md5(n::text), 200) from generate_series(1, 20000) n'
    await using client = await rig.client()
    const plain = await client.query(fill)
    assert.equal(onlyError(plain.messages, ['53100']).severity, 'ERROR')
    assert.equal(plain.status, 'I')
    await client.query('begin; select 1')
    const inside = await client.query(fill)
    onlyError(inside.messages, ['53100'])
    assert.equal(inside.status, 'E')
    assert.equal((await client.query('select 1')).error?.code, '25P02')
    assert.equal((await client.query('commit')).tag, 'ROLLBACK')
    const batch = await client.extended(fill)
    onlyError(batch.messages, ['53100'])
    client.send(m.query('copy f15 from stdin'))
    await client.until('G')
    client.send(...Array.from({ length: 100 }, () => m.copyData(`${'c'.repeat(99_999)}\n`)), m.copyDone())
    onlyError(await client.until('Z'), ['53100'])
    assert.deepEqual((await client.query('select count(*) from f15')).rows, [['0']])
    await healthy.goesOn()
    await healthy.stop()
    await client.end()
    await rig.see('drop table f15')
    await rig.see('drop tablespace small')
    await assertFullStrength(rig, 3)
  })
})

/** A folder of Postgres on a disk of 8 MB; null, and the test is marked, where none can be made. */
function smallDisk(t: TestContext): string | null {
  if (postgres.control === null) {
    notRun(t, postgres.missing)
    return null
  }
  const place = mkdtempSync(join(tmpdir(), 'pgmux-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', place], { stdio: 'pipe' })
  } catch {
    rmSync(place, { recursive: true })
    notRun(t, 'needs the right to mount a small tmpfs')
    return null
  }
  // At the end of the file: Postgres, which has the folder open, ends before.
  after(() => {
    execFileSync('umount', ['-l', place])
    rmSync(place, { recursive: true, force: true })
  })
  const { uid, gid } = statSync(postgres.control.socketDir)
  chownSync(place, uid, gid)
  return place
}

describe('no open files are left (F17)', () => {
  const FILES = 64

  it('who is in goes on, who is new waits or is refused, nothing spins; then all is well', async (t) => {
    if (findProgram('prlimit') === null) return notRun(t, 'the program prlimit is not installed')
    const pooler = await startPoolerProcess(
      postgres.url,
      { pool: { size: 4 }, client: { auth: 'trust' } },
      { through: ['prlimit', `--nofile=${FILES}:${FILES}`] },
    )
    t.after(() => pooler.stop())
    const address = { ...direct(postgres), host: pooler.host, port: pooler.port }
    const healthy = await Healthy.start(address)
    await healthy.goesOn()
    const strangers: WireClient[] = []
    t.after(() => {
      for (const stranger of strangers) stranger.destroy()
    })
    // More than it can have; what the kernel took for it hears nothing, or the end.
    for (let count = 0; count < 2 * FILES; count++) strangers.push(await WireClient.open(address))
    for (let round = 0; round < 10; round++) await healthy.goesOn()
    await assert.rejects(WireClient.connect({ ...address, timeout: 500 }), 'there is room for one more')
    await healthy.goesOn()
    await healthy.stop()
    const idle = await spent(pooler, 500)
    assert.ok(idle < 250, `${idle} ms of processor time in 500 ms of nothing`)
    const back = await took(async () => {
      for (const stranger of strangers.splice(0)) stranger.destroy()
      await eventually(async () => (await WireClient.connect(address)).end())
    })
    assert.ok(back < 2500, `${back} ms until the next client is in`)
    const again = await Healthy.start(address)
    await again.goesOn()
    await again.stop()
    await eventually(async () => {
      const { clients, servers } = await pooler.gauges()
      assert.deepEqual({ ...clients }, { login: 0, idle: 0, active: 0, waiting: 0 })
      assert.equal(servers.active + servers.opening + servers.testing, 0)
    })
  })
})

/** Processor time, in ms, that it takes while nobody asks it anything for so long. */
async function spent(pooler: PoolerProcess, ms: number): Promise<number> {
  const before = await pooler.cpu()
  await new Promise((resolve) => setTimeout(resolve, ms))
  return (await pooler.cpu()) - before
}

describe('memory is short (F18)', () => {
  it('many who read slowly: it lives, and others are served', async (t) => {
    // The heap; buffers are outside, and bounded by the tests of memory.
    const flags = ['--max-old-space-size=32', '--max-semi-space-size=1']
    const pooler = await startPoolerProcess(
      postgres.url,
      { pool: { size: 10 }, client: { auth: 'trust' } },
      { flags },
    )
    t.after(() => pooler.stop())
    const address = { ...direct(postgres), host: pooler.host, port: pooler.port }
    const healthy = await Healthy.start(address)
    const readers = await Promise.all(Array.from({ length: 8 }, () => WireClient.connect(address)))
    const before = (await pooler.memory()).rss
    for (const reader of readers) {
      reader.pause()
      reader.send(m.query("select repeat('s', 1000) from generate_series(1, 10000)"))
    }
    const askers = await Promise.all(Array.from({ length: 100 }, () => WireClient.connect(address)))
    for (const asker of askers) {
      asker.pause()
      asker.send(Buffer.concat(Array.from({ length: 2000 }, () => m.sync())))
    }
    for (let round = 0; round < 20; round++) await healthy.goesOn()
    const { rss } = await pooler.memory()
    assert.ok(rss - before < 64 * 1024 * 1024, `${Math.round((rss - before) / 1024 / 1024)} MiB`)
    for (const reader of readers) reader.resume()
    for (const reader of readers) assert.equal(result(await reader.until('Z')).rows.length, 10_000)
    await healthy.stop()
    for (const client of [...readers, ...askers]) client.destroy()
    await eventually(async () => {
      const { clients, servers } = await pooler.gauges()
      assert.deepEqual({ ...clients }, { login: 0, idle: 0, active: 0, waiting: 0 })
      assert.equal(servers.active + servers.opening + servers.testing, 0)
    })
  })
})
