// What the buttons of the dashboard do, each with what it has done, what it refuses in the console's words,
// and the line in the log that names who it was; and tables with their filters.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ADMIN, type ConsoleRig, startConsole } from '../support/console.ts'
import { DashboardClient, type EventReader } from '../support/dashboard.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'

const postgres = await getPostgres()
const { database } = postgres

interface Table {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly (readonly (string | number | null)[])[]
  readonly more: boolean
}

interface Desk {
  readonly rig: ConsoleRig
  readonly page: DashboardClient
  /** `200`, or the status with what was said. */
  act(command: string, argument?: string): Promise<string>
  show(asked: string): Promise<Table>
  /** Records of a table by the names of its columns. */
  rows(asked: string): Promise<Record<string, unknown>[]>
}

async function start(): Promise<Desk> {
  const rig = await startConsole(postgres, { admin: { host: '127.0.0.1', port: 0 }, pool: { size: 2 } })
  const page = new DashboardClient(rig.test.pooler.addresses.admin?.port ?? 0)
  const { headers } = await page.post('/dashboard/login', ADMIN)
  page.cookie = String(headers['set-cookie']?.[0]).split(';')[0] ?? ''
  const act = async (command: string, argument = '') => {
    const { status, body } = await page.post('/dashboard/act', { command, argument })
    return `${status} ${(JSON.parse(body) as { error?: string }).error ?? ''}`.trim()
  }
  const show = async (asked: string) => (await page.ask(`/dashboard/show?command=${asked}`)).json<Table>()
  const rows = async (asked: string) => {
    const table = await show(asked)
    return table.rows.map((row) => Object.fromEntries(table.columns.map(({ name }, i) => [name, row[i]])))
  }
  return { rig, page, act, show, rows }
}

/** A picture, made after this was called. */
async function picture(events: EventReader): Promise<Awaited<ReturnType<EventReader['next']>>> {
  const { length } = events.all
  await eventually(() => events.all.slice(length).filter(({ event }) => event === 'now').length > 1)
  const last = events.all.findLast(({ event }) => event === 'now')
  assert.ok(last !== undefined)
  return last.data
}

suite('buttons', () => {
  test('pause, resume, disable and enable', async () => {
    const { rig, page, act } = await start()
    const events = await page.watch()
    await using client = await rig.client()
    await client.query('select 1')
    assert.equal(await act('PAUSE', database), '200')
    assert.equal(await act('PAUSE', database), '409 already suspended/paused')
    assert.equal(await act('DISABLE', database), '200')
    client.send(m.query('select 1'))
    const shown = await picture(events)
    assert.deepEqual([shown.paused, shown.disabled], [[database], [database]])
    assert.equal(shown.causes[0]?.reason, 'paused')
    await assert.rejects(rig.client(), /is disabled/)
    assert.equal(await act('ENABLE', database), '200')
    assert.equal(await act('RESUME', database), '200')
    await client.until()
    assert.equal(await act('RESUME', database), `409 database ${database} is not paused`)
    assert.equal(await act('PAUSE', 'pgmux'), '409 cannot pause admin db: pgmux')
    assert.equal(await act('DISABLE'), '400 DISABLE needs a database')
    assert.equal(await act('RELOAD', 'now'), '400 RELOAD takes no argument')
  })

  test('reconnect, cancel, kill', async () => {
    const { rig, act, rows } = await start()
    const client = await rig.client({ params: { application_name: 'victim' } })
    await client.query('select 1')
    const [before] = await rows('SERVERS')
    assert.equal(await act('RECONNECT'), '200')
    await client.query('select 1')
    const [after] = await rows('SERVERS&close_needed=0')
    assert.notEqual(after?.id, before?.id)
    const [victim] = await rows('CLIENTS&application_name=victim')
    const id = String(victim?.id)
    assert.equal(await act('CANCEL', id), '409 the client runs nothing and waits for nothing')
    const slept = client.query('select pg_sleep(60)')
    // A cancel that is there before the query finds nothing to cancel.
    const running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
    await eventually(async () => (await postgres.admin(running)).length === 1)
    assert.equal(await act('CANCEL', id), '200')
    assert.equal((await slept).error?.code, '57014')
    assert.equal(await act('KILL_CLIENT', id), '200')
    await client.closed
    assert.equal(await act('KILL_CLIENT', id), '409 client not found')
    assert.equal(await act('KILL_CLIENT', 'x; PAUSE'), '409 invalid client pointer supplied')
    const other = await rig.client()
    assert.equal(await act('KILL', database), '200')
    await other.closed
    assert.equal(await act('RESUME', database), '200')
    assert.equal(await act('RELOAD'), '409 RELOAD failed, see logs for additional details', 'of a test')
    const told = rig.test.lines.filter(({ message }) => message.startsWith('dashboard: '))
    assert.deepEqual(
      told.map(({ message }) => message.replace(id, 'ID').replace(database, 'DB')),
      ['RECONNECT', 'CANCEL ID', 'KILL_CLIENT ID', 'KILL DB', 'RESUME DB'].map(
        (words) => `dashboard: ${words}`,
      ),
    )
    for (const { fields } of told) assert.deepEqual(fields, { user: ADMIN.user, client: '127.0.0.1' })
  })
})

suite('tables', () => {
  test('have the rows of the console, as many as are wanted', async () => {
    const { rig, page, show, rows } = await start()
    const clients = await Promise.all(
      [1, 2, 3].map((n) => rig.client({ params: { application_name: `c${n}` } })),
    )
    assert.deepEqual(
      (await rows('clients&application_name=c2&state=idle')).map(({ user }) => user),
      [postgres.user],
    )
    const some = await show('CLIENTS&limit=2')
    assert.deepEqual([some.rows.length, some.more], [2, true])
    const all = await show('CLIENTS&limit=3')
    assert.deepEqual([all.rows.length, all.more], [3, false])
    assert.ok(all.columns.some(({ name, type }) => name === 'id' && type === 'int4'))
    assert.equal((await rows('CONFIG&key=upstream.password'))[0]?.value, '********')
    for (const wrong of [
      'NOTHING',
      'RELOAD',
      'CLIENTS&nocolumn=1',
      'CLIENTS&limit=0',
      'CLIENTS&limit=1e3',
      '',
    ])
      assert.equal((await page.ask(`/dashboard/show?command=${wrong}`)).status, 400, wrong)
    await Promise.all(clients.map((client) => client.end()))
  })
})
