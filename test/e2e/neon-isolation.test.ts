// What a request over HTTP or a client over WebSocket leaves behind, and that nobody else ever meets it:
// one server for all, the unmodified driver, clients over TCP in between.
import assert from 'node:assert/strict'
import { after, afterEach, suite, test } from 'node:test'
import pg from 'pg'
import { stage } from '../support/compare.ts'
import { aim, DRIVERS, errorOf, on, resetAfterEach, urlOf, withClient } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
await postgres.admin('create table ledger (id int primary key, body text)')
const { pooler } = await stage(postgres, 'one server', { pool: { size: 1 }, serverless: on() })
const url = urlOf(postgres)
const { user, password, database } = postgres
const tcp = new pg.Client({ host: pooler.host, port: pooler.port, user, password, database })
// Hooks run in their order: the pooler stops first.
tcp.on('error', () => {})
await tcp.connect()
after(() => tcp.end())
resetAfterEach()
afterEach(() => postgres.admin('truncate ledger'))

const CLEAN = `select current_setting('work_mem') as work_mem, current_setting('search_path') as path,
  current_setting('timezone') as zone, current_user as who, current_setting('transaction_isolation') as level,
  current_setting('my.secret', true) as custom, current_setting('statement_timeout') as timeout,
  to_regclass('pg_temp.hidden')::text as temp,
  (select count(*)::int from pg_locks where locktype = 'advisory') as locks,
  (select count(*)::int from pg_listening_channels()) as channels,
  (select count(*)::int from pg_cursors where name <> '') as cursors`
const STATEMENTS = "select count(*)::int as n from pg_prepared_statements where name = 'theirs'"

/** Each in a request of its own; the next must not see it. */
const LEFT_BEHIND: Readonly<Record<string, string>> = {
  'a transaction': 'begin',
  'a transaction of another kind': 'start transaction isolation level serializable read only',
  'a setting': "set work_mem = '7MB'",
  'a path': 'set search_path = pg_catalog',
  'a time zone': "set timezone = 'Asia/Tokyo'",
  'a timeout': 'set statement_timeout = 12345',
  'a role': 'set role pg_monitor',
  'a setting by function': "select set_config('work_mem', '9MB', false)",
  'a name of its own': "select set_config('my.secret', 'mine', false)",
  'a lock': 'select pg_advisory_lock(42)',
  'a table': 'create temp table hidden (secret text)',
  'a subscription': 'listen news',
  'a cursor': 'declare c cursor with hold for select 1',
}

