// Tests TLS on sockets: both roles, direct TLS, names, refusals, and the checks of certificate files.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { type ConnectionOptions, connect, TLSSocket } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { type Listener, listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { serverTls } from '../../../src/net/tls-server.ts'
import { memoryPair } from '../../support/memory-stream.ts'
import { CERT, clientTls, realPairs, secured, tempFolder } from './pairs.ts'
import { Recorder, record } from './stream-contract.ts'

const server = serverTls(CERT)
const pairs = realPairs('tcp')
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
let listener: Listener | null = null
let onStream: (stream: TcpStream) => void = () => {}
after(() => listener?.close())

/** The outcome of a handshake: null, or the error, as our server sees it; and the stream. */
interface Handshake {
  error: Error | null
  stream: TcpStream
  seen: Recorder
}

/**
 * Node's TLS client against our server, which starts TLS with the first bytes (`direct`) or after one byte,
 * as after an SSLRequest.
 */
async function handshake(
  direct: boolean,
  options: ConnectionOptions,
): Promise<Handshake & { client: TLSSocket }> {
  listener ??= await listen({ host: '127.0.0.1', port: 0 }, (stream) => onStream(stream))
  const outcome = new Promise<Handshake>((resolve) => {
    onStream = (stream) => {
      const seen = new Recorder()
      stream.handler = seen
      seen.onData = (chunk) => {
        seen.onData = Recorder.prototype.onData
        if (!direct) stream.write(Buffer.from('S'))
        stream.secure(server, direct ? chunk : null, (error) => resolve({ error, stream, seen }))
      }
    }
  })
  const raw = connectTcp(listener.port, '127.0.0.1')
  if (!direct) {
    raw.write('?')
    await new Promise((resolve) => raw.once('data', resolve))
  }
  const client = connect({ socket: raw, rejectUnauthorized: false, ...options })
  client.on('error', () => {})
  return { ...(await outcome), client }
}

/** A handshake for which somebody waited who can be seen to go. No closure of a caller must hold that one. */
async function forgottenHandshake() {
  listener ??= await listen({ host: '127.0.0.1', port: 0 }, (stream) => onStream(stream))
  const over = Promise.withResolvers<{ stream: TcpStream; waited: WeakRef<object> }>()
  onStream = (stream) => {
    const seen = new Recorder()
    stream.handler = seen
    seen.onData = (chunk) => {
      seen.onData = Recorder.prototype.onData
      const waiter = { tell: over.resolve }
      stream.secure(server, chunk, () => waiter.tell({ stream, waited: new WeakRef(waiter) }))
    }
  }
  const client = connect({ port: listener.port, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] })
  client.on('error', () => {})
  return { client, ...(await over.promise) }
}

describe('TLS as a server', () => {
  it('takes direct TLS with the ALPN name and carries bytes', async () => {
    const { error, stream, seen, client } = await handshake(true, { ALPNProtocols: ['postgresql'] })
    assert.equal(error, null)
    assert.equal(stream.peer.encrypted, true)
    client.write('hello')
    await seen.until(() => seen.bytes === 5)
    stream.end(Buffer.from('bye'))
    const answer = await new Promise((resolve) => client.once('data', resolve))
    assert.equal(String(answer), 'bye')
    client.end()
    await seen.closed()
    assert.deepEqual(seen.closes, ['closed by us'])
  })

  it('refuses direct TLS without the ALPN name, or with other names', async () => {
    const none = await handshake(true, {})
    assert.match(none.error?.message ?? '', /direct TLS needs the ALPN protocol "postgresql"/)
    await none.seen.closed()
    assert.deepEqual(none.seen.closes, ['TLS failed: direct TLS needs the ALPN protocol "postgresql"'])
    const other = await handshake(true, { ALPNProtocols: ['http/1.1'] })
    assert.match(other.error?.message ?? '', /peer offered other ALPN protocols only/)
    await other.seen.closed()
    none.client.destroy()
    other.client.destroy()
  })

  it('after an SSLRequest takes no ALPN and the right one, and refuses others', async () => {
    for (const options of [{}, { ALPNProtocols: ['h2', 'postgresql'] }]) {
      const { error, client, stream } = await handshake(false, options)
      assert.equal(error, null)
      stream.destroy('test over')
      client.destroy()
    }
    const other = await handshake(false, { ALPNProtocols: ['h2'] })
    assert.equal(other.error?.message, 'TLS failed: peer offered other ALPN protocols only')
    await other.seen.closed()
    assert.deepEqual(other.seen.closes, [other.error?.message])
  })

  it('a connection does not keep whoever waited for its handshake', async () => {
    const { client, stream, waited } = await forgottenHandshake()
    for (let round = 0; round < 3 && waited.deref() !== undefined; round++) {
      await new Promise((resolve) => setImmediate(resolve))
      collect()
    }
    assert.equal(waited.deref(), undefined)
    assert.equal(stream.peer.encrypted, true)
    client.destroy()
  })

  it('refuses TLS below 1.2', async () => {
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const
    const { error, client } = await handshake(false, old)
    assert.match(error?.message ?? '', /^TLS failed: /)
    client.destroy()
  })

  it('tells garbage, and a peer that leaves, in words', async () => {
    for (const [leave, words] of [
      [false, /^TLS failed: wrong version number$/],
      [true, /^TLS failed: peer closed the connection during the handshake$/],
    ] as const) {
      const { a, b } = await pairs()
      const { rb } = record({ a, b })
      const failed = assert.rejects(secured(b, server, null), { message: words })
      if (leave) a.destroy('test over')
      else a.write(Buffer.from('this is not a ClientHello at all'))
      await failed
      await rb.closed()
      assert.equal(rb.closes.length, 1)
      assert.match(rb.closes[0], words)
      a.destroy('test over')
    }
  })
})

