// Several clients' reads in flight on one server: each gets its own answer, errors and cancels reach only
// whom they are for, and nobody waits for a slow head.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { records } from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { SharingRig, onlyValue } from '../support/sharing.ts'
import type { Result, WireClient } from '../support/wire-client.ts'

const CROWD = 64
const postgres = await getPostgres()
await postgres.admin('create table numbers (id int primary key, text text)')
await postgres.admin("insert into numbers select n, 'text ' || n from generate_series(0, 999) n")

const crowded = await SharingRig.start(postgres)

/** How a client asks for a number. */
const WAYS: Record<string, (client: WireClient, number: number) => Promise<Result>> = {
  simple: (client, number) => client.query(`select ${number} as number`),
  table: (client, number) => client.query(`select id from numbers where id = ${number}`),
  unnamed: (client, number) => client.extended('select $1::int as number', [`${number}`]),
  named: (client, number) =>
    client.run(m.bind({ statement: 'own', params: [`${number}`] }), m.describe('P'), m.execute(), m.sync()),
}

const prepareOwn = (client: WireClient) =>
  client.run(m.parse('select id from numbers where id = $1', { name: 'own' }), m.sync())

/** Frees servers until a lane is given up for its slow head: who stands behind is answered all the same. */
async function answeredBehind(sharing: SharingRig, others: Promise<Result>[], more: number): Promise<void> {
  const from = performance.now()
  await sharing.free(1)
  await eventually(() => sharing.lanesShut('slow') === 1)
  await sharing.free(more)
  const results = await Promise.all(others)
  const took = performance.now() - from
  assert.deepEqual(
    results.map(onlyValue),
    results.map((_, at) => `${at}`),
  )
  assert.ok(took < 1000, `${took} ms`)
}

