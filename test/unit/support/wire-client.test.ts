// Owns: proof that the test client says and reads the protocol rightly. Must never use
// src/wire: hand-written bytes, a stub server and a real Postgres are what it is held against.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createSecureContext, TLSSocket } from 'node:tls'
import { every, everySplit } from '../../support/chop.ts'
import * as m from '../../support/messages.ts'
import { getPostgres } from '../../support/postgres.ts'
import { normalise, transcript } from '../../support/transcript.ts'
import { LoginError, WireClient } from '../../support/wire-client.ts'

const pem = (end: string) => readFileSync(new URL(`../../support/certs/localhost.${end}`, import.meta.url))
const { host, port, user, password, database } = await getPostgres()
const address = { host, port, user, password, database }
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

  for (const ssl of ['request', 'direct'] as const) {
    it(`turns to TLS: ${ssl}`, async () => {
      const secureContext = createSecureContext({ cert: pem('crt'), key: pem('key') })
      const protocols: unknown[] = []
      const serve = (socket: Socket) => {
        const secure = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['postgresql'] })
        secure.once('secure', () => protocols.push(secure.alpnProtocol))
        secure.once('data', () => secure.end(Buffer.concat(LOGIN)))
      }
      await using server = await stub((socket) => {
        if (ssl === 'direct') return serve(socket)
        socket.once('readable', () => {
          assert.deepEqual(socket.read(), m.sslRequest())
          socket.write('S', () => serve(socket))
        })
      })
      await using client = await WireClient.connect({ port: server.port, ssl })
      assert.deepEqual([client.pid, protocols], [42, ['postgresql']])
    })
  }

  it('goes on in the clear only where it may', async () => {
    await using server = await stub((socket) => {
      socket.once('data', () => {
        socket.write('N')
        socket.once('data', () => socket.end(Buffer.concat(LOGIN)))
      })
    })
    await using client = await WireClient.connect({ port: server.port, ssl: 'prefer' })
    assert.equal(client.pid, 42)
    await assert.rejects(WireClient.connect({ port: server.port, ssl: 'request' }), /answered with 'N'/)
  })

  it('speaks through a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wire-'))
    const server = createServer((socket) => socket.once('data', () => socket.end(Buffer.concat(LOGIN))))
    server.listen(join(folder, '.s.PGSQL.7'))
    await once(server, 'listening')
    const client = await WireClient.connect({ host: folder, port: 7 })
    assert.equal(client.pid, 42)
    await client.closed
    server.close()
    await rm(folder, { recursive: true })
  })
})

describe('logging in to a real Postgres', () => {
  for (const method of ['md5', 'scram-sha-256']) {
    it(`with a password kept as ${method}`, async () => {
      const role = `kept_${method.replaceAll('-', '_')}`
      await using admin = await WireClient.connect(address)
      const made = await admin.query(
        `set password_encryption = '${method}'; create role ${role} login password 'p'`,
      )
      assert.equal(made.error, null)
      const methods = async (password: string) => {
        await using client = await WireClient.connect({
          ...address,
          user: role,
          password,
          database: 'postgres',
        })
        return client.received.flatMap((message) => (message.type === 'R' ? [message.method] : []))
      }
      // A Postgres that wants SCRAM refuses a role that has no such secret: only the words differ then.
      const wanted = (await admin.query("select auth_method from pg_hba_file_rules where type = 'host'")).rows
      const expected = method === 'md5' ? [5, 0] : [10, 11, 12, 0]
      if (method === 'md5' && wanted.every(([name]) => name === 'scram-sha-256'))
        await assert.rejects(methods('p'), /28P01/)
      else assert.deepEqual(await methods('p'), expected)
      await assert.rejects(methods('wrong'), /28P01/)
      await admin.query(`drop role ${role}`)
    })
  }
})
