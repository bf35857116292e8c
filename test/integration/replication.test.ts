// Replication connections: a server of their own, never shared, closed with them, and counted (hazard K08).
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, beforeEach, describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { direct } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { LoginError, result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 2 } })
await rig.see('create table marks (mark text)')

const physical = { params: { replication: 'true' } }
const logical = { params: { replication: 'database' } }
const walsenders = async () =>
  Number(await rig.value("select count(*) from pg_stat_activity where backend_type = 'walsender'"))

/** Resolves with the error of a login that must fail. */
async function refusal(login: Promise<WireClient>): Promise<LoginError> {
  const error = await login.then(
    () => null,
    (cause: Error) => cause,
  )
  assert.ok(error instanceof LoginError)
  return error
}

describe('a replication connection', () => {
  // Those of the test before.
  beforeEach(() => eventually(async () => assert.equal(await walsenders(), 0), 5000))

  for (const [name, options] of Object.entries({ physical, logical })) {
    it(`${name}: commands as direct`, async () => {
      const columns = async (client: WireClient) => {
        const system = await client.query('IDENTIFY_SYSTEM')
        const show = await client.query('SHOW wal_level')
        const wrong = await client.query('NO_SUCH_COMMAND')
        const [row] = system.rows
        return [
          system.columns,
          row?.[0],
          row?.[1],
          row?.[3],
          show.rows,
          wrong.error?.code,
          wrong.error?.message,
          wrong.status,
        ]
      }
      await using own = await WireClient.connect(direct(postgres, options))
      await using pooled = await rig.client(options)
      assert.deepEqual(await columns(pooled), await columns(own))
      assert.deepEqual(
        pooled.received.filter(({ type }) => type === 'S').length,
        own.received.filter(({ type }) => type === 'S').length,
      )
    })
  }

  it('has a server of its own, which ends with it', async () => {
    const client = await rig.client(logical)
    assert.equal(await walsenders(), 1)
    assert.equal(rig.test.pooler.gauges().servers.active, 1)
    await using other = await rig.client()
    const [row] = (await client.query('select pg_backend_pid()')).rows
    assert.notEqual(await rig.pidOf(other), Number(row?.[0]))
    await client.query('begin')
    await client.end()
    await eventually(async () => assert.equal(await walsenders(), 0))
    assert.equal(rig.test.pooler.gauges().servers.active, 0)
    const lost = await rig.client(physical)
    lost.destroy()
    await eventually(async () => assert.equal(await walsenders(), 0))
  })

  it('streams changes: a temporary slot, COPY both, CopyDone from the client', async () => {
    await using client = await rig.client(logical)
    const created = await client.query(
      'CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT',
    )
    assert.equal(created.error, null, created.error?.message)
    client.send(m.query('START_REPLICATION SLOT s LOGICAL 0/0'))
    assert.equal((await client.next()).type, 'W')
    await rig.see("insert into marks values ('streamed')")
    for (;;) {
      const message = await client.next()
      if (message.type === 'd' && message.data.toString('latin1').includes('streamed')) break
    }
    // A standby's status update goes up while changes come down.
    const status = Buffer.alloc(34)
    status.write('r')
    client.send(m.copyData(status))
    await rig.see("insert into marks values ('again')")
    for (;;) {
      const message = await client.next()
      if (message.type === 'd' && message.data.toString('latin1').includes('again')) break
    }
    client.send(m.copyDone())
    const end = await client.until('Z')
    assert.ok(end.some(({ type }) => type === 'c'))
    assert.equal(result(end).status, 'I')
    assert.equal((await client.query('IDENTIFY_SYSTEM')).error, null)
  })

  it('a stream whose client vanishes is ended', async () => {
    for (const go of ['destroy', 'halfClose', 'end'] as const) {
      const client = await rig.client(physical)
      const position = (await client.query('IDENTIFY_SYSTEM')).rows[0]?.[2]
      client.send(m.query(`START_REPLICATION PHYSICAL ${position}`))
      await client.until('W')
      assert.equal(await walsenders(), 1)
      void client[go]()
      await eventually(async () => assert.equal(await walsenders(), 0), 5000)
      assert.equal(rig.test.pooler.gauges().servers.active, 0)
    }
  })

  it('a stream whose server vanishes: FATAL, closed', async () => {
    const client = await rig.client(physical)
    const position = (await client.query('IDENTIFY_SYSTEM')).rows[0]?.[2]
    client.send(m.query(`START_REPLICATION PHYSICAL ${position}`))
    await client.until('W')
    await rig.see(
      "select pg_terminate_backend(pid, 5000) from pg_stat_activity where backend_type = 'walsender'",
    )
    const errors = (await client.untilClosed()).filter((message) => message.type === 'E')
    assert.deepEqual(
      errors.map(({ severity, code }) => [severity, code]),
      [['FATAL', '57P01']],
    )
  })

  it("Postgres' refusal is the client's", async () => {
    await rig.see("create role plain login password 'secret'")
    const pooled = await Rig.start(postgres, {
      upstream: { user: '', password: null },
      users: new Map([['plain', { secret: 'secret' }]]),
    })
    const options = { user: 'plain', password: 'secret', ...physical }
    const expected = await refusal(WireClient.connect(direct(postgres, options)))
    const error = await refusal(pooled.client(options))
    assert.deepEqual([error.code, error.message], [expected.code, expected.message])
  })

  it('a value that is no boolean is refused as direct; false is a plain connection', async () => {
    const options = { params: { replication: 'nonsense' } }
    for (const login of [() => WireClient.connect(direct(postgres, options)), () => rig.client(options)]) {
      assert.equal((await refusal(login())).code, '22023')
    }
    await using plain = await rig.client({ params: { replication: 'false' } })
    assert.deepEqual((await plain.query('select 1')).rows, [['1']])
    // Those of the tests before may still be ending.
    await eventually(async () => assert.equal(await walsenders(), 0))
  })
})

