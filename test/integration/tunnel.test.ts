// The tunnel with far ends that misbehave: what a program is told, half-closed connections, back-pressure,
// one side gone without the other. Each far end is a WebSocket server of the test, so that it can do what
// pgmux never does.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, suite, test } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { Pair } from '../../src/cli/tunnel-pair.ts'
import { listen } from '../../src/net/listen.ts'
import { dialWebSocket } from '../../src/net/ws-dial.ts'
import * as m from '../support/messages.ts'
import { until } from '../support/waits.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const MiB = 1024 * 1024

/** A tunnel in this process, and what it heard. */
interface Tunnel {
  readonly port: number
  readonly failures: string[]
  readonly gone: () => number
}

async function tunnelTo(url: string): Promise<Tunnel> {
  const failures: string[] = []
  let gone = 0
  const events = { onFailed: (sentence: string) => failures.push(sentence), onGone: () => gone++ }
  const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => {
    new Pair(stream, new URL(url), events)
  })
  after(() => listener.close())
  return { port: listener.port, failures, gone: () => gone }
}

/** A far end that does `act` with each WebSocket. */
async function farEnd(act: (socket: WebSocket) => void): Promise<string> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  server.on('connection', (socket) => {
    socket.on('error', () => {})
    act(socket)
  })
  await once(server, 'listening')
  after(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/v2`
}

async function program(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  after(() => socket.destroy())
  return socket
}

/** The FATAL that a login through `tunnel` ends with. */
async function refusal(tunnel: Tunnel, ssl: false | 'prefer'): Promise<{ code: string; message: string }> {
  const login = WireClient.connect({
    host: '127.0.0.1',
    port: tunnel.port,
    ssl,
    user: 'app',
    database: 'app',
  })
  const error = await login.then(
    () => assert.fail('it logged in'),
    (cause: Error) => cause,
  )
  assert.ok(error instanceof LoginError, error.message)
  return { code: error.code, message: error.message }
}

suite('nobody at the far end', () => {
  test('the program reads one sentence, with and without a wish for TLS', async () => {
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    closed.close()
    const tunnel = await tunnelTo(`ws://someone:secret-word@127.0.0.1:${port}/v2?key=secret-word`)
    for (const ssl of [false, 'prefer'] as const) {
      const { code, message } = await refusal(tunnel, ssl)
      assert.equal(code, '08001')
      assert.match(
        message,
        new RegExp(`cannot open a WebSocket to ws://127.0.0.1:${port}/v2: connection refused$`),
      )
    }
    assert.equal(tunnel.failures.length, 2)
    assert.doesNotMatch(tunnel.failures.join(), /secret-word|someone/)
    await until(
      () => tunnel.gone() === 2,
      () => `${tunnel.gone()} are gone`,
    )
  })

  test('an HTTP server that is no endpoint is named with its status', async () => {
    const http = createServer((_request, response) => response.writeHead(404).end())
    http.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n'))
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    after(() => http.close())
    const tunnel = await tunnelTo(`ws://127.0.0.1:${(http.address() as AddressInfo).port}/`)
    assert.match((await refusal(tunnel, 'prefer')).message, /HTTP status 426; is this the port/)
  })

  test('ws:// where TLS is spoken and wss:// where it is not say which to use', async () => {
    const plain = await farEnd(() => {})
    const tunnel = await tunnelTo(plain.replace('ws:', 'wss:'))
    assert.match((await refusal(tunnel, false)).message, /does not speak TLS; use ws:\/\//)
  })

  test('one that does not answer the upgrade is given up', async () => {
    const silent = createServer()
    silent.on('upgrade', () => {})
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    after(() => {
      silent.close()
      silent.closeAllConnections()
    })
    const url = new URL(`ws://127.0.0.1:${(silent.address() as AddressInfo).port}/`)
    const error = await new Promise<Error | null>((resolve) => dialWebSocket(url, 50, resolve))
    assert.match(error?.message ?? '', /no answer within 50 ms$/)
  })

  test('one that wants to cancel gets no bytes', async () => {
    const tunnel = await tunnelTo('ws://127.0.0.1:1/')
    const socket = await program(tunnel.port)
    socket.write(m.cancelRequest(1, Buffer.from('4444')))
    const [end] = await Promise.all([once(socket, 'end').then(() => 'end'), socket.resume()])
    assert.equal(end, 'end')
    assert.equal(socket.bytesRead, 0)
  })

  test('one that says nothing at all is told nothing, and is let go when it leaves', async () => {
    const tunnel = await tunnelTo('ws://127.0.0.1:1/')
    const socket = await program(tunnel.port)
    await until(
      () => tunnel.failures.length === 1,
      () => 'the tunnel has not failed',
    )
    socket.end()
    await until(
      () => tunnel.gone() === 1,
      () => 'it is still there',
    )
  })
})

