// Prepared statements at their limits: eviction, DEALLOCATE ALL, long texts, the memory budget.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { assertSame, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const all = [...stages, session, statement]

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes in buffers that are in use. */
function held(): number {
  collect()
  return process.memoryUsage().arrayBuffers
}

const prepared = (sql: string, name: string) => [m.parse(sql, { name }), m.sync()]
const run = (name: string, params: (string | null)[] = []) => [
  m.bind({ statement: name, params }),
  m.describe('P'),
  m.execute(),
  m.sync(),
]

describe('eviction', () => {
  for (let max = 1; max <= 4; max++) {
    it(`max_prepared_statements ${max}: pipelines, rivals, names that come back`, async () => {
      const pools = [1, 2].map((size) =>
        stage(postgres, `at most ${max}, ${size} servers`, {
          pool: { mode: 'transaction', size, maxPreparedStatements: max },
        }),
      )
      await assertSame(postgres, await Promise.all(pools), async (client, rival) => {
        const names = ['a', 'b', 'c', 'd', 'e', 'f']
        for (const name of names) await client.run(...prepared(`select '${name}'`, name))
        for (let round = 0; round < 2; round++) {
          await rival()
          const batch = names.flatMap((name) => run(name).slice(0, 3))
          await client.run(...batch, m.sync())
          await rival()
          client.send(
            ...names.flatMap((name) => run(name)),
            ...names.toReversed().flatMap((name) => run(name)),
          )
          for (let count = 0; count < 2 * names.length; count++) await client.until('Z')
        }
        client.send(...names.flatMap((name) => [m.close('S', name), ...prepared(`select '${name} 2'`, name)]))
        for (const _name of names) await client.until('Z')
        client.send(...names.flatMap((name) => run(name)))
        for (const _name of names) await client.until('Z')
      })
    })
  }

  it('closes what a server has too much of', async () => {
    const { pooler } = await stage(postgres, 'at most 2', {
      pool: { mode: 'transaction', size: 1, maxPreparedStatements: 2 },
    })
    await using client = await WireClient.connect(through(pooler, postgres))
    for (let number = 0; number < 20; number++)
      await client.run(...prepared(`select ${number}`, `n${number}`))
    const { rows } = await client.extended(
      `select count(*)::text from pg_prepared_statements
        where name like 'pgmux\\_%' and statement like 'select %'`,
    )
    assert.ok(Number(rows[0]?.[0]) <= 3, `${rows[0]?.[0]} statements`)
  })
})

describe('DEALLOCATE ALL and DISCARD ALL', () => {
  for (const command of ['deallocate all', 'discard all', 'DEALLOCATE PREPARE ALL']) {
    it(`${command}: the client's names are gone`, async (t) => {
      if (postgres.major < 14 && command === 'discard all')
        return notRun(t, 'Postgres 13 tells settings again that were set and have not changed')
      await assertSame(postgres, all, async (client, rival) => {
        await client.run(...prepared('select 1', 's1'), ...prepared('select 2'.repeat(1), 's2'))
        await client.until('Z')
        await client.query(command)
        await rival()
        await client.run(...run('s1'))
        await client.run(...prepared('select 3', 's1'))
        await rival()
        await client.run(...run('s1'))
        await client.extended(command)
        await client.run(...run('s1'))
      })
    })

    it(`${command}: other clients keep theirs`, async () => {
      await using other = await WireClient.connect(through(one.pooler, postgres))
      await using client = await WireClient.connect(through(one.pooler, postgres))
      await other.run(...prepared('select 1', 's1'))
      await client.run(...prepared('select 1', 's1'))
      await client.query(command)
      assert.deepEqual((await other.run(...run('s1'))).rows, [['1']])
      assert.equal((await client.run(...run('s1'))).error?.code, '26000')
    })

    it(`${command} pipelined with Parse and Bind`, () =>
      assertSame(postgres, all, async (client) => {
        await client.run(...prepared('select 1', 's1'))
        client.send(m.query(command), ...prepared('select 2', 's2'), ...run('s2'), ...run('s1'))
        for (let count = 0; count < 4; count++) await client.until('Z')
        client.send(
          m.parse(command),
          m.bind(),
          m.execute(),
          m.sync(),
          ...prepared('select 3', 's1'),
          ...run('s1'),
        )
        for (let count = 0; count < 3; count++) await client.until('Z')
        await client.run(
          m.parse(command),
          m.bind(),
          m.execute(),
          m.parse('select 4', { name: 's3' }),
          m.sync(),
        )
        await client.run(...run('s3'))
        await client.run(...run('s1'))
      }))
  }
})

