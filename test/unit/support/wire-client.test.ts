// Owns: proof that the test client says and reads the protocol rightly. Must never need a Postgres:
// these tests run against hand-written bytes and a stub server.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { every, everySplit } from '../../support/chop.ts'
import * as m from '../../support/messages.ts'
import { normalise, transcript } from '../../support/transcript.ts'
import { LoginError, WireClient } from '../../support/wire-client.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const LOGIN = [
  hex('52 00000008 00000000'),
  m.message('S', 'TimeZone\0UTC\0'),
  hex('4b 0000000c 0000002a 01020304'),
  hex('5a 00000005 49'),
]
const ROWS = [
  hex('54 0000001a 0001 6e00 00000000 0000 00000017 0004 ffffffff 0000'),
  hex('44 0000000b 0001 00000001 31'),
  hex('44 0000000a 0001 ffffffff'),
  m.message('C', 'SELECT 2\0'),
  hex('5a 00000005 49'),
]

async function stub(serve: (socket: Socket) => void) {
  const server = createServer(serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

describe('frontend messages', () => {
  it('are the bytes that the protocol names', () => {
    assert.deepEqual(m.startup({ user: 'a' }), hex('00000010 00030000 7573657200 6100 00'))
    assert.deepEqual(m.sslRequest(), hex('00000008 04d2162f'))
    assert.deepEqual(m.gssEncRequest(), hex('00000008 04d21630'))
    assert.deepEqual(m.cancelRequest(7, hex('01020304')), hex('00000010 04d2162e 00000007 01020304'))
    assert.equal(m.cancelRequest(7, Buffer.alloc(32)).length, 44)
    assert.deepEqual(m.query('x'), hex('51 00000006 7800'))
    assert.deepEqual(m.parse('x', { name: 's', types: [23] }), hex('50 0000000e 7300 7800 0001 00000017'))
    const bound = m.bind({ portal: 'p', statement: 's', params: ['1', null], formats: [1], results: [0] })
    assert.deepEqual(bound, hex('42 0000001b 7000 7300 0001 0001 0002 00000001 31 ffffffff 0001 0000'))
    assert.deepEqual(m.execute('p', 5), hex('45 0000000a 7000 00000005'))
    assert.deepEqual(m.saslInitialResponse('X', 'ab'), hex('70 0000000c 5800 00000002 6162'))
    assert.deepEqual(m.functionCall(1, ['a']), hex('46 00000013 00000001 0000 0001 00000001 61 0000'))
    assert.deepEqual(m.copyFail('no'), hex('66 00000007 6e6f00'))
  })
})

describe('backend messages', () => {
  it('are decoded wherever the chunks end', () => {
    const bytes = Buffer.concat([...LOGIN, ...ROWS])
    const expected = 'R(0) S(TimeZone=UTC) K Z(I) T D(2) C(SELECT 2) Z(I)'
    assert.equal(transcript(new m.BackendParser().push(bytes)), expected)
    const slow = new m.BackendParser()
    assert.equal(transcript(every(bytes, 1).flatMap((piece) => slow.push(piece))), expected)
    for (const pieces of everySplit(bytes)) {
      const parser = new m.BackendParser()
      assert.equal(transcript(pieces.flatMap((piece) => parser.push(piece))), expected)
    }
  })

  it('refuses what is malformed', () => {
    assert.throws(() => m.decode(m.message('Y')), /unknown type 'Y'/)
    assert.throws(() => m.decode(hex('5a 00000006 4949')), /1 bytes left over/)
    assert.throws(() => m.decode(hex('44 00000006 0001')), /a field of 4 bytes/)
    assert.throws(() => new m.BackendParser().push(hex('5a 00000003 00')), /length of 3/)
  })

  it('masks only what differs between two sessions', () => {
    const error = m.decode(m.message('E', 'SERROR\0VERROR\0C55P03\0Mwait for process 17\0L12\0\0'))
    const status = (name: string) => m.decode(m.message('S', `${name}\0x\0`))
    assert.deepEqual(normalise([status('b'), status('a'), error]), [
      'S(a=x)',
      'S(b=x)',
      'E{S=ERROR; V=ERROR; C=55P03; M=wait for process #}',
    ])
  })
})

describe('the wire client', () => {
  it('logs in, queries and keeps parameters and key', async () => {
    await using server = await stub((socket) => {
      socket.once('data', () => {
        socket.write(Buffer.concat(LOGIN))
        socket.once('data', () => socket.end(Buffer.concat(ROWS)))
      })
    })
    await using client = await WireClient.connect({ port: server.port, user: 'u' })
    assert.equal(client.parameters.get('TimeZone'), 'UTC')
    assert.equal(client.pid, 42)
    assert.deepEqual(client.key, hex('01020304'))
    const answer = await client.query('x')
    assert.deepEqual(answer.rows, [['1'], [null]])
    assert.equal(answer.tag, 'SELECT 2')
    assert.deepEqual(await client.closed, {})
    await assert.rejects(client.next(), /ended the connection; received: R\(0\)/)
  })

  it('fails with what it received', async () => {
    await using server = await stub((socket) => {
      socket.once('data', () => socket.write(Buffer.concat(LOGIN.slice(0, 2))))
    })
    const login = WireClient.connect({ port: server.port, timeout: 50 })
    await assert.rejects(login, /no message within 50 ms; received: R\(0\) S\(TimeZone=UTC\)/)
  })

  it('reports a refused login', async () => {
    await using server = await stub((socket) => {
      socket.once('data', () => socket.end(m.message('E', 'SFATAL\0VFATAL\0C3D000\0Mno\0\0')))
    })
    const login = WireClient.connect({ port: server.port })
    await assert.rejects(login, (error: LoginError) => error instanceof LoginError && error.code === '3D000')
  })

  it('sends pieces in separate segments', async () => {
    const sizes: number[] = []
    await using server = await stub((socket) => socket.on('data', (chunk) => sizes.push(chunk.length)))
    await using client = await WireClient.open({ port: server.port })
    await client.sendCut(m.query('abc'), [1, 4])
    client.halfClose()
    await client.closed
    assert.equal(
      sizes.reduce((sum, size) => sum + size),
      9,
    )
  })
})
