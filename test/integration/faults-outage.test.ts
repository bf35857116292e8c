// Postgres frozen as a whole, restarted, crashed, down for a while: everybody is told once and at their
// deadline, and service is back with it (faults F4 to F7). Who waits for what otherwise is in outage.test.ts.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { direct, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { startPooler } from '../support/pooler.ts'
import { getPostgres, type PostgresControl } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { assertFullStrength, onlyError } from '../support/strength.ts'
import { LoginError, result, WireClient } from '../support/wire-client.ts'

/** Promised is 1 s behind Postgres' own readiness; machines that run tests are busy. */
const BACK_MS = 2000
const WAIT_MS = 600
const CONNECT_MS = 400
/** What a busy machine may add to a deadline. */
const LATE_MS = 1500

// What Postgres has acknowledged must be there after its crash.
const postgres = await getPostgres({ settings: { synchronous_commit: 'on' } })
const local = { skip: postgres.control === null ? postgres.missing : false }
const control = postgres.control as PostgresControl

/** A pooler with impatient clients; a client of it with another baseline needs a server to log in. */
const impatient = {
  pool: { size: 2, queryWaitTimeoutMs: WAIT_MS },
  upstream: { connectTimeoutMs: CONNECT_MS },
}
const stranger = (rig: Rig) => rig.client({ params: { options: `-c f.x=${Math.random()}` } })

/** Resolves with the time at which Postgres itself lets somebody in. */
async function reachable(): Promise<number> {
  await eventually(async () => (await WireClient.connect(direct(postgres))).end(), 20_000)
  return performance.now()
}

/** It fails with this error, the only one, and not much later than its deadline. */
async function refusedLogin(login: Promise<WireClient>, codes: string[], deadlineMs: number): Promise<void> {
  const since = performance.now()
  const error = await login.then(
    () => assert.fail('the login succeeded'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof LoginError, String(error))
  assert.equal(onlyError(error.messages, codes).severity, 'FATAL')
  assert.ok(performance.now() - since < deadlineMs + LATE_MS, `after ${performance.now() - since} ms`)
}

/** All processes of this Postgres, the postmaster first. */
function processes(): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => parentOf(name) === control.pid)
  return [control.pid, ...children.map(Number)]
}

function parentOf(pid: string): number {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1])
  } catch {
    return 0
  }
}

describe('a Postgres that is frozen (F4)', local, () => {
  it('those who wait are told at their deadline; what ran goes on when it does', async () => {
    const rig = await Rig.start(postgres, impatient)
    const clients = await Promise.all(Array.from({ length: 5 }, () => rig.client()))
    const [running, inside, waiting, other, late] = clients as [
      WireClient,
      WireClient,
      WireClient,
      WireClient,
      WireClient,
    ]
    await inside.query('begin')
    running.send(m.query('select pg_sleep(0.2), 5'))
    await rig.running('select pg_sleep(0.2)%')
    const frozen = processes()
    for (const pid of frozen) process.kill(pid, 'SIGSTOP')
    try {
      const since = performance.now()
      waiting.send(m.query('select 1'))
      other.send(m.parse('select 1'), m.bind(), m.execute(), m.sync())
      for (const client of [waiting, other]) {
        const { messages, status } = result(await client.until('Z'))
        const error = onlyError(messages, ['53300'])
        assert.equal(error.severity, 'ERROR')
        assert.equal(status, 'I')
      }
      const waited = performance.now() - since
      assert.ok(waited >= WAIT_MS - 60 && waited < WAIT_MS + LATE_MS, `${waited} ms`)
      await refusedLogin(stranger(rig), ['08001', '53300'], CONNECT_MS + WAIT_MS)
      assert.deepEqual(running.drain(), [])
      assert.equal(rig.test.pooler.gauges().waiting, 0)
      late.send(m.query('select 6'))
    } finally {
      for (const pid of frozen.reverse()) process.kill(pid, 'SIGCONT')
    }
    assert.equal(result(await running.until('Z')).rows[0]?.[1], '5')
    assert.deepEqual((await inside.query('select 7; commit')).rows, [['7']])
    assert.deepEqual(result(await late.until('Z')).rows, [['6']], 'who waited less is served')
    for (const client of [waiting, other]) assert.deepEqual((await client.query('select 7')).rows, [['7']])
    await (await stranger(rig)).end()
    await Promise.all(clients.map((client) => client.end()))
    await full(rig, 2)
  })
})

/** As many clients at once as there are places, also where the observer of the rig was cut off. */
async function full(rig: Rig, size: number): Promise<void> {
  const fresh = await rig.direct()
  await fresh.end()
  await assertFullStrength(rig, size)
}

