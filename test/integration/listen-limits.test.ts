// Where LISTEN in transaction mode ends: the listening server is lost, refused, paused or moved; a client
// does not take its notifications, has too many channels or another encoding. Nobody is left without a word.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { startConsole } from '../support/console.ts'
import { Gate } from '../support/gate.ts'
import * as m from '../support/messages.ts'
import { CHOPPED, CHOPS, merge, type Overrides } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const ONE: Overrides = { pool: { mode: 'transaction', size: 1 } }
const HUBS = "application_name = 'pgmux listen'"

/** Notifications, and codes of warnings and errors, in their order. */
function heard(client: WireClient): string[] {
  return client.received.flatMap((message) => {
    if (message.type === 'A') return [`${message.channel} ${message.payload}`]
    return message.type === 'N' || message.type === 'E' ? [`${message.severity} ${message.code}`] : []
  })
}

/** Resolves when it has heard exactly this. */
function hears(client: WireClient, ...what: string[]): Promise<unknown> {
  return eventually(() => assert.deepEqual(heard(client), what))
}

function idle(rig: Rig): Promise<unknown> {
  return eventually(() => rig.test.pooler.gauges().clients.active === 0)
}

/** A client that listens to `news`, and nothing is under way for it any more. */
async function listener(rig: Rig, extra = {}): Promise<WireClient> {
  const client = await rig.client(extra)
  assert.equal((await client.query('listen news')).error, null)
  await idle(rig)
  return client
}

