// Owns: several requests on one connection, sent without waiting for answers, as no driver does and
// everybody may try.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { Asker, ON, urlFor } from '../support/sql-over-http.ts'
import { asleep } from '../support/waits.ts'
import { upgradeHead } from '../support/web-socket.ts'

const postgres = await getPostgres()
const pooler = await startPooler(postgres.url, { serverless: ON, pool: { size: 1 } })
after(() => pooler.stop())
const ask = new Asker(pooler, urlFor(postgres))

function post(query: string, closes = ''): string {
  const body = JSON.stringify({ query })
  const head = `POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nNeon-Connection-String: ${ask.url}\r\n${closes}`
  return `${head}Content-Length: ${body.length}\r\n\r\n${body}`
}

const nobody = () => eventually(() => pooler.pooler.house.clients.size === 0)

describe('requests behind each other', () => {
  it('are answered in their order', async () => {
    const queries = ['select pg_sleep(0.1), 1 as n', 'select 2 as n', 'select 3 as n']
    const text = await ask.raw(queries.map((one, place) => post(one, place === 2 ? CLOSE : '')).join(''))
    assert.deepEqual(
      [...text.matchAll(/"n":(\d)/g)].map(([, n]) => n),
      ['1', '2', '3'],
    )
  })

  it('too many at once end the connection, and all that they asked for', async () => {
    assert.equal(await ask.raw(post('select pg_sleep(60)').repeat(100)), '')
    await nobody()
    assert.equal(await ask.value('select 1'), '1')
  })

  it('of which the last is half: all are given up with the connection', async () => {
    const socket = await ask.socket()
    socket.on('error', () => {})
    socket.write(post('select pg_sleep(60)') + post('select 1') + post('select 2').slice(0, -5))
    await asleep(postgres)
    socket.destroy()
    await nobody()
    assert.equal(await ask.value('select 1'), '1')
  })
})

describe('an upgrade behind a request', () => {
  it('that is not answered yet ends the connection: no answer is written into a WebSocket', async () => {
    for (const query of ['select pg_sleep(60)', "select repeat('x', 1000) from generate_series(1, 100000)"]) {
      const text = await ask.raw(post(query) + upgradeHead({}).toString('latin1'))
      assert.equal(text.includes('101 Switching'), false, text.slice(0, 200))
    }
    await nobody()
  })

  it('that is answered is taken', async () => {
    const socket = await ask.socket()
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes
    })
    socket.write(post('select 1'))
    await eventually(() => text.includes('"rowAsArray"'))
    socket.write(upgradeHead({}))
    await eventually(() => text.includes('101 Switching'))
    socket.destroy()
  })
})

const CLOSE = 'Connection: close\r\n'
