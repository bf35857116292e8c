// Hazards of the protocol that no other file has (docs/hazards.md, part B): what only looks like a message,
// counts and orders of answers, names that try to be more than names. Must never hold an answer against
// anything but a direct connection or the row that stands in Postgres.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, direct, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { CHOPPED, CHOPS } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { eventually, gated, Rig } from '../support/rig.ts'
import { normalise } from '../support/transcript.ts'
import { result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
await postgres.admin('create table done (what text)')
await postgres.admin('create table numbers (id int)')

const READY = Buffer.from('5a0000000549', 'hex')
const PIPELINES = process.env.LONG ? 3000 : 150
const SEED = Number(process.env.SEED ?? 20260101)

const int32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

describe('bytes inside a value', () => {
  it('that spell ReadyForQuery at the end of a chunk release nothing', async (t) => {
    if (CHOPS) {
      notRun(t, CHOPPED)
      return
    }
    const [gate, rig] = await gated(postgres, { pool: { size: 1 } })
    await using client = await rig.client()
    await using rival = await rig.client()
    await client.query('select 1')
    // The chunk ends with the value: what is left of the answer comes when the test lets it.
    let rest: Buffer | null = null
    gate.hooks.onAnswer = (chunk) => {
      const at = chunk.indexOf(READY)
      if (rest !== null || at < 0 || at + READY.length === chunk.length) return chunk
      rest = Buffer.from(chunk.subarray(at + READY.length))
      return chunk.subarray(0, at + READY.length)
    }
    client.send(m.parse(`select 7, '\\x${READY.toString('hex')}'::bytea`), m.bind({ results: [1] }))
    client.send(m.describe('P'), m.execute(), m.sync())
    await eventually(() => rest !== null)
    rival.send(m.query("select 'rival'"))
    await eventually(() => rig.test.pooler.gauges().waiting === 1)
    assert.equal(rig.test.pooler.gauges().servers.active, 1, 'the server is still its client’s')
    gate.sessions[0]?.near.write(rest as unknown as Buffer)
    const row = (await client.until('Z')).find((message) => message.type === 'D')
    assert.deepEqual(row?.values[1], READY)
    assert.deepEqual(result(await rival.until('Z')).rows, [['rival']])
  })

  it('with impossible lengths in a Bind are Postgres’ to refuse', () =>
    assertSame(postgres, [...stages, session], async (client) => {
      for (const length of [-2, -2_147_483_648, 1000, 2_147_483_647]) {
        await client.run(m.parse('select $1::text', { name: 's1' }), m.sync())
        const value = Buffer.concat([int32(length), Buffer.from('abc')])
        await client.run(m.message('B', '\0s1\0', '\0\0', '\0\x01', value, '\0\0'), m.sync())
        await client.run(m.bind({ statement: 's1', params: ['x'] }), m.execute(), m.sync())
        await client.run(m.close('S', 's1'), m.sync())
      }
    }))
})

/** A request whose answer is the same each time, whoever else is there. */
function randomBatch(random: Prng): Buffer[] {
  const name = random.pick(['', 's1', 's2'])
  const texts = ['select 1', 'select 1/0', 'selekt', "select 'a', 2", '', 'select $1::int', 'begin', 'commit']
  const more = ['rollback', 'insert into numbers values (1)', 'savepoint a', 'rollback to a', 'show timezone']
  const zones = ["set timezone = 'Asia/Tokyo'", 'reset timezone', "set local timezone = 'UTC'"]
  const text = random.pick([...texts, ...more, ...zones])
  const params = random.below(3) === 0 ? ['7'] : []
  const pieces = [
    () => m.parse(text, { name }),
    () => m.bind({ statement: name, params }),
    () => m.describe(random.pick(['S', 'P'] as const), random.pick(['', name])),
    () => m.execute('', random.below(2)),
    () => m.close('S', name),
    () => m.flush(),
  ]
  if (random.below(4) === 0) return [m.query(random.pick([text, `${text}; select 3`, 'select 1; select 2']))]
  const batch = random.below(2) === 0 ? [pieces[0], pieces[1], pieces[2], pieces[3]] : []
  while (batch.length < 2 || random.below(3) === 0) batch.push(random.pick(pieces))
  return [...batch.map((piece) => (piece as () => Buffer)()), m.sync()]
}

describe('random pipelines', () => {
  it(`are answered as by a direct connection, with a rival on the only server (SEED=${SEED})`, async () => {
    const random = new Prng(SEED)
    await using rival = await WireClient.connect(through(one.pooler, postgres))
    let isOver = false
    const disturbance = (async () => {
      const own = [m.parse("select 'rival'", { name: 's1' }), m.bind({ statement: 's1' }), m.execute()]
      while (!isOver) {
        await rival.run(...own, m.close('S', 's1'), m.sync())
        await rival.query("set timezone = 'Europe/Berlin'")
        rival.received.length = 0
      }
    })()
    try {
      for (let round = 0; round < PIPELINES; round++) {
        const batches = Array.from({ length: 1 + random.below(6) }, () => randomBatch(random))
        const bytes = Buffer.concat([...batches.flat(), m.query('rollback'), m.query('select 5')])
        const cuts = Array.from({ length: random.below(4) }, () => random.below(bytes.length)).sort(
          (left, right) => left - right,
        )
        const seen: string[][] = []
        for (const options of [direct(postgres), through(one.pooler, postgres)]) {
          await using client = await WireClient.connect(options)
          const before = client.received.length
          await client.sendCut(bytes, cuts)
          for (let count = 0; count < batches.length + 2; count++) await client.until('Z')
          seen.push(normalise(client.received.slice(before)))
        }
        assert.deepEqual(seen[1], seen[0], `round ${round}: ${JSON.stringify(bytes.toString('latin1'))}`)
      }
    } finally {
      isOver = true
      await disturbance
    }
  })
})

describe('errors and their place', () => {
  it('a batch that waits too long: one error, and ReadyForQuery when its Sync comes', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1, queryWaitTimeoutMs: 500 } })
    await using owner = await rig.client()
    await using client = await rig.client()
    await owner.query('begin')
    client.send(m.parse('select 1'), m.bind(), m.execute())
    const refused = await client.next()
    assert.equal(refused.type === 'E' && refused.code, '53300')
    // More of the batch is skipped, and nothing but the Sync ends it.
    client.send(m.describe('P'), m.flush(), m.execute())
    await owner.query('select 1')
    assert.deepEqual(client.drain(), [])
    await owner.query('commit')
    const types = (await client.run(m.sync())).messages.map(({ type }) => type)
    assert.deepEqual(types, ['Z'])
    assert.deepEqual((await client.query('select 2')).rows, [['2']])
  })

  it('a SET that is wrong fails itself, not what comes later', () =>
    assertSame(postgres, [...stages, session], async (client, rival) => {
      await client.query('set lock_timeout to sdfs')
      await rival()
      await client.query('select 1')
      await client.query("set timezone to 'Nowhere/Land'")
      await rival()
      await client.run(m.parse('select 2'), m.bind(), m.execute(), m.sync())
      await client.run(m.parse('set datestyle to 7'), m.bind(), m.execute(), m.sync(), m.query('select 3'))
      await client.until('Z')
    }))

  it('a pipeline that makes a table for itself is one transaction on one server', () =>
    assertSame(postgres, [...stages, session], async (client, rival) => {
      for (let round = 0; round < 3; round++) {
        const make = [
          m.parse('create temp table mine on commit drop as select 1 as n'),
          m.bind(),
          m.execute(),
        ]
        const read = [m.parse('select n from mine'), m.bind(), m.execute()]
        await client.run(...make, ...read, m.sync())
        await rival()
        await client.query('select n from mine')
      }
    }))

  it('an insert whose connection is cut before its answer is done once at most', async (t) => {
    if (CHOPS) {
      notRun(t, CHOPPED)
      return
    }
    const [gate, rig] = await gated(postgres, { pool: { size: 2 } })
    for (let round = 0; round < 20; round++) {
      await using client = await rig.client()
      await client.query('select 1')
      gate.hooks.onAnswer = (chunk, link) => {
        if (!chunk.includes('INSERT 0 1')) return chunk
        link.cut()
        return null
      }
      const text = `insert into done values ('${round}')`
      const { error, status } =
        round % 2 === 0 ? await client.query(text) : await client.extended(text, [], { statement: 's1' })
      assert.equal(error?.code, '08006')
      assert.equal(status, 'I')
      gate.hooks = {}
      assert.deepEqual((await client.query('select 1')).rows, [['1']], 'the client goes on')
    }
    const rows = await rig.see('select what, count(*) from done group by 1 having count(*) > 1')
    assert.deepEqual(rows, [])
    assert.equal(await rig.value('select count(*) from done'), '20', 'each has reached Postgres')
  })
})

