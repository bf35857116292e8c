// TLS inside a WebSocket and outside, cancel requests, `?address=`, and what happens to WebSockets when the
// house is full or the pooler stops. Must never use a driver: its tests are in e2e/.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { direct, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import type { Overrides } from '../support/pooler.ts'
import { eventually, type Rig } from '../support/rig.ts'
import { testCertificate } from '../support/server-files.ts'
import { until } from '../support/waits.ts'
import { frame, Op } from '../support/web-socket.ts'
import { Talk, webPortOf, webRig } from '../support/web-talk.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const PASSWORD = postgres.password

const rigWith = (overrides: Overrides = {}): Promise<Rig> => webRig(postgres, overrides)
const portOf = webPortOf
const STARTUP = m.startup({ user: postgres.user, database: postgres.database })
const ALL_AT_ONCE = Buffer.concat([STARTUP, m.password(PASSWORD), m.query('select 7 as seven')])

const LOGIN_AND_ROW = /^RRS+KZTDCZ$/

describe('encryption inside', async () => {
  const { certFile, keyFile } = testCertificate()
  const tls = { mode: 'allow' as const, certFile, keyFile }
  const plain = await rigWith()
  const rig = await rigWith({ client: { tls } })
  const early = await rigWith({ client: { tls }, serverless: { pipelinedTls: true } })

  it('SSLRequest and GSSENCRequest are declined where there is no certificate', async () => {
    const talk = await Talk.open(plain)
    const bytes: Buffer[] = []
    talk.socket.removeAllListeners('data').on('data', (chunk: Buffer) => bytes.push(chunk))
    const all = () => Buffer.concat(bytes).toString('latin1')
    talk.socket.write(m.gssEncRequest())
    await until(() => all() === 'N', all)
    talk.socket.write(m.sslRequest())
    await until(() => all() === 'NN', all)
    talk.socket.write(ALL_AT_ONCE)
    await until(() => all().includes('seven'), all)
    talk.socket.destroy()
  })

  it('a second SSLRequest is refused', async () => {
    const talk = await Talk.open(plain)
    const bytes: Buffer[] = []
    talk.socket.removeAllListeners('data').on('data', (chunk: Buffer) => bytes.push(chunk))
    talk.socket.write(Buffer.concat([m.sslRequest(), m.sslRequest()]))
    await until(
      () => Buffer.concat(bytes).includes('unsupported'),
      () => 'no error',
    )
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    assert.match(Buffer.concat(bytes).toString('latin1'), /^NE.*unsupported frontend protocol 1234\.5679/s)
  })

  for (const ssl of ['request', 'direct'] as const) {
    it(`TLS inside (${ssl}): queries, large results both ways, the end`, async () => {
      const web = { port: portOf(rig) }
      const wire = await WireClient.connect(through(rig.test, postgres, { web, ssl }))
      assert.deepEqual((await wire.query('select 10')).rows, [['10']])
      const { rows } = await wire.extended('select length($1), repeat($1, 3)', ['y'.repeat(700_000)])
      assert.deepEqual([rows[0]?.[0], rows[0]?.[1]?.length], ['700000', 2_100_000])
      assert.equal((await wire.end()).error, undefined)
      await eventually(() => rig.test.pooler.house.clients.size === 0)
    })
  }

  it('a handshake right behind its request is refused, and taken where that is wished', async () => {
    const hello = Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0])
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([m.sslRequest(), hello]))
    await talk.until(() => talk.error !== undefined)
    assert.match(talk.error?.message ?? '', /unencrypted data after SSL request/)
    talk.socket.destroy()
    const other = await Talk.open(early)
    const bytes: Buffer[] = []
    other.socket.removeAllListeners('data').on('data', (chunk: Buffer) => bytes.push(chunk))
    other.socket.write(Buffer.concat([m.sslRequest(), hello]))
    // Not a handshake that comes to its end: an alert behind the answer shows who read it.
    await until(
      () => Buffer.concat(bytes).length > 1,
      () => 'no answer of TLS',
    )
    assert.equal(Buffer.concat(bytes).toString('latin1', 0, 1), 'S')
    assert.equal(Buffer.concat(bytes)[1], 0x15)
    other.socket.destroy()
  })

  it('wss: TLS outside, and inside as well', async () => {
    const secure = await rigWith({ client: { tls }, serverless: { tls: { certFile, keyFile } } })
    const web = { port: portOf(secure), secure: true }
    const talk = await Talk.open(secure, web)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, LOGIN_AND_ROW)
    talk.socket.destroy()
    await using wire = await WireClient.connect(through(secure.test, postgres, { web, ssl: 'request' }))
    const { rows } = await wire.extended('select repeat($1, 1000000)', ['z'])
    assert.equal(rows[0]?.[0]?.length, 1_000_000)
  })
})

