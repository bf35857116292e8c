// The TLS that clients may and must use, through real sockets: modes, certificates and the names in them,
// single databases, cancel requests, Unix sockets. What each method says is in auth-table.test.ts.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import type { DatabaseConfig } from '../../src/config/types.ts'
import { Authority, type Issued, NO_OPENSSL, showing } from '../support/authority.ts'
import { direct, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { merge, type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Rig } from '../support/rig.ts'
import { testCertificate } from '../support/server-files.ts'
import { type ClientOptions, LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const authority = NO_OPENSSL === '' ? new Authority() : null

/** A pooler whose clients use TLS in this way; stopped with the file. */
async function pooler(client: Overrides['client'], more: Overrides = {}): Promise<TestPooler> {
  const base = { client: { tls: { mode: 'allow', ...testCertificate(), caFile: authority?.caFile ?? '' } } }
  const config = await startPooler(postgres.url, merge(merge(base as never, { client } as never), more))
  after(() => config.stop())
  return config
}

/** '' where the login succeeds, else the error's SQLSTATE and words. */
async function outcome(at: TestPooler, options: ClientOptions = {}): Promise<string> {
  try {
    await using client = await WireClient.connect(through(at, postgres, options))
    assert.equal((await client.query('select 1')).error, null)
    return ''
  } catch (error) {
    assert.ok(error instanceof LoginError, String(error))
    return error.message.replace(/^FATAL /, '')
  }
}

const overTls = (certificate: Issued | null = null): ClientOptions => ({
  ssl: 'request',
  tls: certificate === null ? {} : showing(certificate),
})

suite('modes', () => {
  test('disable: SSLRequest is answered N, direct TLS is closed', async () => {
    const at = await pooler({ tls: { mode: 'disable' } })
    assert.equal(await outcome(at), '')
    await assert.rejects(WireClient.connect(through(at, postgres, { ssl: 'request' })), /answered with 'N'/)
    await assert.rejects(WireClient.connect(through(at, postgres, { ssl: 'direct' })))
    assert.equal(await outcome(at, { ssl: 'prefer' }), '')
  })

  test('min_version: an older TLS fails, and the log says so', async () => {
    const at = await pooler({ tls: { minVersion: 'TLSv1.3' } })
    assert.equal(await outcome(at, overTls()), '')
    const old = through(at, postgres, { ssl: 'request', tls: { maxVersion: 'TLSv1.2' } })
    await assert.rejects(WireClient.connect(old))
    const line = at.lines.find(({ message }) => message === 'client refused')
    assert.match(String(line?.fields.error), /^TLS failed: .*(version|protocol)/i)
  })

  test('a database may ask for more than the rest, never for less', async () => {
    const databases = new Map([
      ['strict', { clientTlsMode: 'require', dbname: postgres.database }],
      ['open', { clientTlsMode: 'disable', dbname: postgres.database }],
    ] as const)
    const offered = await pooler({}, { databases })
    assert.match(await outcome(offered, { database: 'strict' }), /^28000: this server requires TLS/)
    assert.equal(await outcome(offered, { database: 'strict', ...overTls() }), '')
    assert.equal(await outcome(offered, { database: 'open' }), '')
    const required = await pooler({ tls: { mode: 'require' } }, { databases })
    assert.match(await outcome(required, { database: 'open' }), /^28000: this server requires TLS/)
  })

  test('any server name is taken, and none', async () => {
    const at = await pooler({ tls: { mode: 'require' } })
    for (const servername of ['', 'localhost', 'other.example.com', 'x'.repeat(250)]) {
      assert.equal(await outcome(at, { ssl: 'request', tls: { servername } }), '', servername)
    }
  })

  test('Unix sockets have no TLS and are asked for none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgmux-tls-'))
    after(() => rmSync(folder, { recursive: true, force: true }))
    const at = await pooler({ tls: { mode: 'require' } }, { listen: { unixSocketDir: folder } })
    const local = { ...direct(postgres), host: folder, port: at.port }
    await using client = await WireClient.connect({ ...local, ssl: 'prefer' })
    assert.equal((await client.query('select 1')).error, null)
    await assert.rejects(WireClient.connect({ ...local, ssl: 'request' }), /answered with 'N'/)
    await assert.rejects(WireClient.connect({ ...local, ssl: 'direct' }))
  })
})

suite('E17: direct TLS', () => {
  test('needs the ALPN name of Postgres', async () => {
    const at = await pooler({ tls: { mode: 'require' } })
    assert.equal(await outcome(at, { ssl: 'direct' }), '')
    for (const ALPNProtocols of [[], ['http/1.1'], ['postgres']]) {
      const options = through(at, postgres, { ssl: 'direct', tls: { ALPNProtocols } })
      await assert.rejects(
        WireClient.connect(options),
        (error: Error) => !(error instanceof LoginError),
        String(ALPNProtocols),
      )
    }
  })

  test('SSLRequest inside TLS, or a second one, is refused as by Postgres', async () => {
    const at = await pooler({})
    await using client = await WireClient.open(through(at, postgres, { ssl: 'request' }))
    client.send(m.sslRequest())
    const messages = await client.untilClosed()
    assert.deepEqual(
      messages.map((one) => (one.type === 'E' ? `${one.code} ${one.message}` : one.type)),
      ['0A000 unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2'],
    )
  })
})

suite('E01: bytes in front of TLS', () => {
  test('that came in the clear with the SSLRequest are refused, with one error', async () => {
    const at = await pooler({})
    for (const stuffed of [m.startup({ user: 'postgres' }), Buffer.from([0x16])]) {
      await using stranger = await WireClient.open({ host: at.host, port: at.port })
      stranger.send(m.sslRequest(), stuffed)
      const messages = await stranger.untilClosed()
      const said = messages.map((one) => (one.type === 'E' ? `${one.code} ${one.message}` : one.type))
      assert.deepEqual(said, ['08P01 received unencrypted data after SSL request'])
    }
  })
})

