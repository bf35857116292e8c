// TLS on both sides of the pooler, with a real Postgres: offered, demanded, refused, and never half. Must
// never check what a certificate says: that is for the unit tests of net/.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { stage, through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { type Overrides, startPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { Rig } from '../support/rig.ts'
import { testCertificate, useTls } from '../support/server-files.ts'
import { type LoginError, WireClient } from '../support/wire-client.ts'

const plain = await getPostgres()
const secured = await getPostgres()
const isOwn = secured.kind === 'embedded'
if (isOwn) await useTls(secured)

const OFFERED: Overrides = { client: { tls: { mode: 'allow', ...testCertificate() } } }
const REQUIRED: Overrides = { client: { tls: { mode: 'require', ...testCertificate() } } }
const QUERY = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'

suite('TLS of clients', () => {
  test('SSLRequest is answered N where there is none, and the client goes on in the clear', async () => {
    const { pooler } = await stage(plain, 'without')
    await using client = await WireClient.connect(through(pooler, plain, { ssl: 'prefer' }))
    assert.equal((await client.query('select 1')).error, null)
    await assert.rejects(WireClient.connect(through(pooler, plain, { ssl: 'request' })), /answered with 'N'/)
  })

  test('offered: with SSLRequest, at once, and in the clear', async () => {
    const { pooler } = await stage(plain, 'offered', OFFERED)
    for (const ssl of ['request', 'direct', false] as const) {
      await using client = await WireClient.connect(through(pooler, plain, { ssl }))
      assert.equal((await client.extended('select $1::int', ['7'])).rows[0]?.[0], '7', String(ssl))
    }
  })

  test('required: a client in the clear is told so, before it can send a password', async () => {
    const { pooler } = await stage(plain, 'required', REQUIRED)
    await assert.rejects(WireClient.connect(through(pooler, plain)), (error: LoginError) => {
      assert.equal(error.code, '28000')
      assert.match(error.message, /requires TLS/)
      return error.messages.length === 1
    })
    await using client = await WireClient.connect(through(pooler, plain, { ssl: 'request' }))
    assert.equal((await client.query('select 1')).error, null)
  })

  test('bytes behind SSLRequest in the clear are refused, not taken as if they were encrypted', async () => {
    const { pooler } = await stage(plain, 'offered', OFFERED)
    await using stranger = await WireClient.open({ host: pooler.host, port: pooler.port })
    stranger.send(m.sslRequest(), m.startup({ user: plain.user }))
    const messages = await stranger.untilClosed()
    assert.deepEqual(
      messages.map((one) => (one.type === 'E' ? one.code : one.type)),
      ['08P01'],
    )
  })

  test('garbage instead of a handshake ends that connection only', async () => {
    const { pooler } = await stage(plain, 'offered', OFFERED)
    const { host, port } = pooler
    await using healthy = await WireClient.connect(through(pooler, plain, { ssl: 'request' }))
    for (const bytes of [Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]), Buffer.from([0x16, 0xff, 0xff])]) {
      const stranger = await WireClient.open({ host, port })
      stranger.send(bytes)
      stranger.halfClose()
      await stranger.closed
    }
    assert.equal((await healthy.query('select 1')).error, null)
    assert.deepEqual(
      pooler.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })

  test('a large result and a large parameter', async () => {
    const { pooler } = await stage(plain, 'offered', OFFERED)
    await using client = await WireClient.connect(through(pooler, plain, { ssl: 'request', timeout: 30_000 }))
    const { rows } = await client.query("select repeat('x', 3000000)")
    assert.equal(rows[0]?.[0]?.length, 3_000_000)
    const sent = await client.extended('select length($1::text)', ['y'.repeat(3_000_000)])
    assert.equal(sent.rows[0]?.[0], '3000000')
  })

  test('psql with sslmode=require', async (t) => {
    const psql = findProgram('psql')
    if (psql === null) return notRun(t, 'psql is not installed')
    const { pooler } = await stage(plain, 'offered', OFFERED)
    const env = { PGPASSWORD: plain.password, PGSSLMODE: 'require', PGCONNECT_TIMEOUT: '10' }
    const to = ['-X', '-h', pooler.host, '-p', String(pooler.port), '-U', plain.user, plain.database]
    const { stdout, stderr, code } = await runProgram(psql, [...to, '-c', '\\conninfo'], { env })
    assert.equal(code, 0, stderr)
    assert.match(stdout, /SSL connection/)
  })
})

suite('TLS to Postgres', () => {
  test('prefer uses it where Postgres has it, require demands it', async (t) => {
    if (!isOwn) return notRun(t, secured.missing)
    for (const mode of ['prefer', 'require', 'disable'] as const) {
      const { pooler } = await stage(secured, mode, { upstream: { tls: { mode } } })
      await using client = await WireClient.connect(through(pooler, secured))
      assert.deepEqual((await client.query(QUERY)).rows, [[mode === 'disable' ? 'f' : 't']], mode)
    }
    const { pooler } = await stage(plain, 'prefer', { upstream: { tls: { mode: 'prefer' } } })
    await using client = await WireClient.connect(through(pooler, plain))
    assert.deepEqual((await client.query(QUERY)).rows, [['f']])
  })

  test('require against a Postgres without TLS is refused at once, in one clear sentence', async () => {
    const pooler = await startPooler(plain.url, { upstream: { tls: { mode: 'require' } } })
    try {
      await assert.rejects(WireClient.connect(through({ ...pooler }, plain)), (error: LoginError) => {
        assert.equal(error.code, '08001')
        assert.match(error.message, /does not support TLS, which upstream\.tls\.mode requires/)
        return error.messages.filter(({ type }) => type === 'E').length === 1
      })
    } finally {
      await pooler.stop()
    }
  })

  test('a cancel travels over TLS on both sides', async (t) => {
    if (!isOwn) return notRun(t, secured.missing)
    const rig = await Rig.start(secured, {
      ...OFFERED,
      upstream: { tls: { mode: 'require' } },
      pool: { size: 1 },
    })
    await using client = await rig.client({ ssl: 'request' })
    client.send(m.query('select pg_sleep(30)'))
    await rig.running('select pg_sleep%')
    await client.cancel()
    const messages = await client.until()
    assert.deepEqual(
      messages.filter((one) => one.type === 'E').map((one) => one.code),
      ['57014'],
    )
    assert.deepEqual((await client.query('select 1')).rows, [['1']])
  })
})
