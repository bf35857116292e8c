// Session state in transaction mode, on one server that two clients share: each sees its own, a pin ends when
// Postgres says that nothing is left, and what leaks is found. The many constructs are in test/interference.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Server } from '../../src/backend/server.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const ONE = { pool: { mode: 'transaction', size: 1 } } as const

async function one(client: WireClient, sql: string): Promise<string | null | undefined> {
  const { rows, error } = await client.query(sql)
  assert.equal(error, null, sql)
  return rows[0]?.[0]
}

describe('settings that Postgres does not report', () => {
  it('follow each client, also after a rollback, and with its times too short for a question', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    await a.query("set work_mem = '7MB'; set app.tenant = 'a'")
    await b.query("set work_mem = '9MB'")
    await a.query('begin; set enable_seqscan = off; rollback')
    assert.deepEqual([await one(a, 'show work_mem'), await one(b, 'show work_mem')], ['7MB', '9MB'])
    assert.equal(await one(a, 'show enable_seqscan'), 'on')
    assert.equal(await one(b, "select current_setting('app.tenant', true)"), '')
    assert.equal(await one(a, "select current_setting('app.tenant', true)"), 'a')
    await a.query("set statement_timeout = '1ms'")
    assert.equal(await one(b, 'show statement_timeout'), '0')
    await a.query('set statement_timeout = 0')
    await b.query('reset all')
    assert.equal(await one(b, 'show work_mem'), '4MB')
    assert.equal(await one(a, 'show work_mem'), '7MB')
  })

  it('follow where no statement names them', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    await a.query("do $$ begin perform set_config('app.a', 'x', false); set enable_hashjoin = off; end $$")
    const both = "select current_setting('app.a', true) || current_setting('enable_hashjoin')"
    assert.deepEqual([await one(b, both), await one(a, both), await one(b, both)], ['on', 'xoff', 'on'])
    await a.query(`create function tracked() returns text language plpgsql as
      $$ begin return set_config('app.b', 'y', false); end $$`)
    assert.equal(await one(a, 'select tracked()'), 'y')
    assert.equal(await one(b, "select current_setting('app.b', true)"), '')
    assert.equal(await one(a, "select current_setting('app.b', true)"), 'y')
    await a.query('drop function tracked()')
  })

  it('are what the client asked for at its startup after a RESET', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client({ params: { application_name: 'mine', timezone: 'Asia/Tokyo' } })
    await using b = await rig.client()
    await a.query("set timezone = 'UTC'; set application_name = 'other'")
    assert.notEqual(await one(b, 'show timezone'), 'Asia/Tokyo')
    await a.query('reset timezone')
    assert.equal(await one(a, 'show timezone'), 'Asia/Tokyo')
    assert.equal((await a.extended('reset all')).tag, 'RESET')
    assert.deepEqual(
      [await one(b, 'show application_name'), await one(a, 'show application_name')],
      ['', 'mine'],
    )
  })
})

describe('who somebody is', () => {
  it('is the client’s own, and what a role may not set is set before', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    await a.query("set log_min_duration_statement = '1h'; set role pg_monitor")
    const who = 'select current_user::text'
    assert.equal(await one(b, who), postgres.user)
    assert.equal(await one(a, who), 'pg_monitor')
    await a.query('reset role')
    assert.equal(await one(a, who), postgres.user)
  })
})

describe('a session whose settings are refused for good', () => {
  const cases = [
    ['role gone', 'set role gone'],
    ['text search configuration gone (copy = simple)', "set default_text_search_config = 'gone'"],
  ] as const
  for (const [made, taken] of cases) {
    const name = made.replace(/ gone.*/, '')
    it(`ends where its ${name} is dropped, instead of failing again and again`, async () => {
      const rig = await Rig.start(postgres, ONE)
      await postgres.admin(`create ${made}`)
      await using a = await rig.client()
      await using b = await rig.client()
      assert.equal((await a.query(taken)).error, null)
      await one(b, 'select 1')
      await postgres.admin(`drop ${name} gone`)
      a.send(m.query('select current_user'))
      const [error] = (await a.untilClosed()).filter(({ type }) => type === 'E')
      assert.ok(error?.type === 'E')
      assert.deepEqual([error.severity, error.code], ['FATAL', '22023'])
      assert.equal(await one(b, 'select 2'), '2')
    })
  }
})

