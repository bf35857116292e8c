// The load over WebSocket and HTTP: its bytes against servers that are not ours, and what is concluded.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, describe, it } from 'node:test'
import { WebSocketServer } from 'ws'
import type { Outcome } from '../../../bench/figures.ts'
import type { WebGoodFigures } from '../../../bench/load/web-storm.ts'
import { HttpConnection, requestOf } from '../../../bench/load/web-request.ts'
import { framed, WebSocketConnection } from '../../../bench/load/web-socket.ts'
import { checkWeb, checkWebStorm, type WebCell, type WebStormRun } from '../../../bench/web-figures.ts'
import { webTables } from '../../../bench/web-report.ts'
import { WEB_ROWS } from '../../../bench/web-scenarios.ts'
import { message } from '../../support/messages.ts'

const target = { host: '127.0.0.1', port: 0, user: 'u', password: 'p%/', database: 'd' }

describe('its WebSocket', () => {
  const server = createServer()
  const sockets = new WebSocketServer({ server })
  after(() => server.close())
  sockets.on('connection', (socket) => {
    socket.on('message', (data: Buffer) => {
      // One message in, two out, the first of which ends in the middle of a message of Postgres.
      const answer = Buffer.concat([message('D', data), message('Z', 'I')])
      const error = message('E', 'SERROR\0C28P01\0Mno\0\0')
      const whole = data[0] === 0x65 ? Buffer.concat([error, answer]) : answer
      socket.send(whole.subarray(0, 7))
      socket.send(whole.subarray(7))
    })
  })

  it('is one for a library, with short and long messages, and closes as it should', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const closed = new Promise<number>((resolve) => {
      sockets.once('connection', (socket) => socket.on('close', resolve))
    })
    const connection = await new Promise<WebSocketConnection>((resolve) => {
      const made = new WebSocketConnection({ ...target, port }, () => resolve(made))
    })
    for (const length of [1, 125, 126, 60_000]) {
      const trouble = await new Promise((resolve) =>
        connection.ask(framed(Buffer.alloc(length, 'x')), resolve),
      )
      assert.equal(trouble, null)
    }
    const error = await new Promise((resolve) => connection.ask(framed(Buffer.from('e')), resolve))
    assert.deepEqual(error, { code: '28P01', message: 'no' })
    await new Promise<void>((resolve) => connection.leave(resolve))
    assert.equal(await closed, 1000)
  })

  it('says why it cannot be opened', async () => {
    const plain = createServer()
    plain.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'))
    after(() => plain.close())
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
    const { port } = plain.address() as AddressInfo
    const trouble = await new Promise<{ message: string } | null>((resolve) => {
      void new WebSocketConnection({ ...target, port }, resolve)
    })
    assert.equal(trouble?.message, 'the upgrade was answered with HTTP/1.1 403 Forbidden')
  })
})

describe('its HTTP', () => {
  it('is HTTP for Node, and tells errors from results', async () => {
    const seen: string[] = []
    const server = createServer((request, response) => {
      request.on('data', (chunk: Buffer) =>
        seen.push(`${request.headers['neon-connection-string']} ${chunk}`),
      )
      request.on('end', () => {
        const bad = request.headers['content-length'] === '3'
        const body = bad ? '{"code":"28P01","message":"no"}' : `{"rows":[${'1,'.repeat(100_000)}1]}`
        response.writeHead(bad ? 400 : 200, { 'content-length': body.length })
        // In pieces.
        response.write(body.slice(0, 5))
        setImmediate(() => response.end(body.slice(5)))
      })
    })
    after(() => server.close())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const connection = new HttpConnection({ ...target, port })
    const ask = (body: string) =>
      new Promise((resolve) => connection.ask(requestOf({ ...target, port }, body), resolve))
    assert.equal(await ask('{}'), null)
    assert.deepEqual(await ask('bad'), { code: '28P01', message: 'no' })
    assert.equal(await ask('{}'), null)
    assert.equal(seen[0], 'postgresql://u:p%25%2F@127.0.0.1/d {}')
    await new Promise<void>((resolve) => connection.leave(resolve))
  })
})

function run(rate: number): Outcome {
  const cpu = { user: 1, system: 1 }
  const parts = { amount: rate, latency: null, cpu, postgres: cpu, generator: null, peakMemory: 2048 }
  return { kind: 'run', rate, ...parts }
}

function cells(rates: (way: string, load: string) => number): WebCell[] {
  return WEB_ROWS.map((row) => ({ ...row, outcomes: [run(rates(row.way, row.load))] }))
}

describe('what is asked of WebSocket and HTTP', () => {
  it('is 0.6 of the visits over TCP, and 8000 requests a second or half of pgbench', () => {
    const failedOf = (found: WebCell[]): number => checkWeb(found).filter(({ failed }) => failed).length
    assert.equal(failedOf(cells(() => 1000)), 0)
    // Two ways to authenticate.
    assert.equal(failedOf(cells((way, load) => (way === 'websocket' && load === 'visit' ? 590 : 1000))), 2)
    assert.equal(failedOf(cells((way) => (way === 'http' ? 490 : 1000))), 1)
    assert.equal(failedOf(cells((way) => (way === 'pgbench -S' ? 20_000 : 8100))), 0)
  })

  it('a run that failed is told', () => {
    const [row] = WEB_ROWS
    const found = checkWeb([{ ...row!, outcomes: [{ kind: 'failed', reason: 'it rained' }] }])
    assert.match(found.map(({ text }) => text).join(), /a run failed: it rained/)
    assert.ok(found[0]?.failed)
  })

  it('is a rise of p99 by a quarter at most, and no other answer than a refusal', () => {
    const all = (p99: number): WebGoodFigures['calm'] => {
      const times = { average: 1, p50: 1, p95: 1, p99, most: 9, samples: 9 }
      return { 'HTTP requests': times, 'WebSocket queries': times, 'WebSocket visits': times }
    }
    const good = (p99: number, failed = 0): WebGoodFigures => ({
      calm: all(1),
      hurt: all(p99),
      failed,
      reason: '',
    })
    const storm = (p99: number, answers: Record<string, number>): WebStormRun => {
      const figures = { attempts: 9, answers, latency: null }
      return { kind: 'run', good: good(p99), storm: figures, cpu: null }
    }
    const failedOf = (...rounds: WebStormRun[]): number =>
      checkWebStorm(rounds).filter(({ failed }) => failed).length
    const answers = { '28P01': 5, '53300': 4 }
    assert.equal(failedOf(storm(1.2, answers)), 0)
    assert.equal(failedOf(storm(1.3, answers)), 3)
    assert.equal(failedOf(storm(1, { 'let in': 1 })), 1)
    assert.equal(failedOf({ ...storm(1, answers), good: good(1, 1) }), 1)
    assert.match(webTables([], [storm(1.2, answers)])[1]!, /HTTP requests +\| 1\.00 .*\| 1\.20 .*\| 1\.20/)
  })

  it('stands in a table beside the first way', () => {
    const text = webTables(
      cells((way) => (way === 'tcp' ? 1000 : 700)),
      [],
    ).join('\n')
    assert.match(text, /\| websocket +\| 700 .*\| 0\.700 .*\| not measured +\| 2\.0 +\| 2\.0 /)
  })
})
