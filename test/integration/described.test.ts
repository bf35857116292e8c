// A client that knows what a statement gives decodes rows with that: it must never get rows of another shape,
// whoever has parsed the statement anew on its server, or on another one (RULES 17).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { direct, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const [one, two] = await transactionStages(postgres)
const use = [m.bind({ statement: 's1' }), m.execute(), m.sync()]
const OUTGROWN = { code: '0A000', message: 'cached plan must not change result type' }
let number = 0

/** A table, a client that has parsed and described a statement on it, and another that has not. */
async function withTable(
  run: (at: { table: string; client: WireClient; later: WireClient; parse: Buffer }) => Promise<void>,
  options = through(one!.pooler, postgres),
): Promise<void> {
  await using client = await WireClient.connect(options)
  await using later = await WireClient.connect(options)
  const table = `described_${++number}`
  await postgres.admin(`create table ${table} (a int); insert into ${table} values (7)`)
  const parse = m.parse(`table ${table}`, { name: 's1' })
  await client.run(parse, m.describe('S', 's1'), m.sync())
  assert.deepEqual((await client.run(...use)).rows, [['7']])
  await run({ table, client, later, parse })
}

const said = ({ error }: { error: { code: string; message: string } | null }) =>
  error === null ? null : { code: error.code, message: error.message }

describe('rows of another shape', () => {
  for (const change of ['add column b int', "alter a type text using 'x'", 'rename a to b']) {
    it(`never come where another client has parsed the statement anew: ${change}`, () =>
      withTable(async ({ table, client, later, parse }) => {
        await postgres.admin(`alter table ${table} ${change}`)
        assert.equal((await later.run(parse, m.describe('S', 's1'), m.sync())).error, null)
        assert.equal((await later.run(...use)).error, null)
        for (let round = 0; round < 2; round++) assert.deepEqual(said(await client.run(...use)), OUTGROWN)
        assert.equal((await later.run(...use)).error, null, 'the other goes on')
        await client.run(m.close('S', 's1'), m.sync())
        await client.run(parse, m.sync())
        assert.equal((await client.run(...use)).error, null, 'and so does it once it has parsed anew')
      }))
  }

  it('never come in a batch that begins a transaction, which fails as a whole', () =>
    withTable(async ({ table, client, later, parse }) => {
      await postgres.admin(`alter table ${table} add column b int`)
      await later.run(parse, ...use)
      const begin = [m.parse('begin'), m.bind(), m.execute()]
      const answer = await client.run(...begin, ...use)
      assert.deepEqual(said(answer), OUTGROWN)
      assert.equal(answer.status, 'E')
      assert.equal((await client.query('rollback')).status, 'I')
    }))

  it('never come from another server', async () => {
    const options = through(two!.pooler, postgres)
    await withTable(async ({ table, client, later, parse }) => {
      await postgres.admin(`alter table ${table} add column b int`)
      // Whoever has the client's server, the client gets the other one.
      await using third = await WireClient.connect(options)
      for (const holder of [later, third]) {
        await holder.query('begin')
        assert.deepEqual(said(await client.run(...use)), OUTGROWN)
        await holder.query('rollback')
        await client.query('select 1')
      }
      await later.run(parse, ...use)
    }, options)
  })
})

