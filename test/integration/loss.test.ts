// A server connection that is lost, at every moment: the client is told once and in the right words, keeps
// its connection where nothing of its session is lost with the server, and nobody else notices (RULES 25).
import assert from 'node:assert/strict'
import { after, afterEach, describe, it } from 'node:test'
import { Gate } from '../support/gate.ts'
import * as m from '../support/messages.ts'
import type { BackendMessage } from '../support/messages.ts'
import { CHOPS } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { eventually, Rig } from '../support/rig.ts'
import { transcript } from '../support/transcript.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const gate = await Gate.open(postgres)
after(() => gate.close())
const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 1 } }, gate.url(postgres.url))
await rig.see('create table marks (mark text)')

afterEach(() => {
  gate.hooks = {}
})

const insert = (mark: string) => `insert into marks values ('${mark}')`
const terminate = (pid: number) => rig.see(`select pg_terminate_backend(${pid}, 5000)`)
/** What must come of a client that goes on: one error of severity ERROR, and it works. */
async function assertKept(client: WireClient, code: string): Promise<void> {
  const { error, status, messages } = result(await client.until('Z'))
  // Bytes that are still on their way to a Postgres that has gone destroy what it has said.
  assert.ok(error?.code === code || (CHOPS && error?.code === '08006'), error?.code)
  assert.equal(error?.severity, 'ERROR')
  assert.equal(error?.fields.V, 'ERROR')
  assert.equal(messages.filter(({ type }) => type === 'E').length, 1)
  assert.equal(status, 'I')
  assert.deepEqual((await client.query('select 7')).rows, [['7']])
}

/** And of one that ends: one FATAL, last of all. */
async function assertClosed(client: WireClient, code: string): Promise<BackendMessage[]> {
  const messages = await client.untilClosed()
  const errors = messages.filter((message) => message.type === 'E')
  assert.deepEqual(
    errors.map(({ severity, code }) => [severity, code]),
    [['FATAL', code]],
    transcript(messages),
  )
  assert.equal(messages.at(-1)?.type, 'E')
  await rig.healthy()
  return messages
}

