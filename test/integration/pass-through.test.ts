// SCRAM at both ends and no plain password anywhere: what a client's own login leaves with us opens its
// servers.
// Hazard: E15 (a changed password, on servers that live and on servers that are opened anew).
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { attempt, login, refusal } from '../support/logins.ts'
import { merge, type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { until } from '../support/waits.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const hasOwnServer = postgres.kind === 'embedded'
const ASKER = 'what the asker knows'
const PASSWORDS = { ann: 'what ann knows', bob: 'what bob knows' }

if (hasOwnServer) {
  await postgres.admin(`create role asker login password '${ASKER}'`)
  await postgres.admin('grant select on pg_catalog.pg_authid to asker')
  for (const [user, password] of Object.entries(PASSWORDS))
    await postgres.admin(`create role ${user} login password '${password}'`)
}

async function verifierOf(user: string): Promise<string> {
  const [row] = await postgres.admin('select rolpassword from pg_authid where rolname = $1', [user])
  return String(row?.rolpassword)
}

async function withPooler(setup: Overrides, run: (pooler: TestPooler) => Promise<void>): Promise<void> {
  const client = { auth: 'scram-sha-256' as const, ...setup.client }
  const pooler = await startPooler(`postgres://${postgres.host}:${postgres.port}`, { ...setup, client })
  try {
    await run(pooler)
    const log = JSON.stringify(pooler.lines)
    for (const secret of [...Object.values(PASSWORDS), ASKER, 'SCRAM-SHA-256$'])
      assert.ok(!log.includes(secret))
    assert.ok(!/clientKey|serverKey|"keys"/i.test(log))
  } finally {
    await pooler.stop()
  }
}

const asking = { authQuery: { user: 'asker', password: ASKER, cacheTimeMs: 60_000 } }

async function enter(pooler: TestPooler, user: string, password: string): Promise<WireClient> {
  const client = await attempt(pooler, user, { password })
  assert.ok(client instanceof WireClient, String(client))
  return client
}

/** Ends the servers of a user; resolves when they have gone. */
async function dropServers(user: string): Promise<void> {
  const alive = 'select count(pg_terminate_backend(pid))::int n from pg_stat_activity where usename = $1'
  await until(
    async () => (await postgres.admin(alive, [user]))[0]?.n === 0,
    () => `servers of ${user} do not go`,
  )
}

async function whoAmI(client: WireClient): Promise<string> {
  // The first answer may be the news that the server was lost.
  for (let round = 0; ; round++) {
    const { rows, error } = await client.query('select session_user')
    if (error === null) return rows[0]?.[0] ?? ''
    assert.ok(round < 3, error.message)
  }
}

suite('pass-through', () => {
  test('two users, two pools, verifiers only: each is itself, on new servers as well', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const listed = new Map<string, { secret: string }>()
    for (const user of Object.keys(PASSWORDS)) listed.set(user, { secret: await verifierOf(user) })
    const inTheClear = { client: { ...asking, auth: 'password' as const } }
    for (const setup of [{ users: listed }, { client: asking }, inTheClear]) {
      await withPooler(setup, async (pooler) => {
        const ann = await enter(pooler, 'ann', PASSWORDS.ann)
        const bob = await enter(pooler, 'bob', PASSWORDS.bob)
        for (let round = 0; round < 2; round++) {
          assert.equal(await whoAmI(ann), 'ann')
          assert.equal(await whoAmI(bob), 'bob')
          await dropServers('ann')
          await dropServers('bob')
        }
        assert.equal(await login(pooler, 'ann', { password: PASSWORDS.bob }), '28P01')
        await ann.end()
        await bob.end()
      })
    }
  })

  test('E15: the password changes while the pool lives', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await postgres.admin("create role turner login password 'old'")
    await withPooler({ client: asking, pool: { size: 1 } }, async (pooler) => {
      const first = await enter(pooler, 'turner', 'old')
      assert.equal(await whoAmI(first), 'turner')
      await new Promise((resolve) => setTimeout(resolve, 1000))
      await postgres.admin("alter role turner password 'new'")
      assert.equal(await whoAmI(first), 'turner', 'servers that are open go on, as in Postgres')
      await dropServers('turner')
      // The old keys are refused, and that is told; nobody comes in with what is known no more.
      let error = (await first.query('select 1')).error
      if (error?.code !== '28P01') error = (await first.query('select 1')).error
      assert.equal(error?.code, '28P01')
      assert.match(error?.message ?? '', /password authentication failed for user "turner"/)
      assert.equal(await login(pooler, 'turner', { password: 'old' }), '28P01')
      const second = await enter(pooler, 'turner', 'new')
      assert.equal(await whoAmI(second), 'turner')
      await dropServers('turner')
      assert.equal(await whoAmI(first), 'turner', 'the new keys serve everybody who is in')
      await first.end()
      await second.end()
    })
  })

  test('a verifier that is not the one of Postgres is told clearly', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await postgres.admin("create role stale login password 'same'")
    const users = new Map([['stale', { secret: await verifierOf('stale') }]])
    // The same password again: another salt, other keys.
    await postgres.admin("alter role stale password 'same'")
    await withPooler({ users }, async (pooler) => {
      const error = await refusal(pooler, 'stale', { password: 'same' })
      assert.equal(error.code, '28P01')
      assert.ok(
        error.messages.some(({ type }) => type === 'R'),
        'the proof of the client was right',
      )
      const again = await refusal(pooler, 'stale', { password: 'same' })
      assert.equal(again.code, '28P01')
    })
  })

  test('keys of a client are never used for a forced user, nor those of one user for another', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const { host, port } = postgres
    const users = new Map([['ann', { secret: await verifierOf('ann') }]])
    const databases = new Map([
      ['own', { host, port, dbname: 'postgres' }],
      ['forced', { host, port, dbname: 'postgres', user: 'bob' }],
      ['given', { host, port, dbname: 'postgres', user: 'bob', password: PASSWORDS.bob }],
    ])
    await withPooler({ users, databases }, async (pooler) => {
      const as = (database: string) => login(pooler, 'ann', { password: PASSWORDS.ann, database })
      assert.equal(await as('own'), 'ok: ann')
      assert.equal(await as('forced'), '28P01')
      assert.equal(await as('given'), 'ok: bob')
    })
  })

  test('a reload keeps the keys, and ends the connection of the query that was', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const own = "select pid from pg_stat_activity where application_name = 'pgmux auth'"
    await withPooler({ client: asking }, async (test) => {
      const ann = await enter(test, 'ann', PASSWORDS.ann)
      const [before] = await postgres.admin(own)
      const { pooler } = test
      pooler.reload(merge(pooler.config, { client: { authQuery: { cacheTimeMs: 0 } } }))
      await until(
        async () => (await postgres.admin(own)).length === 0,
        () => 'the old connection goes on',
      )
      await dropServers('ann')
      assert.equal(await whoAmI(ann), 'ann')
      assert.equal(await login(test, 'bob', { password: PASSWORDS.bob }), 'ok: bob')
      const [after] = await postgres.admin(own)
      assert.notEqual(after?.pid, before?.pid)
      await ann.end()
    })
  })

  test('with trust there are no keys: Postgres’ question is told as it is', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const client = { ...asking, auth: 'trust' as const }
    await withPooler({ client }, async (pooler) => {
      const end = await attempt(pooler, 'ann')
      assert.ok(end instanceof LoginError)
      assert.equal(end.code, '28P01')
    })
  })
})
