// What `POST /sql` answers: the shape of results in both output modes, batches, and errors with all their
// members.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { AS_DRIVERS, Asker, ON, urlFor } from '../support/sql-over-http.ts'
import { after } from 'node:test'

const postgres = await getPostgres()
const pooler = await startPooler(postgres.url, { serverless: ON, pool: { size: 2 } })
after(() => pooler.stop())
const ask = new Asker(pooler, urlFor(postgres))
await postgres.admin('create table items (id int primary key, name text)')
await postgres.admin("create type mood as enum ('sad', 'so so')")

/** As a client without the headers of the drivers. */
const typed = (query: string, params: unknown[] = [], more: object = {}) =>
  ask.post(JSON.stringify({ query, params, ...more }))

const MEMBERS = [
  'message code detail hint position internalPosition internalQuery severity where',
  'table column schema dataType constraint file line routine',
]
  .join(' ')
  .split(' ')

describe('a single query', () => {
  it('has the five members in their order, and seven for each field', async () => {
    const { status, bytes, headers } = await ask.sql('select $1::int as a, null as b', ['7'])
    assert.equal(status, 200)
    assert.equal(
      bytes.toString(),
      '{"fields":[{"name":"a","dataTypeID":23,"tableID":0,"columnID":0,"dataTypeSize":4,' +
        '"dataTypeModifier":-1,"format":"text"},{"name":"b","dataTypeID":25,"tableID":0,"columnID":0,' +
        '"dataTypeSize":-1,"dataTypeModifier":-1,"format":"text"}],"rows":[["7",null]],' +
        '"command":"SELECT","rowCount":1,"rowAsArray":true}',
    )
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(headers['cache-control'], 'no-store')
    assert.match(String(headers['neon-request-id']), /^[0-9a-f-]{36}$/)
    assert.equal(headers['keep-alive'], 'timeout=75')
  })

  it('says what was done and to how many rows', async () => {
    const tags: unknown[] = []
    for (const text of [
      'insert into items values (1, $$one$$), (2, $$two$$)',
      'update items set name = name where id = 1',
      'delete from items',
      'create table made ()',
      'drop table made',
      'vacuum items',
      '',
      ' -- nothing',
    ]) {
      const { body } = await ask.sql(text)
      tags.push([body.command, body.rowCount, body.fields, body.rows])
    }
    assert.deepEqual(tags, [
      ['INSERT', 2, [], []],
      ['UPDATE', 1, [], []],
      ['DELETE', 2, [], []],
      ['CREATE', null, [], []],
      ['DROP', null, [], []],
      ['VACUUM', null, [], []],
      ['', null, [], []],
      ['', null, [], []],
    ])
  })

  it('carries every character of UTF-8', async () => {
    let text = ''
    for (let code = 1; code < 0x3000; code++) text += String.fromCodePoint(code)
    text += '\u{1f600}\u{10ffff}\u2028\u2029\ufeff'
    assert.equal(await ask.value('select $1::text', [text]), text)
    const { body } = await ask.sql('select 1 as "a""b\\c\u00e9\n"')
    assert.equal(body.fields[0]?.name, 'a"b\\c\u00e9\n')
  })

  it('may be long, as text and as value', async () => {
    const long = 'abc"\\\n\u00e9'.repeat(300_000)
    assert.equal(await ask.value('select $1::text', [long]), long)
    assert.equal(await ask.value(`select length($1) /* ${'x'.repeat(600_000)} */`, ['abc']), '3')
    const quoted = `'${'y'.repeat(400_000)}'`
    assert.equal(await ask.value(`select length(${quoted})`), '400000')
  })

  it('has no columns, the same column twice, 1,664 of them', async () => {
    assert.deepEqual((await ask.sql('select')).body.rows, [[]])
    assert.deepEqual((await ask.sql('select 1 as a, 2 as a')).body.rows, [['1', '2']])
    const list = Array.from({ length: 1664 }, (_, place) => `${place}::text as c${place}`)
    const { body } = await ask.sql(`select ${list.join(',')}`)
    assert.equal(body.fields.length, 1664)
    assert.deepEqual((body.rows[0] as string[]).slice(-2), ['1662', '1663'])
  })

  it('as objects, where a later column of the same name counts', async () => {
    const { body } = await ask.sql('select 1 as a, 2 as b, 3 as a', [], { 'neon-array-mode': 'false' })
    assert.deepEqual(body.rows, [{ a: '3', b: '2' }])
    assert.equal(body.rowAsArray, false)
    const one = await ask.post(JSON.stringify({ query: 'select 1 as a', arrayMode: true }))
    assert.deepEqual(one.body.rows, [[1]])
  })

  it('whatever the Content-Type', async () => {
    for (const type of ['text/plain;charset=UTF-8', 'application/json', 'application/sql']) {
      assert.equal((await ask.sql('select 1', [], { 'content-type': type })).status, 200)
    }
  })

  it('takes the values that other clients send', async () => {
    const raw =
      '{"query":"select $1, $2, $3, $4::int, $5, $6, $7::text[]","params":[1.50,' +
      '12345678901234567890,true,null,[["a\\nb","c\\"\\\\",null,1e3]],{"k":[12345678901234567890,null]},' +
      '["NULL","a\\nb"]]}'
    const { rows } = (await ask.post(raw, AS_DRIVERS)).body
    assert.deepEqual(rows, [
      [
        '1.50',
        '12345678901234567890',
        'true',
        null,
        '{{"a\nb","c\\"\\\\",NULL,1e3}}',
        '{"k":[12345678901234567890,null]}',
        '{"NULL","a\nb"}',
      ],
    ])
  })
})

