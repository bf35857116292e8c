// How clients come in over a WebSocket and go: everything said at once, as drivers do, or in a dialogue; what they
// are asked for; what a refusal looks like to them. Must never use a driver: its tests are in e2e/.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { direct, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import type { Overrides } from '../support/pooler.ts'
import { eventually, Rig } from '../support/rig.ts'
import { testCertificate } from '../support/server-files.ts'
import { until } from '../support/waits.ts'
import { frame, Op, TestWebSocket, type UpgradeOptions } from '../support/web-socket.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const PASSWORD = postgres.password
const users = new Map([[postgres.user, { secret: PASSWORD }]])

async function rigWith(overrides: Overrides = {}): Promise<Rig> {
  const { serverless, ...others } = overrides
  return Rig.start(postgres, { users, ...others, serverless: { host: '127.0.0.1', port: 0, ...serverless } })
}

const portOf = (rig: Rig): number => rig.test.pooler.addresses.serverless?.port ?? 0
const STARTUP = m.startup({ user: postgres.user, database: postgres.database })
const ALL_AT_ONCE = Buffer.concat([STARTUP, m.password(PASSWORD), m.query('select 7 as seven')])

/** A WebSocket, and the messages of Postgres that came over it. */
class Talk {
  readonly socket: TestWebSocket
  readonly said: m.BackendMessage[] = []
  readonly #parser = new m.BackendParser()

  constructor(socket: TestWebSocket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => this.said.push(...this.#parser.push(chunk)))
  }

  static async open(rig: Rig, options: UpgradeOptions = {}): Promise<Talk> {
    return new Talk(await TestWebSocket.open({ port: portOf(rig), ...options }))
  }

  get types(): string {
    return this.said.map(({ type }) => type).join('')
  }

  count(type: string): number {
    return this.said.filter((message) => message.type === type).length
  }

  until(isTrue: () => boolean): Promise<void> {
    return until(isTrue, () => this.types)
  }

  get error(): m.MessageOf<'E'> | undefined {
    return this.said.find((message) => message.type === 'E')
  }
}

const LOGIN_AND_ROW = /^RRS+KZTDCZ$/

describe('a login in one message', async () => {
  const rig = await rigWith({ pool: { size: 2 } })

  it('is answered in one message where the pool is warm, and the query behind it', async () => {
    await rig.healthy()
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, LOGIN_AND_ROW)
    const [asked, ok] = talk.said
    assert.deepEqual([asked?.type === 'R' && asked.method, ok?.type === 'R' && ok.method], [3, 0])
    const untilReady = talk.said.slice(0, talk.types.indexOf('Z') + 1)
    const bytes = untilReady.reduce((sum, { raw }) => sum + raw.length, 0)
    assert.equal(talk.socket.messages[0], bytes, 'the whole answer to the login in one message')
    assert.equal(talk.socket.messages.length, 2)
    talk.socket.destroy()
  })

  it('may be cut at every byte', async () => {
    const cuts = Array.from({ length: ALL_AT_ONCE.length - 1 }, (_, index) => index + 1)
    for (let at = 0; at < cuts.length; at += 20) {
      await Promise.all(
        cuts.slice(at, at + 20).map(async (cut) => {
          const talk = await Talk.open(rig)
          talk.socket.write(ALL_AT_ONCE.subarray(0, cut))
          await eventually(() => talk.socket.writableLength === 0)
          await new Promise((resolve) => setImmediate(resolve))
          talk.socket.write(ALL_AT_ONCE.subarray(cut))
          await talk.until(() => talk.count('Z') === 2)
          assert.match(talk.types, LOGIN_AND_ROW, `cut at ${cut}`)
          talk.socket.destroy()
        }),
      )
    }
  })

  it('with a query of 2 MB behind the password', async () => {
    const talk = await Talk.open(rig)
    const long = m.query(`select length('${'x'.repeat(2_000_000)}')`)
    talk.socket.write(Buffer.concat([STARTUP, m.password(PASSWORD), long]))
    await talk.until(() => talk.count('Z') === 2)
    const row = talk.said.find((message) => message.type === 'D')
    assert.equal(row?.values[0]?.toString(), '2000000')
    talk.socket.destroy()
  })

  it('in a dialogue it is the same', async () => {
    await using wire = await WireClient.connect(through(rig.test, postgres, { web: { port: portOf(rig) } }))
    assert.deepEqual((await wire.query('select 8')).rows, [['8']])
  })

  it('Terminate is answered with a close frame', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    const since = performance.now()
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    // Far below the times for which anything lingers.
    assert.ok(performance.now() - since < 1000)
  })

