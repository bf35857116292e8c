// The three pool modes: what each leases and gives back, as rivals see it, and what it refuses (DESIGN
// section 5).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { transcript } from '../support/transcript.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const transaction = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } })
const session = await Rig.start(postgres, { pool: { mode: 'session', size: 2 } })
const statement = await Rig.start(postgres, { pool: { mode: 'statement', size: 1 } })
await transaction.see('create table marks (mark text)')

const marks = (mark: string) => transaction.value(`select count(*) from marks where mark = '${mark}'`)
const idle = { login: 0, idle: 2, active: 0, waiting: 0 }

/** The rival's statement waits until `release` has been done, and then works. */
async function assertHeld(rig: Rig, rival: WireClient, release: () => Promise<unknown>): Promise<void> {
  rival.send(m.query('select pg_backend_pid()'))
  await eventually(() => rig.test.pooler.gauges().waiting === 1)
  await release()
  assert.equal(result(await rival.until('Z')).error, null)
}

describe('transaction mode', () => {
  it('takes a server for each transaction and gives it back at its end', async () => {
    await using one = await transaction.client()
    await using two = await transaction.client()
    const pid = await transaction.pidOf(one)
    assert.deepEqual(transaction.test.pooler.gauges().clients, idle)
    assert.equal(await transaction.pidOf(two), pid)
    await one.query('begin')
    await assertHeld(transaction, two, () => one.query('commit'))
    await one.query('begin; select 1/0')
    await assertHeld(transaction, two, () => one.query('rollback'))
    assert.equal(await transaction.pidOf(one), pid)
  })

  it('and for a batch, up to its Sync', async () => {
    await using one = await transaction.client()
    await using two = await transaction.client()
    one.send(m.parse('select pg_backend_pid()'), m.flush())
    await one.until('1')
    await assertHeld(transaction, two, () => one.run(m.bind(), m.execute(), m.sync()))
    // Statements of a transaction that never ends in between run on one server, in one transaction.
    const rows: string[] = []
    await one.query('begin')
    for (let step = 0; step < 3; step++) {
      const { rows: found } = await one.query('select pg_backend_pid(), pg_current_xact_id()')
      rows.push(String(found[0]))
    }
    await one.query('commit')
    assert.equal(new Set(rows).size, 1)
  })

  it('idle clients hold none', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => transaction.client()))
    const pids = await Promise.all(clients.map((client) => transaction.pidOf(client)))
    assert.equal(new Set(pids).size, 1)
    await Promise.all(clients.map((client) => client.end()))
  })
})

describe('session mode', () => {
  it('keeps the server until the client goes', async () => {
    const one = await session.client()
    await using two = await session.client()
    await using three = await session.client()
    const pid = await session.pidOf(one)
    assert.notEqual(await session.pidOf(two), pid)
    assert.equal(await session.pidOf(one), pid)
    await assertHeld(session, three, () => one.end())
    assert.equal(await session.pidOf(three), pid)
  })

  it('leaves nothing of a session to the next', async () => {
    const dirty = await session.client()
    const pid = await session.pidOf(dirty)
    await dirty.query("set datestyle = 'SQL, DMY'; set work_mem = '1MB'; set role pg_monitor")
    await dirty.query(
      "reset role; create temp table t (n int); select pg_advisory_lock(7); set app.tenant = 'x'",
    )
    await dirty.query(
      'listen news; prepare p as select 1; declare c cursor with hold for select 1; set role pg_monitor',
    )
    await dirty.run(m.parse('select 1', { name: 's' }), m.sync())
    await dirty.query('begin; select 1/0')
    await dirty.end()
    await session.quiet()
    await using clean = await session.client()
    assert.equal(await session.pidOf(clean), pid)
    const { rows } = await clean.query(
      `select current_setting('datestyle'), current_setting('work_mem') <> '1MB', current_user = session_user,
         to_regclass('t') is null, coalesce(current_setting('app.tenant', true), '') = '',
         (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
         (select count(*) from pg_prepared_statements), (select count(*) from pg_cursors),
         (select count(*) from pg_listening_channels())`,
    )
    assert.deepEqual(rows, [['ISO, MDY', 't', 't', 't', 't', '0', '0', '0', '0']])
    await clean.query("notify news, 'nobody listens'")
    assert.equal(clean.received.filter(({ type }) => type === 'A').length, 0)
  })

  it('notifications come while the client is idle', async () => {
    await using listener = await session.client()
    await listener.query('listen news')
    await session.see("notify news, 'hello'")
    assert.equal(transcript(await listener.until('A')), 'A(news hello)')
    await session.see("notify news, 'again'")
    assert.equal(transcript(await listener.until('A')), 'A(news again)')
  })

  it('RESET gives the startup value of each client, whoever had the server before', async () => {
    const params = {
      datestyle: 'SQL, DMY',
      timezone: 'Asia/Tokyo',
      work_mem: '3MB',
      options: '-c enable_seqscan=off',
    }
    const script = async (client: WireClient) => {
      await client.query(
        "set datestyle = 'German'; set timezone = 'UTC'; set work_mem = '4MB'; set enable_seqscan = on",
      )
      await client.query('reset datestyle; reset timezone; reset work_mem; reset enable_seqscan')
      await client.query('show datestyle; show timezone; show work_mem; show enable_seqscan')
      await client.query("set work_mem = '5MB'")
      await client.query('discard all')
      await client.query('show datestyle; show timezone; show work_mem; show enable_seqscan')
    }
    const stages = [{ name: 'session mode', pooler: session.test }]
    await assertSame(postgres, stages, script)
    await assertSame(postgres, stages, script, { params })
    await assertSame(postgres, stages, script, { params: { datestyle: 'SQL, DMY' } })
  })

  it('everything of the protocol is as direct', () =>
    assertSame(postgres, [{ name: 'session mode', pooler: session.test }], async (client) => {
      await client.query('prepare p (int) as select $1; execute p (3); deallocate p')
      await client.run(m.parse('select $1::int', { name: 's' }), m.describe('S', 's'), m.sync())
      await client.run(m.bind({ statement: 's', params: ['4'] }), m.execute(), m.sync())
      await client.run(m.parse('select 5'), m.sync())
      await client.run(m.bind(), m.execute(), m.sync())
      await client.run(m.parse('select 6', { name: 's' }), m.sync())
      await client.run(m.close('S', 's'), m.bind({ statement: 's' }), m.sync())
      await client.query('create temp table t as select 1 as n; table t')
      await client.query("select set_config('app.x', 'y', false)")
      await client.query("select current_setting('app.x')")
      await client.query('discard all')
      await client.run(m.bind({ statement: 's' }), m.sync())
    }))
})