suite('shared servers', () => {
  test('SHOW STATEMENTS and the metrics tell what shared, and why others did not', async () => {
    const sharing = await SharingRig.start(postgres, 2, { admin: { statsUsers: [postgres.user] } })
    const reads = (client: WireClient) => client.query("select id, 'secret' from numbers where id = 77")
    const waits = (client: WireClient) => client.query('select pg_sleep(0.001) as told')
    await sharing.warm(reads)
    const clients = await sharing.clients(20)
    await sharing.together(clients.map((client) => () => reads(client)))
    await sharing.together(clients.map((client) => () => waits(client)))
    await sharing.together(clients.map((client) => () => waits(client)))
    assert.ok(sharing.shared > 0)
    await using operator = await sharing.client({ database: 'pgmux' })
    const rows = records(await operator.query('SHOW STATEMENTS'))
    const shown = (text: string) => rows.find(({ statement }) => statement === text)
    const read = shown("select id, '?' from numbers where id = ?")
    assert.ok(Number(read?.avg_time) > 0 && Number(read?.shared) > 0, JSON.stringify(rows))
    assert.ok(Number(read?.calls) >= 21)
    assert.deepEqual([read?.rows, read?.errors, read?.not_shared], [read?.calls, '0', ''])
    const slept = shown('select pg_sleep(?.?) as told')
    assert.deepEqual([slept?.calls, slept?.not_shared], ['40', 'it does more than read'])
    const metrics = await sharing.rig.test.pooler.metrics()
    assert.match(metrics, new RegExp(`^pgmux_shared_exchanges_total ${sharing.shared}$`, 'm'))
    await sharing.quiet()
  })

  for (const [name, ask] of Object.entries(WAYS)) {
    test(`${CROWD} clients, ${name}: each gets its own answer`, async () => {
      await crowded.warm((client) => ask(client, 1), prepareOwn)
      const clients = await crowded.clients(CROWD)
      for (const client of clients) await prepareOwn(client)
      const before = crowded.shared
      for (let round = 0; round < 3; round++) {
        const works = clients.map((client, at) => async () => {
          for (let more = 0; more < 3; more++) {
            const number = (at + 7 * round + 64 * more) % 1000
            assert.equal(onlyValue(await ask(client, number)), `${number}`)
          }
        })
        await crowded.together(works)
      }
      assert.ok(crowded.shared - before > CROWD * 3, `${crowded.shared - before} shared`)
      for (const client of clients) await client.end()
      await crowded.quiet()
    })
  }

  test('all ways at once', async () => {
    const sharing = crowded
    const ways = Object.values(WAYS)
    const clients = await sharing.clients(CROWD)
    for (const client of clients) await prepareOwn(client)
    const round = () =>
      sharing.together(
        clients.map((client, at) => async () => {
          const ask = ways[at % ways.length] as (typeof ways)[number]
          for (let more = 0; more < 4; more++)
            assert.equal(onlyValue(await ask(client, at + more)), `${at + more}`)
        }),
      )
    const before = sharing.shared
    await round()
    assert.ok(sharing.shared - before > CROWD, `${sharing.shared - before} shared`)
  })

  test('errors reach only their client', async () => {
    const sharing = crowded
    const divide = (client: WireClient, by: number) => client.extended('select 10 / $1::int', [`${by}`])
    await sharing.warm((client) => divide(client, 1))
    const clients = await sharing.clients(20)
    const before = sharing.shared
    const results = await sharing.together(clients.map((client, at) => () => divide(client, at % 4)))
    // More where the machine is busy and a slow head was left alone.
    assert.ok(sharing.shared - before >= 20, `${sharing.shared - before} shared`)
    for (const [at, result] of results.entries()) {
      assert.equal(result.status, 'I')
      if (at % 4 === 0) assert.equal(result.error?.code, '22012')
      else assert.equal(onlyValue(result), `${Math.trunc(10 / (at % 4))}`)
    }
  })

  test('a read that hangs on a lock holds up nobody, simple and prepared', async () => {
    const sharing = await SharingRig.start(postgres, 3)
    const slow = (client: WireClient) => client.query('select count(*) from numbers where id < 10')
    const quick = (client: WireClient, number: number) => client.query(`select ${number} as quick`)
    await sharing.warm(slow)
    await sharing.warm((client) => quick(client, 1))
    const clients = await sharing.clients(21)
    const [head, ...behind] = clients as [WireClient, ...WireClient[]]
    await using holder = await sharing.rig.direct()
    await holder.query('begin; lock table numbers')
    const before = sharing.shared
    await sharing.fill()
    const answer = slow(head)
    await sharing.waiting(2)
    const others = behind.map((client, at) => quick(client, at))
    await sharing.waiting(22)
    await answeredBehind(sharing, others, 1)
    assert.ok(sharing.sentAgain('slow') > 0)
    assert.ok(sharing.shared - before > 1)
    await holder.query('rollback')
    assert.equal(onlyValue(await answer), '10')
    await sharing.free(3)
  })

  test('a statement whose Parse hangs on a lock holds up nobody', async () => {
    const sharing = await SharingRig.start(postgres, 4)
    const slow = (client: WireClient) =>
      client.run(m.bind({ statement: 'slow' }), m.describe('P'), m.execute(), m.sync())
    const quick = (client: WireClient, number: number) => client.query(`select ${number} as quicker`)
    const prepare = (client: WireClient) =>
      client.run(m.parse('select count(*) from numbers where id < 20', { name: 'slow' }), m.sync())
    await sharing.warm((client) => quick(client, 1))
    await sharing.warm(slow, prepare)
    const [head, ...behind] = (await sharing.clients(21)) as [WireClient, ...WireClient[]]
    await prepare(head)
    // A lane that does not have the statement.
    for (const server of sharing.entry.pool.idle) server.isRetired = true
    await sharing.fill()
    await using holder = await sharing.rig.direct()
    await holder.query('begin; lock table numbers')
    const answer = slow(head)
    await sharing.waiting(2)
    const others = behind.map((client, at) => quick(client, at))
    await sharing.waiting(22)
    await answeredBehind(sharing, others, 2)
    await holder.query('rollback')
    assert.equal(onlyValue(await answer), '20')
    await sharing.free(4)
  })

  test('who does not read a big answer holds up nobody', async () => {
    const sharing = await SharingRig.start(postgres, 3)
    // Its average is low: only the one that is asked for last is big.
    const rows = (client: WireClient, count: number) =>
      client.query(`select repeat('x', 1000) from generate_series(1, ${count})`)
    await sharing.warm((client) => rows(client, 1))
    const [reader, ...behind] = (await sharing.clients(17)) as [WireClient, ...WireClient[]]
    await sharing.fill()
    reader.pause()
    const big = rows(reader, 50_000)
    await sharing.waiting(2)
    const others = behind.map((client) => rows(client, 2))
    await sharing.waiting(18)
    const from = performance.now()
    await sharing.free(1)
    const ends = () => sharing.lanesShut('slow_reader') + sharing.lanesShut('slow')
    await eventually(() => ends() === 1)
    await sharing.free(1)
    for (const { rows: got } of await Promise.all(others)) assert.equal(got.length, 2)
    const took = performance.now() - from
    assert.ok(took < 1500, `${took} ms`)
    reader.resume()
    assert.equal((await big).rows.length, 50_000)
    await sharing.free(3)
    await sharing.quiet()
  })
})

