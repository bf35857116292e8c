// Who may come in over HTTP and WebSocket, at a real pooler: passwords, their limit, tokens, pages, names,
// proxies. What is refused is told in the way of each door, and tells nothing about who exists.
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { after, afterEach, describe, it } from 'node:test'
import { PasswordWork } from '../../src/auth/password-work.ts'
import { hbaRules } from '../support/hba.ts'
import { knock } from '../support/knock.ts'
import { isSecret } from '../support/known-secrets.ts'
import { endpointOf, on, urlOf } from '../support/neon.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { AUDIENCE, ISSUER, Issuer, KeyServer } from '../support/tokens.ts'
import { until } from '../support/waits.ts'

const postgres = await getPostgres()
await postgres.admin(`
  create role web_user nologin;
  create role door login noinherit password 'password-of-door';
  grant web_user to door;
  create table notes (owner text, note text);
  insert into notes values ('alice', 'of alice'), ('bob', 'of bob');
  alter table notes enable row level security;
  create policy own on notes using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
  grant select on notes to web_user`)
const issuer = await Issuer.create()
const keys = await KeyServer.start(await issuer.keys())
after(() => keys.stop())

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: Record<string, unknown> & { rows?: unknown[][]; message?: string }
}

async function start(serverless: object = {}, more: Overrides = {}): Promise<TestPooler> {
  const pooler = await startPooler(postgres.url, {
    users: new Map([
      ['door', { secret: 'password-of-door' }],
      [postgres.user, { secret: postgres.password }],
    ]),
    upstream: { user: '', password: null },
    client: { auth: 'scram-sha-256' },
    serverless: on(serverless),
    ...more,
  })
  stops.push(() => pooler.stop())
  return pooler
}

const jwt = (): object => ({
  jwksUrl: keys.url,
  algorithms: ['ES256'],
  issuer: ISSUER,
  audience: AUDIENCE,
  roles: ['web_user'],
  loginUser: 'door',
})

const door = (password = 'password-of-door', username = 'door'): string => {
  isSecret('a password that a test sent', password)
  return urlOf(postgres, { username, password: encodeURIComponent(password) })
}

function send(
  pooler: TestPooler,
  sent: { url?: string; query?: string; body?: string; method?: string; headers?: Record<string, string> },
): Promise<Answer> {
  const { url = door(), query = 'select current_user::text', method = 'POST', headers = {} } = sent
  const [host, port] = endpointOf(pooler).split(':')
  return new Promise((resolve, reject) => {
    const asked = request({
      host,
      port,
      method,
      path: '/sql',
      agent: false,
      headers: {
        'neon-connection-string': url,
        'neon-raw-text-output': 'true',
        'neon-array-mode': 'true',
        ...headers,
      },
    })
    asked.on('error', reject)
    asked.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const body = text === '' ? {} : JSON.parse(text)
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body })
      })
    })
    asked.end(method === 'POST' ? (sent.body ?? JSON.stringify({ query, params: [] })) : undefined)
  })
}

/** What a WebSocket is told after its first message: 'in', or the error as text. */
async function knocked(pooler: TestPooler, headers: Record<string, string>): Promise<string> {
  const { isIn, text } = await knock({
    endpoint: endpointOf(pooler),
    parameters: [
      ['user', 'door'],
      ['database', postgres.database],
    ],
    password: 'password-of-door',
    headers,
  })
  return isIn ? 'in' : text
}

