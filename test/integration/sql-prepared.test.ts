// PREPARE, EXECUTE and DEALLOCATE in transaction mode: through pools of one and of two servers, beside
// another client that uses the same names for other texts, held against a direct connection (RULES 18).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Rig } from '../support/rig.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)

/** One text as a batch of the unnamed statement. */
const extended = (sql: string) => [m.parse(sql), m.bind(), m.describe('P'), m.execute(), m.sync()]
const use = (name: string, params: (string | null)[] = []) => [
  m.bind({ statement: name, params }),
  m.describe('P'),
  m.execute(),
  m.sync(),
]

describe('PREPARE, EXECUTE, DEALLOCATE', () => {
  for (const how of ['simple', 'extended'] as const) {
    const run = (client: WireClient, sql: string) =>
      how === 'simple' ? client.query(sql) : client.run(...extended(sql))

    it(`${how}: a name means what its client prepared`, () =>
      assertSame(postgres, stages, async (client, rival) => {
        for (const sql of [
          'prepare s1 (int, text) as select $1 + 1 as n, $2 as t',
          "execute s1 (1, 'a')",
          "execute s1 (2, 'b')",
          'prepare s1 as select 1',
          "execute s1 ('3', 'c')",
          'execute s1 (1)',
          "execute s1 ('x', 'c')",
          "explain (costs off) execute s1 (1, 'a')",
          "create table sql_prepared_made as execute s1 (7, 'z')",
          'select * from sql_prepared_made',
          'drop table sql_prepared_made',
          'execute nobody',
          'deallocate nobody',
          'deallocate s1',
          "execute s1 (1, 'a')",
          'deallocate s1',
          'prepare s1 as select $1::text',
          "execute s1 ('again')",
          'prepare s2 as select 2',
          'deallocate all',
          'execute s2',
          'prepare s2 as values (2)',
          'execute s2',
          'discard all',
          'execute s2',
        ]) {
          await run(client, sql)
          await rival()
        }
      }))

    it(`${how}: within transactions, which undo nothing of it`, () =>
      assertSame(postgres, stages, async (client, rival) => {
        for (const sql of [
          'begin',
          'prepare s1 as select 1',
          'execute s1',
          'rollback',
          'execute s1',
          'begin',
          'savepoint a',
          'prepare s1 as select 2',
          'execute s1',
          'rollback to a',
          'execute s1',
          'deallocate s1',
          'savepoint b',
          'execute s1',
          'rollback to b',
          'prepare s1 as select 3',
          'execute s1',
          'commit',
          'execute s1',
          'begin',
          'select 1/0',
          'execute s1',
          'rollback',
          'execute s1',
          'begin; execute s1; deallocate s1; prepare s1 as select 4; execute s1; commit',
          'execute s1',
          'begin isolation level serializable',
          'execute s1',
          'deallocate s1',
          'commit',
          'execute s1',
        ]) {
          if (how === 'extended' && sql.includes(';')) await client.query(sql)
          else await run(client, sql)
          if (client.status === 'I') await rival()
        }
      }))
  }
})

describe('one table of names with the protocol', () => {
  it('SQL finds what the protocol has parsed', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.run(m.parse('select $1::int * 2 as twice', { name: 's1' }), m.sync())
      await rival()
      await client.query('execute s1 (4)')
      await rival()
      await client.run(...extended('execute s1 (5)'))
      await rival()
      await client.query('prepare s1 as select 1')
      await rival()
      await client.run(...use('s1', ['6']))
      await client.query('deallocate s1')
      await client.run(...use('s1', ['7']))
      await rival()
      await client.query('execute s1 (8)')
      await client.run(m.parse('select 9', { name: 's1' }), m.sync(), ...use('s1'))
      await client.until('Z')
      await client.query('execute s1')
      await rival()
      await client.run(m.close('S', 's1'), m.sync())
      await client.query('execute s1')
      await client.query('prepare s1 as select 10')
      await client.query('execute s1')
    }))

  it('the protocol finds what SQL has prepared', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.query("prepare s1 (int) as select $1 as n, 'mine' as whose")
      await rival()
      await client.run(m.describe('S', 's1'), m.sync())
      await rival()
      await client.run(...use('s1', ['1']))
      await rival()
      await client.run(...use('s1', []))
      await client.run(m.parse('select 1', { name: 's1' }), m.sync())
      await rival()
      await client.run(m.close('S', 's1'), m.sync())
      await client.query('execute s1 (1)')
      await rival()
      await client.run(m.parse('select 2', { name: 's1' }), m.sync())
      await rival()
      await client.run(...use('s1'))
    }))

  it('in one batch, and in batches behind one another', () =>
    assertSame(postgres, stages, async (client, rival) => {
      const run = (sql: string) => [m.parse(sql), m.bind(), m.execute()]
      await client.run(...run('prepare s1 as select 1'), ...use('s1'))
      await rival()
      await client.run(...run('execute s1'), ...run('deallocate s1'), ...run('execute s1'), m.sync())
      await rival()
      await client.run(...use('s1'))
      await client.run(m.parse('select 2', { name: 's1' }), ...run('execute s1'), m.sync())
      await rival()
      const pipeline = [
        [m.query('deallocate s1'), m.query('execute s1'), m.query('prepare s1 as select 3')],
        [...use('s1'), m.query('execute s1'), m.query('deallocate all'), m.query('execute s1')],
        [m.parse('select 4', { name: 's1' }), m.sync(), m.query('execute s1'), ...use('s1')],
      ]
      for (const count of [3, 4, 3]) {
        client.send(...(pipeline.shift() ?? []))
        for (let left = count; left > 0; left--) await client.until('Z')
        await rival()
      }
      await client.query('execute s1')
    }))

  it('a statement of the protocol that runs one of SQL is its client’s alone', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.query('prepare p as select 1 as mine')
      await client.run(m.parse('execute p', { name: 's2' }), m.describe('S', 's2'), m.sync())
      await rival()
      await client.run(...use('s2'))
      await client.query('deallocate p')
      await rival()
      await client.run(...use('s2'))
      await client.query('prepare p as select 2 as other')
      await rival()
      await client.run(...use('s2'))
    }))
})

