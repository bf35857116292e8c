// The hub of a database in front of a real Postgres: who gets what, in which order, and what happens when its
// connection goes.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { direct } from '../support/compare.ts'
import { Gate } from '../support/gate.ts'
import { Ear, TestHub } from '../support/hub.ts'
import { CHOPPED, CHOPS } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const HUBS = "select pid from pg_stat_activity where application_name = 'pgmux listen'"

function client(database = postgres.database): Promise<WireClient> {
  return WireClient.connect({ ...direct(postgres), database })
}

/** Notifies `channel` with 1, 2, 3, ... in transactions of several, until told to stop. */
function counting(channel: string): { stop(): Promise<number> } {
  let isStopped = false
  const run = async (): Promise<number> => {
    await using notifier = await client()
    let next = 1
    while (!isStopped) {
      const texts: string[] = []
      for (let n = 0; n < 3; n++) texts.push(`notify ${channel}, '${next++}'`)
      const { error } = await notifier.query(texts.join(';'))
      assert.equal(error, null)
    }
    return next - 1
  }
  const done = run()
  return {
    stop: () => {
      isStopped = true
      return done
    },
  }
}

suite('subscriptions', () => {
  test('each gets what it has subscribed to, once, and nothing after it has unsubscribed', async () => {
    await using test = new TestHub(postgres.url)
    await using notifier = await client()
    const [a, b] = [new Ear(), new Ear()]
    await Promise.all([test.listen(a, 'x', 'y'), test.listen(b, 'x')])
    await notifier.query("notify x, '1'; notify y, '2'; notify z, '3'; notify x, '4'")
    await Promise.all([a.count(3), b.count(2)])
    assert.deepEqual(new Set(a.pids), new Set([notifier.pid]))
    test.hub.unsubscribe(a, ['x'])
    await test.listen(b, 'x')
    await notifier.query("notify x, '5'; notify y, '6'")
    await Promise.all([a.count(4), b.count(3)])
    test.hub.leave(a)
    await notifier.query("notify y, '7'; notify x, '8'")
    await b.count(4)
    assert.deepEqual(a.heard, ['x 1', 'y 2', 'x 4', 'y 6'])
    assert.deepEqual(b.heard, ['x 1', 'x 4', 'x 5', 'x 8'])
    assert.equal(test.counters.notifications, 8)
    assert.equal(test.hub.channels.subscribers, 1)
  })

  test('a thousand that come at once are two exchanges, and what nobody wants is given up', async () => {
    await using test = new TestHub(postgres.url)
    await using notifier = await client()
    await using spy = await client()
    const ears = Array.from({ length: 1000 }, () => new Ear())
    const first = new Ear()
    await test.listen(first, 'everybody')
    // Its marks show how many exchanges there were.
    await spy.query(`listen "${test.hub.channel}"`)
    await Promise.all(ears.map((ear, index) => test.listen(ear, 'everybody', `own${index}`)))
    await notifier.query(`notify everybody, 'hello'; notify own7, 'to one'`)
    await Promise.all(ears.map((ear, index) => ear.count(index === 7 ? 2 : 1)))
    assert.deepEqual(ears[7]?.heard, ['everybody hello', 'own7 to one'])
    assert.deepEqual(ears[8]?.heard, ['everybody hello'])
    assert.ok((await marks(spy)) <= 2)
    assert.equal(test.hub.channels.size, 1001)
    for (const ear of ears) test.hub.leave(ear)
    await eventually(() => test.hub.channels.size === 1)
    await notifier.query("notify own7, 'to nobody'; notify everybody, 'bye'")
    await first.count(2)
    assert.deepEqual(first.heard, ['everybody hello', 'everybody bye'])
  })

  test('names are bytes: quotes, capitals, spaces, 63 bytes, any encoding', async () => {
    await postgres.admin("create database plain encoding 'SQL_ASCII' locale 'C' template template0")
    await postgres.admin("create database west encoding 'LATIN1' locale 'C' template template0")
    const names = ['a"b', 'A b;c', "it's", 'grün', '"', 'x'.repeat(63)]
    for (const database of [postgres.database, 'plain', 'west']) {
      const url = new URL(postgres.url)
      url.pathname = `/${database}`
      await using test = new TestHub(url.href)
      await using notifier = await client(database)
      // As the database has them: LATIN1 has one byte for it, the others two.
      const encoding = database === 'west' ? 'latin1' : 'utf8'
      const inDatabase = names.map((name) => Buffer.from(name, encoding).toString('latin1'))
      const ear = new Ear()
      await test.listen(ear, ...inDatabase)
      if (database === 'west') await notifier.query("set client_encoding = 'UTF8'")
      for (const name of names) await notifier.extended('select pg_notify($1, $2)', [name, name])
      await ear.count(names.length)
      const inLatin = inDatabase.map((name) => Buffer.from(name, 'latin1').toString())
      const told = database === 'west' ? inLatin : names
      assert.deepEqual(
        ear.heard,
        told.map((name) => `${name} ${name}`),
        database,
      )
    }
  })

  test('ten thousand channels of one subscriber are quick', async (t) => {
    await using test = new TestHub(postgres.url)
    await using notifier = await client()
    const names = Array.from({ length: 10_000 }, (_, index) => `channel_${index}`)
    const [many, one] = [new Ear(), new Ear()]
    const begun = performance.now()
    await Promise.all([test.listen(many, ...names), test.listen(one, 'own')])
    const took = performance.now() - begun
    t.diagnostic(`10,000 channels: ${took.toFixed(0)} ms`)
    assert.ok(took < 8000)
    await notifier.query("notify channel_0, 'a'; notify channel_9999, 'b'; notify own, 'c'")
    await Promise.all([many.count(2), one.count(1)])
    assert.deepEqual(many.heard, ['channel_0 a', 'channel_9999 b'])
    assert.deepEqual(one.heard, ['own c'])
    test.hub.leave(many)
    await eventually(() => test.hub.channels.size === 1)
  })
})

