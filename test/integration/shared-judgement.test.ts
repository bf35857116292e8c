// What looks like a read and is none: it never runs on a server that several clients share, whatever it hides
// behind, and where it is taken for a read Postgres refuses it there, and it runs once, elsewhere.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Insight } from '../../src/backend/insight.ts'
import type { Settings } from '../../src/session/settings.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { SharingRig, onlyValue } from '../support/sharing.ts'
import { until } from '../support/waits.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()

const SCHEMA = `
create table part_free (id int) partition by list (id);
create table part_free_1 partition of part_free for values in (1);
create table t (id int primary key, a text, b int);
insert into t select n, 'a' || n, n from generate_series(1, 5) n;
create operator ### (leftarg = int, rightarg = int, function = int4pl);
create domain leaky as int check (value > 0);
create type pair as (x leaky, y text);
create table with_domain (d leaky);
insert into with_domain values (1);
create table with_pair (p pair);
create table other (a int, b text);
create sequence seq;
create function plain(x int) returns int language sql immutable as 'select x + 1';
create function leaks(x int) returns int language plpgsql volatile as
  $$ begin perform set_config('app.leak', 'yes', false); return x; end $$;
create function attribute(t) returns int language plpgsql as
  $$ begin perform set_config('app.leak', 'yes', false); return 1; end $$;
create function upper(int) returns int language plpgsql as
  $$ begin perform set_config('app.leak', 'yes', false); return 1; end $$;
create function leaks_ok(x int) returns boolean language plpgsql as
  $$ begin perform set_config('app.leak', 'yes', false); return true; end $$;
create view peek as select leaks(1) as x;
create view simple_view as select id from t;
create table guarded (id int);
insert into guarded values (1);
create policy leaky on guarded using (leaks_ok(id));
alter table guarded enable row level security;
alter table guarded force row level security;
create table parted (id int) partition by list (id);
create table part partition of parted for values in (1);
insert into parted values (1);
create policy leaky on part using (leaks_ok(id));
create materialized view stored as select 1 as id;
`
await postgres.admin(SCHEMA)
const sharing = await SharingRig.start(postgres, 1)

/** Must never share a server; each ends well, and leaves nothing that the next one would see. */
const NEVER = [
  'select plain(1)',
  'select leaks(1)',
  'select public.leaks(1)',
  'select leaks(1) from t limit 1',
  'select t.attribute from t',
  'select (t).attribute from t',
  'select upper(1)',
  "select upper('x')",
  'select 1 ### 2',
  'select 1 operator(public.###) 2',
  'select 1::leaky',
  "select '1'::leaky",
  'select cast(1 as leaky)',
  "select leaky '1'",
  "select row(1, 'x')::pair",
  "select '(1,x)'::pair",
  "select array[row(1, 'x')]::pair[]",
  "select '{1}'::leaky[]",
  'select * from json_to_record(\'{"a": 1}\') as r(a leaky)',
  'select * from json_to_record(\'{"a": {"x": 1}}\') as r(a pair)',
  'select * from json_populate_record(null::pair, \'{"x": 1}\')',
  'select jsonb_populate_record(null::t, \'{"id": 1}\')',
  "select * from xmltable('/a' passing '<a>1</a>' columns x leaky path '.')",
  'select d from with_domain',
  'select p from with_pair',
  'select x from peek',
  'select id from simple_view',
  'select id from guarded',
  'select id from parted',
  "insert into other values (1, 'x')",
  "with w as (insert into other values (1, 'x') returning a) select a from w",
  'update t set b = b returning id',
  'delete from other returning a',
  'select id from t for update',
  'select id from t for key share',
  "select nextval('seq')",
  "select setval('seq', 1)",
  'select last_value from seq',
  "select set_config('app.x', 'y', false)",
  "select set_config('search_path', 'pg_catalog', true)",
  "select current_setting('default_transaction_read_only')",
  "select current_setting('transaction_read_only')",
  "select setting from pg_settings where name = 'default_transaction_read_only'",
  "select setting from pg_catalog.pg_settings where name = 'transaction_read_only'",
  'select count(*) from pg_show_all_settings()',
  'show transaction_read_only',
  'show default_transaction_read_only',
  'select pg_try_advisory_xact_lock(1)',
  'select pg_advisory_xact_lock_shared(1)',
  'select pg_sleep(0.001)',
  "select pg_sleep_for('1 ms')",
  "select pg_notify('nobody', 'x')",
  'select count(*) from pg_listening_channels()',
  'select count(*) from pg_stat_activity where false',
  'select count(*) from pg_locks where false',
  'select count(*) from pg_prepared_statements',
  'select count(*) from pg_cursors',
  'select count(*) from information_schema.tables where false',
  "select query_to_xml('select leaks(1)', false, false, '')",
  "select count(*) from ts_stat('select to_tsvector(''x'')')",
  "select xmlserialize(content database_to_xml(false, false, '') as text) is null where false",
  'select pg_current_xact_id() is null',
  'select txid_current() is null',
  'select pg_export_snapshot() is null',
  'select setseed(0.5)',
  'select lo_creat(-1) is null',
  "select count(*) from pg_ls_dir('.') where false",
  'select pg_cancel_backend(0)',
  'select pg_terminate_backend(0)',
  'select pg_stat_clear_snapshot()',
  'select pg_my_temp_schema()',
  'explain select 1',
  'explain analyze select 1',
  'select 1; select 2',
  'values (1); values (2)',
  "select * from dblink('') as x(a int) where false",
  'table peek',
  'with recursive r as (select leaks(1) as n) select n from r',
  'select (select leaks(1))',
  'select 1 order by leaks(1)',
  'select 1 limit leaks(1)',
  'select count(*) filter (where leaks(1) = 1) from t',
  'select sum(id) over (order by leaks(1)) from t',
  'select * from generate_series(1, leaks(1))',
  'select * from rows from (leaks(1))',
  'select 1 from t tablesample system (leaks(100))',
  'select xmlelement(name a, leaks(1))',
  'select coalesce(null, leaks(1))',
  'select greatest(leaks(1), 2)',
  'select array(select leaks(1))',
  'select 1 in (select leaks(1))',
  'values (leaks(1))',
]