suite('a far end that goes away', () => {
  test('before it has said anything: 08006 with its reason', async () => {
    const busy = await tunnelTo(
      await farEnd((socket) => socket.once('message', () => socket.close(1013, 'too many connections'))),
    )
    const { code, message } = await refusal(busy, 'prefer')
    assert.equal(code, '08006')
    assert.match(message, /it closed with code 1013 too many connections$/)
    const broken = await tunnelTo(await farEnd((socket) => socket.once('message', () => socket.terminate())))
    assert.match((await refusal(broken, false)).message, /the connection broke$/)
    const talker = await tunnelTo(await farEnd((socket) => socket.send('hello')))
    assert.match((await refusal(talker, false)).message, /it sent text, where Postgres sends bytes$/)
  })

  test('in the middle of an answer: the program gets what came and no made-up bytes', async () => {
    const tunnel = await tunnelTo(
      await farEnd((socket) => {
        socket.once('message', () => {
          socket.send(Buffer.from('half an answer'))
          socket.close(1011, 'broken')
        })
      }),
    )
    const socket = await program(tunnel.port)
    socket.write('question')
    assert.equal(await text(socket), 'half an answer')
    assert.match(tunnel.failures.join(), /1011 broken/)
  })

  test('in good order: the program reads the end, and it is no failure', async () => {
    const tunnel = await tunnelTo(await farEnd((socket) => socket.once('message', () => socket.close(1000))))
    const socket = await program(tunnel.port)
    socket.write('X')
    assert.equal(await text(socket), '')
    socket.end()
    await until(
      () => tunnel.gone() === 1,
      () => 'it is still there',
    )
    assert.deepEqual(tunnel.failures, [])
  })
})

suite('a program that goes away', () => {
  test('after its half was closed it still gets its answer, then the WebSocket is closed', async () => {
    let code = 0
    const tunnel = await tunnelTo(
      await farEnd((socket) => {
        socket.on('close', (given) => {
          code = given
        })
        socket.once('message', () => setTimeout(() => socket.send(Buffer.from('late answer')), 100))
      }),
    )
    const socket = await program(tunnel.port)
    socket.end('question')
    assert.equal(await text(socket), 'late answer')
    await until(
      () => code !== 0,
      () => 'the WebSocket is open',
    )
    assert.equal(code, 1000)
    await until(
      () => tunnel.gone() === 1,
      () => 'it is still there',
    )
  })

  test('a reset takes the WebSocket with it', async () => {
    let isClosed = false
    const tunnel = await tunnelTo(
      await farEnd((socket) => {
        socket.send(Buffer.from('hello'))
        socket.on('close', () => {
          isClosed = true
        })
      }),
    )
    const socket = await program(tunnel.port)
    await once(socket, 'data')
    socket.resetAndDestroy()
    await until(
      () => isClosed,
      () => 'the WebSocket is open',
    )
    await until(
      () => tunnel.gone() === 1,
      () => 'it is still there',
    )
  })
})

suite('back-pressure', () => {
  const piece = Buffer.alloc(64 * 1024, 'x')
  const total = 64 * MiB
  // What the two sockets of the kernel hold, each way, is not known, but less than this.
  const most = total / 2

  /** Hands over pieces one after the other. @returns how many bytes were taken so far */
  function pour(send: (bytes: Buffer, done: () => void) => void): () => number {
    let taken = -piece.length
    const next = (): void => {
      taken += piece.length
      if (taken < total) send(piece, next)
    }
    next()
    return () => taken
  }

  test('a far end that does not read stops the program', async () => {
    let far: WebSocket | undefined
    let received = 0
    const tunnel = await tunnelTo(
      await farEnd((socket) => {
        far = socket
        socket.on('message', (data: Buffer) => {
          received += data.length
        })
        socket.pause()
      }),
    )
    const socket = await program(tunnel.port)
    const taken = pour((bytes, done) => socket.write(bytes, done))
    assert.ok((await settled(taken)) < most, `the tunnel took ${taken()} bytes that nobody read`)
    far?.resume()
    await until(
      () => received === total,
      () => `${received} bytes came`,
    )
  })

  test('a program that does not read stops the far end', async () => {
    let taken = () => 0
    const tunnel = await tunnelTo(
      await farEnd((socket) => {
        taken = pour((bytes, done) => socket.send(bytes, done))
      }),
    )
    const socket = await program(tunnel.port)
    socket.pause()
    await until(
      () => taken() > 0,
      () => 'nothing was sent',
    )
    assert.ok((await settled(taken)) < most, `the tunnel took ${taken()} bytes that nobody read`)
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    socket.resume()
    await until(
      () => received === total,
      () => `${received} bytes came`,
    )
  })
})

/** A figure that has not changed for 200 ms. */
async function settled(figure: () => number): Promise<number> {
  let last = Number.NaN
  let since = performance.now()
  await until(
    () => {
      const now = figure()
      if (now !== last) since = performance.now()
      last = now
      return performance.now() - since > 200
    },
    () => `it still changes: ${last}`,
  )
  return last
}