suite('order', () => {
  test('a sign stands exactly where a subscription begins: nothing is lost or doubled there', async () => {
    await using test = new TestHub(postgres.url)
    const numbers = counting('news')
    for (let round = 0; round < 20; round++) {
      // The session of a client, which listens until the sign comes.
      await using session = await client()
      const sign = `sign_${round}`
      await session.query(`listen news; listen ${sign}`)
      const ear = new Ear()
      assert.equal(await test.subscribe(ear, ['news'], sign), null)
      const before: number[] = []
      for (;;) {
        const message = await session.next()
        if (message.type !== 'A') continue
        if (message.channel === sign) break
        before.push(Number(message.payload))
      }
      await ear.count(5)
      test.hub.leave(ear)
      const all = [...before, ...ear.heard.map((text) => Number(text.slice('news '.length)))]
      const first = all[0] as number
      assert.deepEqual(
        all,
        all.map((_, index) => first + index),
        `round ${round}, ${before.length} before the sign`,
      )
    }
    assert.ok((await numbers.stop()) > 20)
  })

  test('a mark comes in its place, and only from whom it is expected', async () => {
    await using test = new TestHub(postgres.url)
    await using notifier = await client()
    const ear = new Ear()
    await test.listen(ear, 'x')
    const seen: string[] = []
    const mark = (name: string) =>
      test.hub.expect({
        pid: notifier.pid,
        onSeen: () => seen.push(`${name} behind ${ear.heard.length}`),
        onLost: () => seen.push('lost'),
      })
    const [begin, end] = [mark('begin'), mark('end')]
    const { channel } = test.hub
    // Whoever has seen the token somewhere is not the one who makes the mark.
    await postgres.admin(`notify "${channel}", '${begin}'`)
    await notifier.query("notify x, 'before'")
    await notifier.query(`notify "${channel}", '${begin}'`)
    await notifier.query("notify x, 'own'")
    await notifier.query(`notify "${channel}", '${end}'`)
    await notifier.query(`notify "${channel}", '${end}'; notify x, 'behind'`)
    await ear.count(3)
    assert.deepEqual(seen, ['begin behind 1', 'end behind 2'])
  })

  test("the number of a backend becomes its author's own, for all who hear it", async () => {
    await using test = new TestHub(postgres.url)
    await using notifier = await client()
    const [author, other] = [new Ear(), new Ear()]
    await test.listen(author, 'x')
    await test.listen(other, 'x')
    test.hub.authors.set(notifier.pid, 4711)
    await notifier.query('notify x')
    await Promise.all([author.count(1), other.count(1)])
    assert.deepEqual([author.pids, other.pids], [[4711], [4711]])
  })
})

