// What a client does to others, or to the pooler, on purpose: each test is an attack that once worked. Must
// never measure time: what is too slow here does not end.
import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import { stage, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { CHOPPED, CHOPS, startPooler } from '../support/pooler.ts'
import { Rig } from '../support/rig.ts'
import { parameter, Rogue } from '../support/rogue.ts'
import { until } from '../support/waits.ts'
import { result, WireClient } from '../support/wire-client.ts'

const FLOOD = 100_000
const MB = 1024 * 1024

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } })

suite('attacks', () => {
  afterEach(async () => {
    await rig.quiet()
    assert.deepEqual(
      rig.test.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })

  test('a flood of Close in one batch does not stop the others', async () => {
    await using attacker = await rig.client()
    const flood = Array.from({ length: FLOOD }, (_, at) => m.close('S', `s${at}`))
    const { messages } = await attacker.run(Buffer.concat(flood), m.sync())
    assert.equal(messages.filter(({ type }) => type === '3').length, FLOOD)
  })

  test('nor does a flood of names that are given and taken back in one batch', async () => {
    await using attacker = await rig.client()
    const names = Array.from({ length: 40_000 }, (_, at) => `n${at}`)
    // One text under many names is one statement on the server, so each Parse costs the attacker little.
    const parses = names.map((name) => m.parse('select 1', { name }))
    const closes = names.map((name) => m.close('S', name))
    const { error, messages } = await attacker.run(Buffer.concat([...parses, ...closes]), m.sync())
    assert.equal(error, null)
    assert.equal(messages.filter(({ type }) => type === '3').length, names.length)
  })

  test("a portal named like a statement of ours does not tell another client's name", async () => {
    await using victim = await rig.client()
    const name = 'a_name_of_the_victim'
    await victim.run(m.parse('select 1', { name }), m.bind({ statement: name }), m.execute(), m.sync())
    const { rows } = await victim.query(
      "select name from pg_prepared_statements where statement = 'select 1'",
    )
    const ours = rows[0]?.[0] ?? ''
    await using attacker = await rig.client()
    const { error } = await attacker.run(m.describe('P', ours), m.sync())
    assert.equal(error?.message, `portal "${ours}" does not exist`)
  })

  test('a login whose wishes the server has already from another client is not held up', async () => {
    await using other = await rig.client()
    await other.query("set TimeZone = 'Europe/Paris'")
    await using client = await rig.client({ params: { TimeZone: 'Europe/Paris' } })
    assert.equal(client.parameters.get('TimeZone'), 'Europe/Paris')
    assert.equal((await client.query('show TimeZone')).rows[0]?.[0], 'Europe/Paris')
  })

  test('a request behind the startup packet is answered where no password is asked for', async () => {
    const { pooler } = await stage(postgres, 'trust', { client: { auth: 'trust' } })
    const options = through(pooler, postgres)
    const { user = '', database = '' } = options
    // The second login finds all that the first had to ask Postgres for.
    for (let time = 0; time < 2; time++) {
      await using client = await WireClient.open(options)
      client.send(m.startup({ user, database }), m.query('select 7'))
      await client.until('Z')
      const answer = await client.until('Z')
      assert.ok(answer.some((message) => message.type === 'D' && message.values[0]?.toString() === '7'))
    }
  })

  test('in statement mode a BEGIN behind a batch without Sync leaves its server', async () => {
    const { pooler } = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
    await using client = await WireClient.connect(through(pooler, postgres))
    const batch = [m.parse('select 1'), m.bind(), m.execute()]
    const { error } = await client.run(...batch, m.query('begin'))
    assert.equal(error?.code, '0A000')
    await using other = await WireClient.connect(through(pooler, postgres))
    assert.equal((await other.query('select 2')).error, null)
    // Behind an error all is ignored up to the Sync, this as well.
    client.send(m.parse('select nonsense'), m.flush())
    await client.until('E')
    const { messages } = await client.run(m.query('begin'), m.sync())
    assert.deepEqual(
      messages.map(({ type }) => type),
      ['Z'],
    )
    assert.equal((await client.query('select 3')).rows[0]?.[0], '3')
  })

  test('a flood of long names of statements that do not exist costs little memory', async (t) => {
    if (CHOPS) return notRun(t, CHOPPED)
    const child = await startPoolerProcess(postgres.url, { client: { auth: 'trust' }, pool: { size: 1 } })
    t.after(() => child.stop())
    const { user = '', database = '' } = through(rig.test, postgres)
    await using attacker = await WireClient.connect({ host: child.host, port: child.port, user, database })
    const before = await child.memory()
    // The server sleeps, so that none of them is answered.
    attacker.send(m.parse('select pg_sleep(60)'), m.bind(), m.execute(), m.flush())
    await rig.running('%pg_sleep(60)%')
    const names = Array.from({ length: 100 }, (_, at) => m.bind({ statement: `${at}`.padEnd(15_000, 'n') }))
    for (let time = 0; time < 200; time++) await attacker.sendCut(Buffer.concat(names), [])
    const { rss } = await child.memory()
    assert.ok(rss - before.rss < 128 * MB, `${Math.round((rss - before.rss) / MB)} MB`)
  })

  for (const length of [0, 257]) {
    test(`a server with a cancel key of ${length} bytes ends nothing but itself`, async (t) => {
      const rogue = await Rogue.open()
      const key = length === 0 ? [] : [m.message('K', Buffer.alloc(4), Buffer.alloc(length))]
      const welcome = [m.message('R', Buffer.alloc(4)), parameter('server_version', '17.0'), ...key]
      rogue.script = {
        onStart: () => Buffer.concat([...welcome, m.message('Z', 'I')]),
        onMessage: (_socket, message) => (message.includes('not answered') ? Buffer.alloc(0) : null),
      }
      const url = `postgres://x@127.0.0.1:${rogue.port}/x?sslmode=disable`
      const test = await startPooler(url, {
        client: { auth: 'trust', abandonGraceMs: 1 },
        pool: { cancelTimeoutMs: 1 },
        upstream: { connectTimeoutMs: 300 },
      })
      t.after(async () => {
        await test.stop()
        await rogue.close()
      })
      const login = WireClient.connect({ host: test.host, port: test.port, user: 'x', database: 'x' })
      if (length > 0) {
        await assert.rejects(login, /a broken cancel key/)
        return
      }
      const client = await login
      client.send(m.query('a query that is not answered'))
      await until(
        () => test.pooler.gauges().clients.active === 1,
        () => 'not asked yet',
      )
      await client.cancel()
      client.destroy()
      await until(
        () => test.pooler.gauges().servers.active === 0,
        () => 'the server is kept',
      )
    })
  }

  test('a cancel that waits for a settings diff does not outlive the client it was for', async (t) => {
    const rogue = await Rogue.open()
    const url = `postgres://x@127.0.0.1:${rogue.port}/x?sslmode=disable`
    const test = await startPooler(url, {
      client: { auth: 'trust', abandonGraceMs: 3_600_000 },
      pool: { size: 1, cancelTimeoutMs: 1 },
    })
    t.after(async () => {
      await test.stop()
      await rogue.close()
    })
    const options = { host: test.host, port: test.port, user: 'x', database: 'x' }
    const client = await WireClient.connect({ ...options, params: { application_name: 'another' } })
    rogue.script = { onMessage: () => Buffer.alloc(0) }
    client.send(m.query('select 1'))
    const { house } = test.pooler
    await until(
      () => test.pooler.gauges().clients.active === 1,
      () => 'no server',
    )
    const cancelled = client.cancel()
    await until(
      () => house.visitors.size === 1,
      () => 'no cancel',
    )
    client.destroy()
    await cancelled
    assert.equal(house.visitors.size, 0)
  })

  test('statements of pgmux are not there for a client that deallocates them', async () => {
    await using attacker = await rig.client()
    const { error } = await attacker.query('deallocate pgmux_set')
    assert.equal(error?.code, '26000')
    await using victim = await rig.client({ params: { application_name: 'the victim' } })
    assert.equal((await victim.query('show application_name')).rows[0]?.[0], 'the victim')
  })

  test('statements put in the place of ours give nobody the settings of another', async () => {
    await using attacker = await rig.client({ params: { TimeZone: 'Asia/Tokyo' } })
    const poison = "execute 'deallocate pgmux_set'; execute 'prepare pgmux_set(text, text) as select 1'"
    assert.equal((await attacker.query(`do $$ begin ${poison}; end $$`)).error, null)
    await using victim = await rig.client()
    const first = await victim.query('show TimeZone')
    // Either the server is found out, and the statement's error says so, or it never got there.
    assert.ok(first.error?.code === '08006' || first.rows[0]?.[0] !== 'Asia/Tokyo')
    const { rows, error } = await victim.query('show TimeZone')
    assert.equal(error, null)
    assert.notEqual(rows[0]?.[0], 'Asia/Tokyo')
  })

  test('strangers do not use up the places of a user', async () => {
    const small = await Rig.start(postgres, { client: { maxPerUser: 2 }, pool: { size: 1 } })
    const { user, database } = postgres
    const strangers = await Promise.all(Array.from({ length: 4 }, () => small.stranger()))
    for (const stranger of strangers) stranger.send(m.startup({ user, database }))
    await Promise.all(strangers.map((stranger) => stranger.next()))
    await using one = await small.client()
    await using two = await small.client()
    assert.deepEqual([one.status, two.status], ['I', 'I'])
    await assert.rejects(small.client(), { code: '53300' })
    for (const stranger of strangers) stranger.destroy()
  })

  test('thousands of Syncs in a COPY IN do not hold up its end', async () => {
    await using client = await rig.client()
    await client.query('create table if not exists copied_under_syncs (a int)')
    client.send(m.query('copy copied_under_syncs from stdin'))
    await client.until('G')
    for (let count = 0; count < 5000; count++) client.send(m.sync())
    client.send(m.copyData('1\n'), m.copyDone())
    const { error, tag } = result(await client.until('Z'))
    assert.equal(error, null)
    assert.equal(tag, 'COPY 1')
    await client.query('drop table copied_under_syncs')
  })
})
