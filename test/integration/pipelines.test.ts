// Pipelines, portals and messages in wrong states: count, order and content of the answers are those of a
// direct connection, wherever the bytes are cut, and nothing of a rival shows.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, direct, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { normalise } from '../support/transcript.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const inTransactions = [...stages, session]
const all = [...inTransactions, statement]

await postgres.admin('create table t (id int primary key, v text)')
await postgres.admin(`create function speak() returns int language plpgsql as $$
  begin raise notice 'one'; raise warning 'two'; return 3; end $$`)

const unnamed = (sql: string, params: string[] = []) => [
  m.parse(sql),
  m.bind({ params }),
  m.describe('P'),
  m.execute(),
]
const readies = async (client: WireClient, count: number) => {
  for (let number = 0; number < count; number++) await client.until('Z')
}

/** It answers ReadyForQuery with T, so that a rival on the only server waits, and statement mode refuses. */
const STAYS_OPEN = 'Postgres 18 leaves the transaction of a batch open behind a Query or FunctionCall'

describe('pipelines', () => {
  it('cut at every byte, with a rival on the only server', async () => {
    const batches = [
      ...unnamed('select 1'),
      m.sync(),
      m.parse('select $1::int', { name: 's1' }),
      m.sync(),
      m.bind({ statement: 's1', params: ['2'] }),
      m.execute(),
      m.sync(),
      m.query('select 3; select 4'),
      m.bind({ statement: 'nobody' }),
      m.sync(),
      m.query(''),
      m.sync(),
      m.close('S', 's1'),
      m.sync(),
    ]
    const bytes = Buffer.concat(batches)
    const count = batches.filter((part) => part[0] === 0x53 || part[0] === 0x51).length
    await using plain = await WireClient.connect(direct(postgres))
    plain.send(bytes)
    await readies(plain, count)
    const expected = normalise(plain.received).slice(normalise(plain.received).indexOf('K') + 2)
    await using client = await WireClient.connect(through(one.pooler, postgres))
    await using rival = await WireClient.connect(through(one.pooler, postgres))
    let isOver = false
    const disturbance = (async () => {
      while (!isOver) {
        await rival.run(m.parse("select 'rival'"), m.bind(), m.execute(), m.sync())
        await rival.query("select 'rival'")
      }
    })()
    for (let cut = 1; cut < bytes.length; cut++) {
      const before = client.received.length
      await client.sendCut(bytes, [cut])
      await readies(client, count)
      assert.deepEqual(normalise(client.received.slice(before)), expected, `cut at ${cut}`)
    }
    const every = Array.from({ length: bytes.length - 1 }, (_, index) => index + 1)
    const before = client.received.length
    await client.sendCut(bytes, every)
    await readies(client, count)
    assert.deepEqual(normalise(client.received.slice(before)), expected, 'cut everywhere')
    isOver = true
    await disturbance
  })

  it('errors in the middle: the rest of the batch is skipped, the next runs', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(...unnamed('select 1'), ...unnamed('select 1/0'), ...unnamed('select 2'), m.sync())
      client.send(...unnamed('select 3'), m.sync(), m.parse('selekt'), ...unnamed('select 4'), m.sync())
      client.send(...unnamed('select $1::int', ['x']), m.close('P', 'x'), m.sync(), m.query('select 5'))
      await readies(client, 5)
      await rival()
      await client.query('select 6')
    }))

  it('a batch is one transaction', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(...unnamed("insert into t values (1, 'a')"), ...unnamed('select 1/0'), m.sync())
      await client.query('select count(*) from t')
      await client.run(...unnamed("insert into t values (1, 'a')"), ...unnamed('delete from t'), m.sync())
    }))

  it('Flush without Sync', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.parse('select 1'), m.flush())
      await client.until('1')
      client.send(m.describe('S'), m.flush())
      await client.until('T')
      client.send(m.bind(), m.execute(), m.flush())
      await client.until('C')
      await client.run(m.sync())
      await rival()
      client.send(m.parse('select 2', { name: 's1' }), m.flush())
      await client.until('1')
      await client.run(m.sync())
      await rival()
      client.send(m.bind({ statement: 's1' }), m.flush())
      await client.until('2')
      client.send(m.close('S', 's1'), m.flush())
      await client.until('3')
      client.send(m.parse('select 2', { name: 's1' }), m.flush())
      await client.until('1')
      client.send(m.parse('selekt'), m.flush())
      await client.until('E')
      client.send(m.flush(), m.flush(), ...unnamed('select 3'), m.flush())
      await client.run(m.sync())
    }))

  it('an error is told before the Sync comes', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.parse('selekt'))
      await client.until('E')
      client.send(m.bind(), m.execute())
      await client.run(m.sync())
      await rival()
      client.send(m.bind({ statement: 'nobody' }))
      await client.until('E')
      await client.run(m.sync())
    }))

  it('portals with row limits inside a transaction', () =>
    assertSame(postgres, inTransactions, async (client, rival) => {
      await client.query('begin')
      const rows = 'select * from generate_series(1, 5)'
      await client.run(
        m.parse(rows, { name: 's1' }),
        m.bind({ statement: 's1', portal: 'p' }),
        m.execute('p', 2),
        m.sync(),
      )
      await client.run(m.execute('p', 2), m.sync())
      await client.run(m.execute('p', 2), m.sync())
      await client.run(m.execute('p', 2), m.sync())
      await client.run(m.close('P', 'p'), m.describe('P', 'p'), m.sync())
      await client.query('commit')
      await rival()
      await client.run(m.bind({ statement: 's1', portal: 'q' }), m.execute('q', 2), m.sync())
      await client.run(m.execute('q', 2), m.sync())
      await client.run(m.parse('select 1'), m.bind(), m.execute('', 1), m.execute('', 1), m.sync())
    }))

  it('a Query behind a failed batch without Sync is skipped', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.parse('selekt'), m.query('select 1'), m.query('select 2'), m.sync(), m.query('select 3'))
      await readies(client, 2)
      await rival()
      client.send(m.bind({ statement: 'nobody' }))
      await client.until('E')
      client.send(m.query('select 4'), m.functionCall(1598), m.parse('select 5', { name: 's1' }))
      await client.run(m.sync())
      await client.run(m.bind({ statement: 's1' }), m.sync())
      await client.run(m.query('select 6'))
    }))

  it('a Query behind a batch without Sync ends it', async (t) => {
    if (postgres.major >= 18) return notRun(t, STAYS_OPEN)
    await assertSame(postgres, all, async (client, rival) => {
      client.send(...unnamed('select 1'), m.query('select 2'))
      await readies(client, 1)
      await rival()
      await client.run(m.bind(), m.sync())
      client.send(
        m.parse('select 3', { name: 's1' }),
        m.query('select 4'),
        m.bind({ statement: 's1' }),
        m.execute(),
        m.sync(),
      )
      await readies(client, 2)
      await rival()
      client.send(m.parse('selekt'), m.query('select 5'))
      await client.until('E')
      await client.run(m.sync())
      await rival()
      await client.query('select 6')
    })
  })

  it('empty queries, several statements, notices', () =>
    assertSame(postgres, all, async (client) => {
      await client.query('')
      await client.query(';;')
      await client.query('-- nothing')
      await client.query('select 1; select 2; select 3')
      await client.query('select 1; select 1/0; select 3')
      await client.query("insert into t values (9, 'x'); select 1/0")
      await client.query('select * from t where id = 9')
      await client.run(...unnamed(''), m.sync())
      await client.run(m.parse(''), m.describe('S'), m.sync())
      await client.run(m.parse('select 1; select 2'), m.sync())
      await client.query('select speak()')
      await client.run(...unnamed('select speak()'), m.sync())
    }))

  it('FunctionCall', () =>
    assertSame(postgres, all, async (client) => {
      // int4pl, in text format; then one that does not exist.
      await client.run(m.functionCall(177, ['2', '3']))
      await client.run(m.functionCall(1, []))
      await client.run(m.functionCall(177, ['x', '3']))
    }))

  it('FunctionCall in a batch', async (t) => {
    if (postgres.major >= 18) return notRun(t, STAYS_OPEN)
    await assertSame(postgres, all, async (client) => {
      client.send(...unnamed('select 1'), m.functionCall(177, ['4', '5']), ...unnamed('select 2'), m.sync())
      await readies(client, 2)
    })
  })

  it('FunctionCall in a failed transaction', () =>
    assertSame(postgres, inTransactions, async (client) => {
      await client.query('begin')
      await client.query('select 1/0')
      await client.run(m.functionCall(177, ['2', '3']))
      await client.query('rollback')
    }))

  it('transactions opened and closed inside batches', () =>
    assertSame(postgres, inTransactions, async (client, rival) => {
      await client.run(...unnamed('begin'), ...unnamed('select 1'), ...unnamed('commit'), m.sync())
      await rival()
      client.send(
        ...unnamed('begin'),
        m.sync(),
        ...unnamed('select 1/0'),
        m.sync(),
        ...unnamed('select 2'),
        m.sync(),
      )
      client.send(...unnamed('rollback'), m.sync(), ...unnamed('select 3'), m.sync())
      await readies(client, 5)
      await rival()
      client.send(m.query('begin'), m.query('select 1'), m.query('commit'), m.query('select 2'))
      await readies(client, 4)
    }))

  it('a million Syncs', async () => {
    const count = 1_000_000
    await using client = await WireClient.connect(through(one.pooler, postgres, { timeout: 60_000 }))
    await client.run(...unnamed('select 1'), m.sync())
    const before = client.bytesReceived
    client.send(Buffer.alloc(count * 5, m.sync()), m.query("select 'done'"))
    for (;;) {
      const [row] = (await client.until('DE')).slice(-1)
      if (row?.type === 'D') break
    }
    await client.until('Z')
    const answers = client.received.filter((message) => message.type === 'Z').length
    assert.equal(answers, 1 + 1 + count + 1)
    assert.ok(client.bytesReceived - before > count * 6)
  })
})

