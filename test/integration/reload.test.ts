// A configuration that changes while clients are connected: each live option changes what it is about, nobody
// is reconnected for nothing, and what is gone is gone in order (hazards L01, L02).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DatabaseConfig, UserConfig } from '../../src/config/types.ts'
import type { ReloadReport } from '../../src/reload.ts'
import * as m from '../support/messages.ts'
import { merge, type Overrides } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { testCertificate } from '../support/server-files.ts'
import type { LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin('create table marks (mark text)')
await postgres.admin("create role alice login password 'one'")
await postgres.admin('create database second')

const LONG = 3_600_000

function reload(rig: Rig, overrides: Overrides): ReloadReport {
  const { pooler } = rig.test
  return pooler.reload(merge(pooler.config, overrides))
}

/** How a client's connection ended: severity and SQLSTATE of the one error it was told. */
async function farewell(client: WireClient): Promise<string> {
  const messages = (await client.untilClosed()).filter(({ type }) => type === 'E')
  return messages.map((one) => (one.type === 'E' ? `${one.severity} ${one.code}` : '')).join()
}

async function loginError(rig: Rig, extra: object = {}): Promise<string> {
  try {
    await using client = await rig.client(extra)
    return `in, ${client.status}`
  } catch (error) {
    return (error as LoginError).code
  }
}

/** `count` servers that are free, as their process numbers. */
async function warm(rig: Rig, count: number): Promise<number[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => rig.client()))
  for (const client of clients) client.send(m.query('begin'))
  for (const client of clients) await client.until('Z')
  for (const client of clients) await client.query('commit')
  await Promise.all(clients.map((client) => client.end()))
  return rig.quiet()
}

const servers = async (rig: Rig): Promise<number> => (await rig.backends()).length

