// Connections to the port for WebSocket and HTTP, from their first byte on: who gets them, how many there may
// be, and what becomes of one that says nothing.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { FirstLooks } from '../../../src/net/first-look.ts'
import { acceptPlain } from '../../../src/net/plain-socket.ts'
import { openWebServer, type WebServer } from '../../../src/net/web-server.ts'
import { until } from '../../support/waits.ts'
import { upgradeHead } from '../../support/web-socket.ts'

const LIMIT_MS = 100
const LONG_MS = 60_000

async function said(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  await once(socket, 'close')
  return text
}

describe('a connection that has said nothing', () => {
  const seen: string[] = []
  let server: Server
  const looksFor = async (limitMs: number): Promise<{ looks: FirstLooks; open: () => Socket }> => {
    server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const looks: FirstLooks = new FirstLooks(
      {
        onUpgrade: (connection, { url }, rest) => {
          seen.push(`upgrade ${url} ${rest.toString()}`)
          connection.destroy()
        },
        onPost: (connection, chunk) => {
          seen.push(`post ${chunk.toString()}`)
          connection.destroy()
        },
        onOther: (connection, chunk) => {
          seen.push(`other ${chunk.toString()}`)
          connection.destroy()
        },
        onSilent: (connection) => {
          seen.push('silent')
          connection.destroy()
        },
      },
      { limitMs, everyMs: 10 },
    )
    acceptPlain(server, { keepaliveMs: 0 }, (connection) => looks.add(connection))
    const { port } = server.address() as AddressInfo
    after(() => server.close())
    return { looks, open: () => connect(port, '127.0.0.1') }
  }

  it('is given up after a time', async () => {
    const { looks, open } = await looksFor(LIMIT_MS)
    seen.length = 0
    await Promise.all([said(open()), said(open())])
    assert.deepEqual(seen, ['silent', 'silent'])
    assert.equal(looks.size, 0)
    looks.close()
  })

  it('goes where its first bytes belong, and is forgotten when it goes', async () => {
    const { looks, open } = await looksFor(LONG_MS)
    seen.length = 0
    const [one, other, third, query] = [open(), open(), open(), open()]
    await until(
      () => looks.size === 4,
      () => `${looks.size} wait`,
    )
    one.write(Buffer.concat([upgradeHead({ path: '/x' }), Buffer.from('early')]))
    other.write('GET / HT')
    query.write('POST /sql HTTP/1.1\r\nHo')
    await Promise.all([said(one), said(other), said(query)])
    assert.deepEqual(seen.toSorted(), ['other GET / HT', 'post POST /sql HTTP/1.1\r\nHo', 'upgrade /x early'])
    third.end()
    await said(third)
    const isEmpty = () =>
      until(
        () => looks.size === 0,
        () => `${looks.size} wait`,
      )
    await isEmpty()
    const last = open()
    await until(
      () => looks.size === 1,
      () => `${looks.size} wait`,
    )
    looks.close()
    await said(last)
    await isEmpty()
  })
})

describe('the port', () => {
  const options = { host: '127.0.0.1', port: 0, tls: null, keepaliveMs: LONG_MS, maxConnections: 2 }
  let server: WebServer
  before(async () => {
    server = await openWebServer(options, {
      onWebSocket(stream) {
        stream.handler = { onData() {}, onDrain() {}, onEnd: () => stream.end(), onClose() {} }
      },
      onRequest(request, response) {
        request.on('data', () => {})
        request.on('end', () => response.end(`${request.method} ${request.url}`))
      },
    })
  })
  after(() => server.close())
  const open = (): Socket => connect(server.port, '127.0.0.1').on('error', () => {})

  it('takes so many connections, whatever they became', async () => {
    const socket = open()
    socket.write(upgradeHead({}))
    await once(socket, 'data')
    assert.equal(server.sockets.size, 1)
    const silent = open()
    await once(silent, 'connect')
    assert.equal(await said(open()), '')
    // As a request, which Node reads, it still is one.
    silent.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(silent, 'data')
    assert.equal(await said(open()), '')
    silent.end()
    socket.destroy()
    await until(
      () => server.sockets.size === 0,
      () => 'a WebSocket is still there',
    )
    await until(
      async () => {
        const another = open()
        another.write('GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        return (await said(another)).endsWith('GET /b')
      },
      () => 'no place is free',
    )
  })

  it('reads a request that comes byte by byte, and others behind it', async () => {
    const socket = open()
    const heard = said(socket)
    for (const byte of 'POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc') {
      socket.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    socket.write('GET /d HTTP/1.1\r\nHost: x\r\n\r\nGET /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    assert.deepEqual((await heard).match(/[A-Z]+ \/[a-z]/g), ['POST /c', 'GET /d', 'GET /e'])
  })

  it('opens a WebSocket whose head comes in two pieces, too', async () => {
    const socket = open()
    const head = upgradeHead({})
    socket.write(head.subarray(0, 30))
    await new Promise((resolve) => setImmediate(resolve))
    socket.write(head.subarray(30))
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    assert.match(chunk.toString('latin1'), /^HTTP\/1\.1 101 /)
    assert.equal(server.sockets.size, 1)
    socket.destroy()
  })
})
