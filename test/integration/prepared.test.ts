// Prepared statements of the protocol, through pools of one and two servers, held against a direct connection
// (RULES 13 to 16). Every script lets a rival with the same names use the pool between its steps.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const all = [...stages, session, statement]

const prepared = (sql: string, name: string) => [m.parse(sql, { name }), m.sync()]
const run = (name: string, params: (string | null)[] = []) => [
  m.bind({ statement: name, params }),
  m.describe('P'),
  m.execute(),
  m.sync(),
]

describe('prepared statements', () => {
  it('a name means the text of its client, whoever else uses it', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(...prepared('select 1', 's1'))
      await rival()
      await client.run(...run('s1'))
      await rival()
      await client.run(m.describe('S', 's1'), m.sync())
      await rival()
      await client.run(
        m.bind({ statement: 's1' }),
        m.execute(),
        m.bind({ statement: 's1' }),
        m.execute(),
        m.sync(),
      )
    }))

  it('a hundred clients use one name for a hundred texts', async () => {
    const [, two] = stages
    const clients: WireClient[] = []
    try {
      for (let number = 0; number < 100; number++) {
        clients.push(await WireClient.connect(through(two.pooler, postgres)))
      }
      const parse = (client: WireClient, number: number) =>
        client.run(...prepared(`select ${number}`, 'same'))
      await Promise.all(clients.map(parse))
      for (let round = 0; round < 3; round++) {
        const results = await Promise.all(clients.map((client) => client.run(...run('same'))))
        assert.deepEqual(
          results.map((result) => result.rows[0]?.[0]),
          clients.map((_client, number) => String(number)),
        )
      }
    } finally {
      await Promise.all(clients.map((client) => client.end()))
    }
  })

  it('the settings of parse analysis belong to the statement', async () => {
    const options = through(one.pooler, postgres)
    await using american = await WireClient.connect({ ...options, params: { datestyle: 'ISO, MDY' } })
    await using european = await WireClient.connect({ ...options, params: { datestyle: 'ISO, DMY' } })
    const text = "select '01/02/2030'::date"
    for (let round = 0; round < 2; round++) {
      for (const [client, day] of [
        [american, '2030-01-02'],
        [european, '2030-02-01'],
      ] as const) {
        if (round === 0) await client.run(...prepared(text, 'd'))
        const { rows } = await client.run(...run('d'))
        assert.deepEqual(rows, [[day]])
      }
    }
  })

  it('a name keeps the settings under which it was parsed', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.query("set datestyle = 'ISO, MDY'")
      await client.run(...prepared("select '01/02/2030'::date", 's1'))
      await rival()
      await client.query("set datestyle = 'ISO, DMY'")
      await client.run(...run('s1'))
      await rival()
      await client.run(...run('s1'))
      await client.query('show datestyle')
      await client.run(
        ...prepared("select '01/02/2030'::date", 'second'),
        ...run('second').slice(0, 3),
        m.sync(),
      )
      await client.until('Z')
      await client.run(...run('s1'))
    }))

  it('a name keeps its settings on a server that never had it', async () => {
    const { pooler } = await stage(postgres, 'fresh', { pool: { mode: 'transaction', size: 2 } })
    await using client = await WireClient.connect(through(pooler, postgres))
    await using blocker = await WireClient.connect(through(pooler, postgres))
    await client.query("set datestyle = 'ISO, MDY'")
    await client.run(...prepared("select '01/02/2030'::date, pg_backend_pid() as pid", 's1'))
    const first = await client.run(...run('s1'))
    await client.query("set datestyle = 'ISO, DMY'")
    // The blocker takes whichever server is used first: the client gets the other one.
    await using other = await WireClient.connect(through(pooler, postgres))
    await blocker.query('begin')
    const here = await blocker.query('select pg_backend_pid()')
    if (here.rows[0]?.[0] !== first.rows[0]?.[1]) {
      await other.query('begin')
      await blocker.query('commit')
    }
    const second = await client.run(...run('s1'))
    assert.deepEqual(
      [first.rows[0]?.[0], second.rows[0]?.[0], first.rows[0]?.[1] !== second.rows[0]?.[1]],
      ['2030-01-02', '2030-01-02', true],
    )
    assert.deepEqual((await client.query("select '01/02/2030'::date")).rows, [['2030-02-01']])
  })
})

