// Logins on both sides of the pooler against a real Postgres: every method that it asks for, every form in
// which we know a secret. Must never put a secret into a log line or an error.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, suite, test } from 'node:test'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { useHba } from '../support/server-files.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const SECRET = 'pa\u00dfword & "quote" 7'
const METHODS = ['trust', 'password', 'md5', 'scram-sha-256'] as const
const RULES = METHODS.map((method) => `host all "u ${method}" 127.0.0.1/32 ${method}`)

const postgres = await getPostgres()
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

async function prepare(): Promise<void> {
  for (const method of METHODS) {
    const encryption = method === 'md5' ? 'md5' : 'scram-sha-256'
    const quoted = SECRET.replaceAll("'", "''")
    await postgres.admin(
      `do $$ begin
        set local password_encryption = '${encryption}';
        create role "u ${method}" login password '${quoted}';
      end $$`,
    )
  }
  await useHba(postgres, RULES, 'u trust')
}

const hasOwnServer = postgres.kind === 'embedded'
if (hasOwnServer) await prepare()

/** A pooler that logs in as its clients do, with what it knows about each user. */
async function withPooler(
  secrets: Record<string, string | null>,
  run: (pooler: TestPooler) => Promise<void>,
  overrides: Overrides = {},
): Promise<void> {
  const users = new Map(Object.entries(secrets).map(([name, secret]) => [name, { secret }]))
  const url = `postgres://${postgres.host}:${postgres.port}`
  const pooler = await startPooler(url, { client: { auth: 'scram-sha-256' }, users, ...overrides })
  try {
    await run(pooler)
    const log = JSON.stringify(pooler.lines)
    for (const secret of Object.values(secrets))
      assert.ok(secret === null || secret === '' || !log.includes(secret))
    assert.ok(!log.includes(SECRET))
  } finally {
    await pooler.stop()
  }
}

async function whoAmI({ host, port }: TestPooler, user: string, password?: string): Promise<string> {
  const options = { host, port, user, database: 'postgres', ...(password === undefined ? {} : { password }) }
  await using client = await WireClient.connect(options)
  const { rows, error } = await client.query('select session_user')
  assert.equal(error, null)
  return rows[0]?.[0] ?? ''
}

