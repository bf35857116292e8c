// Nothing of a request reaches the next one, nor a session one, nor a request a session's: whatever it
// did, in what guise, on one server, in each pool mode. And parameters of the connection string count as
// they do at a login.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { through } from '../support/compare.ts'
import { Asker, ON, urlFor } from '../support/sql-over-http.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const start = async (
  mode: 'transaction' | 'session' | 'statement',
  customNames: 'relaxed' | 'strict' = 'relaxed',
) => {
  const pooler = await startPooler(postgres.url, {
    serverless: ON,
    pool: { size: 1, mode },
    session: { customNames },
  })
  after(() => pooler.stop())
  return { pooler, ask: new Asker(pooler, urlFor(postgres)) }
}
const transaction = await start('transaction')
const { ask } = transaction

await postgres.admin('create table kept (id serial primary key, a int)')
await postgres.admin('create role plain')
await postgres.admin(`create function dirty() returns int language plpgsql as $$ begin
  perform set_config('work_mem', '5MB', false);
  perform pg_advisory_lock(4242);
  execute 'create temp table hidden (a int) on commit preserve rows';
  execute 'listen hidden';
  execute 'prepare hidden as select 1';
  perform nextval('kept_id_seq');
  return 1; end $$`)
await postgres.admin('create view dirty_view as select dirty() as a')
await postgres.admin(`create function on_insert() returns trigger language plpgsql as $$ begin
  perform dirty(); return new; end $$`)
await postgres.admin('create table trap (a int)')
await postgres.admin('create trigger trap before insert on trap for each row execute function on_insert()')

const STATE = `select current_setting('work_mem') as mem, current_user as who, session_user as login,
  current_setting('role') as role, current_setting('statement_timeout') as timeout,
  current_setting('default_transaction_isolation') as level,
  (select count(*) from pg_locks where locktype = 'advisory') as locks,
  (select count(*) from pg_listening_channels()) as channels,
  (select count(*) from pg_prepared_statements where from_sql) as prepared,
  (select count(*) from pg_cursors where name <> '') as cursors,
  (select count(*) from pg_class where relpersistence = 't') as temporary,
  current_setting('application_name') as application, coalesce(current_setting('app.x', true), '') as custom`

/** What a statement may leave behind. */
const TRACES = [
  'begin',
  '/* lone */ start transaction isolation level serializable',
  "set work_mem = '6MB'",
  "set application_name = 'other'",
  "set app.x = 'secret'",
  'set role plain',
  'set session authorization plain',
  'set session characteristics as transaction isolation level serializable, read only, deferrable',
  "select set_config('work_mem', '6MB', false)",
  'listen somewhere',
  'create temp table mine (a int)',
  'create temp view mine as select 1 as a',
  'select pg_advisory_lock(1)',
  'select pg_advisory_lock_shared(2), pg_try_advisory_lock(3)',
  'prepare mine as select 1',
  'declare mine cursor with hold for select 1',
  'do $$ begin perform dirty(); end $$',
  'select dirty()',
  'select * from dirty_view',
  'insert into trap values (1)',
  "do $$ begin execute 'prepare deep as select 2'; end $$",
  'deallocate all',
  'discard all',
  'reset all',
  `select 1 as a /* ${'x'.repeat(100_000)} */`,
  'select 1/0',
  'select dirty(), 1/(random() * 0)::int',
  'this is no statement',
]

describe('on one server, in transaction mode', () => {
  it('each request finds what the first one found', async () => {
    const clean = await ask.rows(STATE)
    for (const text of TRACES) {
      await ask.sql(text)
      assert.deepEqual(await ask.rows(STATE), clean, text.slice(0, 60))
    }
  })

  it('and so after a batch, that succeeds or not', async () => {
    const clean = await ask.rows(STATE)
    for (const last of ['select 1', 'select 1/0', 'select nix']) {
      await ask.batch(["set work_mem = '7MB'", 'select dirty()', 'set role plain', last])
      assert.deepEqual(await ask.rows(STATE), clean, last)
    }
  })

  it('lastval of another is not there', async () => {
    await ask.sql('insert into kept (a) values (1)')
    assert.equal((await ask.sql('select lastval()')).body.code, '55000')
    assert.equal((await ask.sql("select currval('kept_id_seq')")).body.code, '55000')
  })

  it('a statement prepared in one is not there in the next, and its name is free', async () => {
    for (let round = 0; round < 3; round++) {
      assert.equal((await ask.sql('prepare mine as select 7')).status, 200)
      assert.equal((await ask.sql('execute mine')).body.code, '26000')
    }
  })

  it('keeps the server, also where what pgmux itself needs there was dropped', async () => {
    const pid = await ask.value('select pg_backend_pid()')
    for (const text of [...TRACES, 'discard all', 'deallocate all']) await ask.sql(text)
    assert.equal(await ask.value('select pg_backend_pid()'), pid)
    const tcp = await WireClient.connect(through(transaction.pooler, postgres))
    await tcp.query("set application_name = 'differs'")
    assert.deepEqual((await tcp.query('select pg_backend_pid()')).rows, [[pid]])
    await tcp.end()
  })

  it('a lone BEGIN is rolled back and holds nothing up', async () => {
    assert.deepEqual((await ask.sql('begin')).body.command, 'BEGIN')
    await ask.sql('insert into kept (id, a) values (1000, 1)')
    const open = "select count(*)::int as n from pg_stat_activity where state like 'idle in%'"
    await eventually(async () => (await postgres.admin(open))[0]?.n === 0)
  })

  it('a session over TCP between the requests keeps the settings that Postgres reports', async () => {
    const tcp = await WireClient.connect(through(transaction.pooler, postgres))
    await tcp.query("set application_name = 'tcp'")
    for (let round = 0; round < 3; round++) {
      await ask.sql("set application_name = 'http'")
      await ask.sql('select dirty()')
      const { rows } = await tcp.query(STATE)
      assert.equal(String(rows[0]).includes('5MB'), false)
      assert.equal((await tcp.query('show application_name')).rows[0]?.[0]?.toString(), 'tcp')
    }
    await tcp.end()
  })

  it('a session over TCP leaves nothing to a request', async () => {
    const clean = await ask.rows(STATE)
    const tcp = await WireClient.connect(through(transaction.pooler, postgres))
    for (const text of [
      "set work_mem = '9MB'",
      'select pg_advisory_lock(9); select pg_advisory_unlock(9)',
      "set statement_timeout = '9s'",
    ]) {
      await tcp.query(text)
      assert.deepEqual(await ask.rows(STATE), clean, text)
    }
    await tcp.end()
  })
})

