// What operators do in the console while applications work: reload, pause, reconnect, kill, shut down. Must
// never look inside the pooler for what Postgres or a client can tell.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ConfigError } from '../../src/config/problems.ts'
import { type ConsoleRig, records, startConsole } from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const POOL = { pool: { size: 4 } }
const CLIENTS = 12
/** What comes with a configuration that was read. */
const READ = { file: null, sources: new Map<string, string>(), warnings: [] }
/** Places in the rows of SHOW CLIENTS and SERVERS. */
const [CLOSE_NEEDED, PTR, APPLICATION_NAME] = [13, 14, 18]

/** Clients that ask all the time; each error, and each answer that is not its own, counts as a failure. */
interface Load {
  answers: number
  failures: string[]
  /** Of the servers that answered. */
  pids: Set<string>
  /** Only what is asked from now on counts for `pids`. */
  forget(): void
  /** Resolves when so many more answers have come. */
  more(count: number): Promise<void>
  stop(): Promise<void>
}

async function startLoad(rig: ConsoleRig): Promise<Load> {
  let isOver = false
  /** Grows when what was begun before does not count any more. */
  let began = 0
  const load: Load = {
    answers: 0,
    failures: [],
    pids: new Set(),
    forget: () => {
      load.pids.clear()
      began++
    },
    more: (count) => {
      const wanted = load.answers + count
      return eventually(() => load.answers >= wanted, 10_000) as Promise<never>
    },
    stop: async () => {
      isOver = true
      await Promise.all(working)
    },
  }
  const work = async (client: WireClient, number: number) => {
    while (!isOver) {
      const then = began
      const { rows, error } = await client.query(`select ${number}, pg_backend_pid()`)
      if (error !== null || rows[0]?.[0] !== String(number)) load.failures.push(error?.message ?? 'wrong row')
      if (load.failures.length > 10) return
      load.answers++
      if (then === began) load.pids.add(rows[0]?.[1] ?? '')
    }
    await client.end()
  }
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => rig.client()))
  const working = clients.map(work)
  await load.more(100)
  return load
}

async function serversOf(): Promise<number> {
  const sql =
    "select count(*)::int as n from pg_stat_activity where backend_type = 'client backend' and " +
    'pid <> pg_backend_pid()'
  return Number((await postgres.admin(sql))[0]?.n)
}

suite('under load', () => {
  test('PAUSE answers when no server is left; after RESUME nobody has lost anything', async () => {
    const rig = await startConsole(postgres, POOL)
    await using boss = await rig.console()
    const load = await startLoad(rig)
    for (const name of ['', ` ${postgres.database}`]) {
      const paused = await boss.query(`PAUSE${name}`)
      assert.equal(paused.error, null)
      assert.equal(paused.tag, 'PAUSE')
      assert.equal(await serversOf(), 0)
      assert.equal((await boss.query(`PAUSE${name}`)).error?.message, 'already suspended/paused')
      const before = load.answers
      assert.equal(load.answers, before)
      assert.equal((await boss.query(`resume${name};`)).tag, 'RESUME')
      await load.more(100)
    }
    await load.stop()
    assert.deepEqual(load.failures, [])
  })

  test('RECONNECT: other servers, and nobody notices; WAIT_CLOSE waits for the old ones', async () => {
    const rig = await startConsole(postgres, POOL)
    await using boss = await rig.console()
    await using other = await rig.console()
    const load = await startLoad(rig)
    await using holder = await rig.client()
    await holder.query('begin')
    const old = new Set(load.pids)
    old.add((await holder.query('select pg_backend_pid()')).rows[0]?.[0] ?? '')
    assert.equal((await boss.query('RECONNECT')).error, null)
    other.send(m.query('WAIT_CLOSE'))
    await load.more(200)
    load.forget()
    await load.more(200)
    assert.deepEqual(
      [...load.pids].filter((pid) => old.has(pid)),
      [],
    )
    assert.deepEqual(other.drain(), [], 'one is still in a transaction')
    const { rows } = await boss.query('SHOW SERVERS')
    assert.equal(rows.filter((row) => row[CLOSE_NEEDED] === '1').length, 1)
    await holder.query('commit')
    assert.equal((await other.until()).at(0)?.type, 'C')
    await load.stop()
    assert.deepEqual(load.failures, [])
  })

  test('RELOAD takes what is right, and says what is wrong', async () => {
    const rig = await startConsole(postgres, POOL)
    const { pooler } = rig.test
    await using boss = await rig.console()
    assert.equal((await boss.query('RELOAD')).error?.code, 'F0000', 'there is nothing to be read')
    const load = await startLoad(rig)
    const { config } = pooler
    for (let size = 1; size <= 10; size++) {
      pooler.readsFrom(() => ({ ...READ, config: { ...config, pool: { ...config.pool, size } } }))
      assert.equal((await boss.query('RELOAD')).error, null)
      const shown = (await boss.query('SHOW CONFIG')).rows.find(([key]) => key === 'pool.size')
      assert.equal(shown?.[1], String(size))
      pooler.readsFrom(() => {
        throw new ConfigError(['config.yaml:3: pool.size: expects a whole number'])
      })
      const { error } = await boss.query('RELOAD')
      assert.equal(error?.message, 'RELOAD failed, see logs for additional details')
      assert.equal(error?.fields.H, 'config.yaml:3: pool.size: expects a whole number')
    }
    await load.stop()
    assert.deepEqual(load.failures, [])
  })
})

