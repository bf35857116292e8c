// The table "What went wrong" of docs/serverless.md, row by row: what is said there is what comes. Must never
// take words from the code: it looks for them in the page.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { WebSocket } from 'ws'
import { stage } from '../support/compare.ts'
import { DRIVERS, endpointOf, errorOf, HOST, on, resetAfterEach, urlOf } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'
import { freePort } from '../support/program.ts'
import { WireClient } from '../support/wire-client.ts'

const PAGE = readFileSync(new URL('../../docs/serverless.md', import.meta.url), 'utf8')
const TABLE = PAGE.slice(PAGE.indexOf('## What went wrong'))
/** An address of nobody, as a proxy would tell it. */
const ELSEWHERE = { 'x-forwarded-for': '192.0.2.1' }

const postgres = await getPostgres()
const url = urlOf(postgres)
const { pooler } = await stage(postgres, 'one', {
  pool: { size: 1, queryWaitTimeoutMs: 800 },
  serverless: on({
    maxRequest: 10_000,
    maxResponse: 10_000,
    streamFrom: 100_000,
    queryTimeoutMs: 1500,
    addresses: [{ address: 'known.example:5432', database: postgres.database }],
    failureBurst: 5,
    failureRate: 1,
  }),
})
const endpoint = `http://${endpointOf(pooler)}`
const { neon, neonConfig, Client } = DRIVERS[0]!.neon
resetAfterEach()

/** Fails where the page does not say this. */
function isTold(...words: string[]): void {
  for (const text of words) assert.ok(TABLE.includes(`\`${text}\``), `the page says \`${text}\``)
}

interface Answer {
  readonly status: number
  readonly retryAfter: string | null
  readonly body: Readonly<Record<string, string | null>>
}

/** One request, with headers of its own. */
async function ask(body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const given = {
    'neon-connection-string': url,
    'neon-raw-text-output': 'true',
    'neon-array-mode': 'true',
    ...headers,
  }
  const response = await fetch(`${endpoint}/sql`, {
    method: 'POST',
    headers: given,
    body: JSON.stringify(body),
  })
  const retryAfter = response.headers.get('retry-after')
  return { status: response.status, retryAfter, body: (await response.json()) as Answer['body'] }
}

const query = (text: string) => ({ query: text, params: [] })

/** The request fails with this, and the page knows it. */
async function fails(
  status: number,
  code: string,
  message: string,
  [body, headers]: [unknown, Record<string, string>?],
): Promise<Answer> {
  const answer = await ask(body, headers)
  assert.deepEqual([answer.status, answer.body.code, answer.body.message], [status, code, message])
  isTold(code, message)
  return answer
}

suite('the driver cannot reach it', () => {
  test('nothing listens there', async () => {
    neonConfig.fetchEndpoint = `http://127.0.0.1:${await freePort()}/sql`
    const error = await errorOf(neon(url)`select 1`, Error)
    assert.equal(error.message, 'Error connecting to database: TypeError: fetch failed')
    isTold(error.message, 'ECONNREFUSED')
    const { sourceError } = error as Error & { sourceError: { cause: { code: string } } }
    assert.equal(sourceError.cause.code, 'ECONNREFUSED')
  })

  test('another path than /sql', async () => {
    neonConfig.fetchEndpoint = endpoint
    const { message } = await errorOf(neon(url)`select 1`, Error)
    const [, what = '', json = ''] = /^(.*?): (.*)$/.exec(message) ?? []
    isTold(what, (JSON.parse(json) as { message: string }).message)
  })
})

suite('who may not come in', () => {
  test('a password without TLS from elsewhere, over HTTP', async () => {
    const words = 'a password in the clear is taken over TLS only'
    const { body } = await fails(400, '28000', words, [query('select 1'), ELSEWHERE])
    assert.match(body.hint ?? '', /serverless\.trust_proxy/)
  })

  test('and over a WebSocket', async () => {
    neonConfig.wsProxy = () => `${endpointOf(pooler)}/v2`
    neonConfig.useSecureWebSocket = false
    neonConfig.webSocketConstructor = class extends WebSocket {
      constructor(at: string) {
        super(at, { headers: ELSEWHERE })
      }
    }
    const client = new Client(url)
    client.on('error', () => {})
    const { message } = await errorOf(
      client.connect().then(() => client.query('select 1')),
      Error,
    )
    await client.end()
    isTold(message.split(';', 1)[0]!)
  })

  test('a page', async () => {
    await fails(400, '28000', 'pages of this web site may not connect', [
      query('select 1'),
      { origin: 'https://page.example' },
    ])
  })

  test('nobody who says no password', async () => {
    const { body } = await ask(query('select 1'), {
      'neon-connection-string': urlOf(postgres, { password: '' }),
    })
    assert.equal(body.code, '28P01')
    isTold('28P01', body.detail ?? '')
  })

  test('an address that is not listed', async () => {
    neonConfig.wsProxy = `${endpointOf(pooler)}/v2`
    neonConfig.useSecureWebSocket = false
    const client = new Client(url)
    client.on('error', () => {})
    const { message } = await errorOf(
      client.connect().then(() => client.query('select 1')),
      Error,
    )
    await client.end()
    isTold('08004', message.replace(`${HOST}:5432`, '...').replace(HOST, '...'))
  })

  test('one who guesses passwords', async () => {
    const wrong = { 'neon-connection-string': urlOf(postgres, { username: 'guessed', password: 'no' }) }
    const answers: Answer[] = []
    for (let i = 0; i < 7; i++) answers.push(await ask(query('select 1'), wrong))
    const limited = answers.find(({ status }) => status === 429)
    assert.ok(limited !== undefined, 'it is stopped')
    assert.ok(Number(limited.retryAfter) > 0)
    isTold('53300', limited.body.message ?? '')
  })
})

suite('what is not possible', () => {
  test('two statements in one query', async () => {
    await fails(400, '42601', 'cannot insert multiple commands into a prepared statement', [
      query('select 1; select 2'),
    ])
  })

  test('COPY', async () => {
    await fails(400, '0A000', 'COPY is not supported over HTTP', [query('copy (select 1) to stdout')])
  })

  test('the end of the transaction of a batch', async () => {
    const { status, body } = await ask({ queries: [query('select 1'), query('commit'), query('select 2')] })
    assert.equal(status, 400)
    isTold(body.code ?? '')
  })

  test('a query that takes too long', async () => {
    await fails(400, '57014', 'canceling statement due to serverless.query_timeout', [
      query('select pg_sleep(30)'),
    ])
  })

  test('too much, in and out', async () => {
    const large = await ask(query(`select '${'x'.repeat(20_000)}'`))
    const result = await ask(query("select repeat('x', 20000)"))
    assert.deepEqual([large.status, result.status], [413, 507])
    assert.match(PAGE, /413; 507/)
  })

  test('no server for now', async () => {
    const { host, port } = pooler
    const { user, password, database } = postgres
    await using holder = await WireClient.connect({ host, port, user, password, database })
    await holder.query('begin')
    const { status, retryAfter } = await ask(query('select 1'))
    await holder.query('rollback')
    assert.equal(status, 503)
    assert.ok(Number(retryAfter) > 0)
    isTold(`Server error (HTTP status ${status})`)
  })
})