describe('COPY', () => {
  it('rows in random pieces, with a rival on the only server, are the rows that were sent', async () => {
    const random = new Prng(SEED)
    await postgres.admin('create table copied (id int, v text)')
    await using client = await WireClient.connect(through(one.pooler, postgres))
    await using rival = await WireClient.connect(through(one.pooler, postgres))
    for (let round = 0; round < 10; round++) {
      await client.query('truncate copied')
      const rows = Array.from({ length: 300 }, (_, id) => `${id}\t${'Zy5I'.repeat(random.below(60))}\n`)
      const text = Buffer.from(rows.join(''))
      const parts: Buffer[] = []
      // Rows do not end where messages end, and messages not where pieces do.
      for (let from = 0; from < text.length; ) {
        const to = Math.min(text.length, from + 1 + random.below(2000))
        parts.push(m.copyData(text.subarray(from, to)))
        from = to
      }
      const bytes = Buffer.concat([m.query('copy copied from stdin'), ...parts, m.copyDone()])
      const cuts = Array.from({ length: 60 }, () => random.below(bytes.length)).sort((a, b) => a - b)
      const theirs = rival.query("select 'rival'")
      await client.sendCut(bytes, cuts)
      assert.equal(result(await client.until('Z')).tag, 'COPY 300')
      assert.deepEqual((await theirs).rows, [['rival']])
      const out = await client.query('copy (select * from copied order by id) to stdout')
      const data = out.messages.flatMap((message) => (message.type === 'd' ? [message.data] : []))
      assert.ok(Buffer.concat(data).equals(text))
    }
  })
})
