// Every method of logging in under every mode of TLS, with the right password, a wrong one, none, and as a
// user that does not exist: what the client is asked and told, message by message, and the same login on the
// real Postgres with a pg_hba.conf that says the same. E05: an unknown user looks like a wrong password.
import assert from 'node:assert/strict'
import { after, suite, test } from 'node:test'
import type { ClientAuthMethod } from '../../src/auth/access.ts'
import type { TlsMode } from '../../src/config/types.ts'
import { Authority, NO_OPENSSL, showing } from '../support/authority.ts'
import { startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { testCertificate, useHba, useTls } from '../support/server-files.ts'
import { type ClientOptions, LoginError, WireClient } from '../support/wire-client.ts'

const PASSWORD = 'correct horse'
const METHODS = ['trust', 'password', 'md5', 'md5 over SCRAM', 'scram-sha-256', 'cert'] as const
type Method = (typeof METHODS)[number]
type Case = 'right' | 'wrong' | 'missing' | 'unknown'
type Line = 'clear' | 'TLS' | 'own certificate' | 'other certificate'

/** The modes that differ for a client, how it may come, and what Postgres calls that. */
const MODES: readonly { mode: TlsMode; rule: string; option: string; lines: readonly Line[] }[] = [
  { mode: 'allow', rule: 'host', option: '', lines: ['clear', 'TLS'] },
  { mode: 'require', rule: 'hostssl', option: '', lines: ['clear', 'TLS'] },
  { mode: 'verify-ca', rule: 'hostssl', option: 'clientcert=verify-ca', lines: ['TLS', 'other certificate'] },
  {
    mode: 'verify-full',
    rule: 'hostssl',
    option: 'clientcert=verify-full',
    lines: ['TLS', 'own certificate', 'other certificate'],
  },
]

const nameOf = (method: Method, mode: TlsMode) => `${method} ${mode}`
const ghostOf = (method: Method, mode: TlsMode) => `${method} ${mode} nobody`
const pgMethod = (method: Method): ClientAuthMethod => (method === 'md5 over SCRAM' ? 'md5' : method)

const postgres = await getPostgres({ settings: { password_encryption: 'md5' } })
const isOwn = postgres.kind === 'embedded' && NO_OPENSSL === ''
const reason = NO_OPENSSL || postgres.missing
const authority = NO_OPENSSL === '' ? new Authority() : null
const certificates = new Map<string, { cert: Buffer; key: Buffer }>()
const secrets = new Map<string, string>()

async function prepare(ca: Authority): Promise<void> {
  await useTls(postgres, ca.caFile)
  const rules: string[] = ['host all "somebody who waits" 127.0.0.1/32 trust']
  await postgres.admin('create role "somebody who waits" login')
  for (const method of METHODS) {
    for (const { mode, rule, option } of MODES) {
      const name = nameOf(method, mode)
      const isVerifier = method === 'scram-sha-256' || method === 'md5 over SCRAM'
      await postgres.admin(`do $$ begin
        set local password_encryption = '${isVerifier ? 'scram-sha-256' : 'md5'}';
        create role "${name}" login password '${PASSWORD}'; end $$`)
      const [row] = await postgres.admin('select rolpassword from pg_authid where rolname = $1', [name])
      secrets.set(name, method === 'password' ? PASSWORD : String(row?.rolpassword))
      certificates.set(name, showing(ca.issue(`/O=Tests/CN=${name}`)))
      const who = `"${name}","${ghostOf(method, mode)}"`
      const kind = method === 'cert' ? 'hostssl' : rule
      const options = method === 'cert' ? '' : option
      rules.push(`${kind} all ${who} 127.0.0.1/32 ${pgMethod(method)} ${options}`)
    }
  }
  certificates.set('other', showing(ca.issue('/O=Tests/CN=somebody else')))
  rules.push(`host all "${postgres.user}" 127.0.0.1/32 scram-sha-256`, 'host all all 127.0.0.1/32 reject')
  await useHba(postgres, rules, 'somebody who waits')
}
if (isOwn && authority !== null) await prepare(authority)

/** What a client was asked and told, up to the end of its login. */
interface Seen {
  /** `R10 SCRAM-SHA-256-PLUS,SCRAM-SHA-256`, `R0`, `E`. */
  shape: string
  /** Of the error: severity, SQLSTATE, message, detail. */
  error: string
  /** Lengths of all messages. */
  lengths: number[]
}

async function login(options: ClientOptions): Promise<Seen> {
  try {
    const client = await WireClient.connect(options)
    await client.end()
    return seenOf(client.received)
  } catch (error) {
    assert.ok(error instanceof LoginError, String(error))
    return seenOf(error.messages)
  }
}

function seenOf(messages: WireClient['received']): Seen {
  const shape: string[] = []
  const lengths: number[] = []
  let told = ''
  for (const message of messages) {
    if (message.type === 'R') {
      const { method, mechanisms } = message
      shape.push(`R${method}${method === 10 ? ` ${mechanisms.join(',')}` : ''}`)
    }
    if (message.type === 'E') {
      shape.push('E')
      told = [message.severity, message.code, message.message, message.fields.D ?? ''].join(' ').trim()
    }
    if (message.type === 'R' || message.type === 'E') lengths.push(message.raw.length)
  }
  return { shape: shape.join(' '), error: told, lengths }
}

function optionsFor(name: string, as: Case, line: Line): ClientOptions {
  const password = as === 'right' ? PASSWORD : as === 'missing' ? '' : 'wrong'
  const user = as === 'unknown' ? `${name} nobody` : name
  const shown = line === 'own certificate' ? name : line === 'other certificate' ? 'other' : null
  const tls = shown === null ? {} : (certificates.get(shown) ?? {})
  return { user, password, database: postgres.database, ssl: line === 'clear' ? false : 'request', tls }
}

/** What the words of a cell must be; `as Postgres` for all that it has words for. */
function expectation(method: Method, mode: TlsMode, line: Line, as: Case): 'in' | RegExp | 'as Postgres' {
  if (line === 'clear' && mode !== 'allow') return /^FATAL 28000 this server requires TLS/
  // The rule of Postgres for cert is for TLS only; ours has one mode for all methods.
  if (method === 'cert' && line === 'clear') return /^FATAL 28000 connection requires a valid client certif/
  // The method lets these in: Postgres looks for the role then, and here all clients use one role.
  const isShown = mode === 'verify-ca' ? line === 'other certificate' : mode !== 'verify-full'
  if (as === 'unknown' && method === 'trust' && isShown) return 'in'
  return 'as Postgres'
}

async function poolerOf(method: Method, mode: TlsMode): Promise<TestPooler> {
  const name = nameOf(method, mode)
  const pooler = await startPooler(postgres.url, {
    client: {
      auth: pgMethod(method),
      tls: { mode, ...testCertificate(), caFile: authority?.caFile ?? '' },
    },
    users: new Map([[name, { secret: secrets.get(name) ?? null }]]),
  })
  after(() => pooler.stop())
  return pooler
}

suite('methods and modes of TLS, as Postgres', { concurrency: 2 }, () => {
  for (const method of METHODS) {
    for (const { mode, lines } of MODES) {
      test(`${method} under ${mode}`, async (t) => {
        if (!isOwn) return notRun(t, reason)
        const pooler = await poolerOf(method, mode)
        const name = nameOf(method, mode)
        for (const line of lines) {
          const pooled = new Map<Case, Seen>()
          for (const as of ['right', 'wrong', 'missing', 'unknown'] as const) {
            const label = `${line}, ${as}`
            const options = optionsFor(name, as, line)
            const seen = await login({ ...options, host: pooler.host, port: pooler.port })
            pooled.set(as, seen)
            const expected = expectation(method, mode, line, as)
            if (expected === 'in') assert.equal(seen.error, '', label)
            else if (expected instanceof RegExp) assert.match(seen.error, expected, label)
            else {
              const direct = await login({ ...options, host: postgres.host, port: postgres.port })
              assertAlike(seen, direct, { label, method, as })
            }
          }
          const asksForPassword = method !== 'trust' && method !== 'cert'
          if (asksForPassword) assertUnknownLooksWrong(pooled, `${method} ${mode} ${line}`)
        }
        const log = JSON.stringify(pooler.lines)
        assert.ok(!log.includes(PASSWORD) && !log.includes('SCRAM-SHA-256$'))
      })
    }
  }
})

function assertAlike(seen: Seen, direct: Seen, cell: { label: string; method: Method; as: Case }): void {
  const { label, method, as } = cell
  assert.equal(seen.error, direct.error, label)
  // Postgres asks unknown users in the way of password_encryption, we in the way of those we know.
  if (method === 'md5 over SCRAM' && as === 'unknown') return
  // Where a certificate names somebody else Postgres still says that the password was right; we do not.
  const shape = direct.error === '' ? direct.shape : direct.shape.replace(' R12', '')
  assert.equal(seen.shape, shape, label)
}

/** E05: the same messages of the same lengths, but for the longer name in the words. */
function assertUnknownLooksWrong(pooled: ReadonlyMap<Case, Seen>, label: string): void {
  const wrong = pooled.get('wrong')
  const unknown = pooled.get('unknown')
  assert.ok(wrong !== undefined && unknown !== undefined)
  assert.equal(unknown.shape, wrong.shape, label)
  assert.equal(unknown.error.replace(' nobody"', '"'), wrong.error, label)
  const named = wrong.error.includes('for user') ? ' nobody'.length : 0
  const last = (unknown.lengths.pop() ?? 0) - named
  assert.deepEqual([...unknown.lengths, last], wrong.lengths, label)
}