suite('pauses', () => {
  test('who gives up waiting for a PAUSE ends it: by a cancel, or by going', async () => {
    const rig = await startConsole(postgres, { pool: { size: 1 } })
    await using holder = await rig.client()
    await using waiter = await rig.client()
    for (const how of ['cancel', 'terminate', 'vanish'] as const) {
      const boss = await rig.console()
      await holder.query('begin')
      boss.send(m.query('PAUSE'))
      await using other = await rig.console()
      await eventually(async () => (await other.query('SHOW STATE')).rows[1]?.[1] === 'yes')
      waiter.send(m.query('select 1'))
      if (how === 'cancel') {
        await boss.cancel()
        const answer = await boss.until()
        assert.ok(answer[0]?.type === 'E' && answer[0].code === '57014')
        assert.equal((await boss.query('SHOW STATE')).rows[1]?.[1], 'no')
      } else if (how === 'vanish') boss.destroy()
      if (how !== 'vanish') await boss.end()
      await eventually(async () => (await other.query('SHOW STATE')).rows[1]?.[1] === 'no')
      await holder.query('commit')
      await waiter.until()
    }
  })

  test('by name and for all are two things; a database that is new is paused too', async () => {
    await postgres.admin('create database second')
    const rig = await startConsole(postgres)
    await using boss = await rig.console()
    assert.equal((await boss.query('RESUME')).error?.message, 'pooler is not paused/suspended')
    assert.equal((await boss.query('PAUSE second')).error, null)
    const hint = (await boss.query('RESUME')).error?.fields.H ?? ''
    assert.match(hint, /second/)
    await using first = await rig.client()
    assert.equal((await first.query('select 1')).error, null)
    const second = rig.client({ database: 'second' })
    await eventually(async () => {
      const { rows } = await boss.query('SHOW POOLS')
      return rows.some((row) => row[0] === 'second' && row[3] === '1')
    })
    assert.equal((await boss.query('RESUME nowhere')).error?.message, 'database nowhere is not paused')
    await boss.query('RESUME second')
    await (await second).end()
    for (const command of ['PAUSE', 'KILL', 'DISABLE', 'RECONNECT'])
      assert.match((await boss.query(`${command} pgmux`)).error?.message ?? '', /admin db/)
  })

  test('SUSPEND reads nothing more, answers when all is answered, and is undone by RESUME', async () => {
    const rig = await startConsole(postgres, POOL)
    await using boss = await rig.console()
    await using other = await rig.console()
    await using busy = await rig.client()
    await using idler = await rig.client()
    await idler.query('begin')
    busy.send(m.query('select pg_sleep(0.3)'))
    await eventually(async () => (await other.query('SHOW SERVERS state=active')).rows.length === 2)
    let isAnswered = false
    boss.send(m.query('SUSPEND'))
    const suspended = boss.until().then(() => {
      isAnswered = true
    })
    await eventually(async () => (await other.query('SHOW STATE')).rows[2]?.[1] === 'yes')
    assert.equal(isAnswered, false, 'something is under way')
    await busy.until()
    await suspended
    assert.equal((await other.query('SUSPEND')).error?.message, 'already suspended/paused')
    assert.equal((await other.query('PAUSE')).error?.message, 'already suspended/paused')
    const late = await rig.client()
    const clients = [busy, idler, late]
    const received = clients.map((client) => client.bytesReceived)
    for (const client of clients) client.send(m.query('select 5'))
    // That nothing comes tells no event.
    await pause(200)
    assert.deepEqual(
      clients.map((client) => client.bytesReceived),
      received,
    )
    assert.equal((await other.query('RESUME')).error, null)
    for (const client of clients) {
      const answer = await client.until()
      assert.ok(answer.some(({ type }) => type === 'D'))
    }
    assert.equal((await other.query('SHOW STATE')).rows[0]?.[1], 'yes')
    await late.end()
  })

  test('DISABLE refuses new clients and leaves the others alone', async () => {
    const rig = await startConsole(postgres)
    await using boss = await rig.console()
    await using client = await rig.client()
    await boss.query(`DISABLE "${postgres.database}"`)
    await assert.rejects(rig.client(), /57P03: database ".*" is disabled/)
    assert.equal((await client.query('select 1')).error, null)
    const [shown] = records(await boss.query(`SHOW DATABASES name="${postgres.database}"`))
    assert.equal(shown?.disabled, '1')
    await boss.query(`ENABLE "${postgres.database}"`)
    await (await rig.client()).end()
  })
})

