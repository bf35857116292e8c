// node-postgres (pg) through poolers, as applications use it: Client, Pool, typed values, named statements.
// Must only use what the driver offers.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import pg from 'pg'
import { type Stage, stage } from '../support/compare.ts'
import { getPostgres } from '../support/postgres.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
await postgres.admin('create table notes (id serial primary key, body text not null)')
const one = await stage(postgres, 'transaction mode, 1 server', { pool: { size: 1 } })
const two = await stage(postgres, 'transaction mode, 2 servers', { pool: { size: 2 } })
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 4 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 2 } })
const ALL = [one, two, session, statement]
const WITH_TRANSACTIONS = [one, two, session]

function options({ pooler }: Stage): pg.ClientConfig {
  const { user, password, database } = postgres
  return {
    host: pooler.host,
    port: pooler.port,
    user,
    password,
    database,
    application_name: 'node-postgres test',
  }
}

async function withClient(at: Stage, run: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(options(at))
  await client.connect()
  try {
    await run(client)
  } finally {
    await client.end()
  }
}

/** The SQLSTATE of the error that this is rejected with. */
async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  const error = await promise.then(
    () => assert.fail('no error came'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof pg.DatabaseError, String(error))
  return error.code
}

async function terminateAll(): Promise<void> {
  const others = "backend_type = 'client backend' and pid <> pg_backend_pid()"
  await postgres.admin(`select pg_terminate_backend(pid, 5000) from pg_stat_activity where ${others}`)
}

