// Owns: proof that the model of Postgres answers as a real one does, message by message, and that its faults
// on demand do what they say. Must never accept a difference: a model that is wrong proves nothing.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { seededCuts } from '../../support/chop.ts'
import { serveFake } from '../../support/fake/tcp.ts'
import { FakeCluster, PgError } from '../../support/fake-postgres.ts'
import { memoryPair } from '../../support/memory-stream.ts'
import * as m from '../../support/messages.ts'
import { getPostgres } from '../../support/postgres.ts'
import { Prng } from '../../support/prng.ts'
import { SimClock } from '../../support/sim-clock.ts'
import { normalise, transcript } from '../../support/transcript.ts'
import { type ClientOptions, LoginError, WireClient } from '../../support/wire-client.ts'
import { script } from './fake-scripts.ts'

const real = await getPostgres()
const SCRIPTS = 400
const SAME = { TimeZone: 'UTC', application_name: 't', DateStyle: 'ISO, MDY', client_encoding: 'UTF8' }

function newCluster(): FakeCluster {
  return new FakeCluster({ schedule: (ms, run) => void setTimeout(run, ms).unref(), random: new Prng(1) })
}

/** Everything that a server answers to this, up to its end. */
async function replay(options: ClientOptions, bytes: Buffer, cuts: number[]): Promise<string[]> {
  await using client = await WireClient.connect({ ...options, params: SAME })
  await client.sendCut(bytes, cuts)
  return normalise(await client.untilClosed(), [client.pid])
}

describe('the model against a real Postgres', () => {
  before(async () => {
    await real.admin('create table if not exists public.sink(line text)')
    await real.admin('create table if not exists public.numbers(n int)')
  })

  const address = (): ClientOptions => {
    const { host, port, user, password, database } = real
    return { host, port, user, password, database }
  }

  it('answers seeded conversations alike', async () => {
    const cluster = newCluster()
    await using fake = await serveFake(cluster)
    for (let seed = 1; seed <= SCRIPTS; seed++) {
      const random = new Prng(seed)
      const bytes = Buffer.concat(script(random))
      const cuts = random.chance(0.3) ? seededCuts(bytes, random, 0.02) : []
      const [expected, actual] = await Promise.all([
        replay(address(), bytes, cuts),
        replay({ port: fake.port }, bytes, cuts),
      ])
      assert.deepEqual(actual, expected, `seed ${seed}`)
    }
    assert.deepEqual(cluster.faults, [])
    assert.deepEqual(cluster.sessions, [])
  })

  it('loses its place in the stream as Postgres does, when a COPY is given something else', async () => {
    await using fake = await serveFake(newCluster())
    const bytes = Buffer.concat([m.query('copy public.sink from stdin'), m.copyData('a\n'), m.query('')])
    assert.deepEqual(await replay({ port: fake.port }, bytes, []), await replay(address(), bytes, []))
  })

  it('reports the same parameters at login, apart from versions', async () => {
    await using fake = await serveFake(newCluster())
    const names = async (options: ClientOptions) => {
      await using client = await WireClient.connect({ ...options, params: SAME })
      return [...client.parameters.keys()].filter((name) => !/scram_iterations|search_path/.test(name)).sort()
    }
    assert.deepEqual(await names({ port: fake.port }), await names(address()))
  })
})