describe('values with types', () => {
  it('what a JSON number or boolean can carry, and strings for the rest', async () => {
    const { body } = await typed(
      `select true t, false f, 1::int2 s, -2::int4 i, 12345678901::int8 big, 3.10::numeric n, 1.5::float8 d,
      1e20::float4 e, 'NaN'::float8 nan, '-Infinity'::float4 inf, '{"a": 1.0}'::json j, '[1,null]'::jsonb jb,
      '\\x01ff'::bytea b, date '2020-01-02' as day, 'so so'::mood m, null::int z`,
    )
    assert.deepEqual(body.rows, [
      {
        t: true,
        f: false,
        s: 1,
        i: -2,
        big: '12345678901',
        n: '3.10',
        d: 1.5,
        e: 1e20,
        nan: 'NaN',
        inf: '-Infinity',
        j: { a: 1 },
        jb: [1, null],
        b: '\\x01ff',
        day: '2020-01-02',
        m: 'so so',
        z: null,
      },
    ])
  })

  it('arrays, of types that Postgres does not have by itself too', async () => {
    const { body } = await typed(
      `select array[1,null,3] i, array[[true],[false]] b, '[0:1]={1,2}'::int[] bounds, '{}'::int[] none,
      array['a"b', 'c\\d', 'NULL', null, '{x,y}', ''] t, array['{"a":1}'::jsonb, 'null'] j,
      array['so so'::mood, 'sad'] m, array[box '(1,2),(3,4)', '(0,0),(1,1)'] boxes, array['x'::name] names`,
    )
    assert.deepEqual(body.rows, [
      {
        i: [1, null, 3],
        b: [[true], [false]],
        bounds: [1, 2],
        none: [],
        t: ['a"b', 'c\\d', 'NULL', null, '{x,y}', ''],
        j: [{ a: 1 }, null],
        m: ['so so', 'sad'],
        boxes: ['(3,4),(1,2)', '(1,1),(0,0)'],
        names: ['x'],
      },
    ])
    // What was asked for once is known.
    const again = await typed("select array['sad'::mood] m", [], { arrayMode: true })
    assert.deepEqual(again.body.rows, [[['sad']]])
  })

  it('the example of the contract', async () => {
    const { body } = await typed(
      'select $1::int[] arr, $2::jsonb obj, 12345678901::int8 big, 3.10::numeric n, true b',
      [[1, 2, 3], { k: [1, null] }],
    )
    assert.deepEqual(body.rows, [
      { arr: [1, 2, 3], obj: { k: [1, null] }, big: '12345678901', n: '3.10', b: true },
    ])
  })
})

