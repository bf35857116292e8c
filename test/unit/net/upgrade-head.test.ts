// The short way for a WebSocket that begins as drivers begin it. What it takes, Node's parser takes with the
// same meaning; everything else it leaves alone.
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { readUpgrade } from '../../../src/net/upgrade-head.ts'
import { upgradeHead } from '../../support/web-socket.ts'

const LINES = [
  'Host: db.example:6480',
  'Connection: keep-alive, Upgrade',
  'Upgrade: WebSocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]
const head = (lines: readonly string[], first = 'GET /v2?address=a%20b HTTP/1.1'): Buffer =>
  Buffer.from(`${[first, ...lines].join('\r\n')}\r\n\r\n`, 'latin1')
const read = (lines: readonly string[], first?: string) => readUpgrade(head(lines, first))

describe('an upgrade as drivers send it', () => {
  const server = createServer()
  before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)))
  after(() => server.close())

  /** As Node reads it; null: it refuses it, or takes it for something else. */
  function readByNode(bytes: Buffer): Promise<Pick<IncomingMessage, 'url' | 'headers'> | null> {
    return new Promise((resolve) => {
      const { port } = server.address() as AddressInfo
      server.removeAllListeners('upgrade').removeAllListeners('request')
      server.on('upgrade', ({ url, headers }, socket) => {
        resolve({ url, headers })
        socket.destroy()
      })
      server.on('request', (_request, response) => response.end())
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
      socket.on('data', () => socket.destroy()).on('error', () => {})
      socket.on('close', () => resolve(null))
    })
  }

  it('is read as Node reads it', async () => {
    const more = [
      [],
      ['Origin: https://app.example', 'Cookie: a=b; c="d"', 'X-Empty:', 'X-Spaces: \t a  b \t '],
      ['Sec-WebSocket-Protocol: binary', 'Sec-WebSocket-Extensions: permessage-deflate'],
    ]
    for (const lines of more) {
      const bytes = head([...LINES, ...lines])
      const found = readUpgrade(bytes)
      const byNode = await readByNode(bytes)
      assert.equal(found?.url, byNode?.url)
      assert.deepEqual({ ...found?.headers }, { ...byNode?.headers })
      assert.equal(found?.length, bytes.length)
    }
    const bytes = Buffer.concat([upgradeHead({}), Buffer.from('frames')])
    assert.equal(readUpgrade(bytes)?.length, bytes.length - 6)
  })

  it('is taken only where Node takes it', async () => {
    let taken = 0
    const strange = ['\0', '\x7f', '\x80', '\n', '\r', '\t', ' ', ':', '"', '<', '\\', ',', '\r\n ', '\r\n\t']
    const at = [...Array.from({ length: LINES.length }, (_, i) => i), -1]
    for (const line of at) {
      for (const what of strange) {
        for (const place of [0, 3, 7, 20]) {
          const first = 'GET /v2 HTTP/1.1'
          const put = (text: string): string => text.slice(0, place) + what + text.slice(place)
          const lines = LINES.map((text, i) => (i === line ? put(text) : text))
          const bytes = head(lines, line === -1 ? put(first) : first)
          const found = readUpgrade(bytes)
          if (found === null) continue
          taken++
          const byNode = await readByNode(bytes)
          assert.deepEqual({ ...found.headers }, { ...byNode?.headers }, JSON.stringify(bytes.toString()))
        }
      }
    }
    assert.ok(taken > 0)
  })

  it('is left to Node where anything about it is unusual', () => {
    assert.notEqual(read(LINES), null)
    for (const missing of LINES) assert.equal(read(LINES.filter((line) => line !== missing)), null, missing)
    for (const line of [
      'Content-Length: 0',
      'Transfer-Encoding: chunked',
      'Expect: 100-continue',
      'Host: other',
      'upgrade: h2c',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ' folded',
      'no colon',
      'space : before the colon',
      'X: \u00fc',
      '__proto__: x',
      `X: ${'x'.repeat(9000)}`,
    ])
      assert.equal(read([...LINES, line]), null, line)
    for (const first of [
      'POST /v2 HTTP/1.1',
      'get /v2 HTTP/1.1',
      'GET /v2 HTTP/1.0',
      'GET v2 HTTP/1.1',
      'GET http://evil.example/ HTTP/1.1',
      'GET  /v2 HTTP/1.1',
      'GET /v2 HTTP/1.1 ',
      'GET /v 2 HTTP/1.1',
      'GET /\u00fc HTTP/1.1',
    ])
      assert.equal(read(LINES, first), null, first)
    const whole = head(LINES)
    for (const cut of [0, 1, 20, whole.length - 4, whole.length - 1])
      assert.equal(readUpgrade(whole.subarray(0, cut)), null)
    assert.equal(readUpgrade(Buffer.concat([Buffer.from('\r\n'), whole])), null)
    assert.equal(readUpgrade(Buffer.from(whole.toString().replaceAll('\r\n', '\n'))), null)
  })
})