describe('a server that is terminated', () => {
  it('idle in the pool: nobody notices', async () => {
    for (let round = 0; round < 5; round++) {
      const pid = await rig.healthy()
      await terminate(pid)
      assert.notEqual(await rig.healthy(), pid)
    }
    await using client = await rig.client()
    const pid = await rig.pidOf(client)
    await terminate(pid)
    assert.notEqual(await rig.pidOf(client), pid, 'nor one that is connected')
  })

  const running: Record<string, Buffer[]> = {
    'a simple query': [m.query('select pg_sleep(60)')],
    'a batch': [m.parse('select pg_sleep(60)'), m.bind(), m.execute(), m.sync()],
    'a COPY out': [m.query('copy (select pg_sleep(60)) to stdout')],
  }
  for (const [name, request] of Object.entries(running)) {
    it(`running ${name} outside a transaction: the server's error, and the client stays`, async () => {
      await using client = await rig.client()
      client.send(...request)
      await terminate(await rig.running('%pg_sleep(60)%'))
      await assertKept(client, '57P01')
    })
  }

  it("inside a transaction: the server's own FATAL once", async () => {
    for (const prepare of ['begin', `begin; ${insert('lost')}; savepoint s`, 'begin; select 1/0']) {
      const client = await rig.client()
      const before = await client.query(prepare)
      const [pid] = (await rig.backends("state like 'idle in transaction%'"))[0] ?? []
      await terminate(Number(pid))
      const messages = await assertClosed(client, '57P01')
      assert.equal(messages.length, 1)
      assert.ok(before.status === 'T' || before.status === 'E')
    }
    assert.equal(await rig.value("select count(*) from marks where mark = 'lost'"), '0')
  })

  it('running inside a transaction', async () => {
    const client = await rig.client()
    await client.query('begin')
    client.send(m.query('select pg_sleep(60)'))
    await terminate(await rig.running('%pg_sleep(60)%'))
    await assertClosed(client, '57P01')
  })

  it('with a pipeline in flight: each exchange is answered', async () => {
    await using client = await rig.client()
    const batch = [m.parse(insert('piped')), m.bind(), m.execute(), m.sync()]
    client.send(
      m.query('do $$ begin perform pg_sleep(60); end $$'),
      m.query(insert('piped')),
      ...batch,
      m.sync(),
    )
    await terminate(await rig.running('%pg_sleep(60)%'))
    const messages = [
      ...(await client.until('Z')),
      ...(await client.until('Z')),
      ...(await client.until('Z')),
      ...(await client.until('Z')),
    ]
    const read = CHOPS ? transcript(messages).replaceAll('08006', '57P01') : transcript(messages)
    assert.equal(read, Array(4).fill('E(57P01) Z(I)').join(' '))
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
    assert.equal(await rig.value("select count(*) from marks where mark = 'piped'"), '0')
  })

  it('right behind its answer, in the same bytes: the answer is passed on', async () => {
    await using client = await rig.client()
    const pid = await rig.pidOf(client)
    const answers: Buffer[] = []
    gate.hooks.onAnswer = (chunk, link) => {
      answers.push(chunk)
      const all = Buffer.concat(answers)
      if (all.includes('terminating')) link.near.write(all)
      return null
    }
    client.send(m.query('select 5'))
    await eventually(() => answers.length > 0)
    await terminate(pid)
    assert.deepEqual(result(await client.until('Z')).rows, [['5']])
    gate.hooks = {}
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
  })

  it('with half a batch open: one error, and ReadyForQuery when its Sync comes', async () => {
    await using client = await rig.client()
    client.send(m.parse('select 1'), m.bind(), m.execute(), m.flush())
    await client.until('C')
    await terminate(Number((await rig.backends())[0]?.[0]))
    assert.equal((await client.next()).type, 'E')
    client.send(m.parse('select 2'), m.bind(), m.execute())
    client.send(m.sync())
    assert.equal(transcript(await client.until('Z')), 'Z(I)')
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
  })

  it('with a failed batch open: no second error', async () => {
    await using client = await rig.client()
    client.send(m.parse('select nonsense'), m.flush())
    assert.equal((await client.next()).type, 'E')
    await terminate(Number((await rig.backends())[0]?.[0]))
    client.send(m.sync())
    assert.equal(transcript(await client.until('Z')), 'Z(I)')
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
  })

  it('in the middle of a message of the client', async () => {
    await using client = await rig.client()
    const text = m.query(`select length('${'x'.repeat(400_000)}')`)
    client.send(text.subarray(0, 100_000))
    await rig.client().then((other) => other.end())
    const [pid] = (await rig.backends())[0] ?? []
    await terminate(Number(pid))
    await eventually(() => client.received.some(({ type }) => type === 'E'))
    client.send(text.subarray(100_000))
    await assertKept(client, '57P01')
  })

  it('in a COPY in: what still comes for it is dropped', async () => {
    await using client = await rig.client()
    client.send(m.query('copy marks from stdin'))
    await client.until('G')
    client.send(m.copyData('copied\n'))
    await terminate(await rig.running('copy marks%'))
    client.send(m.copyData('copied\n'), m.copyDone())
    await assertKept(client, '57P01')
    assert.equal(await rig.value("select count(*) from marks where mark = 'copied'"), '0')
  })

  it('with session state on it: the client ends with it', async () => {
    const client = await rig.client()
    await client.query('select pg_advisory_lock(7)')
    await terminate(Number((await rig.backends())[0]?.[0]))
    await assertClosed(client, '57P01')
  })

  it('in session mode: the client ends with it', async () => {
    const session = await Rig.start(postgres, { pool: { mode: 'session', size: 2 } })
    const client = await session.client()
    await terminate(await session.pidOf(client))
    await assertClosed(client, '57P01')
    await session.healthy()
  })

  it('while others wait: they do not notice', async () => {
    const holder = await rig.client()
    await holder.query('begin')
    await using waiter = await rig.client()
    waiter.send(m.query('select 5'))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    await terminate(Number((await rig.backends("state = 'idle in transaction'"))[0]?.[0]))
    await assertClosed(holder, '57P01')
    assert.deepEqual(result(await waiter.until('Z')).rows, [['5']])
  })
})