suite('the listening server', () => {
  test('is lost: those who listen are warned, once, and go on', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using one = await listener(rig)
    await using busy = await listener(rig)
    await using other = await rig.client()
    await busy.query('begin')
    assert.equal(
      (await rig.see(`select pg_terminate_backend(pid) from pg_stat_activity where ${HUBS}`)).length,
      1,
    )
    await hears(one, 'WARNING 01000')
    await rig.see("notify news, 'a'")
    await hears(one, 'WARNING 01000', 'news a')
    assert.deepEqual(heard(busy), [])
    await busy.query('commit')
    await hears(busy, 'WARNING 01000', 'news a')
    await other.query('select 1')
    assert.deepEqual(heard(other), [])
    assert.match(await rig.test.pooler.metrics(), /^pgmux_listening_losses_total 1$/m)
    assert.match(await rig.test.pooler.metrics(), /^pgmux_listening\{what="subscribers"\} 2$/m)
    await rig.stop()
  })

  test('is refused: who listens keeps its server, and hears everything there', async () => {
    await postgres.admin("create role tight login password 'x' connection limit 1")
    const { host, port, database } = postgres
    const rig = await Rig.start(postgres, ONE, `postgres://tight:x@${host}:${port}/${database}`)
    await using client = await rig.client({ user: 'tight', password: 'x' })
    await client.query('listen news; listen more')
    await client.query("notify news, 'own'")
    await rig.see("notify more, 'a'")
    await hears(client, 'news own', 'more a')
    assert.equal(rig.test.pooler.gauges().clients.active, 1)
    assert.deepEqual((await client.query('select * from pg_listening_channels() order by 1')).rows, [
      ['more'],
      ['news'],
    ])
    assert.ok(rig.test.lines.some(({ message }) => /a client that listens keeps its server/.test(message)))
    await client.query('unlisten *')
    await idle(rig)
    await rig.stop()
  })

  test('counts among the servers: without a place a client keeps its server', async () => {
    const pool = { mode: 'transaction', size: 2, maxServers: 1 } as const
    const rig = await startConsole(postgres, { pool })
    const { pooler } = rig.test
    await using boss = await rig.console()
    await using client = await rig.client()
    const isListening = async (): Promise<boolean[]> => {
      const { columns, rows } = await boss.query('show servers')
      const place = columns.indexOf('application_name')
      return rows.map((row) => row[place] === 'pgmux listen')
    }
    const begun = performance.now()
    await client.query("listen news; notify news, 'own'")
    await hears(client, 'news own')
    assert.ok(performance.now() - begun < 4000, 'nobody waits for a place')
    assert.deepEqual(await isListening(), [false])
    assert.equal(pooler.gauges().clients.active, 1)
    // These use every server that they can get, one behind the other.
    let isOver = false
    const others = await Promise.all([rig.client(), rig.client()])
    const busy = others.map(async (other) => {
      while (!isOver) assert.equal((await other.query('select 1')).error, null)
    })
    pooler.reload(merge(pooler.config, { pool: { ...pool, maxServers: 2 } }))
    // It asks for a place every three seconds.
    await eventually(() => pooler.gauges().listening?.subscribers === 1, 20_000)
    assert.deepEqual((await isListening()).sort(), [false, true])
    isOver = true
    await Promise.all(busy)
    await others[0]?.query("notify news, 'from another'")
    await hears(client, 'news own', 'news from another')
    for (const other of others) await other.end()
  })

  test('is not there while its database is paused, and RECONNECT makes another one', async () => {
    const rig = await startConsole(postgres, ONE)
    const hubs = async (): Promise<unknown[]> => postgres.admin(`select from pg_stat_activity where ${HUBS}`)
    await using boss = await rig.console()
    await using client = await rig.client()
    await client.query('listen news')
    await boss.query('pause')
    // Postgres needs a moment for its end.
    await eventually(async () => (await hubs()).length === 0)
    await boss.query('resume')
    await hears(client, 'WARNING 01000')
    await boss.query('reconnect')
    await hears(client, 'WARNING 01000', 'WARNING 01000')
    await postgres.admin("notify news, 'a'")
    await hears(client, 'WARNING 01000', 'WARNING 01000', 'news a')
    await boss.query('kill')
    await client.closed
    assert.match(heard(client).at(-1) ?? '', /FATAL 57P01/)
    await eventually(async () => (await hubs()).length === 0)
    await boss.query('resume')
  })

  test('moves with its database', async () => {
    await postgres.admin('create database elsewhere')
    const rig = await Rig.start(postgres, ONE)
    await using client = await listener(rig)
    const { pooler } = rig.test
    pooler.reload(merge(pooler.config, { upstream: { dbname: 'elsewhere' } }))
    await hears(client, 'WARNING 01000')
    await rig.see("notify news, 'in the old one'")
    await client.query("notify news, 'in the new one'")
    await hears(client, 'WARNING 01000', 'news in the new one')
    await rig.stop()
    await postgres.admin('drop database elsewhere with (force)')
  })

  test('goes with the pooler, which tells those who listen', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using client = await listener(rig)
    await rig.stop()
    await client.closed
    assert.deepEqual(heard(client), ['FATAL 57P01'])
    assert.deepEqual(await postgres.admin(`select from pg_stat_activity where ${HUBS}`), [])
  })

  test('is slow: the answer to a NOTIFY does not wait for it for long', async (t) => {
    if (CHOPS) return notRun(t, CHOPPED)
    const gate = await Gate.open(postgres)
    const rig = await Rig.start(postgres, ONE, gate.url(postgres.url))
    await using client = await listener(rig)
    // It was opened last.
    const hub = gate.sessions.at(-1)
    gate.hooks.onAnswer = (chunk, link) => (link === hub ? null : chunk)
    const begun = performance.now()
    assert.equal((await client.query("notify news, 'x'")).tag, 'NOTIFY')
    assert.ok(performance.now() - begun < 5000)
    assert.deepEqual(heard(client), [])
    await rig.stop()
    await gate.close()
  })
})

