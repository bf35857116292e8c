// A Postgres that cannot be reached, comes back, refuses logins or has too few places: who waits, who is
// told what, and how soon service is back (hazards G05 to G08).
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, describe, it } from 'node:test'
import * as m from '../support/messages.ts'
import { startPooler } from '../support/pooler.ts'
import { getPostgres, notRun, type PostgresControl, startPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { direct } from '../support/compare.ts'
import { LoginError, result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { control } = postgres

/** Resolves with the error of a login that must fail. */
async function refusal(login: Promise<WireClient>): Promise<LoginError['messages'][number] & { type: 'E' }> {
  const error = await login.then(
    () => new Error('the login succeeded'),
    (cause: Error) => cause,
  )
  assert.ok(error instanceof LoginError, error.message)
  const last = error.messages.at(-1)
  assert.ok(last?.type === 'E')
  return last
}

/** Resolves when Postgres itself lets somebody in. */
async function accepting(): Promise<number> {
  await eventually(async () => {
    const client = await WireClient.connect(direct(postgres))
    await client.end()
  }, 20_000)
  return performance.now()
}

/** Stops Postgres, lets `during` run, and starts it again without waiting for it. */
async function outage(
  stop: 'stopFast' | 'stopImmediate',
  during: (control: PostgresControl) => Promise<void>,
) {
  assert.ok(control !== null)
  await control[stop]()
  try {
    await during(control)
  } finally {
    await control.start()
  }
}

describe('a Postgres that stops and starts', { skip: control === null ? postgres.missing : false }, () => {
  it('clients that wait are served within a second of its return, without cached errors', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2 } })
    const clients = await Promise.all(Array.from({ length: 5 }, () => rig.client()))
    await Promise.all(clients.map((client) => client.query('select 1')))
    for (const stop of ['stopFast', 'stopImmediate'] as const) {
      let since = 0
      // Nobody's session is being read back: who loses a server then has lost its session.
      await eventually(async () => {
        const idle = await WireClient.connect(direct(postgres))
        await idle.end()
        return rig.test.pooler.gauges().servers.active === 0
      })
      await outage(stop, async () => {
        for (const client of clients) client.send(m.query('select 5'))
        // Several logins fail before Postgres is back.
        await eventually(
          () =>
            rig.test.lines.filter(({ message }) => message.includes('login to Postgres failed')).length > 3,
        )
        void accepting().then((now) => {
          since = now
        })
      })
      for (const client of clients) assert.deepEqual(result(await client.until('Z')).rows, [['5']])
      await eventually(() => since > 0)
      assert.ok(performance.now() - since < 1000)
      await using late = await WireClient.connect({
        ...direct(postgres),
        host: rig.test.host,
        port: rig.test.port,
      })
      assert.deepEqual((await late.query('select 6')).rows, [['6']])
      rig.test.lines.length = 0
    }
    await Promise.all(clients.map((client) => client.end()))
    await rig.test.stop()
  })

  it('a client inside a transaction is told once', async () => {
    const pooler = await startPooler(postgres.url)
    after(() => pooler.stop())
    const client = await WireClient.connect({ ...direct(postgres), host: pooler.host, port: pooler.port })
    await client.query('begin')
    await outage('stopFast', async () => {
      const messages = await client.untilClosed()
      assert.deepEqual(
        messages.map((message) => message.type === 'E' && [message.severity, message.code]),
        [['FATAL', '57P01']],
      )
    })
    await pooler.stop()
  })

  it('a login while it is down is refused within connect_timeout, and succeeds afterwards', async () => {
    const pooler = await startPooler(postgres.url, { upstream: { connectTimeoutMs: 300 } })
    after(() => pooler.stop())
    const options = { ...direct(postgres), host: pooler.host, port: pooler.port }
    await outage('stopFast', async () => {
      const error = await refusal(WireClient.connect(options))
      assert.equal(error.code, '08001')
      assert.equal(error.severity, 'FATAL')
      assert.ok(error.message.includes(`127.0.0.1:${pooler.pooler.config.upstream.port}`))
      assert.equal(pooler.pooler.ready().ok, false)
    })
    await accepting()
    await using client = await WireClient.connect(options)
    assert.deepEqual((await client.query('select 1')).rows, [['1']])
    assert.equal(pooler.pooler.ready().ok, true)
    await pooler.stop()
  })

  it('a waiting client whose time is over gets ERROR 53300, which says why, and works later', async () => {
    const pooler = await startPooler(postgres.url, { pool: { queryWaitTimeoutMs: 200 } })
    after(() => pooler.stop())
    await using client = await WireClient.connect({
      ...direct(postgres),
      host: pooler.host,
      port: pooler.port,
    })
    await outage('stopFast', async () => {
      const { error, status } = await client.query('select 1')
      assert.equal(error?.code, '53300')
      assert.equal(error?.severity, 'ERROR')
      assert.match(error?.fields.D ?? '', /could not connect/)
      assert.equal(status, 'I')
    })
    await accepting()
    await eventually(async () => assert.equal((await client.query('select 1')).error, null))
    await pooler.stop()
  })
})