suite('the connection', () => {
  test('it is opened for the first and closed some time after the last', async () => {
    await using test = new TestHub(postgres.url, false)
    const ear = new Ear()
    assert.equal(test.hub.isForgotten, true)
    await test.listen(ear, 'x')
    assert.equal((await postgres.admin(HUBS)).length, 1)
    test.pass(120_000)
    assert.equal(test.hub.isListening, true)
    await eventually(() => !test.hub.isAsking)
    test.hub.leave(ear)
    test.pass(50_000)
    assert.notEqual(test.hub.server, null)
    await eventually(() => !test.hub.isAsking)
    test.pass(20_000)
    assert.equal(test.hub.isForgotten, true)
    assert.equal(test.closings, 1)
    await eventually(async () => (await postgres.admin(HUBS)).length === 0)
    assert.deepEqual(test.warnings, [])
  })

  test('it comes back after a loss, listens to everything again and tells of the gap, once', async () => {
    await using test = new TestHub(postgres.url)
    await using notifier = await client()
    const [a, b] = [new Ear(), new Ear()]
    await test.listen(a, 'x', 'y')
    await test.listen(b, 'y')
    for (let round = 1; round <= 3; round++) {
      const lost = { isLost: false }
      test.hub.expect({ pid: 0, onSeen: () => {}, onLost: () => (lost.isLost = true) })
      await notifier.query(`select pg_terminate_backend(pid) from (${HUBS}) hubs`)
      await Promise.all([a.count(2 * round - 1), b.count(2 * round - 1)])
      assert.equal(lost.isLost, true)
      await notifier.query(`notify y, '${round}'`)
      await Promise.all([a.count(2 * round), b.count(2 * round)])
    }
    assert.deepEqual(a.heard, ['gap', 'y 1', 'gap', 'y 2', 'gap', 'y 3'])
    assert.deepEqual(b.heard, a.heard)
    assert.equal(test.closings, 3)
    assert.equal(test.counters.listenerLosses, 3)
    assert.equal(test.warnings.length, 3)
  })

  test('what a role has as its defaults does not end it', async () => {
    await postgres.admin("alter role current_user set idle_session_timeout = '500ms'")
    await postgres.admin("alter role current_user set statement_timeout = '200ms'")
    await postgres.admin("alter role current_user set default_transaction_isolation = 'serializable'")
    try {
      await using test = new TestHub(postgres.url)
      const ear = new Ear()
      await test.listen(ear, 'x')
      for (let step = 0; step < 6; step++) await postgres.admin('select pg_sleep(0.1)')
      assert.equal(test.hub.isListening, true)
      assert.deepEqual(ear.heard, [])
    } finally {
      await postgres.admin('alter role current_user reset all')
    }
  })

  test('who waits for a Postgres that cannot be reached is refused', async () => {
    await using test = new TestHub('postgres://nobody@127.0.0.1:1/none', false)
    assert.equal((await test.subscribe(new Ear(), ['x']))?.code, '08001')
    assert.equal(test.hub.channels.size, 0)
  })

  test('who waits for a Postgres that does not answer is refused after a while', async (t) => {
    if (CHOPS) return notRun(t, CHOPPED)
    const gate = await Gate.open(postgres)
    gate.hooks.onAnswer = () => null
    await using test = new TestHub(gate.url(postgres.url), false)
    const outcome = test.subscribe(new Ear(), ['x'])
    for (let step = 0; step < 60; step++) test.pass(100)
    assert.equal((await outcome)?.code, '08006')
    assert.equal(test.hub.channels.size, 0)
    await gate.close()
  })

  test('a connection that does not answer any more is replaced', async (t) => {
    if (CHOPS) return notRun(t, CHOPPED)
    const gate = await Gate.open(postgres)
    await using test = new TestHub(gate.url(postgres.url), false)
    const ear = new Ear()
    await test.listen(ear, 'x')
    gate.hooks.onAnswer = () => null
    test.pass(11_000)
    gate.hooks = {}
    test.pass(16_000)
    assert.match(test.warnings.join(), /did not answer in time/)
    test.pass(1000)
    await ear.count(1)
    assert.deepEqual(ear.heard, ['gap'])
    await gate.close()
  })

  test('where none may be, there is none; and subscribers hear of the gap when it is back', async () => {
    await using test = new TestHub(postgres.url)
    const ear = new Ear()
    await test.listen(ear, 'x')
    const { route } = test
    test.route = null
    await eventually(async () => (await postgres.admin(HUBS)).length === 0)
    assert.deepEqual(ear.heard, [])
    test.route = route
    await ear.count(1)
    assert.deepEqual(ear.heard, ['gap'])
    test.hub.renew()
    await ear.count(2)
    await postgres.admin('notify x')
    await ear.count(3)
    assert.deepEqual(ear.heard, ['gap', 'gap', 'x '])
  })

  test('a wish that is withdrawn leaves nothing behind, under way or not', async () => {
    await using test = new TestHub(postgres.url)
    const [gone, stays] = [new Ear(), new Ear()]
    const wish = () => test.hub.subscribe(gone, ['x', 'y'], '', () => assert.fail('it was withdrawn'))
    test.hub.withdraw(wish())
    await test.listen(stays, 'y')
    const second = wish()
    assert.equal(test.hub.isAsking, true)
    test.hub.withdraw(second)
    await test.listen(stays, 'z')
    await postgres.admin("select pg_notify('x', ''), pg_notify('y', '')")
    await stays.count(1)
    assert.deepEqual(gone.heard, [])
    await eventually(() => test.hub.channels.size === 2)
    assert.equal(test.hub.channels.subscribers, 1)
  })

  test('clients of a pool that moves take their channels to another hub, and hear of the gap', async () => {
    await using before = new TestHub(postgres.url)
    await using after = new TestHub(postgres.url)
    const pool = {}
    const [moves, waits, stays] = [new Ear(pool), new Ear(pool), new Ear()]
    await before.listen(moves, 'x', 'y')
    await before.listen(stays, 'y')
    // It has one of the channels already, and so nothing to ask for it.
    await after.listen(new Ear(), 'x', 'y')
    const refused = before.subscribe(waits, ['z'])
    for (const [ear, names] of before.hub.evict(pool)) after.hub.adopt(ear, names)
    assert.equal((await refused)?.code, '08006')
    await moves.count(1)
    await postgres.admin('notify y')
    await Promise.all([moves.count(2), stays.count(1)])
    assert.deepEqual([moves.heard, waits.heard, stays.heard], [['gap', 'y '], [], ['y ']])
    assert.equal(before.hub.channels.subscribers, 1)
  })
})

/** How many marks this session has got so far, its own one not counted. */
async function marks(spy: WireClient): Promise<number> {
  const { error } = await spy.query('select 1')
  assert.equal(error, null)
  return spy.received.filter(({ type }) => type === 'A').length
}
