// Tests what a handshake shows: the hash of the certificate, the peer's names, and which certificates are
// believed. openssl is the other opinion.
import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { after, describe, it } from 'node:test'
import { type ConnectionOptions, connect } from 'node:tls'
import { listen } from '../../../src/net/listen.ts'
import type { TcpStream } from '../../../src/net/tcp-stream.ts'
import { endPointOf, namesOf } from '../../../src/net/tls-peer.ts'
import { serverTls } from '../../../src/net/tls-server.ts'
import type { TlsPeer } from '../../../src/wire/byte-stream.ts'
import { Authority, NO_OPENSSL, openssl, showing } from '../../support/authority.ts'
import { notRun } from '../../support/postgres.ts'
import { CERT, clientTls, realPairs, secured } from './pairs.ts'
import { Recorder, record } from './stream-contract.ts'

const authority = NO_OPENSSL === '' ? new Authority() : null
const RSA = ['-newkey', 'rsa:2048']

function load(file: string): X509Certificate {
  return new X509Certificate(readFileSync(file))
}

describe('tls-server-end-point', () => {
  const cases: [string, { key?: string[]; sign?: string[] }, string | null][] = [
    ['ECDSA with SHA-256', {}, 'sha256'],
    ['ECDSA with SHA-384', { sign: ['-sha384'] }, 'sha384'],
    ['ECDSA with SHA-1 counts as SHA-256', { sign: ['-sha1'] }, 'sha256'],
    ['RSA with SHA-512', { key: RSA, sign: ['-sha512'] }, 'sha512'],
    ['RSA with SHA-224', { key: RSA, sign: ['-sha224'] }, 'sha224'],
    ['RSA with SHA-1 counts as SHA-256', { key: RSA, sign: ['-sha1'] }, 'sha256'],
    ['RSA with MD5 counts as SHA-256', { key: RSA, sign: ['-md5'] }, 'sha256'],
    ['RSA-PSS with SHA-384', { key: RSA, sign: ['-sha384', '-sigopt', 'rsa_padding_mode:pss'] }, 'sha384'],
    ['RSA-PSS with SHA-1', { key: RSA, sign: ['-sha1', '-sigopt', 'rsa_padding_mode:pss'] }, 'sha256'],
    ['Ed25519 has none', { key: ['-newkey', 'ed25519'] }, null],
  ]
  for (const [name, options, hash] of cases) {
    it(name, (t) => {
      if (NO_OPENSSL !== '') return notRun(t, NO_OPENSSL)
      const { raw } = load(new Authority('end point', options).caFile)
      const expected = hash === null ? null : createHash(hash).update(raw).digest()
      assert.deepEqual(endPointOf(raw), expected)
    })
  }

  it('is null for what is no certificate, however it is cut', () => {
    const { raw } = load(CERT.certFile)
    for (let length = 0; length < raw.length; length++)
      assert.equal(endPointOf(raw.subarray(0, length)), null)
    for (let at = 0; at < 200; at++) endPointOf(Buffer.concat([raw.subarray(0, at), Buffer.alloc(20, 0xff)]))
  })
})

