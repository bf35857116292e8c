// postgres.js through poolers, as applications use it: tagged templates, prepared statements by default,
// pipelines, cursors, COPY streams, listen. Must only use what the driver offers.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { suite, test } from 'node:test'
import connect, { type Options, type Sql } from 'postgres'
import { type Stage, stage } from '../support/compare.ts'
import { getPostgres } from '../support/postgres.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
await postgres.admin('create table notes (id serial primary key, body text not null)')
const one = await stage(postgres, 'transaction mode, 1 server', { pool: { size: 1 } })
const two = await stage(postgres, 'transaction mode, 2 servers', { pool: { size: 2 } })
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 8 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 2 } })
const ALL = [one, two, session, statement]
const WITH_TRANSACTIONS = [one, two, session]

async function withSql(
  at: Stage,
  run: (sql: Sql) => Promise<void>,
  more: Options<never> = {},
): Promise<void> {
  const { user, password, database } = postgres
  const { host, port } = at.pooler
  const sql = connect({ host, port, user, password, database, max: 2, onnotice: () => {}, ...more })
  try {
    await run(sql)
  } finally {
    await sql.end()
  }
}

/** The SQLSTATE of the error that this is rejected with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => assert.fail('no error came'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof connect.PostgresError, String(error))
  return error.code
}

suite('postgres.js', () => {
  for (const at of ALL) {
    test(`${at.name}: typed values, the same statement again and again`, () =>
      withSql(at, async (sql) => {
        const made = new Date('2024-02-03T04:05:06.789Z')
        for (let round = 0; round < 20; round++) {
          const [row] =
            await sql`select ${round}::int as i, ${'caf\u00e9 \u2603'}::text as t, ${made}::timestamptz as d,
            ${sql.json({ a: round })}::jsonb as j, ${[1, 2, round]}::int[] as a, ${null}::text as n`
          const expected = {
            i: round,
            t: 'caf\u00e9 \u2603',
            d: made,
            j: { a: round },
            a: [1, 2, round],
            n: null,
          }
          assert.deepEqual({ ...row }, expected)
        }
      }))

    test(`${at.name}: a hundred queries at once over two connections, in their order`, () =>
      withSql(at, async (sql) => {
        const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => sql`select ${i}::int as n`))
        assert.deepEqual(
          answers.map(([row]) => row?.n),
          Array.from({ length: 100 }, (_, i) => i),
        )
      }))

    test(`${at.name}: errors in the middle of a pipeline hit only their own query`, () =>
      withSql(at, async (sql) => {
        const answers = await Promise.allSettled([
          sql`select 1 as n`,
          sql`select ${'x'}::int`,
          sql`select 2 as n`,
          sql`selec`,
          sql`select 3 as n`,
        ])
        assert.deepEqual(
          answers.map(({ status }) => status),
          ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
        )
        assert.equal(await codeOf(sql`select 1/${0}::int`), '22012')
      }))

    test(`${at.name}: simple queries, and statements that are not prepared`, () =>
      withSql(at, async (sql) => {
        const [first, second] = await sql.unsafe('select 1 as a; select 2 as b').simple()
        assert.deepEqual(
          [first, second].map((rows) => ({ ...(rows as unknown as object[])[0] })),
          [{ a: 1 }, { b: 2 }],
        )
        const [row] = await sql.unsafe('select $1::int as n', [7])
        assert.equal(row?.n, 7)
      }))

    test(`${at.name}: COPY in and out as streams`, () =>
      withSql(
        at,
        async (sql) => {
          await sql`truncate notes`
          const lines = Array.from({ length: 5000 }, (_, i) => `${i}\tnote ${i}\n`)
          await pipeline(Readable.from(lines), await sql`copy notes (id, body) from stdin`.writable())
          let text = ''
          const out = await sql`copy (select id, body from notes order by id) to stdout`.readable()
          for await (const piece of out) {
            text += piece
          }
          assert.equal(text, lines.join(''))
        },
        { max: 1 },
      ))

    test(`${at.name}: rows in portions through a cursor of the protocol`, () =>
      withSql(at, async (sql) => {
        const sizes: number[] = []
        for await (const rows of sql`select i from generate_series(1, 250) i`.cursor(100))
          sizes.push(rows.length)
        assert.deepEqual(sizes, [100, 100, 50])
      }))

    test(`${at.name}: cancel`, () =>
      withSql(
        at,
        async (sql) => {
          const query = sql`select pg_sleep(30)`
          const failed = codeOf(query)
          await asleep(postgres)
          query.cancel()
          assert.equal(await failed, '57014')
          assert.deepEqual([...(await sql`select 1 as n`)], [{ n: 1 }])
        },
        { max: 1 },
      ))
  }

  for (const at of WITH_TRANSACTIONS) {
    test(`${at.name}: transactions, savepoints and rollback`, () =>
      withSql(at, async (sql) => {
        await sql.begin(async (tx) => {
          await tx`insert into notes (id, body) values (900001, 'kept')`
          await assert.rejects(
            tx.savepoint((inner) => inner`insert into notes (id, body) values (900002, null)`),
          )
          await tx`insert into notes (id, body) values (900003, 'kept')`
        })
        await assert.rejects(
          sql.begin(async (tx) => {
            await tx`delete from notes`
            throw new Error('changed my mind')
          }),
          /changed my mind/,
        )
        const rows = await sql`delete from notes where id > 900000 returning id`
        assert.deepEqual(rows.map(({ id }) => id).sort(), [900_001, 900_003])
      }))

    test(`${at.name}: many connections with transactions of their own`, () =>
      withSql(
        at,
        async (sql) => {
          const work = (n: number) =>
            sql.begin(async (tx) => {
              const [[a], [b]] = await Promise.all([tx`select ${n}::int as n`, tx`select ${n}::int * 2 as n`])
              return [a?.n, b?.n]
            })
          const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => work(n)))
          assert.deepEqual(
            answers,
            Array.from({ length: 60 }, (_, n) => [n, 2 * n]),
          )
        },
        { max: at === session ? 6 : 10 },
      ))
  }

  for (const at of [one, session]) {
    test(`${at.name}: listen and notify`, () =>
      withSql(at, async (sql) => {
        const heard = Promise.withResolvers<string>()
        await sql.listen('news', heard.resolve)
        await sql.notify('news', 'hello')
        assert.equal(await heard.promise, 'hello')
      }))
  }

  test('the driver connects anew after its server was terminated', () =>
    withSql(
      session,
      async (sql) => {
        const [row] = await sql`select pg_backend_pid() as pid`
        await postgres.admin('select pg_terminate_backend($1, 5000)', [row?.pid])
        await sql`select 1`.catch(() => {})
        assert.deepEqual([...(await sql`select 1 as n`)], [{ n: 1 }])
      },
      { max: 1 },
    ))

  test('a wrong password is an error with its SQLSTATE', () =>
    withSql(one, async (sql) => assert.equal(await codeOf(sql`select 1`), '28P01'), { password: 'wrong' }))
})
