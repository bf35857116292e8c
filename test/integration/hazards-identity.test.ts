// Hazards of who is who (docs/hazards.md: A18, A19, B22, D03 to D13, E19): two roles on few servers never act
// for each other, names are data wherever they go, and statements are those of their client. Must never take
// the pooler's word for who somebody is: Postgres says it.
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { createLog } from '../../src/observe/log.ts'
import { assertSame, direct, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { CHOPS } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, Rig } from '../support/rig.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages

/** Byte by byte ten thousand would take minutes. */
const MIXED = CHOPS ? 400 : 10_000
const CLIENTS = 20
const TENANTS = ['ann', 'bob'] as const

describe('roles', () => {
  it('two under row level security: ten thousand mixed queries see their own rows', async () => {
    const password = 'the same for both'
    await postgres.admin('create table papers (owner name, n int)')
    await postgres.admin('alter table papers enable row level security')
    await postgres.admin('create policy own on papers using (owner = current_user)')
    for (const name of TENANTS) {
      await postgres.admin(`create role ${name} login password '${password}'`)
      await postgres.admin(`grant select on papers to ${name}`)
      await postgres.admin(`insert into papers select '${name}', i from generate_series(1, 3) i`)
    }
    const rig = await Rig.start(postgres, {
      users: new Map(TENANTS.map((name) => [name, { secret: password }] as const)),
      upstream: { user: '', password: null },
      pool: { size: 2 },
    })
    const random = new Prng(18)
    const sql = "select current_user, session_user, string_agg(distinct owner, ','), count(*) from papers"
    const work = async (index: number) => {
      const user = TENANTS[index % TENANTS.length] as string
      const client = await rig.client({ user, password, timeout: 60_000 })
      const ask: (() => Promise<{ rows: (string | null)[][] }>)[] = [
        () => client.query(sql),
        () => client.extended(sql),
        () => client.run(m.bind({ statement: 's1' }), m.execute(), m.sync()),
        async () => {
          await client.query('begin')
          const seen = await client.query(sql)
          await client.query('commit')
          return seen
        },
      ]
      await client.run(m.parse(sql, { name: 's1' }), m.sync())
      for (let count = 0; count < MIXED / CLIENTS; count++) {
        assert.deepEqual((await random.pick(ask)()).rows, [[user, user, user, '3']])
        client.received.length = 0
      }
      await client.end()
    }
    await Promise.all(Array.from({ length: CLIENTS }, (_, index) => work(index)))
    await rig.stop()
  })

  it('a read-only session is its client’s alone', async () => {
    await postgres.admin('create table written (n int)')
    await using reader = await WireClient.connect(through(one.pooler, postgres))
    await using writer = await WireClient.connect(through(one.pooler, postgres))
    const ways = [
      'set default_transaction_read_only = on',
      'set session characteristics as transaction read only',
      "select set_config('default_transaction_read_only', 'on', false)",
    ]
    for (const way of ways) {
      assert.equal((await reader.query(way)).error, null)
      assert.equal((await writer.query('insert into written values (1)')).error, null, way)
      assert.equal((await reader.query('insert into written values (2)')).error?.code, '25006', way)
      assert.equal((await writer.query('insert into written values (3)')).error, null, way)
      await reader.query('reset default_transaction_read_only')
    }
  })
})

/** Names that try to be more: of a line, of a label, of SQL, of a terminal. */
const HOSTILE = [
  'two\nlines',
  'quo"te\'s; drop table t; --',
  'back\\slash\\n{a="b"}',
  'esc\u001b[2J\u009b31m',
  'sep\u2028a\u202erated',
]

