// Owns: somebody who has come in over HTTP and wants what is others': their server, their memory, their
// place. Each attack worked once.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { targetOf } from '../../src/serverless/http/remembered.ts'
import { through } from '../support/compare.ts'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { Asker, ON, urlFor } from '../support/sql-over-http.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const pooler = await startPooler(postgres.url, { serverless: ON, pool: { size: 1 } })
after(() => pooler.stop())
const ask = new Asker(pooler, urlFor(postgres))

describe('statements of pgmux itself, replaced by others of the same name', () => {
  const names = "select name from pg_prepared_statements where name ~ '^pgmux_[a-z]' and not from_sql"
  const found = `select current_user as who, current_setting('search_path') as path,
    (select relpersistence from pg_class where oid = 'notes'::regclass) as notes,
    (select count(*) from pg_listening_channels()) as channels,
    (select count(*) from pg_prepared_statements where from_sql) as prepared`
  /** What the replaced ones do is up to the attacker. */
  const replace = (text: string) => `do $$ declare one text; begin
    for one in ${names} loop
      execute 'deallocate ' || one;
      execute format('prepare %s as ${text}', one, one);
    end loop;
    execute 'create temp table notes (a text)';
    execute 'listen stolen';
    execute 'set role thief';
    execute 'set search_path = pg_temp, public';
  end $$`

  it('reset nothing, and are noticed', async () => {
    await postgres.admin('create role thief')
    await postgres.admin('create table notes (a text)')
    await postgres.admin('grant all on notes to public')
    const clean = await ask.rows(found)
    for (const text of ['select 1', 'select 1 where false', 'select 1 from generate_series(1, 3)']) {
      assert.equal((await ask.sql(replace(text))).status, 200)
      assert.deepEqual(await ask.rows(found), clean, text)
    }
  })

  it('reset nothing and take themselves away in time, and are noticed', async () => {
    await postgres.admin(`create function vanish() returns int language plpgsql as $$ declare one text; begin
      for one in select name from pg_prepared_statements where from_sql loop
        execute 'deallocate ' || one;
      end loop;
      return 1; end $$`)
    const clean = await ask.rows(found)
    for (const name of ['pgmux_begin', 'pgmux_reset_6', 'pgmux_commit']) {
      const vanish = `prepare ${name} as select public.vanish()`
      const last = `do $$ begin execute '${vanish}'; end $$`
      const { body } = await ask.batch([replace('select 1').replace('set role thief', 'select 1'), last])
      assert.equal(body.message, undefined)
      assert.deepEqual(await ask.rows(found), clean, name)
    }
  })

  it('by a session: nothing of it is there for a request', async () => {
    await postgres.admin('create table stolen (a text)')
    await postgres.admin(`create function steal() returns trigger language plpgsql as $$ begin
      insert into public.stolen values (new.a); return new; end $$`)
    const tcp = await WireClient.connect(through(pooler, postgres))
    const trap = "execute 'create trigger steal before insert on notes for each row execute function steal()'"
    await tcp.query(replace('select 1').replace("execute 'set role thief'", trap))
    // While it is there the server is its own: it has temporary objects.
    await tcp.end()
    const { body } = await ask.sql("insert into notes values ('secret')")
    assert.equal(body.message, undefined, JSON.stringify(body))
    assert.deepEqual(await ask.rows('select * from stolen'), [])
  })

  it('take their time: the server is given up', async () => {
    const short = { size: 1, cancelTimeoutMs: 200 }
    const held = await startPooler(postgres.url, { serverless: ON, pool: short })
    after(() => held.stop())
    const asker = new Asker(held, urlFor(postgres))
    const sleep = replace('select pg_sleep(1000)')
    for (const leavesIt of [() => asker.sql(sleep), () => asker.batch(['select 1', sleep])]) {
      await asker.value('select 1')
      assert.equal((await leavesIt()).status, 200)
      assert.equal(await asker.value('select 1'), '1')
    }
  })
})

describe('a request that waits', () => {
  it('for longer than it may run is told which limit that was', async () => {
    const full = await startPooler(postgres.url, {
      serverless: { ...ON, queryTimeoutMs: 200 },
      pool: { size: 1 },
    })
    after(() => full.stop())
    const tcp = await WireClient.connect(through(full, postgres))
    await tcp.query('begin')
    const { status, body } = await new Asker(full, urlFor(postgres)).sql('select 1')
    assert.deepEqual([status, body.code], [400, '57014'])
    assert.match(body.message, /serverless\.query_timeout/)
    await tcp.end()
  })
})

describe('connection strings of strangers', () => {
  it('that are long are not kept', () => {
    const many = Array.from({ length: 5000 }, (_, place) => place.toString(36)).join('&')
    const kept = (text: string) => {
      const first = targetOf(text)
      return targetOf(text) === first
    }
    assert.equal(kept('postgres://u:p@h/db?application_name=a'), true)
    assert.equal(kept(`postgres://u:p@h/db?${many}`.slice(0, 16_000)), false)
    assert.equal(kept(`postgres://u:p@h/db?${many}`.slice(0, 1000)), false)
    assert.equal(kept(`postgres://u:${'p'.repeat(2000)}@h/db`), false)
  })
})

describe('parameters with which nothing seems to be wrong', () => {
  const withQuery = (query: string) => new Asker(pooler, urlFor(postgres, query))
  const pid = 'select pg_backend_pid()'

  it('as defaults of transactions do not cost each request a server', async () => {
    const levels = ['-c default_transaction_isolation=serializable', '-c default_transaction_read_only=on']
    for (const options of [...levels, `${levels.join(' ')} -c default_transaction_deferrable=on`]) {
      const asker = withQuery(`?options=${encodeURIComponent(options)}`)
      const first = await asker.value(pid)
      await asker.sql('create temp table mine (a int)')
      await asker.sql('select 1/0')
      assert.equal(await asker.value(pid), first, options)
    }
  })

  it('as a name that is not ASCII: Postgres makes a longer one of it than it takes', async () => {
    const asker = withQuery(`?application_name=${encodeURIComponent('é'.repeat(20))}`)
    for (let round = 0; round < 3; round++) {
      assert.equal(await asker.value('select 1'), '1')
      assert.equal(await ask.value('select 1'), '1')
    }
  })
})