describe('a batch', () => {
  it('is one transaction with its modes, which are said back', async () => {
    const { body, headers } = await ask.batch(
      [
        "select current_setting('transaction_isolation')",
        'show transaction_read_only',
        'show transaction_deferrable',
      ],
      {
        'neon-batch-isolation-level': 'Serializable',
        'neon-batch-read-only': 'true',
        'neon-batch-deferrable': 'true',
      },
    )
    assert.deepEqual(
      body.results.map(({ rows }) => rows),
      [[['serializable']], [['on']], [['on']]],
    )
    assert.deepEqual(Object.keys(body), ['results'])
    assert.equal(headers['neon-batch-isolation-level'], 'Serializable')
    assert.equal(headers['neon-batch-read-only'], 'true')
    assert.equal(headers['neon-batch-deferrable'], 'true')
    const plain = await ask.batch(['show transaction_read_only'], { 'neon-batch-read-only': 'false' })
    assert.deepEqual(plain.body.results[0]?.rows, [['off']])
    assert.equal(plain.headers['neon-batch-read-only'], undefined)
  })

  it('may be empty, mixes modes, and sees what it did before', async () => {
    assert.equal((await ask.batch([])).bytes.toString(), '{"results":[]}')
    const { body } = await ask.batch([
      'create table early (a int)',
      { query: 'insert into early values ($1), ($2) returning a', params: ['1', '2'], arrayMode: false },
      'select count(*) from early',
      'drop table early',
      '',
    ])
    assert.deepEqual(
      body.results.map(({ command, rows, rowAsArray }) => [command, rows, rowAsArray]),
      [
        ['CREATE', [], true],
        ['INSERT', [{ a: '1' }, { a: '2' }], false],
        ['SELECT', [['2']], true],
        ['DROP', [], true],
        ['', [], true],
      ],
    )
  })

  it('is undone as a whole by the first error, which says which query it was', async () => {
    const { status, body } = await ask.batch(["insert into items values (9, 'x')", 'select 1/0', 'select 2'])
    assert.equal(status, 400)
    assert.equal(body.code, '22012')
    assert.equal(body.queryIndex, 1)
    assert.equal(body.results, undefined)
    assert.deepEqual(await ask.rows('select * from items where id = 9'), [])
  })

  it('fails at its COMMIT with the code of that', async () => {
    await postgres.admin('create table lonely (id int references items deferrable initially deferred)')
    const { status, body } = await ask.batch(['insert into lonely values (404)'])
    assert.equal(status, 400)
    assert.equal(body.code, '23503')
    assert.equal(body.queryIndex, undefined)
  })

  it('fails at its COMMIT where it cannot be serialized', async () => {
    await postgres.admin('create table counts (n int)')
    await postgres.admin('insert into counts values (1)')
    const headers = { 'neon-batch-isolation-level': 'Serializable' }
    const add = 'insert into counts select count(*) from counts'
    const wait = 'select pg_sleep(0.3) where pg_advisory_lock_shared(77) is not null'
    const answers = await Promise.all([ask.batch([add, wait], headers), ask.batch([add, wait], headers)])
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400])
    assert.equal(answers.find(({ status }) => status === 400)?.body.code, '40001')
  })

  it('cannot end its transaction', async () => {
    for (const text of [
      'commit',
      'COMMIT AND CHAIN',
      '/* x */ end',
      'rollback',
      '-- y\nabort',
      "prepare transaction 'x'",
      'begin',
      'start transaction',
      ';commit',
      'Rollback work',
    ]) {
      const { status, body } = await ask.batch(["insert into items values (10, 'x')", text, 'select 1'])
      assert.equal(status, 400, text)
      assert.equal(body.code, '2D000', text)
      assert.equal(body.queryIndex, 1)
      assert.deepEqual(await ask.rows('select * from items where id = 10'), [], text)
    }
    // Nor from within.
    const inside = await ask.batch(["insert into items values (10, 'x')", 'do $$ begin commit; end $$'])
    assert.equal(inside.body.code, '2D000')
    assert.deepEqual(await ask.rows('select * from items where id = 10'), [])
  })

  it('may use savepoints', async () => {
    const { status, body } = await ask.batch([
      "insert into items values (20, 'kept')",
      'savepoint a',
      "insert into items values (21, 'gone')",
      'rollback to a',
      'ROLLBACK TRANSACTION TO SAVEPOINT a',
      'release a',
    ])
    assert.equal(status, 200, body.message)
    assert.deepEqual(await ask.rows('select id from items where id in (20, 21)'), [['20']])
  })
})