describe('long texts', () => {
  const long = (bytes: number, end: string) => `select /*${'x'.repeat(bytes)}*/ ${end}`

  for (const kib of [20, 100, 300, 1500]) {
    // A long text keeps its client on its server: the rival needs another one.
    const where = kib < 64 ? all : [stages[1], session]
    it(`${kib} KiB, named and unnamed`, () =>
      assertSame(postgres, where, async (client, rival) => {
        await client.run(...prepared(long(kib * 1024, '1'), 'long'))
        await rival()
        await client.run(...run('long'))
        await client.run(...prepared(long(kib * 1024, '2'), 'long'))
        await rival()
        await client.run(m.parse(long(kib * 1024, '$1::int')), m.describe('S'), m.sync())
        await rival()
        await client.run(...run('', ['3']))
        await client.query(long(kib * 1024, '4'))
        await rival()
        await client.run(...run(''))
        await client.run(m.close('S', 'long'), m.sync())
        await rival()
        await client.run(...run('long'))
        await client.run(...prepared(long(kib * 1024, 'from'), 'long'))
        await client.run(...run('long'))
      }))
  }

  it('the pin of a long text ends with the text', async () => {
    const { pooler } = await stage(postgres, 'pins', { pool: { mode: 'transaction', size: 1 } })
    await using client = await WireClient.connect(through(pooler, postgres))
    await using rival = await WireClient.connect(through(pooler, postgres))
    const free = async () => assert.deepEqual((await rival.query('select 1')).rows, [['1']])
    await client.run(...prepared(long(300 * 1024, '1'), 'long'))
    await client.run(m.close('S', 'long'), m.sync())
    await free()
    await client.run(m.parse(long(300 * 1024, '1')), m.sync())
    await client.query('select 1')
    await free()
    await client.run(...prepared(long(300 * 1024, 'from'), 'long'))
    await free()
    await client.run(...prepared(long(300 * 1024, '1'), 'long'))
    await client.run(m.parse(long(300 * 1024, '2')), m.sync())
    await client.run(m.parse('select 3'), m.bind(), m.execute(), m.sync())
    assert.deepEqual((await client.run(...run('long'))).rows, [['1']])
  })

  it('a parameter of 50 MB is passed on in pieces', async () => {
    await using client = await WireClient.connect(through(one.pooler, postgres, { timeout: 60_000 }))
    await client.run(...prepared('select length($1::text)', 'len'))
    const value = 'v'.repeat(50 * 1024 * 1024)
    const bytes = Buffer.concat(run('len', [value]))
    const before = held()
    let highest = 0
    // The bytes themselves are in memory once; what the pooler holds comes on top.
    for (let at = 0; at < bytes.length; at += 1 << 20) {
      await client.sendCut(bytes.subarray(at, at + (1 << 20)), [])
      highest = Math.max(highest, held() - before)
    }
    const answer = await client.until('Z')
    const row = answer.find((message) => message.type === 'D')
    assert.equal(row?.values[0]?.toString(), String(value.length))
    assert.ok(highest < 8 * 1024 * 1024, `${highest} bytes were held`)
  })
})

describe('prepared_memory', () => {
  it('a client over the budget is told 53400 in its turn and stays', async () => {
    const { pooler } = await stage(postgres, 'small budget', {
      pool: { mode: 'transaction', size: 1, preparedMemory: 64 * 1024 },
    })
    await using client = await WireClient.connect(through(pooler, postgres))
    const text = (number: number) => `select ${number} /*${'x'.repeat(4000)}*/`
    let kept = 0
    for (;;) {
      const parsed = await client.run(m.parse('select 1'), ...prepared(text(kept), `n${kept}`))
      if (parsed.error !== null) {
        assert.equal(parsed.messages[0]?.type, '1')
        assert.equal(parsed.error.code, '53400')
        assert.ok(parsed.error.fields.H)
        break
      }
      kept++
      assert.ok(kept < 100)
    }
    for (let number = 0; number < kept; number++) {
      assert.deepEqual((await client.run(...run(`n${number}`))).rows, [[String(number)]])
    }
    await client.query('begin')
    assert.equal((await client.run(...prepared(text(1000), 'more'))).status, 'E')
    await client.query('rollback')
    await client.run(m.close('S', 'n0'), m.sync())
    assert.equal((await client.run(...prepared(text(1000), 'more'))).error, null)
    await using other = await WireClient.connect(through(pooler, postgres))
    assert.equal((await other.run(...prepared(text(2000), 'mine'))).error, null)
  })
})
