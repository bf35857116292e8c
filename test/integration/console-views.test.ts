// What the console tells of trouble: filters, hosts, errors, leaks, and the cancel of one client. Must never
// look inside the pooler for what the console can tell.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type ConsoleRig, records, startConsole } from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const { user, database } = postgres
/** Nobody listens there. */
const NOWHERE = { host: '127.0.0.1', port: 1 }

/** The rows of one SHOW command. */
async function show(boss: WireClient, what: string): Promise<Record<string, string>[]> {
  const result = await boss.query(`SHOW ${what}`)
  assert.equal(result.error, null, what)
  return records(result)
}

/** A client of a database whose Postgres is not there: it is refused, after a while. */
async function refused(rig: ConsoleRig): Promise<void> {
  await assert.rejects(rig.client({ database: 'lost' }), /08001/)
}

suite('filters', () => {
  test('choose rows by any column, and only by columns', async () => {
    const rig = await startConsole(postgres, { pool: { size: 1 } })
    await using boss = await rig.console()
    await using one = await rig.client({ params: { application_name: 'one' } })
    await using _two = await rig.client({ params: { application_name: 'two' } })
    await one.query('begin')
    const apps = async (text: string) => (await show(boss, text)).map((row) => row.application_name).sort()
    assert.deepEqual(await apps(`CLIENTS user=${user} database="${database}"`), ['one', 'two'])
    assert.deepEqual(await apps(`CLIENTS User=${user} state = 'active'`), ['one'])
    assert.deepEqual(await apps('CLIENTS state=waiting'), [])
    assert.deepEqual(await apps('CLIENTS user=nobody'), [])
    assert.equal((await show(boss, 'SERVERS state=active')).length, 1)
    assert.equal((await show(boss, 'SERVERS state=idle')).length, 0)
    assert.equal((await show(boss, `POOLS database=${database} cl_active=2`)).length, 1)
    const prepared = await boss.extended(`SHOW CLIENTS application_name=two`)
    assert.equal(prepared.rows.length, 1)
    for (const wrong of ['colour=red', 'state', 'state=', 'state waiting', 'state==x', 'state=a b']) {
      const { error } = await boss.query(`SHOW CLIENTS ${wrong}`)
      assert.equal(error?.code, '42601', wrong)
      assert.match(error.fields.H ?? '', /column=value.*Columns: type, user, database, /)
    }
  })
})

suite('CANCEL', () => {
  test('ends what a client runs or waits for, and says where there is nothing', async () => {
    const rig = await startConsole(postgres, { pool: { size: 1 } })
    await using boss = await rig.console()
    await using runs = await rig.client({ params: { application_name: 'runs' } })
    await using waits = await rig.client({ params: { application_name: 'waits' } })
    const idOf = async (name: string) => (await show(boss, `CLIENTS application_name=${name}`))[0]?.id
    const idle = await boss.query(`CANCEL ${await idOf('runs')}`)
    assert.equal(idle.error?.code, '55000')
    runs.send(m.query('select pg_sleep(30)'))
    await eventually(
      async () => (await show(boss, 'CLIENTS state=active application_name=runs')).length === 1,
    )
    waits.send(m.query('select 1'))
    await eventually(async () => (await show(boss, 'CLIENTS state=waiting')).length === 1)
    assert.equal((await boss.query(`CANCEL ${await idOf('waits')}`)).tag, 'CANCEL')
    const [first] = await waits.until()
    assert.ok(first?.type === 'E' && first.code === '57014')
    assert.equal((await boss.query(`CANCEL ${await idOf('runs')}`)).tag, 'CANCEL')
    const answer = await runs.until()
    assert.ok(answer.some((message) => message.type === 'E' && message.code === '57014'))
    assert.equal((await runs.query('select 1')).error, null, 'its connection stays')
    assert.equal((await boss.query('CANCEL 999999')).error?.message, 'client not found')
    assert.equal((await boss.query('CANCEL x')).error?.code, '22P02')
  })
})

suite('trouble', () => {
  test('SHOW HOSTS tells which Postgres is down, since when and why', async () => {
    const rig = await startConsole(postgres, {
      databases: new Map([
        [database, {}],
        ['lost', { ...NOWHERE, connectTimeoutMs: 300 }],
      ]),
    })
    await using boss = await rig.console()
    const before = await show(boss, 'HOSTS')
    assert.deepEqual(
      before.map((row) => [row.database, row.state]),
      [
        [database, 'unknown'],
        ['lost', 'unknown'],
      ].sort(),
    )
    await using client = await rig.client()
    await client.query('select 1')
    await refused(rig)
    const [lost] = await show(boss, 'HOSTS database=lost')
    assert.deepEqual([lost?.host, lost?.port, lost?.state], [NOWHERE.host, '1', 'down'])
    assert.match(lost?.last_error ?? '', /refused/)
    assert.match(lost?.failing_since ?? '', /^\d{4}-\d\d-\d\d /)
    assert.ok(Number(lost?.failed_logins) > 0)
    const [up] = await show(boss, `HOSTS database=${database}`)
    assert.deepEqual([up?.state, up?.last_error, up?.failed_logins], ['up', '', '0'])
    const errors = await show(boss, 'ERRORS last_database=lost')
    assert.ok(errors.length > 0 && errors.every((row) => row.sqlstate === '08001'))
  })

  test('SHOW ERRORS counts by reason, SHOW RECENT_ERRORS has each', async () => {
    const rig = await startConsole(postgres, { client: { maxPerDatabase: 1 } })
    await using boss = await rig.console()
    assert.deepEqual(await show(boss, 'ERRORS'), [])
    await using _client = await rig.client()
    await assert.rejects(rig.client(), /53300/)
    await assert.rejects(rig.client(), /53300/)
    await assert.rejects(rig.console({ password: 'wrong' }), /28P01/)
    const errors = await show(boss, 'ERRORS')
    const full = errors.find(({ sqlstate }) => sqlstate === '53300')
    assert.deepEqual([full?.count, full?.last_user, full?.last_database], ['2', user, database])
    assert.match(full?.last_message ?? '', /too many clients already/)
    const recent = await show(boss, 'RECENT_ERRORS')
    assert.deepEqual(
      recent.map(({ sqlstate }) => sqlstate),
      ['28P01', '53300', '53300'],
    )
    const counted = await rig.test.pooler.metrics()
    assert.match(counted, new RegExp(`pgmux_errors_total\\{sqlstate="53300",reason="${full?.reason}"\\} 2`))
  })

  test('SHOW LEAKS has what an idle server had left', async () => {
    const rig = await startConsole(postgres)
    await using boss = await rig.console()
    await using client = await rig.client()
    const pid = (await client.query('select pg_backend_pid()')).rows[0]?.[0]
    assert.deepEqual(await show(boss, 'LEAKS'), [])
    // There is no way to leave something behind, so the finding is made here.
    const [entry] = rig.test.pooler.router.entries()
    const [server] = entry?.pool.idle ?? []
    assert.ok(entry !== undefined && server !== undefined)
    entry.onLeak(server as Parameters<typeof entry.onLeak>[0], 'a temporary table')
    const [leak] = await show(boss, 'LEAKS')
    assert.deepEqual([leak?.remote_pid, leak?.what, leak?.user], [pid, 'a temporary table', user])
    assert.match(await rig.test.pooler.metrics(), /pgmux_session_leaks_total 1/)
  })
})