describe('names', () => {
  it('of any kind are one line in the log and in the metrics, the same in Postgres', async () => {
    const identifier = (name: string) => `"${name.replaceAll('"', '""')}"`
    const password = 'a long password for all'
    for (const name of HOSTILE) {
      await postgres.admin(`create role ${identifier(name)} login password '${password}'`)
      await postgres.admin(`create database ${identifier(name)}`)
    }
    const rig = await Rig.start(postgres, {
      users: new Map(HOSTILE.map((name) => [name, { secret: password }] as const)),
      upstream: { user: '', password: null },
      log: { connections: true, disconnections: true },
    })
    for (const name of HOSTILE) {
      const params = { application_name: name }
      await using client = await rig.client({ user: name, database: name, password, params })
      const asked = "select current_user, current_database(), current_setting('application_name')"
      const { rows } = await client.query(asked)
      await using beside = await rig.direct({ user: name, database: name, password, params })
      assert.deepEqual(rows, (await beside.query(asked)).rows)
      assert.deepEqual(rows[0]?.slice(0, 2), [name, name])
      await client.query('select 1/0')
    }
    // Those who never get in, bytes that are no text among them.
    for (const name of [...HOSTILE.map((name) => `${name}?`), '\xff\xfe']) {
      const failed = rig.client({ user: name, database: name, password: 'wrong', params: { options: name } })
      await assert.rejects(failed, LoginError)
    }
    const written: string[] = []
    const to = new Writable({
      write(chunk, _encoding, done) {
        written.push(String(chunk))
        done()
      },
    })
    const log = createLog({ level: 'debug', format: 'json', to })
    for (const { level, message, fields } of rig.test.lines) log[level as 'info'](fields, message)
    const lines = written.join('').trimEnd().split('\n')
    assert.equal(lines.length, rig.test.lines.length)
    assert.ok(lines.length > 2 * HOSTILE.length)
    for (const line of lines) {
      JSON.parse(line)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/)
    }
    const label = '[a-z_]+="(?:[^"\\\\\\n]|\\\\["\\\\n])*"'
    const sample = new RegExp(
      `^(# .*|[a-z0-9_]+(\\{${label}(,${label})*\\})? [0-9.e+-]+|[a-z0-9_]+.* \\+?(Inf|NaN))$`,
    )
    const metrics = (await rig.test.pooler.metrics()).split('\n').filter((line) => line !== '')
    for (const line of metrics) assert.match(line, sample)
    const pools = metrics.filter((line) => line.startsWith('pgmux_pool_size{'))
    assert.equal(pools.length, HOSTILE.length, 'of those who were in')
    // Names that strangers choose would be labels without end.
    for (const line of metrics) assert.doesNotMatch(line, /(lines|--|\}|31m|erated)\?"/)
    await rig.stop()
  })
})