  it('a close frame without Terminate in a transaction rolls it back', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password(PASSWORD)]))
    await talk.until(() => talk.count('Z') === 1)
    talk.socket.write(m.query('begin; create table web_unfinished ()'))
    await talk.until(() => talk.count('Z') === 2)
    talk.socket.sayClose()
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    await rig.quiet()
    assert.equal(await rig.value("select count(*) from pg_class where relname = 'web_unfinished'"), '0')
  })

  it('a wrong password: one FATAL, time to read it, one close frame', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password('wrong'), m.query('select 1')]))
    await talk.until(() => talk.error !== undefined)
    assert.deepEqual([talk.types, talk.error?.code, talk.error?.severity], ['RE', '28P01', 'FATAL'])
    const { house } = rig.test.pooler
    assert.equal(house.visitors.size, 1, 'it counts as long as it is there')
    assert.equal(house.clients.size, 0)
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    assert.equal(house.visitors.size, 0)
    assert.equal(talk.socket.controls.length, 1)
  })

  it('who never says goodbye after a refusal is closed', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password('wrong'), m.query('select 1')]))
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
    assert.equal(talk.types, 'RE')
    await eventually(() => rig.test.pooler.house.visitors.size === 0)
  })
})

describe('who is not asked for a password', async () => {
  const rig = await rigWith({ client: { auth: 'trust' } })
  const ready = () => rig.healthy()

  it('and says one nevertheless is in', async () => {
    await ready()
    const talk = await Talk.open(rig)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, /^RS+KZTDCZ$/)
    talk.socket.destroy()
  })

  it('cut at every byte', async () => {
    for (let cut = STARTUP.length - 2; cut < ALL_AT_ONCE.length; cut++) {
      const talk = await Talk.open(rig)
      talk.socket.write(ALL_AT_ONCE.subarray(0, cut))
      if (cut >= STARTUP.length) await talk.until(() => talk.count('Z') === 1)
      talk.socket.write(ALL_AT_ONCE.subarray(cut))
      await talk.until(() => talk.count('Z') === 2)
      assert.match(talk.types, /^RS+KZTDCZ$/, `cut at ${cut}`)
      talk.socket.destroy()
    }
  })

  it('a second one is malformed', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.password('one'), m.password('two'), m.query('select 1')]))
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '08P01')
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
  })

  it('and so is one behind a query', async () => {
    const talk = await Talk.open(rig)
    talk.socket.write(Buffer.concat([STARTUP, m.query('select 1'), m.password('late')]))
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '08P01')
    talk.socket.destroy()
  })
})

describe('where others may listen', async () => {
  // A proxy that is not trusted forwards it: then it is not of this machine, and there is no TLS.
  const far = { headers: { 'X-Forwarded-For': '203.0.113.9' } }
  const rig = await rigWith()

  it('a password that was sent unasked is refused in words', async () => {
    const talk = await Talk.open(rig, far)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '28000')
    assert.match(
      talk.error?.message ?? '',
      /cleartext passwords are refused on an unencrypted WebSocket; use wss/,
    )
    talk.socket.write(m.terminate())
    assert.equal((await talk.socket.closeFrame)?.code, 1000)
  })

  it('SCRAM goes', async () => {
    const web = { port: portOf(rig), ...far }
    await using wire = await WireClient.connect(through(rig.test, postgres, { web }))
    const methods = wire.received.flatMap((message) => (message.type === 'R' ? [message.method] : []))
    assert.deepEqual(methods, [10, 11, 12, 0])
    assert.deepEqual((await wire.query('select 9')).rows, [['9']])
  })

  it('md5 is asked for where that is what is known', async () => {
    const other = await rigWith({ client: { auth: 'md5' } })
    const web = { port: portOf(other), ...far }
    await using wire = await WireClient.connect(through(other.test, postgres, { web }))
    const methods = wire.received.flatMap((message) => (message.type === 'R' ? [message.method] : []))
    assert.deepEqual(methods, [5, 0])
    const talk = await Talk.open(other, far)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.error !== undefined)
    assert.equal(talk.error?.code, '28000')
    talk.socket.destroy()
  })

  it('unless the operator does not mind', async () => {
    const other = await rigWith({ serverless: { insecurePasswords: true } })
    const talk = await Talk.open(other, far)
    talk.socket.write(ALL_AT_ONCE)
    await talk.until(() => talk.count('Z') === 2)
    assert.match(talk.types, LOGIN_AND_ROW)
    talk.socket.destroy()
  })
})

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
