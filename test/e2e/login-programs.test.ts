// People's own programs log in: psql with every sslmode, channel binding and certificates, psycopg and pgjdbc
// with SCRAM. What a program finds wrong here is wrong, whatever our own clients in other tests think.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, suite, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Authority, type Issued, NO_OPENSSL, openssl } from '../support/authority.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, type Outcome, runProgram } from '../support/programs.ts'
import { testCertificate } from '../support/server-files.ts'

/** Where Debian puts them. */
const PYTHON = '/usr/bin/python3'
const JDBC = '/usr/share/java/postgresql.jar'
const JAVA_LOGIN = fileURLToPath(new URL('./drivers/java/Login.java', import.meta.url))

const postgres = await getPostgres()
const authority = NO_OPENSSL === '' ? new Authority() : null
const psql = findProgram('psql')
const { certFile: SERVER_CERTIFICATE } = testCertificate()

type ClientOverrides = NonNullable<Overrides['client']>
type TlsOverrides = NonNullable<ClientOverrides['tls']>

async function pooler(tls: TlsOverrides, more: Omit<ClientOverrides, 'tls'> = {}): Promise<TestPooler> {
  const files = { ...testCertificate(), caFile: authority?.caFile ?? '' }
  const at = await startPooler(postgres.url, { client: { ...more, tls: { ...files, ...tls } } })
  after(() => at.stop())
  return at
}

/** Parts of a connection string of libpq. */
type Parts = Readonly<Record<string, string>>

function partsOf(at: TestPooler, parts: Parts): Parts {
  const { user, password, database } = postgres
  const to = { host: 'localhost', hostaddr: '127.0.0.1', port: String(at.port), connect_timeout: '10' }
  return { ...to, user, password, dbname: database, sslrootcert: SERVER_CERTIFICATE, ...parts }
}

async function runPsql(at: TestPooler, parts: Parts): Promise<Outcome> {
  const target = Object.entries(partsOf(at, parts))
    .map(([name, value]) => `${name}='${value}'`)
    .join(' ')
  // Nobody's own certificates may take part.
  const env = { HOME: '/nonexistent', PGSSLCERT: '/nonexistent' }
  return runProgram(psql ?? 'psql', ['-X', '-w', target, '-c', '\\conninfo'], { env })
}

/** `clear`, `TLS`, or what psql complains of. */
async function viaPsql(at: TestPooler, parts: Parts): Promise<string> {
  const { code, stdout, stderr } = await runPsql(at, parts)
  if (code === 0) return stdout.includes('SSL connection') ? 'TLS' : 'clear'
  return stderr.replaceAll('\n', ' ')
}

const certificateParts = ({ certFile, keyFile }: Issued): Parts => ({ sslcert: certFile, sslkey: keyFile })

