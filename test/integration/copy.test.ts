// COPY in both directions, simple and extended, whole and failed: the answers are those of a direct
// connection, and nobody waits for an answer that a COPY has eaten.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { assertSame, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { CHOPPED, CHOPS } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const inTransactions = [...stages, session]
const all = [...inTransactions, statement]

await postgres.admin('create table t (id int primary key, v text)')
await postgres.admin('create table guarded (id int primary key)')
await postgres.admin(`create function refuse() returns trigger language plpgsql as $$
  begin raise 'not here' using errcode = 'P0009'; end $$`)
await postgres.admin(
  'create trigger no before insert on guarded for each statement execute function refuse()',
)

const unnamed = (sql: string) => [m.parse(sql), m.bind(), m.describe('P'), m.execute()]
const readies = async (client: WireClient, count: number) => {
  for (let number = 0; number < count; number++) await client.until('Z')
}

describe('COPY', () => {
  const copyIn = 'copy t from stdin'
  const copyOut = "copy (select i, 'v' from generate_series(1, 3) i) to stdout"

  it('in and out, simple and extended', () =>
    assertSame(postgres, all, async (client, rival) => {
      await client.query(copyOut)
      await client.run(...unnamed(copyOut), m.sync())
      await rival()
      client.send(m.query(copyIn))
      await client.until('G')
      await client.run(m.copyData('11\ta\n12\tb\n'), m.copyDone())
      client.send(m.query(copyIn))
      await client.until('G')
      await client.run(m.copyData('13\ta\n'), m.copyFail('changed my mind'))
      await rival()
      client.send(m.parse(copyIn), m.bind(), m.execute(), m.flush())
      await client.until('G')
      await client.run(m.copyData('14\ta\n'), m.copyDone(), m.sync())
      client.send(m.parse(copyIn), m.bind(), m.execute(), m.flush())
      await client.until('G')
      await client.run(m.copyData('15\ta\n'), m.copyFail('no'), m.sync())
      await rival()
      await client.query('delete from t returning id')
    }))

  it('several in one Query', () =>
    assertSame(postgres, all, async (client) => {
      client.send(m.query(`${copyIn}; ${copyOut}; ${copyIn}; select 1`))
      await client.until('G')
      client.send(m.copyData('21\ta\n'), m.copyDone())
      await client.until('G')
      client.send(m.copyData('22\ta\n'), m.copyDone())
      await readies(client, 1)
      await client.query('delete from t returning id')
    }))

  it('everything in one write, the Sync behind CopyDone', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.parse(copyIn), m.bind(), m.execute(), m.copyData('31\ta\n'), m.copyDone(), m.sync())
      client.send(m.query('select 1'))
      await readies(client, 2)
      await rival()
      client.send(m.query(copyIn), m.copyData('32\ta\n'), m.copyDone(), m.query('select 2'))
      await readies(client, 2)
      await client.query('delete from t returning id')
    }))

  it('Sync before CopyDone is eaten by the COPY', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.parse(copyIn), m.bind(), m.execute(), m.sync())
      await client.until('G')
      await client.run(m.copyData('41\ta\n'), m.sync(), m.copyDone(), m.sync())
      await rival()
      client.send(
        m.parse(copyIn),
        m.bind(),
        m.execute(),
        m.sync(),
        m.copyData('42\ta\n'),
        m.copyDone(),
        m.sync(),
      )
      client.send(m.query('select 1'))
      await readies(client, 2)
      await rival()
      await client.query('delete from t returning id')
    }))

  it('refused rows, and CopyData, CopyDone, CopyFail that come late', () =>
    assertSame(postgres, all, async (client, rival) => {
      for (const end of [[m.copyDone()], [m.copyFail('late')], []]) {
        client.send(m.query(copyIn))
        await client.until('G')
        client.send(m.copyData('not a number\ta\n'), m.copyData('51\tb\n'), ...end)
        if (end.length === 0) client.send(m.copyDone())
        await readies(client, 1)
        client.send(m.copyData('52\tb\n'), m.copyDone())
        await client.query('select 1')
        await rival()
        client.send(m.parse(copyIn), m.bind(), m.execute(), m.flush())
        await client.until('G')
        client.send(m.copyData('not a number\ta\n'), m.copyData('51\tb\n'), ...end, m.sync())
        await readies(client, 1)
        client.send(m.copyDone(), m.copyFail('late'))
        await client.query('select 2')
        await rival()
      }
    }))

  it('a COPY that fails with a Sync that it may have eaten', () =>
    assertSame(postgres, all, async (client, rival) => {
      // The trigger raises before the COPY reads anything, or after its first rows were sent.
      const guarded = 'copy guarded from stdin'
      client.send(m.parse(guarded), m.bind(), m.execute(), m.sync(), m.query('select 1'))
      await readies(client, 2)
      await rival()
      client.send(m.query(guarded), m.copyData('1\n'), m.copyDone(), m.query('select 2'))
      await readies(client, 2)
      await rival()
      client.send(m.parse(guarded), m.bind(), m.execute(), m.flush())
      await client.until('E')
      client.send(m.copyData('1\n'), m.copyDone(), m.sync())
      await readies(client, 1)
      client.send(
        m.parse(guarded),
        m.bind(),
        m.execute(),
        m.copyData('1\n'),
        m.copyDone(),
        m.sync(),
        m.query('select 3'),
      )
      await readies(client, 2)
      await rival()
      await client.query('select 4')
    }))

  it('a Sync in the middle of rows that are refused', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.parse(copyIn), m.bind(), m.execute(), m.sync())
      await client.until('G')
      client.send(m.copyData('not a number\ta\n'), m.sync(), m.copyDone(), m.sync())
      await readies(client, 2)
      await client.query('select 0')
      await rival()
      const rows = [m.copyData('not a number\ta\n'), m.copyDone()]
      client.send(
        m.parse(copyIn),
        m.bind(),
        m.execute(),
        m.sync(),
        ...rows,
        m.sync(),
        m.query(''),
        m.query('select 8'),
      )
      await readies(client, 3)
      await rival()
      client.send(
        m.parse(copyIn),
        m.bind(),
        m.execute(),
        m.sync(),
        ...rows,
        m.sync(),
        ...unnamed('select 9'),
        m.sync(),
      )
      await readies(client, 2)
      await client.query('select 1')
      await rival()
      await client.query('select 2')
    }))

  it('messages that a COPY does not take end it and harm nobody else', async (t) => {
    // Postgres closes with bytes unread: the reset overtakes its last words on such a line.
    if (CHOPS) return notRun(t, CHOPPED)
    await using rival = await WireClient.connect(through(one.pooler, postgres))
    for (const bytes of [m.query('select 1'), m.parse('select 1'), m.execute()]) {
      await using client = await WireClient.connect(through(one.pooler, postgres))
      client.send(m.query(copyIn))
      await client.until('G')
      client.send(bytes)
      const [error] = await client.until('E')
      assert.equal(error?.type === 'E' && error.code, '08P01')
      assert.deepEqual((await rival.query("select 'fine'")).rows, [['fine']])
    }
  })

  it('inside a transaction, failed and not', () =>
    assertSame(postgres, inTransactions, async (client) => {
      await client.query('begin')
      client.send(m.query(copyIn))
      await client.until('G')
      await client.run(m.copyData('61\ta\n'), m.copyDone())
      client.send(m.parse(copyIn), m.bind(), m.execute(), m.flush())
      await client.until('G')
      await client.run(m.copyData('x\ta\n'), m.copyDone(), m.sync())
      await client.query('select 1')
      await client.query('commit')
    }))

  it('a large one in both directions', async () => {
    await using client = await WireClient.connect(through(one.pooler, postgres, { timeout: 60_000 }))
    const line = `\t${'x'.repeat(990)}\n`
    client.send(m.query(copyIn))
    await client.until('G')
    for (let part = 0; part < 20; part++) {
      const lines = Array.from({ length: 500 }, (_, row) => `${1000 + part * 500 + row}${line}`)
      await client.sendCut(m.copyData(lines.join('')), [])
    }
    assert.equal((await client.run(m.copyDone())).tag, 'COPY 10000')
    const { messages, tag } = await client.query('copy t to stdout')
    assert.equal(tag, 'COPY 10000')
    assert.equal(messages.filter((message) => message.type === 'd').length, 10_000)
    assert.equal((await client.query('delete from t')).tag, 'DELETE 10000')
  })
})
