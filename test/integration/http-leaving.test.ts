// Requests whose client goes, whose time is over, for which there is no server, whose answer nobody reads,
// and that are under way when the pooler stops. In each the server is well and somebody else's before
// long.
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { after, describe, it } from 'node:test'
import { type Overrides, startPooler } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { AS_DRIVERS, Asker, ON, readAnswer, urlFor } from '../support/sql-over-http.ts'
import { Prng } from '../support/prng.ts'
import { asleep } from '../support/waits.ts'

const postgres = await getPostgres()
await postgres.admin('create table marks (mark text)')
const start = async (overrides: Overrides = {}) => {
  const pooler = await startPooler(postgres.url, { ...overrides, pool: { size: 1, ...overrides.pool } })
  after(() => pooler.stop())
  return { pooler, ask: new Asker(pooler, urlFor(postgres)) }
}
const one = await start({ serverless: ON })
const { ask } = one
const HEAD = `POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nNeon-Connection-String: ${ask.url}\r\n`
const nobody = () => {
  const { clients, waiting } = one.pooler.pooler.gauges()
  return clients.active + clients.idle + clients.waiting + waiting === 0
}
const running = async (text: string) =>
  (
    await postgres.admin('select 1 from pg_stat_activity where state = $1 and query like $2', [
      'active',
      `${text}%`,
    ])
  ).length

const body = (query: string) => JSON.stringify({ query, params: [] })
/** Sent, and its end not waited for. */
const send = (asker: Asker, query: string) => {
  const sent = asker.open(body(query), AS_DRIVERS)
  sent.on('error', () => {})
  return sent
}

describe('a client that goes', () => {
  it('before it has sent its whole body: nothing has run', async () => {
    const socket = await ask.socket()
    socket.write(`${HEAD}Content-Length: 100\r\n\r\n{"query":`)
    await eventually(() => one.pooler.pooler.house.clients.size === 0)
    socket.destroy()
    assert.equal(await ask.value('select 1'), '1')
    await eventually(nobody)
  })

  it('while its statement runs: that is cancelled, and the server kept', async () => {
    const pid = await ask.value('select pg_backend_pid()')
    const sent = send(ask, 'select pg_sleep(60)')
    await asleep(postgres)
    sent.destroy()
    await eventually(async () => (await running('select pg_sleep')) === 0)
    assert.equal(await ask.value('select pg_backend_pid()'), pid)
    await eventually(nobody)
  })

  it('while it waits for a server: its statement never runs', async () => {
    const first = send(ask, 'select pg_sleep(60)')
    await asleep(postgres)
    const second = send(ask, "insert into marks values ('waited')")
    await eventually(() => one.pooler.pooler.gauges().waiting === 1)
    second.destroy()
    await eventually(() => one.pooler.pooler.gauges().waiting === 0)
    first.destroy()
    assert.deepEqual(await ask.rows("select * from marks where mark = 'waited'"), [])
    await eventually(nobody)
  })

  it('in the midst of a batch: none of it is done', async () => {
    const queries = [{ query: "insert into marks values ('half')" }, { query: 'select pg_sleep(60)' }]
    const sent = ask.open(JSON.stringify({ queries }))
    sent.on('error', () => {})
    await asleep(postgres)
    sent.destroy()
    assert.deepEqual(await ask.rows("select * from marks where mark = 'half'"), [])
    await eventually(nobody)
  })

  it('in the midst of a long answer: the statement ends', async () => {
    const response = await ask.unread(body("select repeat('x', 10000) from generate_series(1, 200000)"))
    assert.equal(response.statusCode, 200)
    response.destroy()
    await eventually(async () => (await running('select repeat')) === 0)
    assert.equal(await ask.value('select 1'), '1')
    await eventually(nobody)
  })
})