describe('a server that does not let us in', () => {
  it('wrong password: those who wait learn it at once', async () => {
    const url = new URL(postgres.url)
    url.password = 'wrong'
    const pooler = await startPooler(url.href)
    after(() => pooler.stop())
    const options = { ...direct(postgres), host: pooler.host, port: pooler.port, password: 'wrong' }
    const errors = await Promise.all(Array.from({ length: 5 }, () => refusal(WireClient.connect(options))))
    for (const error of errors) {
      assert.equal(error.code, '28P01')
      assert.equal(error.severity, 'FATAL')
    }
  })

  it('a password that is changed under a running pool: ERROR, the connection is kept', async () => {
    await postgres.admin("create role shifty login password 'one'")
    const url = new URL(postgres.url)
    url.username = 'shifty'
    url.password = 'one'
    const pooler = await startPooler(url.href, { pool: { size: 1 } })
    after(() => pooler.stop())
    await using client = await WireClient.connect({
      host: pooler.host,
      port: pooler.port,
      user: 'shifty',
      password: 'one',
      database: postgres.database,
    })
    await client.query('select 1')
    await postgres.admin("alter role shifty password 'two'")
    await postgres.admin(
      "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'shifty'",
    )
    const { error, status } = await client.query('select 1')
    assert.equal(error?.code, '28P01')
    assert.equal(error?.severity, 'ERROR')
    assert.equal(error?.fields.V, 'ERROR')
    assert.equal(status, 'I')
    await postgres.admin("alter role shifty password 'one'")
    await eventually(async () => assert.equal((await client.query('select 1')).error, null))
  })

  it('an unknown database: at once, and the other pools do not notice', async () => {
    const url = new URL(postgres.url)
    url.pathname = ''
    const pooler = await startPooler(url.href)
    after(() => pooler.stop())
    const options = { ...direct(postgres), host: pooler.host, port: pooler.port }
    await using good = await WireClient.connect(options)
    for (let round = 0; round < 3; round++) {
      const error = await refusal(WireClient.connect({ ...options, database: 'nowhere' }))
      assert.equal(error.code, '3D000')
      assert.equal(error.severity, 'FATAL')
      assert.deepEqual((await good.query('select 1')).rows, [['1']])
    }
    await postgres.admin('create database nowhere')
    await using found = await WireClient.connect({ ...options, database: 'nowhere' })
    assert.equal((await found.query('select current_database()')).rows[0]?.[0], 'nowhere')
    await found.end()
    await pooler.stop()
    await postgres.admin('drop database nowhere')
  })

  it('a wrong startup parameter is the error of that client alone', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2 } })
    await using good = await rig.client()
    for (const params of [{ work_mem: 'much' }, { timezone: 'Nowhere/Land' }, { nonsense: 'x' }]) {
      const expected = await refusal(WireClient.connect(direct(postgres, { params })))
      const error = await refusal(rig.client({ params }))
      assert.deepEqual([error.code, error.message], [expected.code, expected.message])
      assert.deepEqual((await good.query('select 1')).rows, [['1']])
    }
  })

  it('a black hole: refused within connect_timeout', async () => {
    const sockets = new Set<import('node:net').Socket>()
    const hole = createServer((socket) => sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
    after(() => {
      for (const socket of sockets) socket.destroy()
      hole.close()
    })
    await new Promise((resolve) => hole.once('listening', resolve))
    const { port } = hole.address() as { port: number }
    const url = new URL(postgres.url)
    url.port = String(port)
    const pooler = await startPooler(url.href, { upstream: { connectTimeoutMs: 300 } })
    after(() => pooler.stop())
    const since = performance.now()
    const error = await refusal(
      WireClient.connect({ ...direct(postgres), host: pooler.host, port: pooler.port }),
    )
    assert.equal(error.code, '08001')
    assert.ok(performance.now() - since < 1500)
    await eventually(() => pooler.pooler.gauges().servers.opening === 0)
  })
})

describe('a Postgres with fewer places than the pool', () => {
  it('the pool makes do with them, without a storm of logins', async (t) => {
    if (control === null) {
      notRun(t, postgres.missing)
      return
    }
    const small = await startPostgres({
      settings: { max_connections: '8', superuser_reserved_connections: '3', max_wal_senders: '2' },
    })
    after(() => small.stop())
    await small.admin("create role app login password 'app'")
    const url = new URL(small.url)
    url.username = url.password = 'app'
    const pooler = await startPooler(url.href, { pool: { size: 20 } })
    after(() => pooler.stop())
    const options = {
      host: pooler.host,
      port: pooler.port,
      user: 'app',
      password: 'app',
      database: small.database,
    }
    const clients = await Promise.all(Array.from({ length: 20 }, () => WireClient.connect(options)))
    const since = performance.now()
    const results = await Promise.all(clients.map((client) => client.query('select pg_sleep(0.1), 1')))
    for (const { error } of results) assert.equal(error, null)
    const tookMs = performance.now() - since
    const failures = pooler.lines.filter(({ message }) => message === 'login to Postgres failed').length
    // At most four logins at once, and a pause of 50 ms at least behind each failure.
    assert.ok(failures > 0 && failures <= 4 * (1 + tookMs / 50), `${failures} failed logins in ${tookMs} ms`)
    assert.ok(pooler.pooler.gauges().servers.idle <= 5)
    await Promise.all(clients.map((client) => client.end()))
    await pooler.stop()
  })
})

describe('a cold pool', () => {
  it('64 clients at once: all are served, with a few logins at a time', async () => {
    const rig = await Rig.start(postgres, { pool: { mode: 'session', size: 64, maxLogins: 8 } })
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, rig.test.pooler.gauges().servers.opening)
    }, 1)
    const clients = await Promise.all(Array.from({ length: 64 }, () => rig.client()))
    const pids = await Promise.all(clients.map((client) => rig.pidOf(client)))
    clearInterval(watch)
    assert.equal(new Set(pids).size, 64)
    assert.ok(most > 1 && most <= 8, `${most} logins at once`)
    await Promise.all(clients.map((client) => client.end()))
  })
})