/** What each option does when it changes under way. */
const LIVE: [name: string, before: Overrides, (rig: Rig) => Promise<void>][] = [
  [
    'pool.size raised: a client that waits is served at once',
    { pool: { size: 1 } },
    async (rig) => {
      await using holder = await rig.client()
      await using waiting = await rig.client()
      await holder.query('begin')
      waiting.send(m.query('select 5'))
      await eventually(() => rig.test.pooler.gauges().waiting === 1)
      assert.deepEqual(reload(rig, { pool: { size: 2 } }).changed, ['pool.size'])
      await waiting.until('Z')
      assert.equal(waiting.status, 'I')
    },
  ],
  [
    'pool.size lowered: what is too much goes, the one at work when it is free',
    { pool: { size: 4 } },
    async (rig) => {
      await warm(rig, 3)
      await using holder = await rig.client()
      await using other = await rig.client()
      await holder.query('begin')
      await other.query('begin')
      reload(rig, { pool: { size: 1 } })
      await eventually(async () => (await servers(rig)) === 2)
      assert.equal((await holder.query('commit')).error, null)
      await eventually(async () => (await servers(rig)) === 1)
      assert.equal((await other.query('commit')).error, null)
    },
  ],
  [
    'pool.min_size raised: servers are opened',
    { pool: { size: 4 } },
    async (rig) => {
      await warm(rig, 1)
      reload(rig, { pool: { minSize: 3 } })
      await eventually(async () => (await servers(rig)) === 3)
    },
  ],
  [
    'pool.max_servers lowered: idle servers go down to it',
    { pool: { size: 4 } },
    async (rig) => {
      await warm(rig, 3)
      reload(rig, { pool: { maxServers: 1 } })
      await eventually(async () => (await servers(rig)) === 1)
    },
  ],
  [
    'pool.server_idle_timeout: idle servers go',
    { pool: { size: 2 } },
    async (rig) => {
      await warm(rig, 2)
      reload(rig, { pool: { serverIdleTimeoutMs: 50 } })
      await eventually(async () => (await servers(rig)) === 0)
    },
  ],
  [
    'pool.server_lifetime: old servers go',
    { pool: { size: 2 } },
    async (rig) => {
      await warm(rig, 2)
      reload(rig, { pool: { serverLifetimeMs: 50 } })
      await eventually(async () => (await servers(rig)) === 0)
    },
  ],
  [
    'pool.query_wait_timeout: for those who wait already too',
    { pool: { size: 1, queryWaitTimeoutMs: LONG } },
    async (rig) => {
      await using holder = await rig.client()
      await using waiting = await rig.client()
      await holder.query('begin')
      waiting.send(m.query('select 5'))
      await eventually(() => rig.test.pooler.gauges().waiting === 1)
      reload(rig, { pool: { queryWaitTimeoutMs: 50 } })
      const told = await waiting.until('Z')
      assert.equal(told[0]?.type === 'E' && told[0].code, '53300')
    },
  ],
  [
    'pool.max_prepared_statements: on servers that are there',
    { pool: { size: 1, maxPreparedStatements: 50 } },
    async (rig) => {
      await using client = await rig.client()
      // What a client sees of pg_prepared_statements is its own.
      const [entry] = [...rig.test.pooler.router.entries()]
      const count = () => [...entry!.servers()][0]?.talk.statements.size ?? 0
      for (let at = 0; at < 6; at++) {
        client.send(m.parse(`select ${at}`, { name: `s${at}` }), m.sync())
        await client.until('Z')
      }
      assert.equal(count(), 6)
      reload(rig, { pool: { maxPreparedStatements: 2 } })
      for (let at = 0; at < 2; at++) await client.extended(`select ${at}, 'again'`)
      assert.equal(count(), 2)
    },
  ],
  [
    'client.idle_timeout: for clients that are in',
    {},
    async (rig) => {
      const client = await rig.client()
      await client.query('select 1')
      reload(rig, { client: { idleTimeoutMs: 50 } })
      assert.equal(await farewell(client), 'FATAL 57P05')
    },
  ],
  [
    'client.idle_transaction_timeout: for transactions that are open',
    {},
    async (rig) => {
      const client = await rig.client()
      await client.query('begin')
      reload(rig, { client: { idleTransactionTimeoutMs: 50 } })
      assert.equal(await farewell(client), 'FATAL 25P03')
    },
  ],
  [
    'client.query_timeout: for queries that run',
    {},
    async (rig) => {
      await using client = await rig.client()
      client.send(m.query('select pg_sleep(60)'))
      await rig.running('%pg_sleep(60)%')
      reload(rig, { client: { queryTimeoutMs: 50 } })
      const told = await client.until('Z')
      assert.ok(told.some((one) => one.type === 'E' && one.code === '57014'))
    },
  ],
  [
    'client.max_connections: those who are in are counted, and stay',
    { client: { maxConnections: 0 } },
    async (rig) => {
      await using first = await rig.client()
      await using second = await rig.client()
      reload(rig, { client: { maxConnections: 1 } })
      assert.equal(await loginError(rig), '53300')
      reload(rig, { client: { maxConnections: 3 } })
      await using third = await rig.client()
      assert.equal(await loginError(rig), '53300')
      for (const client of [first, second, third]) assert.equal((await client.query('select 1')).error, null)
    },
  ],
  [
    'client.max_per_user: counted over the reload',
    {},
    async (rig) => {
      await using client = await rig.client()
      reload(rig, { client: { maxPerUser: 1 } })
      assert.equal(await loginError(rig), '53300')
      assert.equal((await client.query('select 1')).error, null)
    },
  ],
  [
    'client.tls.mode: for who comes from now on',
    {},
    async (rig) => {
      await using inside = await rig.client()
      reload(rig, { client: { tls: { mode: 'require', ...testCertificate() } } })
      assert.equal(await loginError(rig), '28000')
      await using encrypted = await rig.client({ ssl: 'request' })
      assert.equal((await encrypted.query('select 1')).error, null)
      reload(rig, { client: { tls: { mode: 'disable' } } })
      await assert.rejects(rig.client({ ssl: 'request' }), /answered with 'N'/)
      for (const client of [inside, encrypted]) assert.equal((await client.query('select 1')).error, null)
    },
  ],
]