/** These should share: the same tests must be able to fail. */
const ALWAYS = [
  'select id from t where id = 1',
  'select 1',
  "select lower('X')",
  'values (1)',
  'table stored',
  'select id from part_free where id = 1',
  'select max(id) from t',
  'select count(*) from t x join t y on x.id = y.id',
]

/** What is not seen in a text, and lets nearly any text do more than it says. */
const HAZARDS = {
  'a cast': {
    made: [
      `create function leaky_cast(int) returns point language plpgsql as
        $$ begin perform set_config('app.leak', 'yes', false); return point(1, 2); end $$`,
      'create cast (int as point) with function leaky_cast(int) as implicit',
    ],
    texts: ['select id::point from t where id = 1', "select point '(1,1)' <-> id from t where id = 1"],
    declared: null,
    dropped: ['drop function leaky_cast cascade'],
  },
  'an operator between types of Postgres': {
    made: [
      `create function leaks_eq(text, int) returns boolean language plpgsql as
        $$ begin perform set_config('app.leak', 'yes', false); return true; end $$`,
      'create operator = (leftarg = text, rightarg = int, function = leaks_eq)',
    ],
    texts: [
      'select 1 where (select a from t limit 1) = 7',
      'select count(*) from t where a = b',
      'select nullif(a, 1) is null from t limit 1',
      'select case a when 1 then 2 end from t limit 1',
      'select count(*) from t where a in (1, 2)',
      'select count(*) from t where (a, b) = (1, 2)',
      'select count(*) from t where a is distinct from 1',
      'select count(*) from t where a = any (array[1])',
      'select count(*) from t where a = any (select b from t)',
      'select count(*) from t where a in (select b from t)',
      'select count(*) from t x join (select b as a from t) y using (a)',
      'select count(*) from (select a from t) x natural join (select b as a from t) y',
    ],
    declared: null,
    dropped: ['drop function leaks_eq cascade'],
  },
  'a domain': {
    made: [
      'create domain leakier as int check (leaks_ok(value))',
      'create type pairs as (x leakier, y text)',
      'create type pairs_of as (p pairs)',
      'create table with_leaky (d leakier)',
    ],
    texts: [
      'select 1::leakier',
      "select row(1, 'x')::pairs",
      "select '(1,x)'::pairs",
      'select \'("(1,x)")\'::pairs_of',
      "select array[row(1, 'x')]::pairs[]",
      'select * from json_populate_record(null::pairs, \'{"x": 1}\')',
      'select * from json_to_record(\'{"a": {"x": 1}}\') as r(a pairs)',
    ],
    declared: 'leakier',
    dropped: ['drop table with_leaky', 'drop type pairs_of', 'drop type pairs', 'drop domain leakier'],
  },
  'a domain whose check calls Postgres itself': {
    made: [
      "create domain locked as int check (set_config('app.leak', value::text, false) is not null)",
      'create type locks as (x locked, y text)',
    ],
    texts: ['select 1::locked', "select row(1, 'x')::locks", "select '(1,x)'::locks"],
    declared: 'locked',
    dropped: ['drop type locks', 'drop domain locked'],
  },
}