describe('errors about names', () => {
  it("an unknown name: Postgres' words with the client's name, batch skipped, connection kept", () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(
        m.bind({ statement: 'nobody' }),
        m.execute(),
        m.parse('select 2', { name: 'late' }),
        m.sync(),
      )
      await rival()
      await client.run(m.describe('S', 'nobody'), m.sync())
      await client.run(m.bind({ statement: 'late' }), m.execute(), m.sync())
      await client.query('select 3')
    }))

  it('an unknown name aborts the transaction', () =>
    assertSame(postgres, [...stages, session], async (client) => {
      await client.query('begin')
      await client.run(...run('nobody'))
      await client.query('select 1')
      await client.query('rollback')
      await client.query('begin')
      await client.run(m.describe('S', 'nobody'), m.sync())
      await client.query('commit')
    }))

  it('a duplicate name: 42P05, and the first text stays', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(...prepared('select 1', 's1'))
      await rival()
      await client.run(...prepared('select 2', 's1'))
      await rival()
      await client.run(...run('s1'))
      await client.run(...prepared('select 1', 's1'))
    }))

  it('a duplicate name in one batch', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(m.parse('select 1', { name: 's1' }), m.parse('select 2', { name: 's1' }), m.sync())
      await client.run(...run('s1'))
    }))

  it('a syntax error in a duplicate Parse is told first', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(...prepared('select 1', 's1'))
      await client.run(...prepared('selekt 1', 's1'))
      await client.run(...run('s1'))
    }))

  it('a failed Parse leaves the name as it was', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(...prepared('selekt 1', 's1'))
      await rival()
      await client.run(...run('s1'))
      await client.run(...prepared('select 5', 's1'))
      await rival()
      await client.run(...run('s1'))
    }))

  it('Parse in a failed transaction: 25P02, also where the server has the statement', () =>
    assertSame(postgres, [...stages, session], async (client) => {
      await client.run(...prepared('select 1 as known', 's1'))
      await client.query('begin')
      await client.query('select 1/0')
      await client.run(m.parse('select 1 as known', { name: 's2' }), m.sync())
      await client.run(m.bind({ statement: 's1' }), m.sync())
      await client.run(
        m.parse('rollback', { name: 'back' }),
        m.bind({ statement: 'back' }),
        m.execute(),
        m.sync(),
      )
      await client.run(...run('s2'))
      await client.run(...run('s1'))
    }))

  it('Parse pipelined behind a failing Query in a transaction', () =>
    assertSame(postgres, [...stages, session], async (client) => {
      await client.run(...prepared('select 1 as known', 's1'))
      await client.query('begin')
      client.send(
        m.query('select 1/0'),
        m.parse('select 1 as known', { name: 's2' }),
        m.bind({ statement: 's2' }),
      )
      client.send(m.execute(), m.sync(), m.query('rollback'))
      for (let count = 0; count < 3; count++) await client.until('Z')
      await client.run(...run('s2'))
    }))

  it('Parse behind an Execute that fails in the same batch', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(...prepared('select 1 as known', 's1'))
      const failing = [m.parse('select 1/0', { name: 'bad' }), m.bind({ statement: 'bad' }), m.execute()]
      await client.run(...failing, m.parse('select 1 as known', { name: 's2' }), m.sync())
      await client.run(...run('s2'))
      await client.run(...run('bad'))
    }))

  it('a Parse whose batch is rolled back keeps its name', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(m.parse('select 7', { name: 's1' }), ...run('nobody'))
      await rival()
      await client.run(...run('s1'))
    }))
})

describe('names', () => {
  it('are compared up to 63 bytes', () =>
    assertSame(postgres, all, async (client, rival) => {
      const name = 'n'.repeat(63)
      await client.run(...prepared('select 1', `${name}a`))
      await rival()
      await client.run(...run(`${name}b`))
      await client.run(...prepared('select 2', `${name}c`))
      await client.run(m.close('S', `${name}d`), m.sync())
      await client.run(...run(`${name}a`))
    }))

  it('may be any bytes, ours too', () =>
    assertSame(postgres, all, async (client, rival) => {
      for (const name of ['pgmux_1', 'pgmux_begin', 'pgmux_none', 'pgmux_set', 'ünïcode', ' ', '"', "'"]) {
        await client.run(m.describe('S', name), m.sync())
        await client.run(...prepared(`select 'mine'`, name))
        await rival()
        await client.run(...run(name))
        await client.run(...prepared('select 2', name))
        await client.run(m.close('S', name), m.sync())
        await client.run(...run(name))
      }
    }))

  it('Close: named, twice, unknown, unnamed, portals', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.run(...prepared('select 1', 's1'))
      await client.run(
        m.close('S', 's1'),
        m.close('S', 's1'),
        m.close('S', 'unknown'),
        m.close('P', 'none'),
        m.sync(),
      )
      await rival()
      await client.run(...run('s1'))
      await client.run(...prepared('select 2', 's1'))
      await client.run(m.parse('select 3'), m.close('S', ''), m.sync())
      await client.run(...run(''))
      await client.run(m.close('S', 's1'), m.parse('select 4', { name: 's1' }), ...run('s1'))
      await client.run(m.close('P', ''), m.sync())
    }))

  it('a Close that is skipped after an error closes nothing', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(...prepared('select 1', 's1'))
      await client.run(m.bind({ statement: 'nobody' }), m.close('S', 's1'), m.sync())
      await client.run(...run('s1'))
      await client.run(
        m.bind({ statement: 'nobody' }),
        m.close('S', 's1'),
        m.parse('select 2', { name: 's1' }),
        m.sync(),
      )
      await client.run(...run('s1'))
    }))
})