describe('the model', () => {
  it('cancels what runs, after its delay, and nothing else', async () => {
    const cluster = newCluster()
    await using fake = await serveFake(cluster)
    await using client = await WireClient.connect({ port: fake.port })
    await client.cancel()
    assert.equal((await client.query('select 1/0')).error?.code, '22012')
    const slow = client.query('select pg_sleep(60)')
    await client.cancel(Buffer.from([0, 0, 0, 0]))
    await client.cancel()
    assert.equal((await slow).error?.code, '57014')
    assert.deepEqual(cluster.cancelled, [{ pid: client.pid, sql: 'select pg_sleep(60)' }])
    assert.equal(cluster.ledger.at(-1)?.outcome, 'cancelled')
    assert.equal((await client.query('set statement_timeout = 1; select pg_sleep(60)')).error?.code, '57014')
  })

  it('keeps a ledger of what committed', async () => {
    const cluster = newCluster()
    await using fake = await serveFake(cluster)
    await using client = await WireClient.connect({ port: fake.port })
    const insert = (text: string) => `insert into sink values ('${text}')`
    await client.query(
      `begin; ${insert('a')}; savepoint s; ${insert('b')}; rollback to s; ${insert('c')}; commit`,
    )
    await client.query(`${insert('d')}; select 1/0`)
    client.send(m.parse(insert('e')), m.bind(), m.execute(), m.flush())
    await client.until('C')
    client.destroy()
    await client.closed
    await assert.doesNotReject(async () => {
      while (cluster.sessions.length > 0) await new Promise(setImmediate)
    })
    const fates = cluster.ledger.filter(({ sql }) => sql.startsWith('insert')).map(({ fate }) => fate)
    assert.deepEqual(fates, ['committed', 'rolled back', 'committed', 'rolled back', 'rolled back'])
  })

  it('refuses logins and ends sessions on demand', async () => {
    const cluster = newCluster()
    await using fake = await serveFake(cluster)
    const refused = async (options: ClientOptions, code: string) => {
      const login = WireClient.connect({ port: fake.port, ...options })
      await assert.rejects(login, (error) => error instanceof LoginError && error.code === code)
    }
    await refused({ user: 'nobody' }, '28000')
    await refused({ database: 'nothing' }, '3D000')
    await refused({ params: { nonsense: '1' } }, '42704')
    await using client = await WireClient.connect({ port: fake.port })
    cluster.maxConnections = 1
    await refused({}, '53300')
    cluster.stop()
    assert.equal(transcript(await client.untilClosed()), 'E(57P01)')
    await refused({}, '57P03')
    cluster.start()
    cluster.refusal = new PgError('57P03', 'starting', 'FATAL')
    await refused({}, '57P03')
  })

  it('gives keys of 32 bytes in protocol 3.2 and negotiates what it does not know', async () => {
    const cluster = newCluster()
    await using fake = await serveFake(cluster)
    const login = { port: fake.port, minor: 2, params: { '_pq_.x': '1' } }
    await using old = await WireClient.connect(login)
    assert.deepEqual([old.key.length, transcript(old.received.slice(0, 1))], [4, 'v(0 _pq_.x)'])
    await using modern = await serveFake(
      new FakeCluster({ ...cluster, databases: ['postgres'], protocolMinor: 2, roles: { postgres: true } }),
    )
    await using client = await WireClient.connect({ port: modern.port, minor: 2 })
    assert.equal(client.key.length, 32)
  })

  it('tells a new default with the next statement, and notifications between sessions', async () => {
    const cluster = newCluster()
    await using fake = await serveFake(cluster)
    await using client = await WireClient.connect({ port: fake.port })
    await using other = await WireClient.connect({ port: fake.port })
    cluster.reload('TimeZone', 'GMT')
    assert.equal(transcript((await client.query('listen a')).messages), 'C(LISTEN) S(TimeZone=GMT) Z(I)')
    await other.query("notify a, 'x'")
    assert.equal(transcript([await client.next()]), 'A(a x)')
  })

  it('runs in a simulation, without real time, the same way each time', () => {
    const run = () => {
      const clock = new SimClock()
      const random = new Prng(7)
      const cluster = new FakeCluster({ schedule: clock.schedule, random })
      const chunker = (queued: Buffer) => random.between(1, queued.length)
      const [client, server] = memoryPair({
        schedule: (step) => void clock.schedule(random.below(5), step),
        chunker,
      })
      const parser = new m.BackendParser()
      const seen: m.BackendMessage[] = []
      cluster.accept(server)
      client.handler = {
        onData: (chunk) => void seen.push(...parser.push(chunk)),
        onDrain() {},
        onEnd: () => client.end(),
        onClose() {},
      }
      client.write(
        Buffer.concat([m.startup({ user: 'postgres' }), m.query('select pg_sleep(3600)'), m.terminate()]),
      )
      clock.run()
      return { time: clock.now(), said: transcript(seen), left: cluster.sessions.length }
    }
    const first = run()
    assert.match(first.said, /K Z\(I\) T D\(1\) C\(SELECT 1\) Z\(I\)$/)
    assert.ok(first.time >= 3_600_000)
    assert.equal(first.left, 0)
    assert.deepEqual(run(), first)
  })
})
