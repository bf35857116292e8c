// The unmodified serverless driver over HTTP: `neon()` as a template and as a function, transactions
// with all their options, pools that query by fetch, errors. Must only use what the driver offers.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import pg from 'pg'
import { stage } from '../support/compare.ts'
import {
  aim,
  DRIVERS,
  endpointOf,
  errorOf,
  HOST,
  type Neon,
  on,
  resetAfterEach,
  urlOf,
} from '../support/neon.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
await postgres.admin('create table items (id int primary key, body text not null unique)')
const { pooler } = await stage(postgres, 'one', { pool: { size: 1 }, serverless: on() })
const url = urlOf(postgres)
/** All that an error of Postgres has besides its message, in the driver's names. */
const MEMBERS = [
  ...['severity', 'code', 'detail', 'hint', 'position', 'internalPosition', 'internalQuery', 'where'],
  ...['schema', 'table', 'column', 'dataType', 'constraint', 'file', 'line', 'routine'],
] as const
const SETTINGS = `select current_setting('transaction_isolation') as level,
  current_setting('transaction_read_only') as read_only,
  current_setting('transaction_deferrable') as deferrable`
type Types = NonNullable<NonNullable<Parameters<Neon['neon']>[0]>['types']>
resetAfterEach()

for (const { version, neon } of DRIVERS) {
  suite(`driver ${version}`, () => {
    const { NeonDbError } = neon
    const open = () => {
      aim({ neon, socket: undefined }, pooler)
      return neon.neon(url)
    }

    test('templates, templates in templates, and text that is trusted', async () => {
      const sql = open()
      const [one, two] = [1, 'two']
      assert.deepEqual(await sql`select ${one}::int as a, ${two} as b, ${null}::text as c`, [
        { a: 1, b: 'two', c: null },
      ])
      const where = sql`where n > ${3} and n < ${6}`
      assert.deepEqual(await sql`select n from generate_series(1, 10) as n ${where}`, [{ n: 4 }, { n: 5 }])
      const name = 'greeting'
      assert.deepEqual(await sql`select ${'hi'} || '!' as ${sql.unsafe(name)}`, [{ greeting: 'hi!' }])
    })

    test('values of all types of JavaScript come back as they went', async () => {
      const sql = open()
      const made = new Date('2024-02-03T04:05:06.789Z')
      const texts = ['a "quoted" \\ one', 'NULL', '', 'line\nbreak\ttab']
      const [row] = await sql`select ${42}::int as i, ${'caf\u00e9 \u2603'} as t, ${true}::boolean as b,
        ${{ a: [1], 'q"': '\\' }}::jsonb as j, ${made}::timestamptz as d, ${Buffer.from([0, 1, 2, 255])} as y,
        ${[1, null, 3]}::int[] as a, ${1.5}::float8 as f, ${undefined}::text as n,
        ${9007199254740993n}::int8 as big, ${texts}::text[] as ta, ${[[1, 2], [3, 4]]}::int[] as aa`
      assert.deepEqual(
        { ...row, y: row?.y.toString('hex') },
        {
          i: 42,
          t: 'caf\u00e9 \u2603',
          b: true,
          j: { a: [1], 'q"': '\\' },
          d: made,
          y: '000102ff',
          a: [1, null, 3],
          f: 1.5,
          n: null,
          big: '9007199254740993',
          ta: texts,
          aa: [
            [1, 2],
            [3, 4],
          ],
        },
      )
    })

    test('query(): arrays, full results, types of its own, and 8 MB', async () => {
      const sql = open()
      assert.deepEqual(await sql.query('select $1::int as a, $2 as b', [1, 'x'], { arrayMode: true }), [
        [1, 'x'],
      ])
      const full = await sql.query('select 1 as a union all select 2', [], { fullResults: true })
      assert.deepEqual(
        { command: full.command, rowCount: full.rowCount, rowAsArray: full.rowAsArray, rows: full.rows },
        { command: 'SELECT', rowCount: 2, rowAsArray: false, rows: [{ a: 1 }, { a: 2 }] },
      )
      assert.deepEqual(full.fields, [
        {
          ...{ name: 'a', dataTypeID: 23, tableID: 0, columnID: 0 },
          ...{ dataTypeSize: 4, dataTypeModifier: -1, format: 'text' },
        },
      ])
      const types = { getTypeParser: () => (value: string) => `<${value}>` } as Types
      assert.deepEqual(await sql.query('select 1 as a', [], { types }), [{ a: '<1>' }])
      const rows = await sql.query("select repeat('y', 1000) as t from generate_series(1, 8000)")
      assert.equal(rows.length, 8000)
      const long = 'x\u00e9'.repeat(1_000_000)
      const [echo] = await sql`select ${long}::text as t, length(${long}) as n`
      assert.ok(echo?.t === long && echo.n === 2_000_000)
    })

    test('a transaction has the level, the access and the patience that it asks for', async () => {
      const sql = open()
      const seen = async (options: object) => (await sql.transaction([sql.query(SETTINGS)], options))[0]?.[0]
      const usual = { level: 'read committed', read_only: 'off', deferrable: 'off' }
      assert.deepEqual(await seen({}), usual)
      const levels = {
        ReadUncommitted: 'read uncommitted',
        ReadCommitted: 'read committed',
        RepeatableRead: 'repeatable read',
        Serializable: 'serializable',
      }
      for (const [isolationLevel, level] of Object.entries(levels)) {
        assert.deepEqual(await seen({ isolationLevel }), { ...usual, level })
      }
      assert.deepEqual(await seen({ readOnly: true }), { ...usual, read_only: 'on' })
      assert.deepEqual(await seen({ readOnly: false, deferrable: false }), usual)
      assert.deepEqual(await seen({ isolationLevel: 'Serializable', readOnly: true, deferrable: true }), {
        level: 'serializable',
        read_only: 'on',
        deferrable: 'on',
      })
      const wrong = await errorOf(seen({ isolationLevel: 'Snapshot' }), NeonDbError)
      assert.match(wrong.message, /isolation level/)
    })

    test('a transaction: as a list, as a function, with its own modes, empty', async () => {
      const sql = open()
      const [a, b] = await sql.transaction([sql`select ${1}::int as a`, sql`select ${'x'} as b`])
      assert.deepEqual([a, b], [[{ a: 1 }], [{ b: 'x' }]])
      const made = await sql.transaction(
        (txn) => [txn`create table made (n int)`, txn`insert into made values (1), (2)`, txn`table made`],
        { arrayMode: true, fullResults: true },
      )
      assert.deepEqual(
        made.map(({ command, rowCount, rows }) => ({ command, rowCount, rows })),
        [
          { command: 'CREATE', rowCount: null, rows: [] },
          { command: 'INSERT', rowCount: 2, rows: [] },
          { command: 'SELECT', rowCount: 2, rows: [[1], [2]] },
        ],
      )
      await sql`drop table made`
      assert.deepEqual(await sql.transaction([]), [])
    })

    test('a transaction is whole or not at all', async () => {
      const sql = open()
      const two = [sql`insert into items values (1, 'a')`, sql`insert into items values (1, 'b')`]
      const { code, constraint } = await errorOf(sql.transaction(two), NeonDbError)
      assert.deepEqual({ code, constraint }, { code: '23505', constraint: 'items_pkey' })
      const readOnly = sql.transaction([sql`insert into items values (2, 'c')`], { readOnly: true })
      assert.equal((await errorOf(readOnly, NeonDbError)).code, '25006')
      assert.deepEqual(await sql`select * from items`, [])
      // One that ends the transaction by itself would split it.
      for (const ending of ['commit', 'rollback', 'end', 'abort', "prepare transaction 'x'"]) {
        const split = sql.transaction([sql`insert into items values (3, 'd')`, sql.query(ending)])
        await errorOf(split, NeonDbError)
        assert.deepEqual(await sql`select * from items`, [], ending)
      }
    })

    test('a serialization failure at the end of a transaction is told', async () => {
      const sql = open()
      await sql`create table if not exists deferred (id int unique deferrable initially deferred)`
      const twice = [sql`insert into deferred values (1)`, sql`insert into deferred values (1)`]
      assert.equal((await errorOf(sql.transaction(twice), NeonDbError)).code, '23505')
      assert.deepEqual(await sql`select * from deferred`, [])
      await sql`drop table deferred`
    })

    test('errors have every member that they have over TCP', async () => {
      const sql = open()
      await sql`insert into items values (1, 'a')`
      const direct = new pg.Client({
        host: pooler.host,
        port: pooler.port,
        user: postgres.user,
        password: postgres.password,
        database: postgres.database,
      })
      await direct.connect()
      const statements = [
        'select 1/0',
        'select 1 from nowhere',
        "insert into items values (1, 'b')",
        'insert into items values (2, null)',
        "do $$ begin raise exception 'no' using hint = 'try', detail = 'why', errcode = 'P0042'; end $$",
        "do $$ begin execute 'selec'; end $$",
        'select a from (select 1 as b) as t',
      ]
      for (const text of statements) {
        const told = await errorOf(sql.query(text), NeonDbError)
        const expected = await errorOf(direct.query(text), pg.DatabaseError)
        assert.equal(told.message, expected.message)
        for (const member of MEMBERS) assert.equal(told[member], expected[member], `${text}: ${member}`)
      }
      await direct.end()
      await sql`delete from items`
    })

    test('who may not come in reads why, and the same words whoever it is', async () => {
      const sql = open()
      assert.deepEqual(await sql`select 1 as a`, [{ a: 1 }])
      const refused = async (change: Partial<URL>) => {
        const { code, severity, message } = await errorOf(
          neon.neon(urlOf(postgres, change))`select 1`,
          NeonDbError,
        )
        return { code, severity, message }
      }
      const wrong = (user: string) => ({
        code: '28P01',
        severity: 'FATAL',
        message: `password authentication failed for user "${user}"`,
      })
      assert.deepEqual(await refused({ password: 'not-it' }), wrong(postgres.user))
      assert.deepEqual(await refused({ username: 'nobody' }), wrong('nobody'))
      assert.equal((await refused({ pathname: '/nowhere' })).code, '3D000')
    })

    test('poolQueryViaFetch: a pool asks by HTTP, and by WebSocket for a client', async () => {
      const asked: string[] = []
      aim({ neon, socket: undefined }, pooler, {
        poolQueryViaFetch: true,
        fetchFunction: (to: string, options: RequestInit) => {
          asked.push(to)
          return fetch(to, options)
        },
      })
      const pool = new neon.Pool({ connectionString: url })
      assert.deepEqual((await pool.query('select $1::int as a', [1])).rows, [{ a: 1 }])
      assert.deepEqual((await pool.query({ text: 'select 1 as a', rowMode: 'array' })).rows, [[1]])
      assert.equal((await errorOf(pool.query('select 1/0'), NeonDbError)).code, '22012')
      assert.deepEqual(
        asked,
        Array.from({ length: 3 }, () => `http://${endpointOf(pooler)}/sql`),
      )
      const client = await pool.connect()
      assert.deepEqual((await client.query('select 2 as b')).rows, [{ b: 2 }])
      client.release()
      assert.equal(asked.length, 3)
      await pool.end()
    })

    test('parameters one by one, and a password that is asked for', async (t) => {
      if (version === '1.1.0') return notRun(t, '1.1.0 takes a connection string only')
      open()
      const { user, database } = postgres
      const password = async () => postgres.password
      const sql = neon.neon({ user, database, password, host: HOST })
      assert.deepEqual(await sql`select ${1}::int as a`, [{ a: 1 }])
      const client = new neon.Client({ user, database, password, host: HOST })
      await client.connect()
      assert.deepEqual((await client.query('select 1 as a')).rows, [{ a: 1 }])
      await client.end()
    })

    test('fetchEndpoint is given what the connection string says', async () => {
      const given: unknown[] = []
      aim({ neon, socket: undefined }, pooler, {
        fetchEndpoint: (host: string, port: number | string) => {
          given.push([host, port])
          return `http://${endpointOf(pooler)}/sql`
        },
      })
      assert.deepEqual(await neon.neon(urlOf(postgres, { port: '6543' }))`select 1 as a`, [{ a: 1 }])
      assert.deepEqual(given, [[HOST, '6543']])
    })

    test('startup parameters of the connection string hold', async () => {
      open()
      const search = '?application_name=shop&options=-c%20statement_timeout%3D4321&sslmode=require'
      const sql = neon.neon(urlOf(postgres, { search }))
      const [row] = await sql`select current_setting('application_name') as name,
        current_setting('statement_timeout') as timeout`
      assert.deepEqual(row, { name: 'shop', timeout: '4321ms' })
    })

    test('a request that its sender gives up is cancelled', async () => {
      const sql = open()
      const leaving = new AbortController()
      const given = sql.query('select pg_sleep(60)', [], { fetchOptions: { signal: leaving.signal } })
      const failed = errorOf(given, NeonDbError)
      await asleep(postgres)
      leaving.abort()
      assert.match((await failed).message, /abort/i)
      // The only server of the pool is free again.
      assert.deepEqual(await sql`select 1 as a`, [{ a: 1 }])
    })
  })
}