describe('what is brought', () => {
  it('keeps the settings under which it was prepared', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.query("set datestyle = 'ISO, MDY'")
      await client.query("prepare s1 as select '01/02/2030'::date")
      await rival()
      await client.query("set datestyle = 'ISO, DMY'")
      for (const sql of ['execute s1', "select '01/02/2030'::date", 'execute s1']) {
        await client.query(sql)
        await rival()
        await client.run(...extended(sql))
        await client.query('begin')
        await client.query('execute s1')
        await client.query('show datestyle')
        await client.query('commit')
        await rival()
      }
      await client.query('deallocate s1')
      await client.query("prepare s1 as select '01/02/2030'::date")
      await rival()
      await client.query('execute s1')
    }))

  it('comes out of texts of several statements, comments and functions', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.query("select 1; /* é */ prepare s1 as select 'é', 1; prepare s2 as select 2 ; select 3")
      await rival()
      await client.query('execute s1')
      await client.query('execute s2; deallocate s1')
      await rival()
      await client.query('execute s2')
      await client.query("do $$ begin execute 'prepare s1 as select 3'; execute 'deallocate s2'; end $$")
      await rival()
      await client.query('execute s1')
      await client.query('execute s2')
      await client.query('prepare "Ä ""b" as select 4')
      await rival()
      await client.query('execute "Ä ""b"')
      await client.run(...use('Ä "b'))
      await rival()
      await client.query('prepare s2 as insert into pg_temp.nothing values (1)')
      await rival()
      await client.query('execute s2')
    }))

  it('leaves its trace in the session, like the statement itself', () =>
    assertSame(postgres, stages, async (client, rival) => {
      await client.query("prepare s1 as select set_config('work_mem', $1, false)")
      await client.query("prepare s2 (text) as select set_config('sql.prepared', $1, false)")
      await rival()
      await client.query("execute s1 ('7MB')")
      await rival()
      await client.query('show work_mem')
      await client.query("execute s2 ('mine')")
      await rival()
      await client.query("select current_setting('sql.prepared')")
      await client.run(...use('s1', ['9MB']))
      await rival()
      await client.query('show work_mem')
    }))

  it('tells its own error where it cannot be brought any more', async () => {
    const { pooler } = stages[0]
    await using client = await WireClient.connect(through(pooler, postgres))
    await using rival = await WireClient.connect(through(pooler, postgres))
    await client.query('create table sql_prepared_gone (n int)')
    await client.query('prepare s1 as select * from sql_prepared_gone')
    await rival.query('prepare s1 as select 1')
    await client.query('drop table sql_prepared_gone')
    await rival.query('execute s1')
    const codes = [await client.query('execute s1'), await client.run(...extended('execute s1'))]
    await client.query('begin')
    codes.push(await client.query('execute s1'))
    assert.deepEqual(
      codes.map(({ error }) => error?.code),
      ['42P01', '42P01', '42P01'],
    )
    assert.equal((await client.query('rollback')).tag, 'ROLLBACK')
    assert.equal((await client.query('select 1/0; execute s1')).error?.code, '22012')
    assert.equal((await client.query('deallocate s1')).tag, 'DEALLOCATE')
    assert.equal((await client.query('execute s1')).error?.code, '26000')
  })

  it('is limited: beyond it the client keeps its server', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2, preparedMemory: 256 * 1024 } })
    await using client = await rig.client()
    await using other = await rig.client()
    await client.query(`prepare s1 as select '${'x'.repeat(100_000)}'`)
    const pid = await rig.pidOf(client)
    await other.query('prepare s1 as select 2')
    for (let round = 0; round < 5; round++) {
      assert.equal((await client.query('execute s1')).rows[0]?.[0]?.length, 100_000)
      assert.equal(await rig.pidOf(client), pid)
      assert.notEqual(await rig.pidOf(other), pid)
      assert.deepEqual((await other.query('execute s1')).rows, [['2']])
    }
    await client.query('deallocate s1')
    await using third = await rig.client()
    const both = [other, third]
    for (const each of both) await each.query('begin')
    for (const each of both) await each.query('commit')
    assert.equal((await client.query('execute s1')).error?.code, '26000')
  })
})