describe('a Postgres that stops and comes back', local, () => {
  const ways: [name: string, stop: 'stopFast' | 'stopImmediate', codes: string[]][] = [
    ['restart -m fast (F5)', 'stopFast', ['57P01']],
    ['stop -m immediate (F6)', 'stopImmediate', ['57P01', '57P02', '08006']],
  ]
  for (const [name, stop, codes] of ways) {
    it(`${name}: one error for whoever had a server, none for the others`, async () => {
      const rig = await Rig.start(postgres, { pool: { size: 3 } })
      await rig.see(`create table ${stop} (mark int)`)
      const clients = await Promise.all(Array.from({ length: 4 }, () => rig.client()))
      const [idle, inside, running, waiting] = clients as [WireClient, WireClient, WireClient, WireClient]
      await inside.query(`begin; insert into ${stop} values (0)`)
      running.send(m.query('select pg_sleep(60)'))
      await rig.running('%pg_sleep(60)%')
      assert.equal((await idle.query(`insert into ${stop} values (1)`)).tag, 'INSERT 0 1')
      const since = performance.now()
      const stopped = control[stop]()
      assert.equal(onlyError(await running.until('Z'), codes).severity, 'ERROR')
      assert.equal(onlyError(await inside.untilClosed(), codes).severity, 'FATAL')
      assert.ok(performance.now() - since < LATE_MS, `told after ${performance.now() - since} ms`)
      await stopped
      waiting.send(m.query('select 5'))
      const fresh = WireClient.connect(through(rig.test, postgres))
      const started = control.start()
      const at = await reachable()
      assert.deepEqual(result(await waiting.until('Z')).rows, [['5']])
      const newcomer = await fresh
      assert.deepEqual((await newcomer.query('select 6')).rows, [['6']])
      assert.ok(performance.now() - at < BACK_MS, `back after ${performance.now() - at} ms`)
      assert.deepEqual((await idle.query(`select mark from ${stop}`)).rows, [['1']], 'and nothing is lost')
      assert.deepEqual((await running.query('select 7')).rows, [['7']])
      for (const client of [idle, running, waiting, newcomer]) {
        assert.deepEqual(client.drain(), [])
        await client.end()
      }
      await started
      await rig.test.stop()
    })
  }

  it('down for longer than anybody waits (F7): served at once, no old failure afterwards', async () => {
    const rig = await Rig.start(postgres, impatient)
    const clients = await Promise.all(Array.from({ length: 6 }, () => rig.client()))
    for (const client of clients) await client.query('select 1')
    // Nobody's session is being read back: who loses a server then has lost its session.
    await rig.quiet()
    await control.stopFast()
    try {
      for (let round = 0; round < 2; round++) {
        const since = performance.now()
        for (const client of clients) client.send(m.query('select 1'))
        for (const client of clients) {
          const error = onlyError(await client.until('Z'), ['53300'])
          assert.equal(error.severity, 'ERROR')
          assert.match(error.fields.D ?? '', /could not connect/)
        }
        assert.ok(performance.now() - since < WAIT_MS + LATE_MS)
      }
      await refusedLogin(stranger(rig), ['08001', '53300'], CONNECT_MS + WAIT_MS)
    } finally {
      void control.start()
    }
    const at = await reachable()
    // From now on an error is a cached one, except while the next attempt is due.
    await eventually(async () => assert.equal((await clients[0]?.query('select 7'))?.error, null))
    assert.ok(performance.now() - at < BACK_MS, `back after ${performance.now() - at} ms`)
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(clients.map((client) => client.query('select 8')))
      for (const { error, rows } of answers) assert.deepEqual([error, rows], [null, [['8']]])
      await (await (round % 2 === 0 ? rig.client() : stranger(rig))).end()
    }
    await Promise.all(clients.map((client) => client.end()))
    await rig.test.stop()
    const again = await Rig.start(postgres, { pool: { size: 2 } })
    await full(again, 2)
  })
})

describe('a Postgres that takes connections and says nothing', () => {
  it('the pooler can be stopped while it logs in', async () => {
    const open = new Set<Socket>()
    const mute = createServer((socket) => open.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const url = new URL(postgres.url)
    url.port = String((mute.address() as AddressInfo).port)
    const pooler = await startPooler(url.href)
    const login = refusedLogin(WireClient.connect(through(pooler, postgres)), ['57P01', '57P03'], 0)
    await eventually(() => pooler.pooler.gauges().servers.opening === 1)
    await Promise.all([pooler.stop(), login])
    assert.equal(pooler.pooler.gauges().servers.opening, 0)
    for (const socket of open) socket.destroy()
    mute.close()
  })
})
