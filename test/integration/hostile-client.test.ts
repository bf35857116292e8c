// Clients that send what no client should: each gets at most one clear error, is closed where Postgres would
// close it, and nobody else notices. Must never send anything from a proper driver.
import assert from 'node:assert/strict'
import { after, afterEach, before, suite, test } from 'node:test'
import { assertSame, through } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { Rig } from '../support/rig.ts'
import { until } from '../support/waits.ts'
import { WireClient } from '../support/wire-client.ts'

const LOGIN_TIMEOUT = 700
const BATCH_TIMEOUT = 400
const DOOR = 500

const postgres = await getPostgres()
const rig = await Rig.start(postgres, {
  client: { loginTimeoutMs: LOGIN_TIMEOUT, batchTimeoutMs: BATCH_TIMEOUT, maxUnauthenticated: DOOR },
  pool: { size: 2 },
})
const stages = [{ name: 'transaction mode', pooler: rig.test }]
const { pooler } = rig.test

/** A length field (or any number) of four bytes. */
function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}

/** The one error that a connection got before it was closed; null where it was closed without a word. */
function onlyError(messages: readonly m.BackendMessage[]): string | null {
  const errors = messages.filter((message) => message.type === 'E')
  assert.ok(errors.length <= 1, `${errors.length} errors`)
  const error = errors[0]
  if (error === undefined) return null
  assert.equal(error.severity, 'FATAL')
  assert.ok(error.message.length > 0 && !error.message.includes('\n'), error.message)
  assert.equal(messages.at(-1), error, 'nothing follows the error')
  return error.code
}

/** Nothing of anybody is left: no transaction, no lock, no client but the healthy one, no server at work. */
async function clean(): Promise<void> {
  const { house } = pooler
  const left = () => JSON.stringify({ ...pooler.gauges(), visitors: house.visitors.size })
  await until(() => house.clients.size === 1 && house.visitors.size === 0, left)
  const open = "xact_start is not null and pid <> pg_backend_pid() and state <> 'active'"
  await until(
    async () => (await rig.value(`select count(*) from pg_stat_activity where ${open}`)) === '0',
    () => 'a transaction is open',
  )
}

