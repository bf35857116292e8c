// Statements that Postgres refuses while anybody is connected to a database: servers that no client uses are
// not in their way, and clients are, as on a Postgres without a pooler.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Stage, stage, through } from '../support/compare.ts'
import { TestCrew, workerOf } from '../support/crew.ts'
import { getPostgres } from '../support/postgres.ts'
import { type ClientOptions, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const transaction = await stage(postgres, 'transaction mode', { pool: { mode: 'transaction', size: 2 } })
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 4 } })
let number = 0

/** Uses a database for a moment, so that a server is left there. */
async function visit(options: ClientOptions, ...statements: string[]): Promise<void> {
  await using client = await WireClient.connect(options)
  for (const statement of ['select 1', ...statements])
    assert.equal((await client.query(statement)).error, null)
}

describe('statements about a database in which nobody is', () => {
  for (const { name, pooler } of [transaction, session] satisfies Stage[]) {
    it(`are done although there are servers for it: ${name}`, async () => {
      const at = (database: string) => ({ ...through(pooler, postgres), database })
      const [first, second, copy] = ['Own"', 'moved', 'copy'].map((word) => `${word}_${++number}`)
      const quoted = `"${first!.replace('"', '""')}"`
      await using client = await WireClient.connect(through(pooler, postgres))
      const done = async (text: string) => assert.equal((await client.query(text)).error, null, text)
      await done(`create database ${quoted}`)
      await visit(at(first!), 'create table t (a int)', 'listen news')
      await done(`alter database ${quoted} rename to ${second}`)
      await visit(at(second!))
      await done(`/* a copy */ create database ${copy} template ${second}`)
      await visit(at(copy!), 'table t')
      await visit(at('template1'))
      await done(`create database another_${number}`)
      for (const database of [second, copy]) {
        const { error } = await client.extended(`DROP DATABASE ${database}`)
        assert.equal(error, null)
      }
      await done(`drop database another_${number}`)
    })

    it(`are refused while another client is there, idle or not: ${name}`, async () => {
      const database = `used_${++number}`
      await postgres.admin(`create database ${database}`)
      const other = await WireClient.connect({ ...through(pooler, postgres), database })
      await other.query('select 1')
      await using client = await WireClient.connect(through(pooler, postgres))
      // Postgres waits for seconds before it says so.
      await client.query("set statement_timeout = '300ms'")
      assert.equal((await client.query(`alter database ${database} rename to x`)).error?.code, '57014')
      assert.deepEqual((await other.query('select 1')).rows, [['1']])
      await other.end()
      await client.query('reset statement_timeout')
      assert.equal((await client.query(`drop database ${database}`)).error, null)
    })
  }

  it('are done although another worker has servers for it', async () => {
    const crew = await TestCrew.start(postgres)
    const clients = await crew.clients(4)
    const ofBoth = [0, 1].map((worker) => clients.find(({ pid }) => workerOf(pid, 2) === worker))
    const database = `shared_${++number}`
    assert.equal((await ofBoth[0]!.query(`create database ${database}`)).error, null)
    const visitors = await Promise.all([1, 2, 3, 4].map(() => crew.client({ database })))
    assert.equal(new Set(visitors.map(({ pid }) => workerOf(pid, 2))).size, 2)
    for (const visitor of visitors) {
      assert.deepEqual((await visitor.query('select 1')).rows, [['1']])
      await visitor.end()
    }
    assert.equal((await ofBoth[1]!.query(`drop database ${database}`)).error, null)
    for (const client of clients) await client.end()
  })
})
