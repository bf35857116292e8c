// Shared servers among everything else that a pool does: writers and transactions get their turn, each client
// keeps its own settings, tables change under statements, and pause, reload and drain end sharing in order.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as m from '../support/messages.ts'
import { merge } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { SharingRig, onlyValue } from '../support/sharing.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin('create table ledger (key text)')

/** Readers that never rest, until told. */
async function busy(sharing: SharingRig, count: number, settings: string | null = null) {
  const clients = await sharing.clients(count)
  let isOver = false
  let reads = 0
  const all = clients.map(async (client, at) => {
    if (settings !== null) await client.query(settings)
    for (let more = 0; !isOver; more++) {
      const number = at * 1000 + (more % 1000)
      assert.equal(onlyValue(await client.query(`select ${number} as mixed`)), `${number}`)
      reads++
    }
    await client.end()
  })
  return {
    get reads() {
      return reads
    },
    stop: () => {
      isOver = true
      return Promise.all(all)
    },
  }
}

suite('shared servers and the rest', () => {
  for (const size of [1, 2, 3]) {
    test(`writers and transactions get their turn, ${size} servers`, async () => {
      const sharing = await SharingRig.start(postgres, size)
      await sharing.warm((client) => client.query('select 1 as mixed'))
      const readers = await busy(sharing, 24)
      const before = sharing.shared
      // With all other servers in long transactions.
      const long = await sharing.clients(size - 1)
      for (const client of long) assert.equal((await client.query('begin')).status, 'T')
      await eventually(() => sharing.shared > before + 50)
      await using writer = await sharing.client()
      for (let at = 0; at < 5; at++) {
        const from = performance.now()
        assert.equal((await writer.query(`insert into ledger values ('${size} ${at}')`)).tag, 'INSERT 0 1')
        const took = performance.now() - from
        assert.ok(took < 1500, `write ${at} took ${took} ms`)
      }
      for (const client of long) await client.query('commit')
      await readers.stop()
      assert.equal(await sharing.rig.value(`select count(*) from ledger where key like '${size} %'`), '5')
    })
  }

  test('another pool that waits for a place under a full limit gets one', async () => {
    const users = new Map([postgres.user, 'guest'].map((name) => [name, { secret: postgres.password }]))
    const sharing = await SharingRig.start(postgres, 1, { pool: { maxServers: 1 }, users })
    await sharing.warm((client) => client.query('select 1 as mixed'))
    const before = sharing.shared
    const readers = await busy(sharing, 24)
    await eventually(() => sharing.shared > before + 50)
    for (let at = 0; at < 3; at++) {
      const from = readers.reads
      await using guest = await sharing.client({ user: 'guest' })
      assert.equal(onlyValue(await guest.query('select 2')), '2')
      // Not when the readers happen to pause.
      assert.ok(readers.reads - from < 1500, `turn ${at} came after ${readers.reads - from} reads`)
    }
    const { reads } = readers
    assert.equal([...sharing.rig.test.pooler.router.entries()].length, 2)
    await eventually(() => readers.reads > reads + 50)
    await readers.stop()
  })

  test('clients with other settings are not forgotten, and see their own', async () => {
    await postgres.admin('create schema if not exists one')
    await postgres.admin('create schema if not exists two')
    await postgres.admin('create table one.where_am_i as select 1 as id')
    await postgres.admin('create table two.where_am_i as select 2 as id')
    const sharing = await SharingRig.start(postgres, 2)
    await sharing.warm((client) => client.query('select 1 as mixed'))
    await sharing.warm((client) => client.query('select id from one.where_am_i'))
    const readers = await busy(sharing, 12)
    const clients = await sharing.clients(12)
    await Promise.all(
      clients.map(async (client, at) => {
        const schema = at % 2 === 0 ? 'one' : 'two'
        const zone = `Etc/GMT+${at % 3}`
        await client.query(`set search_path = ${schema}; set timezone = '${zone}'`)
        for (let more = 0; more < 8; more++) {
          const from = performance.now()
          assert.equal(onlyValue(await client.query('select id from where_am_i')), `${1 + (at % 2)}`)
          const time = onlyValue(await client.query("select timestamptz '2020-01-01 12:00+00'"))
          assert.match(time ?? '', new RegExp(`^2020-01-01 ${12 - (at % 3)}:00:00`))
          assert.ok(performance.now() - from < 5000, 'starved')
        }
        await client.query('set search_path = public')
        assert.equal((await client.query('select id from where_am_i')).error?.code, '42P01')
      }),
    )
    assert.ok(sharing.shared > 20)
    await readers.stop()
    await sharing.quiet()
  })

  test('who has another role reads with its rights', async () => {
    await postgres.admin('create role alone; create table private_to as select 1 as id')
    const sharing = await SharingRig.start(postgres, 2)
    const clients = await sharing.clients(8)
    for (const client of clients.slice(4)) assert.equal((await client.query('set role alone')).error, null)
    const text = 'select id from private_to where id = $1'
    const both = [
      (client: WireClient) => client.query('select id from private_to'),
      (client: WireClient) => client.run(m.parse(text), m.bind({ params: ['1'] }), m.execute(), m.sync()),
    ]
    for (const ask of both)
      for (let more = 0; more < 8; more++) {
        const answers = await sharing.together(clients.map((client) => () => ask(client)))
        for (const [at, answer] of answers.entries())
          if (at < 4) assert.equal(onlyValue(answer), '1')
          else assert.equal(answer.error?.code, '42501')
      }
    assert.ok(sharing.shared > 0)
  })

  test('a table changes under a shared statement', async () => {
    await postgres.admin('create table changes (id int); insert into changes values (1)')
    const sharing = await SharingRig.start(postgres, 2)
    const clients = await sharing.clients(8)
    const described = (client: WireClient) =>
      client.run(m.bind({ statement: 's' }), m.describe('P'), m.execute(), m.sync())
    const blind = (client: WireClient) => client.run(m.bind({ statement: 's' }), m.execute(), m.sync())
    for (const client of clients) await client.run(m.parse('select * from changes', { name: 's' }), m.sync())
    // Every second one knows what its rows are like, and asks no more.
    for (const [at, client] of clients.entries())
      if (at % 2 === 1) await client.run(m.describe('S', 's'), m.sync())
    const round = () =>
      sharing.together(clients.map((client, at) => () => (at % 2 === 0 ? described(client) : blind(client))))
    for (let more = 0; more < 5; more++) for (const one of await round()) assert.deepEqual(one.rows, [['1']])
    assert.ok(sharing.shared > 0)
    await using maker = await sharing.client()
    for (const sql of ["alter table changes add a text default 'x'", 'alter table changes drop column a']) {
      assert.equal((await maker.query(sql)).error, null)
      const rows = sql.includes('drop') ? [['1']] : [['1', 'x']]
      for (let more = 0; more < 3; more++) {
        for (const [at, one] of (await round()).entries()) {
          // As Postgres says it to whom has been told of other columns.
          if (at % 2 === 1 && rows[0]?.length === 2) assert.equal(one.error?.code, '0A000')
          else assert.deepEqual(one.rows, rows, `client ${at}: ${one.error?.message}`)
        }
      }
    }
    await maker.query('drop table changes')
    for (const one of await round()) assert.equal(one.error?.code, '42P01')
    await maker.query('create table changes (id int)')
    await maker.query('insert into changes values (1)')
    for (let more = 0; more < 3; more++) for (const one of await round()) assert.deepEqual(one.rows, [['1']])
    for (const client of clients) await client.query('deallocate s')
    for (const one of await round()) assert.equal(one.error?.code, '26000')
  })

  test('pause, reconnect, reload and drain', async () => {
    const sharing = await SharingRig.start(postgres, 2)
    const { pooler } = sharing.rig.test
    await sharing.warm((client) => client.query('select 1 as mixed'))
    const readers = await busy(sharing, 16)
    await eventually(() => sharing.shared > 100)
    pooler.pause()
    await eventually(() => sharing.entry.pool.active.size === 0)
    const paused = readers.reads
    pooler.resume()
    await eventually(() => readers.reads > paused + 50)
    // After a pause it takes a moment until servers are shared again.
    await eventually(() => sharing.entry.sharing?.lanes.some(({ isOpen }) => isOpen) === true)
    const closed = sharing.lanesShut('retired')
    for (const server of sharing.entry.pool.active) server.isRetired = true
    await eventually(() => sharing.lanesShut('retired') > closed)
    for (const isOn of [false, true]) {
      pooler.reload(merge(pooler.config, { pool: { sharing: { isOn } } }))
      await eventually(() => (sharing.entry.sharing?.lanes.length === 0) === !isOn)
      const { reads } = readers
      const { shared } = sharing
      await eventually(() => readers.reads > reads + 100)
      assert.equal(sharing.shared > shared, isOn)
    }
    await readers.stop()
    const last = await sharing.clients(8)
    const answers = await sharing.together(
      last.map((client, at) => () => client.query(`select ${at} as mixed`)),
    )
    assert.deepEqual(
      answers.map(onlyValue),
      last.map((_, at) => `${at}`),
    )
    await pooler.drain(5000)
    for (const client of last) assert.equal((await client.untilClosed()).at(-1)?.type, 'E')
  })

  test('statement mode', async () => {
    const sharing = await SharingRig.start(postgres, 2, { pool: { mode: 'statement', size: 2 } })
    await using holder = await sharing.rig.direct()
    await holder.query('begin; lock table ledger')
    const stuck = await sharing.clients(1)
    const writes = stuck.map((client) => client.query("insert into ledger values ('statement')"))
    const readers = await busy(sharing, 16)
    await eventually(() => sharing.shared > 100)
    await holder.query('rollback')
    for (const { tag } of await Promise.all(writes)) assert.equal(tag, 'INSERT 0 1')
    await readers.stop()
  })

  test('notifications reach those who listen, reads beside them are shared', async () => {
    const sharing = await SharingRig.start(postgres, 2)
    await sharing.warm((client) => client.query('select 1 as mixed'))
    const listener = await sharing.client()
    await listener.query('listen news')
    const readers = await busy(sharing, 16)
    await eventually(() => sharing.shared > 50)
    await using teller = await sharing.client()
    await teller.query("notify news, 'hello'")
    const told = await listener.until('A')
    assert.equal(told.at(-1)?.type, 'A')
    await readers.stop()
    await listener.end()
  })
})
