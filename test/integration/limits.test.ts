// Limits: on clients, on those who wait, on servers of a pool and of the process; who is refused with which
// words, who is served first, and that every count is right afterwards (DESIGN sections 5 and 8, hazards
// H01 to H05).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, Rig } from '../support/rig.ts'
import { transcript } from '../support/transcript.ts'
import { LoginError, result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin(
  "create role ann login superuser password 'secret'; create role bob login superuser password 'secret'",
)
await postgres.admin('create database second')
const users = new Map(['ann', 'bob'].map((name) => [name, { secret: 'secret' }]))
/** Options of a client that logs in as one of them. */
const as = (user: string, database = postgres.database) => ({ user, password: 'secret', database })
/** Everybody logs in to Postgres under the own name. */
const ownNames = { users, upstream: { user: '', password: null } }

async function refused(login: Promise<WireClient>): Promise<string> {
  const error = await login.then(
    async (client) => {
      await client.end()
      return new Error('the login succeeded')
    },
    (cause: Error) => cause,
  )
  assert.ok(error instanceof LoginError, error.message)
  const last = error.messages.at(-1)
  assert.ok(last?.type === 'E' && last.severity === 'FATAL')
  assert.equal(last.code, '53300')
  assert.equal(last.message, 'sorry, too many clients already')
  return last.fields.D ?? ''
}

describe('limits on clients', () => {
  it('client.memory_limit: nobody new while memory is short; whoever looks or is in may stay', async () => {
    const MUCH = 1024 ** 4
    const rig = await Rig.start(postgres, {
      ...ownNames,
      client: { memoryLimit: MUCH },
      admin: { users: ['ann'] },
    })
    const { pooler } = rig.test
    await using inside = await rig.client(as('ann'))
    const limitTo = (memoryLimit: number) =>
      pooler.reload({ ...pooler.config, client: { ...pooler.config.client, memoryLimit } })
    limitTo(1024 * 1024)
    await eventually(() => !pooler.ready().ok)
    assert.deepEqual(pooler.ready(), { ok: false, reason: 'memory is nearly used up' })
    const error = await rig.client(as('ann')).catch((cause: Error) => cause)
    assert.ok(error instanceof LoginError)
    const last = error.messages.at(-1)
    assert.equal(last?.type === 'E' ? last.code : '', '53200')
    assert.deepEqual((await inside.query('select 1')).rows, [['1']])
    await using admin = await rig.client(as('ann', 'pgmux'))
    assert.equal((await admin.query('show version')).error, null)
    limitTo(MUCH)
    await eventually(() => pooler.ready().ok)
    await using another = await rig.client(as('ann'))
    assert.deepEqual((await another.query('select 1')).rows, [['1']])
    const said = rig.test.lines.filter(({ message }) => /memory/.test(message))
    assert.deepEqual(
      said.map(({ level }) => level),
      ['warn', 'info'],
    )
  })

  const cases = {
    'client.max_connections': { client: { maxConnections: 2 } },
    'client.max_per_database': { client: { maxPerDatabase: 2 } },
    'client.max_per_user': { client: { maxPerUser: 2 } },
    'client.max_per_address': { client: { maxPerAddress: 2 } },
  }
  for (const [name, overrides] of Object.entries(cases)) {
    it(`${name}: the one too many is refused, and let in when another has gone`, async () => {
      const rig = await Rig.start(postgres, { ...overrides, ...ownNames })
      const two = [await rig.client(as('ann')), await rig.client(as('ann'))]
      for (let round = 0; round < 3; round++)
        assert.match(await refused(rig.client(as('ann'))), new RegExp(name))
      if (name === 'client.max_per_database') await (await rig.client(as('ann', 'second'))).end()
      if (name === 'client.max_per_user') await (await rig.client(as('bob'))).end()
      await two[0]?.end()
      await eventually(() => rig.test.pooler.gauges().clients.idle === 1)
      await using third = await rig.client(as('ann'))
      assert.deepEqual((await third.query('select 1')).rows, [['1']])
      // A failed login, and one that is broken off, take no place for good.
      await assert.rejects(rig.client({ ...as('bob'), password: 'wrong' }))
      await two[1]?.end()
      await eventually(() => rig.test.pooler.gauges().clients.idle === 1)
      await using fourth = await rig.client(as('ann'))
      assert.match(await refused(rig.client(as('ann'))), new RegExp(name))
      await fourth.query('select 1')
    })
  }

  it('client.max_per_address: one address that says nothing does not fill the door for all', async () => {
    const rig = await Rig.start(postgres, { client: { maxUnauthenticated: 4, maxPerAddress: 2 } })
    const from = (localAddress: string) => ({ localAddress })
    const silent = [await rig.stranger(from('127.0.0.2')), await rig.stranger(from('127.0.0.2'))]
    await eventually(() => rig.test.pooler.gauges().clients.login === 2)
    for (let round = 0; round < 3; round++)
      assert.match(await refused(rig.client(from('127.0.0.2'))), /client\.max_per_address/)
    // Who is in may use up the limit, and can cancel all the same.
    const inside = [await rig.client(from('127.0.0.3')), await rig.client(from('127.0.0.3'))]
    const asleep = inside[0]?.query('select pg_sleep(60)')
    await rig.running('%pg_sleep(60)%')
    await inside[0]?.cancel()
    assert.equal((await asleep)?.error?.code, '57014')
    for (const client of [...silent, ...inside]) client.destroy()
    await eventually(() => rig.test.pooler.gauges().clients.login === 0)
    await (await rig.client(from('127.0.0.2'))).end()
  })

  it('client.max_unauthenticated: those who do not log in do not keep others out for good', async () => {
    const rig = await Rig.start(postgres, { client: { maxUnauthenticated: 3 } })
    await using inside = await rig.client()
    const strangers = [await rig.stranger(), await rig.stranger(), await rig.stranger()]
    await eventually(() => rig.test.pooler.gauges().clients.login === 3)
    await refused(rig.client())
    assert.deepEqual((await inside.query('select 1')).rows, [['1']])
    strangers[0]?.destroy()
    await eventually(() => rig.test.pooler.gauges().clients.login === 2)
    await (await rig.client()).end()
    for (const stranger of strangers) stranger.destroy()
  })
})

describe('limits on waiting', () => {
  it('query_wait_timeout: ERROR 53300, the connection is kept and works', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1, queryWaitTimeoutMs: 500 } })
    await rig.see('create table if not exists marks (mark text)')
    await using holder = await rig.client()
    await using waiter = await rig.client()
    await holder.query('begin')
    const { error, status, messages } = await waiter.query("insert into marks values ('late')")
    assert.equal(error?.code, '53300')
    assert.equal(error?.severity, 'ERROR')
    assert.equal(error?.message, 'query_wait_timeout')
    assert.equal(status, 'I')
    assert.equal(messages.length, 2)
    // In a batch ReadyForQuery comes with the Sync, and what stands in between is skipped.
    waiter.send(m.parse("insert into marks values ('late')"), m.bind())
    assert.equal(transcript([await waiter.next()]), 'E(53300)')
    waiter.send(m.execute(), m.flush(), m.query("insert into marks values ('late')"))
    waiter.send(m.sync())
    assert.equal(transcript(await waiter.until('Z')), 'Z(I)')
    await holder.query('commit')
    assert.deepEqual((await waiter.query('select 7')).rows, [['7']])
    assert.equal(await rig.value("select count(*) from marks where mark = 'late'"), '0')
    assert.equal(rig.test.pooler.gauges().waiting, 0)
  })

  it('max_waiting: refused at once, the others wait on', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1, maxWaiting: 2 } })
    // Those who log in to a pool that knows no server yet wait as well.
    await rig.healthy()
    const clients = await Promise.all(Array.from({ length: 4 }, () => rig.client()))
    const [holder, one, two, three] = clients as [WireClient, WireClient, WireClient, WireClient]
    await holder.query('begin')
    one.send(m.query('select 1'))
    two.send(m.query('select 2'))
    await eventually(() => rig.test.pooler.gauges().waiting === 2)
    const { error, status } = await three.query('select 3')
    assert.equal(error?.code, '53300')
    assert.equal(status, 'I')
    await holder.query('commit')
    assert.deepEqual(result(await one.until('Z')).rows, [['1']])
    assert.deepEqual(result(await two.until('Z')).rows, [['2']])
    assert.deepEqual((await three.query('select 3')).rows, [['3']])
    await Promise.all(clients.map((client) => client.end()))
  })

  it('first come, first served', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const clients = await Promise.all(Array.from({ length: 20 }, () => rig.client()))
    const random = new Prng(5)
    await using holder = await rig.client()
    await holder.query('begin')
    const order = random.shuffle([...clients.keys()])
    for (const [place, number] of order.entries()) {
      clients[number]?.send(m.query('select 1'))
      await eventually(() => rig.test.pooler.gauges().waiting === place + 1)
    }
    const served: number[] = []
    const all = Promise.all(
      order.map(async (number) => {
        await clients[number]?.until('Z')
        served.push(number)
      }),
    )
    await holder.query('commit')
    await all
    assert.deepEqual(served, order)
    await Promise.all(clients.map((client) => client.end()))
  })
})

