// What strangers may do to the authentication query, and learn from it: nothing. Hazards: E02 (a client's
// search_path on the connection that asks), E05 (who and what exists), E15 (a changed password).
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { attempt, login, refusal } from '../support/logins.ts'
import { CHOPPED, CHOPS, type Overrides, startPooler, type TestPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const hasOwnServer = postgres.kind === 'embedded'
const SECRET = 'the secret of ann'
const ASKER = 'what the asker knows'
const SETTINGS = [
  'search_path',
  'application_name',
  'datestyle',
  'statement_timeout',
  'role',
  'client_encoding',
]

/** An operator that Postgres would prefer, where this schema comes first, and that takes notes. */
const TRAP = `
  create schema evil;
  create table evil.stolen (what text);
  create function evil.take(name, name) returns bool language plpgsql as $$
    begin insert into evil.stolen values (current_user); return $1 operator(pg_catalog.=) $2; end $$;
  create operator evil.= (leftarg = name, rightarg = name, function = evil.take);
  create function evil.now() returns timestamptz language plpgsql as $$
    begin insert into evil.stolen values (current_user); return pg_catalog.now(); end $$;
  grant all on schema evil to public;
  grant all on evil.stolen to public`

/** As the default query, but it writes down who asks, for whom and under which settings. */
const SPY = `
  create table seen (asked name, settings text[]);
  create function spy(name, out rolname name, out secret text) returns setof record language plpgsql
    security definer as $$
    begin
      insert into public.seen
        select $1, array_agg(pg_catalog.current_setting(s)) from unnest(array['${SETTINGS.join("','")}']) s;
      return query select a.rolname, a.rolpassword from pg_catalog.pg_authid a where a.rolname = $1;
    end $$`

if (hasOwnServer) {
  await postgres.admin(`create role asker login superuser password '${ASKER}'`)
  await postgres.admin(`create role ann login password '${SECRET}'`)
  await postgres.admin(`create role late login password '${SECRET}' valid until '2001-01-01'`)
  await postgres.admin('create role bare login')
  await postgres.admin(TRAP)
  await postgres.admin(SPY)
}

const spied = 'select rolname, secret from public.spy($1)'

async function withPooler(setup: Overrides, run: (pooler: TestPooler) => Promise<void>): Promise<void> {
  const authQuery = { user: 'asker', password: ASKER, ...setup.client?.authQuery }
  const client = { auth: 'scram-sha-256' as const, ...setup.client, authQuery }
  const pooler = await startPooler(`postgres://${postgres.host}:${postgres.port}`, { ...setup, client })
  try {
    await run(pooler)
  } finally {
    await pooler.stop()
  }
}

async function count(sql: string): Promise<number> {
  return Number((await postgres.admin(sql))[0]?.n)
}

/** Types and lengths of what the server said, and the words of its refusal without the name. */
function shape(error: LoginError, user: string): unknown[] {
  const messages = error.messages.map((message) => {
    if (message.type === 'R') return `R${message.method}:${'data' in message ? message.data.length : 0}`
    return `${message.type}:${message.type === 'E' ? message.raw.length - user.length : 0}`
  })
  return [...messages, error.message.replace(`"${user}"`, '""')]
}

/** Milliseconds of one refused login. */
async function duration(pooler: TestPooler, user: string): Promise<number> {
  const began = performance.now()
  await refusal(pooler, user, { password: 'wrong' })
  return performance.now() - began
}

/** A fifth of the logins stays below this: what others do on the machine makes some longer, not all. */
function usual(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 5)] as number
}

/** In alternation, so that both meet the same machine. @returns how many times longer the slower one takes */
async function compareTimes(pooler: TestPooler, users: [string, string]): Promise<number> {
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < 60; round++) {
    for (const turn of round % 2 === 0 ? [0, 1] : [1, 0])
      times[turn as 0 | 1].push(await duration(pooler, users[turn as 0 | 1]))
  }
  const [one, other] = [usual(times[0]), usual(times[1])]
  return Math.max(one / other, other / one)
}

