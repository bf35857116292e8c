// The unmodified serverless driver in a real browser, in a page of another origin: over WebSocket and
// over HTTP, where the origin is allowed and where it is not. Listed as not run where there is no
// Chromium.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { NO_BROWSER, servePages, startBrowser } from '../support/browser.ts'
import { stage } from '../support/compare.ts'
import { endpointOf, on, urlOf } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'

const MODULES = new URL('../../node_modules/', import.meta.url)
const FILES = {
  '/1.2.0.mjs': new URL('@neondatabase/serverless/index.mjs', MODULES),
  '/1.1.0.mjs': new URL('neon-serverless-1.1.0/index.mjs', MODULES),
}

interface Given {
  readonly module: string
  readonly endpoint: string
  readonly url: string
}

suite('in Chromium', { skip: NO_BROWSER || false }, async () => {
  if (NO_BROWSER !== '') return
  const postgres = await getPostgres()
  await postgres.admin('create table visits (id int primary key)')
  const [origin, stranger] = await Promise.all([servePages(FILES), servePages(FILES)])
  const { pooler } = await stage(postgres, 'one', {
    pool: { size: 1 },
    serverless: on({ allowedOrigins: [origin] }),
  })
  const browser = await startBrowser()
  const given = (module: string): Given => ({ module, endpoint: endpointOf(pooler), url: urlOf(postgres) })

  const open = async (at: string) => {
    const page = await browser.newPage()
    await page.goto(at)
    return page
  }

  for (const module of Object.keys(FILES)) {
    test(`${module}: an allowed origin queries by WebSocket and by HTTP`, async () => {
      const page = await open(origin)
      const saw = await page.evaluate(visit, given(module))
      assert.deepEqual(saw, {
        socket: [{ n: 42, t: 'caf\u00e9 \u2603' }],
        long: 300_000,
        transaction: [{ id: 1 }],
        error: ['error', '22012', 'division by zero'],
        wrong: '28P01',
        http: [{ n: 42, t: 'caf\u00e9 \u2603' }],
        batch: [[{ a: 1 }], [{ level: 'serializable' }]],
        httpError: ['NeonDbError', '23505', 'visits_pkey'],
        httpWrong: '28P01',
      })
      await page.close()
      await postgres.admin('truncate visits')
    })

    test(`${module}: another origin is told so, and nothing else`, async () => {
      const page = await open(stranger)
      const saw = await page.evaluate(intrude, given(module))
      assert.equal(saw.socket.code, '28000')
      assert.equal(saw.socket.message, 'pages of this web site may not connect')
      assert.match(saw.socket.hint, /allowed_origins/)
      // The browser hides what was answered, and never sends the request itself.
      assert.match(saw.http, /Failed to fetch/)
      await page.close()
    })
  }
})

/** Runs in the page: all that it needs is in here. */
async function visit({ module, endpoint, url }: Given) {
  const { Client, Pool, neon, neonConfig } = await import(module)
  neonConfig.disableWarningInBrowsers = true
  neonConfig.useSecureWebSocket = false
  neonConfig.wsProxy = `${endpoint}/v1`
  neonConfig.fetchEndpoint = `http://${endpoint}/sql`
  const sql = neon(url)
  const text = 'caf\u00e9 \u2603'
  const pool = new Pool({ connectionString: url, max: 2 })
  const failed = (asked: PromiseLike<unknown>) =>
    asked.then(
      () => null,
      (error) => error,
    )

  const socket = (await pool.query('select $1::int as n, $2 as t', [42, text])).rows
  const long = (await pool.query('select $1::text as t', ['x'.repeat(300_000)])).rows[0].t.length
  const client = await pool.connect()
  await client.query('begin')
  await client.query('insert into visits values (1)')
  await client.query('commit')
  const transaction = (await client.query('select id from visits')).rows
  const error = await failed(client.query('select 1/0'))
  client.release()
  await pool.end()
  const bad = new Client(url.replace(/:[^:@]*@/, ':not-it@'))
  bad.on('error', () => {})
  const wrong = await failed(bad.connect().then(() => bad.query('select 1')))
  await bad.end()

  const http = await sql`select ${42}::int as n, ${text} as t`
  const settings = sql`select current_setting('transaction_isolation') as level`
  const options = { isolationLevel: 'Serializable', readOnly: true, deferrable: true }
  const batch = await sql.transaction([sql`select 1 as a`, settings], options)
  const httpError = await failed(sql`insert into visits values (1)`)
  const httpWrong = await failed(neon(url.replace(/:[^:@]*@/, ':not-it@'))`select 1`)
  return {
    socket,
    long,
    transaction,
    error: [error.name, error.code, error.message],
    wrong: wrong.code,
    http,
    batch,
    httpError: [httpError.name, httpError.code, httpError.constraint],
    httpWrong: httpWrong.code,
  }
}

/** Runs in the page: all that it needs is in here. */
async function intrude({ module, endpoint, url }: Given) {
  const { Client, neon, neonConfig } = await import(module)
  neonConfig.disableWarningInBrowsers = true
  neonConfig.useSecureWebSocket = false
  neonConfig.wsProxy = `${endpoint}/v1`
  neonConfig.fetchEndpoint = `http://${endpoint}/sql`
  const failed = (asked: PromiseLike<unknown>) =>
    asked.then(
      () => ({ message: 'it was let in', code: '', hint: '' }),
      (error) => error,
    )
  const client = new Client(url)
  client.on('error', () => {})
  const refused = await failed(client.connect().then(() => client.query('select 1')))
  await client.end()
  const http = await failed(neon(url)`select 1`)
  return {
    socket: { code: `${refused.code}`, message: `${refused.message}`, hint: `${refused.hint}` },
    http: `${http.message}`,
  }
}