suite('node-postgres', () => {
  for (const at of ALL) {
    test(`${at.name}: typed values come back as they went`, () =>
      withClient(at, async (client) => {
        const sql = `select $1::int as i, $2::text as t, $3::boolean as b, $4::jsonb as j,
          $5::timestamptz as d, $6::bytea as y, $7::int[] as a, $8::float8 as f, $9::text as n`
        const made = new Date('2024-02-03T04:05:06.789Z')
        const bytes = Buffer.from([0, 1, 2, 255])
        const values = [42, 'caf\u00e9 \u2603', true, { a: [1] }, made, bytes, [1, 2, 3], 1.5, null]
        const { rows } = await client.query(sql, values)
        const [row] = rows
        assert.deepEqual(
          { ...row, y: row.y.toString('hex') },
          {
            i: 42,
            t: 'caf\u00e9 \u2603',
            b: true,
            j: { a: [1] },
            d: made,
            y: '000102ff',
            a: [1, 2, 3],
            f: 1.5,
            n: null,
          },
        )
      }))

    test(`${at.name}: errors carry what Postgres says, and the connection goes on`, () =>
      withClient(at, async (client) => {
        assert.equal(await codeOf(client.query('select 1/0')), '22012')
        assert.equal(await codeOf(client.query('select $1::int', ['x'])), '22P02')
        assert.equal(await codeOf(client.query('insert into notes (id, body) values (1, null)')), '23502')
        assert.equal(await codeOf(client.query('selec')), '42601')
        const { rows } = await client.query('select 1 as one')
        assert.deepEqual(rows, [{ one: 1 }])
      }))

    test(`${at.name}: notices, several statements in one query, an empty query`, () =>
      withClient(at, async (client) => {
        const notices: string[] = []
        client.on('notice', (notice) => notices.push(notice.message ?? ''))
        await client.query("do $$ begin raise notice 'hello'; end $$")
        assert.deepEqual(notices, ['hello'])
        const results = (await client.query('select 1 as a; select 2 as b')) as unknown as pg.QueryResult[]
        assert.deepEqual(
          results.map(({ rows }) => rows),
          [[{ a: 1 }], [{ b: 2 }]],
        )
        assert.equal((await client.query('')).rows.length, 0)
      }))

    test(`${at.name}: a named statement is prepared once and used by many clients`, async () => {
      const clients = [new pg.Client(options(at)), new pg.Client(options(at))]
      await Promise.all(clients.map((client) => client.connect()))
      for (let round = 0; round < 20; round++) {
        const answers = await Promise.all(
          clients.map((client, number) =>
            client.query({ name: 'same', text: `select $1::int + ${number} as n`, values: [round] }),
          ),
        )
        assert.deepEqual(
          answers.map(({ rows }) => rows[0].n),
          [round, round + 1],
        )
      }
      await Promise.all(clients.map((client) => client.end()))
    })

    test(`${at.name}: the server goes away between queries`, () =>
      withClient(at, async (client) => {
        if (at === session) return
        await client.query({ name: 'kept', text: 'select 1' })
        await terminateAll()
        const { rows } = await client.query({ name: 'kept', text: 'select 1' })
        assert.equal(rows.length, 1)
      }))
  }

  for (const at of WITH_TRANSACTIONS) {
    test(`${at.name}: transactions, savepoints, rollback`, () =>
      withClient(at, async (client) => {
        await client.query('begin')
        await client.query('insert into notes (body) values ($1)', ['kept'])
        await client.query('savepoint s')
        assert.equal(
          await codeOf(client.query({ name: 'bad', text: 'insert into notes (body) values (null)' })),
          '23502',
        )
        assert.equal(await codeOf(client.query('select 1')), '25P02')
        await client.query('rollback to s')
        const { rows } = await client.query({
          name: 'ok',
          text: 'select body from notes where body = $1',
          values: ['kept'],
        })
        assert.equal(rows.length, 1)
        await client.query('rollback')
        assert.equal((await client.query("select 1 from notes where body = 'kept'")).rowCount, 0)
      }))

    test(`${at.name}: the driver's own pool, twenty workers`, async () => {
      const pool = new pg.Pool({ ...options(at), max: at === session ? 4 : 20 })
      const work = async (number: number) => {
        for (let round = 0; round < 10; round++) {
          const client = await pool.connect()
          try {
            await client.query('begin')
            const first = await client.query({ name: 'n', text: 'select $1::int as n', values: [number] })
            const second = await client.query({
              name: 'm',
              text: 'select $1::int * 2 as n',
              values: [number],
            })
            await client.query('commit')
            assert.deepEqual([first.rows[0].n, second.rows[0].n], [number, number * 2])
          } finally {
            client.release()
          }
        }
      }
      await Promise.all(Array.from({ length: 20 }, (_, number) => work(number)))
      await pool.end()
    })
  }

  test('a result of 100 MB arrives whole', () =>
    withClient(two, async (client) => {
      const sql = "select i, repeat('x', 100000) as x from generate_series(1, 1000) i"
      const { rows } = await client.query({ text: sql, rowMode: 'array' })
      assert.equal(rows.length, 1000)
      assert.ok(rows.every(([i, x], at) => i === at + 1 && x.length === 100_000))
    }))

  for (const at of [one, session]) {
    test(`${at.name}: LISTEN and NOTIFY`, () =>
      withClient(at, async (client) => {
        await client.query('listen news')
        const heard = once(client, 'notification')
        await withClient(at, async (other) => {
          await other.query("notify news, 'hello'")
        })
        const [notification] = await heard
        assert.equal(notification.payload, 'hello')
      }))
  }

  test('a settings change of one client is not the other one’s', async () => {
    await withClient(one, (first) =>
      withClient(one, async (second) => {
        await first.query("set timezone = 'Asia/Tokyo'")
        assert.notEqual((await second.query('show timezone')).rows[0].TimeZone, 'Asia/Tokyo')
        assert.equal((await first.query('show timezone')).rows[0].TimeZone, 'Asia/Tokyo')
      }),
    )
  })

  test('a wrong password is an error with its SQLSTATE', async () => {
    const client = new pg.Client({ ...options(one), password: 'wrong' })
    assert.equal(await codeOf(client.connect()), '28P01')
  })

  test('a query that its client gives up is cancelled through the pooler', async () => {
    const killer = new pg.Client(options(one))
    const sleeper = new pg.Client(options(one))
    await sleeper.connect()
    const query = new pg.Query('select pg_sleep(30)')
    sleeper.query(query)
    const failed = once(query, 'error')
    await asleep(postgres)
    // The driver's own way to send a CancelRequest; it is not in its types.
    const untyped = killer as unknown as { cancel(client: pg.Client, query: unknown): void }
    untyped.cancel(sleeper, query)
    const [error] = await failed
    assert.equal((error as pg.DatabaseError).code, '57014')
    assert.equal((await sleeper.query('select 1 as one')).rows[0].one, 1)
    await sleeper.end()
  })
})