describe('passwords over HTTP', () => {
  it('are the same secrets as over TCP, and known at once the second time', async () => {
    const pooler = await start()
    for (let n = 0; n < 3; n++) {
      const { status, body } = await send(pooler, {})
      assert.deepEqual([status, body.rows], [200, [['door']]])
    }
    const { clients } = pooler.pooler.house
    await until(
      () => clients.size === 0,
      () => `${clients.size} clients are counted`,
    )
  })

  it('that are wrong, and users and databases that do not exist, are told in the same words', async () => {
    const pooler = await start({ failureRate: 0 })
    const nowhere = new URL(door('wrong-password'))
    nowhere.pathname = '/no_such_database'
    for (const [url, user] of [
      [door('wrong-password'), 'door'],
      [door('wrong-password', 'nobody'), 'nobody'],
      [nowhere.href, 'door'],
      [urlOf(postgres, { username: 'door', password: '' }), 'door'],
    ] as const) {
      const { status, body } = await send(pooler, { url })
      assert.equal(status, 400)
      assert.equal(body.message, `password authentication failed for user "${user}"`)
      assert.deepEqual([body.code, body.severity], ['28P01', 'FATAL'])
    }
  })

  it('that are wrong too often are not looked at; known right ones are let in', async () => {
    const pooler = await start({ failureRate: 1, failureBurst: 3 })
    assert.equal((await send(pooler, {})).status, 200)
    let hashed = 0
    const { keys: derive } = PasswordWork.prototype
    PasswordWork.prototype.keys = function (...given) {
      hashed++
      return derive.apply(this, given)
    }
    try {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, n) => send(pooler, { url: door(`wrong-password-${n}`) })),
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
    for (let n = 0; n < 20; n++) assert.equal((await send(pooler, {})).status, 200)
    assert.equal(await knocked(pooler, {}), 'in', 'a right one over WebSocket')
  })

  it('are looked up in Postgres for users that are not configured', async (t) => {
    const { user, password } = postgres
    const authQuery = { user, password, database: postgres.database }
    const client = { auth: 'scram-sha-256' as const, authQuery }
    const pooler = await start({ failureRate: 0 }, { client, users: new Map() })
    for (let n = 0; n < 2; n++) assert.deepEqual((await send(pooler, {})).body.rows, [['door']])
    const wrong = await send(pooler, { url: door('wrong-password') })
    assert.equal(wrong.body.message, 'password authentication failed for user "door"')
    await postgres.admin("alter role door password 'password-of-today'")
    t.after(() => postgres.admin("alter role door password 'password-of-door'"))
    // The first one with it lets pgmux doubt what it knows.
    await until(
      async () => (await send(pooler, { url: door('password-of-today') })).status === 200,
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
    const pooler = await start({ trustProxy: ['127.0.0.1'], insecurePasswords: true }, { client })
    assert.equal((await send(pooler, {})).status, 200)
    assert.equal(await knocked(pooler, {}), 'in')
    for (const { headers = {}, url = door() } of [
      { url: urlOf(postgres) },
      { headers: { 'x-forwarded-for': '203.0.113.9' } },
      { headers: { 'x-forwarded-proto': 'https' } },
    ] as { headers?: Record<string, string>; url?: string }[]) {
      const { status, body } = await send(pooler, { url, headers })
      assert.deepEqual([status, body.code], [400, '28000'], body.message)
      assert.match(String(body.message), /pg_hba\.conf/)
    }
  })

  it('do not open the console, nor anything while the pooler stops', async () => {
    const pooler = await start({}, { admin: { users: ['door'] } as never })
    const url = new URL(door())
    url.pathname = '/pgmux'
    const { status, body } = await send(pooler, { url: url.href })
    assert.deepEqual([status, body.code], [400, '0A000'])
    pooler.pooler.house.isDraining = true
    const stopping = await send(pooler, {})
    assert.deepEqual([stopping.status, stopping.body.code], [503, '57P03'])
    assert.equal(stopping.headers['retry-after'], '1')
    pooler.pooler.house.isDraining = false
  })

  it('count as clients while their request runs', async () => {
    const pooler = await start({}, { client: { auth: 'scram-sha-256', maxConnections: 1 } })
    const slow = send(pooler, { query: 'select pg_sleep(0.4)::text' })
    let full = await send(pooler, {})
    for (let n = 0; n < 50 && full.status === 200; n++) full = await send(pooler, {})
    assert.deepEqual([full.status, full.body.code], [503, '53300'])
    assert.equal((await slow).status, 200)
    assert.equal((await send(pooler, {})).status, 200)
  })
})

