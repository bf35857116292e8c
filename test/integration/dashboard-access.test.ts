// Who may look at the dashboard and who may act: by address, option, login and path; and what a page of a
// stranger, or somebody who guesses, cannot do.
import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { suite, test } from 'node:test'
import { ADMIN, type ConsoleRig, startConsole, STATS } from '../support/console.ts'
import { type Answer, DashboardClient } from '../support/dashboard.ts'
import { merge, type Overrides } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'

const postgres = await getPostgres()
const { user, password } = postgres

interface Started {
  readonly rig: ConsoleRig
  readonly page: DashboardClient
  at(address: string): DashboardClient
}

async function start(admin: Overrides['admin'] = {}, overrides: Overrides = {}): Promise<Started> {
  const rig = await startConsole(postgres, { ...overrides, admin: { host: '0.0.0.0', port: 0, ...admin } })
  const at = (address: string) => new DashboardClient(rig.test.pooler.addresses.admin?.port ?? 0, address)
  return { rig, page: at('127.0.0.1'), at }
}

/** Not a loopback address; null: this machine has none. */
function elsewhere(): string | null {
  for (const all of Object.values(networkInterfaces()))
    for (const { internal, family, address } of all ?? []) if (!internal && family === 'IPv4') return address
  return null
}

async function login(page: DashboardClient, who: { user: string; password: string }): Promise<Answer> {
  const answer = await page.post('/dashboard/login', who)
  const cookie = /^[^;]+/.exec(answer.headers['set-cookie']?.[0] ?? '')?.[0]
  if (answer.status === 200 && cookie !== undefined) page.cookie = cookie
  return answer
}

/** Looks at a stream and goes. */
async function statusOfEvents(page: DashboardClient): Promise<number> {
  try {
    const events = await page.watch()
    events.close()
    return 200
  } catch (error) {
    return Number(/status (\d+)/.exec((error as Error).message)?.[1])
  }
}

const ORDER = { command: 'RECONNECT', argument: '' }

async function statuses(page: DashboardClient): Promise<string> {
  const files = (await page.ask('/')).status
  const me = await page.ask('/dashboard/me')
  const events = await statusOfEvents(page)
  const shown = (await page.ask('/dashboard/show?command=CLIENTS')).status
  const acted = (await page.post('/dashboard/act', ORDER)).status
  return [files, me.status, events, shown, acted].join(' ')
}