describe('time', () => {
  it('serverless.query_timeout ends a statement with 57014, and the server is kept', async () => {
    const limited = await start({ serverless: { ...ON, queryTimeoutMs: 300 } })
    const pid = await limited.ask.value('select pg_backend_pid()')
    const { status, body: answer } = await limited.ask.sql('select pg_sleep(60)')
    assert.deepEqual([status, answer.code], [400, '57014'])
    assert.match(answer.message, /serverless\.query_timeout/)
    assert.equal(await limited.ask.value('select pg_backend_pid()'), pid)
    const batch = await limited.ask.batch(["insert into marks values ('late')", 'select pg_sleep(60)'])
    assert.deepEqual([batch.status, batch.body.code], [400, '57014'])
    assert.deepEqual(await limited.ask.rows("select * from marks where mark = 'late'"), [])
  })

  it('pool.query_wait_timeout is 503 with Retry-After', async () => {
    const full = await start({ serverless: ON, pool: { queryWaitTimeoutMs: 1000 } })
    const first = send(full.ask, 'select pg_sleep(60)')
    await asleep(postgres)
    const { status, headers, body: answer } = await full.ask.sql('select 1')
    assert.deepEqual([status, answer.code, answer.message], [503, '53300', 'query_wait_timeout'])
    assert.equal(headers['retry-after'], '1')
    first.destroy()
    assert.equal(await full.ask.value('select 1'), '1')
  })
})

describe('a pooler that cannot', () => {
  it('reach Postgres says 503 with Retry-After', async () => {
    const pooler = await startPooler('postgres://x@127.0.0.1:1/x', {
      serverless: ON,
      pool: { queryWaitTimeoutMs: 300 },
    })
    after(() => pooler.stop())
    const { status, headers, body: answer } = await new Asker(pooler, 'postgres://x@h/x').sql('select 1')
    assert.equal(status, 503)
    assert.equal(headers['retry-after'], '1')
    assert.equal(typeof answer.message, 'string')
  })

  it('take anybody, memory being short, says 503 with Retry-After, until there is some', async () => {
    const { pooler, ask: asker } = await start({ serverless: ON, client: { memoryLimit: 1024 ** 4 } })
    const limitTo = (memoryLimit: number) => {
      const { config } = pooler.pooler
      pooler.pooler.reload({ ...config, client: { ...config.client, memoryLimit } })
    }
    limitTo(1024 * 1024)
    await eventually(() => !pooler.pooler.ready().ok)
    const { status, headers, body: answer } = await asker.sql('select 1')
    assert.deepEqual([status, answer.code, headers['retry-after']], [503, '53200', '1'])
    limitTo(1024 ** 4)
    await eventually(() => pooler.pooler.ready().ok)
    assert.equal(await asker.value('select 1'), '1')
  })

  it('find the database says so with 400', async () => {
    const missing = new Asker(one.pooler, urlFor(postgres).replace(/\/[^/]*$/, '/missing'))
    const { status, body: answer } = await missing.sql('select 1')
    assert.deepEqual([status, answer.code], [400, '3D000'])
  })
})

describe('a server that dies', () => {
  it('with a statement on it: an error, and the next request has another', async () => {
    const sent = ask.sql('select pg_sleep(60)')
    await asleep(postgres)
    await postgres.admin(
      "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'",
    )
    const { status, body: answer } = await sent
    assert.deepEqual([status, answer.code], [400, '57P01'])
    assert.equal(await ask.value('select 1'), '1')
  })

  it('by its own request', async () => {
    const { status, body: answer } = await ask.sql('select pg_terminate_backend(pg_backend_pid())')
    assert.equal(status, 400)
    assert.equal(answer.code, '57P01')
    assert.equal(await ask.value('select 1'), '1')
  })
})