describe('limits and replication', () => {
  it('its server counts: others wait for its place, and it is refused where there is none', async () => {
    const small = await Rig.start(postgres, { pool: { size: 5, maxServers: 2 } })
    const stream = await small.client(physical)
    await using one = await small.client()
    await using two = await small.client()
    await one.query('begin')
    two.send(m.query('select 2'))
    await eventually(() => small.test.pooler.gauges().waiting === 1)
    assert.equal((await refusal(small.client(physical))).code, '53300')
    await stream.end()
    assert.deepEqual(result(await two.until('Z')).rows, [['2']])
    await one.query('commit')
    // An idle server of the pool gives way to it.
    assert.equal(small.test.pooler.gauges().servers.idle, 2)
    await using third = await small.client(physical)
    assert.equal((await third.query('IDENTIFY_SYSTEM')).error, null)
    const { idle, active } = small.test.pooler.gauges().servers
    assert.equal(idle + active, 2)
  })
})

/** The folder of this program, or null. */
async function found(program: string): Promise<string | null> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, program)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path
  }
  return null
}

/** The program, if it is there and new enough for this Postgres; else the test is not run. */
async function programFor(t: TestContext, name: string): Promise<string | null> {
  const program = await found(name)
  if (program === null) {
    notRun(t, `${name} is not installed`)
    return null
  }
  const { stdout } = await promisify(execFile)(program, ['--version'])
  if (Number(/(\d+)/.exec(stdout)?.[1]) >= postgres.major) return program
  notRun(t, `${name} is older than Postgres ${postgres.major}`)
  return null
}

/** A folder that is removed at the end. */
async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'pgmux-replication-'))
  after(() => rm(path, { recursive: true, force: true }))
  return path
}

describe("Postgres' own programs", () => {
  const where = () => ['-h', rig.test.host, '-p', String(rig.test.port), '-U', postgres.user]
  const env = { ...process.env, PGPASSWORD: postgres.password, PGDATABASE: postgres.database }

  it('pg_receivewal', async (t) => {
    const program = await programFor(t, 'pg_receivewal')
    if (program === null) return
    const target = await folder()
    const child = spawn(program, [...where(), '-D', target, '--no-loop', '--synchronous'], {
      env,
      stdio: 'ignore',
    })
    const exit = once(child, 'exit')
    await eventually(async () => (await readdir(target)).length > 0)
    await rig.see("insert into marks values ('received'); select pg_switch_wal()")
    await eventually(async () => (await readdir(target)).some((name) => /^[0-9A-F]{24}$/.test(name)))
    child.kill('SIGINT')
    assert.equal((await exit)[0], 0)
    await eventually(async () => assert.equal(await walsenders(), 0))
  })

  it('pg_basebackup', async (t) => {
    const program = await programFor(t, 'pg_basebackup')
    if (program === null) return
    const target = await folder()
    await promisify(execFile)(
      program,
      [...where(), '-D', join(target, 'data'), '-X', 'stream', '-c', 'fast'],
      { env },
    )
    await access(join(target, 'data', 'PG_VERSION'))
  })
})
