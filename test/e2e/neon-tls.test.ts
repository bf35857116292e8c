// The unmodified serverless driver with TLS: around the WebSocket and the requests (wss, https), and
// inside the WebSocket, as Postgres has it, with the driver's own TLS. Must only use what the driver
// offers.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, suite, test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as subtls from 'subtls/index.js'
import { WebSocket } from 'ws'
import { Authority, NO_OPENSSL } from '../support/authority.ts'
import {
  aim,
  DRIVERS,
  endpointOf,
  errorOf,
  HOST,
  on,
  resetAfterEach,
  urlOf,
  WAYS,
  withClient,
} from '../support/neon.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()
/** The driver's own TLS is strict about what certificates say they are for. */
const signs = { extensions: ['keyUsage=digitalSignature,keyCertSign'] }
const serves = ['keyUsage=digitalSignature', 'extendedKeyUsage=serverAuth']
const authority = NO_OPENSSL === '' ? new Authority('authority of the tests', signs) : null
const rootCerts = authority === null ? '' : readFileSync(authority.caFile, 'utf8')
const names = { san: `DNS:${HOST},DNS:localhost`, extensions: serves }
const issued = authority?.issue(`/CN=${HOST}`, names) ?? { certFile: '', keyFile: '' }
const inside = urlOf(postgres, { search: '?sslmode=verify-full' })
const SESSION_QUERY = 'select $1::int + 1 as n'
resetAfterEach()

async function pooler(overrides: Overrides): Promise<TestPooler> {
  const own = await startPooler(postgres.url, overrides)
  after(() => own.stop())
  return own
}

if (authority !== null) {
  const before = getCACertificates('default')
  // Node's own fetch and WebSocket take their authorities from here.
  setDefaultCACertificates([...before, rootCerts])
  after(() => setDefaultCACertificates(before))
}

/** `ws`, told whom to trust as its users tell it. */
class Trusting extends WebSocket {
  constructor(url: string) {
    super(url, { ca: rootCerts })
  }
}

suite('TLS', { skip: NO_OPENSSL || false }, () => {
  for (const way of WAYS) {
    test(`around: wss and https, driver ${way.name}`, async () => {
      const own = await pooler({ serverless: on({ tls: issued }) })
      const [, port] = endpointOf(own).split(':')
      const address = `localhost:${port}`
      const socket = way.socket === undefined ? undefined : (Trusting as unknown as typeof way.socket)
      aim({ neon: way.neon, socket }, own, {
        wsProxy: (host: string) => `${address}/v2?address=${host}:5432`,
        fetchEndpoint: () => `https://${address}/sql`,
        useSecureWebSocket: true,
      })
      await withClient(way.neon, urlOf(postgres), async (client) => {
        assert.deepEqual((await client.query(SESSION_QUERY, [41])).rows, [{ n: 42 }])
      })
      assert.deepEqual(await way.neon.neon(urlOf(postgres))`select 1 as a`, [{ a: 1 }])
      const { status } = await fetch(`http://127.0.0.1:${port}/sql`).catch(() => ({ status: 0 }))
      assert.equal(status, 0, 'nothing is told without TLS')
    })
  }

  for (const { version, neon } of DRIVERS) {
    const insideTls = (pipelineTLS: boolean) => ({
      forceDisablePgSSL: false,
      subtls,
      rootCerts,
      pipelineTLS,
    })

    for (const pipelineConnect of ['password', false] as const) {
      test(`inside: driver ${version}, pipelineConnect ${pipelineConnect}`, async () => {
        const own = await pooler({ serverless: on(), client: { tls: { mode: 'require', ...issued } } })
        aim({ neon, socket: undefined }, own, { ...insideTls(false), pipelineConnect })
        await withClient(neon, inside, async (client) => {
          assert.deepEqual((await client.query(SESSION_QUERY, [41])).rows, [{ n: 42 }])
          const { rows } = await client.query("select repeat('x', 300000) as t")
          assert.equal(rows[0].t.length, 300_000)
          const { connection } = client as unknown as { connection: { stream: { encrypted: boolean } } }
          assert.equal(connection.stream.encrypted, true)
        })
      })
    }

    test(`inside: driver ${version}, its handshake right behind the request`, async () => {
      const tls = { mode: 'require', ...issued } as const
      const own = await pooler({ serverless: on({ pipelinedTls: true }), client: { tls } })
      aim({ neon, socket: undefined }, own, insideTls(true))
      await withClient(neon, inside, async (client) => {
        assert.deepEqual((await client.query(SESSION_QUERY, [41])).rows, [{ n: 42 }])
      })
    })

    test(`inside: driver ${version}, a wrong password`, async () => {
      const own = await pooler({ serverless: on(), client: { tls: { mode: 'require', ...issued } } })
      aim({ neon, socket: undefined }, own, insideTls(false))
      const wrong = new neon.Client(urlOf(postgres, { password: 'not-it', search: '?sslmode=require' }))
      wrong.on('error', () => {})
      const refused = wrong.connect().then(() => wrong.query('select 1'))
      assert.equal((await errorOf(refused, neon.DatabaseError)).code, '28P01')
      await wrong.end()
    })

    test(`inside: driver ${version}, where there is no TLS`, async () => {
      const own = await pooler({ serverless: on() })
      aim({ neon, socket: undefined }, own, insideTls(false))
      const client = new neon.Client(inside)
      const refused = await errorOf(
        new Promise((_, reject) => {
          client.on('error', reject)
          client.connect().catch(reject)
        }),
        Error,
      )
      assert.match(refused.message, /does not support SSL/)
    })
  }
})
