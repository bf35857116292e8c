// The life of a connection that sends queries: who answers what, when it ends, and what becomes of a request
// whose sender goes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import {
  openWebServer,
  type WebRequest,
  type WebResponse,
  type WebServer,
} from '../../../src/net/web-server.ts'
import { aTurn, post } from '../../support/post-request.ts'
import { until } from '../../support/waits.ts'

const KEEPALIVE_MS = 60_000
const OPTIONS = { host: '127.0.0.1', port: 0, tls: null, keepaliveMs: KEEPALIVE_MS, maxConnections: 0 }

describe('a connection that sends queries', () => {
  const asked: { request: WebRequest; response: WebResponse }[] = []
  const closed: string[] = []
  async function open(
    keepaliveMs = KEEPALIVE_MS,
  ): Promise<{ server: WebServer; socket: Socket; told(): string }> {
    const server = await openWebServer(
      { ...OPTIONS, keepaliveMs },
      {
        onWebSocket: () => assert.fail('nobody asks for a WebSocket here'),
        onRequest(request, response) {
          response.on('close', () => void closed.push(String(request.body)))
          asked.push({ request, response })
        },
      },
    )
    asked.length = closed.length = 0
    after(() => server.close())
    const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
    after(() => socket.destroy())
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    return { server, socket, told: () => text }
  }
  const whenAsked = (count: number) =>
    until(
      () => asked.length === count,
      () => `${asked.length} requests`,
    )
  const answerLast = () => {
    const { response } = asked.at(-1)!
    response.writeHead(200, { 'content-length': 2 })
    response.end('ok')
  }

  it('has the next request kept until it is answered, and Node answers that one', async () => {
    const { socket, told } = await open()
    socket.write(post('1st'))
    await whenAsked(1)
    socket.write(post('2nd').slice(0, 30))
    await aTurn()
    socket.write(post('2nd').slice(30))
    await aTurn()
    assert.equal(asked.length, 1)
    answerLast()
    await whenAsked(2)
    assert.deepEqual([asked[0]?.request.body?.toString(), asked[1]?.request.body], ['1st', undefined])
    answerLast()
    await until(
      () => told().match(/200 OK/g)?.length === 2,
      () => told(),
    )
    assert.deepEqual(closed, ['1st', 'undefined'])
  })

  it('is not read while more is kept than one request may have, and nothing of it is lost', async () => {
    const { socket } = await open()
    // More than the kernel holds for both ends.
    const long = 'x'.repeat(32_000_000)
    socket.write(post('1st'))
    await whenAsked(1)
    socket.write(post(long))
    for (let turn = 0; turn < 50; turn++) await aTurn()
    assert.ok(socket.writableLength > 0)
    answerLast()
    await whenAsked(2)
    let length = 0
    asked[1]!.request.on('data', (chunk) => {
      length += chunk.length
    })
    await until(
      () => length === long.length,
      () => `${length} bytes`,
    )
    answerLast()
    await until(
      () => closed.length === 2,
      () => `${closed.length} answers are out`,
    )
  })

  it('that is not read and has gone is noticed when it is answered, and given to nobody', async () => {
    const { server, socket } = await open()
    socket.write(post('1st'))
    await whenAsked(1)
    socket.write('x'.repeat(1_000_000))
    await aTurn()
    socket.resetAndDestroy()
    await aTurn()
    answerLast()
    await server.finished()
    await aTurn()
    assert.deepEqual([asked.length, closed], [1, ['1st']])
  })

  it('that ends, or says that it sends no more, takes its request along', async () => {
    for (const how of ['destroy', 'end'] as const) {
      const { server, socket, told } = await open()
      const gone = once(socket, 'close')
      socket.write(post('mine'))
      await whenAsked(1)
      socket[how]()
      await until(
        () => closed.length === 1,
        () => 'the answer is not given up',
      )
      answerLast()
      await server.finished()
      await gone
      assert.equal(told(), '')
    }
  })

  it('is closed when it is silent for too long, and not before', async () => {
    const { socket } = await open(1000)
    const since = performance.now()
    socket.write(post())
    await whenAsked(1)
    answerLast()
    await once(socket, 'end')
    const silent = performance.now() - since
    assert.ok(silent > 1900 && silent < 10_000, `${silent} ms`)
  })

  it('is given to Node where a request comes slowly', async () => {
    const { socket } = await open()
    socket.write(post('slow').slice(0, -2))
    await until(
      () => asked.length === 1,
      () => 'Node, which does not wait for the body, has not got it',
    )
    const { request } = asked[0]!
    const body = new Promise((resolve) => request.on('data', resolve))
    assert.equal(request.body, undefined)
    socket.write('ow')
    assert.equal(String(await body), 'sl')
  })

  it('is closed with the server: at once without a request, else behind its answer', async () => {
    const { server, socket, told } = await open()
    socket.write(post('last'))
    await whenAsked(1)
    const idle = connect({ port: server.port, host: '127.0.0.1' })
    idle.write(post('half').slice(0, -1))
    await aTurn()
    await server.close()
    await once(idle, 'close')
    const finished = server.finished()
    answerLast()
    await finished
    await once(socket, 'end')
    assert.match(told(), /^HTTP\/1\.1 200 OK[\s\S]*ok$/)
  })

  it('is cut off with everything else', async () => {
    const { server, socket } = await open()
    socket.write(post('never'))
    await whenAsked(1)
    await server.close()
    server.cutOff()
    await once(socket, 'end')
    await server.finished()
  })

  it('gets a long answer as it takes it', async () => {
    const { socket } = await open()
    const MUCH = 50
    const piece = Buffer.alloc(1_000_000, 'x')
    socket.write(post('long'))
    await whenAsked(1)
    const { response } = asked[0]!
    socket.pause()
    response.writeHead(200, {})
    let written = 0
    let pauses = 0
    const more = (): void => {
      while (written < MUCH) {
        written++
        if (response.write(piece)) continue
        pauses++
        return
      }
      response.end()
    }
    response.on('drain', more)
    more()
    assert.ok(response.writableLength > 0)
    let bytes = 0
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    socket.resume()
    await until(
      () => closed.length === 1,
      () => `${written} pieces`,
    )
    socket.end()
    await once(socket, 'close')
    assert.ok(pauses > 10 && bytes > MUCH * piece.length, `${pauses} pauses, ${bytes} bytes`)
  })

  it('never gets a header with a line break', async () => {
    const { socket } = await open()
    socket.write(post())
    await whenAsked(1)
    const { response } = asked[0]!
    for (const value of ['a\r\nX: y', 'a\nb', 'a\0'])
      assert.throws(() => response.writeHead(200, { 'x-a': value }), /line break/)
  })
})