describe('a server connection that breaks without a word', () => {
  const cutAll = () => {
    for (const link of gate.sessions) link.cut()
  }

  it('outside a transaction: 08006, the outcome unknown, and the client stays', async () => {
    await using client = await rig.client()
    client.send(m.query('select pg_sleep(1)'))
    await rig.running('%pg_sleep(1)%')
    cutAll()
    const { error, status } = result(await client.until('Z'))
    assert.equal(error?.code, '08006')
    assert.equal(error?.severity, 'ERROR')
    assert.match(error?.fields.D ?? '', /not known/)
    assert.equal(status, 'I')
    assert.deepEqual((await client.query('select 7')).rows, [['7']])
  })

  it('inside a transaction: 08006, FATAL', async () => {
    const client = await rig.client()
    await client.query('begin')
    cutAll()
    await assertClosed(client, '08006')
  })

  const commits: Record<string, { inside?: string; request: Buffer[] }> = {
    COMMIT: { request: [m.query('commit')] },
    'END in a comment': { request: [m.query('/* x */ END')] },
    'an INSERT and COMMIT in one Query': { request: [m.query(`${insert('commit')}; commit`)] },
    'COMMIT in a batch': { request: [m.parse('commit'), m.bind(), m.execute(), m.sync()] },
    'COMMIT as a named statement': { request: [m.bind({ statement: 'c' }), m.execute(), m.sync()] },
    'a pipeline with COMMIT at its end': {
      request: [m.query(insert('commit')), m.query('select 1'), m.query('commit')],
    },
    'a pipeline of batches with COMMIT at its end': {
      request: ['select 1', 'commit'].flatMap((sql) => [m.parse(sql), m.bind(), m.execute(), m.sync()]),
    },
    'COMMIT behind an answered exchange': {
      request: [m.query('select 1'), m.query('select pg_sleep(0.1)'), m.query('commit')],
    },
  }
  for (const [name, { request }] of Object.entries(commits)) {
    it(`under way with ${name}: 08007`, async () => {
      const client = await rig.client()
      await client.run(m.parse('commit', { name: 'c' }), m.sync())
      await client.query(`begin; ${insert('commit')}`)
      const isSlow = name === 'COMMIT behind an answered exchange'
      // The answers are lost, the work is not: only a pipeline's first answer comes through.
      let passed = 0
      gate.hooks.onAnswer = (chunk) => (isSlow && passed++ === 0 ? chunk : null)
      const before = Number(await rig.value("select count(*) from marks where mark = 'commit'"))
      client.send(...request)
      await eventually(
        async () => Number(await rig.value("select count(*) from marks where mark = 'commit'")) > before,
      )
      cutAll()
      gate.hooks = {}
      const messages = await client.untilClosed()
      const [error] = messages.filter((message) => message.type === 'E')
      assert.equal(error?.code, '08007')
      assert.equal(error?.severity, 'FATAL')
      assert.match(error?.fields.D ?? '', /not known/)
      await rig.healthy()
    })
  }

  it('after an acknowledged COMMIT there is nothing unknown', async () => {
    const client = await rig.client()
    await client.query('begin')
    await client.query('commit')
    await client.query('begin')
    cutAll()
    await assertClosed(client, '08006')
  })

  it('in the middle of a row: the client is closed, and gets no other byte', async () => {
    const client = await rig.client()
    let passed = 0
    gate.hooks.onAnswer = (chunk) => {
      const part = chunk.subarray(0, Math.max(0, 300_000 - passed))
      passed += chunk.length
      return part.length === 0 ? null : part
    }
    const before = client.bytesReceived
    client.send(m.query("select repeat('x', 1000000)"))
    await eventually(() => client.bytesReceived - before >= 300_000)
    cutAll()
    gate.hooks = {}
    await client.closed
    assert.equal(client.bytesReceived - before, 300_000)
    await rig.healthy()
  })

  it('between two pieces of a row that is not begun for the client: an error as always', async () => {
    await using client = await rig.client()
    await rig.pidOf(client)
    // The row's message is cut inside its header: nothing of it has been passed on.
    gate.hooks.onAnswer = (chunk) => chunk.subarray(0, chunk.length - 8)
    client.send(m.query('select 1'))
    await eventually(() => client.received.at(-1)?.type === 'C' || client.received.at(-1)?.type === 'D')
    cutAll()
    gate.hooks = {}
    await assertKept(client, '08006')
  })

  it('while it is brought to the settings of a client', async () => {
    await using plain = await rig.client()
    await using other = await rig.client({ params: { application_name: 'another' } })
    await plain.query('select 1')
    let isCut = false
    gate.hooks.onRequest = (_chunk, link) => {
      if (!isCut) link.cut()
      isCut = true
      return null
    }
    other.send(m.query('show application_name'))
    await eventually(() => isCut)
    gate.hooks = {}
    await assertKept(other, '08006')
    assert.deepEqual((await other.query('show application_name')).rows, [['another']])
  })
})

describe('a Postgres that crashes', () => {
  it('every client is told, and service comes back without a cached error', async (t) => {
    if (postgres.control === null) {
      notRun(t, postgres.missing)
      return
    }
    const crashed = await Rig.start(postgres, { pool: { mode: 'transaction', size: 2 } })
    const inside = await crashed.client()
    await inside.query('begin')
    await using outside = await crashed.client()
    outside.send(m.query('select pg_sleep(60)'))
    process.kill(await crashed.running('%pg_sleep(60)%'), 'SIGKILL')
    const { error, status } = result(await outside.until('Z'))
    assert.equal(error?.severity, 'ERROR')
    assert.match(error?.code ?? '', /^(08006|57P02)$/)
    assert.equal(status, 'I')
    const messages = await inside.untilClosed()
    const [last, ...others] = messages.filter((message) => message.type === 'E')
    assert.deepEqual(others, [])
    assert.equal(last?.severity, 'FATAL')
    assert.match(last?.code ?? '', /^(08006|57P02)$/)
    // It waits while Postgres recovers, and is served.
    assert.deepEqual((await outside.query('select 7')).rows, [['7']])
  })
})