describe('a pin', () => {
  const cases = [
    [
      'for temporary objects ends when nothing is left',
      'create temp table pinned (a int)',
      'drop table pinned',
    ],
    [
      'for advisory locks ends when nothing is left',
      'select pg_advisory_lock(5), pg_advisory_lock(5)',
      'select pg_advisory_unlock_all()',
    ],
    [
      'for held cursors ends when nothing is left',
      'begin; declare pinned cursor with hold for select 1; commit',
      'close pinned',
    ],
  ] as const
  for (const [title, begin, end] of cases) {
    it(title, async () => {
      const rig = await Rig.start(postgres, ONE)
      await using a = await rig.client()
      await using b = await rig.client()
      await a.query(begin)
      let isServed = false
      const served = one(b, 'select 1').then(() => {
        isServed = true
      })
      await a.query('select 2')
      assert.equal(isServed, false)
      await a.query(end)
      await served
    })
  }
})

describe('DISCARD ALL', () => {
  it('ends every pin, also where it comes in the same write', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    for (const text of ['select pg_advisory_lock(1)', 'create temp table t (a int)', 'select setseed(0.5)']) {
      await a.query(text)
      await a.query('discard all')
      assert.equal(await one(b, "select 'served'"), 'served', text)
      a.send(Buffer.concat([m.query(text), m.query('discard all')]))
      for (const _ of [1, 2]) await a.until('Z')
      assert.equal(await one(b, "select 'served'"), 'served', `${text}, in one write`)
    }
  })
})

describe('a DO block that deallocates all', () => {
  it('takes nothing from pgmux, nor from others', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    await b.query("set work_mem = '6MB'")
    assert.equal((await a.query("do $$ begin execute 'deallocate all'; end $$")).error, null)
    await a.query("set work_mem = '7MB'")
    assert.deepEqual([await one(b, 'show work_mem'), await one(a, 'show work_mem')], ['6MB', '7MB'])
  })
})

describe('a value that the encoding of its client cannot show', () => {
  it('fails when it is shown, as directly, and only then', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await a.query("set app.tenant = 'Ж'; set client_encoding = 'LATIN1'")
    const { error } = await a.query('show app.tenant')
    assert.equal(error?.code, '22P05')
    await a.query("set client_encoding = 'UTF8'")
    assert.equal(await one(a, 'show app.tenant'), 'Ж')
  })
})

describe('a leak', () => {
  it('is found within a second, and costs the server its connection', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await a.query("set work_mem = '8MB'")
    const { pooler } = rig.test
    const [entry] = [...pooler.router.entries()]
    const [server] = [...entry!.servers()] as [Server]
    await eventually(() => server.state === 'idle')
    const { talk } = server
    // As if nobody had looked at this setting.
    talk.settings = talk.settings!.without('work_mem')
    const since = performance.now()
    await eventually(() => assert.equal(entry!.counters.leaks, 1))
    assert.ok(performance.now() - since < 1000)
    assert.equal(server.state, 'closed')
    assert.equal(await one(a, 'show work_mem'), '8MB')
  })
})

describe('SET pgmux.pin', () => {
  it('keeps the server while it is on', async () => {
    const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 2 } })
    await using a = await rig.client()
    const pins = () => rig.test.pooler.gauges().pinned.reasons.get('by_hand') ?? 0
    for (const [text, isPinned] of [
      ['set pgmux.pin = on', true],
      ['reset pgmux.pin', false],
      ["select set_config('pgmux.pin', 'TRUE', false)", true],
      ['set pgmux.pin = off', false],
      ['begin; set pgmux.pin = on; rollback', false],
      ['begin; set local pgmux.pin = on; commit', false],
      ['set pgmux.pin = 1', true],
      ['discard all', false],
    ] as const) {
      assert.equal((await a.query(text)).error, null)
      await eventually(() => {
        assert.equal(pins(), Number(isPinned), text)
        assert.equal(rig.test.pooler.gauges().servers.active, Number(isPinned), text)
      })
    }
  })
})