suite('attacks on auth_query', () => {
  test('E02: nothing that a client says of itself reaches the connection that asks', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({ client: { authQuery: { query: spied, cacheTimeMs: 0 } } }, async (pooler) => {
      const params = {
        options: '-c search_path=evil,pg_catalog -c statement_timeout=1234 -c role=ann',
        search_path: 'evil',
        application_name: 'somebody',
        DateStyle: 'German',
        client_encoding: 'LATIN1',
      }
      await attempt(pooler, 'ann', { password: 'wrong', params })
      await attempt(pooler, 'ann', { password: SECRET, params })
      const rows = await postgres.admin('select distinct settings from seen')
      assert.equal(rows.length, 1)
      const own = ['pg_catalog, public', 'pgmux auth', 'ISO, MDY', '0', 'none', 'UTF8']
      assert.deepEqual(rows[0]?.settings, own)
      const names = 'select distinct usename, datname from pg_stat_activity where application_name = $1'
      assert.deepEqual(await postgres.admin(names, ['pgmux auth']), [
        { usename: 'asker', datname: 'postgres' },
      ])
    })
  })

  test('E02: operators of another schema do not count, whoever sets the path', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    // The worst case: whoever owns a database may set this for all who connect to it.
    await postgres.admin('alter database postgres set search_path = evil, pg_catalog')
    try {
      const stolen = () => count('select count(*) n from evil.stolen')
      const proof = 'select true from pg_catalog.pg_authid where rolname = current_user'
      await postgres.admin(proof)
      const before = await stolen()
      assert.ok(before > 0, 'the trap works')
      await withPooler({}, async (pooler) => {
        const params = { options: '-c search_path=evil,pg_catalog' }
        for (const user of ['ann', 'nobody']) await refusal(pooler, user, { password: 'wrong', params })
        assert.equal(await login(pooler, 'ann', { password: SECRET }), 'ok: ann')
      })
      assert.equal(await stolen(), before)
    } finally {
      await postgres.admin('alter database postgres reset search_path')
    }
  })

  test('E05: wrong, unknown, expired, without a password: the same messages, the same lengths', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({}, async (pooler) => {
      const wrong = shape(await refusal(pooler, 'ann', { password: 'wrong' }), 'ann')
      for (const user of ['nobody', 'late', 'bare']) {
        for (const password of ['wrong', SECRET])
          assert.deepEqual(shape(await refusal(pooler, user, { password }), user), wrong, user)
      }
      const nowhere = { password: SECRET, database: 'nowhere' }
      for (const user of ['ann', 'nobody'])
        assert.deepEqual(shape(await refusal(pooler, user, nowhere), user), wrong, 'no such database')
      const closed = { password: SECRET, database: 'template0' }
      assert.deepEqual(shape(await refusal(pooler, 'ann', closed), 'ann'), wrong, 'a database that is closed')
    })
  })

  test('E05: an unknown database is told after the right password, and only then', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    const { host, port } = postgres
    const databases = new Map([['postgres', { host, port }]])
    for (const dbname of ['', 'postgres']) {
      await withPooler({ databases, client: { authQuery: { dbname } } }, async (pooler) => {
        const options = { password: SECRET, database: 'nowhere' }
        const wrong = shape(await refusal(pooler, 'ann', { password: 'wrong' }), 'ann')
        const told = await refusal(pooler, 'ann', options)
        if (dbname === '') assert.deepEqual(shape(told, 'ann'), wrong)
        else assert.equal(told.code, '3D000')
        assert.deepEqual(shape(await refusal(pooler, 'nobody', options), 'nobody'), wrong)
        const both = { password: 'wrong', database: 'nowhere' }
        assert.deepEqual(shape(await refusal(pooler, 'ann', both), 'ann'), wrong)
      })
    }
  })

  for (const cacheTimeMs of [0, 60_000]) {
    const how = cacheTimeMs === 0 ? 'asked each time' : 'answered from memory'
    test(`E05: unknown and known users take the same time, ${how}`, async (t) => {
      if (!hasOwnServer) return notRun(t, postgres.missing)
      if (CHOPS) return notRun(t, CHOPPED)
      await withPooler({ client: { authQuery: { cacheTimeMs } } }, async (pooler) => {
        const ratios: number[] = []
        const isAlike = () => (ratios.at(-1) ?? Number.POSITIVE_INFINITY) < 1.15
        while (!isAlike() && ratios.length < 5) ratios.push(await compareTimes(pooler, ['ann', 'nobody']))
        assert.ok(isAlike(), `ratios: ${ratios.join(', ')}`)
      })
    })
  }

  test('200 logins at once ask once for each user, known or not', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({ client: { authQuery: { query: spied } } }, async (pooler) => {
      await postgres.admin('truncate seen')
      const users = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? 'ann' : 'nobody'))
      const begun = performance.now()
      const ends = await Promise.all(users.map((user) => attempt(pooler, user, { password: SECRET })))
      const seconds = Math.floor((performance.now() - begun) / 1000)
      assert.equal(ends.filter((end) => end instanceof WireClient).length, 100)
      assert.equal(ends.filter((end) => end instanceof LoginError && end.code === '28P01').length, 100)
      const asked = await postgres.admin('select asked, count(*)::int n from seen group by 1 order by 1')
      // A refusal makes doubt, and each second somebody in doubt may ask again.
      const again = asked.find(({ asked: user }) => user === 'nobody')
      assert.ok(again !== undefined && Number(again.n) <= 1 + seconds, `${again?.n} in ${seconds} s`)
      assert.deepEqual(asked, [{ asked: 'ann', n: 1 }, again])
      for (const end of ends) if (end instanceof WireClient) await end.end()
    })
  })

  test('E15: the old password is refused and the new one taken, with the old answer cached', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await postgres.admin("create role turner login password 'old'")
    await withPooler({ client: { authQuery: { query: spied, cacheTimeMs: 60_000 } } }, async (pooler) => {
      assert.equal(await login(pooler, 'turner', { password: 'old' }), 'ok: turner')
      // An answer must be a second old before it is doubted.
      await new Promise((resolve) => setTimeout(resolve, 1000))
      await postgres.admin("alter role turner password 'new'")
      await postgres.admin('truncate seen')
      // SCRAM has shown the old salt by then: this one cannot succeed, but the next one does.
      assert.equal(await login(pooler, 'turner', { password: 'new' }), '28P01')
      assert.equal(await login(pooler, 'turner', { password: 'new' }), 'ok: turner')
      for (let round = 0; round < 20; round++)
        assert.equal(await login(pooler, 'turner', { password: 'old' }), '28P01')
      assert.equal(await count("select count(*) n from seen where asked = 'turner'"), 1)
    })
  })

  test('strangers who name a thousand databases do not get a thousand connections', async (t) => {
    if (!hasOwnServer) return notRun(t, postgres.missing)
    await withPooler({}, async (pooler) => {
      const names = Array.from({ length: 300 }, (_, i) => `nowhere ${i}`)
      const ends = await Promise.all(
        names.map((database) => attempt(pooler, 'ann', { password: SECRET, database })),
      )
      const codes = new Set(ends.map((end) => (end instanceof LoginError ? end.code : 'in')))
      assert.ok(codes.has('28P01'))
      for (const code of codes) assert.ok(['28P01', '53300', '08001'].includes(code), code)
      assert.equal(await login(pooler, 'ann', { password: SECRET }), 'ok: ann')
    })
  })
})