describe('on one server, in session mode', () => {
  it('nothing is left either', async () => {
    const session = await start('session')
    const clean = await session.ask.rows(STATE)
    for (const text of TRACES) {
      await session.ask.sql(text)
      assert.deepEqual(await session.ask.rows(STATE), clean, text.slice(0, 60))
    }
    const { status } = await session.ask.batch(['select 1', 'select 2'], { 'neon-batch-read-only': 'true' })
    assert.equal(status, 200)
  })
})

describe('in statement mode', () => {
  it('a batch without modes is one transaction, blocks are refused, and nothing is left', async () => {
    const statement = await start('statement')
    const clean = await statement.ask.rows(STATE)
    const failed = await statement.ask.batch(['insert into kept (id, a) values (2000, 1)', 'select 1/0'])
    assert.deepEqual([failed.status, failed.body.code, failed.body.queryIndex], [400, '22012', 1])
    assert.deepEqual(await statement.ask.rows('select * from kept where id = 2000'), [])
    const { body } = await statement.ask.batch(['insert into kept (id, a) values (2000, 1)', 'select 2'])
    assert.equal(body.results.length, 2)
    const refused = await statement.ask.batch(['select 1'], { 'neon-batch-read-only': 'true' })
    assert.deepEqual([refused.status, refused.body.code], [400, '0A000'])
    assert.equal((await statement.ask.sql('begin')).body.code, '0A000')
    for (const text of TRACES.slice(2)) {
      await statement.ask.sql(text)
      assert.deepEqual(await statement.ask.rows(STATE), clean, text.slice(0, 60))
    }
  })
})

describe('parameters of the connection string', () => {
  const withQuery = (query: string) => new Asker(transaction.pooler, urlFor(postgres, query))

  it('count as at a login', async () => {
    const asked = withQuery(
      '?application_name=a+b%2Bc&statement_timeout=1234&options=-c%20work_mem%3D8MB&sslmode=require' +
        '&channel_binding=require&search_path=pg_catalog&timezone=Asia%2FTokyo',
    )
    const text = `select current_setting('application_name'), current_setting('statement_timeout'),
      current_setting('work_mem'), current_setting('search_path'), current_setting('timezone')`
    for (let round = 0; round < 2; round++) {
      assert.deepEqual(await asked.rows(text), [['a b+c', '1234ms', '8MB', 'pg_catalog', 'Asia/Tokyo']])
      // RESET brings back what was asked for.
      await asked.sql('reset all')
      await asked.sql("set work_mem = '1MB'")
    }
    assert.equal((await asked.sql('select pg_sleep(3)')).body.code, '57014')
    assert.equal(await ask.value('show statement_timeout'), '0')
  })

  it('that Postgres does not know are refused in its words', async () => {
    const { status, body } = await withQuery('?nix=1').sql('select 1')
    assert.deepEqual([status, body.code], [400, '42704'])
    assert.match(body.message, /unrecognized configuration parameter "nix"/)
    const wrong = await withQuery('?timezone=Nowhere').sql('select 1')
    assert.deepEqual([wrong.status, wrong.body.code], [400, '22023'])
    assert.equal((await withQuery('?replication=database').sql('select 1')).body.code, '0A000')
  })

  it('cannot change the encoding that JSON needs', async () => {
    assert.equal(await withQuery('?client_encoding=latin1').value('select chr(8364)'), '\u20ac')
    const { status, body } = await ask.batch(["set client_encoding = 'LATIN1'", 'select chr(233)'])
    assert.deepEqual([status, body.code], [400, '22021'])
    assert.equal(await ask.value('select chr(8364)'), '\u20ac')
  })
})

describe('session.custom_names: strict', () => {
  it('a name that a request has used is nobody else’s', async () => {
    const strict = await start('transaction', 'strict')
    const name = "select current_setting('app.strict', true)"
    const pid = 'select pg_backend_pid()'
    const first = await strict.ask.value(pid)
    for (const text of ["set app.strict = 'mine'", "select set_config('app.strict', 'mine', true)"]) {
      assert.equal(await strict.ask.value(name), null)
      await strict.ask.rows(text)
    }
    assert.equal(await strict.ask.value(name), null)
    assert.notEqual(await strict.ask.value(pid), first)
  })
})
