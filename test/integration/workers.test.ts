// Several processes behind one port: no client can tell, limits hold over all of them, and the console and
// the metrics speak for all.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TestCrew, WORKER_METRICS, workerOf } from '../support/crew.ts'
import { query } from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()

/** Those whose worker this is. */
function of(clients: readonly WireClient[], worker: number): WireClient[] {
  return clients.filter(({ pid }) => workerOf(pid, 2) === worker)
}

/** The code of the error with which a login ends; '' for none. */
async function refusalOf(login: Promise<WireClient>): Promise<string> {
  return login.then(
    () => '',
    (error: { code?: string }) => error.code ?? String(error),
  )
}

describe('limits over two workers', async () => {
  const size = 2
  const crew = await TestCrew.start(postgres, {
    workers: 3,
    config: {
      pool: { size, shared: 'off' },
      client: { max_connections: 14 },
      listen: { unix_socket_dir: '/tmp' },
    },
  })

  it('a pool of two serves the clients of three, and Postgres never has more than two', async () => {
    const clients = await crew.clients(12)
    assert.equal(new Set(clients.map(({ pid }) => workerOf(pid, 4))).size, 3)
    let most = 0
    let isOver = false
    const served = clients.map(async (client) => {
      let count = 0
      for (; !isOver || count === 0; count++)
        assert.equal((await client.query('select pg_sleep(0.002)')).error, null)
      return count
    })
    const until = performance.now() + 1500
    while (performance.now() < until) most = Math.max(most, await crew.backends())
    isOver = true
    const counts = await Promise.all(served)
    assert.equal(most, size)
    assert.ok(Math.min(...counts) > 2, `each is served again and again: ${counts.join(' ')}`)
    for (const client of clients) await client.end()
  })

  it('as many clients as all may have come in, and no more', async () => {
    await eventually(async () => assert.equal((await crew.show('clients')).length, 1))
    const clients = await crew.clients(14)
    assert.equal(await refusalOf(crew.client()), '53300')
    // The console has a limit of its own.
    assert.equal((await crew.show('clients')).length, 15)
    await clients[0]?.end()
    await eventually(async () => assert.equal((await crew.show('clients')).length, 14))
    await using late = await crew.client()
    assert.equal((await late.query('select 1')).error, null)
    for (const client of clients) await client.end()
  })

  it('the Unix socket is theirs as well', async () => {
    const port = Number((await crew.show('config')).find(({ key }) => key === 'listen.port')?.value)
    await eventually(async () => assert.equal((await crew.show('clients')).length, 1))
    const clients = await crew.clients(4, { host: '/tmp', port })
    assert.ok(new Set(clients.map(({ pid }) => workerOf(pid, 4))).size > 1)
    for (const client of clients) {
      assert.deepEqual((await client.query('select 1')).rows, [['1']])
      await client.end()
    }
  })
})

