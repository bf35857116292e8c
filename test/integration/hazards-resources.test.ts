// Hazards of resources (docs/hazards.md, parts C, F and H): what many clients do to the pooler costs what
// they are worth, and comes to an end. Must never measure the test's own memory.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, suite, test } from 'node:test'
import { direct } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { type Overrides, startPooler } from '../support/pooler.ts'
import { type PoolerProcess, startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, gated, Rig } from '../support/rig.ts'
import { openSocket } from '../support/sockets.ts'
import { result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const MB = 1024 * 1024
/** Strangers, in crowds that come at once. */
const STRANGERS = process.env.LONG ? 20_000 : 2_000
const CROWD = 100
/** What an allocator keeps of a crowd that has gone. */
const NOISE = 24 * MB

async function crowds(count: number, size: number, one: (index: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += size) {
    await Promise.all(Array.from({ length: Math.min(size, count - from) }, (_, index) => one(from + index)))
  }
}

/** Resolves when the connection is gone; what comes is thrown away. */
async function gone(socket: Socket): Promise<void> {
  socket.on('error', () => {}).resume()
  await once(socket, 'close')
}

async function inProcess(overrides: Overrides): Promise<PoolerProcess> {
  const pooler = await startPoolerProcess(postgres.url, overrides)
  after(() => pooler.stop())
  return pooler
}

suite('strangers', () => {
  test('who name users and databases that nobody knows leave nothing behind', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const { pooler } = rig.test
    await rig.healthy()
    const shape = async () => ({
      pools: [...pooler.router.entries()].length,
      series: (await pooler.metrics()).split('\n').filter((line) => line.startsWith('pgmux')).length,
      servers: pooler.gauges().servers.idle,
    })
    const random = new Prng(9)
    // The kinds of refusals that there are have been counted once.
    await crowds(CROWD, CROWD, () => name())
    const before = await shape()
    async function name(): Promise<void> {
      const words = () => random.bytes(12).toString('hex')
      const socket = await openSocket({ host: rig.test.host, port: rig.test.port })
      socket.write(m.startup({ user: words(), database: words(), application_name: words() }))
      await once(socket, 'data')
      // Half of them go on with nonsense, the others just go.
      if (random.below(2) === 0) socket.write(m.password(words()))
      else socket.destroy()
      await gone(socket)
    }
    await crowds(STRANGERS, CROWD, name)
    await eventually(() => pooler.house.visitors.size === 0)
    assert.deepEqual(await shape(), before)
    assert.ok(rig.test.lines.length < 300, `${rig.test.lines.length} lines of log`)
  })

  test('who announce a gigabyte get no memory for it', async () => {
    const pooler = await inProcess({ client: { auth: 'trust' }, pool: { size: 2 } })
    const at = { ...direct(postgres), host: pooler.host, port: pooler.port }
    const head = (type: string) => Buffer.concat([Buffer.from(type), Buffer.from('3ffffffe', 'hex')])
    const types = [...'QPBdF']
    const announce = async (index: number) => {
      const client = await WireClient.connect(at)
      client.send(head(types[index % types.length] as string), Buffer.alloc(50, 0x41))
      return client
    }
    await Promise.all(
      (await Promise.all(Array.from({ length: 50 }, (_, index) => announce(index)))).map(reset),
    )
    const before = (await pooler.memory()).rss
    const clients = await Promise.all(Array.from({ length: 300 }, (_, index) => announce(index)))
    const during = (await pooler.memory()).rss
    assert.ok(during - before < NOISE, `${Math.round((during - before) / MB)} MB for 300 GB announced`)
    await Promise.all(clients.map(reset))
    await using next = await WireClient.connect(at)
    assert.deepEqual((await next.query('select 1')).rows, [['1']])
  })

  test('who cancel with wrong keys cost no connection to Postgres', async () => {
    const [gate, rig] = await gated(postgres, { pool: { size: 1 } })
    const healthy = await Healthy.start(at(rig))
    await using busy = await rig.client()
    await busy.query('select 1')
    const random = new Prng(7)
    await crowds(STRANGERS, CROWD, async (index) => {
      const socket = await openSocket({ host: rig.test.host, port: rig.test.port })
      // Half of them know the number of a client, as its neighbours in a log do.
      const pid = index % 2 === 0 ? busy.pid : random.below(0x7fff_ffff)
      socket.write(m.cancelRequest(pid, random.bytes(4)))
      await gone(socket)
    })
    assert.equal(gate.cancels.length, 0)
    await healthy.goesOn()
    await healthy.stop()
  })
})

const at = (rig: Rig) => ({ ...direct(postgres), host: rig.test.host, port: rig.test.port })

async function reset(client: WireClient): Promise<void> {
  client.destroy()
  await client.closed
}