describe('pipelined names', () => {
  it('a Parse behind a failed Parse of the same name', () =>
    assertSame(postgres, all, async (client) => {
      client.send(
        ...prepared('selekt 1', 's1'),
        ...prepared('select 2', 's1'),
        ...run('s1'),
        ...prepared('select 3', 's1'),
      )
      for (let count = 0; count < 4; count++) await client.until('Z')
      await client.run(...run('s1'))
    }))

  it('a Bind behind a failed Parse in another batch', () =>
    assertSame(postgres, all, async (client) => {
      client.send(...prepared('selekt 1', 's1'), ...run('s1'))
      for (let count = 0; count < 2; count++) await client.until('Z')
    }))

  it('a Bind behind a skipped Parse of a text that the server has', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(...prepared('select 2 as known', 'other'))
      client.send(m.bind({ statement: 'nobody' }), ...prepared('select 2 as known', 's1'), ...run('s1'))
      for (let count = 0; count < 2; count++) await client.until('Z')
    }))

  it('a Bind behind a skipped Close', () =>
    assertSame(postgres, all, async (client) => {
      await client.run(...prepared('select 2', 's1'))
      client.send(m.bind({ statement: 'nobody' }), m.close('S', 's1'), m.sync(), ...run('s1'))
      for (let count = 0; count < 2; count++) await client.until('Z')
    }))

  it('Parse, Close and Parse again in flight', () =>
    assertSame(postgres, all, async (client) => {
      for (let round = 0; round < 3; round++) {
        client.send(...prepared(`select ${round}`, 's1'), ...run('s1'), m.close('S', 's1'), m.sync())
        client.send(
          ...run('s1'),
          ...prepared(`select ${round}0`, 's1'),
          ...run('s1'),
          m.close('S', 's1'),
          m.sync(),
        )
        for (let count = 0; count < 7; count++) await client.until('Z')
      }
    }))

  it('a Parse behind a SET that is not answered yet keeps the new settings', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.query("set datestyle = 'ISO, DMY'"), ...prepared("select '01/02/2030'::date", 's1'))
      client.send(m.query("set datestyle = 'ISO, MDY'"), ...run('s1'))
      for (let count = 0; count < 4; count++) await client.until('Z')
      await rival()
      await client.run(...run('s1'))
    }))
})

describe('a statement on a server that never had it', () => {
  for (const inside of [false, true]) {
    it(`is parsed under its own settings${inside ? ' inside a transaction' : ''}`, async () => {
      const { pooler } = await stage(postgres, 'fresh', { pool: { mode: 'transaction', size: 1 } })
      await using client = await WireClient.connect(through(pooler, postgres))
      client.send(
        m.query("set datestyle = 'ISO, DMY'"),
        ...prepared("select '01/02/2030'::date, 1", 'pipelined'),
      )
      await client.until('Z')
      await client.until('Z')
      await client.run(...prepared("select '01/02/2030'::date", 's1'))
      await client.query("set datestyle = 'ISO, MDY'")
      const { rows } = await client.query('select pg_backend_pid()')
      await postgres.admin('select pg_terminate_backend($1)', [rows[0]?.[0]])
      await gone(client, String(rows[0]?.[0]))
      if (inside) await client.query('begin')
      const batch = [m.parse('select 5', { name: 'first' }), m.bind({ statement: 'first' }), m.execute()]
      assert.deepEqual((await client.run(...batch, ...run('s1'))).rows, [['5'], ['2030-02-01']])
      assert.deepEqual((await client.run(...run('pipelined'))).rows, [['2030-02-01', '1']])
      assert.deepEqual((await client.query("select '01/02/2030'::date")).rows, [['2030-01-02']])
      assert.equal(client.parameters.get('DateStyle'), 'ISO, MDY')
      if (inside) await client.query('commit')
    })
  }

  /** Until the client works on another server than this. */
  async function gone(client: WireClient, pid: string): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      const { rows, error } = await client.query('select pg_backend_pid()')
      if (error === null && rows[0]?.[0] !== pid) return
    }
    assert.fail('the server did not go away')
  }
})
