// Traces at the start and over several processes: packages that are missing are told in one sentence, and
// each worker sends its own. Must never need a collector that is well.
import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { describe, it } from 'node:test'
import { TestCrew } from '../support/crew.ts'
import { Collector } from '../support/otlp.ts'
import { startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'

const postgres = await getPostgres()

describe('the packages of OpenTelemetry', () => {
  it('are not loaded where nothing is traced; where they are missed the start says so', async () => {
    const asked: string[] = []
    const hooks = registerHooks({
      resolve: (specifier, context, next) => {
        if (!specifier.startsWith('@opentelemetry/')) return next(specifier, context)
        asked.push(specifier)
        throw Object.assign(new Error(`Cannot find package ${specifier}`), { code: 'ERR_MODULE_NOT_FOUND' })
      },
    })
    try {
      const without = await startPooler(postgres.url)
      await without.stop()
      assert.deepEqual(asked, [])
      const tracing = { endpoint: 'http://127.0.0.1:1', sample: 1, serviceName: 'pgmux', headers: '' }
      await assert.rejects(
        startPooler(postgres.url, { tracing }),
        /^Error: tracing\.endpoint is set, but the packages of OpenTelemetry are not installed: npm install/,
      )
    } finally {
      hooks.deregister()
    }
  })
})

describe('two workers', async () => {
  const collector = await Collector.start()
  const tracing = { endpoint: collector.url, sample: 1, service_name: 'crew' }
  const crew = await TestCrew.start(postgres, { config: { tracing } })

  it('send what they have done themselves', async () => {
    const clients = await crew.clients(4)
    for (const client of clients) await client.query('select 1')
    const found = await collector.find(({ attributes }) => attributes['db.query.text'] === 'select ?', 4)
    assert.deepEqual(
      found.map(({ resource }) => [resource['service.name'], resource['pgmux.worker']]).sort(),
      ['0', '0', '1', '1'].map((worker) => ['crew', worker]),
    )
    await eventually(async () => assert.equal(await crew.metric('pgmux_traces_total{result="exported"}'), 4))
    for (const client of clients) await client.end()
  })
})
