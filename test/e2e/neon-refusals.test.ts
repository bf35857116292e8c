// What users of the serverless driver see when something is refused or ends: an error of Postgres' kind
// with its code, never a bare event, and what the WebSocket is closed with. Must only use what the
// driver offers.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { stage } from '../support/compare.ts'
import { startConsole } from '../support/console.ts'
import {
  aim,
  endpointOf,
  errorOf,
  HOST,
  type Neon,
  on,
  recorder,
  resetAfterEach,
  urlOf,
  WAYS,
  withClient,
} from '../support/neon.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
const { pooler } = await stage(postgres, 'one', { pool: { size: 2 }, serverless: on() })
const url = urlOf(postgres)
resetAfterEach()

/** Code and words of the error with which the first query fails. */
async function refusedWith(neon: Neon, at: string): Promise<{ code: string | undefined; message: string }> {
  const client = new neon.Client(at)
  client.on('error', () => {})
  const { code, message } = await errorOf(
    client.connect().then(() => client.query('select 1')),
    neon.DatabaseError,
  )
  await client.end()
  return { code, message }
}

for (const way of WAYS) {
  suite(`driver ${way.name}`, () => {
    const { neon } = way
    const failed = (user: string) => ({
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
    })

    test('wrong password, unknown user, unknown database: in one go and step by step', async () => {
      for (const pipelineConnect of ['password', false] as const) {
        aim(way, pooler, { pipelineConnect })
        const wrong = (change: Partial<URL>) => refusedWith(neon, urlOf(postgres, change))
        assert.deepEqual(await wrong({ password: 'not-it' }), failed(postgres.user))
        assert.deepEqual(await wrong({ username: 'nobody' }), failed('nobody'))
        assert.equal((await wrong({ pathname: '/nowhere' })).code, '3D000')
      }
      await withClient(neon, url, async (client) => {
        assert.deepEqual((await client.query('select 1 as a')).rows, [{ a: 1 }])
      })
    })

    test('a Pool tells the same, and works on with the right password', async () => {
      aim(way, pooler)
      const pool = new neon.Pool({ connectionString: urlOf(postgres, { password: 'not-it' }) })
      pool.on('error', () => {})
      assert.equal((await errorOf(pool.query('select 1'), neon.DatabaseError)).code, '28P01')
      assert.equal((await errorOf(pool.query('select $1::int', [1]), neon.DatabaseError)).code, '28P01')
      await pool.end()
    })

    test('an idle client of a Pool that is ended: an event, and the next query has a new one', async () => {
      const rig = await startConsole(postgres, { serverless: on() })
      aim(way, rig.test)
      const pool = new neon.Pool({ connectionString: url, max: 1 })
      const told = once(pool, 'error')
      pool.on('error', () => {})
      await pool.query('select 1')
      await using console = await rig.console()
      assert.equal((await console.query(`kill ${postgres.database}`)).error, null)
      const [error] = await told
      assert.ok(error instanceof neon.DatabaseError, String(error))
      assert.equal(error.code, '57P01')
      assert.equal((await console.query(`resume ${postgres.database}`)).error, null)
      assert.deepEqual((await pool.query('select 1 as a')).rows, [{ a: 1 }])
      await pool.end()
    })
  })
}

suite('limits, addresses and ends', () => {
  const way = { neon: WAYS[0]!.neon, socket: WAYS[0]!.socket }

  /** Runs with a pooler of its own. */
  const withPooler = async (
    overrides: Overrides,
    run: (own: TestPooler) => Promise<void>,
    upstream = postgres.url,
  ) => {
    const own = await startPooler(upstream, { serverless: on(), ...overrides })
    try {
      await run(own)
    } finally {
      await own.stop()
    }
  }

  test('too many clients: 53300, in words', () =>
    withPooler({ client: { maxConnections: 1 } }, async (own) => {
      const { socket, closes } = recorder()
      aim({ ...way, socket }, own)
      await withClient(way.neon, url, async (first) => {
        await first.query('select 1')
        const { code, message } = await refusedWith(way.neon, url)
        assert.deepEqual({ code, message }, { code: '53300', message: 'sorry, too many clients already' })
      })
      assert.deepEqual(
        (await Promise.all(closes)).map(([code]) => code),
        [1000, 1000],
      )
    }))

  test('?address= is a name in a list: the database that it means, or a refusal', async () => {
    await postgres.admin('create database shop')
    const addresses = [{ address: `${HOST}:5432`, database: 'shop' }]
    await withPooler({ serverless: on({ addresses }) }, async (own) => {
      aim(way, own, { wsProxy: `${endpointOf(own)}/v1` })
      await withClient(way.neon, url, async (client) => {
        assert.deepEqual((await client.query('select current_database() as at')).rows, [{ at: 'shop' }])
      })
      const { code, message } = await refusedWith(way.neon, urlOf(postgres, { port: '1' }))
      assert.equal(code, '08004')
      assert.match(message, /address/)
    })
  })

  test('close codes: 1000 after end() and after a refusal, 1001 when pgmux ends', async () => {
    const { socket, closes } = recorder()
    await withPooler({}, async (own) => {
      aim({ ...way, socket }, own)
      await withClient(way.neon, url, (client) => client.query('select 1'))
      assert.equal((await closes[0]!)[0], 1000)
      await refusedWith(way.neon, urlOf(postgres, { password: 'not-it' }))
      const last = new way.neon.Client(url)
      const told = once(last, 'error')
      last.on('error', () => {})
      await last.connect()
      await last.query('select 1')
      await own.pooler.drain(0)
      const [error] = await told
      assert.equal(error.code, '57P01')
      assert.deepEqual((await Promise.all(closes)).at(-1)?.[0], 1001)
    })
  })

  test('an idle client is told before it is closed', () =>
    withPooler({ client: { idleTimeoutMs: 100 } }, async (own) => {
      aim(way, own)
      const client = new way.neon.Client(url)
      const told = once(client, 'error')
      client.on('error', () => {})
      await client.connect()
      await client.query('select 1')
      const [error] = await told
      assert.equal(error.code, '57P05')
    }))

  test('Postgres away: 08001 at login, in words', () =>
    withPooler(
      { upstream: { connectTimeoutMs: 200 } },
      async (own) => {
        aim(way, own)
        const gone = { username: 'someone', password: 'password-x', pathname: '/none' }
        assert.equal((await refusedWith(way.neon, urlOf(postgres, gone))).code, '08001')
      },
      'postgres://someone:password-x@127.0.0.1:1/none',
    ))

  test('a server that is terminated under a query: an error, and the client stays', async () => {
    aim(way, pooler)
    await withClient(way.neon, url, async (client) => {
      const kill = client.query('select pg_terminate_backend(pg_backend_pid())')
      assert.equal((await errorOf(kill, way.neon.DatabaseError)).code, '57P01')
      assert.deepEqual((await client.query('select 1 as a')).rows, [{ a: 1 }])
    })
  })
})
