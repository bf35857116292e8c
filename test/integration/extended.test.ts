// Statements that a server has lost or outgrown are parsed anew where the client cannot notice, once;
// everywhere else the client reads Postgres' own error (RULES 17).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, type Stage, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { type Result, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const all: Stage[] = [...stages, statement]
await postgres.admin('create table counted (n int)')

const prepared = (sql: string, name: string) => [m.parse(sql, { name }), m.sync()]
const plain = (name: string, portal = '') => [
  m.bind({ statement: name, portal }),
  m.execute(portal),
  m.sync(),
]
const described = (name: string) => [m.bind({ statement: name }), m.describe('P'), m.execute(), m.sync()]

/** What drivers send when they use a statement for the first time. */
const FIRST_USES: Record<string, (client: WireClient, parse: Buffer) => Promise<Result>> = {
  'described with its Parse': async (client, parse) => {
    const { error } = await client.run(parse, m.describe('S', 's1'), m.sync())
    assert.equal(error, null)
    return client.run(...plain('s1'))
  },
  'described behind a Flush': async (client, parse) => {
    client.send(parse, m.describe('S', 's1'), m.flush())
    await client.until('TE')
    return client.run(...plain('s1'))
  },
  'parsed and run at once': (client, parse) => client.run(parse, ...described('s1')),
  'parsed, and run later': async (client, parse) => {
    await client.run(parse, m.sync())
    return client.run(...plain('s1'))
  },
  'inside a transaction': async (client, parse) => {
    await client.query('begin')
    const answer = await client.run(parse, ...plain('s1'))
    await client.query('rollback')
    return answer
  },
}

/** Takes all statements that clients have on this pool's only server, behind pgmux' back. */
const FORGET = `do $$ declare n text; begin
  for n in select name from pg_prepared_statements where name ~ '^pgmux_[0-9]' loop
    execute 'deallocate ' || quote_ident(n);
  end loop; end $$`

describe('a statement that its server has lost', () => {
  const lost = async () => {
    const { pooler } = await stage(postgres, 'lost', { pool: { mode: 'transaction', size: 1 } })
    const client = await WireClient.connect(through(pooler, postgres))
    const other = await WireClient.connect(through(pooler, postgres))
    await client.run(...prepared('insert into counted values (1) returning n', 's1'))
    await client.run(...prepared('select 2', 's2'))
    return { pooler, client, other, close: () => Promise.all([client.end(), other.end()]) }
  }

  it('is parsed anew: Bind first, Describe first, behind a settings diff', async () => {
    const { client, other, close } = await lost()
    await postgres.admin('delete from counted')
    for (const batch of [plain('s1'), described('s1'), plain('s1')]) {
      await client.query(FORGET)
      const { error, rows, status } = await client.run(...batch)
      assert.equal(error?.message ?? '', '')
      assert.deepEqual(rows, [['1']])
      assert.equal(status, 'I')
    }
    assert.deepEqual(await postgres.admin('select count(*)::int as n from counted'), [{ n: 3 }])
    await client.query(FORGET)
    const answer = await client.run(m.describe('S', 's2'), m.sync())
    assert.equal(answer.messages.map((message) => message.type).join(''), 'tTZ')
    await other.query("set application_name = 'other'")
    await client.query(FORGET)
    assert.deepEqual((await client.run(...plain('s2'))).rows, [['2']])
    assert.deepEqual((await client.run(...plain('s2'))).rows, [['2']])
    await close()
  })

  it('with another exchange behind it the error is told, in its turn', async () => {
    const { client, other, close } = await lost()
    const types = async () => (await client.until('Z')).map((message) => message.type).join('')
    await client.query(FORGET)
    client.send(...plain('s2'), m.query('select 3'), ...plain('s1'))
    assert.deepEqual([await types(), await types(), await types()], ['EZ', 'TDCZ', 'EZ'])
    await client.query(FORGET)
    client.send(...plain('s2'))
    assert.deepEqual((await other.query('select 4')).rows, [['4']])
    assert.equal(await types(), '2DCZ')
    await close()
  })

  it('inside a transaction, behind another message, or in a long exchange the error is told', async () => {
    const { client, close } = await lost()
    await client.query('begin')
    await client.query(FORGET)
    const inside = await client.run(...plain('s2'))
    assert.equal(inside.error?.code, '26000')
    assert.equal(inside.error?.message, 'prepared statement "s2" does not exist')
    assert.equal(inside.status, 'E')
    await client.query('rollback')
    await client.run(...plain('s2'))
    await client.query(FORGET)
    const behind = await client.run(m.parse('select 1'), m.bind(), m.execute(), ...plain('s2'))
    assert.equal(behind.error?.code ?? '', '26000')
    await close()
  })

  it('an exchange is repeated once at most', async () => {
    const { pooler } = await stage(postgres, 'gone', { pool: { mode: 'transaction', size: 1 } })
    await using client = await WireClient.connect(through(pooler, postgres))
    await postgres.admin('create table gone (a int)')
    await client.run(...prepared('select * from gone', 's1'))
    await client.query(FORGET)
    await postgres.admin('drop table gone')
    const { error, status } = await client.run(...plain('s1'))
    assert.equal(error?.code, '42P01')
    assert.equal(status, 'I')
    assert.deepEqual((await client.query('select 1')).rows, [['1']])
  })

  it('a client that goes in the middle leaves its server usable', async () => {
    const { client, other, close } = await lost()
    await other.query(FORGET)
    client.send(...plain('s2'), m.terminate())
    assert.deepEqual((await other.query('select 4')).rows, [['4']])
    await close()
  })
})