describe('tokens over HTTP', () => {
  const notes = 'select note from notes'
  const tokenOf = (sub: string): Promise<string> => issuer.token({ claims: { sub, role: 'web_user' } })

  it('come as bearer or as the password, with or without a user, and win over a password', async () => {
    const pooler = await start({ jwt: jwt() })
    const token = await tokenOf('alice')
    const authorization = `Bearer ${token}`
    for (const { url, headers = {} } of [
      { url: urlOf(postgres, { username: 'web_user', password: '' }), headers: { authorization } },
      { url: urlOf(postgres, { username: '', password: '' }), headers: { authorization } },
      { url: urlOf(postgres, { username: 'web_user', password: 'wrong' }), headers: { authorization } },
      { url: urlOf(postgres, { username: 'web_user', password: token }) },
    ] as { url: string; headers?: Record<string, string> }[]) {
      const { status, body } = await send(pooler, { url, headers, query: notes })
      assert.deepEqual([status, body.rows], [200, [['of alice']]], body.message)
    }
  })

  it('say who asks, for their own request only', async () => {
    const pooler = await start({ jwt: jwt() }, { pool: { size: 1 } })
    const url = urlOf(postgres, { username: 'web_user', password: '' })
    const seen = "select current_user::text, coalesce(current_setting('request.jwt.claims', true), '')"
    const batch = { queries: [{ query: notes }, { query: 'select current_user::text' }] }
    for (const name of ['alice', 'bob', 'alice']) {
      const headers = { authorization: `Bearer ${await tokenOf(name)}` }
      assert.deepEqual((await send(pooler, { url, headers, query: notes })).body.rows, [[`of ${name}`]])
      const { body } = await send(pooler, { url, headers, body: JSON.stringify(batch) })
      const results = body.results as { rows: unknown[][] }[]
      assert.deepEqual(
        results.map(({ rows }) => rows),
        [[[`of ${name}`]], [['web_user']]],
      )
      assert.deepEqual((await send(pooler, { query: seen })).body.rows, [['door', '']])
    }
  })

  it('that are not right open nothing, whatever else would', async () => {
    const pooler = await start({ jwt: jwt(), failureRate: 0 })
    const token = await tokenOf('alice')
    const wrong = `${token.slice(0, -4)}AAAA`
    isSecret('a token that a test sent', wrong)
    const sent = (authorization: string) => send(pooler, { headers: { authorization } })
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
    const pooler = await start()
    const { status, body } = await send(pooler, {
      headers: { authorization: `Bearer ${await tokenOf('a')}` },
    })
    assert.equal(status, 400)
    assert.match(String(body.message), /no tokens are taken here/)
  })

  it('wait for keys that cannot be had, in words that say so', async () => {
    const pooler = await start({ jwt: { ...jwt(), jwksUrl: 'http://127.0.0.1:1/keys' } })
    const { status, headers, body } = await send(pooler, {
      headers: { authorization: `Bearer ${await tokenOf('a')}` },
    })
    assert.deepEqual([status, body.code], [503, '58000'])
    assert.equal(headers['retry-after'], '1')
    assert.ok(pooler.lines.some(({ message }) => message === 'the keys of tokens cannot be read'))
    assert.equal((await send(pooler, {})).status, 200, 'passwords need no keys')
  })
})

describe('pages and names', () => {
  // J01
  it('of strangers are refused in words, over both', async () => {
    const pooler = await start({ allowedOrigins: ['https://app.example'] })
    const strange = { origin: 'https://evil.example' }
    const { status, headers, body } = await send(pooler, { headers: strange })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(String(body.message), /pages of this web site may not connect/)
    assert.equal(headers['access-control-allow-origin'], undefined)
    assert.match(await knocked(pooler, strange), /SFATAL.*C28000.*pages of this web site may not connect/)
    const listed = { origin: 'https://app.example' }
    const good = await send(pooler, { headers: listed })
    assert.deepEqual([good.status, good.headers['access-control-allow-origin']], [200, 'https://app.example'])
    assert.equal(await knocked(pooler, listed), 'in')
    const wrong = await send(pooler, { url: door('wrong-password'), headers: listed })
    assert.equal(wrong.headers['access-control-allow-origin'], 'https://app.example', 'errors as well')
  })

  it('are answered before they ask', async () => {
    const pooler = await start({ allowedOrigins: ['https://app.example'] })
    const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'x' }
    const good = await send(pooler, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', ...asked },
    })
    assert.equal(good.status, 204)
    assert.match(String(good.headers['access-control-allow-headers']), /Neon-Batch-Deferrable/)
    const bad = await send(pooler, {
      method: 'OPTIONS',
      headers: { origin: 'https://evil.example', ...asked },
    })
    assert.equal(bad.status, 403)
    assert.equal(bad.headers['access-control-allow-origin'], undefined)
  })

  it('that could mean any machine let nobody in without a password', async () => {
    const pooler = await start({ allowedHosts: ['db.example'] }, { client: { auth: 'trust' } })
    const user = { url: urlOf(postgres, { username: 'door', password: '' }) }
    for (const host of ['localhost:6480', '127.0.0.1:6480', 'db.example']) {
      assert.equal((await send(pooler, { ...user, headers: { host } })).status, 200, host)
      assert.equal(await knocked(pooler, { host }), 'in', host)
    }
    const host = 'rebound.evil.example'
    const { status, body } = await send(pooler, { ...user, headers: { host } })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(String(body.hint), /allowed_hosts/)
    assert.match(await knocked(pooler, { host }), /SFATAL.*C28000.*not allowed under this host name/)
  })
})

