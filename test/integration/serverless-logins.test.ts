// Who may come in over HTTP, at a real pooler: passwords, their limit, tokens. What is refused is told in
// words that say nothing about who exists.
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { PasswordWork } from '../../src/auth/password-work.ts'
import { Doorstep } from '../support/doorstep.ts'
import { hbaRules } from '../support/hba.ts'
import { isSecret } from '../support/known-secrets.ts'
import { urlOf } from '../support/neon.ts'
import { getPostgres } from '../support/postgres.ts'
import { AUDIENCE, ISSUER, Issuer, KeyServer } from '../support/tokens.ts'
import { until } from '../support/waits.ts'

const postgres = await getPostgres()
const doorstep = await Doorstep.create(postgres)
await postgres.admin(`
  create role web_user nologin;
  grant web_user to door;
  create table notes (owner text, note text);
  insert into notes values ('alice', 'of alice'), ('bob', 'of bob');
  alter table notes enable row level security;
  create policy own on notes using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
  grant select on notes to web_user`)
const issuer = await Issuer.create()
const keys = await KeyServer.start(await issuer.keys())
after(() => keys.stop())

const jwt = (): object => ({
  jwksUrl: keys.url,
  algorithms: ['ES256'],
  issuer: ISSUER,
  audience: AUDIENCE,
  roles: ['web_user'],
  loginUser: 'door',
})