describe('an error', () => {
  it('has its seventeen members, strings or null', async () => {
    await ask.sql("insert into items values (30, 'x')")
    const { status, body } = await ask.sql("insert into items values (30, 'y')")
    assert.equal(status, 400)
    assert.deepEqual(Object.keys(body), MEMBERS)
    const { file, line, routine, ...rest } = body
    assert.deepEqual(rest, {
      message: 'duplicate key value violates unique constraint "items_pkey"',
      code: '23505',
      detail: 'Key (id)=(30) already exists.',
      hint: null,
      position: null,
      internalPosition: null,
      internalQuery: null,
      severity: 'ERROR',
      where: null,
      table: 'items',
      column: null,
      schema: 'public',
      dataType: null,
      constraint: 'items_pkey',
    })
    assert.deepEqual([file, typeof line, routine], ['nbtinsert.c', 'string', '_bt_check_unique'])
  })

  it('knows the place in the text, and what Postgres itself says', async () => {
    assert.equal((await ask.sql('select nix')).body.position, '8')
    const several = await ask.sql('select 1; select 2')
    assert.equal(several.body.code, '42601')
    assert.match(several.body.message, /cannot insert multiple commands/)
    const missing = await ask.sql('select $1::int')
    assert.match(missing.body.message, /bind message supplies 0 parameters/)
    const late = await ask.sql('select 100 / (5 - n) from generate_series(1, 9) n')
    assert.deepEqual([late.status, late.body.code], [400, '22012'])
  })

  it('is given for COPY, whatever stands in front of it, and the server lives on', async () => {
    const pid = await ask.value('select pg_backend_pid()')
    for (const text of [
      'copy items from stdin',
      '/* a */ COPY items to stdout',
      '; copy (select 1) to stdout',
    ]) {
      const { status, body } = await ask.sql(text)
      assert.equal(status, 400)
      assert.equal(body.code, '0A000')
      assert.match(body.message, /COPY is not supported over HTTP/)
    }
    const batch = await ask.batch(['select 1', 'copy items from stdin'])
    assert.deepEqual([batch.body.code, batch.body.queryIndex], ['0A000', 1])
    assert.equal(await ask.value('select pg_backend_pid()'), pid)
  })
})

describe('compression', () => {
  it('is for those who take it, and for long answers', async () => {
    const query = "select repeat('x', 20000)"
    const packed = await ask.sql(query, [], { 'accept-encoding': 'br;q=1.0, gzip;q=0.8' })
    assert.equal(packed.headers['content-encoding'], 'gzip')
    assert.equal(packed.headers.vary, 'Accept-Encoding')
    assert.ok(packed.bytes.length < 2000)
    const { rows } = JSON.parse(gunzipSync(packed.bytes).toString())
    assert.equal(rows[0][0].length, 20_000)
    for (const accept of ['gzip;q=0', 'br', '']) {
      const plain = await ask.sql(query, [], { 'accept-encoding': accept })
      assert.equal(plain.headers['content-encoding'], undefined)
      assert.ok(plain.bytes.length > 20_000)
    }
    const short = await ask.sql('select 1', [], { 'accept-encoding': 'gzip' })
    assert.equal(short.headers['content-encoding'], undefined)
  })

  it('of an answer that is sent while it is made', async () => {
    const query = "select n, repeat('y', 1000) from generate_series(1, 3000) n"
    const packed = await ask.sql(query, [], { 'accept-encoding': 'gzip' })
    assert.equal(packed.headers['transfer-encoding'], 'chunked')
    const { rows, rowCount } = JSON.parse(gunzipSync(packed.bytes).toString())
    assert.deepEqual([rows.length, rowCount, rows[2999][0]], [3000, 3000, '3000'])
    const plain = await ask.sql(query)
    assert.equal(plain.headers['transfer-encoding'], 'chunked')
    assert.equal(plain.body.rows.length, 3000)
  })
})
