// WebSockets that break the rules of their protocol, and upgrades that are none: each is told so and closed
// with the right code, and nobody else notices. Must never use a library for what is sent.
import assert from 'node:assert/strict'
import { after, afterEach, before, suite, test } from 'node:test'
import { through } from '../support/compare.ts'
import { Healthy } from '../support/healthy.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { Rig } from '../support/rig.ts'
import { until } from '../support/waits.ts'
import { askForUpgrade, frame, Op, openRaw, TestWebSocket } from '../support/web-socket.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const rig = await Rig.start(postgres, {
  client: { auth: 'trust' },
  pool: { size: 2 },
  serverless: { host: '127.0.0.1', port: 0 },
})
const { pooler } = rig.test
const port = pooler.addresses.serverless?.port ?? 0
const STARTUP = m.startup({ user: postgres.user, database: postgres.database })
const NOTHING = Buffer.alloc(0)

const open = (): Promise<TestWebSocket> => TestWebSocket.open({ port })

/** A client that has logged in. */
async function client(frameBytes = Number.POSITIVE_INFINITY): Promise<WireClient> {
  return WireClient.connect(through(rig.test, postgres, { web: { port, frameBytes } }))
}

suite('frames', () => {
  let healthy: Healthy
  before(async () => {
    healthy = await Healthy.start(through(rig.test, postgres))
  })
  afterEach(async () => {
    await healthy.goesOn()
    const { house } = pooler
    await until(
      () => house.clients.size === 1 && house.visitors.size === 0,
      () => `${house.clients.size} clients, ${house.visitors.size} visitors`,
    )
  })
  after(() => healthy.stop())

  const mask = Buffer.from([1, 2, 3, 4])
  const text = Buffer.from('hello')
  const wrong: Record<string, [code: number, reason: RegExp, ...bytes: Buffer[]]> = {
    'a text message': [1003, /binary/, frame(text, { opcode: Op.Text })],
    'a frame without a mask': [1002, /mask/, frame(STARTUP, { mask: null })],
    'a compressed message (RSV1)': [1002, /reserved/, frame(text, { reserved: 0x40 })],
    RSV2: [1002, /reserved/, frame(text, { reserved: 0x20 })],
    RSV3: [1002, /reserved/, frame(text, { reserved: 0x10 })],
    'an unknown kind of message': [1002, /kind 3/, frame(text, { opcode: 3 })],
    'an unknown kind of control frame': [1002, /kind 11/, frame(text, { opcode: 11 })],
    'a long ping': [1002, /125/, frame(Buffer.alloc(126), { opcode: Op.Ping })],
    'a fragmented ping': [1002, /fragmented/, frame(text, { opcode: Op.Ping, fin: false })],
    'a continuation of nothing': [1002, /continued/, frame(text, { opcode: Op.Continuation })],
    'a message in another': [1002, /inside/, frame(NOTHING, { fin: false }), frame(text)],
    'text in a binary message': [
      1002,
      /inside/,
      frame(NOTHING, { fin: false }),
      frame(text, { opcode: Op.Text }),
    ],
    'a length with the top bit': [1002, /length/, frame(NOTHING, { length: 1n << 63n })],
    'a length of 2^53': [1002, /length/, frame(NOTHING, { length: 1n << 53n })],
    'a close frame of one byte': [1002, /^$/, frame(Buffer.from([3]), { opcode: Op.Close })],
    'a close code that is none': [1002, /^$/, frame(Buffer.from([0, 1]), { opcode: Op.Close })],
  }
  for (const [name, [code, reason, ...bytes]] of Object.entries(wrong)) {
    for (const when of ['at once', 'after the login', 'byte by byte']) {
      test(`${name}, ${when}: closed with ${code}`, async () => {
        const socket = await open()
        socket.resume()
        if (when === 'after the login') socket.raw(frame(STARTUP))
        const all = Buffer.concat(bytes)
        if (when === 'byte by byte') for (const byte of all) socket.raw(Buffer.from([byte]))
        else socket.raw(all)
        const said = await socket.closeFrame
        assert.equal(said?.code, code)
        assert.match(said?.reason ?? '-', reason)
      })
    }
  }

  test('a length that is announced and never sent costs nothing', async () => {
    const before = process.memoryUsage().rss
    const sockets = await Promise.all(Array.from({ length: 50 }, open))
    for (const socket of sockets) socket.raw(frame(text, { length: 1n << 40n, mask }))
    await healthy.goesOn()
    assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024)
    for (const socket of sockets) socket.destroy()
  })

  test('a ping is answered with its payload, also within a message', async () => {
    await using wire = await client()
    const socket = await open()
    socket.raw(frame(STARTUP.subarray(0, 5), { fin: false }), frame(text, { opcode: Op.Ping }))
    await until(
      () => socket.controls.length > 0,
      () => 'no pong',
    )
    assert.deepEqual(socket.controls, [{ opcode: Op.Pong, payload: text }])
    socket.raw(frame(STARTUP.subarray(5), { opcode: Op.Continuation }))
    await until(
      () => socket.messages.length > 0,
      () => 'no login',
    )
    socket.destroy()
    assert.equal((await wire.query('select 1')).tag, 'SELECT 1')
  })

  const floods: Record<string, Buffer> = {
    pings: frame(text, { opcode: Op.Ping }),
    'pongs that nobody asked for': frame(NOTHING, { opcode: Op.Pong }),
    'empty messages': frame(NOTHING),
  }
  for (const [name, one] of Object.entries(floods)) {
    test(`a flood of ${name} is cut off`, async () => {
      const socket = await open()
      socket.resume()
      socket.raw(...Array.from({ length: 20_000 }, () => one))
      assert.equal((await socket.closeFrame)?.code, 1008)
    })
  }

  test('a million empty fragments are cut off', async () => {
    const socket = await open()
    socket.resume()
    const many = Buffer.concat(
      Array.from({ length: 10_000 }, () => frame(NOTHING, { opcode: Op.Continuation, fin: false })),
    )
    socket.raw(frame(NOTHING, { fin: false }))
    for (let count = 0; count < 100; count++) socket.raw(many)
    assert.equal((await socket.closeFrame)?.code, 1008)
  })

  test('a session cut into frames anywhere, with pings between, is the same session', async () => {
    const random = new Prng(7)
    for (let round = 0; round < 20; round++) {
      const socket = await open()
      const parsed = m.parse('select $1::text || $2')
      const bound = m.bind({ params: ['a', 'b'.repeat(300)] })
      const all = Buffer.concat([STARTUP, parsed, bound, m.describe('P'), m.execute(), m.sync()])
      for (let at = 0, isFirst = true; at < all.length; isFirst = false) {
        const size = random.below(90)
        const fin = at + size >= all.length
        const opcode = isFirst ? Op.Binary : Op.Continuation
        socket.raw(frame(all.subarray(at, at + size), { fin, opcode }))
        if (random.below(5) === 0) socket.raw(frame(text, { opcode: Op.Ping }))
        at += size
      }
      const parser = new m.BackendParser()
      const said: m.BackendMessage[] = []
      socket.on('data', (chunk: Buffer) => said.push(...parser.push(chunk)))
      const count = (type: string) => said.filter((message) => message.type === type).length
      await until(
        () => count('Z') === 2,
        () => said.map(({ type }) => type).join(''),
      )
      assert.deepEqual([count('1'), count('2'), count('T'), count('D'), count('C')], [1, 1, 1, 1, 1])
      socket.destroy()
    }
  })

  test('one byte per frame', async () => {
    await using wire = await client(1)
    assert.deepEqual((await wire.extended('select $1::int + 1', ['41'])).rows, [['42']])
  })

  test('what comes behind a close frame is not read', async () => {
    const socket = await open()
    socket.resume()
    socket.raw(
      frame(STARTUP),
      frame(Buffer.from([3, 233]), { opcode: Op.Close }),
      frame(m.query('create table web_ghost ()')),
    )
    assert.equal((await socket.closeFrame)?.code, 1001, 'the same code comes back')
    await healthy.goesOn()
    assert.equal(await rig.value("select count(*) from pg_class where relname = 'web_ghost'"), '0')
  })
})