describe('a reader that stops', () => {
  it('inside a long answer is cut off after client.write_timeout, and its server freed', async () => {
    const slow = await start({ serverless: { ...ON, maxResponse: 0 }, client: { writeTimeoutMs: 500 } })
    const long = body("select repeat('x', 10000) from generate_series(1, 20000)")
    const response = await slow.ask.unread(long)
    response.pause()
    assert.equal(await slow.ask.value('select 1'), '1')
    await assert.rejects(readAnswer(response))
  })

  it('does not hold the server where the answer is short', async () => {
    const response = await ask.unread(body("select repeat('x', 500000)"))
    response.pause()
    assert.equal(await ask.value('select 1'), '1')
    await eventually(nobody)
    assert.equal((await readAnswer(response)).bytes.length > 500_000, true)
  })

  it('an answer over serverless.max_response ends the connection once it is on its way', async () => {
    const small = await start({ serverless: { ...ON, maxResponse: 3_000_000, streamFrom: 100_000 } })
    const response = await small.ask.unread(body("select repeat('x', 10000) from generate_series(1, 20000)"))
    assert.equal(response.statusCode, 200)
    await assert.rejects(readAnswer(response))
    await eventually(async () => (await running('select repeat')) === 0)
    assert.equal(await small.ask.value('select 1'), '1')
  })

  it('an error in the midst of an answer that is on its way ends the connection', async () => {
    const failing = "select repeat('x', 10000), 1 / (15000 - n) from generate_series(1, 20000) n"
    const response = await ask.unread(body(failing))
    assert.equal(response.statusCode, 200)
    await assert.rejects(readAnswer(response))
    assert.equal(await ask.value('select 1'), '1')
  })
})

describe('connections', () => {
  it('are used again, and a body may be announced', async () => {
    const head = `${HEAD}Neon-Array-Mode: true\r\n`
    const query = '{"query":"select 1"}'
    const first = `${head}Expect: 100-continue\r\nContent-Length: ${query.length}\r\n\r\n${query}`
    const last = `${head}Connection: close\r\nContent-Length: ${query.length}\r\n\r\n${query}`
    const text = await ask.raw(first + last)
    assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 100', 'HTTP/1.1 200', 'HTTP/1.1 200'])
    assert.equal(text.match(/"rows":\[\[1\]\]/g)?.length, 2)
  })

  it('a hundred requests at once share one server', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => ask.value('select $1::int', [`${n}`])),
    )
    assert.deepEqual(
      answers,
      answers.map((_, n) => `${n}`),
    )
  })

  it('and a crowd whose members vanish: every answer is of its own request, and nobody stays', async () => {
    const crowd = await start({ serverless: ON, pool: { size: 3 } })
    const prng = new Prng(7)
    let answers = 0
    const member = async (n: number): Promise<void> => {
      const query = `select set_config('app.who', '${n}', false), $1::int, pg_sleep(${prng.next() / 200})`
      const sent = crowd.ask.open(JSON.stringify({ query, params: [n] }), AS_DRIVERS)
      const answered = new Promise<IncomingMessage | null>((resolve) => {
        sent.on('response', resolve)
        sent.on('error', () => resolve(null))
      })
      let hasGone = false
      const go = () => {
        hasGone = true
        sent.destroy()
      }
      if (prng.next() < 0.3) setTimeout(go, prng.next() * 20)
      const response = await answered
      const found = response === null ? null : await readAnswer(response).catch(() => null)
      if (hasGone) return
      assert.deepEqual(found?.body.rows, [[`${n}`, `${n}`, '']])
      answers++
    }
    await Promise.all(Array.from({ length: 600 }, (_, n) => member(n)))
    assert.ok(answers > 300, `${answers} answers`)
    const { house } = crowd.pooler.pooler
    await eventually(() => house.clients.size === 0)
    await eventually(() => crowd.pooler.pooler.gauges().servers.active === 0)
    for (let round = 0; round < 6; round++)
      assert.equal(await crowd.ask.value("select coalesce(current_setting('app.who', true), '')"), '')
  })

  it('with a request under way are told, when the pooler stops, that it is the last', async () => {
    const stopping = await start({ serverless: ON })
    const sent = stopping.ask.sql("select 'done' from pg_sleep(0.5)")
    await asleep(postgres)
    const stopped = stopping.pooler.pooler.drain(10_000)
    const { status, headers, body: answer } = await sent
    assert.deepEqual([status, answer.rows, headers.connection], [200, [['done']], 'close'])
    await stopped
  })
})