describe('a statement that is brought to a server behind a change of the table', () => {
  it('takes parameters of the types that its client was told', () =>
    withTable(async ({ table, client, later }) => {
      await postgres.admin(`alter table ${table} alter a type int8`)
      const name = 'insertion'
      const parse = m.parse(`insert into ${table} values ($1)`, { name })
      const { messages } = await client.run(parse, m.describe('S', name), m.sync())
      assert.deepEqual(
        messages.flatMap((said) => (said.type === 't' ? said.types : [])),
        [20],
      )
      assert.equal((await later.query(`alter table ${table} alter a type float8`)).error, null)
      await postgres.admin(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where backend_type = 'client backend' and pid <> pg_backend_pid()`)
      // As a float8 these bytes would be next to nothing.
      const seven = Buffer.from([0, 0, 0, 0, 0, 0, 0, 7])
      const bound = m.bind({ statement: name, params: [seven], formats: [1] })
      await eventually(() => one!.pooler.pooler.gauges().servers.idle === 0)
      const { error } = await client.run(bound, m.execute(), m.sync())
      assert.equal(error, null, error?.message)
      assert.deepEqual((await later.query(`table ${table}`)).rows, [['7'], ['7']])
    }))
})

describe('a statement parsed behind a change of the table', () => {
  const INT4 = 23
  const FLOAT8 = 701
  const seven = Buffer.from([0, 0, 0, 7])
  const half = Buffer.alloc(8)
  half.writeDoubleBE(0.5)

  const changes = ['in between', 'in a transaction that the statement sees', 'rolled back'] as const
  for (const [at, change] of changes.entries()) {
    it(`takes parameters of its types, and older ones those that their clients were told: ${change}`, () =>
      withTable(
        async ({ table, client, later }) => {
          const parse = (name: string) => [
            m.parse(`insert into ${table} values ($1)`, { name }),
            m.describe('S', name),
            m.sync(),
          ]
          const types = async (who: WireClient, name: string) =>
            (await who.run(...parse(name))).messages.flatMap((said) => (said.type === 't' ? said.types : []))
          const insert = (who: WireClient, name: string, value: Buffer) =>
            who.run(m.bind({ statement: name, params: [value], formats: [1] }), m.execute(), m.sync())
          // Both servers get it.
          for (const who of [client, later]) {
            await who.query('begin')
            assert.deepEqual(await types(who, 'old'), [INT4])
          }
          for (const who of [client, later]) assert.equal((await who.query('commit')).error, null)
          const alter = `alter table ${table} alter a type float8`
          if (at === 0) assert.equal((await later.query(alter)).error, null)
          else {
            await later.query('begin')
            await later.query(alter)
            assert.deepEqual(await types(later, 'inside'), [FLOAT8])
            await later.query(at === 1 ? 'commit' : 'rollback')
          }
          const now = at === 2 ? INT4 : FLOAT8
          for (const who of [client, later]) {
            await who.query('begin')
            assert.deepEqual(await types(who, 'new'), [now])
            assert.equal((await insert(who, 'old', seven)).error, null)
            assert.equal((await insert(who, 'new', now === INT4 ? seven : half)).error, null)
            if (who === client) assert.equal((await who.query('commit')).error, null)
          }
          assert.equal((await later.query('commit')).error, null)
          const { rows } = await client.query(`select a from ${table} order by a`)
          const more = now === INT4 ? '7' : '0.5'
          assert.deepEqual(rows.flat().toSorted(), [more, more, '7', '7', '7'].toSorted())
        },
        through(two!.pooler, postgres),
      ))
  }
})

describe('a described statement', () => {
  it('goes on on a server that does not have it, in a pipeline and in transactions', () =>
    withTable(async ({ client, later }) => {
      const kill = 'select pg_terminate_backend(pg_backend_pid())'
      const begin = [m.parse('begin'), m.bind(), m.execute()]
      for (const batch of [use, [m.query('begin'), ...use], [...begin, ...use]]) {
        assert.equal((await later.query(kill)).error?.code, '57P01')
        client.send(...batch, ...use, m.query('rollback'))
        const messages = []
        for (let ready = batch[0] === use[0] || batch[0] === begin[0] ? 3 : 4; ready > 0; ready--) {
          messages.push(...(await client.until()))
        }
        const rows = messages.filter(({ type }) => type === 'D').length
        assert.equal(rows, 2)
        assert.deepEqual(
          messages.filter(({ type }) => type === 'E' || type === 't' || type === 'T'),
          [],
        )
      }
    }))

  it('is found to be gone as by a direct connection', async () => {
    for (const options of [direct(postgres), through(one!.pooler, postgres)]) {
      await withTable(async ({ table, client, later }) => {
        await postgres.admin(`drop table ${table}`)
        if (options.port !== postgres.port) await later.query('select pg_terminate_backend(pg_backend_pid())')
        assert.equal((await client.run(...use)).error?.code, '42P01')
        assert.deepEqual((await client.query('select 1')).rows, [['1']])
      }, options)
    }
  })

  it('leaves nothing open when its client goes while it is described', () =>
    withTable(async ({ table, client, later }) => {
      await using locker = await WireClient.connect(direct(postgres))
      await later.query('select pg_terminate_backend(pg_backend_pid())')
      await locker.query(`begin; lock table ${table}`)
      client.send(...use)
      await locker.query('select 1')
      client.destroy()
      const answer = later.query('select 1')
      await locker.query('rollback')
      assert.deepEqual((await answer).rows, [['1']])
      assert.equal((await later.query('select 1')).status, 'I')
    }))
})
