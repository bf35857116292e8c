// PAUSE and RESUME, by signal or console: no server is given out, nobody loses anything.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'

const postgres = await getPostgres()
await postgres.admin('create table marks (mark text)')

const servers = async (rig: Rig): Promise<number> => (await rig.backends()).length

describe('pause', () => {
  it('closes free servers, lets transactions end, makes clients wait until resume', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2 } })
    const { pooler } = rig.test
    await using inside = await rig.client()
    await using waiting = await rig.client()
    await Promise.all([inside, waiting].map((client) => client.query('select pg_sleep(0.1)')))
    await inside.query("begin; insert into marks values ('paused')")
    pooler.pause()
    await eventually(async () => (await servers(rig)) === 1)
    waiting.send(m.query('select 5'))
    await eventually(() => pooler.gauges().waiting === 1)
    await using late = await rig.client()
    assert.equal((await inside.query('commit')).error, null)
    await eventually(async () => (await servers(rig)) === 0)
    assert.equal(pooler.gauges().waiting, 1)
    pooler.resume()
    await waiting.until('Z')
    for (const client of [inside, waiting, late]) assert.equal((await client.query('select 1')).error, null)
    await rig.stop()
  })

  it('a drain during a pause does not wait for what cannot come', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    const waiting = await rig.client()
    rig.test.pooler.pause()
    waiting.send(m.query('select 5'))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    const drained = rig.test.pooler.drain(60_000)
    const [error] = await waiting.untilClosed()
    assert.equal(error?.type === 'E' && error.code, '57P01')
    await drained
  })
})
