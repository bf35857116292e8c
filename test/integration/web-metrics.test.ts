// What the metrics tell of WebSockets and queries over HTTP: what was done, exactly. Must never look into the
// pooler for what they tell.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { AS_DRIVERS, Asker, ON, urlFor } from '../support/sql-over-http.ts'
import { asleep, until } from '../support/waits.ts'
import { TestWebSocket } from '../support/web-socket.ts'

const postgres = await getPostgres()
const pooler = await startPooler(postgres.url, { serverless: { ...ON, streamFrom: 1000 } })
after(() => pooler.stop())
const ask = new Asker(pooler, urlFor(postgres))

/** The value of a line; 0: there is none. */
async function metric(name: string): Promise<number> {
  const text = await pooler.pooler.metrics()
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}
const answered = (status: string) => metric(`pgmux_http_requests_total{status="${status}"}`)
const bytes = (direction: string) => metric(`pgmux_http_bytes_total{direction="${direction}"}`)

describe('the metrics of the endpoint', () => {
  it('count requests by their status, and bytes as they were on the way', async () => {
    const sent = [JSON.stringify({ query: 'select 1' }), JSON.stringify({ query: 'selec' }), 'x']
    let got = 0
    for (const [at, body] of sent.entries()) {
      const { status, bytes } = await ask.post(body, AS_DRIVERS)
      assert.equal(status, at === 0 ? 200 : 400)
      got += bytes.length
    }
    assert.deepEqual([await answered('200'), await answered('400'), await answered('404')], [1, 2, 0])
    assert.equal(await bytes('from_clients'), sent.join('').length)
    assert.equal(await bytes('to_clients'), got)
    const elsewhere = await fetch(`http://${ask.host}:${ask.port}/elsewhere`)
    assert.equal(elsewhere.status, 404)
    assert.equal(await answered('404'), 1)
    got += (await elsewhere.arrayBuffer()).byteLength
    // Streamed, packed and not.
    for (const how of ['', 'gzip']) {
      const query = JSON.stringify({ query: "select repeat('x', 1000) from generate_series(1, 2000)" })
      const answer = await ask.post(query, { ...AS_DRIVERS, 'accept-encoding': how })
      assert.equal(answer.headers['content-encoding'], how === '' ? undefined : how)
      assert.equal(answer.headers['transfer-encoding'], 'chunked')
      got += answer.bytes.length
    }
    assert.equal(await answered('200'), 3)
    assert.equal(await bytes('to_clients'), got)
    const preflight = await fetch(`http://${ask.host}:${ask.port}/sql`, {
      method: 'OPTIONS',
      headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' },
    })
    assert.equal(preflight.status, 403)
    assert.equal(await answered('403'), 1)
  })

  it('count what is no request, too', async () => {
    const before = await answered('400')
    assert.match(await ask.raw(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`), / 431 /)
    assert.match(await ask.raw('NOTHING\r\n\r\n'), / 400 /)
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8'
    assert.match(await ask.raw(`GET / HTTP/1.1\r\nHost: a\r\n${upgrade}\r\n\r\n`), / 426 /)
    assert.deepEqual(
      [await answered('431'), (await answered('400')) - before, await answered('426')],
      [1, 1, 1],
    )
  })

  it('show what is under way, and what went without an answer', async () => {
    const sent = ask.open(JSON.stringify({ query: 'select pg_sleep(60)' }), AS_DRIVERS)
    sent.on('error', () => {})
    await asleep(postgres)
    assert.equal(await metric('pgmux_http_requests'), 1)
    assert.equal(await answered('none'), 0)
    sent.destroy()
    await until(
      () => pooler.pooler.gauges().httpRequests === 0,
      () => 'a request under way',
    )
    assert.equal(await metric('pgmux_http_requests'), 0)
    assert.equal(await answered('none'), 1)
  })

  it('count WebSockets', async () => {
    const before = await metric('pgmux_websockets_total')
    const sockets = await Promise.all([1, 2, 3].map(() => TestWebSocket.open({ port: ask.port })))
    assert.equal(await metric('pgmux_websockets'), 3)
    for (const socket of sockets) socket.destroy()
    await until(
      () => pooler.pooler.gauges().webSockets === 0,
      () => 'a WebSocket is open',
    )
    assert.equal((await metric('pgmux_websockets_total')) - before, 3)
  })
})
