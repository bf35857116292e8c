// SHOW WAITS: somebody new to it sees from one row why clients wait, and what to do. Each test makes one
// cause and must find it there. Must never look inside the pooler.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Overrides } from '../support/pooler.ts'
import { type ConsoleRig, records, startConsole } from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { user, database } = postgres

type Row = Record<string, string>

async function start(overrides: Overrides = {}): Promise<{ rig: ConsoleRig; boss: WireClient }> {
  const rig = await startConsole(postgres, { pool: { size: 1 }, ...overrides })
  return { rig, boss: await rig.console() }
}

/** Resolves with what is shown when so many wait. */
async function waits(boss: WireClient, count = 1, filter = ''): Promise<Row[]> {
  let rows: Row[] = []
  await eventually(async () => {
    rows = records(await boss.query(`SHOW WAITS ${filter}`))
    return rows.length === count
  })
  return rows
}

async function idOf(boss: WireClient, name: string): Promise<string> {
  return records(await boss.query(`SHOW CLIENTS application_name=${name}`))[0]?.id ?? ''
}

const named = (name: string) => ({ params: { application_name: name } })

suite('why clients wait', () => {
  test('nobody does: no row', async () => {
    const { rig, boss } = await start()
    await using client = await rig.client()
    await client.query('select 1')
    assert.deepEqual(await waits(boss, 0), [])
    await boss.end()
  })

  test('the pool is too small', async () => {
    const { rig, boss } = await start({ pool: { size: 2 } })
    await using one = await rig.client(named('one'))
    await using two = await rig.client()
    await using waiter = await rig.client(named('waiter'))
    for (const client of [one, two]) client.send(m.query("select pg_sleep(1.5), 'secret'"))
    await eventually(async () => (await boss.query('SHOW SERVERS state=active')).rows.length === 2)
    waiter.send(m.query('select 42, 7'))
    const [row] = await waits(boss)
    assert.deepEqual(
      [row?.reason, row?.cause, row?.statement, row?.application_name, row?.kind],
      ['pool_full', 'all 2 servers of the pool are in use: 2 active', 'select ?, ?', 'waiter', 'query'],
    )
    assert.equal(row?.id, await idOf(boss, 'waiter'))
    assert.deepEqual([row?.database, row?.user, row?.holder_state], [database, user, 'active'])
    assert.equal(row?.holder_statement, "select pg_sleep(?.?), '?'")
    assert.match(row?.advice ?? '', /raise pool\.size/)
    assert.match(row?.since ?? '', /^\d{4}-\d\d-\d\d /)
    await waiter.until()
    await Promise.all([one.until(), two.until()])
    await waits(boss, 0)
    await boss.end()
  })

  test('a client is idle in a transaction: which, since when, its statement', async () => {
    const { rig, boss } = await start({ pool: { size: 2 } })
    await using busy = await rig.client()
    await using idler = await rig.client(named('idler'))
    await using waiter = await rig.client()
    await idler.query('begin')
    await idler.extended('select $1::int + 5', ['1'])
    busy.send(m.query('select pg_sleep(1)'))
    await eventually(async () => (await boss.query('SHOW SERVERS state=active')).rows.length === 2)
    waiter.send(m.parse('select 9'), m.bind(), m.execute(), m.sync())
    const [row] = await waits(boss)
    const id = await idOf(boss, 'idler')
    assert.deepEqual(
      [row?.reason, row?.cause, row?.holder_id, row?.holder_state, row?.holder_statement, row?.statement],
      [
        'pool_full',
        'all 2 servers of the pool are in use: 1 idle in transaction, 1 active',
        id,
        'idle in transaction',
        'select $1::int + ?',
        'select ?',
      ],
    )
    assert.match(row?.holder_time ?? '', /^[0-5]$/)
    assert.match(row?.advice ?? '', new RegExp(`KILL_CLIENT ${id};.*client\\.idle_transaction_timeout`))
    assert.equal((await boss.query(`KILL_CLIENT ${id}`)).error, null)
    await waiter.until()
    await busy.until()
    await boss.end()
  })

  test('the host is down', async () => {
    const { rig, boss } = await start({
      databases: new Map([
        [database, {}],
        ['lost', { host: '127.0.0.1', port: 1, connectTimeoutMs: 1000 }],
      ]),
    })
    const coming = assert.rejects(rig.client({ database: 'lost' }), /08001/)
    let row: Row | undefined
    await eventually(async () => {
      ;[row] = records(await boss.query('SHOW WAITS database=lost'))
      return row?.reason === 'host_down'
    })
    assert.equal(row?.kind, 'login')
    assert.match(row?.cause ?? '', /^no login to Postgres at 127\.0\.0\.1:1 has succeeded since .*refused/)
    assert.match(row?.advice ?? '', /Look at Postgres at 127\.0\.0\.1:1/)
    assert.equal(row?.holder_id, '')
    await coming
    await boss.end()
  })

  test('a client is pinned', async () => {
    const { rig, boss } = await start()
    await using pinned = await rig.client(named('pinned'))
    await using waiter = await rig.client()
    await pinned.query('create temp table t (x int)')
    await pinned.query('select 5')
    waiter.send(m.query('select 1'))
    const [row] = await waits(boss)
    const id = await idOf(boss, 'pinned')
    assert.deepEqual([row?.reason, row?.holder_id, row?.holder_state], ['pool_full', id, 'pinned (temp)'])
    assert.match(row?.holder_statement ?? '', /^create temp table t/)
    assert.match(row?.advice ?? '', /SHOW PINS; session\.max_pin_time/)
    await pinned.query('drop table t')
    await waiter.until()
    await boss.end()
  })

  test('paused; a limit that pools share; session mode', async () => {
    const { rig, boss } = await start({ pool: { size: 5, maxServersPerDatabase: 1 } })
    await using holder = await rig.client()
    await using waiter = await rig.client()
    await holder.query('begin')
    waiter.send(m.query('select 1'))
    const [limited] = await waits(boss)
    assert.deepEqual([limited?.reason, limited?.holder_state], ['limit', 'idle in transaction'])
    assert.match(limited?.cause ?? '', /that max_servers of the database allows are in use: 1 idle in tr/)
    await holder.query('commit')
    await waiter.until()
    await boss.query(`PAUSE "${database}"`)
    waiter.send(m.query('select 1'))
    const [paused] = await waits(boss)
    assert.deepEqual(
      [paused?.reason, paused?.cause, paused?.advice],
      ['paused', `database ${database} is paused`, `RESUME "${database}"`],
    )
    await boss.query(`RESUME "${database}"`)
    await waiter.until()
    const other = await start({ pool: { size: 1, mode: 'session' } })
    await using first = await other.rig.client()
    await first.query('select 1')
    await using second = await other.rig.client()
    second.send(m.query('select 2'))
    const [held] = await waits(other.boss)
    assert.deepEqual([held?.reason, held?.holder_state], ['pool_full', 'in session mode'])
    await first.end()
    await second.until()
    await Promise.all([boss.end(), other.boss.end()])
  })
})
