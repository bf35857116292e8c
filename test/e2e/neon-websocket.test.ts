// The unmodified serverless driver over WebSocket: both versions, `ws` and Node's own WebSocket, every
// way in which it can be told to connect and to send. Must only use what the driver offers.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { type Stage, stage } from '../support/compare.ts'
import { aim, errorOf, type Neon, on, resetAfterEach, urlOf, WAYS, withClient } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
await postgres.admin('create table accounts (id int primary key, owner text not null, balance int not null)')
const one = await stage(postgres, 'transaction mode, 1 server', { pool: { size: 1 }, serverless: on() })
const session = await stage(postgres, 'session mode', {
  pool: { mode: 'session', size: 4 },
  serverless: on(),
})
const BOTH = [one, session]
const url = urlOf(postgres)
const MEGABYTES = 2_000_000
resetAfterEach()

interface Row {
  readonly [name: string]: unknown
}

/** Runs it on a client of a driver that is pointed there. */
function runOn(
  way: (typeof WAYS)[number],
  at: Stage,
  run: (client: Client) => Promise<void>,
): () => Promise<void> {
  return () => {
    aim(way, at.pooler)
    return withClient(way.neon, url, run)
  }
}
type Client = InstanceType<Neon['Client']>

for (const way of WAYS) {
  suite(`driver ${way.name}`, () => {
    const { neon } = way

    test('values of all types of JavaScript come back as they went', async () => {
      for (const at of BOTH) await runOn(way, at, assertTypes)()
    })

    test('pipelineConnect and coalesceWrites, on and off', async () => {
      for (const at of BOTH) {
        for (const pipelineConnect of ['password', false] as const) {
          for (const coalesceWrites of [true, false]) {
            aim(way, at.pooler, { pipelineConnect, coalesceWrites })
            await withClient(neon, url, async (client) => {
              assert.deepEqual(await rowsOf(client, 'select 1 as a'), [{ a: 1 }])
              assert.deepEqual(await rowsOf(client, 'select $1::int + 1 as b', [41]), [{ b: 42 }])
              assert.deepEqual(await rowsOf(client, 'show application_name'), [
                { application_name: nameOf(way.name) },
              ])
            })
          }
        }
      }
    })

    test(
      'several statements in one query, an empty one, no columns, a notice',
      runOn(way, one, async (client) => {
        const notices: string[] = []
        client.on('notice', (notice) => notices.push(notice.message ?? ''))
        const results = (await client.query('select 1 as a; select 2 as b')) as unknown as { rows: Row[] }[]
        assert.deepEqual(
          results.map(({ rows }) => rows),
          [[{ a: 1 }], [{ b: 2 }]],
        )
        assert.deepEqual(await rowsOf(client, ''), [])
        assert.deepEqual(await rowsOf(client, 'select'), [{}])
        await client.query("do $$ begin raise notice 'hello'; end $$")
        assert.deepEqual(notices, ['hello'])
      }),
    )

    test('errors are DatabaseErrors with all that Postgres says, and the connection goes on', async () => {
      for (const at of BOTH) await runOn(way, at, (client) => assertErrors(neon, client))()
    })

    test('a transaction, a savepoint, a failed one, on a Pool as well', async () => {
      for (const at of BOTH) await assertTransactions(way, at)
    })

    test('a Pool: as many queries at once as one likes, and one client for a transaction', async () => {
      for (const at of BOTH) {
        aim(way, at.pooler)
        const pool = new neon.Pool({ connectionString: url, max: 4 })
        const answers = await Promise.all(
          Array.from({ length: 40 }, (_, i) => pool.query('select $1::int as n', [i])),
        )
        assert.deepEqual(
          answers.map(({ rows }) => rows[0].n),
          Array.from({ length: 40 }, (_, i) => i),
        )
        await pool.end()
      }
    })

    test('named statements: two clients, one name, different texts, one server', async () => {
      aim(way, one.pooler)
      await withClient(neon, url, (a) =>
        withClient(neon, url, async (b) => {
          for (let round = 0; round < 10; round++) {
            const asked = [a, b].map((client, i) =>
              client.query({ name: 'same', text: `select $1::int + ${i} as n`, values: [round] }),
            )
            const answers = await Promise.all(asked)
            assert.deepEqual(
              answers.map(({ rows }) => rows[0].n),
              [round, round + 1],
            )
          }
        }),
      )
    })

    test(
      'parameters of 2 MB, results of 8 MB',
      runOn(way, one, async (client) => {
        const long = 'x\u00e9'.repeat(MEGABYTES / 2)
        const [echo] = await rowsOf(client, 'select $1::text as t, length($1) as n', [long])
        assert.equal(echo?.n, MEGABYTES)
        assert.ok(echo?.t === long, 'the text is the same')
        const sql = "select i, repeat('y', 1000) as t from generate_series(1, 8000) as i"
        const rows = await rowsOf(client, sql)
        assert.equal(rows.length, 8000)
        assert.ok(rows.every(({ i, t }, at) => i === at + 1 && (t as string).length === 1000))
      }),
    )

    test('cancel goes through a WebSocket of its own', async () => {
      for (const at of BOTH) {
        aim(way, at.pooler)
        await withClient(neon, url, async (client) => {
          await client.query('select 1')
          const slow = client.query('select pg_sleep(60)')
          const refused = errorOf(slow, neon.DatabaseError)
          await asleep(postgres)
          cancel(neon, client)
          assert.equal((await refused).code, '57014')
          assert.deepEqual(await rowsOf(client, 'select 1 as a'), [{ a: 1 }])
        })
      }
    })

    test('end() is over at once, with a transaction open and without', async () => {
      for (const at of BOTH) {
        aim(way, at.pooler)
        for (const sql of ['select 1', 'begin']) {
          const client = new neon.Client(url)
          await client.connect()
          await client.query(sql)
          const ended = once(client, 'end')
          const since = performance.now()
          await client.end()
          await ended
          assert.ok(performance.now() - since < 1000, `${Math.round(performance.now() - since)} ms`)
        }
      }
      // What was open is rolled back: the only server of this pool is free again.
      await runOn(way, one, async (client) => {
        assert.deepEqual(await rowsOf(client, 'select 1 as a'), [{ a: 1 }])
      })()
    })

    test(
      'COPY from and to: refused by the driver itself, and the connection goes on',
      runOn(way, one, async (client) => {
        const refused = await errorOf(client.query('copy accounts from stdin'), neon.DatabaseError)
        assert.equal(refused.code, '57014')
        await client.query('copy (select generate_series(1, 1000)) to stdout')
        assert.deepEqual(await rowsOf(client, 'select 1 as a'), [{ a: 1 }])
      }),
    )

    test('LISTEN and NOTIFY', async () => {
      for (const at of BOTH) {
        aim(way, at.pooler)
        await withClient(neon, url, async (client) => {
          await client.query('listen news')
          const told = once(client, 'notification')
          await withClient(neon, url, (other) => other.query("select pg_notify('news', 'from another')"))
          const [{ channel, payload }] = await told
          assert.deepEqual({ channel, payload }, { channel: 'news', payload: 'from another' }, at.name)
        })
      }
    })
  })
}

