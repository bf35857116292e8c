// The short way for a query as functions send it. What it takes, Node's parser takes with the same meaning
// (see post-connection.test.ts); everything else it leaves alone.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BODY_MAX, beginsPost, Found, HEAD_MAX, PostReader } from '../../../src/net/post-head.ts'

const LINES = [
  'Host: db.example:6480',
  'connection: keep-alive',
  'Neon-Connection-String: postgresql://u:p@h/db',
  'accept: */*',
  'X-Empty:',
  'X-Spaces: \t a  b \t ',
  'content-length: 20',
]
const head = (lines: readonly string[], first = 'POST /sql HTTP/1.1'): Buffer =>
  Buffer.from(`${[first, ...lines].join('\r\n')}\r\n\r\n`, 'latin1')
const found = (lines: readonly string[], first?: string) => new PostReader().read(head(lines, first))
const withLength = (value: string) => [...LINES.slice(0, -1), `content-length:${value}`]

describe('a query as functions send it', () => {
  it('is known by its whole head', () => {
    const reader = new PostReader()
    const bytes = Buffer.concat([head(LINES), Buffer.from('body')])
    assert.equal(reader.read(bytes), Found.Post)
    assert.deepEqual([reader.headLength, reader.bodyLength], [bytes.length - 4, 20])
    assert.deepEqual(
      { ...reader.headers },
      {
        host: 'db.example:6480',
        connection: 'keep-alive',
        'neon-connection-string': 'postgresql://u:p@h/db',
        accept: '*/*',
        'x-empty': '',
        'x-spaces': 'a  b',
      },
    )
  })

  it('may still come as long as what has come is in order', () => {
    const whole = head(LINES)
    for (let cut = 20; cut < whole.length; cut++)
      assert.equal(new PostReader().read(whole.subarray(0, cut)), Found.Part, `cut at ${cut}`)
    for (const bad of ['X: a\nY: b', 'X: a\rb', 'X: \u00fc', ' folded', 'no colon\r', 'a b:', 'Host: a\n'])
      assert.equal(
        new PostReader().read(Buffer.from(`POST /sql HTTP/1.1\r\nHost: a\r\n${bad}`, 'latin1')),
        Found.Other,
        JSON.stringify(bad),
      )
    const long = Buffer.from(`POST /sql HTTP/1.1\r\nX: ${'x'.repeat(HEAD_MAX)}`)
    assert.equal(new PostReader().read(long), Found.Other)
  })

  it('is left to Node where anything about it is unusual', () => {
    assert.equal(found(LINES), Found.Post)
    for (const line of [
      'Transfer-Encoding: chunked',
      'Expect: 100-continue',
      'Upgrade: websocket',
      'Trailer: x',
      'TE: trailers',
      'HTTP2-Settings: x',
      'Proxy-Connection: close',
      'Keep-Alive: 300',
      'Set-Cookie: a=b',
      'Content-Length: 20',
      'host: other',
      'ACCEPT: x',
      ' folded',
      '\tfolded',
      'no colon',
      'space : before the colon',
      ': no name',
      'X: \u00fc',
      'X: \x7f',
      'X: \0',
      'X: a\nY: b',
      'X: a\rY: b',
      '__proto__: x',
      `X: ${'x'.repeat(HEAD_MAX)}`,
      Array.from({ length: 100 }, (_, n) => `x${n}: 1`).join('\r\n'),
    ])
      assert.equal(found([...LINES, line]), Found.Other, line)
    for (const value of [
      '',
      ' ',
      ' 0',
      ' 020',
      ' +20',
      ' -20',
      ' 2 0',
      ' 20 ',
      '\t20',
      '  20',
      ' 20,20',
      ' 2e1',
    ])
      assert.equal(found(withLength(value)), Found.Other, value)
    assert.equal(found(withLength(` ${BODY_MAX}`)), Found.Post)
    for (const value of [BODY_MAX + 1, 99_999, 100_000, '9'.repeat(30)])
      assert.equal(found(withLength(` ${value}`)), Found.Other, `${value}`)
    for (const value of ['close', 'Upgrade', 'keep-alive, upgrade', 'keep-alive, close', ''])
      assert.equal(found(LINES.with(1, `connection: ${value}`)), Found.Other, value)
    for (const place of [0, LINES.length - 1])
      assert.equal(found(LINES.toSpliced(place, 1)), Found.Other, LINES[place])
    for (const first of [
      'post /sql HTTP/1.1',
      'GET /sql HTTP/1.1',
      'POST /sql HTTP/1.0',
      'POST /sql?x HTTP/1.1',
      'POST /SQL HTTP/1.1',
      'POST  /sql HTTP/1.1',
      'POST /sql HTTP/1.1 ',
      'POST http://h/sql HTTP/1.1',
    ]) {
      assert.equal(found(LINES, first), Found.Other, first)
      assert.equal(beginsPost(head(LINES, first)), false, first)
    }
    assert.equal(
      new PostReader().read(Buffer.from(head(LINES).toString().replaceAll('\r\n', '\n'))),
      Found.Other,
    )
    assert.equal(new PostReader().read(Buffer.concat([Buffer.from('\r\n'), head(LINES)])), Found.Other)
  })
})

describe('the next one on a connection', () => {
  it('is known again where only its length differs, and its headers are the same object', () => {
    // The length may stand anywhere.
    for (const lines of [LINES, LINES.toReversed(), LINES.toSpliced(2, 0, LINES.at(-1)!).slice(0, -1)]) {
      const reader = new PostReader()
      reader.read(head(lines))
      const { headers } = reader
      for (const length of [1, 9, 20, 999, 10_000, BODY_MAX]) {
        const bytes = head(lines.map((line) => (line === LINES.at(-1) ? `content-length: ${length}` : line)))
        assert.equal(reader.read(Buffer.concat([bytes, Buffer.from('{}')])), Found.Post)
        assert.deepEqual([reader.headLength, reader.bodyLength], [bytes.length, length])
        assert.equal(reader.headers, headers)
      }
    }
  })

  it('is what a reader without a memory says, whatever has changed in it', () => {
    const strange = ['\0', '\x80', '\n', '\r', '\r\n', ' ', ':', '0', '7', 'x', '\r\n\r\n', '']
    const whole = head(LINES).toString('latin1')
    let known = 0
    for (let at = 0; at <= whole.length; at++) {
      for (const what of strange) {
        for (const skip of [0, 1]) {
          const bytes = Buffer.from(whole.slice(0, at) + what + whole.slice(at + skip), 'latin1')
          const reader = new PostReader()
          reader.read(head(LINES))
          const fresh = new PostReader()
          const [one, other] = [reader.read(bytes), fresh.read(bytes)]
          assert.equal(one, other, JSON.stringify(bytes.toString('latin1')))
          if (one !== Found.Post) continue
          known++
          assert.deepEqual([reader.headLength, reader.bodyLength], [fresh.headLength, fresh.bodyLength])
          assert.deepEqual(reader.headers, fresh.headers)
        }
      }
    }
    assert.ok(known > 100, `${known} were known`)
  })

  it('with other headers has headers of its own', () => {
    const reader = new PostReader()
    reader.read(head(LINES))
    assert.equal(reader.read(head([...LINES, 'x-more: 1'])), Found.Post)
    assert.equal(reader.headers['x-more'], '1')
    assert.equal(reader.read(head(LINES)), Found.Post)
    assert.equal(reader.headers['x-more'], undefined)
  })
})
