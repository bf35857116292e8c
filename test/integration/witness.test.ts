// session.witness and session.custom_names: what follows its client unseen, or does not, and that a name once
// used is nobody else's. On one server that two clients share.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Config } from '../../src/config/types.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const HIDDEN = "do $$ begin set work_mem = '7MB'; perform pg_advisory_lock(9) ; end $$"

const start = (session: Partial<Config['session']>, pool: Partial<Config['pool']> = {}): Promise<Rig> =>
  Rig.start(postgres, { pool: { mode: 'transaction', size: 1, ...pool }, session })

async function one(client: WireClient, sql: string): Promise<string | null | undefined> {
  const { rows, error } = await client.query(sql)
  assert.equal(error, null, sql)
  return rows[0]?.[0]
}

/** Advisory locks in the whole of Postgres. */
const locks = (rig: Rig): Promise<string | null> =>
  rig.value("select count(*) from pg_locks where locktype = 'advisory'")

describe('session.witness: off', () => {
  it('follows nothing that is out of sight, and others never see it', async () => {
    const rig = await start({ witness: 'off' }, { leakCheckMs: 0 })
    await using a = await rig.client()
    await using b = await rig.client()
    await a.query(HIDDEN)
    assert.equal(await one(b, 'show work_mem'), '4MB')
    assert.equal(await locks(rig), '0')
    assert.equal(await one(a, 'show work_mem'), '4MB')
    await a.query("set work_mem = '8MB'")
    assert.deepEqual([await one(b, 'show work_mem'), await one(a, 'show work_mem')], ['4MB', '8MB'])
  })

  it('keeps nothing for long on an idle server, and that is no leak', async () => {
    const rig = await start({ witness: 'off' }, { leakCheckMs: 50 })
    await using a = await rig.client()
    await a.query(HIDDEN)
    await eventually(async () => assert.equal(await locks(rig), '0'))
    assert.equal([...rig.test.pooler.router.entries()][0]?.counters.leaks, 0)
    await rig.quiet()
  })
})

describe('session.witness: always', () => {
  it('finds what no text and no catalogue shows', async () => {
    for (const [witness, value] of [
      ['auto', '4MB'],
      ['always', '6MB'],
    ] as const) {
      const rig = await start({ witness }, { leakCheckMs: 0 })
      await using a = await rig.client()
      await using b = await rig.client()
      await a.query('select 1')
      const [entry] = [...rig.test.pooler.router.entries()]
      const [server] = [...entry!.servers()]
      // As if a function of some extension had set it: the text is not looked at.
      const { insight } = server!.parts
      const { effects } = insight
      insight.effects = (text, from, to, settings) => {
        const known = effects.call(insight, text, from, to, settings)
        return text.includes('work_mem') ? { ...known, touches: 0 } : known
      }
      assert.equal((await a.extended("set work_mem = '6MB'")).error, null)
      insight.effects = effects
      await b.query("set search_path = 'x'; reset all; discard all")
      assert.equal(await one(a, 'show work_mem'), value, witness)
    }
  })
})

describe('session.custom_names: strict', () => {
  const NAME = "select current_setting('app.x', true)"
  const uses = {
    'set for the session': "set app.x = 'mine'",
    'set for a transaction': "begin; set local app.x = 'mine'; commit",
    'set by a call': "select set_config('app.x', 'mine', true)",
    'set where it cannot be seen': "do $$ begin perform set_config('app.x', 'mine', false); end $$",
    'under a name that is made up': "select set_config('app.' || 'x', 'mine', true)",
    'by EXECUTE': "prepare sets as select set_config('app.x', 'mine', true); execute sets",
  }
  for (const [name, text] of Object.entries(uses)) {
    it(`a name is nobody else’s: ${name}`, async () => {
      const rig = await start({ customNames: 'strict' })
      await using a = await rig.client()
      const before = await rig.pidOf(a)
      assert.equal((await a.query(text)).error, null)
      assert.equal(await rig.pidOf(a), before)
      await eventually(() => rig.test.pooler.gauges().pinned.reasons.get('custom_name') === 1)
      await a.end()
      await using b = await rig.client()
      assert.equal(await one(b, NAME), null)
      assert.notEqual(await rig.pidOf(b), before)
    })
  }

  it('nor where its client goes in the middle, and in session mode none is', async () => {
    const rig = await start({ customNames: 'strict' })
    const a = await rig.client()
    await a.query("begin; set local app.x = 'mine'")
    await a.end()
    await using b = await rig.client()
    assert.equal(await one(b, NAME), null)
    const session = await start({ customNames: 'strict' }, { mode: 'session' })
    const c = await session.client()
    await c.query("set app.x = 'mine'")
    await c.end()
    await using d = await session.client()
    assert.equal(await one(d, NAME), null)
  })

  it('settings without a dot in their names change nothing', async () => {
    const rig = await start({ customNames: 'strict' })
    await using a = await rig.client()
    await using b = await rig.client()
    const pid = await rig.pidOf(a)
    await a.query("set work_mem = '7MB'; begin; set local enable_seqscan = off; commit")
    assert.equal(await rig.pidOf(b), pid)
    assert.equal(await one(a, 'show work_mem'), '7MB')
  })

  it('begins with a reload: no server from before is used again', async () => {
    const rig = await start({})
    await using a = await rig.client()
    await using b = await rig.client()
    await a.query("set app.x = 'mine'")
    assert.equal(await one(b, NAME), '')
    const { pooler } = rig.test
    pooler.reload({ ...pooler.config, session: { ...pooler.config.session, customNames: 'strict' } })
    assert.equal(await one(b, NAME), null)
    assert.equal(await one(a, NAME), 'mine')
    await a.end()
    assert.equal(await one(b, NAME), null)
  })
})
