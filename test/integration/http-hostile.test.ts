// Requests that nobody should send: each gets one clear answer or the end of its connection, and harms
// nobody else.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { AS_DRIVERS, Asker, ON, urlFor } from '../support/sql-over-http.ts'

const postgres = await getPostgres()
const ODD = { user: 'http+auth$$', password: '%+$^&*@!' }
const pooler = await startPooler(postgres.url, {
  serverless: { ...ON, maxRequest: 3_000_000, maxResponse: 500_000, maxQueries: 50 },
  client: { auth: 'password' },
  users: new Map([
    [postgres.user, { secret: postgres.password }],
    [ODD.user, { secret: ODD.password }],
  ]),
})
after(() => pooler.stop())
const url = urlFor(postgres)
const ask = new Asker(pooler, url)
const QUERY = '{"query":"select 1"}'

/** What a body of this kind is told. */
const told = async (body: string | Buffer, headers: Record<string, string> = {}) => {
  const { status, body: answer } = await ask.post(body, headers)
  return [status, answer.code, answer.message]
}

describe('a body', () => {
  const parse = 'could not parse the HTTP request body'
  const cases: [name: string, body: string | Buffer, status: number, message: RegExp][] = [
    ['none', '', 400, /not valid JSON/],
    ['half', '{"query":"sel', 400, /not valid JSON/],
    ['null', 'null', 400, /not an object/],
    ['an array', '[]', 400, /not an object/],
    ['empty', '{}', 400, /"query" or "queries" is missing/],
    ['a number for a query', '{"query":1}', 400, /"query" is not a string/],
    ['an object for params', '{"query":"select 1","params":{}}', 400, /"params" is not an array/],
    ['a text for arrayMode', '{"query":"select 1","arrayMode":"x"}', 400, /"arrayMode"/],
    ['an object for queries', '{"queries":{}}', 400, /"queries" is not an array/],
    ['a text in queries', '{"queries":[{"query":"select 1"},"x"]}', 400, /no object in queries\[1\]/],
    ['too many queries', `{"queries":[${Array(51).fill(QUERY)}]}`, 400, /50 queries, not 51/],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 400, /not valid UTF-8/],
    ['1,000 levels', `{"query":"select 1","params":[${'['.repeat(1000)}${']'.repeat(1000)}]}`, 400, /deeper/],
    ['a million levels', '['.repeat(1_000_000), 400, /deeper/],
    ['a zero byte in the text', '{"query":"select \\u0000"}', 400, /0x00/],
    ['a zero byte in a value', '{"query":"select $1","params":["a\\u0000b"]}', 400, /0x00/],
    ['half a surrogate', '{"query":"select $1","params":["\\ud800"]}', 400, /surrogate/],
    [
      '70,000 parameters',
      `{"query":"select 1","params":[${Array(70_000).fill(1)}]}`,
      400,
      /65535 parameters, not 70000/,
    ],
    [
      'too long',
      `{"query":"select 1 /* ${'x'.repeat(3_000_000)} */"}`,
      413,
      /request is too large \(max is 3000000/,
    ],
  ]
  for (const [name, body, status, message] of cases) {
    it(name, async () => {
      const [found, code, words] = await told(body)
      assert.deepEqual([found, typeof code], [status, 'string'])
      assert.match(String(words), message)
      if (String(words).startsWith(parse)) assert.equal(/select|xxx/.test(String(words)), false)
      assert.equal(await ask.value('select 1'), '1')
    })
  }

  it('of a length that was not told, that does not end', async () => {
    const head = `POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nNeon-Connection-String: ${url}\r\n`
    const socket = await ask.socket()
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`)
    const piece = `10000\r\n${'x'.repeat(0x10000)}\r\n`
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes
    })
    for (let count = 0; count < 60; count++) socket.write(piece)
    await new Promise((resolve) => socket.once('data', resolve))
    assert.match(text, /^HTTP\/1\.1 413 /)
    socket.destroy()
  })

  it('that is compressed is not taken', async () => {
    const [status, , message] = await told(QUERY, { 'content-encoding': 'gzip' })
    assert.equal(status, 415)
    assert.match(String(message), /Content-Encoding/)
  })

  it('65,535 parameters are taken', async () => {
    const params = Array.from({ length: 65_535 }, () => '1')
    const list = params.map((_, place) => `$${place + 1}::int`).join('+')
    const { status, body } = await ask.sql(
      `select array_length(array[$1,${list.split('+').slice(1).join(',')}], 1)`,
      params,
    )
    assert.equal(status, 200, body.message)
    assert.deepEqual(body.rows, [['65535']])
  })
})

describe('a header', () => {
  const strings: [name: string, text: string, message: RegExp][] = [
    ['no scheme', 'db/x', /incorrect scheme/],
    ['another scheme', 'mysql://u:p@h/db', /incorrect scheme/],
    ['no host', 'postgres:///db', /missing hostname/],
    ['no host but a user', 'postgres://u:p@/db', /missing hostname/],
    ['no database', 'postgres://u:p@h', /missing database name/],
    ['no database but a slash', 'postgres://u:p@h/', /missing database name/],
    ['no user', 'postgres://h/db', /missing username/],
    ['a bad percent sign', 'postgres://u:%zz@h/db', /percent sign/],
    ['percent-encoding that is no UTF-8', 'postgres://u:%ff@h/db', /percent sign/],
    ['a bad percent sign in a parameter', 'postgres://u:p@h/db?a=%', /percent sign/],
    ['a zero byte', 'postgres://u:p@h/d%00b', /zero byte/],
    ['a port that is none', 'postgres://u:p@h:x/db', /not a URL/],
    ['nothing but a scheme', 'postgres://', /missing hostname/],
  ]
  for (const [name, text, message] of strings) {
    it(`connection string: ${name}`, async () => {
      const [status, , words] = await told(QUERY, { 'neon-connection-string': text })
      assert.equal(status, 400)
      assert.match(String(words), message)
    })
  }

  it('connection string: none', async () => {
    const answer = await ask.raw(
      'POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    )
    assert.match(answer, /^HTTP\/1\.1 400 [\s\S]*"message":"invalid header: neon-connection-string"/)
  })

  it('user and password are decoded once, and a plus sign is one', async () => {
    const login = `http+auth%24$:${encodeURIComponent(ODD.password)}`
    const text = `postgres://${login}@h/${postgres.database}`
    const { status, body } = await ask.sql('select 1', [], { 'neon-connection-string': text })
    assert.equal(status, 200, body.message)
  })

  it('an isolation level that does not exist, with a single query too', async () => {
    for (const level of ['Snapshot', 'serializable', "Serializable'; drop table x; --", 'READ COMMITTED']) {
      const { status, body } = await ask.batch(['select 1'], { 'neon-batch-isolation-level': level })
      assert.deepEqual([status, body.code, body.message], [400, '22023', 'invalid isolation level'])
    }
    const single = await ask.sql('select 1', [], { 'neon-batch-isolation-level': 'x' })
    assert.equal(single.status, 400)
  })

  it('40 KiB of them', async () => {
    const head = `POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ${'x'.repeat(40 * 1024)}\r\n\r\n`
    assert.match(await ask.raw(head), /^HTTP\/1\.1 431 /)
    assert.equal(await ask.value('select 1'), '1')
  })
})