describe('limits on the servers of a pool', () => {
  it('size: never more, whatever the clients do', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 3 } })
    const clients = await Promise.all(Array.from({ length: 12 }, () => rig.client()))
    await Promise.all(clients.slice(0, 3).map((client) => client.query('begin')))
    clients[3]?.send(m.query('select 1'))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    await Promise.all(clients.slice(0, 3).map((client) => client.query('commit')))
    await clients[3]?.until('Z')
    const results = await Promise.all(
      clients.map((client) => client.query('select pg_backend_pid(), pg_sleep(0.03)')),
    )
    assert.equal(new Set(results.map(({ rows }) => rows[0]?.[0])).size, 3)
    assert.equal((await rig.backends(mine(rig))).length, 3)
    await Promise.all(clients.map((client) => client.end()))
  })

  it('reserve_size: used by one who has waited for reserve_timeout', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1, reserveSize: 1, reserveTimeoutMs: 150 } })
    await using holder = await rig.client()
    await using second = await rig.client()
    await using third = await rig.client()
    await holder.query('begin')
    const since = performance.now()
    assert.equal((await second.query('begin')).error, null)
    assert.ok(performance.now() - since >= 140)
    third.send(m.query('select 3'))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    await holder.query('commit')
    assert.deepEqual(result(await third.until('Z')).rows, [['3']])
    await second.query('commit')
  })

  it('min_size: opened, and kept when nobody needs them', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 5, minSize: 3, serverIdleTimeoutMs: 100 } })
    await using client = await rig.client()
    await eventually(() => rig.test.pooler.gauges().servers.idle === 3)
    const clients = await Promise.all(Array.from({ length: 5 }, () => rig.client()))
    await Promise.all(clients.map((one) => one.query('begin')))
    assert.equal(rig.test.pooler.gauges().servers.active, 5)
    await Promise.all(clients.map((one) => one.query('commit')))
    await eventually(() => rig.test.pooler.gauges().servers.idle === 3)
    await client.query('select 1')
    await Promise.all(clients.map((one) => one.end()))
  })
})

