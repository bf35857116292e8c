// Servers that say what no Postgres would say: the pooler closes them, tells the client concerned once and
// clearly, and hands no byte of theirs to anybody else. Must never need a real Postgres to go wrong.
import assert from 'node:assert/strict'
import { after, afterEach, before, suite, test } from 'node:test'
import { CHOPPED, CHOPS, startPooler, type TestPooler } from '../support/pooler.ts'
import { notRun } from '../support/postgres.ts'
import { errorOf, parameter, Rogue, WELCOME } from '../support/rogue.ts'
import * as m from '../support/messages.ts'
import { until } from '../support/waits.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const AUTH_OK = m.message('R', Buffer.alloc(4))
const READY = m.message('Z', 'I')

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

suite('hostile servers', () => {
  let rogue: Rogue
  let pooler: TestPooler

  before(async () => {
    rogue = await Rogue.open()
    pooler = await startPooler(
      `postgres://postgres:secret@127.0.0.1:${rogue.port}/postgres?sslmode=disable`,
      {
        client: { auth: 'trust' },
        upstream: { connectTimeoutMs: 300 },
        pool: { size: 1, serverCheckDelayMs: 0, queryWaitTimeoutMs: 3000 },
      },
    )
  })
  afterEach(async () => {
    // The next one is a proper server again, and everything works.
    rogue.script = {}
    for (const entry of pooler.pooler.router.entries()) entry.pool.evict('next test')
    const client = await connect(5000)
    const { error, status } = await client.query('select 1')
    assert.equal(error, null)
    assert.equal(status, 'I')
    await client.end()
    for (const entry of pooler.pooler.router.entries()) entry.pool.evict('next test')
    await until(
      () => rogue.sockets.size === 0,
      () => `${rogue.sockets.size} servers`,
    )
    assert.deepEqual(
      pooler.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })
  after(async () => {
    await pooler.stop()
    await rogue.close()
  })

  function connect(timeout = 10_000): Promise<WireClient> {
    return WireClient.connect({
      host: pooler.host,
      port: pooler.port,
      user: 'postgres',
      database: 'postgres',
      timeout,
    })
  }

  /** The error of a login while the server behaves like this at its own. */
  async function refusedLogin(
    said: Buffer | null,
    onMessage: NonNullable<Rogue['script']['onMessage']> = () => null,
  ): Promise<LoginError> {
    rogue.script = { onStart: () => said, onMessage }
    // A session of another baseline: it cannot enter without a server.
    const { host, port } = pooler
    const options = {
      host,
      port,
      user: 'postgres',
      database: 'postgres',
      params: { options: `-c a.b=${Math.random()}` },
    }
    const error = await WireClient.connect(options).then(
      (client) => assert.fail(`logged in: ${client.pid}`),
      (reason: unknown) => reason,
    )
    assert.ok(error instanceof LoginError, String(error))
    assert.equal(error.messages.filter(({ type }) => type === 'E').length, 1)
    return error
  }

  const scram = (...parts: (Buffer | string)[]) => m.message('R', ...parts)
  const LOGINS: [string, Buffer, RegExp][] = [
    ['garbage', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /protocol|08001/],
    ['a length of -2', Buffer.concat([Buffer.from('R'), int32(-2)]), /protocol/],
    [
      'an endless message',
      Buffer.concat([Buffer.from('E'), int32(1_000_000_000), Buffer.alloc(200_000, 0x41)]),
      /endless/,
    ],
    [
      'endless parameters',
      Buffer.concat([AUTH_OK, ...Array.from({ length: 2000 }, (_, i) => parameter(`p${i}`, 'x'))]),
      /endless|protocol/,
    ],
    ['ReadyForQuery before any authentication', READY, /before the login/],
    ['parameters before any authentication', parameter('a', 'b'), /ParameterStatus/],
    ['a row', Buffer.concat([AUTH_OK, m.message('D', '\0\0')]), /protocol/],
    ['an unknown authentication', m.message('R', int32(99)), /./],
    ['a truncated authentication', m.message('R', '\0\0'), /./],
    ['a cancel key of two bytes', Buffer.concat([AUTH_OK, m.message('K', '\0\0'), READY]), /cancel key/],
    ['an error without SQLSTATE', errorOf({ S: 'FATAL', M: 'go away' }), /08006.*go away/],
    ['an error without any field', m.message('E', '\0'), /08006.*without a reason/],
    ['an error of broken fields', m.message('E', 'Mno end'), /08006/],
    ['SASL without a mechanism', scram(int32(10), '\0'), /./],
    ['SASL with unknown mechanisms', scram(int32(10), 'SCRAM-SHA-999\0\0'), /./],
    ['SASLContinue out of order', scram(int32(11), 'r=x,s=eA==,i=4096'), /./],
    ['SASLFinal out of order', scram(int32(12), 'v=eA=='), /./],
  ]
  for (const [name, said, expected] of LOGINS) {
    test(`at the login: ${name}`, async () => {
      const error = await refusedLogin(said)
      assert.match(error.message, expected)
      assert.doesNotMatch(error.message, /secret/)
    })
  }

  const FIRSTS: [string, (nonce: string) => string][] = [
    ['a nonce of its own', () => 'r=somebodyelse,s=c2FsdA==,i=4096'],
    ['the nonce without anything added', (nonce) => `r=${nonce},s=c2FsdA==,i=4096`],
    ['a thousand million iterations', (nonce) => `r=${nonce}abc,s=c2FsdA==,i=1000000000`],
    ['no iterations', (nonce) => `r=${nonce}abc,s=c2FsdA==,i=0`],
    ['a broken salt', (nonce) => `r=${nonce}abc,s=!!!,i=4096`],
    ['an extension that must be understood', (nonce) => `m=x,r=${nonce}abc,s=c2FsdA==,i=4096`],
  ]
  for (const [name, first] of FIRSTS) {
    test(`SCRAM: ${name}`, async () => {
      const nonceOf = (message: Buffer) => /r=([^,]+)/.exec(message.toString())?.[1] ?? ''
      const started = performance.now()
      const error = await refusedLogin(scram(int32(10), 'SCRAM-SHA-256\0\0'), (_socket, message) =>
        scram(int32(11), first(nonceOf(message))),
      )
      assert.ok(['28000', '28P01', '08001', '08P01', '08006'].includes(error.code), error.message)
      assert.ok(performance.now() - started < 3000, 'no work was done for it')
    })
  }

  const isQuery = (message: Buffer, text: string) => message[0] === 0x51 && message.includes(text)

  const ANSWERS: [string, Buffer][] = [
    ['garbage', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a DataRow of length -2', Buffer.concat([Buffer.from('D'), int32(-2)])],
    ['a length of 3', Buffer.concat([Buffer.from('C'), int32(3)])],
    ['an unknown type', m.message('!', 'x')],
    ['an answer to a Parse', m.message('1')],
    ['an answer to a Bind', m.message('2')],
    ['a parameter description', m.message('t', '\0\0')],
    ['a second login', AUTH_OK],
    ['ReadyForQuery of a length of its own', m.message('Z', 'II')],
    ['a broken ParameterStatus', m.message('S', 'name without end')],
  ]
  for (const [name, said] of ANSWERS) {
    test(`as an answer: ${name}`, async () => {
      const client = await connect()
      rogue.script = { onMessage: (_socket, message) => (isQuery(message, 'provoke') ? said : null) }
      const { error, status, rows } = await client.query('provoke')
      assert.equal(error?.code, '08006')
      assert.equal(error?.severity, 'ERROR')
      assert.deepEqual(rows, [])
      assert.equal(status, 'I')
      rogue.script = {}
      assert.equal((await client.query('select 1')).error, null, 'the client goes on, on another server')
      await client.end()
    })
  }

  test('an error without SQLSTATE, or with endless fields, reaches its client as it is', async () => {
    const client = await connect()
    const fields = 'Dx\0'.repeat(20_000)
    for (const said of [errorOf({ S: 'ERROR', M: 'odd' }), m.message('E', `SERROR\0Modd\0${fields}\0`)]) {
      rogue.script = {
        onMessage: (_socket, message) => (isQuery(message, 'provoke') ? Buffer.concat([said, READY]) : null),
      }
      const { error, status } = await client.query('provoke')
      assert.equal(error?.message, 'odd')
      assert.equal(status, 'I')
    }
    await client.end()
  })

  const STRAYS: [string, Buffer][] = [
    ['ReadyForQuery', READY],
    ['rows', m.message('D', '\0\0')],
    ['a command tag', m.message('C', 'SELECT 1\0')],
    ['an error', errorOf({ S: 'ERROR', V: 'ERROR', C: 'XX000', M: 'for nobody' })],
    ['COPY data', m.message('d', 'x')],
    ['a part of a header', Buffer.from('Z\0\0')],
    ['half a message', Buffer.concat([Buffer.from('D'), int32(100), Buffer.from('half')])],
  ]
  for (const [name, said] of STRAYS) {
    test(`on an idle server: ${name} that nobody asked for`, async () => {
      const client = await connect()
      await client.query('select 1')
      client.received.length = 0
      const [before] = rogue.sockets
      rogue.say(said)
      await until(
        () => !rogue.sockets.has(before as never),
        () => 'it is still open',
      )
      const { error, messages } = await client.query('select 2')
      assert.equal(error, null)
      assert.deepEqual(
        messages.map(({ type }) => type),
        ['C', 'Z'],
      )
      await client.end()
    })

    test(`behind an answer: ${name} that nobody asked for`, async (t) => {
      // Behind a gap it is the answer to what was asked in between.
      if (CHOPS) return notRun(t, CHOPPED)
      const first = await connect()
      const second = await connect()
      rogue.script = {
        onMessage: (_socket, message) =>
          isQuery(message, 'provoke') ? Buffer.concat([m.message('C', 'SELECT 0\0'), READY, said]) : null,
      }
      first.send(m.query('provoke'))
      second.send(m.query('select 2'))
      const types = async (client: WireClient) => (await client.until()).map(({ type }) => type)
      const answers = [await types(first), await types(second)]
      rogue.script = {}
      assert.deepEqual(answers[1], ['C', 'Z'], 'the next client gets its own answer only')
      assert.ok(answers[0]?.join('') === 'CZ' || answers[0]?.join('') === 'E', answers[0]?.join(''))
      assert.deepEqual(second.drain(), [])
      await Promise.all([first.end(), second.end()])
    })
  }

  test('on an idle server: parameters, notices and notifications reach nobody', async (t) => {
    // Half a message closes an idle server.
    if (CHOPS) return notRun(t, CHOPPED)
    const client = await connect()
    await client.query('select 1')
    client.received.length = 0
    const notice = m.message('N', 'SNOTICE\0C00000\0Mfor nobody\0\0')
    const notification = m.message('A', int32(1), 'channel\0for nobody\0')
    const said = Buffer.concat([notice, notification, parameter('TimeZone', 'Asia/Tokyo')])
    const read = () => [...pooler.pooler.router.entries()][0]?.counters.bytesFromServers ?? 0
    const before = read()
    rogue.say(said)
    await until(
      () => read() === before + said.length,
      () => 'it was not read',
    )
    const { error, messages } = await client.query('select 2')
    assert.equal(error, null)
    const types = messages.map(({ type }) => type).filter((type) => type !== 'S')
    assert.deepEqual(types, ['C', 'Z'])
    await client.end()
  })

  test('bytes in the clear behind the answer to SSLRequest are not believed', async () => {
    const strict = await startPooler(
      `postgres://postgres:secret@127.0.0.1:${rogue.port}/postgres?sslmode=require`,
      {
        client: { auth: 'trust' },
      },
    )
    for (const [said, expected] of [
      [Buffer.concat([Buffer.from('S'), WELCOME]), /in the clear/],
      [Buffer.from('N'), /does not support TLS/],
      [Buffer.concat([Buffer.from('N'), WELCOME]), /in the clear|does not support TLS/],
      [errorOf({ S: 'FATAL', C: '57P03', M: 'starting' }), /./],
    ] as const) {
      rogue.script = { onStart: () => said }
      const login = WireClient.connect({
        host: strict.host,
        port: strict.port,
        user: 'postgres',
        database: 'postgres',
      })
      await assert.rejects(
        login,
        (error: LoginError) => expected.test(error.message) && error.code === '08001',
      )
    }
    await strict.stop()
  })

  test('a server that says nothing at all is given up after connect_timeout', async () => {
    const error = await refusedLogin(null)
    assert.equal(error.code, '08001')
    assert.match(error.message, /longer than 300 ms/)
  })
})
