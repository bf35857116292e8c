// What a client does to others, or to the pooler, on purpose: each test is an attack that once worked. Must never
// measure time: what is too slow here does not end.
import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Rig } from '../support/rig.ts'

const FLOOD = 100_000

const postgres = await getPostgres()
const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } })

suite('attacks', () => {
  afterEach(async () => {
    await rig.quiet()
    assert.deepEqual(
      rig.test.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })

  test('a flood of Close in one batch does not stop the others', async () => {
    await using attacker = await rig.client()
    const flood = Array.from({ length: FLOOD }, (_, at) => m.close('S', `s${at}`))
    const { messages } = await attacker.run(Buffer.concat(flood), m.sync())
    assert.equal(messages.filter(({ type }) => type === '3').length, FLOOD)
  })

  test('nor does a flood of names that are given and taken back in one batch', async () => {
    await using attacker = await rig.client()
    const names = Array.from({ length: 40_000 }, (_, at) => `n${at}`)
    // One text under many names is one statement on the server, so each Parse costs the attacker little.
    const parses = names.map((name) => m.parse('select 1', { name }))
    const closes = names.map((name) => m.close('S', name))
    const { error, messages } = await attacker.run(Buffer.concat([...parses, ...closes]), m.sync())
    assert.equal(error, null)
    assert.equal(messages.filter(({ type }) => type === '3').length, names.length)
  })
})