/** The server processes of this rig alone: other pools of the file are idle or have another user. */
function mine(rig: Rig): string {
  const pids = [...rig.test.pooler.router.entries()].flatMap((entry) =>
    [...entry.servers()].map(({ pid }) => pid),
  )
  return `pid in (${pids.join(', ')})`
}

describe('limits on servers beyond one pool', () => {
  const limits = {
    max_servers: { pool: { size: 5, maxServers: 2 } },
    max_servers_per_database: { pool: { size: 5, maxServersPerDatabase: 2 } },
  }
  for (const [name, overrides] of Object.entries(limits)) {
    it(`${name}: an idle server of another pool gives way`, async () => {
      const rig = await Rig.start(postgres, { ...ownNames, ...overrides })
      await using ann = await rig.client(as('ann'))
      await using second = await rig.client(as('ann'))
      await ann.query('begin')
      await second.query('select 1; begin')
      await second.query('commit')
      await ann.query('commit')
      assert.equal(rig.test.pooler.gauges().servers.idle, 2)
      await using bob = await rig.client(as('bob'))
      assert.deepEqual((await bob.query('select current_user')).rows, [['bob']])
      const { idle, active, opening } = rig.test.pooler.gauges().servers
      assert.ok(idle + active + opening <= 2)
      assert.deepEqual((await ann.query('select current_user')).rows, [['ann']])
    })

    it(`${name}: a pool that has none is served in its turn, however busy the other is`, async () => {
      const rig = await Rig.start(postgres, { ...ownNames, ...overrides })
      const hogs = await Promise.all(Array.from({ length: 8 }, () => rig.client(as('ann'))))
      let isOver = false
      const busy = hogs.map(async (hog) => {
        while (!isOver) assert.equal((await hog.query('select pg_sleep(0.005)')).error, null)
      })
      await using bob = await rig.client(as('bob'))
      for (let turn = 0; turn < 10; turn++)
        assert.deepEqual((await bob.query('select current_user')).rows, [['bob']])
      isOver = true
      await Promise.all(busy)
      const { idle, active, opening } = rig.test.pooler.gauges().servers
      assert.ok(idle + active + opening <= 2)
      await Promise.all(hogs.map((hog) => hog.end()))
    })
  }

  it('max_servers_per_user: over all databases', async () => {
    const rig = await Rig.start(postgres, { ...ownNames, pool: { size: 5, maxServersPerUser: 1 } })
    await using here = await rig.client(as('ann'))
    await here.query('begin')
    const there = rig.client(as('ann', 'second'))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    await (await rig.client(as('bob', 'second'))).end()
    await here.query('commit')
    await using found = await there
    assert.deepEqual((await found.query('select current_database()')).rows, [['second']])
    assert.deepEqual((await here.query('select current_database()')).rows, [[postgres.database]])
  })
})