describe('another path or method', () => {
  it('is told where it is wrong, in JSON', async () => {
    const at = `http://${ask.host}:${ask.port}`
    for (const [path, method, status] of [
      ['/', 'GET', 404],
      ['/sql/x', 'POST', 404],
      ['/sql', 'GET', 405],
      ['/sql', 'DELETE', 405],
    ] as const) {
      const answer = await fetch(at + path, { method })
      assert.equal(answer.status, status)
      assert.match(((await answer.json()) as { message: string }).message, /POST \/sql/)
    }
    assert.equal((await fetch(`${at}/sql?x=1`, { method: 'POST', body: QUERY })).status, 400)
  })
})

describe('smuggling', () => {
  const head = `POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nNeon-Connection-String: ${url}\r\n`
  const hidden = `POST /sql HTTP/1.1\r\nHost: x\r\n\r\n`
  const cases: [name: string, bytes: string][] = [
    ['two lengths', `${head}Content-Length: 20\r\nContent-Length: 0\r\n\r\n${QUERY}`],
    [
      'a length and chunks',
      `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    ['bare line feeds', `${head.replaceAll('\r\n', '\n')}Content-Length: 20\n\n${QUERY}`],
    ['a blank in front of the colon', `${head}Content-Length : 20\r\n\r\n${QUERY}`],
    ['an encoding that is none', `${head}Transfer-Encoding: xchunked\r\n\r\n${QUERY}`],
    ['a negative length', `${head}Content-Length: -1\r\n\r\n${QUERY}`],
    ['a chunk of no length', `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n${QUERY}\r\n0\r\n\r\n`],
    ['no protocol', `\x16\x03\x01\x00\x05hello`],
  ]
  for (const [name, bytes] of cases) {
    it(name, async () => {
      const before = pooler.pooler.gauges().clients.login
      const answer = await ask.raw(bytes)
      assert.match(answer, /^HTTP\/1\.1 400 /)
      assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, answer)
      assert.equal(pooler.pooler.gauges().clients.login, before)
    })
  }
})

describe('an answer that is too large', () => {
  it('is refused while nothing is sent, and its statement ended', async () => {
    const { status, body } = await ask.sql("select repeat('x', 100000) from generate_series(1, 100000)")
    assert.equal(status, 507)
    assert.equal(body.message, 'response is too large (max is 500000 bytes)')
    const one = await ask.sql("select repeat('x', 2000000)")
    assert.equal(one.status, 507)
    assert.equal(await ask.value('select 1'), '1')
  })

  it('just at the limit is sent', async () => {
    const { status, bytes } = await ask.sql("select repeat('x', 499000)")
    assert.equal(status, 200)
    assert.ok(bytes.length < 500_000)
  })
})

describe('secrets', () => {
  it('of a connection string are in no answer and in no log line', async () => {
    const secret = 'pw-that-nobody-may-see'
    const bad = `postgres://someone:${secret}@h/${postgres.database}`
    const texts = [
      await ask.post(QUERY, { ...AS_DRIVERS, 'neon-connection-string': bad }),
      await ask.post(QUERY, { 'neon-connection-string': `${bad}%zz` }),
      await ask.post(`{"query":"${secret}`, {}),
      await ask.post(QUERY, { authorization: `Bearer ${secret}` }),
    ].map(({ bytes }) => bytes.toString())
    for (const text of texts) assert.equal(text.includes(secret), false, text)
    assert.equal(JSON.stringify(pooler.lines).includes(secret), false)
  })
})