describe('what a sequence gave', () => {
  it('is told to whom it was given, and to nobody else', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    const failed = async (client: WireClient, sql: string) => (await client.query(sql)).error?.code
    await a.query('drop table if exists numbered; create table numbered (id serial, a int)')
    await b.query('insert into numbered (a) values (1)')
    // The first who asks teaches that it is asked for.
    assert.equal(await failed(a, 'select lastval()'), '55000')
    await a.query('insert into numbered (a) values (1)')
    const waits = one(b, "select 'served'")
    assert.equal(await one(a, 'select lastval()'), '2')
    assert.equal(await waits, 'served')
    await a.query('insert into numbered (a) values (1)')
    assert.equal(await one(a, "select currval('numbered_id_seq')"), '3')
    assert.equal(await failed(b, "select currval('numbered_id_seq')"), '55000')
    const batch = await b.extended("select currval('numbered_id_seq')")
    assert.equal(batch.error?.code, '55000')
    await a.query('drop table numbered')
  })

  const NUMBERS = { pool: { mode: 'transaction', size: 2 } } as const

  it('with session.sequences: pin it is told whatever others do, until it is given up', async () => {
    const rig = await Rig.start(postgres, { ...NUMBERS, session: { sequences: 'pin' } })
    await using a = await rig.client()
    await using b = await rig.client()
    const pinned = () => rig.test.pooler.gauges().pinned.reasons.get('sequence') ?? 0
    await a.query('drop sequence if exists pinned_numbers; create sequence pinned_numbers')
    assert.equal(await one(a, "select nextval('pinned_numbers')"), '1')
    assert.equal(await one(b, "select nextval('pinned_numbers')"), '2')
    for (let n = 0; n < 3; n++) {
      assert.equal(await one(a, 'select 1'), '1')
      assert.equal(await one(a, 'select lastval()'), '1')
      assert.equal(await one(b, "select currval('pinned_numbers')"), '2')
    }
    assert.equal(pinned(), 2)
    await a.query('begin; select 1; rollback')
    assert.equal(await one(a, 'select lastval()'), '1')
    for (const [client, discard] of [[a, 'discard sequences'] as const, [b, 'discard all'] as const]) {
      await client.query(discard)
      assert.equal((await client.query('select lastval()')).error?.code, '55000')
    }
    assert.equal(pinned(), 0)
    await a.query('drop sequence pinned_numbers')
  })

  it('with session.sequences: pass nobody looks', async () => {
    const rig = await Rig.start(postgres, { ...ONE, session: { sequences: 'pass' } })
    await using a = await rig.client()
    await using b = await rig.client()
    await a.query('drop sequence if exists passed_numbers; create sequence passed_numbers')
    assert.equal(await one(a, "select nextval('passed_numbers')"), '1')
    assert.equal(await one(b, 'select lastval()'), '1')
    assert.equal((await b.extended('select lastval()')).rows[0]?.[0], '1')
    await a.query('drop sequence passed_numbers')
  })
})

describe('very many settings of one session', () => {
  it('keep their server, and do not hold up others', async () => {
    const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 2 } })
    await using a = await rig.client()
    await using b = await rig.client()
    const sets = (from: number) =>
      Array.from({ length: 500 }, (_, n) => `set app.n${from + n} = '${from + n}'`).join('; ')
    for (let from = 0; from < 10_000; from += 500) {
      assert.equal((await a.query(sets(from))).error, null)
      assert.equal(await one(b, "select coalesce(current_setting('app.n1', true), '')"), '')
    }
    assert.equal(await one(a, "select current_setting('app.n1') || current_setting('app.n9999')"), '19999')
    await a.query('discard all')
    assert.equal(await one(a, "select coalesce(current_setting('app.n9999', true), '')"), '')
    await a.query("set app.n1 = 'again'")
    assert.equal(await one(a, "select current_setting('app.n1')"), 'again')
  })
})