for (const { version, neon } of DRIVERS) {
  suite(`driver ${version}`, () => {
    const open = () => {
      aim({ neon, socket: undefined }, pooler)
      return neon.neon(url)
    }
    /** A custom name cannot be unset in Postgres: it reads '' where it read null. */
    const clean = (row: Record<string, unknown> = {}): Record<string, unknown> => {
      return { ...row, custom: row.custom || null }
    }

    test('over HTTP: what a request leaves behind is gone for the next, and for TCP', async () => {
      const sql = open()
      const expected = clean((await tcp.query(CLEAN)).rows[0])
      assert.equal(expected.locks, 0)
      for (const [what, statement] of Object.entries(LEFT_BEHIND)) {
        await sql.query(statement).catch((error: Error) => {
          // LISTEN may be refused where nobody could hear of it, with a way out.
          assert.ok(
            what === 'a subscription' && 'code' in error && error.code === '0A000',
            `${what}: ${error}`,
          )
        })
        assert.deepEqual(clean((await sql.query(CLEAN))[0]), expected, `${what}, the next request`)
        await sql.query(statement).catch(() => {})
        assert.deepEqual(clean((await tcp.query(CLEAN)).rows[0]), expected, `${what}, a client over TCP`)
      }
    })

    test('over HTTP: BEGIN alone is undone with what it could hold', async () => {
      const sql = open()
      await sql`begin`
      await sql`insert into ledger values (1, 'kept: it is a request of its own')`
      await sql`rollback`
      const { rows } = await tcp.query('select id from ledger')
      assert.deepEqual(rows, [{ id: 1 }])
    })

    test('over HTTP: PREPARE is not there for the next, EXECUTE says so', async () => {
      const sql = open()
      await sql`prepare theirs as select 'a secret'`
      const { code } = await errorOf(sql`execute theirs`, neon.NeonDbError)
      assert.equal(code, '26000')
      assert.deepEqual((await tcp.query(STATEMENTS)).rows, [{ n: 0 }])
      assert.deepEqual(await sql.query(STATEMENTS), [{ n: 0 }])
      await tcp.query({ name: 'mine', text: "select 'over TCP' as t" })
      await errorOf(sql`execute mine`, neon.NeonDbError)
      const { rows } = await tcp.query({ name: 'mine', text: "select 'over TCP' as t" })
      assert.deepEqual(rows, [{ t: 'over TCP' }])
    })

    test('over HTTP: a failed batch leaves neither transaction nor rows', async () => {
      const sql = open()
      const failing = [
        sql`set local work_mem = '7MB'`,
        sql`insert into ledger values (1, 'x')`,
        sql`select 1/0`,
      ]
      assert.equal((await errorOf(sql.transaction(failing), neon.NeonDbError)).code, '22012')
      assert.deepEqual(await sql`select * from ledger`, [])
      await sql.transaction([sql`set work_mem = '8MB'`, sql`insert into ledger values (2, 'y')`])
      assert.deepEqual(await sql`select id, current_setting('work_mem') = '8MB' as leaked from ledger`, [
        { id: 2, leaked: false },
      ])
    })

    test('HTTP between the transactions of a client over TCP, and in the midst of its settings', async () => {
      const sql = open()
      const zone = (await sql`show timezone`)[0]?.TimeZone
      await tcp.query("set timezone = 'Asia/Tokyo'")
      for (let round = 0; round < 5; round++) {
        await tcp.query('begin')
        await tcp.query('insert into ledger values ($1, $2)', [round, 'tcp'])
        const waiting = sql`select count(*)::int as n, current_setting('timezone') as zone from ledger`.then(
          (rows) => rows,
        )
        await tcp.query('commit')
        assert.deepEqual(await waiting, [{ n: round + 1, zone }])
      }
      const { rows } = await tcp.query('show timezone')
      assert.deepEqual(rows, [{ TimeZone: 'Asia/Tokyo' }])
      await tcp.query('reset timezone')
    })

    test('over WebSocket: settings follow their client, and end with it', async () => {
      open()
      await withClient(neon, url, (a) =>
        withClient(neon, url, async (b) => {
          await a.query("set timezone = 'Asia/Tokyo'")
          await b.query("set timezone = 'America/Lima'")
          const zones = async () =>
            Promise.all([a, b].map(async (client) => (await client.query('show timezone')).rows[0].TimeZone))
          for (let round = 0; round < 3; round++) {
            assert.deepEqual(await zones(), ['Asia/Tokyo', 'America/Lima'])
          }
        }),
      )
      const expected = clean((await tcp.query(CLEAN)).rows[0])
      await withClient(neon, url, async (client) => {
        assert.deepEqual(clean((await client.query(CLEAN)).rows[0]), expected)
      })
    })

    test('over WebSocket: a client that ends in a transaction has its work undone', async () => {
      open()
      await withClient(neon, url, async (client) => {
        await client.query('begin')
        await client.query("insert into ledger values (7, 'lost')")
      })
      assert.deepEqual((await tcp.query('select * from ledger')).rows, [])
    })

    test('100 requests at once and 10 clients share the one server without a mix-up', async () => {
      const sql = open()
      const requests = Array.from({ length: 100 }, async (_, i) => {
        const [rows] = await sql.transaction([
          sql`select ${i}::int as n`,
          sql`select set_config('my.n', ${`${i}`}, true)`,
        ])
        assert.deepEqual(rows, [{ n: i }])
      })
      const clients = Array.from({ length: 10 }, (_, i) =>
        withClient(neon, url, async (client) => {
          await client.query('begin')
          await client.query('insert into ledger values ($1, $2)', [i, 'ws'])
          await client.query('commit')
        }),
      )
      await Promise.all([...requests, ...clients])
      assert.deepEqual(await sql`select count(*)::int as n from ledger`, [{ n: 10 }])
    })
  })
}