/** What the driver says that it is, since 1.2.0. */
function nameOf(way: string): string {
  return way.startsWith('1.2.0') ? 'pkg:npm/%40neondatabase/serverless@1.2.0' : ''
}

async function rowsOf(client: Client, sql: string, values?: unknown[]): Promise<Row[]> {
  const { rows } = values === undefined ? await client.query(sql) : await client.query(sql, values)
  return rows
}

/** What node-postgres does, whose code this is: the statement is named by its object. */
function cancel(neon: Neon, client: Client): void {
  const { activeQuery } = client as unknown as { activeQuery: unknown }
  const other = new neon.Client(url) as unknown as { cancel(client: unknown, query: unknown): void }
  other.cancel(client, activeQuery)
}

async function assertTypes(client: Client): Promise<void> {
  const sql = `select $1::int as i, $2::text as t, $3::boolean as b, $4::jsonb as j, $5::timestamptz as d,
    $6::bytea as y, $7::int[] as a, $8::float8 as f, $9::text as n, $10::int8 as big, $11::text[] as ta`
  const made = new Date('2024-02-03T04:05:06.789Z')
  const texts = ['plain', 'a "quoted" \\ one', 'NULL', '']
  const values = [42, 'caf\u00e9 \u2603', true, { a: [1] }, made, Buffer.from([0, 1, 2, 255]), [1, null, 3]]
  const [row] = await rowsOf(client, sql, [...values, 1.5, undefined, 9007199254740993n, texts])
  assert.deepEqual(
    { ...row, y: Buffer.from(row?.y as Uint8Array).toString('hex') },
    {
      i: 42,
      t: 'caf\u00e9 \u2603',
      b: true,
      j: { a: [1] },
      d: made,
      y: '000102ff',
      a: [1, null, 3],
      f: 1.5,
      n: null,
      big: '9007199254740993',
      ta: texts,
    },
  )
}

async function assertErrors(neon: Neon, client: Client): Promise<void> {
  const wrong = async (sql: string, values?: unknown[]) =>
    errorOf(values === undefined ? client.query(sql) : client.query(sql, values), neon.DatabaseError)
  assert.equal((await wrong('select 1/0')).code, '22012')
  assert.equal((await wrong('select $1::int', ['x'])).code, '22P02')
  const { code, message, severity, position } = await wrong('select 1 from nowhere')
  const expected = {
    code: '42P01',
    message: 'relation "nowhere" does not exist',
    severity: 'ERROR',
    position: '15',
  }
  assert.deepEqual({ code, message, severity, position }, expected)
  await client.query("insert into accounts values (1, 'a', 0)")
  const { constraint, schema, table, detail } = await wrong('insert into accounts values ($1, $2, $3)', [
    1,
    'b',
    0,
  ])
  assert.deepEqual(
    { constraint, schema, table, detail },
    {
      constraint: 'accounts_pkey',
      schema: 'public',
      table: 'accounts',
      detail: 'Key (id)=(1) already exists.',
    },
  )
  await client.query('delete from accounts')
  assert.deepEqual(await rowsOf(client, 'select 1 as a'), [{ a: 1 }])
}

async function assertTransactions(way: (typeof WAYS)[number], at: Stage): Promise<void> {
  const { neon } = way
  aim(way, at.pooler)
  const pool = new neon.Pool({ connectionString: url })
  const client = await pool.connect()
  await client.query('begin')
  await client.query('insert into accounts values ($1, $2, $3)', [1, 'kept', 5])
  await client.query('savepoint s')
  assert.equal(
    (await errorOf(client.query('insert into accounts values (1)'), neon.DatabaseError)).code,
    '23502',
  )
  assert.equal((await errorOf(client.query('select 1'), neon.DatabaseError)).code, '25P02')
  await client.query('rollback to s')
  await client.query('commit')
  await client.query('begin isolation level serializable read only')
  const { rows } = await client.query('select owner from accounts')
  assert.deepEqual(rows, [{ owner: 'kept' }])
  assert.equal((await errorOf(client.query('delete from accounts'), neon.DatabaseError)).code, '25006')
  await client.query('rollback')
  client.release()
  await pool.query('delete from accounts')
  await pool.end()
}
