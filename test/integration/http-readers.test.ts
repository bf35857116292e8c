// The same request read by us and by Node: status, headers and body of the answer are the same, whatever it
// is. Node reads those whose path has a question mark, which means nothing to who answers.
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { Found, PostReader } from '../../src/net/post-head.ts'
import { type Overrides, startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { Asker, ON, urlFor } from '../support/sql-over-http.ts'
import { until } from '../support/waits.ts'

const postgres = await getPostgres()
const ORIGIN = 'https://app.example'
const SERVERLESS = {
  ...ON,
  allowedOrigins: [ORIGIN],
  maxRequest: 20_000,
  maxResponse: 2e6,
  streamFrom: 200_000,
}
const start = async (overrides: Overrides = {}) => {
  const serverless = { ...SERVERLESS, ...overrides.serverless }
  const pooler = await startPooler(postgres.url, { ...overrides, serverless })
  after(() => pooler.stop())
  return { pooler: pooler.pooler, ask: new Asker(pooler, urlFor(postgres)) }
}

/** How many requests were read by us. */
let short = 0
const { read } = PostReader.prototype
PostReader.prototype.read = function (bytes) {
  const found = read.call(this, bytes)
  if (found === Found.Post && bytes.length === this.headLength + this.bodyLength) short++
  return found
}
after(() => {
  PostReader.prototype.read = read
})

interface Said {
  readonly head: string
  readonly body: string
}

/** An end of a connection that is kept: no client library changes what is sent or hides what comes. */
class Kept {
  readonly #socket: Socket
  #text = ''

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (piece: Buffer) => {
      this.#text += piece.toString('latin1')
    })
    socket.on('error', () => {})
  }

  async ask(path: string, url: string, { body, headers = {} }: Request): Promise<Said> {
    const all = {
      host: '127.0.0.1',
      'neon-connection-string': url,
      ...headers,
      'content-length': Buffer.byteLength(body),
    }
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#text = ''
    this.#socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
    await until(
      () => this.#isWhole() || this.#socket.destroyed,
      () => this.#text.slice(0, 500),
    )
    const end = this.#text.indexOf('\r\n\r\n')
    const head = this.#text
      .slice(0, end)
      .replace(/neon-request-id: [-0-9a-f]{36}/, 'neon-request-id: some')
      .replace(/Date: [^\r]{29}/, 'Date: some')
    return { head, body: withoutChunks(head, this.#text.slice(end + 4)) }
  }

  #isWhole(): boolean {
    const end = this.#text.indexOf('\r\n\r\n')
    if (end < 0) return false
    const length = /content-length: (\d+)/.exec(this.#text.slice(0, end))?.[1]
    return length === undefined
      ? this.#text.endsWith('\r\n0\r\n\r\n')
      : this.#text.length === end + 4 + Number(length)
  }
}

/** What was sent in chunks, which may be cut anywhere. */
function withoutChunks(head: string, body: string): string {
  if (!/transfer-encoding: chunked/i.test(head)) return body
  const pieces: string[] = []
  for (let at = 0; at < body.length; ) {
    const line = body.indexOf('\r\n', at)
    const length = Number.parseInt(body.slice(at, line), 16)
    pieces.push(body.slice(line + 2, line + 2 + length))
    at = line + 2 + length + 2
  }
  return pieces.join('')
}

interface Request {
  readonly body: string
  readonly headers?: Record<string, string>
}

const RAW = { 'neon-raw-text-output': 'true', 'neon-array-mode': 'true' }
const GZIP = { 'accept-encoding': 'gzip, deflate' }
const query = (text: string, params: unknown[] = []): string => JSON.stringify({ query: text, params })
const batch = (...texts: string[]): string =>
  JSON.stringify({ queries: texts.map((one) => ({ query: one })) })

const REQUESTS: [name: string, request: Request][] = [
  ['one row', { body: query('select $1::int as n', [1]), headers: RAW }],
  ['typed values', { body: query("select 1, true, null, 1.5::float8, '{1,2}'::int[], '{}'::json, 'ä\"'") }],
  ['other letters', { body: query('select \'ä€😀\' as "ö"', []), headers: RAW }],
  ['no rows', { body: query('select 1 where false') }],
  ['no columns', { body: query('select') }],
  ['a command', { body: query('create temp table t ()') }],
  ['an empty statement', { body: query('') }],
  ['an error', { body: query('select * from nothing_of_this_name'), headers: RAW }],
  ['an error with detail', { body: query("select '2020-13-13'::date") }],
  ['a batch', { body: batch('select 1', 'select 2') }],
  [
    'a batch with modes',
    {
      body: batch('show transaction_isolation', 'show transaction_read_only'),
      headers: {
        'neon-batch-isolation-level': 'Serializable',
        'neon-batch-read-only': 'true',
        'neon-batch-deferrable': 'true',
      },
    },
  ],
  ['a batch that fails', { body: batch('select 1', 'select 1/0') }],
  ['a statement that ends its transaction', { body: batch('select 1', 'commit') }],
  ['COPY', { body: query('copy pg_class to stdout') }],
  ['no JSON', { body: '{"query":' }],
  ['letters and bytes', { body: query("select chr(233), '\\xff'::bytea") }],
  [
    'an isolation that does not exist',
    { body: query('select 1'), headers: { 'neon-batch-isolation-level': 'x' } },
  ],
  ['a page that may', { body: query('select 1'), headers: { origin: ORIGIN } }],
  ['a page that may not', { body: query('select 1'), headers: { origin: 'https://other.example' } }],
  [
    'a wrong password',
    { body: query('select 1'), headers: { 'neon-connection-string': 'postgres://a:b@h/d' } },
  ],
  ['a token where none are taken', { body: query('select 1'), headers: { authorization: 'Bearer x.y.z' } }],
  ['no connection string', { body: query('select 1'), headers: { 'neon-connection-string': '' } }],
  ['a packed body', { body: query('select 1'), headers: { 'content-encoding': 'gzip' } }],
  ['a body that is too long', { body: query(`select 1 /* ${'x'.repeat(20_000)} */`) }],
  ['a long body', { body: query('select length($1)', ['x'.repeat(15_000)]) }],
  ['an answer that is not short', { body: query("select repeat('x', 50000)"), headers: RAW }],
  ['one that is packed', { body: query("select repeat('x', 50000)"), headers: { ...RAW, ...GZIP } }],
  [
    'an answer that leaves while it is made',
    { body: query("select repeat('x', 1000) from generate_series(1, 800)") },
  ],
  [
    'one that is packed while it is made',
    { body: query("select repeat('x', 1000) from generate_series(1, 800)"), headers: { ...RAW, ...GZIP } },
  ],
  ['an answer that is too long', { body: query("select repeat('x', 3000000)") }],
  ['many headers', { body: query('select 1'), headers: Object.fromEntries(manyHeaders()) }],
]

function manyHeaders(): [string, string][] {
  return Array.from({ length: 40 }, (_, n) => [`x-header-${n}`, `${n}`.repeat(n)])
}

const assertSame = (one: Said, other: Said): void => {
  assert.equal(one.head, other.head)
  const isPacked = one.head.includes('content-encoding: gzip')
  const text = ({ body }: Said) =>
    isPacked ? gunzipSync(Buffer.from(body, 'latin1')).toString('latin1') : body
  assert.equal(text(one), text(other))
}

describe('an answer is the same whoever has read its request:', async () => {
  const { ask } = await start()
  const ours = new Kept(await ask.socket())
  const nodes = new Kept(await ask.socket())
  for (const [name, request] of REQUESTS) {
    it(name, async () => {
      const before = short
      const one = await ours.ask('/sql', ask.url, request)
      assert.equal(short, before + 1, 'it was read by us')
      const other = await nodes.ask('/sql?', ask.url, request)
      assert.equal(short, before + 1)
      assertSame(one, other)
      // And on a connection whose head is known already.
      assertSame(await ours.ask('/sql', ask.url, request), other)
    })
  }

  it('after too many wrong passwords', async () => {
    const strict = await start({ serverless: { failureRate: 0.01, failureBurst: 1 } })
    const url = 'postgres://nobody:wrong@h/d'
    const both: Said[] = []
    for (const path of ['/sql', '/sql?']) {
      const kept = new Kept(await strict.ask.socket())
      for (const _ of [1, 2]) both.push(await kept.ask(path, url, { body: query('select 1') }))
    }
    const limited = both.filter(({ head }) => head.startsWith('HTTP/1.1 429'))
    const seconds = /retry-after: \d+/
    assert.equal(limited.length, 3)
    for (const { head } of limited) {
      assert.match(head, seconds)
      assert.equal(head.replace(seconds, ''), limited[0]!.head.replace(seconds, ''))
    }
  })

  it('while nobody is let in', async () => {
    const full = await start({ client: { memoryLimit: 1024 * 1024 } })
    await until(
      () => !full.pooler.ready().ok,
      () => 'memory is not short',
    )
    const request = { body: query('select 1') }
    const [one, other] = [new Kept(await full.ask.socket()), new Kept(await full.ask.socket())]
    const said = await one.ask('/sql', full.ask.url, request)
    assert.match(said.head, /^HTTP\/1\.1 503 [\s\S]*retry-after: 1/)
    assertSame(said, await other.ask('/sql?', full.ask.url, request))
  })

  it('while it stops', async () => {
    const stopping = await start()
    const [one, other] = [new Kept(await stopping.ask.socket()), new Kept(await stopping.ask.socket())]
    const request = { body: query("select 'last' from pg_sleep(0.5)") }
    const both = Promise.all([
      one.ask('/sql', stopping.ask.url, request),
      other.ask('/sql?', stopping.ask.url, request),
    ])
    await until(
      () => stopping.pooler.house.clients.size === 2,
      () => 'both run',
    )
    const drained = stopping.pooler.drain(10_000)
    const [said, byNode] = await both
    assert.match(said.head, /connection: close/)
    assertSame(said, byNode)
    await drained
  })
})