const remote = postgres.control === null ? postgres.missing : false

suite('cancels and departures on shared servers', () => {
  /** A head that hangs on a lock, with others behind it, all on one lane. */
  async function queue(options: { maxWaitMs: number; count: number }) {
    const sharing = await SharingRig.start(postgres, 2, {
      pool: { sharing: { maxWaitMs: options.maxWaitMs } },
    })
    const ask = (client: WireClient, number: number) =>
      client.query(`select id from numbers where id = ${number}`)
    await sharing.warm((client) => ask(client, 1))
    const clients = await sharing.clients(options.count)
    const holder = await sharing.rig.direct()
    await holder.query('begin; lock table numbers')
    await sharing.fill()
    const answers = []
    for (const [at, client] of clients.entries()) {
      answers.push(ask(client, at))
      await sharing.waiting(at + 2)
    }
    await sharing.free(1)
    await eventually(() => sharing.entry.sharing?.lanes[0]?.depth === options.count)
    // It has come to its lock.
    await eventually(async () => (await sharing.rig.backends("wait_event_type = 'Lock'")).length === 1)
    const unlock = async () => {
      await holder.query('rollback')
    }
    return { sharing, clients, answers, unlock }
  }

  test('a cancel of the head ends only the head', async () => {
    const { sharing, clients, answers, unlock } = await queue({ maxWaitMs: 60_000, count: 6 })
    await clients[0]?.cancel()
    assert.equal((await answers[0])?.error?.code, '57014')
    assert.equal(sharing.lanesShut('cancel'), 1)
    await sharing.free(1)
    await unlock()
    for (const [at, answer] of answers.entries()) {
      if (at > 0) assert.equal(onlyValue(await answer), `${at}`)
    }
    for (const client of clients) assert.equal(onlyValue(await client.query('select 5')), '5')
    await sharing.quiet()
  })

  test('a cancel of one behind answers at once', async () => {
    const { sharing, clients, answers, unlock } = await queue({ maxWaitMs: 60_000, count: 6 })
    await clients[3]?.cancel()
    const cancelled = await answers[3]
    assert.equal(cancelled?.error?.code, '57014')
    assert.equal(cancelled?.status, 'I')
    await unlock()
    for (const [at, answer] of answers.entries()) if (at !== 3) assert.equal(onlyValue(await answer), `${at}`)
    assert.equal(sharing.lanesShut('cancel'), 0)
    for (const client of clients) assert.equal(onlyValue(await client.query('select 5')), '5')
    await sharing.free(2)
  })

  test('cancels in all moments hit nobody else', async () => {
    const sharing = await SharingRig.start(postgres, 3)
    const ask = (client: WireClient, number: number) =>
      client.query(`select ${number} as n from generate_series(1, 2000) having count(*) > 0`)
    await sharing.warm((client) => ask(client, 1))
    const clients = await sharing.clients(24)
    const before = sharing.shared
    let cancelled = 0
    for (let round = 0; round < 6; round++) {
      await sharing.fill()
      const all = clients.map(async (client, at) => {
        const isVictim = at % 4 === round % 4
        for (let more = 0; more < 3; more++) {
          const answer = ask(client, at)
          const cancel = isVictim ? pause((at * 7 + more) % 5).then(() => client.cancel()) : null
          const { rows, error } = await answer
          if (error === null) assert.deepEqual(rows, [[`${at}`]])
          else {
            assert.ok(isVictim, 'somebody else')
            assert.equal(error.code, '57014')
            cancelled++
          }
          await cancel
        }
      })
      await sharing.waiting(CROWD / 4)
      await sharing.free(3)
      await Promise.all(all)
    }
    assert.ok(sharing.shared > before)
    assert.ok(cancelled > 0)
    await sharing.quiet()
  })

  test('who leaves takes nothing from the others: head and behind', async () => {
    const { sharing, clients, answers, unlock } = await queue({ maxWaitMs: 60_000, count: 8 })
    for (const at of [0, 3]) {
      answers[at]?.catch(() => {})
      clients[at]?.destroy()
    }
    await eventually(() => sharing.lanesShut('cancel') === 0)
    await unlock()
    for (const [at, answer] of answers.entries())
      if (at !== 0 && at !== 3) assert.equal(onlyValue(await answer), `${at}`)
    await sharing.free(2)
    await sharing.quiet()
  })

  test('a slow head whose client has gone does not run on for ever', async () => {
    const { sharing, clients, answers, unlock } = await queue({ maxWaitMs: 20, count: 1 })
    await eventually(() => sharing.lanesShut('slow') === 1)
    answers[0]?.catch(() => {})
    clients[0]?.destroy()
    // The grace of a client that was lost is 1 s.
    await eventually(async () => (await sharing.rig.backends("wait_event_type = 'Lock'")).length === 0, 4000)
    await unlock()
    await sharing.free(2)
    await sharing.quiet()
  })

  test('a drain whose time is over does not wait for a head that hangs', async () => {
    const { sharing, answers, unlock } = await queue({ maxWaitMs: 60_000, count: 3 })
    const told = answers.map((answer) => answer.catch((error: Error) => error.message))
    await sharing.rig.test.pooler.drain(50)
    for (const words of await Promise.all(told)) assert.match(String(words), /57P01/)
    // What stood behind it may be begun before Postgres sees that nobody is there any more.
    assert.deepEqual(await sharing.rig.backends("query like '%id = 0%'"), [])
    await unlock()
  })

  test('pg_terminate_backend: the head runs once more, those behind are answered', async () => {
    const { sharing, answers, unlock } = await queue({ maxWaitMs: 60_000, count: 6 })
    await sharing.rig.see(
      "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'",
    )
    await eventually(() => sharing.sentAgain('server_lost') === 6)
    await unlock()
    await sharing.free(1)
    for (const [at, answer] of answers.entries()) assert.equal(onlyValue((await answer) as Result), `${at}`)
    assert.equal(sharing.lanesShut('server_lost'), 1)
  })

  test('kill -9: the head is told, those behind are answered when Postgres is back', {
    skip: remote,
  }, async () => {
    const { sharing, answers } = await queue({ maxWaitMs: 60_000, count: 5 })
    const [head] = await sharing.rig.backends("wait_event_type = 'Lock'")
    process.kill(Number(head?.[0]), 'SIGKILL')
    const [first, ...others] = await Promise.all(answers)
    // Postgres ends all others, too, and tells those that it can.
    assert.match(first?.error?.code ?? '', /^(08006|57P02)$/)
    assert.equal(first?.status, 'I')
    for (const [at, answer] of others.entries()) assert.equal(onlyValue(answer), `${at + 1}`)
    assert.equal(sharing.lanesShut('server_lost'), 1)
    assert.equal(sharing.sentAgain('server_lost'), 4)
  })
})