describe('names in a certificate', () => {
  const subjects = [
    '/CN=alice',
    '/O=only a company',
    '/C=DE/O=Ex, Inc./OU=a\\+b; <c>/CN=a "quoted" = name',
    '/DC=org/DC=example/UID=7+CN=two in one/emailAddress=x@example.com',
    '/CN=first/CN=second',
    '/CN=jürg ☂/O= leading and trailing ',
    '/CN=#hash/O=back\\\\slash/L=a \\+ b',
  ]
  for (const subject of subjects) {
    it(`prints ${subject} as openssl and Postgres do`, (t) => {
      if (authority === null) return notRun(t, NO_OPENSSL)
      const { certFile } = authority.issue(subject)
      const printed = openssl(['x509', '-in', certFile, '-noout', '-subject', '-nameopt', 'RFC2253'])
      const { distinguishedName } = namesOf(load(certFile))
      assert.equal(distinguishedName, printed.replace(/^subject=/, '').replace(/\n$/, ''))
    })
  }

  it('gives the first common name as it is, and "" for none', (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const nameOf = (subject: string) => namesOf(load(authority.issue(subject).certFile)).commonName
    assert.equal(nameOf('/CN=first/CN=second'), 'first')
    assert.equal(nameOf('/O=x'), '')
    assert.equal(nameOf('/CN=jürg, "x" \\+ y\\\\z #1 '), 'jürg, "x" + y\\z #1 ')
    assert.equal(nameOf('/O=a/CN=two\\+CN=three'), 'two+CN=three')
  })

  it('gives DNS names, mail addresses and URIs', (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const san = 'DNS:alice,email:alice@example.com,IP:127.0.0.1,URI:urn:a:b,DNS:second'
    const { alternativeNames } = namesOf(load(authority.issue('/CN=x', { san }).certFile))
    assert.deepEqual(alternativeNames, ['alice', 'alice@example.com', 'urn:a:b', 'second'])
  })

  it('is not led astray by a name that reads as two, nor by one with a NUL', () => {
    const fake = (subject: string, subjectAltName: string) =>
      namesOf({ subject, subjectAltName } as X509Certificate)
    assert.deepEqual(fake('', 'DNS:"a, DNS:root", email:b').alternativeNames, ['a, DNS:root', 'b'])
    assert.deepEqual(fake('', 'DNS:"a\\u0000b", URI:c').alternativeNames, ['c'])
    assert.equal(fake('O=x\nCN=root\\00evil', '').commonName, '')
    assert.equal(fake('O=x\\0ACN=root', '').commonName, '')
  })
})

describe('after a handshake', () => {
  it('both sides know the hash of the certificate of the server, and nobody showed another', async () => {
    const pair = await realPairs('tcp')()
    record(pair)
    await Promise.all([secured(pair.b, serverTls(CERT), null), secured(pair.a, clientTls('localhost'), null)])
    const endPoint = createHash('sha256').update(load(CERT.certFile).raw).digest()
    const shown = { endPoint, certificate: null, certificateProblem: '' }
    assert.deepEqual(pair.a.peer.tls, shown)
    assert.deepEqual(pair.b.peer.tls, shown)
  })

  it('a listener with authorities believes their certificates and no others', async (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const settings = serverTls({ ...CERT, caFile: authority.caFile })
    let onStream: (stream: TcpStream) => void = () => {}
    const listener = await listen({ host: '127.0.0.1', port: 0 }, (stream) => onStream(stream))
    after(() => listener.close())
    const shown = async (options: ConnectionOptions): Promise<TlsPeer | null | undefined> => {
      const peer = new Promise<TlsPeer | null | undefined>((resolve, reject) => {
        onStream = (stream) => {
          const seen = new Recorder()
          stream.handler = seen
          seen.onData = (chunk) => {
            seen.onData = Recorder.prototype.onData
            stream.secure(settings, chunk, (error) => {
              if (error === null) resolve(stream.peer.tls)
              else reject(error)
              stream.destroy('test over')
            })
          }
        }
      })
      const socket = connectTcp(listener.port, '127.0.0.1')
      const client = connect({ socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'], ...options })
      client.on('error', () => {})
      return peer.finally(() => client.destroy())
    }
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const right = await shown({ maxVersion, ...showing(authority.issue('/CN=alice')) })
      assert.equal(right?.certificate?.commonName, 'alice', maxVersion)
      assert.equal(right?.certificateProblem, '')
      const none = await shown({ maxVersion })
      assert.equal(none?.certificate, null)
      assert.equal(none?.certificateProblem, '')
      const expired = await shown({ maxVersion, ...showing(authority.issue('/CN=alice', { days: -1 })) })
      assert.equal(expired?.certificate, null)
      assert.equal(expired?.certificateProblem, 'certificate has expired')
      const stranger = new Authority('a stranger')
      const foreign = await shown({ maxVersion, ...showing(stranger.issue('/CN=alice')) })
      assert.equal(foreign?.certificate, null)
      assert.match(
        foreign?.certificateProblem ?? '',
        /unable to (get local issuer|verify the first) certificate/,
      )
    }
  })
})
