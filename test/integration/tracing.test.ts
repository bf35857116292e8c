// Traces as a collector gets them: one tree for each exchange, joined to the trace that the statement
// names, with the times, errors and places that it had. Must never look into the pooler for what the
// collector is told.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import pg from 'pg'
import * as m from '../support/messages.ts'
import { Collector, type ReceivedExchange } from '../support/otlp.ts'
import type { Overrides } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { SharingRig } from '../support/sharing.ts'
import { isConsistent, ms, start, trace, tracing } from '../support/tracing.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
const { database, user } = postgres
describe('an exchange', async () => {
  const { rig, collector } = await start(postgres, { pool: { size: 1 } })
  const client = await rig.client({ params: { application_name: 'shop' } })

  it('is a tree with its parts, joined to the trace that its statement names', async () => {
    const { id, span, comment } = trace()
    assert.equal((await client.query(`select 42, 'secret value' ${comment}`)).error, null)
    const [exchange] = (await collector.ofTrace(id)) as [ReceivedExchange]
    isConsistent(exchange)
    assert.equal(exchange.parentId, span)
    assert.equal(exchange.kind, 2)
    // Its parent is elsewhere, those of its parts are not.
    assert.equal(exchange.flags, 0x301)
    assert.equal(exchange.isError, false)
    assert.equal(exchange.resource['service.name'], 'tested')
    const { execution } = exchange.parts
    assert.ok(execution !== undefined && execution.kind === 3 && execution.flags === 0x101)
    assert.equal(execution.attributes['server.port'], postgres.port)
    const { attributes } = exchange
    assert.deepEqual(
      { ...attributes, 'pgmux.server.pid': typeof attributes['pgmux.server.pid'] },
      {
        'db.system.name': 'postgresql',
        'db.namespace': database,
        'db.query.text': "select ?, '?'",
        'db.response.returned_rows': 1,
        'server.address': postgres.host,
        'server.port': postgres.port,
        'client.address': '127.0.0.1',
        'pgmux.pool': `${database}/${user}`,
        'pgmux.dispatch': 'leased',
        'pgmux.in_transaction': false,
        'pgmux.application_name': 'shop',
        'pgmux.server.pid': 'number',
      },
    )
  })

  it('that fails says with which SQLSTATE, in either protocol', async () => {
    const [one, two, three] = [trace(), trace(), trace()]
    await client.query(`select 1 / 0 ${one.comment}`)
    await client.extended(`select 1 / $1::int ${two.comment}`, ['0'])
    await client.query(`selec ${three.comment}`)
    for (const [id, code] of [
      [one.id, '22012'],
      [two.id, '22012'],
      [three.id, '42601'],
    ] as const) {
      const [exchange] = (await collector.ofTrace(id)) as [ReceivedExchange]
      isConsistent(exchange)
      assert.equal(exchange.isError, true)
      assert.equal(exchange.attributes['error.type'], code)
      assert.equal(exchange.attributes['db.response.status_code'], code)
    }
  })

  it('that waited for a server, and one that got none, say so', async () => {
    const other = await rig.client()
    await other.query('begin')
    const { id, comment } = trace()
    client.send(m.query(`select 1 ${comment}`))
    await eventually(() => assert.equal(rig.test.pooler.gauges().waiting, 1))
    await other.query('select pg_sleep(0.05)')
    await other.query('commit')
    await client.until()
    const [exchange] = (await collector.ofTrace(id)) as [ReceivedExchange]
    isConsistent(exchange)
    assert.ok(ms(exchange.parts.wait!) >= 45, String(ms(exchange.parts.wait!)))
    await other.query('begin')
    const refused = trace()
    client.send(m.query(`select 2 ${refused.comment}`))
    await eventually(() => assert.equal(rig.test.pooler.gauges().waiting, 1))
    await client.cancel()
    await client.until()
    const [gone] = (await collector.ofTrace(refused.id)) as [ReceivedExchange]
    assert.deepEqual(Object.keys(gone.parts), ['wait'])
    assert.equal(gone.attributes['error.type'], '57014')
    assert.equal(gone.attributes['pgmux.dispatch'], 'none')
    await other.query('commit')
    await other.end()
  })

  it('that needs other settings, or a statement that its server has not, has a replay', async () => {
    const other = await rig.client()
    await client.query("set datestyle = 'German, DMY'")
    await client.query('begin')
    await client.send(m.parse('select now()::date', { name: 's' }), m.sync())
    await client.until()
    await client.query('commit')
    await other.query('select 1')
    const { id, comment } = trace()
    await client.query(`select now()::date ${comment}`)
    const [exchange] = (await collector.ofTrace(id)) as [ReceivedExchange]
    isConsistent(exchange)
    assert.ok(ms(exchange.parts.replay!) > 0)
    await other.end()
  })

  it('in a transaction says so; one of a pipeline has times of its own', async () => {
    const traces = [trace(), trace(), trace()] as const
    const batch = (text: string) => [m.parse(text), m.bind(), m.execute(), m.sync()]
    await client.query('begin')
    client.send(
      ...batch(`select pg_sleep(0.03) ${traces[0].comment}`),
      ...batch('select 1'),
      ...batch(`select pg_sleep(0.03) ${traces[1].comment}`),
      ...batch(`select 2 / 0 ${traces[2].comment}`),
    )
    for (let n = 0; n < 4; n++) await client.until()
    await client.query('rollback')
    const found = []
    for (const { id } of traces) found.push(...(await collector.ofTrace(id)))
    for (const exchange of found) isConsistent(exchange)
    assert.deepEqual(
      found.map(({ attributes }) => [attributes['pgmux.in_transaction'], attributes['error.type'] ?? '']),
      [
        [true, ''],
        [true, ''],
        [true, '22012'],
      ],
    )
    const [first, second] = found as [ReceivedExchange, ReceivedExchange]
    assert.ok(second.end - first.end >= 25_000_000n)
  })

  it('of several statements, one text or one batch, is one', async () => {
    const [text, batch] = [trace(), trace()]
    await client.query(`select 1; select 2 from generate_series(1, 5); ${text.comment} select 3`)
    client.send(
      m.parse('select 1'),
      m.bind(),
      m.execute(),
      m.parse(`select 2 ${batch.comment}`),
      m.bind(),
      m.execute(),
      m.sync(),
    )
    await client.until()
    const [one] = (await collector.ofTrace(text.id)) as [ReceivedExchange]
    assert.equal(one.attributes['db.response.returned_rows'], 7)
    const [two] = (await collector.ofTrace(batch.id)) as [ReceivedExchange]
    isConsistent(two)
    assert.equal(two.attributes['db.response.returned_rows'], 2)
    assert.equal(two.attributes['db.operation.batch.size'], 2)
  })

  it('is not traced where its trace is not, or the traceparent is broken', async () => {
    const not = trace('00')
    const { id, comment } = trace()
    const before = collector.exchanges().length
    await client.query(`select 1 ${not.comment}`)
    await client.query(`select 1 /*traceparent='00-${not.id}-${not.span}'*/`)
    await client.query('select 1')
    await client.query(`select 1 ${comment}`)
    await collector.ofTrace(id)
    assert.equal(collector.exchanges().length, before + 1)
  })
})