describe('clients with other startup parameters on a pool of one', () => {
  it('each sees its own, and none starves', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const sizes = ['1MB', '2MB', '3MB']
    const clients = await Promise.all(
      sizes.flatMap((size) => [size, size]).map((size) => rig.client({ params: { work_mem: size } })),
    )
    const counts = clients.map(() => 0)
    let isOver = false
    const busy = clients.map(async (client, number) => {
      while (!isOver) {
        const { rows, error } = await client.query('show work_mem')
        assert.equal(error, null)
        assert.deepEqual(rows, [[sizes[Math.floor(number / 2)]]])
        counts[number] = (counts[number] as number) + 1
      }
    })
    await eventually(() => counts.every((count) => count >= 10), 20_000)
    isOver = true
    await Promise.all(busy)
    assert.ok(rig.test.pooler.gauges().servers.idle <= 1)
    await Promise.all(clients.map((client) => client.end()))
  })
})

describe('after chaos', () => {
  it('every count is what a recount gives, and the pool has its full strength', async () => {
    const rig = await Rig.start(postgres, {
      pool: { size: 3, queryWaitTimeoutMs: 20, maxWaiting: 20 },
      client: { maxConnections: 25, abandonGraceMs: 10 },
    })
    const random = new Prng(9)
    const acts: ((client: WireClient) => Promise<unknown>)[] = [
      (client) => client.query('select pg_sleep(0.01)'),
      (client) => client.query('begin; select 1'),
      async (client) => client.send(m.parse('select 1'), m.bind()),
      async (client) => client.send(m.query('select pg_sleep(0.02)')),
      async (client) => client.send(m.query('select 1').subarray(0, 8)),
      (client) => client.cancel(),
      (client) => client.query('select 1/0'),
    ]
    const one = async (): Promise<void> => {
      const client = await rig.client().catch((error: Error) => error)
      if (!('pid' in client)) {
        assert.ok(client instanceof LoginError && client.code === '53300', client.message)
        return
      }
      await random.pick(acts)(client)
      if (random.chance(0.5)) client.destroy()
      else await client.end()
      await client.closed
    }
    for (let round = 0; round < 8; round++) await Promise.all(Array.from({ length: 35 }, one))
    await eventually(() => {
      const { clients, servers, waiting } = rig.test.pooler.gauges()
      assert.deepEqual({ ...clients, waiting }, { login: 0, idle: 0, active: 0, waiting: 0 })
      assert.equal(servers.active + servers.opening + servers.testing, 0)
    })
    const clients = await Promise.all(Array.from({ length: 25 }, () => rig.client()))
    await refused(rig.client())
    const three = clients.slice(0, 3)
    for (const client of three) assert.equal((await client.query('begin')).error, null)
    assert.equal(rig.test.pooler.gauges().servers.active, 3)
    const late = await clients[3]?.query('select 1')
    assert.equal(late?.error?.code, '53300')
    await Promise.all(clients.map((client) => client.end()))
  })
})