suite('certificates of clients', () => {
  test('are not needed, but a bad one is refused whatever the method', async (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const at = await pooler({})
    assert.equal(await outcome(at, overTls()), '')
    assert.equal(await outcome(at, overTls(authority.issue('/CN=anybody'))), '')
    const stranger = new Authority('another authority').issue(`/CN=${postgres.user}`)
    assert.match(
      await outcome(at, overTls(stranger)),
      /^28000: client certificate verification failed: unable/,
    )
    const old = authority.issue(`/CN=${postgres.user}`, { days: -1 })
    const refused = '28000: client certificate verification failed: certificate has expired'
    assert.equal(await outcome(at, overTls(old)), refused)
    const { certFile, keyFile } = testCertificate()
    assert.match(await outcome(at, overTls({ certFile, keyFile })), /^28000: client certificate verification/)
  })

  test('are not asked for without an authority', async (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const at = await pooler({ tls: { caFile: '' } })
    const stranger = new Authority('another authority').issue('/CN=x')
    assert.equal(await outcome(at, overTls(stranger)), '')
  })

  test('name the user by common name, whole subject or another name', async (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const { user } = postgres
    const byName = authority.issue(`/O=Tests/CN=${user}`)
    const bySan = authority.issue('/O=Tests/CN=other', { san: `DNS:x,email:${user}` })
    const mismatch = `28000: certificate authentication failed for user "${user}"`
    const secret = { users: new Map([[user, { secret: postgres.password }]]) }
    const common = await pooler({ auth: 'cert', certName: 'CN' }, secret)
    const whole = await pooler({ auth: 'cert', certName: 'DN' }, secret)
    const alternative = await pooler({ auth: 'cert', certName: 'SAN' }, secret)
    assert.equal(await outcome(common, overTls(byName)), '')
    assert.equal(await outcome(common, overTls(bySan)), mismatch)
    assert.equal(await outcome(whole, overTls(byName)), mismatch)
    assert.equal(await outcome(alternative, overTls(bySan)), '')
    assert.equal(await outcome(alternative, overTls(byName)), mismatch)
    const exact = (name: string) => ({ kind: 'exact' as const, name })
    const identFile = [{ map: 'm', system: exact(`CN=${user},O=Tests`), user: exact(user) }]
    const mapped = await pooler({ auth: 'cert', certName: 'DN', certMap: 'm', identFile }, secret)
    assert.equal(await outcome(mapped, overTls(byName)), '')
    assert.equal(await outcome(mapped, overTls(bySan)), mismatch)
  })

  test('are asked for by verify-ca, and by a database alone', async (t) => {
    if (authority === null) return notRun(t, NO_OPENSSL)
    const databases = new Map<string, DatabaseConfig>([
      ['vault', { clientTlsMode: 'verify-ca', dbname: postgres.database }],
      ['*', {}],
    ])
    const at = await pooler({}, { databases })
    assert.equal(await outcome(at, overTls()), '')
    const missing = '28000: connection requires a valid client certificate'
    assert.equal(await outcome(at, { database: 'vault', ...overTls() }), missing)
    assert.match(await outcome(at, { database: 'vault' }), /^28000: this server requires TLS/)
    const own = authority.issue('/CN=anybody')
    assert.equal(await outcome(at, { database: 'vault', ...overTls(own) }), '')
  })
})

suite('scram-sha-256-plus', () => {
  test('takes logins bound to the certificate and no others', async () => {
    const at = await pooler({ auth: 'scram-sha-256-plus' })
    assert.equal(await outcome(at, { ...overTls(), channelBinding: 'require' }), '')
    const clear = '28000: this server takes SCRAM with channel binding only'
    assert.equal(await outcome(at), clear)
    const unbound = { ...overTls(), channelBinding: 'disable' } as const
    assert.equal(
      await outcome(at, unbound),
      '08P01: client selected an invalid SASL authentication mechanism',
    )
    const wrong = await outcome(at, { ...overTls(), password: 'wrong' })
    assert.equal(wrong, `28P01: password authentication failed for user "${postgres.user}"`)
    const unknown = await outcome(at, { ...overTls(), user: 'nobody' })
    assert.equal(unknown, '28P01: password authentication failed for user "nobody"')
  })
})

// As in Postgres a cancel request is answered by its key alone: libpq up to 16 sends it in the clear always.
test('cancel requests come over TLS and in the clear, under each mode', async (t) => {
  if (authority === null) return notRun(t, NO_OPENSSL)
  const own = authority.issue(`/CN=${postgres.user}`)
  const tls = { mode: 'verify-full', ...testCertificate(), caFile: authority.caFile } as const
  const rig = await Rig.start(postgres, { client: { tls } })
  for (const line of ['clear', 'TLS without a certificate', 'TLS', 'direct TLS'] as const) {
    await using client = await rig.client(overTls(own))
    const canceller =
      line === 'clear'
        ? {}
        : line === 'direct TLS'
          ? { ssl: 'direct' as const }
          : overTls(line === 'TLS' ? own : null)
    client.send(m.query('select pg_sleep(30)'))
    await rig.running('select pg_sleep%')
    await using other = await WireClient.open(through(rig.test, postgres, canceller))
    other.send(m.cancelRequest(client.pid, client.key))
    await other.closed
    const codes = (await client.until()).filter((one) => one.type === 'E').map((one) => one.code)
    assert.deepEqual(codes, ['57014'], line)
  }
})