suite('psql', { concurrency: 2 }, () => {
  const missing = (t: TestContext, needsOpenssl = false): boolean => {
    const reason = psql === null ? 'psql is not installed' : needsOpenssl ? NO_OPENSSL : ''
    if (reason !== '') notRun(t, reason)
    return reason !== ''
  }

  const REFUSED = /does not support SSL, but SSL was required/
  const NEEDED = /FATAL: {2}this server requires TLS: connect with sslmode=require/
  const modes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
  const table = {
    disable: ['clear', 'clear', 'clear', REFUSED, REFUSED, REFUSED],
    allow: ['clear', 'clear', 'TLS', 'TLS', 'TLS', 'TLS'],
    prefer: ['clear', 'clear', 'TLS', 'TLS', 'TLS', 'TLS'],
    require: [NEEDED, 'TLS', 'TLS', 'TLS', 'TLS', 'TLS'],
  } as const
  for (const mode of ['disable', 'allow', 'prefer', 'require'] as const) {
    test(`every sslmode, where clients have client.tls.mode ${mode}`, async (t) => {
      if (missing(t)) return
      const at = await pooler({ mode })
      const saw = await Promise.all(modes.map((sslmode) => viaPsql(at, { sslmode })))
      for (const [i, expected] of table[mode].entries()) {
        if (expected instanceof RegExp) assert.match(saw[i] ?? '', expected, modes[i])
        else assert.equal(saw[i], expected, modes[i])
      }
    })
  }

  test('checks our certificate, and the name in it', async (t) => {
    if (missing(t, true)) return
    const at = await pooler({ mode: 'require' })
    const foreign = { sslmode: 'verify-ca', sslrootcert: authority?.caFile ?? '' }
    assert.match(await viaPsql(at, foreign), /certificate verify failed/)
    const other = { sslmode: 'verify-full', host: 'db.example.com' }
    assert.match(await viaPsql(at, other), /does not match host name "db.example.com"/)
  })

  test('channel_binding=require, with our SCRAM and SCRAM-PLUS, and where nobody can bind', async (t) => {
    if (missing(t)) return
    const bound = { sslmode: 'require', channel_binding: 'require' }
    const scram = await pooler({ mode: 'allow' })
    assert.equal(await viaPsql(scram, bound), 'TLS')
    assert.match(await viaPsql(scram, { ...bound, password: 'wrong' }), /password authentication failed/)
    assert.match(await viaPsql(scram, { ...bound, sslmode: 'disable' }), /channel binding/)
    const plus = await pooler({ mode: 'allow' }, { auth: 'scram-sha-256-plus' })
    assert.equal(await viaPsql(plus, bound), 'TLS')
    assert.equal(await viaPsql(plus, { sslmode: 'require' }), 'TLS')
    assert.match(await viaPsql(plus, { sslmode: 'disable' }), /takes SCRAM with channel binding only/)
    const unbound = await viaPsql(plus, { sslmode: 'require', channel_binding: 'disable' })
    assert.match(unbound, /none of the server's SASL authentication mechanisms are supported/)
    const weak = await pooler({ mode: 'allow' }, { auth: 'password' })
    assert.match(await viaPsql(weak, bound), /channel binding required/)
    assert.equal(await viaPsql(weak, { sslmode: 'require' }), 'TLS')
  })

  test('channel binding with certificates of other signatures', async (t) => {
    if (missing(t, true)) return
    const rsa = ['-newkey', 'rsa:2048']
    for (const [name, how, binds] of [
      ['SHA-384', { sign: ['-sha384'] }, true],
      ['RSA-PSS', { key: rsa, sign: ['-sha512', '-sigopt', 'rsa_padding_mode:pss'] }, true],
      ['SHA-1', { key: rsa, sign: ['-sha1'] }, true],
      ['Ed25519', { key: ['-newkey', 'ed25519'] }, false],
    ] as const) {
      const signer = new Authority(name, how)
      const own = signer.issue('/CN=localhost', 'sign' in how ? { sign: how.sign } : {})
      const at = await pooler({ mode: 'require', ...own, caFile: '' })
      const result = await viaPsql(at, { sslmode: 'require', sslrootcert: '', channel_binding: 'require' })
      if (binds) assert.equal(result, 'TLS', name)
      else {
        assert.match(result, /channel binding/, name)
        assert.equal(await viaPsql(at, { sslmode: 'require', sslrootcert: '' }), 'TLS', name)
      }
    }
  })

  test('sslcert and sslkey: the right one, of a stranger, with another name, none', async (t) => {
    if (missing(t, true) || authority === null) return
    const at = await pooler({ mode: 'verify-full' }, { auth: 'cert' })
    const right = certificateParts(authority.issue(`/CN=${postgres.user}`))
    const require = { sslmode: 'require', password: '' }
    assert.equal(await viaPsql(at, { ...require, ...right }), 'TLS')
    const stranger = new Authority('a stranger').issue(`/CN=${postgres.user}`)
    const refused = await viaPsql(at, { ...require, ...certificateParts(stranger) })
    assert.match(refused, /FATAL: {2}client certificate verification failed: unable to/)
    const other = certificateParts(authority.issue('/CN=mallory'))
    const words = `FATAL:  certificate authentication failed for user "${postgres.user}"`
    assert.ok((await viaPsql(at, { ...require, ...other })).includes(words))
    assert.match(await viaPsql(at, require), /FATAL: {2}connection requires a valid client certificate/)
    const expired = certificateParts(authority.issue(`/CN=${postgres.user}`, { days: -1 }))
    assert.match(await viaPsql(at, { ...require, ...expired }), /certificate has expired/)
  })

  test('sslnegotiation=direct', async (t) => {
    if (missing(t)) return
    const { stdout } = await runProgram(psql ?? 'psql', ['--version'])
    const major = Number(/ (\d+)/.exec(stdout)?.[1])
    if (major < 17) return notRun(t, `psql ${major} does not know sslnegotiation (17 and newer do)`)
    const at = await pooler({ mode: 'require' })
    assert.equal(await viaPsql(at, { sslmode: 'require', sslnegotiation: 'direct' }), 'TLS')
  })
})

const PYTHON_LOGIN = `
import importlib, json, sys
driver = importlib.import_module(sys.argv[1])
for parts in json.loads(sys.argv[2]):
    try:
        connection = driver.connect(**parts)
        cursor = connection.cursor()
        cursor.execute("select 1")
        print("in" if cursor.fetchone()[0] == 1 else "no row")
        connection.close()
    except driver.OperationalError as refused:
        print(str(refused).replace("\\n", " "))
`

suite('psycopg', () => {
  for (const driver of ['psycopg2', 'psycopg']) {
    test(`${driver} with SCRAM, in the clear, over TLS and bound to it`, async (t) => {
      const isThere = existsSync(PYTHON) && (await runProgram(PYTHON, ['-c', `import ${driver}`])).code === 0
      if (!isThere) return notRun(t, `${driver} (python3-${driver}) is not installed`)
      const at = await pooler({ mode: 'allow' })
      const logins = [
        { sslmode: 'disable' },
        { sslmode: 'verify-full' },
        { sslmode: 'require', channel_binding: 'require' },
        { sslmode: 'require', password: 'wrong' },
        { sslmode: 'disable', user: 'nobody' },
      ].map((parts) => partsOf(at, parts))
      const { stdout, stderr } = await runProgram(PYTHON, [
        '-c',
        PYTHON_LOGIN,
        driver,
        JSON.stringify(logins),
      ])
      const saw = stdout.trim().split('\n')
      assert.deepEqual(saw.slice(0, 3), ['in', 'in', 'in'], stderr)
      assert.match(saw[3] ?? '', /password authentication failed for user/)
      assert.match(saw[4] ?? '', /password authentication failed for user "nobody"/)
    })
  }
})

suite('pgjdbc', () => {
  test('with SCRAM, in the clear, over TLS and with a certificate', async (t) => {
    const java = findProgram('java')
    if (java === null || findProgram('javac') === null) return notRun(t, 'a JDK is not installed')
    if (!existsSync(JDBC)) return notRun(t, 'pgjdbc (libpostgresql-jdbc-java) is not installed')
    if (authority === null) return notRun(t, NO_OPENSSL)
    const scram = await pooler({ mode: 'allow' })
    const certified = await pooler({ mode: 'verify-full' }, { auth: 'cert' })
    const own = authority.issue(`/CN=${postgres.user}`)
    const key = `${own.keyFile}.pk8`
    openssl(['pkcs8', '-topk8', '-nocrypt', '-in', own.keyFile, '-outform', 'DER', '-out', key])
    const url = (at: TestPooler, parts: Parts) => {
      const { user, password, database } = postgres
      const all = { user, password, sslrootcert: SERVER_CERTIFICATE, loginTimeout: '10', ...parts }
      return `jdbc:postgresql://localhost:${at.port}/${database}?${new URLSearchParams(all)}`
    }
    const { stdout, stderr } = await runProgram(java, [
      '-XX:TieredStopAtLevel=1',
      ...['-cp', JDBC, JAVA_LOGIN],
      url(scram, { sslmode: 'disable' }),
      url(scram, { sslmode: 'verify-full' }),
      url(certified, { sslmode: 'require', sslcert: own.certFile, sslkey: key }),
      url(scram, { sslmode: 'require', password: 'wrong' }),
      url(certified, { sslmode: 'require' }),
    ])
    const saw = stdout.trim().split('\n')
    assert.deepEqual(saw.slice(0, 3), ['in', 'in', 'in'], stderr)
    assert.match(saw[3] ?? '', /^28P01 .*password authentication failed/)
    assert.match(saw[4] ?? '', /^28000 .*connection requires a valid client certificate/)
  })
})