suite('who may', () => {
  const roles = [
    ['nobody', null],
    ['stats', STATS],
    ['admin', ADMIN],
  ] as const
  // Of the page itself, me, events, show, act.
  const table: Record<string, Record<(typeof roles)[number][0], string>> = {
    'auto here': {
      nobody: '200 200 200 200 401',
      stats: '200 200 200 200 403',
      admin: '200 200 200 200 200',
    },
    'auto elsewhere': {
      nobody: '200 200 401 401 401',
      stats: '200 200 200 200 403',
      admin: '200 200 200 200 200',
    },
    'password here': {
      nobody: '200 200 401 401 401',
      stats: '200 200 200 200 403',
      admin: '200 200 200 200 200',
    },
    'off here': {
      nobody: '404 404 404 404 405',
      stats: '404 404 404 404 405',
      admin: '404 404 404 404 405',
    },
  }
  for (const [name, row] of Object.entries(table)) {
    test(name, async (t) => {
      const [dashboard, place] = name.split(' ') as ['auto' | 'password' | 'off', string]
      const address = place === 'here' ? '127.0.0.1' : elsewhere()
      if (address === null) return notRun(t, 'this machine has no address but its own loopback')
      const { at } = await start({ dashboard })
      for (const [role, who] of roles) {
        const page = at(address)
        if (who !== null) await login(page, who)
        assert.equal(await statuses(page), row[role], role)
      }
      assert.equal((await at(address).ask('/healthz')).status, 200)
    })
  }

  test('a proxy on this machine stands for anybody', async () => {
    const { page } = await start()
    const mayLook = async (headers: Record<string, string>) =>
      (await page.ask('/dashboard/me', { headers })).json().mayLook
    assert.equal(await mayLook({}), true)
    for (const name of ['forwarded', 'x-forwarded-for', 'X-Real-IP', 'via'])
      assert.equal(await mayLook({ [name]: '127.0.0.1' }), false, name)
    await login(page, ADMIN)
    assert.equal(await mayLook({ 'x-forwarded-for': '10.0.0.1' }), true, 'with a login')
  })

  test('is told by me', async () => {
    const { page, at } = await start({ dashboard: 'password' })
    const { version, ...nobody } = (await page.ask('/dashboard/me')).json()
    assert.match(String(version), /^\d+\.\d+\.\d+/)
    assert.deepEqual(nobody, { user: '', role: null, mayLook: false, hasAdmins: true })
    const answer = await login(page, STATS)
    assert.deepEqual(answer.json(), { ...nobody, user: STATS.user, role: 'stats', mayLook: true, version })
    assert.deepEqual((await page.ask('/dashboard/me')).json(), answer.json())
    const cookie = answer.headers['set-cookie']?.[0] ?? ''
    assert.match(cookie, /^pgmux_session=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=43200$/)
    const other = at('127.0.0.1')
    other.cookie = page.cookie.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))
    assert.equal(other.cookie === page.cookie, false)
    assert.deepEqual((await other.ask('/dashboard/me')).json(), { ...nobody, version })
    await page.post('/dashboard/logout', {})
    assert.deepEqual((await page.ask('/dashboard/me')).json(), { ...nobody, version })
  })

  test('a right that is taken away, and a password that is another one, end what was allowed', async () => {
    const { rig, page, at } = await start({ dashboard: 'password' })
    const { pooler } = rig.test
    const before = pooler.config
    const admin = at('127.0.0.1')
    await login(admin, ADMIN)
    await login(page, STATS)
    const events = await page.watch()
    await events.next('now')
    pooler.reload(merge(before, { admin: { users: [], statsUsers: [ADMIN.user] } }))
    assert.match((await events.next('bye')).reason, /login is over/)
    await events.end()
    assert.equal(await statuses(page), '200 200 401 401 401')
    assert.equal(await statuses(admin), '200 200 200 200 403')
    pooler.reload(before)
    assert.equal(await statuses(admin), '200 200 200 200 200')
    const users = new Map([...before.users, [ADMIN.user, { secret: 'a new one' }]])
    pooler.reload(merge(before, { users }))
    assert.equal(await statuses(admin), '200 200 401 401 401')
    assert.equal((await login(admin, ADMIN)).status, 401, 'the old password')
    assert.equal((await login(admin, { ...ADMIN, password: 'a new one' })).status, 200)
  })

  test('a switch to off ends streams', async () => {
    const { rig, page } = await start()
    const events = await page.watch()
    await events.next('now')
    rig.test.pooler.reload(merge(rig.test.pooler.config, { admin: { dashboard: 'off' } }))
    assert.match((await events.next('bye')).reason, /switched off/)
    assert.equal((await page.ask('/')).status, 404)
  })
})

suite('a login', () => {
  test('takes every kind of secret, and only the right password', async () => {
    const { rig, page } = await start()
    await postgres.admin(`create role boss password 'of all'`)
    const found = await postgres.admin(`select rolpassword, md5('of all' || 'boss') as hash from pg_authid
      where rolname = 'boss'`)
    await postgres.admin('drop role boss')
    const scram = String(found[0]?.rolpassword)
    assert.match(scram, /^SCRAM-SHA-256\$/)
    const hashed = `md5${String(found[0]?.hash)}`
    for (const secret of [ADMIN.password, scram, hashed]) {
      const users = new Map([[ADMIN.user, { secret }]])
      rig.test.pooler.reload(merge(rig.test.pooler.config, { users }))
      const right = await login(page, ADMIN)
      assert.equal(right.status, 200, right.body)
      for (const wrong of ['of al', 'of all ', 'Of all', secret === ADMIN.password ? '' : secret])
        assert.equal((await login(page, { ...ADMIN, password: wrong })).status, 401, wrong)
    }
  })

  test('says the same of users that there are and are not, and more only to whom it is', async () => {
    const { page } = await start()
    const said = async (name: string, given: string) => {
      const answer = await login(page, { user: name, password: given })
      return [answer.status, answer.body.replaceAll(name, 'X'), Object.keys(answer.headers).sort().join()]
    }
    const wrong = await said(ADMIN.user, 'wrong')
    assert.equal(wrong[0], 401)
    assert.deepEqual(await said('stranger', 'wrong'), wrong)
    assert.deepEqual(await said(user, 'wrong'), wrong)
    assert.deepEqual(await said('stranger', ''), wrong)
    const outsider = await login(page, { user, password })
    assert.equal(outsider.status, 401)
    assert.match(outsider.json<{ error: string }>().error, /not allowed to use the dashboard/)
  })

  test('guessing is slowed down, for one who is right before it is not', async () => {
    const { rig, page } = await start({}, { serverless: { failureRate: 1, failureBurst: 3 } })
    assert.equal((await login(page, ADMIN)).status, 200)
    const guesses: number[] = []
    for (let i = 0; i < 6; i++) guesses.push((await login(page, { ...ADMIN, password: `no ${i}` })).status)
    assert.deepEqual(guesses, [401, 401, 401, 429, 429, 429])
    const told = await login(page, { ...ADMIN, password: 'again' })
    assert.match(told.headers['retry-after'] ?? '', /^[1-9]$/)
    assert.equal((await login(page, ADMIN)).status, 200, 'one that is known to be right')
    const metrics = await rig.test.pooler.metrics()
    assert.match(metrics, /pgmux_errors_total\{sqlstate="28P01",reason="auth_failed"\} 3/)
  })

  test('follows pg_hba.conf for the console', async () => {
    const { rig, page } = await start()
    const rejected = { ...rig.test.pooler.config.client, auth: 'hba' as const, hbaFile: [] }
    rig.test.pooler.reload({ ...rig.test.pooler.config, client: rejected })
    const { status, body } = await login(page, ADMIN)
    assert.equal(status, 401)
    assert.match(body, /no pg_hba.conf entry/)
  })

  test('is counted, and the oldest ones go', async () => {
    const { page, at } = await start({ dashboard: 'password' })
    await login(page, ADMIN)
    const others = Array.from({ length: 100 }, () => at('127.0.0.1'))
    for (const other of others) await login(other, ADMIN)
    assert.equal(page.cookie !== '' && (await page.ask('/dashboard/show?command=VERSION')).status, 401)
    assert.equal((await others.at(-1)?.ask('/dashboard/show?command=VERSION'))?.status, 200)
  })
})