suite('what never shares a server', () => {
  test('what does is noticed here', async () => {
    for (const sql of ALWAYS) {
      const from = sharing.shared
      await sharing.warm((client) => client.query(sql))
      assert.ok(
        sharing.shared > from,
        `${sql}: ${sharing.shapes(sql.slice(0, 6)).map(({ refusal }) => refusal)}`,
      )
    }
  })

  test('statements that do more than they say', async () => {
    const { insight, entry } = sharing
    const [server] = [...entry.pool.idle, ...entry.pool.active]
    assert.ok(server?.settings)
    const wrong: string[] = []
    for (const sql of NEVER) {
      const text = Buffer.from(sql)
      let shape = insight.shapeOf(text, 0, text.length, server.settings)
      await until(
        () => {
          shape = insight.shapeOf(text, 0, text.length, server.settings as Settings)
          return shape === null || shape.refusal !== undefined
        },
        () => `${sql} is not judged`,
      )
      if (shape !== null && shape.refusal === null) wrong.push(sql)
    }
    assert.deepEqual(wrong, [])
  })

  test('some of them, sent by clients', async () => {
    for (const sql of NEVER.filter((_, at) => at % 8 === 0)) {
      await using own = await sharing.rig.direct()
      const { error: expected, rows } = await own.query(sql)
      const from = sharing.shared
      await sharing.warm(async (client) => {
        const result = await client.query(sql)
        assert.equal(result.error?.code, expected?.code, sql)
        assert.equal(result.rows.length, rows.length, sql)
        return result
      })
      assert.equal(sharing.shared, from, sql)
    }
    assert.equal(sharing.sentAgain('it is not read only'), 0)
  })

  test('SELECT INTO a temporary table, which a read-only transaction allows', async () => {
    const from = sharing.shared
    const clients = await sharing.clients(2)
    for (let round = 0; round < 4; round++) {
      await sharing.together(
        clients.map((client) => async () => {
          const { error } = await client.query('select 1 as x into temp mine')
          assert.equal(error, null)
          await client.query('drop table mine')
          await client.query('discard all')
        }),
      )
    }
    assert.equal(sharing.shared, from)
  })

  for (const [what, { made, dropped, texts, declared }] of Object.entries(HAZARDS)) {
    test(`${what} of the database`, async () => {
      await using maker = await sharing.client()
      for (const sql of made) assert.equal((await maker.query(sql)).error, null, sql)
      const from = sharing.shared
      for (const sql of texts) {
        await sharing.warm((client) => client.query(sql))
        assert.equal(sharing.shared, from, sql)
      }
      if (declared !== null) {
        const oid = Number(await sharing.rig.value(`select '${declared}'::regtype::oid::int`))
        await sharing.warm((client) => client.extended('select $1 as declared', ['1'], { types: [oid] }))
        const run = [m.bind({ statement: 's', params: ['1'] }), m.execute(), m.sync()]
        await sharing.warm(
          (client) => client.run(...run),
          (client) => client.run(m.parse('select $1 as declared', { name: 's', types: [oid] }), m.sync()),
        )
        assert.equal(sharing.shared, from, 'the type of a parameter')
      }
      for (const sql of dropped) assert.equal((await maker.query(sql)).error, null, sql)
    })
  }
})

suite('what is taken for a read and is none', () => {
  /** All may share, whatever is known of them. */
  function believeAll(insight: Insight): void {
    const shapeOf = insight.shapeOf.bind(insight)
    insight.shapeOf = (...args) => {
      const shape = shapeOf(...args)
      if (shape !== null && shape.refusal !== 'it is not read only') shape.refusal = null
      return shape
    }
  }

  for (const way of ['simple', 'unnamed', 'named'] as const) {
    test(`${way}: it runs once, and is not tried again`, async () => {
      await postgres.admin('drop table if exists ledger')
      await postgres.admin('create table ledger (key text)')
      const sharing = await SharingRig.start(postgres, 2)
      const clients = await sharing.clients(6)
      const prepared = new Set<WireClient>()
      const text = (key: string) => `insert into ledger values (${key}) returning key`
      const write = async (client: WireClient, key: string) => {
        if (way === 'simple') return client.query(text(`'${key}'`))
        if (way === 'unnamed') return client.extended(text('$1'), [key])
        if (!prepared.has(client)) await client.run(m.parse(text('$1'), { name: 'w' }), m.sync())
        prepared.add(client)
        return client.run(m.bind({ statement: 'w', params: [key] }), m.execute(), m.sync())
      }
      believeAll(sharing.insight)
      const keys: string[] = []
      for (let round = 0; round < 8; round++) {
        await sharing.together(
          clients.map((client, at) => async () => {
            const key = `${way} ${round} ${at}`
            keys.push(key)
            assert.equal(onlyValue(await write(client, key)), key)
          }),
        )
      }
      const rows = await postgres.admin('select key from ledger')
      assert.deepEqual(rows.map(({ key }) => key).sort(), keys.sort())
      const again = sharing.sentAgain('it is not read only')
      assert.ok(again > 0, 'it was never tried')
      assert.ok(again <= clients.length, `tried ${again} times`)
      assert.equal(
        sharing.shapes('ledger').find(({ refusal }) => refusal !== null)?.refusal,
        'it is not read only',
      )
    })
  }
})