async function refused({ host, port }: TestPooler, user: string, password: string): Promise<LoginError> {
  const error = await WireClient.connect({ host, port, user, password, database: 'postgres' }).then(
    () => assert.fail('logged in'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof LoginError, String(error))
  assert.ok(!error.message.includes(SECRET))
  return error
}

suite('logins', () => {
  test('Postgres asks for nothing, a password, md5 or SCRAM: the plain secret serves all', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const secrets = Object.fromEntries(METHODS.map((method) => [`u ${method}`, SECRET]))
    await withPooler(secrets, async (pooler) => {
      for (const method of METHODS) {
        assert.equal(await whoAmI(pooler, `u ${method}`, SECRET), `u ${method}`)
        assert.equal((await refused(pooler, `u ${method}`, 'wrong')).code, '28P01')
        assert.equal((await refused(pooler, `u ${method}`, '')).code, '28P01')
      }
    })
  })

  test('clients log in with md5, SCRAM or nothing', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    for (const auth of ['md5', 'scram-sha-256', 'trust'] as const) {
      await withPooler(
        { 'u trust': SECRET },
        async (pooler) => {
          assert.equal(await whoAmI(pooler, 'u trust', SECRET), 'u trust')
          if (auth === 'trust') assert.equal(await whoAmI(pooler, 'u trust'), 'u trust')
          else assert.equal((await refused(pooler, 'u trust', 'wrong')).code, '28P01')
          const text = await pooler.pooler.metrics()
          const logins = Array.from(text.matchAll(/^pgmux_logins_total(.*)$/gm), ([, each]) => each)
          assert.deepEqual(
            logins,
            auth === 'trust'
              ? ['{method="trust",result="ok"} 2']
              : [`{method="${auth}",result="ok"} 1`, `{method="${auth}",result="failed"} 1`],
          )
          // Of the one secret, when it became known.
          assert.match(text, /^pgmux_password_hash_seconds_count 1$/m)
        },
        { client: { auth } },
      )
    }
  })

  test('a client’s secret may be kept as an md5 hash or a SCRAM verifier', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const [row] = await postgres.admin("select rolpassword from pg_authid where rolname = 'u scram-sha-256'")
    const verifier = String(row?.rolpassword)
    assert.match(verifier, /^SCRAM-SHA-256\$/)
    await postgres.admin('create role "u verifier" login')
    await useHba(postgres, [...RULES, 'host all "u verifier" 127.0.0.1/32 trust'], 'u verifier')
    await withPooler({ 'u verifier': verifier }, async (pooler) => {
      assert.equal(await whoAmI(pooler, 'u verifier', SECRET), 'u verifier')
      assert.equal((await refused(pooler, 'u verifier', 'wrong')).code, '28P01')
    })
    const hash = `md5${md5(`${SECRET}u md5`)}`
    await withPooler(
      { 'u md5': hash },
      async (pooler) => {
        assert.equal(await whoAmI(pooler, 'u md5', SECRET), 'u md5', 'the hash serves both sides')
        assert.equal((await refused(pooler, 'u md5', 'wrong')).code, '28P01')
      },
      { client: { auth: 'md5' } },
    )
  })

  test('an unknown user and a wrong password are told in the same words', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    for (const auth of ['md5', 'scram-sha-256'] as const) {
      await withPooler(
        { 'u trust': SECRET },
        async (pooler) => {
          const wrong = await refused(pooler, 'u trust', 'wrong')
          const unknown = await refused(pooler, 'nobody', 'wrong')
          assert.equal(unknown.message.replace('nobody', 'u trust'), wrong.message)
          const kinds = (error: LoginError) =>
            error.messages.map((m) => (m.type === 'R' ? `R${m.method}` : m.type))
          assert.deepEqual(kinds(unknown), kinds(wrong))
        },
        { client: { auth } },
      )
    }
  })

  test('Postgres refuses what the pooler knows: the client is told, clearly and once', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({ 'u scram-sha-256': 'not the one', 'u password': null }, async (pooler) => {
      const error = await refused(pooler, 'u scram-sha-256', 'not the one')
      assert.equal(error.code, '28P01')
      assert.equal(error.messages.filter(({ type }) => type === 'E').length, 1)
      assert.equal(
        (await refused(pooler, 'u password', 'x')).code,
        '28P01',
        'a user without a secret cannot log in',
      )
    })
    await withPooler(
      {},
      async (pooler) => {
        const error = await refused(pooler, 'u scram-sha-256', '')
        assert.match(error.message, /password/)
      },
      { client: { auth: 'trust' } },
    )
  })

  test('the password of the URL is that of its user, for clients and for Postgres', async () => {
    const pooler = await startPooler(postgres.url)
    after(() => pooler.stop())
    assert.equal(await whoAmI(pooler, postgres.user, postgres.password), postgres.user)
    assert.equal((await refused(pooler, postgres.user, `${postgres.password}x`)).code, '28P01')
    assert.equal((await refused(pooler, postgres.user, '')).code, '28P01')
    assert.ok(!JSON.stringify(pooler.lines).includes(postgres.password))
  })

  test('an unknown database is Postgres’ to refuse, after the login', async () => {
    const pooler = await startPooler(postgres.url)
    after(() => pooler.stop())
    const { host, port } = pooler
    const { user, password } = postgres
    const login = (given: string) =>
      WireClient.connect({ host, port, user, password: given, database: 'nowhere' })
    await assert.rejects(login(password), (error: LoginError) => error.code === '3D000')
    await assert.rejects(login('wrong'), (error: LoginError) => error.code === '28P01')
  })
})