suite('what browsers are made to do', () => {
  test('a name that is not ours is not answered', async () => {
    const { page } = await start()
    const status = async (host: string, path = '/dashboard/me') =>
      (await page.ask(path, { headers: { host } })).status
    for (const host of ['127.0.0.1', '127.0.0.1:6490', '[::1]:1', 'localhost', 'LOCALHOST:80', '10.1.2.3'])
      assert.equal(await status(host), 200, host)
    for (const host of ['evil.example', 'localhost.evil.example', 'a@127.0.0.1', '127.0.0.1.evil', '1'])
      assert.equal(await status(host), 421, host)
    assert.equal(await status('evil.example', '/'), 421)
    assert.equal(await status('evil.example', '/healthz'), 200, 'as ever')
  })

  test('a page of somebody else can ask for nothing, and post nothing', async () => {
    const { page } = await start()
    await login(page, ADMIN)
    for (const path of ['me', 'show?command=VERSION', 'events']) {
      for (const site of ['cross-site', 'same-site']) {
        const asked = await page.ask(`/dashboard/${path}`, { headers: { 'sec-fetch-site': site } })
        assert.equal(asked.status, 403, path)
      }
    }
    const post = async (headers: Record<string, string>) =>
      (await page.post('/dashboard/act', ORDER, headers)).status
    assert.equal(await post({}), 200)
    assert.equal(await post({ host: 'localhost:99', origin: 'http://localhost:99' }), 200)
    assert.equal(await post({ 'content-type': 'Application/JSON; charset=utf-8' }), 200)
    for (const origin of ['http://evil.example', 'null', 'http://localhost:98', 'http://127.0.0.1'])
      assert.equal(await post({ host: 'localhost:99', origin }), 403, origin)
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'text/json',
    ])
      assert.equal(await post({ 'content-type': type }), 403, type)
    assert.equal(await post({ 'sec-fetch-site': 'cross-site' }), 403)
    for (const path of ['login', 'logout'])
      assert.equal((await page.post(`/dashboard/${path}`, {}, { origin: 'http://evil' })).status, 403)
  })

  test('too much is refused, and what is no JSON', async () => {
    const { page } = await start()
    await login(page, ADMIN)
    assert.equal((await page.post('/dashboard/act', { command: 'x'.repeat(20_000) })).status, 413)
    for (const body of [[], 'text', null, { command: 7 }, { command: 'PAUSE', argument: 'a\0b' }, {}])
      assert.equal((await page.post('/dashboard/act', body)).status, 400, JSON.stringify(body))
    for (const command of ['SHUTDOWN', 'SET', 'SUSPEND', 'SHOW CLIENTS', 'constructor'])
      assert.equal((await page.post('/dashboard/act', { command })).status, 400, command)
    for (const method of ['PUT', 'DELETE', 'POST', 'OPTIONS'])
      assert.equal((await page.ask('/dashboard/me', { method })).status, 405, method)
    assert.equal((await page.ask('/dashboard/login')).status, 405)
  })

  test('no more than fifty look at once', async () => {
    const { page } = await start()
    const all = await Promise.all(Array.from({ length: 50 }, () => page.watch()))
    await assert.rejects(page.watch(), /status 503/)
    all[0]?.close()
    await eventually(async () => (await statusOfEvents(page)) === 200)
  })
})