describe('other first packets, and where to', async () => {
  const named = { host: direct(postgres).host ?? '', port: postgres.port, dbname: postgres.database }
  const rig = await rigWith({
    serverless: { addresses: [{ address: 'db.example.test:5432', database: postgres.database }] },
  })

  it('a cancel request over another WebSocket', async () => {
    await using wire = await WireClient.connect(through(rig.test, postgres, { web: { port: portOf(rig) } }))
    const slept = wire.query('select pg_sleep(30)')
    await rig.running('%pg_sleep%')
    await wire.cancel()
    assert.equal((await slept).error?.code, '57014')
  })

  for (const address of ['db.example.test', 'DB.Example.test:5432', 'db.example.test:5432']) {
    it(`?address=${address} is a name in a list`, async () => {
      const talk = await Talk.open(rig, { path: `/v1?address=${address}` })
      talk.socket.write(
        Buffer.concat([m.startup({ user: postgres.user, database: 'elsewhere' }), m.password(PASSWORD)]),
      )
      talk.socket.write(m.query('select current_database()'))
      await talk.until(() => talk.count('Z') === 2)
      const row = talk.said.find((message) => message.type === 'D')
      assert.equal(row?.values[0]?.toString(), postgres.database)
      talk.socket.destroy()
    })
  }

  const unknown = [
    '169.254.169.254:80',
    '[::1]:22',
    `${named.host}:${named.port}`,
    'localhost',
    '',
    '%00',
    ':::',
  ]
  for (const address of unknown) {
    it(`?address=${address} is not dialled`, async () => {
      const talk = await Talk.open(rig, { path: `/v1?address=${address}` })
      talk.socket.write(ALL_AT_ONCE)
      await talk.until(() => talk.error !== undefined)
      assert.deepEqual([talk.types, talk.error?.code], ['E', '08004'])
      talk.socket.destroy()
    })
  }

  it('without ?address= the startup packet names the database', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, LOGIN_AND_ROW)
    talk.socket.destroy()
  })

  it('without a list ?address= means nothing', async () => {
    const other = await rigWith()
    const talk = await Talk.open(other, { path: '/v1?address=db.nowhere.test:5432' })
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    talk.socket.destroy()
  })
})

describe('the end of the pooler', () => {
  it('idle clients get 57P01 and 1001, those at work finish, nobody else comes in', async () => {
    const rig = await rigWith()
    const idle = await Talk.open(rig)
    const busy = await Talk.open(rig)
    for (const talk of [idle, busy]) {
      talk.socket.write(Buffer.concat([STARTUP, m.password(PASSWORD)]))
      await talk.until(() => talk.count('Z') === 1)
    }
    busy.socket.write(m.query('begin'))
    await busy.until(() => busy.count('Z') === 2)
    const drained = rig.test.pooler.drain(20_000)
    assert.equal(rig.test.pooler.ready().ok, false)
    assert.equal((await idle.socket.closeFrame)?.code, 1001)
    assert.equal(idle.error?.code, '57P01')
    await assert.rejects(Talk.open(rig))
    busy.socket.write(m.query('commit'))
    assert.equal((await busy.socket.closeFrame)?.code, 1001)
    assert.deepEqual([busy.count('Z'), busy.error?.code], [3, '57P01'])
    await drained
  })

  it('a full house says so in words', async () => {
    const rig = await rigWith({ client: { maxConnections: 1 } })
    await using _first = await rig.client()
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '53300')
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
  })

  it('who never says what it wants is closed in time, and told so', async () => {
    // Long enough for all to have come in.
    const rig = await rigWith({ client: { loginTimeoutMs: 1500 } })
    const talks = await Promise.all(Array.from({ length: 50 }, () => Talk.open(rig)))
    assert.equal(rig.test.pooler.house.visitors.size, 50)
    assert.match(await rig.test.pooler.metrics(), /^pgmux_websockets 50$/m)
    for (const talk of talks) {
      assert.equal((await talk.socket.closeFrame)?.code, 1000)
      assert.deepEqual([talk.types, talk.error?.code], ['E', '08P01'])
    }
    assert.equal(rig.test.pooler.house.visitors.size, 0)
  })

  it('a full door too, at once', async () => {
    const rig = await rigWith({ client: { maxUnauthenticated: 2 } })
    const silent = [await Talk.open(rig), await Talk.open(rig)]
    const talk = await Talk.open(rig)
    assert.equal((await talk.socket.closeFrame)?.code, 1013)
    assert.equal(talk.error?.code, '53300')
    for (const { socket } of silent) socket.raw(frame(Buffer.alloc(0), { opcode: Op.Close }))
    await eventually(() => rig.test.pooler.house.visitors.size === 0)
  })
})