describe('two clients', () => {
  it('use one name for different texts, on any server, and see no names but their own', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 2 } })
    await using first = await rig.client()
    await using second = await rig.client()
    await using bystander = await rig.client()
    const clients = [first, second]
    for (const [index, client] of clients.entries()) {
      await client.query(`prepare p (int) as select ${index}, $1`)
      await client.run(m.parse(`select 'protocol ${index}'`, { name: 'q' }), m.sync())
    }
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        clients.map(async (client, index) => {
          assert.deepEqual((await client.query(`execute p (${round})`)).rows, [[`${index}`, `${round}`]])
          assert.deepEqual((await client.query('execute q')).rows, [[`protocol ${index}`]])
        }),
      )
      assert.equal((await bystander.query('execute p (1)')).error?.code, '26000')
    }
    const shown = 'select name, statement, parameter_types, from_sql from pg_prepared_statements order by 1'
    for (const [index, client] of clients.entries()) {
      const own = [
        ['p', `prepare p (int) as select ${index}, $1`, '{integer}', 't'],
        ['q', `select 'protocol ${index}'`, '{}', 'f'],
      ]
      assert.deepEqual((await client.query(shown)).rows, own)
      assert.deepEqual((await client.run(...extended(shown))).rows, own)
      await client.query('begin')
      assert.deepEqual((await client.query(shown)).rows, own)
      await client.query('commit')
    }
    assert.deepEqual((await bystander.query(shown)).rows, [])
  })

  it('a statement prepared under a role that is gone holds up no other', async () => {
    const rig = await Rig.start(postgres, { pool: { mode: 'transaction', size: 2, serverRoundRobin: true } })
    await using client = await rig.client()
    await using other = await rig.client()
    // Two servers from here on, which take turns.
    await Promise.all([client.query('select pg_sleep(0.05)'), other.query('select pg_sleep(0.05)')])
    await client.query('drop role if exists sql_prepared_gone; create role sql_prepared_gone')
    await client.query('set role sql_prepared_gone')
    await client.query('prepare gone as select current_user')
    await client.query('reset role')
    await client.query('drop role sql_prepared_gone')
    const pids = new Set<number>()
    for (let turn = 0; turn < 8; turn++) {
      // A text that may name any of its statements.
      const { error } = await client.query('do $$ begin perform 1; end $$')
      assert.equal(error, null, error?.message)
      pids.add(await rig.pidOf(client))
      // Else it could be the same one each second time.
      if (turn % 2 === 1) await client.query('select 1')
    }
    assert.equal(pids.size, 2)
  })

  it('EXECUTE tells nothing of what another client got from a sequence', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    await using first = await rig.client()
    await using second = await rig.client()
    await first.query('create sequence sql_prepared_numbers')
    await second.query('prepare p as select lastval()')
    await first.query("select nextval('sql_prepared_numbers')")
    assert.equal((await second.query('execute p')).error?.code, '55000')
    // From now on whoever may have taken a number keeps its server for one statement more.
    await second.query('select 1')
    for (const sql of ["select nextval('sql_prepared_numbers')", 'select 1']) await first.query(sql)
    await second.query('begin')
    assert.equal((await second.run(...extended('execute p'))).error?.code, '55000')
    await second.query('rollback')
    await second.query('select 1')
    await first.query('drop sequence sql_prepared_numbers')
  })

  it('names like the pooler’s own are nobody’s', async () => {
    const rig = await Rig.start(postgres, { pool: { size: 1 } })
    await using first = await rig.client()
    await using second = await rig.client()
    await first.run(m.parse("select 'secret'", { name: 's' }), m.sync(), ...use('s'))
    for (let id = 1; id < 4; id++) {
      assert.equal((await second.query(`execute pgmux_${id}`)).error?.code, '26000')
      assert.equal((await second.run(...extended(`deallocate pgmux_${id}`))).error?.code, '26000')
    }
    assert.equal((await second.query('deallocate pgmux_begin')).error?.code, '26000')
    assert.equal((await second.query('prepare pgmux_x as select 1')).error?.code, '42939')
    assert.equal((await second.query('select 1')).error, null)
  })
})
