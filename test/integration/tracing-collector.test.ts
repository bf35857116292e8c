// The way of traces to their collector: what it is told of the configuration, and that one which is slow,
// dead or wrong costs traces only. Must never look into the pooler for what became of them.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { count, start } from '../support/tracing.ts'

const postgres = await getPostgres()

describe('the collector', () => {
  it('gets the headers of the configuration, which come out nowhere else', async () => {
    const headers = 'authorization=Bearer%20very-secret-token,x-tenant=one'
    const { rig, collector } = await start(postgres, {}, { headers, sample: 1 })
    const client = await rig.client()
    await client.query('select 1')
    await collector.find(() => true)
    const [request] = collector.requests
    assert.equal(request?.url, '/v1/traces')
    assert.equal(request?.headers.authorization, 'Bearer very-secret-token')
    assert.equal(request?.headers['x-tenant'], 'one')
    assert.equal(request?.headers['content-type'], 'application/x-protobuf')
    assert.doesNotMatch(
      JSON.stringify(collector.spans, (_, value) => String(value)),
      /very-secret/,
    )
  })

  it('that takes nothing costs counted traces, one line of the log, and no client anything', async () => {
    const { rig, collector } = await start(postgres, {}, { sample: 1 })
    collector.status = 400
    const client = await rig.client()
    await client.query('select 1')
    await eventually(async () => assert.ok((await count(rig, 'failed')) >= 1))
    for (let n = 0; n < 3; n++) await client.query('select 2')
    await eventually(async () => assert.equal(await count(rig, 'failed'), 4))
    const said = () => rig.test.lines.filter(({ message }) => message.includes('collector'))
    assert.equal(said().length, 1)
    assert.deepEqual([said()[0]?.level, said()[0]?.fields.collector], ['warn', new URL(collector.url).host])
    collector.status = 200
    await client.query('select 3')
    await eventually(async () => assert.ok((await count(rig, 'exported')) >= 1))
    assert.deepEqual(
      said().map(({ level }) => level),
      ['warn', 'info'],
    )
  })

  it('that never answers fills a queue that has an end', async () => {
    const { rig, collector } = await start(postgres, {}, { sample: 1 })
    collector.status = 0
    const client = await rig.client()
    await client.query('select 0')
    await eventually(() => assert.equal(collector.requests.length, 1))
    const batch = Buffer.concat(Array.from({ length: 200 }, () => m.query('')))
    for (let n = 0; n < 25; n++) {
      client.send(batch)
      for (let answer = 0; answer < 200; answer++) await client.until()
    }
    // 4,096 wait, and what is on its way.
    const dropped = await count(rig, 'dropped')
    assert.ok(dropped >= 5001 - 4096 - 128 && dropped < 1000, String(dropped))
    const began = performance.now()
    await rig.stop()
    assert.ok(performance.now() - began < 8000, 'the end waits for it for a moment only')
  })

  it('hears of no more than 256 of what one client has under way', async () => {
    const { rig } = await start(postgres, {}, { sample: 1 })
    const client = await rig.client()
    await client.query('select 1')
    const rest = Buffer.concat(Array.from({ length: 599 }, () => m.query('')))
    client.send(m.query('select pg_sleep(0.2)'), rest)
    for (let answer = 0; answer < 600; answer++) await client.until()
    await eventually(async () => assert.equal(await count(rig, 'exported'), 257))
    assert.equal(await count(rig, 'dropped'), 600 - 256)
  })

  it('gets what is left at the end', async () => {
    const { rig, collector } = await start(postgres, {}, { sample: 1 })
    const client = await rig.client()
    for (let n = 0; n < 300; n++) await client.query('select 1')
    await client.end()
    await rig.stop()
    assert.equal(
      collector.exchanges().filter(({ attributes }) => attributes['db.query.text'] === 'select ?').length,
      300,
    )
  })
})