describe('statement mode', () => {
  const refused: Record<string, Buffer[]> = {
    BEGIN: [m.query('begin')],
    'START TRANSACTION': [m.query('/* now */ start transaction isolation level serializable')],
    'a whole transaction in one Query': [m.query("begin; insert into marks values ('block'); commit")],
    'BEGIN behind another statement': [m.query("insert into marks values ('block'); begin; select 1")],
    'BEGIN in a batch': [m.parse('begin'), m.bind(), m.execute(), m.sync()],
    'a named BEGIN': [
      m.parse('begin', { name: 'b' }),
      m.describe('S', 'b'),
      m.bind({ statement: 'b' }),
      m.execute(),
      m.sync(),
    ],
    'BEGIN behind a statement of its batch': [
      m.parse("insert into marks values ('block')"),
      m.bind(),
      m.execute(),
      m.parse('begin'),
      m.bind(),
      m.execute(),
      m.sync(),
    ],
    'BEGIN in a long text': [
      m.query(`begin; insert into marks values ('block'); select '${'x'.repeat(20_000)}'`),
    ],
    'BEGIN behind a long text': [
      m.query(`select '${'x'.repeat(100_000)}'; begin; insert into marks values ('block')`),
    ],
    'a long Parse': [m.parse(`begin -- ${'x'.repeat(300_000)}`), m.bind(), m.execute(), m.sync()],
  }
  for (const [name, request] of Object.entries(refused)) {
    it(`refuses ${name}, and goes on`, async () => {
      await using client = await statement.client()
      const { error, status, messages } = await client.run(...request)
      assert.equal(error?.code, '0A000', transcript(messages))
      assert.equal(error?.severity, 'ERROR')
      assert.match(error?.fields.H ?? '', /transaction mode/)
      assert.equal(messages.filter(({ type }) => type === 'E').length, 1)
      assert.equal(status, 'I')
      assert.equal(await marks('block'), '0')
      assert.deepEqual((await client.query('select 7')).rows, [['7']])
      await statement.quiet()
    })
  }

  it('refuses in its turn, between the answers of a pipeline', async () => {
    await using client = await statement.client()
    client.send(m.query('select 1'), m.query('begin'), m.query('select 2'))
    const messages = [
      ...(await client.until('Z')),
      ...(await client.until('Z')),
      ...(await client.until('Z')),
    ]
    assert.equal(transcript(messages), 'T D(1) C(SELECT 1) Z(I) E(0A000) Z(I) T D(1) C(SELECT 1) Z(I)')
  })

  it('takes everything else as direct', () =>
    assertSame(postgres, [{ name: 'statement mode', pooler: statement.test }], async (client) => {
      await client.query("select 'begin; commit'")
      await client.query("insert into marks values ('begin')")
      await client.query('commit')
      await client.query('rollback')
      await client.query('do $$ begin perform 1; end $$')
      await client.query('create function f() returns int language sql begin atomic select 1; end')
      await client.query('drop function f')
      await client.run(
        m.parse('select 1'),
        m.bind(),
        m.execute(),
        m.parse('select 2'),
        m.bind(),
        m.execute(),
        m.sync(),
      )
      await client.query("delete from marks where mark = 'begin'")
    }))

  it('gives the server back after each statement', async () => {
    await using one = await statement.client()
    await using two = await statement.client()
    assert.equal(await statement.pidOf(one), await statement.pidOf(two))
    assert.deepEqual(statement.test.pooler.gauges().clients, idle)
  })
})
