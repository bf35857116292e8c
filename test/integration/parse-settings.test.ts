// Statements that are made of a text under settings which Postgres does not report, in transactions and in
// pipelines: nobody else gets them, and their client keeps what they mean.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const ONE = { pool: { mode: 'transaction', size: 1 } } as const
const BOUND = m.bind({ params: ['bytea_output', 'escape'] })
const ON = 'transform_null_equals = on'

const run = (name: string) => [m.bind({ statement: name }), m.execute(), m.sync()]

async function value(client: WireClient, ...messages: Buffer[]): Promise<string | null | undefined> {
  const { rows, error } = await client.run(...messages)
  assert.equal(error, null)
  return rows[0]?.[0]
}

describe('a statement made in a transaction that has changed how texts are read', () => {
  const ways = [
    `set local ${ON}`,
    `set ${ON}`,
    "select set_config('transform_null_equals', 'on', true)",
    "do $$ begin execute 'set local transform_null_equals = on'; end $$",
  ]
  for (const [i, how] of ways.entries()) {
    it(`is nobody else's: ${how}`, async () => {
      const rig = await Rig.start(postgres, ONE)
      await using a = await rig.client()
      await using b = await rig.client()
      const parse = m.parse(`select null = null, ${i}`, { name: 's1' })
      await a.query(`begin; ${how}`)
      assert.equal(await value(a, parse, ...run('s1')), 't')
      await a.query('commit')
      assert.equal(await value(b, parse, ...run('s1')), null)
      // Behind a function the server was reset for B, and the statement is made anew.
      if (!how.startsWith('do')) assert.equal(await value(a, ...run('s1')), 't')
    })
  }

  it('nor is one that was brought into it', async () => {
    const rig = await Rig.start(postgres, ONE)
    await using a = await rig.client()
    await using b = await rig.client()
    const parse = m.parse('select null = null', { name: 's1' })
    assert.equal(await value(a, parse, ...run('s1')), null)
    const [[pid]] = await rig.backends("query not like '%pg_stat_activity%'")
    await postgres.admin('select pg_terminate_backend($1)', [pid])
    await eventually(async () => (await a.query('select 1')).error === null)
    await a.query(`begin; set local ${ON}`)
    await value(a, ...run('s1'))
    await a.query('commit')
    assert.equal(await value(b, parse, ...run('s1')), null)
    assert.equal(await value(a, ...run('s1')), null)
  })
})

describe('a plan made in a transaction that has changed how constants are told', () => {
  const ways: readonly (readonly [how: string, messages: Buffer[]])[] = [
    ['SET LOCAL', [m.query('set local bytea_output = escape')]],
    ['a name that is bound', [m.parse('select set_config($1, $2, true)'), BOUND, m.execute(), m.sync()]],
  ]
  for (const [how, messages] of ways) {
    it(`is nobody else's: ${how}`, async () => {
      const rig = await Rig.start(postgres, ONE)
      await using a = await rig.client()
      await using b = await rig.client()
      const parse = m.parse(`select '\\x41ff'::bytea::text, '${how}'`, { name: 's1' })
      assert.equal((await a.run(parse, m.sync())).error, null)
      await a.query('begin')
      assert.equal((await a.run(...messages)).error, null)
      assert.equal(await value(a, ...run('s1')), 'A\\377')
      await a.query('commit')
      assert.equal(await value(b, parse, ...run('s1')), '\\x41ff')
    })
  }
})

describe('a statement parsed in one batch with SET', () => {
  const set = [
    m.parse("set datestyle = 'ISO, DMY'", { name: 'dmy' }),
    m.bind({ statement: 'dmy' }),
    m.execute(),
  ]
  it('means what it means behind it', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.run(...set, m.parse("select '02/01/2024'::date"), m.sync())
      await rival()
      await client.run(...run(''))
    }))

  it('means what it means in front of it', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.run(m.parse("set datestyle = 'ISO, DMY'", { name: 'dmy' }), m.sync())
      await client.run(
        m.parse("select '02/01/2024'::date"),
        m.bind({ statement: 'dmy' }),
        m.execute(),
        m.sync(),
      )
      await rival()
      await client.run(...run(''))
    }))
})

describe('a statement parsed in a pipeline behind SET', () => {
  for (const name of ['', 's1']) {
    it(`keeps what it means: ${name === '' ? 'without' : 'with'} a name`, () =>
      assertSame(postgres, stages, async (client, rival) => {
        const off = m.parse('set transform_null_equals = off', { name: 'off' })
        await client.run(off, m.sync())
        client.send(m.query(`set ${ON}`), m.parse('select null = null', { name }), m.sync())
        await client.until('Z')
        await client.until('Z')
        await rival()
        await client.run(...run('off'))
        await rival()
        await client.run(...run(name))
        await client.query('select null = null')
      }))
  }
})