describe('live options', () => {
  for (const [name, before, check] of LIVE) {
    it(name, async () => {
      const rig = await Rig.start(postgres, before)
      try {
        await check(rig)
      } finally {
        await rig.stop()
      }
    })
  }

  it('a reload without a change reconnects nobody', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 3 } })
    const pids = await warm(rig, 3)
    const report = reload(rig, {})
    assert.deepEqual([report.changed, report.needsRestart], [[], []])
    // Certificates and times are made anew, nothing that servers log in with.
    reload(rig, { client: { goneGraceMs: 1234 }, upstream: { connectTimeoutMs: 4321 }, pool: { size: 5 } })
    assert.deepEqual(await rig.quiet(), pids)
    assert.ok(pids.includes(await rig.healthy()))
    await rig.stop()
  })

  it('what is only read at the start is named, and is as it was', async () => {
    const rig = await Rig.start(postgres)
    const { port } = rig.test
    const report = reload(rig, { listen: { port: 1 }, admin: { port: 2 }, pool: { size: 3 } })
    assert.deepEqual(report.needsRestart, ['admin.port', 'listen.port'])
    assert.deepEqual(report.changed, ['pool.size'])
    assert.equal(rig.test.pooler.addresses.postgres.port, port)
    assert.equal(await loginError(rig), 'in, I')
    // Still so when it is read once more.
    assert.deepEqual(reload(rig, { listen: { port: 1 } }).needsRestart, ['listen.port'])
    await rig.stop()
  })
})

/** Databases of a configuration, all on the Postgres of the tests. */
function databases(names: Record<string, DatabaseConfig>): Overrides {
  return { databases: new Map(Object.entries(names)) }
}

