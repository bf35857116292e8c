// The end of the endpoint for WebSocket and HTTP: who is there without need is let go at once, an answer that
// is on its way arrives whole.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { endpointOf, on, urlOf } from '../support/neon.ts'
import { startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
const LIMIT_MS = 20_000
/** More than the buffers of both ends and of the kernel hold. */
const MUCH = 32_000_000

function addressOf(pooler: TestPooler): { host: string; port: number } {
  const [host, port] = endpointOf(pooler).split(':')
  return { host: host!, port: Number(port) }
}

async function post(pooler: TestPooler, query: string): Promise<IncomingMessage> {
  const headers = { 'neon-connection-string': urlOf(postgres) }
  const asked = request({ ...addressOf(pooler), path: '/sql', method: 'POST', headers, agent: false })
  asked.end(JSON.stringify({ query }))
  const [response] = await once(asked, 'response')
  return response
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const piece of response) text += piece
  return text
}

suite('the end of the endpoint', () => {
  test('a connection that has not said anything is closed', async () => {
    const pooler = await startPooler(postgres.url, { serverless: on() })
    const socket = connect(addressOf(pooler))
    await once(socket, 'connect')
    // Whoever is served has seen the one in front.
    assert.equal((await post(pooler, 'select 1')).statusCode, 200)
    const closed = once(socket, 'close')
    await pooler.pooler.drain(LIMIT_MS)
    await closed
    await pooler.stop()
  })

  test('a query that runs is answered, and the connection is not kept', async () => {
    const pooler = await startPooler(postgres.url, { serverless: on() })
    const asked = post(pooler, "select 'done' as t from pg_sleep(0.3)")
    await asleep(postgres)
    const drained = pooler.pooler.drain(LIMIT_MS)
    const response = await asked
    assert.equal(response.headers.connection, 'close')
    assert.deepEqual(JSON.parse(await textOf(response)).rows, [{ t: 'done' }])
    await drained
    await pooler.stop()
  })

  test('a query that runs too long is told why', async () => {
    const pooler = await startPooler(postgres.url, { serverless: on() })
    const asked = post(pooler, 'select pg_sleep(60)')
    await asleep(postgres)
    const [response] = await Promise.all([asked, pooler.pooler.drain(0)])
    assert.equal(JSON.parse(await textOf(response)).code, '57P01')
    await pooler.stop()
  })

  test('a reader that does not read does not hold up the end', async () => {
    const pooler = await startPooler(postgres.url, { serverless: on() })
    const response = await post(pooler, `select repeat('x', ${MUCH}) as t`)
    await pooler.pooler.drain(0)
    await assert.rejects(textOf(response), /aborted/)
    await pooler.stop()
  })

  test('an answer that its reader takes slowly arrives whole', async () => {
    const pooler = await startPooler(postgres.url, { serverless: on() })
    const response = await post(pooler, `select repeat('x', ${MUCH}) as t`)
    const drained = pooler.pooler.drain(LIMIT_MS)
    const [{ t }] = JSON.parse(await textOf(response)).rows
    assert.equal(t.length, MUCH)
    await drained
    await pooler.stop()
  })
})