describe('TLS as a client', () => {
  it('sends the name of a host but not an address, and verifies nothing', async () => {
    for (const [host, expected] of [
      ['localhost', 'localhost'],
      ['127.0.0.1', false],
      ['::1', false],
    ] as const) {
      const { a, b } = await pairs()
      record({ a, b })
      const names: unknown[] = []
      const emit = TLSSocket.prototype.emit
      TLSSocket.prototype.emit = function (this: TLSSocket & { servername?: unknown }, ...args: unknown[]) {
        if (args[0] === 'secure') names.push(this.servername)
        return Reflect.apply(emit, this, args)
      } as typeof emit
      await Promise.all([secured(b, server, null), secured(a, clientTls(host), null)])
      TLSSocket.prototype.emit = emit
      assert.ok(names.includes(expected), `${host}: ${names}`)
      assert.deepEqual([a.peer.encrypted, b.peer.encrypted], [true, true])
      a.destroy('test over')
    }
  })

  it('fails when the server does not speak TLS', async () => {
    const { a, b } = await pairs()
    const { ra } = record({ a, b })
    const failed = assert.rejects(secured(a, clientTls('localhost'), null), /^Error: TLS failed: /)
    b.write(Buffer.from('E this is an error in the clear'))
    await failed
    await ra.closed()
    assert.match(ra.closes[0], /^TLS failed: /)
    b.destroy('test over')
  })

  it('does nothing but fail on a memory stream', async () => {
    const [a] = memoryPair()
    await assert.rejects(secured(a, server, null), /a memory stream has no TLS/)
  })

  it('survives a callback that throws', async () => {
    setHandlerErrorReporter(() => {})
    const { a, b } = await pairs()
    const { ra } = record({ a, b })
    b.secure(server, null, () => {})
    a.secure(clientTls('localhost'), null, () => {
      throw new Error('boom')
    })
    await ra.closed()
    assert.deepEqual(ra.closes, ['internal error: boom'])
    b.destroy('test over')
  })
})

describe('certificate files', () => {
  it('names the file at fault', () => {
    const folder = tempFolder()
    const junk = join(folder, 'junk')
    const otherKey = join(folder, 'other.key')
    writeFileSync(junk, 'junk')
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(otherKey, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const none = join(folder, 'none')
    assert.throws(() => serverTls({ ...CERT, certFile: none }), {
      message: `the TLS certificate ${none} cannot be read: no such file`,
    })
    assert.throws(() => serverTls({ ...CERT, keyFile: none }), {
      message: `the TLS key ${none} cannot be read: no such file`,
    })
    assert.throws(() => serverTls({ ...CERT, certFile: junk }), {
      message: `${junk} holds no PEM certificate`,
    })
    assert.throws(() => serverTls({ ...CERT, keyFile: junk }), {
      message: `${junk} holds no PEM key without a passphrase`,
    })
    assert.throws(
      () => serverTls({ ...CERT, keyFile: otherKey }),
      (error: Error) => {
        assert.match(error.message, /does not belong to the certificate/)
        assert.ok(error.message.includes(otherKey))
        assert.ok(!error.message.includes('PRIVATE KEY'))
        return true
      },
    )
  })
})