describe('exchanges of real drivers and over HTTP', async () => {
  const { rig, collector } = await start(postgres, {
    serverless: { host: '127.0.0.1', port: 0 },
  } as Overrides)
  const { host, port } = rig.test

  it('node-postgres: a simple query, one with parameters, a prepared one', async () => {
    const driver = new pg.Client({ host, port, user, password: postgres.password, database })
    await driver.connect()
    const traces = [trace(), trace(), trace()] as const
    await driver.query(`select 1 ${traces[0].comment}`)
    await driver.query(`select $1::text ${traces[1].comment}`, ['private'])
    const text = `select $1::int + 1 ${traces[2].comment}`
    await driver.query({ name: 'mine', text, values: [1] })
    await driver.query({ name: 'mine', text, values: [2] })
    const [, second] = [await collector.ofTrace(traces[0].id), await collector.ofTrace(traces[1].id)]
    assert.equal(second[0]?.attributes['db.query.text'], 'select $1::text')
    // The text goes with the Parse only: what runs it again names no trace.
    const third = await collector.ofTrace(traces[2].id)
    assert.equal(third.length, 1)
    assert.equal(third[0]?.attributes['db.query.text'], 'select $1::int + ?')
    await driver.end()
    const sent = Buffer.concat(collector.requests.map(({ body }) => body)).toString('latin1')
    assert.doesNotMatch(sent, /private/)
    assert.ok(!sent.includes(postgres.password))
  })

  it('POST /sql: by its header, or by the statement, which counts more', async () => {
    const address = rig.test.pooler.addresses.serverless
    assert.ok(address !== null)
    const login = `${encodeURIComponent(user)}:${encodeURIComponent(postgres.password)}`
    const ask = async (query: string, traceparent: string): Promise<void> => {
      const answer = await fetch(`http://${address.host}:${address.port}/sql`, {
        method: 'POST',
        headers: { 'neon-connection-string': `postgres://${login}@localhost/${database}`, traceparent },
        body: JSON.stringify({ query, params: [] }),
      })
      assert.equal(answer.status, 200, await answer.text())
    }
    const [one, two, three] = [trace(), trace(), trace()]
    await ask('select 1', one.header)
    await ask(`select 2 ${two.comment}`, three.header)
    await ask('select 3', 'nonsense')
    const [exchange] = (await collector.ofTrace(one.id)) as [ReceivedExchange]
    isConsistent(exchange)
    assert.equal(exchange.parentId, one.span)
    await collector.ofTrace(two.id)
    assert.equal(collector.exchanges().filter(({ traceId }) => traceId === three.id).length, 0)
  })
})