describe('headers', () => {
  // J16
  it('never become SQL', async () => {
    const pooler = await start()
    const body = JSON.stringify({
      queries: [{ query: 'select current_setting($1)', params: ['transaction_isolation'] }],
    })
    const level = (value: string) => send(pooler, { body, headers: { 'neon-batch-isolation-level': value } })
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
      assert.equal((await send(pooler, { body, headers: { [name]: 'true; drop table notes' } })).status, 200)
    assert.equal((await postgres.admin('select count(*)::int as n from notes'))[0]?.n, 2)
  })
})

describe('proxies', () => {
  const user = { url: urlOf(postgres, { username: 'door', password: '' }) }
  const far = '203.0.113.9'

  it('that nobody trusts make nobody else, and nobody of this machine', async () => {
    const pooler = await start({}, { client: { auth: 'trust' } })
    assert.equal((await send(pooler, user)).status, 200)
    const { status, body } = await send(pooler, { ...user, headers: { 'x-forwarded-for': '127.0.0.1' } })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(await knocked(pooler, { 'x-forwarded-for': '127.0.0.1' }), /SFATAL.*C28000/)
  })

  it('that are trusted say where a client is, and whether others can read what it says', async () => {
    const pooler = await start({ trustProxy: ['127.0.0.1'] })
    const https = { 'x-forwarded-for': far, 'x-forwarded-proto': 'https' }
    const http = { 'x-forwarded-for': far, 'x-forwarded-proto': 'http' }
    assert.equal((await send(pooler, { headers: https })).status, 200)
    assert.equal(await knocked(pooler, https), 'in')
    const { status, body } = await send(pooler, { headers: http })
    assert.deepEqual([status, body.code], [400, '28000'])
    assert.match(await knocked(pooler, http), /SFATAL.*C28000.*cleartext passwords are refused/)
    await send(pooler, { url: door('wrong-password'), headers: https })
    assert.ok(
      pooler.lines.some(({ fields }) => fields.client === far),
      'the log names the client',
    )
    const open = await start({ trustProxy: ['127.0.0.1'], insecurePasswords: true })
    assert.equal((await send(open, { headers: http })).status, 200)
  })

  it('that are trusted are not the address for which wrong passwords count', async () => {
    const limits = { failureRate: 1, failureBurst: 2 }
    const statusOf = async (pooler: TestPooler, n: number, from: string) => {
      const headers = { 'x-forwarded-for': `198.51.100.7, ${from}`, 'x-forwarded-proto': 'https' }
      return (await send(pooler, { url: door(`wrong-password-${n}`, `nobody-${n}`), headers })).status
    }
    const trusted = await start({ ...limits, trustProxy: ['127.0.0.1'] })
    for (let n = 0; n < 6; n++) assert.equal(await statusOf(trusted, n, `203.0.113.${n}`), 400)
    const seen = []
    // What a client says of itself counts for nothing: only the last one is of the proxy.
    for (let n = 6; n < 12; n++) seen.push(await statusOf(trusted, n, far))
    assert.ok(seen.includes(429), String(seen))
  })
})