describe('databases', () => {
  it('removed: transactions end, then 57P04; who waits is told at once; new logins get 3D000', async () => {
    const both = { app: { dbname: postgres.database, minPoolSize: 1 }, other: { dbname: postgres.database } }
    const rig = await Rig.start(postgres, { pool: { size: 1 }, ...databases(both) })
    const [idle, inside, waiting] = [
      await rig.client({ database: 'app' }),
      await rig.client({ database: 'app' }),
      await rig.client({ database: 'app' }),
    ]
    await using elsewhere = await rig.client({ database: 'other' })
    const pid = await rig.pidOf(elsewhere)
    await idle.query('select 1')
    await inside.query("begin; insert into marks values ('removed')")
    waiting.send(m.query('select 1'))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    const report = reload(rig, databases({ other: both.other }))
    assert.deepEqual(report.databases.removed, ['app'])
    assert.equal(await farewell(idle), 'FATAL 57P04')
    assert.equal(await farewell(waiting), 'FATAL 57P04')
    assert.equal(await loginError(rig, { database: 'app' }), '3D000')
    assert.equal((await inside.query('select 1')).error, null)
    assert.equal((await inside.query('commit')).error, null)
    assert.equal(await farewell(inside), 'FATAL 57P04')
    await eventually(async () => assert.deepEqual(await rig.quiet(), [pid]))
    // Nothing is kept warm for nobody.
    await eventually(() => [...rig.test.pooler.router.entries()].length === 1)
    assert.equal(await rig.value("select count(*) from marks where mark = 'removed'"), '1')
    // And back: as if it had always been there.
    assert.deepEqual(reload(rig, databases(both)).databases.added, ['app'])
    assert.equal(await loginError(rig, { database: 'app' }), 'in, I')
    assert.equal(await rig.pidOf(elsewhere), pid)
    await rig.stop()
  })

  it('moved: transactions end where they began, the next ones are in the new place', async () => {
    const rig = await Rig.start(postgres, {
      pool: { size: 2 },
      ...databases({ app: { dbname: postgres.database } }),
    })
    await using inside = await rig.client({ database: 'app' })
    await using idle = await rig.client({ database: 'app' })
    const where = async (client: WireClient) => (await client.query('select current_database()')).rows[0]?.[0]
    await idle.query('begin; commit')
    await inside.query('begin')
    assert.deepEqual(reload(rig, databases({ app: { dbname: 'second' } })).changed, ['databases.app.dbname'])
    assert.equal(await where(inside), postgres.database)
    assert.equal(await where(idle), 'second')
    await inside.query('commit')
    assert.equal(await where(inside), 'second')
    await using fresh = await rig.client({ database: 'app', params: { timezone: 'Asia/Tokyo' } })
    assert.equal(await where(fresh), 'second')
    await eventually(async () => assert.deepEqual(await rig.backends("datname <> 'second'"), []))
    await rig.stop()
  })

  it('another pool_mode is for new clients; those who are in keep theirs', async () => {
    const mode = (poolMode: 'session' | 'transaction') => databases({ app: { dbname: 'second', poolMode } })
    const rig = await Rig.start(postgres, { pool: { size: 3 }, ...mode('session') })
    const old = await rig.client({ database: 'app' })
    const pid = await rig.pidOf(old)
    await old.query('create temp table mine as select 7 as x')
    reload(rig, mode('transaction'))
    await using fresh = await rig.client({ database: 'app' })
    await fresh.query('select 1')
    await eventually(() => rig.test.pooler.gauges().servers.idle === 1)
    assert.equal((await old.query('select x from mine')).rows[0]?.[0], '7')
    assert.equal(await rig.pidOf(old), pid)
    await old.end()
    await eventually(async () => assert.deepEqual(await rig.quiet(), [await rig.pidOf(fresh)]))
    await eventually(() => [...rig.test.pooler.router.entries()].length === 1)
    await rig.stop()
  })
})

/** Users of a configuration. */
function users(names: Record<string, UserConfig>): Overrides {
  return {
    upstream: { user: '', password: null },
    users: new Map(Object.entries({ [postgres.user]: { secret: postgres.password }, ...names })),
  }
}

describe('users', () => {
  const ALICE = { user: 'alice', password: 'one' }

  it('removed: out at the end of the transaction, and not in again', async () => {
    const rig = await Rig.start(postgres, users({ alice: { secret: 'one' } }))
    const idle = await rig.client(ALICE)
    const inside = await rig.client(ALICE)
    await using other = await rig.client()
    await inside.query('begin')
    const pid = await rig.pidOf(other)
    assert.deepEqual(reload(rig, users({})).users.removed, ['alice'])
    assert.equal(await farewell(idle), 'FATAL 57P01')
    assert.equal(await loginError(rig, ALICE), '28P01')
    assert.equal((await inside.query('commit')).error, null)
    assert.equal(await farewell(inside), 'FATAL 57P01')
    assert.equal(await rig.pidOf(other), pid)
    await rig.stop()
  })

  it('another password: who is in stays, servers log in anew, only the new one opens the door', async () => {
    const rig = await Rig.start(postgres, users({ alice: { secret: 'one' } }))
    await using inside = await rig.client(ALICE)
    const before = await rig.pidOf(inside)
    await postgres.admin("alter role alice password 'two'")
    try {
      const report = reload(rig, users({ alice: { secret: 'two' } }))
      assert.deepEqual(report.users.changed, ['alice'])
      assert.deepEqual(report.changed, ['users.alice.secret'])
      assert.equal(await loginError(rig, ALICE), '28P01')
      assert.equal(await loginError(rig, { user: 'alice', password: 'two' }), 'in, I')
      assert.notEqual(await rig.pidOf(inside), before)
    } finally {
      await postgres.admin("alter role alice password 'one'")
    }
    await rig.stop()
  })
})