suite('ends', () => {
  test('KILL cuts off a database; who comes again waits for RESUME', async () => {
    const rig = await startConsole(postgres)
    await using boss = await rig.console()
    const idle = await rig.client()
    const busy = await rig.client()
    await busy.query('begin')
    assert.equal((await boss.query(`KILL ${postgres.database}`)).error, null)
    for (const client of [idle, busy]) {
      const last = (await client.untilClosed()).at(-1)
      assert.ok(last?.type === 'E' && last.code === '57P01' && last.message === 'admin forced disconnect')
    }
    assert.deepEqual((await boss.query('SHOW SERVERS')).rows, [])
    await using again = await rig.client()
    again.send(m.query('select 1'))
    await eventually(async () => (await boss.query('SHOW POOLS')).rows[0]?.[3] === '1')
    await boss.query(`RESUME ${postgres.database}`)
    assert.equal((await again.until()).at(-1)?.type, 'Z')
  })

  test('KILL_CLIENT cuts off the one that is meant, an operator too', async () => {
    const rig = await startConsole(postgres)
    await using boss = await rig.console()
    const [one, two] = await Promise.all([
      rig.client({ params: { application_name: 'one' } }),
      rig.client({ params: { application_name: 'two' } }),
    ])
    const idOf = async (name: string) => {
      const { rows } = await boss.query('SHOW CLIENTS')
      return rows.find((row) => row[APPLICATION_NAME] === name) ?? assert.fail(`no ${name}`)
    }
    const row = await idOf('one')
    assert.equal((await boss.query(`KILL_CLIENT ${row.at(-1)}`)).error, null)
    await one.closed
    assert.equal((await two.query('select 1')).error, null)
    assert.equal((await boss.query(`KILL_CLIENT ${row.at(-1)}`)).error?.message, 'client not found')
    await boss.query(`KILL_CLIENT ${(await idOf('two'))[PTR]}`)
    await two.closed
    const other = await rig.console({ params: { application_name: 'other' } })
    await boss.query(`KILL_CLIENT ${(await idOf('other')).at(-1)}`)
    await other.closed
  })

  test('SHUTDOWN, WAIT_FOR_SERVERS: transactions end first, the console last', async () => {
    const rig = await startConsole(postgres, { shutdown: { timeoutMs: 20_000 } })
    const boss = await rig.console()
    const busy = await rig.client()
    const idle = await rig.client()
    await busy.query('begin')
    assert.equal((await boss.query('SHUTDOWN WAIT_FOR_SERVERS')).tag, 'SHUTDOWN')
    await idle.closed
    assert.equal((await busy.query('select 1')).error, null)
    assert.equal((await boss.query('SHOW STATE')).rows[0]?.[1], 'no')
    assert.equal((await boss.query('PAUSE')).error?.message, 'pooler is shutting down')
    await busy.query('commit')
    await busy.closed
    const last = (await boss.untilClosed()).at(-1)
    assert.ok(last?.type === 'E' && last.code === '57P01')
    await rig.test.pooler.stopped
  })

  test('SHUTDOWN, WAIT_FOR_CLIENTS: nobody new, and those that are in go by themselves', async () => {
    const rig = await startConsole(postgres)
    const boss = await rig.console()
    const client = await rig.client()
    await boss.query('shutdown wait_for_clients')
    await assert.rejects(rig.client(), /ECONNREFUSED/)
    for (let i = 0; i < 3; i++) assert.equal((await client.query('select 1')).error, null)
    await client.end()
    await rig.test.pooler.stopped
    await boss.closed
  })

  test('SHUTDOWN: now', async () => {
    const rig = await startConsole(postgres)
    const boss = await rig.console()
    const client = await rig.client()
    await client.query('begin')
    assert.equal((await boss.query('SHUTDOWN')).tag, 'SHUTDOWN')
    const last = (await client.untilClosed()).at(-1)
    assert.ok(last?.type === 'E' && last.code === '57P01')
    await rig.test.pooler.stopped
  })
})