describe('passwords over HTTP', () => {
  it('are the same secrets as over TCP, and known at once the second time', async () => {
    const pooler = await doorstep.start()
    for (let n = 0; n < 3; n++) {
      const { status, body } = await doorstep.send(pooler, {})
      assert.deepEqual([status, body.rows], [200, [['door']]])
    }
    const { clients } = pooler.pooler.house
    await until(
      () => clients.size === 0,
      () => `${clients.size} clients are counted`,
    )
  })

  it('that are wrong, and users and databases that do not exist, are told in the same words', async () => {
    const pooler = await doorstep.start({ failureRate: 0 })
    const nowhere = new URL(doorstep.url('wrong-password'))
    nowhere.pathname = '/no_such_database'
    for (const [url, user] of [
      [doorstep.url('wrong-password'), 'door'],
      [doorstep.url('wrong-password', 'nobody'), 'nobody'],
      [nowhere.href, 'door'],
      [urlOf(postgres, { username: 'door', password: '' }), 'door'],
    ] as const) {
      const { status, body } = await doorstep.send(pooler, { url })
      assert.equal(status, 400)
      assert.equal(body.message, `password authentication failed for user "${user}"`)
      assert.deepEqual([body.code, body.severity], ['28P01', 'FATAL'])
    }
  })

  it('that are wrong too often are not looked at; known right ones are let in', async () => {
    const pooler = await doorstep.start({ failureRate: 1, failureBurst: 3 })
    assert.equal((await doorstep.send(pooler, {})).status, 200)
    let hashed = 0
    const { keys: derive } = PasswordWork.prototype
    PasswordWork.prototype.keys = function (...given) {
      hashed++
      return derive.apply(this, given)
    }
    try {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, n) =>
          doorstep.send(pooler, { url: doorstep.url(`wrong-password-${n}`) }),
        ),
      )
      const limited = answers.filter(({ status }) => status === 429)
      assert.ok(limited.length >= 35, `${limited.length} of 40 were limited`)
      for (const { headers, body } of limited) {
        assert.match(String(headers['retry-after']), /^[1-9][0-9]*$/)
        assert.match(String(body.message), /too many wrong passwords/)
        assert.equal(body.code, '53300')
      }
      // Each that was looked at derives what was given and what is wanted.
      assert.ok(hashed <= 2 * (40 - limited.length), `${hashed} derivations`)
    } finally {
      PasswordWork.prototype.keys = derive
    }
    for (let n = 0; n < 20; n++) assert.equal((await doorstep.send(pooler, {})).status, 200)
    assert.equal(await doorstep.knock(pooler, {}), 'in', 'a right one over WebSocket')
  })

  it('are looked up in Postgres for users that are not configured', async (t) => {
    const { user, password } = postgres
    const authQuery = { user, password, database: postgres.database }
    const client = { auth: 'scram-sha-256' as const, authQuery }
    const pooler = await doorstep.start({ failureRate: 0 }, { client, users: new Map() })
    for (let n = 0; n < 2; n++) assert.deepEqual((await doorstep.send(pooler, {})).body.rows, [['door']])
    const wrong = await doorstep.send(pooler, { url: doorstep.url('wrong-password') })
    assert.equal(wrong.body.message, 'password authentication failed for user "door"')
    await postgres.admin("alter role door password 'password-of-today'")
    t.after(() => postgres.admin("alter role door password 'password-of-door'"))
    // The first one with it lets pgmux doubt what it knows.
    await until(
      async () => (await doorstep.send(pooler, { url: doorstep.url('password-of-today') })).status === 200,
      () => 'the new password is not taken',
    )
  })

  it('obey the lines of pg_hba.conf for their address and their way', async () => {
    const { database } = postgres
    const hbaFile = hbaRules(
      `host ${database} ${postgres.user} 127.0.0.1/32 reject`,
      `hostssl ${database} door all reject`,
      `host ${database} door 127.0.0.1/32 scram-sha-256`,
    )
    const client = { auth: 'hba' as const, hbaFile }
    const pooler = await doorstep.start({ trustProxy: ['127.0.0.1'], insecurePasswords: true }, { client })
    assert.equal((await doorstep.send(pooler, {})).status, 200)
    assert.equal(await doorstep.knock(pooler, {}), 'in')
    for (const { headers = {}, url = doorstep.url() } of [
      { url: urlOf(postgres) },
      { headers: { 'x-forwarded-for': '203.0.113.9' } },
      { headers: { 'x-forwarded-proto': 'https' } },
    ] as { headers?: Record<string, string>; url?: string }[]) {
      const { status, body } = await doorstep.send(pooler, { url, headers })
      assert.deepEqual([status, body.code], [400, '28000'], body.message)
      assert.match(String(body.message), /pg_hba\.conf/)
    }
    for (const headers of [{ 'x-forwarded-for': '203.0.113.9' }, { 'x-forwarded-proto': 'https' }])
      assert.match(await doorstep.knock(pooler, headers), /SFATAL.*C28000.*pg_hba\.conf/)
  })

  it('do not open the console, nor anything while the pooler stops', async () => {
    const pooler = await doorstep.start({}, { admin: { users: ['door'] } as never })
    const url = new URL(doorstep.url())
    url.pathname = '/pgmux'
    const { status, body } = await doorstep.send(pooler, { url: url.href })
    assert.deepEqual([status, body.code], [400, '0A000'])
    pooler.pooler.house.isDraining = true
    const stopping = await doorstep.send(pooler, {})
    assert.deepEqual([stopping.status, stopping.body.code], [503, '57P03'])
    assert.equal(stopping.headers['retry-after'], '1')
    pooler.pooler.house.isDraining = false
  })

  it('count as clients while their request runs', async () => {
    const pooler = await doorstep.start({}, { client: { auth: 'scram-sha-256', maxConnections: 1 } })
    const slow = doorstep.send(pooler, { query: 'select pg_sleep(0.4)::text' })
    let full = await doorstep.send(pooler, {})
    for (let n = 0; n < 50 && full.status === 200; n++) full = await doorstep.send(pooler, {})
    assert.deepEqual([full.status, full.body.code], [503, '53300'])
    assert.equal((await slow).status, 200)
    assert.equal((await doorstep.send(pooler, {})).status, 200)
  })
})

