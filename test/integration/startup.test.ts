// The door: startup packets of every shape, protocol versions, encryption requests and refusals. What
// Postgres answers here is what pgmux answers, and nothing said here harms anybody else.
import assert from 'node:assert/strict'
import { connect as connectTls } from 'node:tls'
import { connect, type Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import { direct, stage, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { startPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { normalise, transcript } from '../support/transcript.ts'
import { type ClientOptions, LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { pooler } = await stage(postgres, 'plain', { pool: { mode: 'transaction', size: 2 } })
const certs = new URL('../support/certs/', import.meta.url).pathname
const encrypted = await startPooler(postgres.url, {
  client: { tls: { mode: 'allow', certFile: `${certs}localhost.crt`, keyFile: `${certs}localhost.key` } },
})
after(() => encrypted.stop())

const packet = (version: number, params: Record<string, string> = {}) =>
  m.startup({ user: postgres.user, database: postgres.database, ...params }, version)

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** Sends these pieces, each when the one before is on its way; what came until the other side closed. */
async function raw(port: number, pieces: readonly Uint8Array[], host = pooler.host): Promise<Buffer> {
  const socket = connect({ host, port })
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  for (const piece of pieces) {
    await new Promise<void>((resolve) => socket.write(piece, () => setImmediate(resolve)))
  }
  await closed
  return Buffer.concat(chunks)
}

/** The messages in these bytes. */
function messages(bytes: Buffer): string[] {
  return normalise(new m.BackendParser().push(bytes))
}

/** Sends a startup packet in any pieces and logs in with the password; what the server said. */
async function loginWith(options: ClientOptions, version: number, params: Record<string, string> = {}) {
  await using client = await WireClient.open(options)
  client.options.params = params
  client.options.minor = version & 0xffff
  await client.login()
  return { transcript: client.received.map((message) => transcript([message])), key: client.key }
}

describe('protocol versions', () => {
  it('3.0 has keys of 4 bytes, 3.2 of 32', async () => {
    for (const [minor, length] of [
      [0, 4],
      [2, 32],
    ] as const) {
      const { key, transcript: said } = await loginWith(through(pooler, postgres), 0x30000 + minor)
      assert.equal(key.length, length)
      assert.ok(!said.some((one) => one.startsWith('v(')))
    }
  })

  it('3.9 is answered with 3.2, once, and works', async () => {
    const { key, transcript: said } = await loginWith(through(pooler, postgres), 0x30009)
    assert.deepEqual(
      said.filter((one) => one.startsWith('v(')),
      ['v(2)'],
    )
    assert.equal(key.length, 32)
  })

  it('3.1 is told nothing, as by Postgres 18', async () => {
    const { key, transcript: said } = await loginWith(through(pooler, postgres), 0x30001)
    assert.equal(key.length, 4)
    assert.deepEqual(
      said.filter((one) => one.startsWith('v(')),
      [],
    )
  })

  it('unknown _pq_ options are named, once', async () => {
    const params = { '_pq_.one': 'x', '_pq_.two': '', '_pq_.command': 'y' }
    const { transcript: said } = await loginWith(through(pooler, postgres), 0x30000, params)
    assert.deepEqual(
      said.filter((one) => one.startsWith('v(')),
      ['v(0 _pq_.one _pq_.two _pq_.command)'],
    )
    const newer = await loginWith(through(pooler, postgres), 0x30009, params)
    assert.deepEqual(
      newer.transcript.filter((one) => one.startsWith('v(')),
      ['v(2 _pq_.one _pq_.two _pq_.command)'],
    )
    assert.equal(said[0], 'v(0 _pq_.one _pq_.two _pq_.command)')
  })

  for (const version of [0x20000, 0x40000, 0x10000, 0, 1, 0x7fffffff]) {
    it(`${version >> 16}.${version & 0xffff}: Postgres' refusal`, async (t) => {
      if (postgres.major < 14) return notRun(t, 'Postgres 13 speaks protocol 2 as well')
      const bytes = [packet(version)]
      const said = await raw(pooler.port, bytes)
      const expected = await raw(postgres.port, bytes, postgres.host)
      // The newest minor version that the server knows is in the text; before version 3 it is all text.
      const isOld = version > 0 && version < 0x30000
      const read = (all: Buffer) => (isOld ? [all.toString('latin1')] : messages(all))
      const anyMinor = (all: string[]) => all.map((one) => one.replace(/ 3\.\d/g, ' 3.x'))
      assert.deepEqual(anyMinor(read(said)), anyMinor(read(expected)))
    })
  }
})

describe('startup packets', () => {
  it('one byte at a time', async () => {
    await using client = await WireClient.open(through(pooler, postgres))
    const bytes = packet(0x30000)
    await client.sendCut(
      bytes,
      Array.from({ length: bytes.length }, (_, index) => index),
    )
    const [first] = await client.until('R')
    assert.equal(first?.type === 'R' && first.method, 10)
  })

  it('as long as can be', async () => {
    for (const options of [direct(postgres), through(pooler, postgres)]) {
      await using client = await WireClient.open(options)
      client.send(packet(0x30000, { options: ' '.repeat(9_900) }))
      const [first] = await client.until('R')
      assert.equal(first?.type === 'R' && first.method, 10)
    }
  })

  const shapes: Record<string, Uint8Array[]> = {
    'no user': [m.startup({ database: 'postgres' })],
    'an empty user': [m.startup({ user: '', database: 'postgres' })],
    'no terminator': [m.untyped(int32(0x30000), 'user\0postgres\0')],
    'a name without a value': [m.untyped(int32(0x30000), 'user\0postgres\0database\0')],
    'bytes behind the terminator': [m.untyped(int32(0x30000), 'user\0postgres\0\0more\0')],
  }
  for (const [name, bytes] of Object.entries(shapes)) {
    it(`${name}: as Postgres`, async () => {
      const expected = messages(await raw(postgres.port, bytes, postgres.host))
      assert.equal(expected.length, 1)
      assert.deepEqual(messages(await raw(pooler.port, bytes)), expected)
    })
  }

  // Postgres closes without a word and writes these words to its log; pgmux says them.
  const broken: Record<string, Uint8Array[]> = {
    'too long': [packet(0x30000, { options: 'x'.repeat(10_001) })],
    'announced too long': [int32(10_005), int32(0x30000)],
    'a length of 4': [int32(4)],
    'a length of 7': [int32(7), Buffer.alloc(3)],
    'a length of 0': [int32(0)],
    'a negative length': [int32(-1)],
    'a password first': [m.password('secret')],
    'a query first': [m.query('select 1')],
    'an HTTP request': [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  }
  for (const [name, bytes] of Object.entries(broken)) {
    it(`${name}: refused at once`, async () => {
      assert.deepEqual(messages(await raw(postgres.port, bytes, postgres.host)), [])
      assert.deepEqual(messages(await raw(pooler.port, bytes)), [
        'E{S=FATAL; V=FATAL; C=08P01; M=invalid length of startup packet}',
      ])
      await using after = await WireClient.connect(through(pooler, postgres))
      assert.equal((await after.query('select 1')).tag, 'SELECT 1')
    })
  }

  it('requests pipelined behind the password', async () => {
    await using client = await WireClient.open(through(pooler, postgres))
    const more = [m.query("select 'early'"), m.parse("select 'late'"), m.bind(), m.execute(), m.sync()]
    const send = client.send.bind(client)
    let said = 0
    // Startup packet, first and last message of SCRAM: after the third a client has said all it has to.
    client.send = (...bytes) => send(...bytes, ...(++said === 3 ? more : []))
    await client.login()
    const values: (string | undefined)[] = []
    for (let count = 0; count < 2; count++) {
      const row = (await client.until('Z')).find((message) => message.type === 'D')
      values.push(row?.values[0]?.toString())
    }
    assert.deepEqual(values, ['early', 'late'])
  })
})

describe('encryption requests', () => {
  const ssl = m.sslRequest()
  const gss = m.gssEncRequest()
  const bad = m.startup({ database: 'x' })

  for (const [name, pieces, answers] of [
    ['SSL then GSS', [ssl, gss, bad], 'NN'],
    ['GSS then SSL', [gss, ssl, bad], 'NN'],
    ['SSL', [ssl, bad], 'N'],
    ['GSS', [gss, bad], 'N'],
  ] as [string, Buffer[], string][]) {
    it(`${name}: refused, then in the clear`, async () => {
      const bytes = await inTurns(pieces, answers.length)
      assert.equal(bytes.subarray(0, answers.length).toString(), answers)
      assert.match(messages(bytes.subarray(answers.length))[0] ?? '', /C=28000; M=no PostgreSQL user name/)
    })
  }

  for (const [name, pieces] of [
    ['SSL twice', [ssl, ssl]],
    ['GSS twice', [gss, gss]],
  ] as [string, Buffer[]][]) {
    it(`${name}: the second ends it`, async () => {
      const bytes = await inTurns(pieces, 1)
      assert.equal(bytes[0], 0x4e)
      assert.match(messages(bytes.subarray(1))[0] ?? '', /C=0A000; M=unsupported frontend protocol 1234\.56/)
    })
  }

  it('a hundred thousand SSLRequests in one write', async () => {
    const bytes = await raw(pooler.port, [Buffer.concat(Array.from({ length: 100_000 }, () => ssl))])
    assert.ok(bytes.length < 1000)
    await using after = await WireClient.connect(through(pooler, postgres))
    assert.equal((await after.query('select 1')).tag, 'SELECT 1')
  })

  it('bytes in the clear behind an SSLRequest that is granted are refused', async () => {
    const bytes = await raw(encrypted.port, [Buffer.concat([ssl, packet(0x30000)])])
    assert.match(messages(bytes)[0] ?? '', /C=08P01; M=received unencrypted data after SSL request/)
  })

  it('TLS after SSLRequest, after GSS and SSL, and at once', async () => {
    const options = { ...through(encrypted, postgres) }
    for (const way of ['request', 'direct'] as const) {
      await using client = await WireClient.connect({ ...options, ssl: way })
      assert.equal((await client.query('select 1')).tag, 'SELECT 1')
    }
    const socket = connect({ host: encrypted.host, port: encrypted.port })
    assert.equal(await ask(socket, gss), 'N')
    assert.equal(await ask(socket, ssl), 'S')
    const secure = connectTls({ socket, rejectUnauthorized: false })
    await new Promise<void>((resolve) => secure.once('secureConnect', () => resolve()))
    secure.destroy()
  })

  it('a TLS handshake without ALPN, or where TLS is off, is closed', async () => {
    for (const port of [encrypted.port, pooler.port]) {
      const secure = connectTls({ host: pooler.host, port, rejectUnauthorized: false })
      const error = await new Promise<Error | null>((resolve) => {
        secure.once('error', resolve).once('end', () => resolve(null))
        secure.once('secureConnect', () => secure.resume())
      })
      secure.destroy()
      assert.ok(error === null || error instanceof Error)
      assert.equal(secure.authorized, false)
    }
  })

  /** Sends the first pieces one by one, each when the byte that answers the one before has come. */
  async function inTurns(pieces: readonly Buffer[], answers: number): Promise<Buffer> {
    const socket = connect({ host: pooler.host, port: pooler.port })
    let got = ''
    for (let index = 0; index < answers; index++) got += await ask(socket, pieces[index] as Buffer)
    const rest: Buffer[] = []
    socket.on('data', (chunk: Buffer) => rest.push(chunk)).on('error', () => {})
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    for (const piece of pieces.slice(answers)) socket.write(piece)
    await closed
    return Buffer.concat([Buffer.from(got), ...rest])
  }

  function ask(socket: Socket, bytes: Buffer): Promise<string> {
    socket.write(bytes)
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('data', (chunk: Buffer) => {
        socket.off('error', reject)
        resolve(chunk.toString('latin1'))
      })
    })
  }
})

describe('refusals', () => {
  const login = async (options: ClientOptions): Promise<string[]> => {
    try {
      await using client = await WireClient.connect(options)
      return normalise(client.received)
    } catch (error) {
      assert.ok(error instanceof LoginError, String(error))
      return normalise(error.messages)
    }
  }

  it('an unknown database', async () => {
    const database = 'no such "database"'
    const expected = await login(direct(postgres, { database }))
    assert.deepEqual(await login(through(pooler, postgres, { database })), expected)
    assert.match(expected.at(-1) ?? '', /3D000/)
  })

  it('an unknown user and a wrong password: the same words', async () => {
    const unknown = await login(through(pooler, postgres, { user: 'nobody' }))
    const wrong = await login(through(pooler, postgres, { password: 'wrong' }))
    assert.deepEqual(wrong, await login(direct(postgres, { password: 'wrong' })))
    assert.deepEqual(
      unknown.map((one) => one.replace('nobody', postgres.user)),
      wrong,
    )
    assert.match(wrong.at(-1) ?? '', /28P01/)
  })

  it('a message that is no password', async () => {
    for (const bytes of [m.query('select 1'), m.sync(), m.message('p'), m.password('x'.repeat(70_000))]) {
      const said = await raw(pooler.port, [packet(0x30000), bytes])
      const all = new m.BackendParser().push(said)
      assert.match(transcript(all.slice(-1)), /^E\((08P01|28P01)\)$/)
    }
  })

  it('a client that goes in the middle harms nobody', async () => {
    for (let length = 0; length < 40; length++) {
      const socket = connect({ host: pooler.host, port: pooler.port })
      await new Promise<void>((resolve) => socket.once('connect', () => resolve()))
      socket.write(packet(0x30000).subarray(0, length))
      socket.destroy()
    }
    await using client = await WireClient.connect(through(pooler, postgres))
    assert.equal((await client.query('select 1')).tag, 'SELECT 1')
  })
})

describe('a request behind the password', () => {
  it('is what its client has sent, whatever others send while the password is checked', async () => {
    const names = ['early1', 'early2', 'early3']
    const password = 'not known before'
    const users = new Map([[postgres.user, { secret: postgres.password }]])
    for (const name of names) {
      await postgres.admin(`create role ${name} password '${password}'`)
      const [row] = await postgres.admin(`select rolpassword from pg_authid where rolname = '${name}'`)
      users.set(name, { secret: String(row?.rolpassword) })
    }
    const slow = await startPooler(postgres.url, { users, client: { auth: 'password' } })
    after(() => slow.stop())
    await using other = await WireClient.connect(through(slow, postgres))
    const asked = (letter: string) => m.query(`select '${letter.repeat(30_000)}'`)
    for (const user of names) {
      await using early = await WireClient.open(through(slow, postgres))
      early.send(packet(0x30000, { user }))
      await early.until('R')
      early.send(m.password(password), asked('e'))
      other.send(asked('o'), asked('o'), asked('o'))
      await early.until('Z')
      const [, row] = await early.until('Z')
      assert.ok(row?.type === 'D')
      assert.equal(row.values[0]?.toString(), 'e'.repeat(30_000))
      for (let answer = 0; answer < 3; answer++) await other.until('Z')
    }
  })
})