suite('hostile clients', () => {
  let healthy: Healthy
  before(async () => {
    healthy = await Healthy.start(through(rig.test, postgres))
  })
  afterEach(async () => {
    await healthy.goesOn()
    await clean()
    assert.deepEqual(
      rig.test.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })
  after(() => healthy.stop())

  test('garbage as first bytes is refused at once, in one message', async () => {
    const random = new Prng(7)
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
      Buffer.alloc(64, 0),
      Buffer.alloc(64, 0xff),
      Buffer.alloc(20_000, 0x41),
      Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]),
      ...Array.from({ length: 50 }, () =>
        Buffer.concat([Buffer.from([0x80 | random.below(128)]), random.bytes(200)]),
      ),
    ]
    for (const bytes of garbage) {
      const stranger = await rig.stranger()
      stranger.send(bytes)
      const code = onlyError(await stranger.untilClosed())
      assert.ok(
        code === '08P01' || (code === null && bytes[0] === 0x16),
        `${code}: ${bytes.toString('latin1')}`,
      )
    }
  })

  test('impossible startup packets', async () => {
    const version = int32(m.PROTOCOL_3_0)
    const bodies: [string, Buffer, string][] = [
      ['length 0', int32(0), '08P01'],
      ['length 3', int32(3), '08P01'],
      ['length 7', int32(7), '08P01'],
      ['length -1', int32(-1), '08P01'],
      ['length 2^31-1', int32(0x7fff_ffff), '08P01'],
      ['10,001 bytes', Buffer.concat([int32(10_005), version, Buffer.alloc(9_997, 0x61)]), '08P01'],
      ['no user', m.startup({ database: 'x' }), '28000'],
      ['no terminator', m.untyped(version, 'user\0postgres\0'), '08P01'],
      ['protocol 4', m.startup({ user: 'postgres' }, 0x40000), '0A000'],
      ['a cancel without key', m.untyped(int32(80877102), int32(1)), '08P01'],
      ['SSLRequest with a body', m.untyped(int32(80877103), 'more'), '08P01'],
    ]
    for (const [name, bytes, code] of bodies) {
      const stranger = await rig.stranger()
      stranger.send(bytes)
      assert.equal(onlyError(await stranger.untilClosed()), code, name)
    }
    // 10,000 bytes of it are allowed, as in Postgres.
    const long = m.startup({
      user: 'postgres',
      database: 'postgres',
      options: `-c app.x=${'y'.repeat(9_930)}`,
    })
    assert.ok(long.length <= 10_004 && long.length > 9_950)
    const stranger = await rig.stranger()
    stranger.send(long)
    assert.equal((await stranger.next()).type, 'R')
    await stranger.end()
  })

  test('one byte after the other: the time for a login counts from the connection', async () => {
    const stranger = await rig.stranger()
    const packet = m.startup({ user: 'postgres', database: 'postgres' })
    const started = performance.now()
    let at = 0
    const drip = setInterval(() => stranger.send(packet.subarray(at, ++at)), LOGIN_TIMEOUT / 10)
    const messages = await stranger.untilClosed()
    clearInterval(drip)
    assert.equal(onlyError(messages), '08P01')
    assert.ok(performance.now() - started >= LOGIN_TIMEOUT * 0.9)
  })

  test('before the login nothing but a password is taken', async () => {
    for (const bytes of [
      m.query('select 1'),
      m.sync(),
      m.message('p', int32(0)),
      m.message('!', 'x'),
      m.terminate(),
    ]) {
      const stranger = await rig.stranger()
      stranger.send(m.startup({ user: 'postgres', database: 'postgres' }))
      assert.equal((await stranger.next()).type, 'R')
      stranger.send(bytes)
      const code = onlyError(await stranger.untilClosed())
      assert.ok(code === '08P01' || code === '28P01' || code === null, String(code))
    }
    const stranger = await rig.stranger()
    stranger.send(m.startup({ user: 'postgres' }), m.message('p', Buffer.alloc(70_000, 0x61)))
    assert.equal(onlyError(await stranger.untilClosed()), '08P01')
  })

  const STATES: [string, (client: WireClient) => Promise<void>][] = [
    ['idle', async () => {}],
    ['in a transaction', async (client) => void (await client.query('begin'))],
    ['in a failed transaction', async (client) => void (await client.query('begin; select 1/0'))],
    ['in a batch', async (client) => client.send(m.parse('select 1'), m.bind(), m.execute())],
    [
      'in a flushed batch',
      async (client) => {
        client.send(m.parse('select 1'), m.bind(), m.execute(), m.flush())
        await client.until('C')
      },
    ],
    [
      'in COPY IN',
      async (client) => {
        client.send(m.query('create temp table c (t text); copy c from stdin'))
        await client.until('G')
      },
    ],
    ['while a query runs', async (client) => client.send(m.query('select pg_sleep(0.05)'))],
  ]

  for (const [state, reach] of STATES) {
    test(`impossible lengths and unknown types ${state}`, async () => {
      const wrong = [0, 3, -1, -2_147_483_648, 0x7fff_ffff].flatMap((length) =>
        [...'QPBSXd'].map((type) => Buffer.concat([Buffer.from(type), int32(length)])),
      )
      const unknown = [m.message('!'), m.message('\0', 'abc'), m.message('p', 'x\0'), m.message('Z', 'I')]
      const long = [m.message('S', 'more'), m.message('H', 'x'), m.message('E', Buffer.alloc(20_000))]
      for (const bytes of [...wrong, ...unknown, ...long]) {
        const client = await rig.client()
        await reach(client)
        client.drain()
        client.send(bytes, m.query('select 1'))
        const messages = await client.untilClosed()
        const errors = messages.filter((message) => message.type === 'E')
        assert.deepEqual(
          errors.map(({ code, severity }) => [code, severity]),
          [['08P01', 'FATAL']],
          bytes.toString('latin1'),
        )
        assert.equal(messages.at(-1)?.type, 'E')
      }
    })
  }

  test('messages that do not fit the state are answered as Postgres answers them', () =>
    assertSame(postgres, stages, async (client) => {
      await client.run(m.copyData('x'), m.copyDone(), m.copyFail('no'), m.flush(), m.sync())
      await client.run(m.bind({ statement: 'nobody' }), m.execute(), m.sync())
      await client.run(m.execute('nobody'), m.sync())
      await client.run(m.describe('S', 'nobody'), m.sync())
      await client.run(m.describe('P', 'nobody'), m.sync())
      await client.run(m.close('S', 'nobody'), m.close('P', 'nobody'), m.sync())
      await client.run(m.message('D', 'X\0'), m.sync())
      await client.run(m.message('C', 'X\0'), m.sync())
      await client.run(m.message('B', 'a'), m.sync())
      await client.run(m.message('B', '\0\0', Buffer.from([0, 1])), m.sync())
      await client.run(m.message('P', 'name without end'), m.sync())
      await client.run(m.message('P', 'a\0select 1\0'), m.sync())
      await client.run(m.message('E', 'x'), m.sync())
      await client.run(m.message('Q', 'select 1'))
      await client.run(m.message('Q'))
      await client.run(m.message('Q', 'select 1\0select 2\0'))
      await client.run(m.parse('select 1; select 2'), m.sync())
      await client.run(m.bind({ params: ['1', '2', '3'] }), m.execute(), m.sync())
      await client.run(m.parse('select $1::int'), m.bind({ params: ['x'], formats: [7] }), m.sync())
      await client.run(m.functionCall(999_999), m.query('select 1'))
      await client.until()
    }))

  test('half a message, then silence: a client that holds no server costs nobody anything', async () => {
    const client = await rig.client()
    client.send(Buffer.concat([Buffer.from('P'), int32(1000), Buffer.from('half')]))
    await healthy.goesOn()
    assert.equal(pooler.gauges().servers.active <= 1, true)
    client.destroy()
  })

  test('half a message, then silence: one that holds a server loses it', async () => {
    for (const half of [
      m.query(`select '${'x'.repeat(400_000)}'`).subarray(0, 20_000),
      m.parse('select 1'),
      Buffer.concat([m.parse('select 1'), Buffer.from('B'), int32(500_000), Buffer.alloc(100_000)]),
    ]) {
      const client = await rig.client()
      client.send(half)
      const messages = await client.untilClosed()
      assert.equal(onlyError(messages.filter(({ type }) => type !== '1')), '08P01')
    }
  })

  test('a client that closes only its own side gets its answers, then the end', async () => {
    const client = await rig.client()
    // One that still waits for a server would be given up: here it holds one.
    await client.query('begin')
    client.send(m.query('select 1'), m.query('select pg_sleep(0.1), 2'))
    client.halfClose()
    const types = (await client.untilClosed()).map(({ type }) => type).join('')
    assert.equal(types, 'TDCZTDCZ')
  })

  test('a thousand connections that say nothing', async () => {
    const options = through(rig.test, postgres)
    const silent = await Promise.all(Array.from({ length: 1000 }, () => WireClient.open(options)))
    assert.ok(pooler.house.visitors.size <= DOOR, 'no more than may stand at the door')
    await healthy.goesOn()
    const codes = (await Promise.all(silent.map((one) => one.untilClosed()))).map(onlyError)
    // Sent away at once, or out of time; how many of which is a matter of speed.
    assert.deepEqual(
      codes.filter((code) => code !== '53300' && code !== '08P01'),
      [],
    )
    const next = await rig.client()
    assert.equal((await next.query('select 1')).rows.length, 1)
    await next.end()
  })

  test('a million Syncs at once are answered one by one', async () => {
    const client = await rig.client()
    const before = client.bytesReceived
    client.send(Buffer.alloc(5_000_000, m.sync()))
    const bytes = 6 * 1_000_000
    await until(
      () => client.bytesReceived - before === bytes,
      () => `${client.bytesReceived - before} of ${bytes}`,
    )
    await client.end()
  })

  test('half a million messages before a Sync wait where they are until Postgres takes them', async () => {
    const client = await rig.client()
    await client.query('select 1')
    const before = client.bytesReceived
    const many = 500_000
    const closes = Buffer.concat(Array.from({ length: many }, () => m.close('P', 'x')))
    client.send(
      m.parse(`select pg_sleep(${(3 * BATCH_TIMEOUT) / 1000})`),
      m.bind(),
      m.execute(),
      closes,
      m.sync(),
    )
    await client.until('3')
    await until(
      () => client.status === 'I' && client.received.at(-1)?.type === 'Z',
      () => `${client.received.length}`,
    )
    const answers = client.received.filter(({ type }) => type === '3').length
    assert.equal(answers, many)
    assert.ok(client.bytesReceived - before > 5 * many)
    await client.end()
  })

  test('random bytes behind a login never break anything but their own connection', async () => {
    const random = new Prng(99)
    for (let round = 0; round < 150; round++) {
      const client = await rig.client()
      const type = random.pick([...'QPBEDCSHFdcfX'])
      client.send(
        m.message(type, random.bytes(random.below(60))),
        m.message(random.pick([...'QPBES']), random.bytes(8)),
      )
      client.send(m.sync())
      await client.end()
    }
  })
})
