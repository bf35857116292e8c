// Connections that send queries, read by us and by Node: whatever comes, in whatever pieces, both see the
// same requests with the same headers and bodies, and say the same to it byte by byte. A request that one of
// them saw and the other did not could be smuggled past whoever stands in front.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { openWebServer, type WebRequest, type WebResponse, WebServer } from '../../../src/net/web-server.ts'
import { aTurn, BODY, CLOSE, post } from '../../support/post-request.ts'
import { Prng } from '../../support/prng.ts'

const KEEPALIVE_MS = 60_000
const MANY = process.env.LONG === '1' ? 10_000 : 300
const OPTIONS = { host: '127.0.0.1', port: 0, tls: null, keepaliveMs: KEEPALIVE_MS, maxConnections: 0 }

/** What a server was asked, by the port of the client. */
type Seen = Map<number, string[]>

interface Side {
  readonly server: WebServer
  readonly seen: Seen
}

/** Said by nobody who answers here. */
const REFUSED = 'HTTP/1.1 400 Bad Request\r\n'

let short = 0

/** Answers in each of the ways in which answers are made. */
function answer(request: WebRequest, response: WebResponse, seen: Seen): void {
  const pieces: Buffer[] = []
  const { 'content-length': _, ...headers } = request.headers
  const end = (): void => {
    const body = Buffer.concat(pieces)
    const port = request.socket.remotePort ?? 0
    const line = JSON.stringify([request.method, request.url, headers, body.toString('latin1')])
    seen.set(port, [...(seen.get(port) ?? []), line])
    const [first = 0] = body
    if (first % 3 === 0) {
      response.writeHead(200, { 'x-kind': 'chunks' })
      response.write(Buffer.from('one'))
      response.write(body.length > 0 ? body : Buffer.from('none'))
      response.end()
    } else if (first % 3 === 1) {
      response.writeHead(503, { 'content-length': body.length, connection: 'close' })
      response.end(body)
    } else {
      const text = `${body.length} bytes`
      response.writeHead(200, { 'content-type': 'text/plain', 'content-length': text.length })
      if (response.endCopy === undefined) response.end(text)
      else response.endCopy(Buffer.from(text))
    }
  }
  if (request.body !== undefined) {
    short++
    pieces.push(request.body)
    end()
  } else {
    request.on('data', (chunk) => pieces.push(chunk))
    request.on('end', end)
  }
}