describe('messages in wrong states', () => {
  it('COPY messages outside a COPY are ignored', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.copyData('1\ta\n'), m.copyDone(), m.copyFail('why'))
      await client.query('select 1')
      await rival()
      client.send(
        ...unnamed('select 2'),
        m.copyDone(),
        m.copyData('x'),
        m.copyFail('why'),
        ...unnamed('select 3'),
        m.sync(),
      )
      await readies(client, 1)
      client.send(
        m.copyDone(),
        m.copyFail('why'),
        ...unnamed('select 4'),
        m.sync(),
        m.copyDone(),
        m.query('select 5'),
      )
      await readies(client, 2)
    }))

  it('unknown portals', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(m.execute('nowhere'), m.sync())
      await client.run(m.describe('P', 'nowhere'), m.sync())
      await client.run(m.execute(), m.sync())
      await client.run(m.bind({ portal: 'p', statement: '' }), m.sync())
      await client.run(m.parse('select 1'), m.bind({ portal: 'p' }), m.bind({ portal: 'p' }), m.sync())
    }))

  it('Sync, Flush and Close without anything', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(m.sync())
      await client.run(m.flush(), m.sync())
      await client.run(m.close('S', 'x'), m.sync())
      client.send(m.close('S', 'x'), m.flush())
      await client.until('3')
      await client.run(m.sync())
    }))

  it("broken Bind, Parse, Describe, Close: Postgres' own error", () =>
    assertSame(postgres, all, async (client) => {
      for (const type of ['P', 'B', 'D', 'C']) {
        await client.run(m.message(type, 'no end'), m.sync())
        await client.run(m.message(type), m.sync())
      }
      await client.run(m.message('B', '\0s', '\0'), m.sync())
      await client.run(m.message('D', 'Xname\0'), m.sync())
      await client.run(m.message('C', 'Xname\0'), m.sync())
      await client.run(m.message('D', 'Sname\0more'), m.sync())
      await client.run(m.message('C', 'Sname\0more'), m.sync())
      await client.run(m.message('P', 'name\0select 1\0'), m.sync())
      await client.run(m.message('E', 'p'), m.sync())
      await client.run(m.message('Q', 'select 1'))
      await client.query('select 1')
    }))
})
