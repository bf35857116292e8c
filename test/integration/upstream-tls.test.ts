// TLS and authentication towards Postgres, with a real one behind every kind of door: what each mode comes
// to, what psql says to the same, and what an error says. Must never check how TLS for clients works.
import assert from 'node:assert/strict'
import { after, suite, test, type TestContext } from 'node:test'
import type { ChannelBinding, ServerTlsConfig, TlsMode } from '../../src/config/types.ts'
import { Authority, type Issued, type IssueOptions, NO_OPENSSL } from '../support/authority.ts'
import { through } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { CHOPS, type Overrides, startPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { Rig } from '../support/rig.ts'
import { type Door, useDoor } from '../support/server-files.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const USER = 'behind_the_door'
const PASSWORD = 'a password of the tests'
const SSL = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'

const postgres = await getPostgres()
const missing = postgres.kind === 'embedded' ? NO_OPENSSL : postgres.missing
const psql = findProgram('psql')
const ours = missing === '' ? new Authority('known authority') : null
const others = missing === '' ? new Authority('unknown authority') : null
await postgres.admin(`create role ${USER} login password '${PASSWORD}'`)

const caFile = ours?.caFile ?? ''
/** None of these is used where they cannot be made. */
const made = (by: Authority | null, subject: string, options: IssueOptions = {}): Issued =>
  by?.issue(subject, options) ?? { certFile: '', keyFile: '' }
const right = made(ours, '/CN=postgres', { san: 'IP:127.0.0.1,DNS:localhost' })
const unknown = made(others, '/CN=x', { san: 'IP:127.0.0.1' })
const client = made(ours, `/CN=${USER}`)

/** For a login; a handshake of single bytes takes its time. */
const LIMIT_MS = CHOPS ? 6000 : 1000

/** How Postgres is reached: `tls`, `clear`, or the SQLSTATE and words of the refusal. */
async function outcome(tls: Partial<ServerTlsConfig>, extra: Overrides['upstream'] = {}): Promise<string> {
  const pooler = await startPooler(postgres.url, {
    client: { auth: 'trust' },
    pool: { size: 1, queryWaitTimeoutMs: LIMIT_MS },
    upstream: { user: USER, password: PASSWORD, connectTimeoutMs: LIMIT_MS, tls, ...extra },
  })
  try {
    await using one = await WireClient.connect(through(pooler, postgres, { user: USER, password: '' }))
    return (await one.query(SSL)).rows[0]?.[0] === 't' ? 'tls' : 'clear'
  } catch (error) {
    if (!(error instanceof LoginError)) throw error
    return `${error.code} ${error.message.replace(/^FATAL \w+: /, '')}`
  } finally {
    await pooler.stop()
  }
}

/** The same by libpq: `tls`, `clear` or `refused`. */
async function outcomeOfLibpq(tls: Partial<ServerTlsConfig>, binding: ChannelBinding = 'prefer') {
  const options: [string, string | undefined][] = [
    ['host', postgres.host],
    ['port', String(postgres.port)],
    ['user', USER],
    ['dbname', postgres.database],
    ['sslmode', tls.mode],
    // A file that is not there: libpq looks for one in the home folder otherwise.
    ['sslrootcert', tls.caFile ?? '/nowhere'],
    ['sslcert', tls.certFile ?? '/nowhere'],
    ['sslkey', tls.keyFile],
    ['ssl_min_protocol_version', tls.minVersion],
    ['channel_binding', binding],
  ]
  const text = options.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])).join(' ')
  const ran = await runProgram(psql as string, ['-XAtd', text, '-c', SSL], {
    env: { PGPASSWORD: PASSWORD, PGCONNECT_TIMEOUT: '10' },
  })
  return ran.code === 0 ? (ran.stdout.trim() === 't' ? 'tls' : 'clear') : 'refused'
}