describe('statements', () => {
  const use = (name: string, params: string[] = []) => [
    m.bind({ statement: name, params }),
    m.execute(),
    m.sync(),
  ]

  it('a Parse whose client goes before its Sync spoils the text for nobody', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const texts = ['select 41 + 1', 'selekt']
    for (const text of [...texts, ...texts]) {
      const going = await rig.client()
      going.send(m.parse(text, { name: 's1' }))
      // Until it holds the server: then its Parse is at Postgres.
      await eventually(() => rig.test.pooler.gauges().servers.active === 1)
      going.destroy()
      await using next = await rig.client()
      const { rows, error } = await next.run(m.parse(text, { name: 's1' }), ...use('s1'))
      if (text === 'selekt') assert.equal(error?.code, '42601')
      else assert.deepEqual(rows, [['42']])
    }
  })

  it('one client closes its name, another goes on with the same text', async () => {
    await using first = await WireClient.connect(through(one.pooler, postgres))
    await using second = await WireClient.connect(through(one.pooler, postgres))
    for (const client of [first, second]) await client.run(m.parse("select 'both'", { name: 's1' }), m.sync())
    for (let round = 0; round < 3; round++) {
      await first.run(m.close('S', 's1'), m.sync())
      assert.deepEqual((await second.run(...use('s1'))).rows, [['both']])
      assert.equal((await first.run(...use('s1'))).error?.code, '26000')
      await first.run(m.parse("select 'both'", { name: 's1' }), m.sync())
      assert.deepEqual((await first.run(...use('s1'))).rows, [['both']])
    }
  })

  it('what Describe says is what is there now', async () => {
    await postgres.admin('create table shaped (v int)')
    const types = ['bigint', 'text', 'numeric']
    const seen: string[][][] = []
    for (const options of [direct(postgres), through(one.pooler, postgres)]) {
      await postgres.admin('alter table shaped alter v type int using null')
      await using client = await WireClient.connect(options)
      const described: string[][] = []
      for (const type of types) {
        await client.run(m.parse('select v from shaped where v = $1', { name: 's1' }), m.sync())
        const before = await client.run(m.describe('S', 's1'), m.sync())
        await postgres.admin(`alter table shaped alter v type ${type} using null`)
        const after = await client.run(m.describe('S', 's1'), m.sync())
        for (const { messages, error } of [before, after]) {
          const rows = messages.find((message) => message.type === 'T')
          described.push([error?.code ?? '', `${rows?.columns.map((column) => column.type)}`])
        }
        await client.run(m.close('S', 's1'), m.sync())
      }
      seen.push(described)
    }
    const [plain, pooled] = seen as [string[][], string[][]]
    for (const [index, told] of pooled.entries()) {
      // Whoever parses after the change is told what is there. Who had parsed before may be told sooner than
      // on a direct connection: the exchange describes it anew.
      const later = String([20, 25, 1700][Math.floor(index / 2)])
      const allowed = index % 2 === 0 ? [plain[index]] : [plain[index], ['', later]]
      assert.ok(
        allowed.some((one) => String(one) === String(told)),
        `${index}: ${told}, not ${plain[index]}`,
      )
    }
  })

  it('a hundred clients that never close anything stay within the budget of the pool', async () => {
    const budget = (CHOPS ? 64 : 256) * 1024
    const { pooler } = await stage(postgres, 'budget', {
      pool: { size: 2, preparedMemory: budget, maxPreparedStatements: 20 },
    })
    const clients = await Promise.all(
      Array.from({ length: 100 }, () => WireClient.connect(through(pooler, postgres, { timeout: 60_000 }))),
    )
    const refused = new Set<string>()
    const work = async (client: WireClient, index: number) => {
      for (let number = 0; number < (CHOPS ? 8 : 30); number++) {
        const text = `select '${index}.${number}' /*${'x'.repeat(500)}*/`
        const { rows, error } = await client.run(m.parse(text, { name: `s${number}` }), ...use(`s${number}`))
        if (error === null) assert.deepEqual(rows, [[`${index}.${number}`]])
        else refused.add(error.code)
      }
    }
    await Promise.all(clients.map(work))
    assert.deepEqual([...refused], ['53400'])
    const kept = [...pooler.pooler.router.entries()].map(({ registry }) => registry.bytes)
    assert.ok(kept.length > 0 && kept.every((bytes) => bytes <= budget), `${kept} bytes`)
    const [row] = await postgres.admin(
      "select count(*)::int as n from pg_stat_activity where backend_type = 'client backend'",
    )
    assert.ok(Number(row?.n) < 20)
    await Promise.all(clients.map((client) => client.end()))
  })

  it('the same text with other types of its parameters is another statement', () =>
    assertSame(postgres, stages, async (client, rival) => {
      for (const [type, value] of [
        [23, '7'],
        [25, '007'],
        [1082, '2024-02-03'],
        [23, '8'],
      ] as const) {
        await client.run(m.parse('select $1, pg_typeof($1)', { name: 's1', types: [type] }), m.sync())
        await rival()
        await client.run(m.describe('S', 's1'), ...use('s1', [value]))
        await client.run(m.close('S', 's1'), m.sync())
      }
    }))
})

describe('transaction mode', () => {
  it('LISTEN and PREPARE are of one client only, and go with it', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 3 } })
    const [first, second] = [await rig.client(), await rig.client()]
    await using bystander = await rig.client()
    for (const [index, client] of [first, second].entries()) {
      await client.query(`prepare p as select 'of ${index}'`)
      await client.query(`listen channel_${index}`)
    }
    for (let round = 0; round < 20; round++) {
      await bystander.query('select 1')
      assert.deepEqual((await first.query('execute p')).rows, [['of 0']])
      assert.deepEqual((await second.query('execute p')).rows, [['of 1']])
      assert.equal((await bystander.query('execute p')).error?.code, '26000')
    }
    for (const client of [first, second, bystander]) client.drain()
    await rig.see("notify channel_1, 'hello'")
    const told = await second.next()
    assert.equal(told.type === 'A' && told.payload, 'hello')
    await first.query('select 1')
    await bystander.query('select 1')
    const strangers = [...first.received, ...bystander.received].filter(({ type }) => type === 'A')
    assert.deepEqual(strangers, [])
    await Promise.all([first.end(), second.end()])
    await rig.quiet()
    const others = await Promise.all([rig.client(), rig.client(), rig.client()])
    for (const client of others) await client.query('begin')
    for (const client of others) {
      const channels = 'select count(*) from pg_listening_channels()'
      const prepared = "select count(*) from pg_prepared_statements where name = 'p'"
      const { rows } = await client.query(`select (${channels}), (${prepared})`)
      assert.deepEqual(rows, [['0', '0']])
      await client.end()
    }
  })
})