describe('shared exchanges', async () => {
  const collector = await Collector.start()
  const sharing = await SharingRig.start(postgres, 2, tracing(collector) as Overrides)

  it('are traced for the client they belong to, errors too', async () => {
    const clients = await sharing.clients(6)
    await sharing.warm((client) => client.query('select 10 / 5 /* */'))
    const before = sharing.shared
    const traces = clients.map(() => [trace(), trace()] as const)
    const texts = (at: number) => [
      `select 10 / 5 ${traces[at]?.[0].comment}`,
      `select 10 / 0 ${traces[at]?.[1].comment}`,
    ]
    for (const which of [0, 1])
      await sharing.together(clients.map((client, at) => () => client.query(texts(at)[which] as string)))
    assert.ok(sharing.shared - before >= 12)
    for (const [good, bad] of traces) {
      const [one] = (await collector.ofTrace(good.id)) as [ReceivedExchange]
      const [two] = (await collector.ofTrace(bad.id)) as [ReceivedExchange]
      for (const exchange of [one, two]) {
        isConsistent(exchange)
        assert.equal(exchange.attributes['pgmux.dispatch'], 'shared')
        assert.ok(exchange.parts.execution !== undefined)
      }
      assert.equal(one.attributes['db.response.returned_rows'], 1)
      assert.equal(two.attributes['error.type'], '22012')
    }
  })
})

describe('the share that is drawn', () => {
  it('is that of the exchanges without a trace; 1: all, 0: none; a reload changes it', async () => {
    const { rig, collector } = await start(postgres, {}, { sample: 1 })
    const client = await rig.client()
    for (let n = 0; n < 5; n++) await client.query(`select ${n}`)
    const found = await collector.find(({ attributes }) => attributes['db.query.text'] === 'select ?', 5)
    assert.equal(new Set(found.map(({ traceId }) => traceId)).size, 5)
    assert.deepEqual(
      found.map(({ parentId }) => parentId),
      ['', '', '', '', ''],
    )
    const { pooler } = rig.test
    const { config } = pooler
    const report = pooler.reload({
      ...config,
      tracing: { ...config.tracing, sample: 0, serviceName: 'other' },
    })
    assert.deepEqual([report.changed, report.needsRestart], [['tracing.sample'], ['tracing.service_name']])
    collector.forget()
    await client.query('select 1, 2')
    const { id, comment } = trace()
    await client.query(`select 1 ${comment}`)
    await collector.ofTrace(id)
    assert.equal(collector.exchanges().length, 1)
  })

  it('counts sessions of their own, too: session mode and COPY', async () => {
    const { rig, collector } = await start(postgres, { pool: { mode: 'session' } })
    const client = await rig.client()
    const [one, two, three] = [trace(), trace(), trace()]
    await client.extended(`select $1::int ${one.comment}`, ['1'])
    await client.query('create temp table t (n int)')
    client.send(m.query(`copy t from stdin ${two.comment}`))
    await client.until('G')
    // In a COPY a Sync is nothing; the exchanges behind it must not be taken for others.
    client.send(m.sync(), m.copyData('1\n2\n'), m.copyDone())
    await client.until()
    await client.query(`select * from t ${three.comment}`)
    for (const [{ id }, rows] of [
      [one, 1],
      [two, 2],
      [three, 2],
    ] as const) {
      const [exchange] = (await collector.ofTrace(id)) as [ReceivedExchange]
      isConsistent(exchange)
      assert.equal(exchange.attributes['db.response.returned_rows'], rows)
    }
  })
})

describe('an exchange without an end of its own', async () => {
  const { rig, collector } = await start(postgres, { pool: { size: 2 } })

  it('is told when its server or its client has gone, or it was cancelled', async () => {
    const [lost, gone, cancelled, unfinished] = [trace(), trace(), trace(), trace()]
    const victim = await rig.client()
    victim.send(m.query(`select pg_sleep(20) ${lost.comment}`))
    await asleep(postgres)
    await postgres.admin(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep(20)%'",
    )
    await victim.until()
    const leaver = await rig.client()
    leaver.send(m.query(`select pg_sleep(20) ${gone.comment}`))
    await asleep(postgres)
    leaver.destroy()
    await rig.quiet()
    const patient = await rig.client()
    patient.send(m.query(`select pg_sleep(20) ${cancelled.comment}`))
    await asleep(postgres)
    await patient.cancel()
    await patient.until()
    // A batch whose Sync never comes.
    patient.send(m.parse(`select 1 ${unfinished.comment}`), m.bind(), m.flush())
    await patient.until('2')
    patient.destroy()
    for (const [{ id }, broken, code] of [
      [lost, 'server_lost', '57P01'],
      [gone, 'client_gone', 'client_gone'],
      [cancelled, undefined, '57014'],
      [unfinished, 'client_gone', 'client_gone'],
    ] as const) {
      const [exchange, more] = await collector.ofTrace(id)
      assert.ok(exchange !== undefined && more === undefined)
      isConsistent(exchange)
      assert.equal(exchange.attributes['pgmux.broken'], broken)
      assert.equal(exchange.attributes['error.type'], code)
    }
  })
})