suite('upgrades', () => {
  const ask = (headers: Record<string, string | undefined>, path = '/v2') =>
    askForUpgrade({ port, path, headers })

  for (const path of ['/', '/v1', '/v2', '/sql', '/any/thing?x=1&address=h:1', '/%zz?%zz&address=%']) {
    test(`a WebSocket is opened on ${path}`, async () => {
      await using wire = await WireClient.connect(through(rig.test, postgres, { web: { port, path } }))
      assert.equal((await wire.query('select 1')).tag, 'SELECT 1')
    })
  }

  const right: Record<string, Record<string, string>> = {
    'Connection as a list': { Connection: 'keep-alive, Upgrade' },
    'Connection in small letters': { Connection: 'upgrade' },
    'Upgrade in capitals': { Upgrade: 'WEBSOCKET' },
    'an offer of compression': { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' },
    'headers of 30 KiB': { 'X-Long': 'x'.repeat(30 * 1024) },
  }
  for (const [name, headers] of Object.entries(right)) {
    test(`${name} is right`, async () => {
      const { status, headers: said, socket } = await ask(headers)
      socket.destroy()
      assert.equal(status, 101)
      assert.equal(said.get('sec-websocket-extensions'), undefined, 'nothing is compressed')
      assert.equal(said.get('sec-websocket-protocol'), undefined, 'none was offered')
    })
  }

  test('the subprotocol binary is taken where it is offered, and no other', async () => {
    for (const [offered, taken] of [
      ['binary', 'binary'],
      ['base64, binary', 'binary'],
      ['postgres', undefined],
      [',,  ,', undefined],
    ]) {
      const { headers, socket } = await ask({ 'Sec-WebSocket-Protocol': offered })
      socket.destroy()
      assert.equal(headers.get('sec-websocket-protocol'), taken)
    }
  })

  const wrong: Record<string, [status: number, headers: Record<string, string | undefined>]> = {
    'no version': [426, { 'Sec-WebSocket-Version': undefined }],
    'an old version': [426, { 'Sec-WebSocket-Version': '8' }],
    'no key': [400, { 'Sec-WebSocket-Key': undefined }],
    'a short key': [400, { 'Sec-WebSocket-Key': 'AAAA' }],
    'headers of 40 KiB': [431, { 'X-Long': 'x'.repeat(40 * 1024) }],
    'two lengths': [400, { 'Content-Length': '5', 'content-length': '6' }],
    'a length and chunks': [400, { 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }],
  }
  for (const [name, [status, headers]] of Object.entries(wrong)) {
    test(`${name}: ${status}, and why`, async () => {
      const answer = await ask(headers)
      assert.equal(answer.status, status)
      const { message } = JSON.parse((await answer.body).toString()) as { message: string }
      assert.ok(message.length > 10, message)
      assert.equal(answer.headers.get('connection'), 'close')
    })
  }

  test('an offer of another protocol is declined by an ordinary answer', async () => {
    const { status, socket } = await ask({ Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings' })
    socket.destroy()
    assert.ok(status >= 400 && status < 500, String(status))
  })

  test('what is no HTTP gets an answer of HTTP', async () => {
    const socket = await openRaw({ port })
    socket.write(STARTUP)
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1.1 400 [\s\S]*\{"message":"this is not HTTP/)
  })
})