/** Asserts an outcome, and that libpq comes to the same. */
async function expectBoth(tls: Partial<ServerTlsConfig>, expected: string | RegExp): Promise<void> {
  const [found, libpq] = await Promise.all([outcome(tls), psql === null ? null : outcomeOfLibpq(tls)])
  if (typeof expected === 'string') assert.equal(found, expected, JSON.stringify(tls))
  else assert.match(found, expected, JSON.stringify(tls))
  if (libpq === null) return
  const kind = found === 'tls' || found === 'clear' ? found : 'refused'
  assert.equal(libpq, kind, `psql with ${JSON.stringify(tls)}`)
}

const MODES: TlsMode[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']

interface Row {
  readonly name: string
  readonly door: Door
  /** For each of the modes in turn. */
  readonly outcomes: readonly (string | RegExp)[]
  readonly with?: Partial<ServerTlsConfig>
}

const NO_TLS = /^08001 .*does not support TLS, which upstream\.tls\.mode requires/
const NOT_LET_IN = /^28000 pg_hba\.conf rejects connection/
const UNKNOWN = /^08001 .*its certificate is signed by "unknown authority", none of the authorities/
const OTHER_NAME =
  /^08001 .*its certificate is for "DNS:other\.example", which does not match host name "127\.0\.0\.1"/
const EXPIRED = /^08001 .*its certificate expired on /
const NO_CERTIFICATE = /^28000 connection requires a valid client certificate/
const only = (kind: string, how = 'scram-sha-256') => [
  `${kind} all ${USER} all ${how}`,
  `host all ${USER} all reject`,
]

const ROWS: Row[] = [
  { name: 'no TLS', door: {}, outcomes: ['clear', 'clear', 'clear', NO_TLS, NO_TLS, NO_TLS] },
  {
    name: 'TLS',
    door: { certificate: right },
    outcomes: ['clear', 'clear', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    name: 'only with TLS',
    door: { certificate: right, hba: only('hostssl') },
    outcomes: [NOT_LET_IN, 'tls', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    name: 'only without TLS',
    door: { certificate: right, hba: only('hostnossl') },
    outcomes: ['clear', 'clear', 'clear', NOT_LET_IN, NOT_LET_IN, NOT_LET_IN],
  },
  {
    name: 'a certificate of an unknown authority',
    door: { certificate: unknown },
    outcomes: ['clear', 'clear', 'tls', 'tls', UNKNOWN, UNKNOWN],
  },
  {
    name: 'a certificate of an unknown authority, where authorities were named',
    door: { certificate: unknown },
    with: { caFile },
    outcomes: ['clear', 'clear', 'clear', UNKNOWN, UNKNOWN, UNKNOWN],
  },
  {
    name: 'a certificate for another host',
    door: { certificate: made(ours, '/CN=127.0.0.1.example', { san: 'DNS:other.example' }) },
    outcomes: ['clear', 'clear', 'tls', 'tls', 'tls', OTHER_NAME],
  },
  {
    name: 'an expired certificate',
    door: { certificate: made(ours, '/CN=x', { san: 'IP:127.0.0.1', days: -1 }) },
    outcomes: ['clear', 'clear', 'tls', 'tls', EXPIRED, EXPIRED],
  },
  {
    name: 'TLS 1.3 only',
    door: { certificate: right, settings: { ssl_min_protocol_version: 'TLSv1.3' } },
    outcomes: ['clear', 'clear', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    name: 'TLS 1.2 only, where we want 1.3',
    door: { certificate: right, settings: { ssl_max_protocol_version: 'TLSv1.2' } },
    with: { minVersion: 'TLSv1.3' },
    outcomes: ['clear', 'clear', 'clear', /^(?!tls|clear)/, /^(?!tls|clear)/, /^(?!tls|clear)/],
  },
  {
    name: 'a certificate of ours is asked for, and we have none',
    door: { certificate: right, caFile, hba: only('hostssl', 'cert') },
    outcomes: [NOT_LET_IN, ...Array.from({ length: 5 }, () => NO_CERTIFICATE)],
  },
  {
    name: 'a certificate of ours is asked for',
    door: { certificate: right, caFile, hba: only('hostssl', 'cert') },
    with: client,
    outcomes: [NOT_LET_IN, 'tls', 'tls', 'tls', 'tls', 'tls'],
  },
  {
    name: 'a certificate of ours and the password are asked for',
    door: {
      certificate: right,
      caFile,
      hba: only('hostssl', 'scram-sha-256 clientcert=verify-full'),
    },
    with: client,
    outcomes: [NOT_LET_IN, 'tls', 'tls', 'tls', 'tls', 'tls'],
  },
]

/** @returns whether the test can run. */
function canRun(t: TestContext): boolean {
  if (missing !== '') notRun(t, missing)
  else if (psql === null) t.diagnostic('psql is not installed: not compared with libpq')
  return missing === ''
}

suite('each mode behind each door, as libpq', () => {
  for (const row of ROWS) {
    test(row.name, async (t) => {
      if (!canRun(t)) return
      await useDoor(postgres, row.door)
      const all = MODES.map((mode, i) => {
        const needsCa = mode === 'verify-ca' || mode === 'verify-full'
        const tls = { mode, ...(needsCa ? { caFile } : {}), ...row.with }
        return expectBoth(tls, row.outcomes[i] as string | RegExp)
      })
      await Promise.all(all)
    })
  }

  test('a certificate of ours that Postgres does not believe, or of another user', async (t) => {
    if (!canRun(t)) return
    await useDoor(postgres, { certificate: right, caFile, hba: only('hostssl', 'cert') })
    const strange = made(others, `/CN=${USER}`)
    await expectBoth(
      { mode: 'require', ...strange },
      /^08001 .*(does not take our certificate|TLS handshake)/,
    )
    const another = made(ours, '/CN=somebody')
    await expectBoth({ mode: 'require', ...another }, /^28000 certificate authentication failed/)
  })

  test('a wrong password is told once, although it was tried twice', async (t) => {
    if (!canRun(t)) return
    await useDoor(postgres, { certificate: right, hba: only('hostssl') })
    const found = await outcome({ mode: 'prefer' }, { password: 'wrong' })
    assert.equal(found, `28P01 password authentication failed for user "${USER}"`)
  })

  test('TLS at once', async (t) => {
    if (!canRun(t)) return
    if (postgres.major < 17) return notRun(t, 'direct TLS needs Postgres 17')
    await useDoor(postgres, { certificate: right })
    const direct = { negotiation: 'direct', mode: 'verify-full', caFile } as const
    assert.equal(await outcome(direct), 'tls')
    await useDoor(postgres, {})
    assert.match(await outcome(direct), /^08001 .*negotiation is direct, which needs Postgres 17/)
  })
})

suite('channel binding', () => {
  const METHODS: [string, string, RegExp][] = [
    ['scram-sha-256', 'tls', /^tls$/],
    ['md5', 'tls', /^28000 .*asks for md5, and upstream\.channel_binding is require/],
    ['password', 'tls', /^28000 .*asks for the password in the clear, and upstream\.channel_binding/],
    ['trust', 'tls', /^28000 .*lets us in without it, and upstream\.channel_binding/],
  ]
  for (const [method, otherwise, required] of METHODS) {
    test(`${method}: disabled, preferred, required`, async (t) => {
      if (!canRun(t)) return
      await useDoor(postgres, { certificate: right, hba: only('hostssl', method) })
      // With a SCRAM verifier, Postgres asks for SCRAM under md5 as well.
      const encryption = method === 'md5' ? 'md5' : 'scram-sha-256'
      await postgres.admin(
        `set password_encryption = '${encryption}'; alter role ${USER} password '${PASSWORD}'`,
      )
      for (const channelBinding of ['disable', 'prefer', 'require'] as const) {
        const found = await outcome({ mode: 'require' }, { channelBinding })
        if (channelBinding === 'require') assert.match(found, required)
        else assert.equal(found, otherwise, channelBinding)
        if (psql === null) continue
        const kind = found === 'tls' ? found : 'refused'
        assert.equal(await outcomeOfLibpq({ mode: 'require' }, channelBinding), kind, channelBinding)
      }
      await postgres.admin(`alter role ${USER} password '${PASSWORD}'`)
    })
  }

  test('required, and no TLS: nothing is tried in the clear', async (t) => {
    if (!canRun(t)) return
    await useDoor(postgres, {})
    assert.match(await outcome({ mode: 'prefer' }, { channelBinding: 'require' }), NO_TLS)
    const found = await outcome({ mode: 'disable' }, { channelBinding: 'require' })
    assert.match(found, /^28000 .*is reached without TLS, and upstream\.channel_binding is require/)
  })

  test('with the keys of a client that has logged in, and when they are no longer right', async (t) => {
    if (!canRun(t)) return
    await useDoor(postgres, { certificate: right, hba: only('hostssl') })
    const sql = `select rolpassword from pg_authid where rolname = '${USER}'`
    const [row] = await postgres.admin(sql)
    const pooler = await startPooler(postgres.url, {
      users: new Map([[USER, { secret: String(row?.rolpassword) }]]),
      pool: { size: 1 },
      upstream: { user: '', password: null, channelBinding: 'require', tls: { mode: 'require' } },
    })
    after(() => pooler.stop())
    const login = through(pooler, postgres, { user: USER, password: PASSWORD })
    await using one = await WireClient.connect(login)
    assert.deepEqual((await one.query(SSL)).rows, [['t']])
    await postgres.admin(`alter role ${USER} password '${PASSWORD}'`)
    for (const entry of pooler.pooler.router.entries()) entry.pool.evict('next test')
    await assert.rejects(WireClient.connect({ ...login, params: { options: '-c a.b=c' } }), (error) => {
      assert.ok(error instanceof LoginError)
      assert.equal(error.code, '28P01')
      const [said] = error.messages.filter(({ type }) => type === 'E')
      assert.match(String(said?.type === 'E' && said.fields.H), /SCRAM keys of a client.*pg_authid/)
      return true
    })
  })
})

suite('SCRAM with few iterations', () => {
  test('is taken only from a Postgres whose certificate was checked', async (t) => {
    if (!canRun(t)) return
    if (postgres.major < 16) return notRun(t, 'scram_iterations needs Postgres 16')
    await useDoor(postgres, { certificate: right })
    await postgres.admin(`set scram_iterations = 1; alter role ${USER} password '${PASSWORD}'`)
    for (const mode of ['disable', 'require'] as const) {
      assert.match(await outcome({ mode }), /^28000 .*asks for fewer than 4096 SCRAM iterations/, mode)
    }
    assert.equal(await outcome({ mode: 'verify-full', caFile }), 'tls')
    await postgres.admin(`alter role ${USER} password '${PASSWORD}'`)
  })
})

suite('verification holds for every connection', () => {
  test('a cancel over verify-full arrives; to a Postgres that is another by now none goes', async (t) => {
    if (!canRun(t)) return
    await useDoor(postgres, { certificate: right })
    const rig = await Rig.start(postgres, {
      pool: { size: 1 },
      upstream: { tls: { mode: 'verify-full', caFile } },
    })
    await using one = await rig.client()
    one.send(m.query('select pg_sleep(30)'))
    await rig.running('select pg_sleep%')
    await one.cancel()
    const codes = (await one.until()).flatMap((said) => (said.type === 'E' ? [said.code] : []))
    assert.deepEqual(codes, ['57014'])
    await useDoor(postgres, { certificate: unknown })
    one.send(m.query('select pg_sleep(1)'))
    await rig.running('select pg_sleep%')
    await one.cancel()
    const types = (await one.until()).map(({ type }) => type)
    assert.deepEqual(types, ['T', 'D', 'C', 'Z'], 'it was not cancelled')
    for (const entry of rig.test.pooler.router.entries()) entry.pool.evict('next test')
    await assert.rejects(rig.client({ params: { options: '-c a.b=c' } }), (error: LoginError) =>
      UNKNOWN.test(`${error.code} ${error.message}`),
    )
  })
})
