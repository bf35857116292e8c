// pgmux in a program of one's own: events, hooks, and that no hook can harm anybody but the login that asks
// it.
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import {
  ClientRefused,
  ConfigError,
  createPooler,
  type HookStatement,
  type LibraryPooler,
  type PoolerOptions,
} from '../../src/index.ts'
import { direct } from '../support/compare.ts'
import { type LogLine, logTo } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { type ClientOptions, type LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin("create role alice login password 'wonder'")
await postgres.admin('create database elsewhere')

interface Started {
  pooler: LibraryPooler
  lines: LogLine[]
  client(extra?: ClientOptions): Promise<WireClient>
}

async function start(t: TestContext, options: PoolerOptions = {}): Promise<Started> {
  const lines: LogLine[] = []
  const pooler = await createPooler({
    flags: { upstream: postgres.url, listen: '127.0.0.1:0', admin: 'off', serverless: '127.0.0.1:0' },
    env: {},
    log: logTo(lines, {}),
    hookTimeoutMs: 300,
    ...options,
  })
  t.after(() => pooler.stop(0))
  const { port } = pooler.addresses.postgres
  const client = (extra: ClientOptions = {}) =>
    WireClient.connect({ ...direct(postgres), host: '127.0.0.1', port, ...extra })
  return { pooler, lines, client }
}

/** Its code and words. */
const refused = (login: Promise<WireClient>): Promise<string> =>
  login.then(
    () => 'in',
    (error: LoginError) => error.message,
  )

describe('events', () => {
  it('clients, pins, refusals, reloads and the end are told, with who it was', async (t) => {
    const { pooler, client } = await start(t)
    const told: unknown[] = []
    for (const name of ['clientIn', 'clientOut', 'pin', 'unpin', 'refusal'] as const)
      pooler.on(name, ({ user, address, ...rest }: { user: string; address: string }) => {
        told.push([name, user, address, { ...rest }])
      })
    pooler.on('reload', ({ changed }) => told.push(['reload', changed]))
    const ended = new Promise<void>((resolve) => pooler.on('stop', resolve))
    const sees = async (...expected: unknown[]): Promise<void> => {
      await eventually(() => assert.deepEqual(told, expected))
      told.length = 0
    }
    const me = [postgres.user, '127.0.0.1']
    const { database } = postgres
    const one = await client()
    await sees(['clientIn', ...me, { database }])
    await one.query('create temp table t (n int)')
    await one.query('drop table t')
    const pin = { database, reason: 'temp', statement: 'create temp table t (n int)' }
    await sees(['pin', ...me, pin], ['unpin', ...me, pin])
    assert.match(await refused(client({ password: 'wrong' })), /28P01/)
    const message = `password authentication failed for user "${postgres.user}"`
    await sees(['refusal', ...me, { database, code: '28P01', reason: 'auth_failed', message }])
    await one.end()
    await sees(['clientOut', ...me, { database, reason: 'the client said goodbye' }])
    pooler.reread()
    await sees(['reload', []])
    await pooler.stop(0)
    await ended
  })

  it('a listener that throws, fails later, or is taken off', async (t) => {
    const { pooler, client, lines } = await start(t)
    const heard: string[] = []
    const off = (): number => heard.push('off')
    pooler.on('clientIn', () => {
      throw new Error('thrown at once')
    })
    pooler.on('clientIn', () => Promise.reject(new Error('thrown later')))
    pooler.on('clientIn', ({ user }) => heard.push(user))
    pooler.on('clientIn', off).off('clientIn', off)
    const one = await client()
    assert.equal((await one.query('select 1')).error, null)
    await eventually(() => assert.deepEqual(heard, [postgres.user]))
    await eventually(() => {
      const said = lines.filter(({ message }) => message === 'a hook has failed')
      assert.deepEqual(
        said.map(({ fields }) => fields.error),
        ['Error: thrown at once', 'Error: thrown later'],
      )
    })
  })
})

describe('onStatement and onPin', () => {
  it('tell each statement without its constants, and each pin', async (t) => {
    const statements: string[] = []
    const runs: HookStatement[] = []
    const pins: string[] = []
    const { client } = await start(t, {
      hooks: {
        onStatement: (run) => {
          assert.ok(run.ms >= 0 && run.database === postgres.database)
          statements.push(run.statement)
          runs.push(run)
        },
        onPin: ({ reason, user }) => pins.push(`${reason} ${user}`),
      },
    })
    const one = await client()
    await one.query("select 'secret', 42")
    await one.query("select 'other', 43")
    await one.extended('select $1::int', ['5'])
    await one.query('select pg_advisory_lock(1)')
    await eventually(() => {
      assert.equal(statements.filter((text) => text === "select '?', ?").length, 2)
      assert.ok(statements.includes('select $1::int'))
      assert.deepEqual(pins, [`advisory_lock ${postgres.user}`])
    })
    assert.doesNotMatch(statements.join(), /secret|42/)
    await one.query("set application_name = 'reports'")
    await one.query('create temp table numbers as select n from generate_series(1, 7) n')
    await one.query('select n from numbers where n > 2; update numbers set n = n where n = 1')
    await one.query('select n / 0 from numbers')
    await one.extended('select $1::int / 0', ['5'])
    await one.extended('select n from numbers where n <> $1', ['5'])
    const told = (text: string) => {
      const run = runs.find(({ statement }) => statement === text)
      if (run === undefined) return undefined
      const { user, applicationName, rows, code, isShared } = run
      assert.deepEqual([user, isShared], [postgres.user, false])
      return [applicationName, rows, code]
    }
    await eventually(() => {
      assert.deepEqual(told('select $1::int'), ['', 1, ''])
      assert.deepEqual(told('select n from numbers where n > ?; update numbers set n = n where n = ?'), [
        'reports',
        6,
        '',
      ])
      assert.deepEqual(told('select n / ? from numbers'), ['reports', 0, '22012'])
      assert.deepEqual(told('select $1::int / ?'), ['reports', 0, '22012'])
      assert.deepEqual(told('select n from numbers where n <> $1'), ['reports', 6, ''])
    })
  })
})

describe('onStatement on a server that several clients share', () => {
  it('tells whose statement it was', async (t) => {
    const shared = new Map<string, HookStatement>()
    const { client } = await start(t, {
      env: { PGMUX_POOL_SIZE: '2' },
      hooks: {
        onStatement: (run) => {
          if (run.isShared) shared.set(`${run.applicationName} ${run.code}`, run)
        },
      },
    })
    const clients = await Promise.all(Array.from({ length: 8 }, () => client()))
    for (const [at, one] of clients.entries()) await one.query(`set application_name = 'app ${at}'`)
    const wanted = clients.flatMap((_, at) => [`app ${at} `, `app ${at} 22012`])
    const isDone = () => wanted.every((name) => shared.has(name))
    const work = async (one: WireClient): Promise<void> => {
      while (!isDone() && !t.signal.aborted) {
        await one.query('select 7 / 7')
        await one.query('select 7 / 0')
      }
    }
    await Promise.all(clients.map(work))
    for (const { statement, user, rows, code } of shared.values())
      assert.deepEqual([statement, user, rows], ['select ? / ?', postgres.user, code === '' ? 1 : 0])
  })
})

describe('authenticate', () => {
  it('gives the secrets of users that are not configured, and nothing else of a login', async (t) => {
    const asked: unknown[] = []
    const { client } = await start(t, {
      hooks: {
        authenticate: async (who) => {
          asked.push(who)
          return { alice: 'wonder', number: 5 as unknown as string, ghost: null }[who.user] ?? null
        },
      },
    })
    const { database } = postgres
    const alice = await client({ user: 'alice', password: 'wonder' })
    assert.equal((await alice.query('select 1')).error, null)
    assert.deepEqual(asked, [{ user: 'alice', database }])
    assert.match(await refused(client({ user: 'alice', password: 'wander' })), /28P01/)
    assert.match(
      await refused(client({ user: 'ghost', password: '' })),
      /28P01: password authentication failed/,
    )
    // Who is configured is not asked about.
    asked.length = 0
    await client()
    assert.deepEqual(asked, [])
    assert.match(
      await refused(client({ user: 'number', password: 'x' })),
      /58000: the password of the user could not/,
    )
  })

  it('that throws, hangs or answers nonsense costs its own login; others go on meanwhile', async (t) => {
    const { client, lines } = await start(t, {
      hooks: {
        authenticate: ({ user }) => {
          if (user === 'throws') throw new Error('hook bug')
          if (user === 'rejects') return Promise.reject(new Error('hook bug'))
          return new Promise<string>(() => {})
        },
      },
    })
    const others = await client()
    const bad = ['throws', 'rejects', 'hangs'].map((user) => refused(client({ user, password: 'x' })))
    assert.equal((await others.query('select 1')).error, null)
    for (const said of await Promise.all(bad))
      assert.match(said, /^FATAL 58000: the password of the user could not be looked up$/)
    assert.equal(
      lines.filter(({ message }) => /^the hook authenticate (failed|gave no answer)/.test(message)).length,
      3,
    )
    assert.doesNotMatch(JSON.stringify(bad), /hook bug/)
    assert.equal((await others.query('select 2')).error, null)
  })

  it('means that secrets are asked for, though none is configured', async (t) => {
    const url = new URL(postgres.url)
    url.username = url.password = ''
    const flags = { upstream: url.href, listen: '127.0.0.1:0', admin: 'off', serverless: 'off' }
    const hooks = { authenticate: () => null }
    const { client } = await start(t, { flags, hooks })
    assert.match(await refused(client()), /28P01/)
    const open = createPooler({ flags, env: { PGMUX_CLIENT_AUTH: 'trust' }, hooks })
    await assert.rejects(open, (error) => error instanceof ConfigError && /never called/.test(error.message))
  })
})

describe('route', () => {
  const hooks: PoolerOptions['hooks'] = {
    route: ({ database }) => {
      if (database === 'tenant_b') return 'elsewhere'
      if (database === 'nobody') throw new ClientRefused('no such tenant')
      if (database === 'throws') throw new Error('hook bug')
      if (database === 'hangs') return new Promise<string>(() => {})
      if (database === 'nonsense') return {} as unknown as string
      if (database === 'console') return 'pgmux'
      return undefined
    },
  }

  it('sends a client to another database, or away', async (t) => {
    const { client } = await start(t, { hooks })
    const where = async (database: string) =>
      (await (await client({ database })).query('select current_database()')).rows[0]?.[0]
    assert.equal(await where(postgres.database), postgres.database)
    assert.equal(await where('tenant_b'), 'elsewhere')
    assert.equal(await refused(client({ database: 'nobody' })), 'FATAL 28000: no such tenant')
  })

  it('that throws, hangs or answers nonsense costs its own login', async (t) => {
    const { client, lines } = await start(t, { hooks })
    const names = ['throws', 'hangs', 'nonsense', 'console']
    for (const said of await Promise.all(names.map((database) => refused(client({ database })))))
      assert.equal(said, 'FATAL 58000: the database of this client could not be found out')
    assert.equal(lines.filter(({ message }) => message.startsWith('the hook route ')).length, 4)
    assert.equal((await (await client()).query('select 1')).error, null)
  })

  it('counts over HTTP as well, and who goes while it is asked leaves nothing', async (t) => {
    const { pooler, client } = await start(t, { hooks })
    const ask = async (database: string) => {
      const { host, port } = pooler.addresses.serverless!
      const login = `${encodeURIComponent(postgres.user)}:${encodeURIComponent(postgres.password)}`
      const headers = { 'Neon-Connection-String': `postgres://${login}@localhost/${database}` }
      const body = JSON.stringify({ query: 'select current_database()', params: [] })
      const answer = await fetch(`http://${host}:${port}/sql`, { method: 'POST', headers, body })
      return (await answer.json()) as {
        rows?: { current_database: string }[]
        message?: string
        code?: string
      }
    }
    assert.equal((await ask('tenant_b')).rows?.[0]?.current_database, 'elsewhere')
    assert.deepEqual((await ask('nobody')).message, 'no such tenant')
    const hanging = refused(client({ database: 'hangs' }))
    await eventually(() => assert.equal(pooler.gauges().clients.login, 1))
    await pooler.stop(0)
    assert.equal(await hanging, 'FATAL 57P03: the database system is shutting down')
  })
})
