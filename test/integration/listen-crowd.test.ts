// LISTEN in transaction mode with many clients on few servers: nobody misses a notification or gets one
// twice, while clients come, go, query and notify.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, Rig } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres({ settings: { max_connections: '60' } })

/** Notifications and warnings that a client has got, in their order. */
function heard(client: WireClient): string[] {
  return client.received.flatMap((message) => {
    if (message.type === 'A') return [`${message.channel} ${message.payload}`]
    return message.type === 'N' ? [message.severity] : []
  })
}

/** Resolves when the client has got this many of these. */
function until(client: WireClient, count: number): Promise<unknown> {
  return eventually(() => heard(client).length >= count, 20_000)
}

function idle(rig: Rig): Promise<unknown> {
  return eventually(() => rig.test.pooler.gauges().clients.active === 0)
}

suite('many', () => {
  test('a thousand listeners on two servers', async (t) => {
    const rig = await Rig.start(postgres, {
      pool: { mode: 'transaction', size: 2 },
      client: { auth: 'trust' },
    })
    const clients = await Promise.all(Array.from({ length: 1000 }, () => rig.client()))
    await Promise.all(
      clients.map(async (client, place) => {
        const { error } = await client.query(`listen everybody; listen own_${place}`)
        assert.equal(error, null)
      }),
    )
    await idle(rig)
    assert.deepEqual(rig.test.pooler.gauges().listening, { servers: 1, channels: 1001, subscribers: 1000 })
    const begun = performance.now()
    await rig.see("notify everybody, 'hello'; notify own_7, 'you'; notify own_999, 'and you'")
    await Promise.all(clients.map((client, place) => until(client, place === 7 || place === 999 ? 2 : 1)))
    t.diagnostic(`all have heard it after ${(performance.now() - begun).toFixed(0)} ms`)
    assert.deepEqual(heard(clients[7] as WireClient), ['everybody hello', 'own_7 you'])
    assert.deepEqual(heard(clients[8] as WireClient), ['everybody hello'])
    assert.equal((await rig.backends()).length, 3)
    for (const client of clients) client.destroy()
    await eventually(() => rig.test.pooler.gauges().listening?.channels === 0)
    await rig.stop()
  })

  test('ten thousand channels of one client', async (t) => {
    const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } })
    await using client = await rig.client()
    await using other = await rig.client()
    const names = Array.from({ length: 10_000 }, (_, index) => `channel_${index}`)
    const begun = performance.now()
    await client.query(names.map((name) => `listen ${name}`).join(';'))
    await idle(rig)
    t.diagnostic(`10,000 channels: ${(performance.now() - begun).toFixed(0)} ms`)
    await other.query("notify channel_0, 'a'; notify channel_9999, 'b'")
    await until(client, 2)
    assert.deepEqual(heard(client), ['channel_0 a', 'channel_9999 b'])
    // A transaction that has nothing to do with them does not pay for them.
    await client.query('begin; select 1; commit')
    assert.equal((await client.query('unlisten *')).error, null)
    assert.deepEqual((await client.query('select * from pg_listening_channels()')).rows, [])
    await eventually(() => rig.test.pooler.gauges().listening?.channels === 0)
    await rig.stop()
  })
})

suite('each number once, in order', () => {
  const CHANNELS = 3

  /** Notifies its channel with 1, 2, 3, ...; now and then in a transaction of several, or one that fails. */
  class Notifier {
    readonly channel: string
    /** The last one that Postgres has committed. */
    last = 0
    /** The last one that it has tried. What it tries from now on comes behind whatever has ended before. */
    tried = 0
    isStopped = false
    readonly #client: WireClient
    readonly #random: Prng

    constructor(client: WireClient, channel: string, random: Prng) {
      this.#client = client
      this.channel = channel
      this.#random = random
    }

    async run(): Promise<void> {
      while (!this.isStopped) {
        const count = this.#random.between(1, 4)
        const texts: string[] = []
        for (let n = 1; n <= count; n++) texts.push(`notify ${this.channel}, '${this.last + n}'`)
        this.tried = this.last + count
        const fails = this.#random.chance(0.2)
        const { error } = await this.#client.query([...texts, ...(fails ? ['select 1/0'] : [])].join(';'))
        assert.equal(error !== null, fails)
        if (!fails) this.last += count
      }
    }
  }

  /** The numbers of each channel are consecutive, begin where LISTEN ended and go on to the last. */
  function check(client: WireClient, notifiers: readonly Notifier[], sent: readonly number[]): void {
    for (const [place, { channel, last }] of notifiers.entries()) {
      const numbers = heard(client).flatMap((text) =>
        text.startsWith(`${channel} `) ? [Number(text.slice(channel.length + 1))] : [],
      )
      const first = numbers[0] ?? last + 1
      assert.ok(
        first <= (sent[place] ?? 0) + 1,
        `${channel}: ${first} came first, ${sent[place]} was sent before`,
      )
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => first + index),
        channel,
      )
      assert.equal(numbers.at(-1) ?? last, last, channel)
    }
  }

  /** What a client does between its notifications. */
  async function act(client: WireClient, random: Prng): Promise<void> {
    const { error } = await client.query(
      random.pick([
        'select 1',
        'begin; select 1; commit',
        'listen c0',
        'begin; unlisten *; rollback',
        'begin; listen c1; listen other; commit',
        'unlisten other',
        "begin; savepoint s; unlisten c1; rollback to s; notify other, 'x'; commit",
        'select * from pg_listening_channels()',
        'set work_mem = 1000',
        "notify other, 'to nobody in particular'",
      ]),
    )
    assert.equal(error, null)
  }

  for (const size of [1, 3]) {
    test(`with clients that come, go and work, on ${size} servers`, async () => {
      const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size } })
      const random = new Prng(size)
      const notifiers: Notifier[] = []
      for (let place = 0; place < CHANNELS; place++) {
        const client = place === 0 ? await rig.direct() : await rig.client()
        notifiers.push(new Notifier(client, `c${place}`, random.fork()))
      }
      const running = notifiers.map((notifier) => notifier.run())
      const checks: [WireClient, number[]][] = []
      await Promise.all(
        Array.from({ length: 8 }, async (_, place) => {
          const own = random.fork()
          for (let round = 0; round < 3; round++) {
            const client = await rig.client()
            await client.query('listen c0; listen c1; listen c2')
            const sent = notifiers.map(({ tried }) => tried)
            for (let step = own.between(0, 6); step > 0; step--) await act(client, own)
            if (round === 2 || place % 2 === 0) checks.push([client, sent])
            else client.destroy()
          }
        }),
      )
      await eventually(() => notifiers.every(({ last }) => last > 20))
      for (const notifier of notifiers) notifier.isStopped = true
      await Promise.all(running)
      for (const [client, sent] of checks) {
        await eventually(() => check(client, notifiers, sent), 10_000)
        client.destroy()
      }
      assert.equal(checks.length, 16)
      await rig.stop()
    })
  }
})