describe('a result type that has changed', () => {
  let number = 0
  /** Runs with a fresh table; `change` alters it. */
  const withTable = (
    script: (client: WireClient, table: string, change: () => Promise<void>) => Promise<void>,
  ) => {
    return async (client: WireClient) => {
      const table = `shape_${++number}`
      await postgres.admin(`create table ${table} (a int, b text)`)
      await postgres.admin(`insert into ${table} values (1, 'x')`)
      await script(client, table, async () => {
        await postgres.admin(`alter table ${table} add column c int default 7`)
      })
    }
  }

  it('is told where the client has a description, as by a direct connection', () =>
    assertSame(
      postgres,
      all,
      withTable(async (client, table, change) => {
        await client.run(
          ...prepared(`select a, b.* from (select 1 as a) x, lateral (table ${table}) b`, 's1'),
        )
        await client.run(m.describe('S', 's1'), m.sync())
        await client.run(...plain('s1'))
        await change()
        await client.run(...plain('s1'))
        await client.run(...plain('s1'))
        await client.query('select 1')
      }),
    ))

  it('is told where the client has the description of a portal', () =>
    assertSame(
      postgres,
      all,
      withTable(async (client, table, change) => {
        await client.run(...prepared(`table ${table}`, 's1'))
        await client.run(...described('s1'))
        await change()
        await client.run(...plain('s1'))
        await client.query('select 1')
      }),
    ))

  it('is told inside a transaction', () =>
    assertSame(
      postgres,
      stages,
      withTable(async (client, table, change) => {
        await client.run(...prepared(`table ${table}`, 's1'))
        await change()
        await client.query('begin')
        await client.run(...described('s1'))
        await client.query('rollback')
      }),
    ))

  it('is healed where the exchange describes it, or nobody ever did', async () => {
    for (const { pooler } of all) {
      for (const batch of [described, plain]) {
        await using client = await WireClient.connect(through(pooler, postgres))
        await withTable(async (_client, table, change) => {
          await client.run(...prepared(`table ${table}`, 's1'))
          assert.equal((await client.run(...batch('s1'))).rows[0]?.length, 2)
          await change()
          const { error, rows } = await client.run(...batch('s1'))
          assert.equal(error?.message ?? '', '')
          assert.deepEqual(rows, [['1', 'x', '7']])
          assert.deepEqual((await client.run(...batch('s1'))).rows, [['1', 'x', '7']])
        })(client)
      }
    }
  })

  it('does not stick to the statement for the clients that come later', async () => {
    const [one] = stages
    assert.ok(one)
    await using client = await WireClient.connect(through(one.pooler, postgres))
    await using later = await WireClient.connect(through(one.pooler, postgres))
    await withTable(async (_client, table, change) => {
      await client.run(...prepared(`table ${table}`, 's1'))
      await client.run(m.describe('S', 's1'), m.sync())
      await change()
      assert.equal((await client.run(...plain('s1'))).error?.code, '0A000')
      await later.run(...prepared(`table ${table}`, 's1'))
      const answer = await later.run(m.describe('S', 's1'), ...plain('s1'))
      assert.deepEqual(answer.rows, [['1', 'x', '7']])
    })(client)
  })

  for (const [what, use] of Object.entries(FIRST_USES)) {
    it(`is not met by a client that has just parsed the statement: ${what}`, async () => {
      for (const { pooler } of stages) {
        await using client = await WireClient.connect(through(pooler, postgres))
        await using later = await WireClient.connect(through(pooler, postgres))
        await withTable(async (_client, table, change) => {
          await client.run(...prepared(`table ${table}`, 's1'))
          assert.equal((await client.run(...plain('s1'))).error, null)
          await change()
          // Its settings have to be brought first.
          await later.query("set application_name = 'later'")
          await client.query('select 1')
          const { error, rows } = await use(later, m.parse(`table ${table}`, { name: 's1' }))
          assert.equal(error, null)
          assert.deepEqual(rows, [['1', 'x', '7']])
        })(client)
      }
    })
  }

  it('ends when the client closes the statement and parses it again', () =>
    assertSame(
      postgres,
      stages,
      withTable(async (client, table, change) => {
        await client.run(...prepared(`table ${table}`, 's1'))
        await client.run(...described('s1'))
        await change()
        await client.run(...plain('s1'))
        await client.run(m.close('S', 's1'), m.sync())
        await client.query('begin')
        await client.run(m.parse(`table ${table}`, { name: 's1' }), ...plain('s1'))
        await client.query('commit')
      }),
    ))
})