describe('tokens over HTTP', () => {
  const notes = 'select note from notes'
  const tokenOf = (sub: string): Promise<string> => issuer.token({ claims: { sub, role: 'web_user' } })

  it('come as bearer or as the password, with or without a user, and win over a password', async () => {
    const pooler = await doorstep.start({ jwt: jwt() })
    const token = await tokenOf('alice')
    const authorization = `Bearer ${token}`
    for (const { url, headers = {} } of [
      { url: urlOf(postgres, { username: 'web_user', password: '' }), headers: { authorization } },
      { url: urlOf(postgres, { username: '', password: '' }), headers: { authorization } },
      { url: urlOf(postgres, { username: 'web_user', password: 'wrong' }), headers: { authorization } },
      { url: urlOf(postgres, { username: 'web_user', password: token }) },
    ] as { url: string; headers?: Record<string, string> }[]) {
      const { status, body } = await doorstep.send(pooler, { url, headers, query: notes })
      assert.deepEqual([status, body.rows], [200, [['of alice']]], body.message)
    }
  })

  it('say who asks, for their own request only', async () => {
    const pooler = await doorstep.start({ jwt: jwt() }, { pool: { size: 1 } })
    const url = urlOf(postgres, { username: 'web_user', password: '' })
    const seen = "select current_user::text, coalesce(current_setting('request.jwt.claims', true), '')"
    const batch = { queries: [{ query: notes }, { query: 'select current_user::text' }] }
    for (const name of ['alice', 'bob', 'alice']) {
      const headers = { authorization: `Bearer ${await tokenOf(name)}` }
      assert.deepEqual((await doorstep.send(pooler, { url, headers, query: notes })).body.rows, [
        [`of ${name}`],
      ])
      const { body } = await doorstep.send(pooler, { url, headers, body: JSON.stringify(batch) })
      const results = body.results as { rows: unknown[][] }[]
      assert.deepEqual(
        results.map(({ rows }) => rows),
        [[[`of ${name}`]], [['web_user']]],
      )
      assert.deepEqual((await doorstep.send(pooler, { query: seen })).body.rows, [['door', '']])
    }
  })

  it('that are not right open nothing, whatever else would', async () => {
    const pooler = await doorstep.start({ jwt: jwt(), failureRate: 0 })
    const token = await tokenOf('alice')
    const wrong = `${token.slice(0, -4)}AAAA`
    isSecret('a token that a test sent', wrong)
    const sent = (authorization: string) => doorstep.send(pooler, { headers: { authorization } })
    for (const bad of [
      wrong,
      'no-token-at-all',
      await issuer.token({ claims: { role: 'web_user', exp: 1 } }),
    ]) {
      const { status, body } = await sent(`Bearer ${bad}`)
      assert.equal(status, 400)
      assert.match(String(body.message), /^token authentication failed: /)
    }
    const { body } = await sent(`Bearer ${token}`)
    assert.match(String(body.message), /does not allow its holder to be "door"/)
  })

  it('are refused where none are taken', async () => {
    const pooler = await doorstep.start()
    const { status, body } = await doorstep.send(pooler, {
      headers: { authorization: `Bearer ${await tokenOf('a')}` },
    })
    assert.equal(status, 400)
    assert.match(String(body.message), /no tokens are taken here/)
  })

  it('wait for keys that cannot be had, in words that say so', async () => {
    const pooler = await doorstep.start({ jwt: { ...jwt(), jwksUrl: 'http://127.0.0.1:1/keys' } })
    const { status, headers, body } = await doorstep.send(pooler, {
      headers: { authorization: `Bearer ${await tokenOf('a')}` },
    })
    assert.deepEqual([status, body.code], [503, '58000'])
    assert.equal(headers['retry-after'], '1')
    assert.ok(pooler.lines.some(({ message }) => message === 'the keys of tokens cannot be read'))
    assert.equal((await doorstep.send(pooler, {})).status, 200, 'passwords need no keys')
  })
})

describe('headers', () => {
  // J16
  it('never become SQL', async () => {
    const pooler = await doorstep.start()
    const body = JSON.stringify({
      queries: [{ query: 'select current_setting($1)', params: ['transaction_isolation'] }],
    })
    const level = (value: string) =>
      doorstep.send(pooler, { body, headers: { 'neon-batch-isolation-level': value } })
    for (const value of [
      'Serializable; drop table notes',
      'SERIALIZABLE',
      'serializable',
      "x'",
      'constructor',
      '__proto__',
    ]) {
      const { status, body: told } = await level(value)
      assert.deepEqual([status, told.message], [400, 'invalid isolation level'], value)
    }
    const { body: good } = await level('RepeatableRead')
    assert.deepEqual((good.results as { rows: unknown }[])[0]?.rows, [['repeatable read']])
    for (const name of ['neon-batch-read-only', 'neon-batch-deferrable'])
      assert.equal(
        (await doorstep.send(pooler, { body, headers: { [name]: 'true; drop table notes' } })).status,
        200,
      )
    assert.equal((await postgres.admin('select count(*)::int as n from notes'))[0]?.n, 2)
  })
})