describe('two workers', async () => {
  const crew = await TestCrew.start(postgres, { config: { pool: { size: 4, shared: 'off' } } })

  it('places go where they are wanted, and back', async () => {
    // Who is on the way counts as well where the next one goes: the halves may differ by some.
    const clients = await crew.clients(12)
    for (const worker of [0, 1, 0]) {
      const here = of(clients, worker).slice(0, 4)
      assert.equal(here.length, 4)
      // None gives its server back before all have one.
      const pids = await Promise.all(here.map((client) => client.query('begin; select pg_backend_pid()')))
      assert.equal(new Set(pids.map(({ rows }) => rows[0]?.[0])).size, 4)
      for (const client of here) assert.equal((await client.query('commit')).tag, 'COMMIT')
    }
    for (const client of clients) await client.end()
  })

  it('a cancel request reaches its client from any of them, and only with its key', async () => {
    const clients = await crew.clients(4)
    for (const client of clients) {
      const sleeping = client.query('select pg_sleep(20)')
      await eventually(async () => assert.equal((await crew.show('servers')).filter(isActive).length, 1))
      const wrong = Buffer.from(client.key)
      wrong[0] = (wrong[0] as number) ^ 1
      await client.cancel(wrong)
      await client.cancel(client.key, client.pid ^ 1)
      assert.equal((await crew.show('servers')).filter(isActive).length, 1)
      await client.cancel()
      assert.equal((await sleeping).error?.code, '57014')
    }
    // Connections go to who has least to do: of these four half came in elsewhere.
    for (const client of clients) await client.end()
  })

  it('a notification reaches those who listen in each of them, once', async () => {
    const clients = await crew.clients(4)
    for (const client of clients) assert.equal((await client.query('listen news')).error, null)
    await clients[0]?.query("notify news, 'for all'")
    for (const client of clients) {
      await client.query('select 1')
      await eventually(
        () => client.received.filter(({ type }) => type === 'A').length === 1 || nothing(client),
      )
    }
    for (const client of clients) await client.end()
  })

  it('the console shows all, with numbers of their own, and adds up', async () => {
    const clients = await crew.clients(6)
    const before = await crew.metric('pgmux_exchanges_total')
    for (const client of clients) await client.query('select 1')
    const shown = (await crew.show('clients')).filter(({ database }) => database !== 'pgmux')
    assert.equal(shown.length, 6)
    assert.equal(new Set(shown.map(({ id }) => id)).size, 6)
    assert.deepEqual(new Set(shown.map(({ id }) => workerOf(id, 2))), new Set([0, 1]))
    const pools = await crew.show('pools')
    assert.deepEqual(
      pools.map(({ database, cl_active }) => [database, cl_active]),
      [
        [postgres.database, '6'],
        ['pgmux', '1'],
      ],
    )
    const lists = new Map((await crew.show('lists')).map(({ list, items }) => [list, items]))
    assert.equal(lists.get('used_clients'), '7')
    assert.equal(lists.get('pools'), '2')
    assert.equal((await crew.metric('pgmux_exchanges_total')) - before, 6)
    assert.equal(await crew.metric('pgmux_clients{state="idle"}'), 6)
    const { text } = await crew.get('/metrics')
    const pool = `database="${postgres.database}",user="${postgres.user}"`
    for (const name of ['pgmux_wait_seconds_count', 'process_start_time_seconds'])
      assert.equal(text.split('\n').filter((line) => line.startsWith(`${name} `)).length, 1, name)
    assert.ok((await crew.metric(`pgmux_pool_query_seconds_count{${pool}}`)) >= 6)
    // Each of the two by itself; the first process is none.
    const each = (name: string) =>
      [...text.matchAll(new RegExp(`^${name}[{]worker="(\\d)"[^}]*[}] (\\S+)$`, 'gm'))].map(
        ([, ...found]) => found,
      )
    const exchanges = each('pgmux_worker_exchanges_total')
    assert.deepEqual(exchanges.map(([worker]) => worker).sort(), ['0', '1'])
    const all = exchanges.reduce((sum, [, value]) => sum + Number(value), 0)
    assert.equal(all, await crew.metric('pgmux_exchanges_total'))
    for (const name of WORKER_METRICS) assert.ok(each(name).length >= 2, name)
    for (const client of clients) await client.end()
  })

  it('PAUSE answers when all have paused, and who gives up waiting has resumed all', async () => {
    const clients = await crew.clients(4)
    const [one, other] = [of(clients, 0)[0], of(clients, 1)[0]] as [WireClient, WireClient]
    for (const client of [one, other]) await client.query('begin; select 1')
    await using boss = await crew.console()
    let isPaused = false
    const paused = boss.query('pause').then((answer) => {
      isPaused = true
      return answer
    })
    await one.query('commit')
    const waiting = one.query('select 2')
    assert.equal((await other.query('select 1')).error, null)
    assert.equal(isPaused, false)
    await other.query('commit')
    assert.equal((await paused).tag, 'PAUSE')
    assert.equal((await boss.query('pause')).error?.code, '55000')
    await eventually(async () => assert.equal(await crew.backends(), 0))
    assert.equal((await boss.query('resume')).tag, 'RESUME')
    assert.deepEqual((await waiting).rows, [['2']])
    await other.query('begin; select 1')
    const again = boss.query('pause')
    await eventually(async () => assert.equal((await crew.show('state'))[1]?.value, 'yes'))
    await boss.cancel()
    assert.equal((await again).error?.code, '57014')
    assert.equal((await one.query('select 1')).error, null)
    await other.query('commit')
    for (const client of clients) await client.end()
  })

  it('KILL_CLIENT finds a client wherever it is', async () => {
    const clients = await crew.clients(4)
    await using boss = await crew.console()
    for (const { id, database } of await crew.show('clients'))
      if (database !== 'pgmux') assert.equal((await boss.query(`kill_client ${id}`)).error, null)
    for (const client of clients) await client.closed
    assert.equal((await boss.query('kill_client 12345678')).error?.message, 'client not found')
  })

  it('HTTP and WebSocket clients come to all of them', async () => {
    const clients = await crew.clients(4, { web: { port: crew.webPort } })
    assert.ok(of(clients, 0).length > 0 && of(clients, 1).length > 0)
    for (const client of clients) {
      assert.deepEqual((await client.query('select 1')).rows, [['1']])
      await client.end()
    }
    const url = `postgres://${postgres.user}:${postgres.password}@127.0.0.1/${postgres.database}`
    const asked = Array.from({ length: 4 }, () =>
      fetch(`http://127.0.0.1:${crew.webPort}/sql`, {
        method: 'POST',
        headers: { 'Neon-Connection-String': url, connection: 'close' },
        body: JSON.stringify({ query: 'select 7 as n', params: [] }),
      }),
    )
    for (const answer of await Promise.all(asked)) {
      assert.equal(answer.status, 200)
      assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ n: 7 }])
    }
  })

  it('SHUTDOWN is for all of them', async () => {
    const clients = await crew.clients(2)
    await using boss = await crew.console()
    boss.send(query('shutdown'))
    for (const client of clients) await client.closed
    assert.equal(await crew.program.exit, 0)
  })
})

function isActive({ state }: Record<string, string | null>): boolean {
  return state === 'active'
}

/** Has it a notification? One is asked for in vain until then. */
function nothing(client: WireClient): false {
  result(client.drain())
  return false
}