suite('a client', () => {
  test('that does not read is closed; the others hear everything', async () => {
    const rig = await Rig.start(postgres, { ...ONE, client: { notificationBuffer: 200_000 } })
    const slow = await listener(rig)
    await using quick = await listener(rig)
    slow.pause()
    let sent = 0
    await eventually(async () => {
      const numbers = `generate_series(${sent}, ${sent + 99}) n`
      await rig.see(`select pg_notify('news', n || repeat('x', 7900)) from ${numbers}`)
      sent += 100
      return rig.test.pooler.gauges().listening?.subscribers === 1
    }, 20_000)
    await eventually(() => assert.equal(heard(quick).length, sent))
    assert.deepEqual(
      heard(quick).map((text) => Number.parseInt(text.slice(5), 10)),
      Array.from({ length: sent }, (_, index) => index),
    )
    const refused = rig.test.lines.filter(({ message }) => message === 'client refused')
    assert.deepEqual(
      refused.map(({ fields }) => fields.code),
      ['53400'],
    )
    slow.destroy()
    await rig.stop()
  })

  test('that stays in a transaction too long is closed, and told why', async () => {
    const rig = await Rig.start(postgres, { ...ONE, client: { notificationBuffer: 20_000 } })
    await using client = await listener(rig)
    await client.query('begin')
    await rig.see("select pg_notify('news', 'a')")
    for (let n = 0; n < 3; n++) await rig.see(`select pg_notify('news', ${n} || repeat('x', 7900))`)
    await client.closed
    assert.deepEqual(heard(client), ['FATAL 53400'])
    assert.equal(rig.test.pooler.gauges().listening?.subscribers, 0)
    await rig.stop()
  })

  test('with more channels than `session.max_channels` keeps its server until it has fewer', async () => {
    const rig = await Rig.start(postgres, { ...ONE, session: { maxChannels: 3 } })
    await using client = await rig.client()
    await client.query('listen a; listen b; listen c')
    await idle(rig)
    await client.query('listen d; listen e')
    await client.query("notify a, '1'; notify e, '2'")
    const { active } = rig.test.pooler.gauges().clients
    assert.equal(active, 1)
    await rig.see("notify b, '3'; notify d, '4'")
    await eventually(() => assert.deepEqual(heard(client).sort(), ['a 1', 'b 3', 'd 4', 'e 2']))
    const channels = 'select * from pg_listening_channels() order by 1'
    assert.deepEqual((await client.query(channels)).rows.flat(), ['a', 'b', 'c', 'd', 'e'])
    await client.query('unlisten a; unlisten b')
    await idle(rig)
    assert.deepEqual((await client.query(channels)).rows.flat(), ['c', 'd', 'e'])
    await rig.stop()
  })

  test('in another encoding keeps its server, and Postgres converts', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using latin = await rig.client({ params: { client_encoding: 'LATIN1' } })
    await latin.query('listen news')
    await rig.see("notify news, 'grün'")
    const [message] = await latin.until('A')
    assert.equal(message?.raw.subarray(-5, -1).toString('latin1'), 'grün')
    assert.equal(rig.test.pooler.gauges().clients.active, 1)
    await latin.end()
    await using late = await listener(rig)
    await late.query("set client_encoding = 'LATIN1'")
    await rig.see("notify news, 'plain'; notify news, 'grün'; notify news, 'on'")
    await hears(late, 'news plain', 'WARNING 22P05', 'news on')
    await rig.stop()
  })

  test('that leaves takes its channels along, whatever it was doing', async () => {
    const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 2 } })
    for (const text of [
      'listen a',
      'begin; listen b',
      'listen c; select pg_sleep(0.01)',
      'listen a; unlisten a',
    ]) {
      const client = await rig.client()
      await client.query('listen first')
      client.send(m.query(text))
      client.destroy()
    }
    await rig.quiet()
    await eventually(() => rig.test.pooler.gauges().listening?.channels === 0)
    await using next = await rig.client()
    assert.deepEqual((await next.query('select * from pg_listening_channels()')).rows, [])
    await next.query('notify a; notify b; notify c; notify first')
    assert.deepEqual(heard(next), [])
    await rig.stop()
  })

  test('that listens has no pin, and so none that could be refused', async () => {
    const rig = await Rig.start(postgres, { ...ONE, session: { pins: { listen: 'refuse' }, maxPinned: 1 } })
    await using locks = await rig.client()
    await using client = await rig.client()
    assert.equal((await client.query('listen news')).error, null)
    await idle(rig)
    await locks.query('select pg_advisory_lock(1)')
    await rig.see("notify news, 'a'")
    await hears(client, 'news a')
    assert.doesNotMatch(await rig.test.pooler.metrics(), /pgmux_pins_total{reason="listen"}/)
    await rig.stop()
  })

  test('in statement mode keeps no server either', async () => {
    const rig = await Rig.start(postgres, { pool: { mode: 'statement', size: 1 } })
    await using client = await listener(rig)
    await client.query('listen more')
    await client.query("notify more, 'own'")
    await rig.see("notify news, 'a'")
    await hears(client, 'more own', 'news a')
    await client.query('unlisten more')
    await idle(rig)
    await rig.see("notify more, 'not any more'; notify news, 'b'")
    await hears(client, 'more own', 'news a', 'news b')
    await rig.stop()
  })

  test('keeps its server with `session.listen: pin`, which is a pin', async () => {
    const rig = await Rig.start(postgres, { ...ONE, session: { listen: 'pin' } })
    await using client = await rig.client()
    await client.query("listen news; notify news, 'a'")
    assert.equal(rig.test.pooler.gauges().clients.active, 1)
    await rig.see("notify news, 'b'")
    await hears(client, 'news a', 'news b')
    await client.query('unlisten news')
    await idle(rig)
    assert.equal(rig.test.pooler.gauges().listening?.servers, 0)
    await rig.stop()
  })
})
