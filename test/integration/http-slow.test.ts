// Senders over HTTP that are slow on purpose: each byte in time, the whole never. It takes half a minute, as
// their limits do. Must never wait for a time that it chose itself.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { Asker, ON, urlFor } from '../support/sql-over-http.ts'

const LONG = process.env.LONG === '1'
const skip = LONG ? false : 'takes long: npm run test:long'
const DRIP_MS = 500

describe('a sender', { concurrency: true }, async () => {
  if (!LONG) {
    it('whose headers or body come slowly is told so and closed', { skip })
    return
  }
  const postgres = await getPostgres()
  const pooler = await startPooler(postgres.url, { serverless: ON })
  after(() => pooler.stop())
  const ask = new Asker(pooler, urlFor(postgres))

  /** Begins, then sends a byte now and then. @returns what it was told until it was closed, and when */
  async function drip(beginning: string, more: string): Promise<{ told: string; seconds: number }> {
    const socket = await ask.socket()
    const since = performance.now()
    let told = ''
    socket.on('error', () => {})
    socket.on('data', (piece: Buffer) => {
      told += piece.toString('latin1')
    })
    socket.write(beginning)
    const dripping = setInterval(() => socket.write(more), DRIP_MS)
    await new Promise((resolve) => socket.once('close', resolve))
    clearInterval(dripping)
    return { told, seconds: (performance.now() - since) / 1000 }
  }

  it('whose headers come slowly is told so and closed', async () => {
    const { told, seconds } = await drip('POST /sql HTTP/1.1\r\nHost: a\r\nX: ', 'x')
    assert.match(told, /^HTTP\/1\.1 408 [\s\S]*the request did not come in time/)
    assert.ok(seconds > 9 && seconds < 25, `${seconds} s`)
  })

  it('whose body comes slowly, too', async () => {
    const headers = `Host: a\r\nNeon-Connection-String: ${ask.url}\r\nContent-Length: 1000`
    const { told, seconds } = await drip(`POST /sql HTTP/1.1\r\n${headers}\r\n\r\n`, ' ')
    assert.match(told, /^HTTP\/1\.1 408 [\s\S]*the request did not come in time/)
    assert.ok(seconds > 29 && seconds < 45, `${seconds} s`)
    assert.equal(await ask.value('select 1'), '1')
  })
})
