// Tokens over WebSocket: who comes in with one, as whom its statements run, what Postgres knows of it, and
// that no other client ever gets a server that was given to its holder.
import assert from 'node:assert/strict'
import { after, afterEach, describe, it } from 'node:test'
import * as neon from '@neondatabase/serverless'
import type { JwtConfig } from '../../src/config/types.ts'
import { knock } from '../support/knock.ts'
import { aim, endpointOf, on, resetAfterEach, urlOf } from '../support/neon.ts'
import { type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { AUDIENCE, ISSUER, Issuer, KeyServer } from '../support/tokens.ts'
import { until } from '../support/waits.ts'

const NOTES = `
  create role web_user nologin; create role web_admin nologin; create role web_none nologin;
  create role door login noinherit password 'password-of-door';
  create role web_own login password 'password-of-own';
  grant web_user, web_admin to door;
  create table notes (owner text, note text);
  insert into notes values ('alice', 'of alice'), ('bob', 'of bob');
  alter table notes enable row level security;
  create policy own on notes using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
  grant select on notes to web_user, web_own`

const stops: (() => Promise<void>)[] = []
const postgres = await getPostgres()
await postgres.admin(NOTES)
const issuer = await Issuer.create()
const keys = await KeyServer.start(await issuer.keys())

after(() => keys.stop())
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})
resetAfterEach()

const who = 'select current_user::text as role, session_user::text as login'

async function start(jwt: Partial<JwtConfig> = {}, more: Overrides = {}): Promise<TestPooler> {
  const secret = (name: string) => ({ secret: `password-of-${name}` })
  const pooler = await startPooler(postgres.url, {
    users: new Map([
      ['door', secret('door')],
      ['web_own', secret('own')],
      [postgres.user, { secret: postgres.password }],
    ]),
    client: { auth: 'scram-sha-256' },
    upstream: { user: '', password: null },
    serverless: on({
      jwt: {
        jwksUrl: keys.url,
        algorithms: ['ES256'],
        issuer: ISSUER,
        audience: AUDIENCE,
        roles: ['web_user', 'web_admin', 'web_own', 'web_none'],
        loginUser: 'door',
        ...jwt,
      },
    }),
    ...more,
  })
  stops.push(() => pooler.stop())
  aim({ neon, socket: undefined }, pooler)
  return pooler
}

async function as<T>(
  username: string,
  password: string,
  run: (client: neon.Client) => Promise<T>,
): Promise<T> {
  const client = new neon.Client(urlOf(postgres, { username, password }))
  client.on('error', () => {})
  try {
    await client.connect()
    return await run(client)
  } finally {
    await client.end().catch(() => {})
  }
}

const refusalOf = (username: string, password: string): Promise<string> =>
  as(username, password, (client) => client.query('select 1')).then(
    () => 'came in',
    (error: neon.DatabaseError) => `${error.code} ${error.message}`,
  )

const tokenOf = (sub: string, role: unknown = 'web_user', more: object = {}): Promise<string> =>
  issuer.token({ claims: { sub, role, ...more } as never })

describe('a token in the place of the password', () => {
  it('lets its holder be its role, with its claims, under row security', async () => {
    await start()
    const [alice, bob] = [await tokenOf('alice'), await tokenOf('bob')]
    for (const [token, note] of [
      [alice, 'of alice'],
      [bob, 'of bob'],
      [alice, 'of alice'],
    ] as const) {
      const { rows, me } = await as('web_user', token, async (client) => ({
        rows: (await client.query('select note from notes')).rows,
        me: (await client.query(who)).rows,
      }))
      assert.deepEqual(rows, [{ note }])
      assert.deepEqual(me, [{ role: 'web_user', login: 'door' }])
    }
  })

  it('lets the role itself log in where nobody else is to', async () => {
    await start({ loginUser: '' })
    const { rows, me } = await as('web_own', await tokenOf('bob', ['web_own']), async (client) => ({
      rows: (await client.query('select note from notes')).rows,
      me: (await client.query(who)).rows,
    }))
    assert.deepEqual(rows, [{ note: 'of bob' }])
    assert.deepEqual(me, [{ role: 'web_own', login: 'web_own' }])
  })

  it('lets it be its role where one user logs in for all', async () => {
    const { user, password } = postgres
    await start({ loginUser: '' }, { upstream: { user, password } })
    const { rows, me } = await as('web_user', await tokenOf('bob'), async (client) => ({
      rows: (await client.query('select note from notes')).rows,
      me: (await client.query(who)).rows,
    }))
    assert.deepEqual(rows, [{ note: 'of bob' }])
    assert.deepEqual(me, [{ role: 'web_user', login: user }])
  })

  it('is for statements, of roles that are allowed, and nothing else', async () => {
    await start({}, { admin: { users: ['web_admin'] } as never })
    const token = await tokenOf('alice')
    assert.match(await refusalOf('web_admin', token), /^28000 .*does not allow its holder to be "web_admin"/)
    assert.match(await refusalOf(postgres.user, await tokenOf('alice', postgres.user)), /^28000/)
    assert.match(await refusalOf('web_user', `${token.slice(0, -4)}AAAA`), /^28000 .*signature is wrong/)
    const old = await tokenOf('alice', 'web_user', { exp: Math.floor(Date.now() / 1000) - 60 })
    assert.match(await refusalOf('web_user', old), /^28000 .*it has expired/)
    const none = await tokenOf('alice', 'web_none')
    assert.match(await refusalOf('web_none', none), /permission denied to set role "web_none"/)
    assert.match(await refusalOf('web_user', 'no token'), /^28P01 password authentication failed for user/)
    const database = new URL(
      urlOf(postgres, { username: 'web_admin', password: await tokenOf('a', 'web_admin') }),
    )
    database.pathname = '/pgmux'
    const console = new neon.Client(database.href)
    console.on('error', () => {})
    await console.connect()
    await assert.rejects(console.query('show pools'), { code: '0A000' })
    await console.end().catch(() => {})
  })

  it('is a password like others over TCP', async () => {
    const { host, port } = await start()
    const { Client } = await import('pg')
    const { database } = postgres
    const client = new Client({ host, port, user: 'web_user', database, password: await tokenOf('alice') })
    await assert.rejects(client.connect(), { code: '28P01' })
  })
})

