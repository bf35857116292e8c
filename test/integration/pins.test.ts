// Pins by policy, on servers that clients share: warned, refused before it runs or afterwards, too many, too
// long; and what operators read of them. That pins keep and release a server is in tracking.test.ts.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { SessionConfig } from '../../src/config/types.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin(`create function hidden_table() returns void language plpgsql as
  $$ begin execute 'create temp table hidden (a int)'; end $$`)

type Session = Partial<Omit<SessionConfig, 'pins'>> & { pins?: Partial<SessionConfig['pins']> }

const start = (session: Session, size = 1): Promise<Rig> =>
  Rig.start(postgres, { pool: { mode: 'transaction', size }, session: { listen: 'pin', ...session } })

/** Texts that pin, by reason; each protocol runs them. */
const TEXTS = {
  temp: 'create temp table pinned (a int)',
  advisory_lock: "select pg_advisory_lock(5) as \"it's secret\", 'secret'",
  backend_state: 'select setseed(0.5)',
  listen: 'listen pinned',
  custom_setting: "select set_config('app.' || 'x', 'secret', false)",
} as const
const PROTOCOLS = ['query', 'extended'] as const

async function gone(client: WireClient, code: string): Promise<string> {
  const messages = await client.untilClosed()
  const last = messages.findLast(({ type }) => type === 'E')
  assert.ok(last?.type === 'E', JSON.stringify(messages))
  assert.deepEqual([last.severity, last.code], ['FATAL', code])
  return `${last.message} / ${last.fields.D} / ${last.fields.H}`
}

async function metric(rig: Rig, name: string): Promise<number> {
  const line = (await rig.test.pooler.metrics()).split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}

describe('a pin that is refused', () => {
  for (const [reason, text] of Object.entries(TEXTS)) {
    for (const protocol of PROTOCOLS) {
      it(`${reason}, ${protocol}: does not run, and fails its transaction like any error`, async () => {
        const rig = await start({ pins: { [reason]: 'refuse' } })
        await using client = await rig.client()
        const alone = await client[protocol](text)
        assert.deepEqual([alone.error?.code, alone.error?.severity, alone.status], ['0A000', 'ERROR', 'I'])
        assert.match(alone.error?.fields.H ?? '', new RegExp(`session\\.pins\\.${reason}`))
        await client.query('begin')
        assert.equal((await client[protocol](text)).status, 'E')
        assert.equal((await client[protocol](text)).status, 'E')
        assert.equal((await client.query('commit')).tag, 'ROLLBACK')
        assert.equal((await client.query('select 1')).error, null)
        assert.equal(await metric(rig, `pgmux_pins_total{reason="${reason}"}`), 0)
        assert.equal(await metric(rig, 'pgmux_errors_total{sqlstate="0A000",reason="pin_refused"}'), 3)
        await rig.quiet()
      })
    }
  }

  it('skips the rest of its batch, and leaves what was before it undone', async () => {
    const rig = await start({ pins: { temp: 'refuse' } })
    await using client = await rig.client()
    client.send(
      ...['select 1', TEXTS.temp, 'select 2'].flatMap((text) => [m.parse(text), m.bind(), m.execute()]),
      m.sync(),
    )
    const { rows, error, status } = result(await client.until('Z'))
    assert.deepEqual([rows, error?.code, status], [[['1']], '0A000', 'I'])
    const named = await client.extended(TEXTS.temp, [], { statement: 'makes' })
    assert.equal(named.error?.code, '0A000')
    const script = await client.query(`select 3; ${TEXTS.temp}; select 4`)
    assert.deepEqual([script.rows, script.error?.code], [[], '0A000'])
  })

  it('is none where the transaction ends it, or where it gives something back', async () => {
    const rig = await start({ pins: { temp: 'refuse', advisory_lock: 'refuse', listen: 'refuse' } })
    await using client = await rig.client()
    for (const text of [
      'begin; create temp table fleeting (a int) on commit drop; commit',
      'discard temp',
      'select pg_advisory_unlock_all(); unlisten *',
      'select pg_advisory_xact_lock(1)',
    ])
      assert.equal((await client.query(text)).error, null, text)
    assert.equal((await client.extended('select pg_advisory_unlock(7)')).error, null)
    await rig.quiet()
  })

  for (const protocol of PROTOCOLS) {
    it(`ends the session where it shows only afterwards (${protocol}), and the server is clean`, async () => {
      const rig = await start({ pins: { temp: 'refuse' } })
      await using client = await rig.client()
      assert.equal((await client[protocol]('select hidden_table()')).error, null)
      assert.match(await gone(client, '0A000'), /temporary objects.*session\.pins\.temp is refuse/)
      assert.equal(await metric(rig, 'pgmux_pins_total{reason="temp"}'), 0)
      await using other = await rig.client()
      assert.equal((await other.query('select * from hidden')).error?.code, '42P01')
    })
  }

  it('is a statement too long to be kept, of any length', async () => {
    const rig = await start({ pins: { large_statement: 'refuse' } })
    await using client = await rig.client()
    const long = (length: number) => `select length('${'x'.repeat(length)}')`
    for (const [length, statement] of [
      [70_000, ''],
      [700_000, ''],
      [300_000, 'named'],
      [900_000, 'named'],
    ] as const) {
      const answer = await client.extended(long(length), [], { statement })
      assert.deepEqual([answer.error?.code, answer.status], ['0A000', 'I'], `${length} ${statement}`)
    }
    assert.equal((await client.query(long(700_000))).rows[0]?.[0], '700000')
    assert.equal((await client.extended(long(10_000))).rows[0]?.[0], '10000')
    await rig.quiet()
  })
})

describe('a pin that is warned of', () => {
  for (const protocol of PROTOCOLS) {
    it(`is told once for each reason and session, behind the answer (${protocol})`, async () => {
      const rig = await start({ pins: { temp: 'warn', advisory_lock: 'warn' } })
      await using client = await rig.client()
      assert.equal((await client[protocol](TEXTS.temp)).error, null)
      const [notice] = await client.until('N')
      assert.ok(notice?.type === 'N')
      assert.deepEqual([notice.severity, notice.code], ['WARNING', '01000'])
      assert.match(
        `${notice.message} ${notice.fields.H}`,
        /temporary objects.*ON COMMIT DROP.*session\.pins\.temp/,
      )
      await client[protocol]('drop table pinned')
      await client[protocol](TEXTS.temp)
      await client[protocol](TEXTS.advisory_lock)
      const [second] = await client.until('N')
      assert.ok(second?.type === 'N' && /advisory lock/.test(second.message))
      assert.equal(client.received.filter(({ type }) => type === 'N').length, 2)
    })
  }
})

describe('session.max_pinned', () => {
  it('refuses one more, before it runs and afterwards, until another has gone', async () => {
    const rig = await start({ maxPinned: 1 }, 3)
    await using a = await rig.client()
    await using b = await rig.client()
    await using c = await rig.client()
    await a.query(TEXTS.temp)
    await eventually(async () => assert.equal(await metric(rig, 'pgmux_pinned_clients'), 1))
    // Who is pinned may be so for another reason.
    assert.equal((await a.query(TEXTS.advisory_lock)).error, null)
    for (const protocol of PROTOCOLS) {
      const { error } = await b[protocol](TEXTS.advisory_lock)
      assert.deepEqual([error?.code, error?.severity], ['53300', 'ERROR'])
      assert.match(error?.fields.H ?? '', /session\.max_pinned/)
    }
    await c.query('select hidden_table()')
    assert.match(await gone(c, '53300'), /session\.max_pinned is 1/)
    await a.query('drop table pinned; select pg_advisory_unlock_all()')
    await eventually(async () => assert.equal(await metric(rig, 'pgmux_pinned_clients'), 0))
    assert.equal((await b.query(TEXTS.temp)).error, null)
  })
})

describe('session.max_pin_time', () => {
  it('ends who is pinned and sleeps, not who works or is in a transaction', async () => {
    const rig = await start({ maxPinTimeMs: 300 }, 3)
    await using sleeper = await rig.client()
    await using worker = await rig.client()
    await using inside = await rig.client()
    await sleeper.query(TEXTS.temp)
    await inside.query(`${TEXTS.temp}`)
    await inside.query('begin')
    await worker.query(TEXTS.temp)
    let isOver = false
    const end = gone(sleeper, '57P05').finally(() => {
      isOver = true
    })
    while (!isOver) assert.equal((await worker.query('select pg_sleep(0.01)')).error, null)
    assert.match(
      await end,
      /temporary objects, by: create temp table pinned \(a int\).*session\.max_pin_time/,
    )
    assert.equal((await inside.query('select 1')).error, null)
    await inside.query('commit; drop table pinned')
    await worker.query('drop table pinned')
    await rig.quiet()
    assert.equal((await worker.query('select * from pinned')).error?.code, '42P01')
  })
})

describe('pins for operators', () => {
  it('are counted, timed and logged with their statement, without its strings', async () => {
    const rig = await Rig.start(postgres, {
      pool: { mode: 'transaction', size: 1 },
      admin: { statsUsers: [postgres.user] },
    })
    await using client = await rig.client()
    await client.query(`begin; ${TEXTS.advisory_lock}; ${TEXTS.temp}; commit`)
    await eventually(async () => assert.equal(await metric(rig, 'pgmux_pins{reason="temp"}'), 1))
    assert.equal(await metric(rig, 'pgmux_pins{reason="advisory_lock"}'), 1)
    await using operator = await rig.client({ database: 'pgmux' })
    const shown = await operator.query('show pins')
    assert.deepEqual(shown.rows.map(([, user, reason]) => [user, reason]).sort(), [
      [postgres.user, 'advisory_lock'],
      [postgres.user, 'temp'],
    ])
    const [entry] = [...rig.test.pooler.router.entries()]
    const [held] = [...entry!.pins.held]
    assert.deepEqual(Array.from(held!.all(), ({ reason }) => reason).sort(), ['advisory_lock', 'temp'])
    await eventually(async () => (await metric(rig, 'pgmux_pinned_seconds_total{reason="temp"}')) > 0)
    await client.end()
    await rig.quiet()
    for (const reason of ['temp', 'advisory_lock'])
      assert.equal(await metric(rig, `pgmux_pins_total{reason="${reason}"}`), 1)
    assert.equal(await metric(rig, 'pgmux_pinned_clients'), 0)
    assert.equal(entry!.pins.held.size, 0)
    const lines = rig.test.lines.filter(({ message }) => /^session (un)?pinned$/.test(message))
    assert.deepEqual(
      lines.map(({ message, fields }) => `${message} ${fields.pin}`).sort(),
      ['pinned', 'unpinned'].flatMap((what) => [`session ${what} advisory_lock`, `session ${what} temp`]),
    )
    for (const { fields } of lines) {
      assert.match(String(fields.statement), /^begin; select pg_advisory_lock\(5\) as "it…$/)
      assert.equal(fields.user, postgres.user)
    }
    assert.ok(lines.every(({ message, fields }) => (message === 'session unpinned') === 'age_s' in fields))
  })

  it('are none of transactions that undo them, nor of session mode', async () => {
    const rig = await start({ pins: { temp: 'refuse' }, maxPinned: 1 })
    await using client = await rig.client()
    await client.query('begin; select hidden_table(); rollback')
    await client.query('select 1')
    assert.equal(await metric(rig, 'pgmux_pins_total{reason="temp"}'), 0)
    const session = await Rig.start(postgres, {
      pool: { mode: 'session', size: 1 },
      session: { pins: { temp: 'refuse' } },
    })
    await using other = await session.client()
    assert.equal((await other.query(TEXTS.temp)).error, null)
  })

  it('follow a reload', async () => {
    const rig = await start({})
    await using client = await rig.client()
    await client.extended(TEXTS.temp, [], { statement: 'makes' })
    await client.query('drop table pinned')
    const { pooler } = rig.test
    const pins = { ...pooler.config.session.pins, temp: 'refuse' } as const
    pooler.reload({ ...pooler.config, session: { ...pooler.config.session, pins } })
    const bound = await client.run(m.bind({ statement: 'makes' }), m.execute(), m.sync())
    assert.equal(bound.error?.code, '0A000')
  })
})