suite('clients', () => {
  test('two thousand that wait in vain are told, kept, and served later', async () => {
    const waiting = 2_000
    const pooler = await inProcess({
      client: { auth: 'trust', maxConnections: 5_000 },
      pool: { size: 1, queryWaitTimeoutMs: 1_500 },
    })
    const options = { ...direct(postgres), host: pooler.host, port: pooler.port, timeout: 60_000 }
    const owner = await WireClient.connect(options)
    const clients: WireClient[] = []
    await crowds(waiting, CROWD, async () => void clients.push(await WireClient.connect(options)))
    const ask = () =>
      Promise.all(
        clients.map(async (client) => {
          client.received.length = 0
          return client.extended('select 7 /* one of many */')
        }),
      )
    await owner.query('begin')
    await ask()
    const before = (await pooler.memory()).rss
    for (const { error, status } of await ask()) assert.deepEqual([error?.code, status], ['53300', 'I'])
    const between = (await pooler.memory()).rss
    assert.ok(between - before < NOISE, `${Math.round((between - before) / MB)} MB are left of the queue`)
    assert.equal((await pooler.gauges()).waiting, 0)
    await owner.query('commit')
    await crowds(waiting, CROWD, async (index) => {
      const { rows } = await (clients[index] as WireClient).query('select 8')
      assert.deepEqual(rows, [['8']])
    })
    await Promise.all([owner, ...clients].map((client) => client.end()))
  })

  test('that stop reading hold their servers no longer than write_timeout; others are told', async () => {
    const rig = await Rig.start(postgres, {
      client: { writeTimeoutMs: 1_500 },
      pool: { size: 2, queryWaitTimeoutMs: 1000 },
    })
    const readers = await Promise.all([rig.client(), rig.client()])
    for (const reader of readers) {
      reader.pause()
      reader.send(m.query("select repeat('x', 1000) from generate_series(1, 200000)"))
    }
    await eventually(
      async () => (await rig.backends("query like '%repeat%' and state = 'active'")).length === 2,
    )
    await using next = await rig.client()
    assert.equal((await next.query('select 1')).error?.code, '53300')
    await rig.quiet()
    assert.deepEqual((await next.query('select 2')).rows, [['2']])
    for (const reader of readers) reader.destroy()
  })

  test('one that takes a stream at full speed does not make another wait', async () => {
    const pooler = await inProcess({ client: { auth: 'trust' }, pool: { size: 3 } })
    const options = { ...direct(postgres), host: pooler.host, port: pooler.port }
    await using reader = await WireClient.connect(options)
    const stream = await openSocket(options)
    stream.write(m.startup({ user: options.user ?? '', database: options.database ?? '' }))
    await once(stream, 'data')
    let bytes = 0
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    const many = 'generate_series(1, 4000) a, generate_series(1, 4000) b'
    stream.write(m.query(`copy (select repeat('x', 10000) from ${many}) to stdout`))
    await eventually(() => bytes > MB)
    const times: number[] = []
    // Quick answers leave the stream little time: both have to have come far.
    while (times.length < 300 || bytes <= 20 * MB) {
      const from = performance.now()
      assert.deepEqual((await reader.query('select 1')).rows, [['1']])
      times.push(performance.now() - from)
      reader.received.length = 0
    }
    times.sort((left, right) => left - right)
    // 50 ms on a quiet machine. Times are judged in the long run only; here it counts that all were answered.
    const p99 = times[Math.floor(times.length * 0.99)] as number
    if (process.env.LONG) assert.ok(p99 < 400, `p99 of ${p99} ms`)
    stream.destroy()
  })

  test('that vanish in the middle do not cost a login to Postgres each', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2 }, client: { abandonGraceMs: 200 } })
    const churn = 300
    await crowds(churn, 20, async (index) => {
      const client = await rig.client()
      const sql = index % 3 === 0 ? 'select pg_sleep(0.5)' : 'select 1'
      client.send(
        index % 2 === 0 ? m.query(sql) : Buffer.concat([m.parse(sql), m.bind(), m.execute(), m.sync()]),
      )
      if (index % 5 === 0) await new Promise((resolve) => setImmediate(resolve))
      await reset(client)
    })
    await rig.quiet(20_000)
    const opened = rig.test.lines.filter(({ message }) => message === 'server opened').length
    assert.ok(opened <= 10, `${opened} logins for ${churn} clients`)
    await rig.healthy()
  })

  test('fifty logins that Postgres has to be asked for, with one place for all servers', async (t) => {
    if (postgres.kind !== 'embedded') {
      notRun(t, 'makes roles on a server of its own')
      return
    }
    const password = 'what many know'
    await postgres.admin(`create role asker login superuser password '${password}'`)
    const users = Array.from({ length: 50 }, (_, index) => `asked_${index}`)
    for (const user of users) await postgres.admin(`create role ${user} login password '${password}'`)
    const pooler = await startPooler(`postgres://${postgres.host}:${postgres.port}`, {
      client: { auth: 'scram-sha-256', authQuery: { user: 'asker', password } },
      pool: { size: 1, maxServers: 1 },
    })
    const options = { host: pooler.host, port: pooler.port, database: postgres.database, password }
    const answers = await Promise.all(
      users.map(async (user) => {
        await using client = await WireClient.connect({ ...options, user, timeout: 60_000 })
        client.send(m.query('select current_user'))
        return result(await client.until('Z')).rows[0]?.[0]
      }),
    )
    assert.deepEqual(answers, users)
    await pooler.stop()
  })
})