describe('servers of holders of tokens', () => {
  it('are given to nobody of whom something else is said', async () => {
    await start({}, { pool: { size: 1 } })
    const seen =
      "select coalesce(current_setting('request.jwt.claims', true), '') as claims, current_user as role"
    const said = (username: string, password: string) =>
      as(
        username,
        password,
        async (client) => (await client.query(seen)).rows[0] as { claims: string; role: string },
      )
    const tokens = [await tokenOf('alice'), await tokenOf('bob'), await tokenOf('carol', 'web_admin')]
    const people = ['alice', 'bob', 'carol']
    for (let round = 0; round < 3; round++) {
      for (const [n, token] of tokens.entries()) {
        const { claims, role } = await said(n === 2 ? 'web_admin' : 'web_user', token)
        assert.equal(JSON.parse(claims).sub, people[n])
        assert.equal(role, n === 2 ? 'web_admin' : 'web_user')
        // The same user with a password: no claims, no role.
        assert.deepEqual(await said('door', 'password-of-door'), { claims: '', role: 'door' })
      }
    }
  })

  it('keep what is said through every reset', async () => {
    await start({}, { pool: { mode: 'session' } })
    const claim = "select current_setting('request.jwt.claims')::json ->> 'sub' as sub, current_user as role"
    await as('web_user', await tokenOf('alice'), async (client) => {
      for (const reset of [
        'reset all',
        'discard all',
        'reset role',
        'reset "request.jwt.claims"',
        'rollback',
      ]) {
        await client.query(reset)
        assert.deepEqual((await client.query(claim)).rows, [{ sub: 'alice', role: 'web_user' }], reset)
      }
    })
  })

  it('do not take role or claims that their client brings itself', async () => {
    await start()
    const url = new URL(urlOf(postgres, { username: 'web_user', password: await tokenOf('alice') }))
    url.searchParams.set('options', '-c role=web_admin -c request.jwt.claims={}')
    const client = new neon.Client(url.href)
    client.on('error', () => {})
    await client.connect()
    const claim = "select current_setting('request.jwt.claims')::json ->> 'sub' as sub, current_user as role"
    assert.deepEqual((await client.query(claim)).rows, [{ sub: 'alice', role: 'web_user' }])
    await client.end()
  })

  it('do not take them in any spelling', async () => {
    const pooler = await start()
    const { code, text } = await knock({
      endpoint: endpointOf(pooler),
      parameters: [
        ['user', 'web_user'],
        ['database', postgres.database],
        ['role', 'web_user'],
        ['ROLE', 'web_admin'],
        ['request.jwt.claims', '{"sub":"bob"}'],
        ['Request.JWT.Claims', '{"sub":"bob"}'],
      ],
      password: await tokenOf('alice'),
      query: "select 'it is ' || current_user, current_setting('request.jwt.claims')::json ->> 'sub'",
    })
    assert.equal(code, '')
    assert.match(text, /it is web_user/)
    assert.match(text, /alice/)
    assert.doesNotMatch(text, /web_admin|bob/)
  })
})

describe('the end of a token', () => {
  it('is the end of its WebSocket, at the end of a transaction', async () => {
    await start({ leewayMs: 0 })
    const exp = Math.floor(Date.now() / 1000) + 2
    const errors: neon.DatabaseError[] = []
    await as('web_user', await tokenOf('alice', 'web_user', { exp }), async (client) => {
      client.on('error', (error) => errors.push(error as neon.DatabaseError))
      await client.query('begin')
      await until(
        () => Date.now() > exp * 1000 + 200,
        () => 'time stands still',
      )
      assert.equal((await client.query('select 1 as one')).rows[0].one, 1, 'a transaction may end')
      await client.query('commit')
      await until(
        () => errors.length > 0,
        () => 'the connection stays',
      )
    })
    assert.equal(errors[0]?.code, '28000')
    assert.match(errors[0]?.message ?? '', /its token has expired/)
  })

  it('of keys: a token of a key that is taken back opens nothing', async () => {
    const own = await KeyServer.start(await issuer.keys())
    const pooler = await start({ jwksUrl: own.url })
    const token = await tokenOf('alice')
    assert.equal(await refusalOf('web_user', token), 'came in')
    const next = await Issuer.create('ES256', 'key-2')
    const other = await KeyServer.start(await next.keys())
    const { config } = pooler.pooler
    const jwt = { ...config.serverless.jwt, jwksUrl: other.url }
    pooler.pooler.reload({ ...config, serverless: { ...config.serverless, jwt } })
    assert.match(await refusalOf('web_user', token), /^28000 .*key that is not known/)
    await own.stop()
    await other.stop()
  })
})
