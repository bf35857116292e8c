// A worker that is gone, the first process gone, starts that fail, reloads and the end: what becomes of
// several processes that share the work.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { TestCrew, workerOf } from '../support/crew.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
/** Promised is about a second; machines that run tests are busy. */
const SOON_MS = 20_000

/** One client in each of two workers. */
async function pair(crew: TestCrew): Promise<[WireClient, WireClient]> {
  const clients = await crew.clients(4)
  const found = [0, 1].map((worker) => clients.find(({ pid }) => workerOf(pid, 2) === worker))
  for (const client of clients) if (!found.includes(client)) await client.end()
  return found as [WireClient, WireClient]
}

function isAlive(pid: number): boolean {
  // Whoever has inherited it may not have asked how it ended.
  return existsSync(`/proc/${pid}`) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

describe('two workers', async () => {
  const crew = await TestCrew.start(postgres, { config: { pool: { size: 2, shared: 'off' } } })

  it('obey HUP: all workers take the new configuration, or none', async () => {
    const size = async (): Promise<string | null | undefined> =>
      (await crew.show('databases')).find(({ name }) => name === postgres.database)?.pool_size
    const clients = await pair(crew)
    for (const client of clients) await client.query('select 1')
    assert.equal(await size(), '2')
    crew.rewrite('pool', { size: 3 })
    crew.program.child.kill('SIGHUP')
    await eventually(async () => assert.equal(await size(), '3'))
    writeFileSync(join(crew.folder, 'config.yaml'), 'pool: 7')
    const boss = await crew.console()
    const { error } = await boss.query('reload')
    assert.equal(error?.code, 'F0000')
    crew.rewrite('pool', { size: 2 })
    assert.equal((await boss.query('reload')).tag, 'RELOAD')
    // Each worker says it: connections go to both.
    for (let round = 0; round < 4; round++) assert.equal(await size(), '2')
    assert.equal((await boss.query('set pool.size = 5')).error, null)
    for (let round = 0; round < 4; round++) assert.equal(await size(), '5')
    assert.equal((await boss.query('reload')).tag, 'RELOAD')
    assert.equal(await size(), '2')
    assert.equal(await crew.metric('pgmux_reloads_total{result="ok"}'), 4)
    assert.equal(await crew.metric('pgmux_reloads_total{result="failed"}'), 1)
    // USR1 and USR2 are for all as well.
    crew.program.child.kill('SIGUSR1')
    await eventually(async () => assert.equal((await crew.show('state'))[1]?.value, 'yes'))
    const waiting = clients.map((client) => client.query('select 5'))
    crew.program.child.kill('SIGUSR2')
    for (const one of waiting) assert.deepEqual((await one).rows, [['5']])
    for (const client of [boss, ...clients]) await client.end()
  })

  it('keep their port: another pgmux says in one sentence why it cannot start', async () => {
    const [{ value: port } = { value: '' }] = (await crew.show('config')).filter(
      ({ key }) => key === 'listen.port',
    )
    const bin = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
    const listen = ['--listen', `127.0.0.1:${port}`, '--admin', 'off', '--serverless', 'off']
    const args = [bin, 'run', '--workers', '2', '--upstream', postgres.url, ...listen]
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.equal(status, 1)
    assert.match(
      stderr,
      /^pgmux: cannot listen on 127\.0\.0\.1:\d+: it is in use by another process; [^\n]+\n$/,
    )
  })

  it('of which one is killed: its clients go, others see nothing, a new one is up before long', async () => {
    const [one, other] = await pair(crew)
    await other.query('begin; create temp table mine (x int) on commit drop')
    const before = await crew.metric('pgmux_client_logins_total')
    const victim = crew.processOf(one)
    const from = performance.now()
    process.kill(victim, 'SIGKILL')
    await one.closed
    assert.equal((await other.query('insert into mine values (1)')).tag, 'INSERT 0 1')
    await eventually(async () => {
      assert.equal((await crew.get('/readyz')).status, 200)
      assert.equal(crew.workers().includes(victim), false)
    }, SOON_MS)
    const took = performance.now() - from
    assert.ok(took < SOON_MS, `${took} ms`)
    assert.equal((await other.query('select * from mine')).rows.length, 1)
    await other.query('rollback')
    const [again, still] = await pair(crew)
    for (const client of [again, still, other]) {
      assert.equal((await client.query('select 1')).error, null)
      await client.end()
    }
    const [line] = crew.logged('a worker has ended; its clients are cut off')
    assert.deepEqual([line?.worker, line?.pid, line?.how], [workerOf(one.pid, 2), victim, 'SIGKILL'])
    // What was counted and shown does not go down.
    assert.ok((await crew.metric('pgmux_client_logins_total')) >= before)
  })

  it('of which one is killed: its places come back when what ran on them is over', async () => {
    const clients = await crew.clients(6)
    const worker = workerOf(clients[0]?.pid, 2)
    const here = clients.filter(({ pid }) => workerOf(pid, 2) === worker)
    const there = clients.find(({ pid }) => workerOf(pid, 2) !== worker) as WireClient
    // All that may be is taken, by statements that would run for long.
    for (const client of here.slice(0, 2)) void client.query('select pg_sleep(30)').catch(() => {})
    await eventually(async () => assert.equal(await sleeping(), 2), SOON_MS)
    process.kill(crew.processOf(here[0] as WireClient), 'SIGKILL')
    const answered = there.query('select 1')
    let isOver = false
    void answered.finally(() => {
      isOver = true
    })
    let most = 0
    const until = performance.now() + SOON_MS
    while (!isOver && performance.now() < until) most = Math.max(most, await crew.backends())
    assert.equal((await answered).error, null)
    assert.ok(most <= 2, `${most} servers`)
    assert.equal(await sleeping(), 0)
    await crew.ready()
    for (const client of clients.filter((client) => !here.includes(client))) await client.end()
  })

  it('of which one hangs: others get the clients, and it is replaced', async () => {
    const [one, other] = await pair(crew)
    const victim = crew.processOf(one)
    crew.rewrite('worker_timeout', '2s')
    assert.equal((await (await crew.console()).query('reload')).error, null)
    process.kill(victim, 'SIGSTOP')
    await eventually(
      () => crew.logged('a worker does nothing any more: it is killed and replaced').length === 1,
      SOON_MS,
    )
    await one.closed
    assert.equal((await other.query('select 1')).error, null)
    await crew.ready()
    assert.equal(crew.workers().includes(victim), false)
    const [again] = await pair(crew)
    assert.equal((await again.query('select 1')).error, null)
    const [line] = crew.logged('a worker does nothing any more: it is killed and replaced')
    assert.ok(Number(line?.silent_ms) > 2000)
    crew.rewrite('worker_timeout', '30s')
    assert.equal((await (await crew.console()).query('reload')).error, null)
    for (const client of [other, again]) await client.end()
  })

  it('of which one ends again and again: it is started after a pause', async () => {
    const killed = new Set<number>()
    for (let round = 0; round < 3; round++) {
      const next = (): number | undefined => crew.processes(0).find((worker) => !killed.has(worker))
      await eventually(() => next() !== undefined, SOON_MS)
      const worker = next() as number
      killed.add(worker)
      process.kill(worker, 'SIGKILL')
    }
    const paused = (): unknown[] => crew.logged('a worker ends again and again: its next start waits')
    await eventually(() => paused().length > 0, SOON_MS)
    assert.equal((await crew.get('/readyz')).status, 503)
    await eventually(async () => assert.equal((await crew.get('/readyz')).status, 200), SOON_MS)
    await using client = await crew.client()
    assert.equal((await client.query('select 1')).error, null)
  })

  it('end when the first process is killed', async () => {
    const workers = crew.workers()
    assert.equal(workers.length, 2)
    crew.program.child.kill('SIGKILL')
    await eventually(() => !workers.some(isAlive))
  })

  async function sleeping(): Promise<number> {
    const sql = "select count(*)::int as n from pg_stat_activity where query = 'select pg_sleep(30)'"
    return Number((await postgres.admin(`${sql} and state = 'active'`))[0]?.n)
  }
})

it('transactions in all workers end after TERM, then all is over', async () => {
  const crew = await TestCrew.start(postgres)
  const clients = await pair(crew)
  for (const client of clients) await client.query('begin; select 1')
  const workers = crew.workers()
  crew.program.child.kill('SIGTERM')
  await eventually(async () => crew.logged('stopping').length === 1)
  for (const client of clients) {
    assert.equal((await client.query('commit')).tag, 'COMMIT')
    await client.closed
  }
  assert.equal(await crew.program.exit, 0)
  assert.equal(workers.some(isAlive), false)
})