/** Reads everything with Node's parser: to it all connections are as those under TLS are. */
async function allByNode(seen: Seen): Promise<WebServer> {
  const server = createServer({ maxHeaderSize: 32 * 1024, keepAliveTimeout: KEEPALIVE_MS, noDelay: true })
  server.on('connection', (socket: Socket) => server.emit('secureConnection', socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return new WebServer(server, eventsOf(seen), true)
}

function eventsOf(seen: Seen) {
  return {
    onWebSocket: () => assert.fail('nobody asks for a WebSocket here'),
    onRequest: (request: WebRequest, response: WebResponse) => answer(request, response, seen),
  }
}

/**
 * Where something cannot be read, Node drops answers that were to leave in the same turn of the event loop,
 * and what is said to the bytes behind it depends on when they come. So it counts that both refuse it, and
 * say the same before as far as they go.
 */
function assertSame(told: string, byNode: string, about: string): void {
  const [at, atOfNode] = [told.indexOf(REFUSED), byNode.indexOf(REFUSED)]
  const end = Math.min(at, atOfNode)
  if (end < 0) assert.equal(told, byNode, about)
  else assert.equal(told.slice(0, end), byNode.slice(0, end), about)
}

/** Sends the pieces one by one, then ends. @returns what was seen of it and all that was answered */
async function talk({ server, seen }: Side, pieces: readonly string[]): Promise<[string[], string]> {
  const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  let told = ''
  socket.on('data', (chunk: Buffer) => {
    told += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  await once(socket, 'connect')
  await aTurn()
  const { port } = socket.address() as AddressInfo
  // Who is refused while it still sends may be told so by a reset.
  const closed = new Promise((resolve) => socket.once('close', resolve))
  for (const piece of pieces) {
    socket.write(piece, 'latin1')
    await aTurn()
  }
  await aTurn()
  socket.end()
  await closed
  const asked = seen.get(port) ?? []
  // Its number will be another's.
  seen.delete(port)
  return [asked, told.replaceAll(/Date: [^\r]*/g, 'Date: now')]
}

describe('requests on one connection', () => {
  let ours: Side
  let nodes: Side
  before(async () => {
    const [one, other] = [new Map(), new Map()] as [Seen, Seen]
    ours = { server: await openWebServer(OPTIONS, eventsOf(one)), seen: one }
    nodes = { server: await allByNode(other), seen: other }
  })
  after(() => Promise.all([ours.server.close(), nodes.server.close()]))

  async function compare(pieces: readonly string[]): Promise<string[]> {
    const [one, other] = await Promise.all([talk(ours, pieces), talk(nodes, pieces)])
    const [seen, told] = one
    assert.deepEqual(seen, other[0], JSON.stringify(pieces))
    assertSame(told, other[1], JSON.stringify(pieces))
    return seen
  }

  async function compareAll(cases: Iterable<readonly string[]>): Promise<void> {
    // One after another: in a crowd pieces would be read together.
    for (const pieces of cases) await compare(pieces)
  }

  it('are seen and answered as by Node', async () => {
    const before = short
    const bodies = [
      BODY,
      '0',
      '1',
      'x',
      `1${'x'.repeat(70_000)}`,
      '0'.repeat(30_000),
      `2${'y'.repeat(20_000)}`,
    ]
    for (const body of bodies) assert.equal((await compare([post(body)])).length, 1)
    assert.equal(short, before + 6)
    const three = [post('{"a":1}'), post('{"bb":22}'), post('{"ccc":333}')]
    assert.equal((await compare(three)).length, 3)
    assert.equal(short, before + 9)
    assert.equal((await compare([three.join('')])).length, 3)
    assert.equal(short, before + 9, 'several at once are for Node')
    assert.equal((await compare([post(), post(), post(BODY, CLOSE), post()])).length, 3)
    const another = post(BODY, '', 'GET /other HTTP/1.1')
    assert.equal((await compare([post(), another, post(), post()])).length, 4)
  })

  it('are the same wherever they are cut', async () => {
    const text = post('{"a":"\\r\\n\\r\\n"}', 'X: y\r\n') + post('GET / HTTP/1.1\r\n\r\n') + post(BODY, CLOSE)
    const cuts = Array.from({ length: text.length - 1 }, (_, n) => n + 1)
    await compareAll(cuts.map((cut) => [text.slice(0, cut), text.slice(cut)]))
  })

  it('are the same in three pieces, and as far as they come where they end early', async () => {
    const text = post() + post('{"a":1}', 'X: y\r\n')
    const random = new Prng(11)
    const at = () => 1 + Math.floor(random.next() * (text.length - 1))
    await compareAll(
      Array.from({ length: MANY / 2 }, () => {
        const [one, two, three] = [at(), at(), at()].toSorted((a, b) => a - b) as [number, number, number]
        return [text.slice(0, one), text.slice(one, two), text.slice(two, three)].filter(
          (part) => part !== '',
        )
      }),
    )
  })

  it('are the same whatever is wrong with them', async () => {
    const random = new Prng(5)
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random.next() * from.length)]!
    const strange = [...'\0\t\n\r\x7f\x80\xff :,;0193-+_xX/', '\r\n', '\r\n\r\n', '\r\n ', '\n\n']
    const lines = [
      'Content-Length: 5\r\n',
      'Transfer-Encoding: chunked\r\n',
      'transfer-encoding: identity\r\n',
      'Connection: keep-alive\r\n',
      'Connection: upgrade\r\n',
      'Host: g\r\n',
      'X-Y: z\r\n',
      ' folded\r\n',
      'Content-Length : 3\r\n',
      'Content-Length: 0x14\r\n',
      'Content-Length: 020\r\n',
      'Content-Length:20\r\n',
      'Cookie: a\r\nCookie: b\r\n',
      CLOSE,
    ]
    const mutated = (text: string): string => {
      const at = Math.floor(random.next() * text.length)
      const kind = random.next()
      if (kind < 0.5) return text.slice(0, at) + pick(strange) + text.slice(at + pick([0, 1]))
      if (kind < 0.6) return text.slice(0, at) + text.slice(at + pick([1, 2, 5]))
      const lineAt = text.indexOf('\r\n') + 2
      return text.slice(0, lineAt) + pick(lines) + text.slice(lineAt)
    }
    const before = short
    await compareAll(
      Array.from({ length: MANY }, () => {
        const hidden = post('{"hidden":1}')
        const requests = [
          pick([post(), post(hidden)]),
          pick([post('{"b":2}'), post(hidden, 'X: y\r\n')]),
          post(),
        ]
        const place = Math.floor(random.next() * 3)
        let text = mutated(requests[place]!)
        if (random.next() < 0.3) text = mutated(text)
        const all = requests.with(place, text)
        const cut = Math.floor(random.next() * text.length)
        return random.next() < 0.5 ? all : all.toSpliced(place, 1, text.slice(0, cut), text.slice(cut))
      }).map((pieces) => pieces.filter((piece) => piece !== '')),
    )
    assert.ok(short - before > MANY / 2, `${short - before} went the short way`)
  })
})
