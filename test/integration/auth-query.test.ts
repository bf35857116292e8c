// Secrets that Postgres is asked for: every state of a role, every way in which the query can fail.
// Hazards: E03 (VALID UNTIL), E04 (a query that fails lets nobody in), E15 (a changed password).
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { AuthQueryConfig } from '../../src/config/types.ts'
import { attempt, login, refusal } from '../support/logins.ts'
import { CHOPPED, CHOPS, type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { useHba } from '../support/server-files.ts'
import { until } from '../support/waits.ts'
import { LoginError } from '../support/wire-client.ts'

const postgres = await getPostgres()
const hasOwnServer = postgres.kind === 'embedded'
const SECRET = 'the secret of ann'
const ASKER = 'what the asker knows'

if (hasOwnServer) {
  await postgres.admin(`create role asker login password '${ASKER}'`)
  await postgres.admin('grant select on pg_catalog.pg_authid to asker')
  await postgres.admin(`create role ann login password '${SECRET}'`)
  await postgres.admin(`create role late login password '${SECRET}' valid until '2001-01-01'`)
  await postgres.admin(`create role "until" login password '${SECRET}' valid until 'infinity'`)
  await postgres.admin('create role bare login')
  await postgres.admin(`create role gone nologin password '${SECRET}'`)
  await postgres.admin(
    `do $$ begin
      set local password_encryption = 'md5';
      create role digest login password '${SECRET}';
    end $$`,
  )
  await postgres.admin('create role open login')
  await useHba(postgres, ['host all open 127.0.0.1/32 trust', 'host all digest 127.0.0.1/32 md5'], 'open')
  await postgres.admin('create table passwords (name text, secret text, seconds text)')
  await postgres.admin('grant select on passwords to asker')
  await postgres.admin(`insert into passwords values ('ann', '${SECRET}')`)
}

interface Setup extends Overrides {
  query?: Partial<AuthQueryConfig>
  /** Of Postgres, or of what stands in front of it. */
  port?: number
}

/** A pooler that knows nobody but the one who asks. */
async function withPooler(setup: Setup, run: (pooler: TestPooler) => Promise<void>): Promise<void> {
  const { query, port = postgres.port, ...overrides } = setup
  const authQuery = { user: 'asker', password: ASKER, ...query }
  const client = { auth: 'scram-sha-256' as const, ...overrides.client, authQuery }
  const pooler = await startPooler(`postgres://${postgres.host}:${port}`, { ...overrides, client })
  try {
    await run(pooler)
    const log = JSON.stringify(pooler.lines)
    for (const secret of [SECRET, ASKER, 'SCRAM-SHA-256$']) assert.ok(!log.includes(secret))
  } finally {
    await pooler.stop()
  }
}

const right = { password: SECRET }

suite('auth_query', () => {
  test('who is who: right, wrong, unknown, expired, without a password, NOLOGIN', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({}, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
      assert.equal(await login(pooler, 'until', right), 'ok: until')
      for (const user of ['late', 'bare', 'gone', 'nobody', 'digest', 'Ann', 'ann ', "an'n", 'a'.repeat(300)])
        assert.equal(await login(pooler, user, right), '28P01', user)
      for (const user of ['ann', 'late', 'bare', 'gone', 'nobody', 'digest'])
        assert.equal(await login(pooler, user, { password: 'wrong' }), '28P01', user)
      assert.equal(await login(pooler, 'bare', { password: '' }), '28P01')
      assert.equal(await login(pooler, 'asker', { password: ASKER }), 'ok: asker')
    })
  })

  test('an md5 hash lets clients in, and us after them', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({ client: { auth: 'md5' } }, async (pooler) => {
      assert.equal(await login(pooler, 'digest', right), 'ok: digest')
      assert.equal(await login(pooler, 'digest', { password: 'wrong' }), '28P01')
    })
  })

  test('plain passwords may come from a table, and end when it says', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const query = 'select name, secret, seconds from public.passwords where name = $1'
    await withPooler({ query: { query } }, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
      assert.equal(await login(pooler, 'nobody', right), '28P01')
      assert.equal(await login(pooler, 'ann', { password: 'wrong' }), '28P01')
    })
    for (const seconds of ['0', '-1']) {
      const expired = `select name, secret, ${seconds} from public.passwords where name = $1`
      await withPooler({ query: { query: expired } }, async (pooler) => {
        assert.equal(await login(pooler, 'ann', right), '28P01')
      })
    }
  })

  test('a SECURITY DEFINER function is enough: no superuser, no right on pg_authid', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await postgres.admin(`create role humble login password '${ASKER}'`)
    await postgres.admin('create schema pgmux')
    await postgres.admin(
      `create function pgmux.secret_of(name, out rolname name, out secret text, out seconds float8)
        returns setof record language sql security definer set search_path = pg_catalog as $$
          select rolname, rolpassword, case when isfinite(rolvaliduntil)
            then date_part('epoch', rolvaliduntil - now()) end
          from pg_authid where rolname = $1 and rolcanlogin and not rolsuper $$`,
    )
    await postgres.admin('revoke all on function pgmux.secret_of from public')
    await postgres.admin('grant usage on schema pgmux to humble')
    await postgres.admin('grant execute on function pgmux.secret_of to humble')
    const query = 'select * from pgmux.secret_of($1)'
    await withPooler({ query: { user: 'humble', query } }, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
      assert.equal(await login(pooler, 'late', right), '28P01')
      assert.equal(await login(pooler, postgres.user, { password: postgres.password }), '28P01')
    })
    await withPooler({ query: { user: 'humble' } }, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), '58000', 'it may not read pg_authid')
      assert.match(JSON.stringify(pooler.lines), /permission denied for table pg_authid/)
    })
  })

  const broken: [what: string, query: string, known: string, unknown: string][] = [
    ['two rows', "select $1, 'x' from generate_series(1, 2) where $1 = 'ann'", '28P01', '28P01'],
    ['no name', "select null::text, 'x' where $1 = 'ann'", '28P01', '28P01'],
    ['another name', "select 'until', 'x' where $1 = 'ann'", '28P01', '28P01'],
    ['an error for this user', "select $1, (1 / (case $1 when 'ann' then 0 else 1 end))::text", '28P01', ''],
    ['no number', "select $1, 'x', 'soon'", '28P01', ''],
    ['one column', 'select rolname from pg_catalog.pg_authid where rolname = $1', '58000', '58000'],
    ['four columns', "select $1, 'x', 1, 2 where $1 = 'ann'", '58000', '58000'],
    ['no SQL', 'selekt', '58000', '58000'],
    ['no parameter', "select 'ann', 'x'", '58000', '58000'],
    ['a table that is missing', 'select name, secret from missing where name = $1', '58000', '58000'],
    ['no rows ever', 'do $$ begin end $$', '58000', '58000'],
    ['a COPY', 'copy passwords to stdout', '58000', '58000'],
  ]
  for (const [what, query, known, unknown] of broken) {
    test(`E04: a query that gives ${what} lets nobody in, and the operator knows why`, async (t) => {
      if (!hasOwnServer) return notRun(t, postgres.missing)
      await withPooler({ query: { query } }, async (pooler) => {
        assert.equal(await login(pooler, 'ann', { password: 'x' }), known)
        assert.equal(await login(pooler, 'ann', right), known)
        if (unknown !== '') assert.equal(await login(pooler, 'nobody', { password: 'x' }), unknown)
        const told = pooler.lines.filter(({ message }) => message.startsWith('client.auth_query'))
        assert.ok(told.length > 0, 'a line in the log')
        assert.equal(pooler.pooler.house.clients.size, 0)
        for (const entry of pooler.pooler.router.entries()) assert.fail(`a pool for ${entry.user}`)
      })
    })
  }

  test('a slow query ends at its time; the next one finds a connection that works', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const query = "select $1::text, case when $1 = 'ann' then '' || pg_sleep(60) else 'x' end"
    // Byte by byte the login of the connection that asks takes its time too.
    await withPooler({ query: { query, timeoutMs: CHOPS ? 2000 : 500 } }, async (pooler) => {
      const began = performance.now()
      assert.equal(await login(pooler, 'ann', right), '08001')
      assert.ok(performance.now() - began < 5000)
      assert.equal(await login(pooler, 'other', { password: 'wrong' }), '28P01')
      const running = "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
      await until(
        async () => (await postgres.admin(running)).length === 0,
        () => 'Postgres still works on an answer that nobody waits for',
      )
    })
  })

  test('a role is renamed, locked out, dropped: refused within cache_time', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    for (const change of [
      'alter role mover rename to moved',
      'alter role mover nologin',
      'drop role mover',
    ]) {
      await postgres.admin('drop role if exists mover')
      await postgres.admin('drop role if exists moved')
      await postgres.admin(`create role mover login password '${SECRET}'`)
      await withPooler({ query: { cacheTimeMs: 200 } }, async (pooler) => {
        assert.equal(await login(pooler, 'mover', right), 'ok: mover')
        await postgres.admin(change)
        const isRefused = async () => {
          const client = await attempt(pooler, 'mover', right)
          if (client instanceof LoginError) return client.code === '28P01'
          await client.end()
          return false
        }
        await until(isRefused, () => `still let in after ${change}`, 3000)
        if (change.includes('rename')) assert.equal(await login(pooler, 'moved', right), 'ok: moved')
      })
    }
  })

  test('Postgres is away: the same for known and unknown users, and over when it is back', async (t) => {
    const { control } = postgres
    if (!hasOwnServer || control === null) return notRun(t, postgres.missing)
    await withPooler({ query: { cacheTimeMs: 0 } }, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
      await control.stopFast()
      const [known, unknown] = [await refusal(pooler, 'ann', right), await refusal(pooler, 'nobody', right)]
      assert.equal(known.code, '08001')
      assert.equal(known.message, unknown.message)
      assert.match(JSON.stringify(pooler.lines), /ECONNREFUSED|refused/)
      await control.start()
      const isIn = async () => (await login(pooler, 'ann', right)) === 'ok: ann'
      await until(isIn, () => 'nobody gets in any more')
    })
  })

  test('the connection that asks is lost, idle or at work: another one is asked', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    // Its end would be seen only after the next question, and that is lost as well.
    if (CHOPS) return notRun(t, CHOPPED)
    const own = "from pg_stat_activity where application_name = 'pgmux auth'"
    const query =
      'select rolname, rolpassword || left(pg_sleep(0.2)::text, 0) from pg_authid where rolname = $1'
    await withPooler({ query: { query, cacheTimeMs: 0 } }, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
      await postgres.admin(`select pg_terminate_backend(pid) ${own}`)
      // Whether its end was seen before or only by the question: one loss is made good.
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
      const second = login(pooler, 'ann', right)
      const lost = `select pg_terminate_backend(pid) as gone ${own} and wait_event = 'PgSleep'`
      await until(
        async () => (await postgres.admin(lost)).length === 1,
        () => 'nobody is asked',
      )
      assert.equal(await second, 'ok: ann')
    })
    await until(
      async () => (await postgres.admin(`select 1 ${own}`)).length === 0,
      () => 'the connection outlives the pooler',
    )
  })

  test('who asks is refused: everybody is told the same, the operator the cause', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({ query: { password: 'not the one' } }, async (pooler) => {
      assert.equal(await login(pooler, 'ann', right), '08001')
      assert.equal(await login(pooler, 'nobody', right), '08001')
      assert.match(JSON.stringify(pooler.lines), /password authentication failed for user/)
    })
  })

  test('users of the configuration come first; those without a secret there are asked for', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const users = new Map([
      ['open', { secret: 'sesame-that-is-configured' }],
      ['ann', { secret: null, poolSize: 1 }],
    ])
    await withPooler({ users }, async (pooler) => {
      assert.equal(await login(pooler, 'open', { password: 'sesame-that-is-configured' }), 'ok: open')
      assert.equal(await login(pooler, 'ann', right), 'ok: ann')
    })
  })
})
