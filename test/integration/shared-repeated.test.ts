// A text that clients send in a Parse of the unnamed statement again and again is prepared on a shared server
// and run by name: nobody may see that, whatever is bound, described or wrong, and however the tables change.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Lane } from '../../src/backend/lane.ts'
import type { Server } from '../../src/backend/server.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { SharingRig } from '../support/sharing.ts'
import type { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin(`create table said (id int primary key, word text)`)
await postgres.admin(`insert into said select n, 'word ' || n from generate_series(1, 50) n`)
await postgres.admin('create schema in_front')
await postgres.admin(`create table told as select 1 as id, 'behind' as word`)

const WORDS = 'select word, id from said where id = $1'
const exchange = (text: string, bound: Parameters<typeof m.bind>[0], isDescribed = true) => [
  m.parse(text),
  m.bind(bound),
  ...(isDescribed ? [m.describe('P')] : []),
  m.execute(),
  m.sync(),
]

/** All messages of one exchange, as they came. */
async function raw(client: WireClient, bytes: readonly Uint8Array[]): Promise<string[]> {
  client.send(...bytes)
  return (await client.until('Z')).map(({ raw: message }) => message.toString('latin1'))
}

/** Clients that run a text until it is prepared on all lanes, or never will be. */
async function repeat(sharing: SharingRig, clients: readonly WireClient[], bytes: Uint8Array[]) {
  for (let more = 0; more < 4; more++)
    await sharing.together(clients.map((client) => async () => client.run(...bytes)))
}

/** Statements on the servers of the pool; none of these clients has named any. */
function prepared(sharing: SharingRig): number {
  const { pool } = sharing.entry
  let found = 0
  for (const server of [...pool.active, ...pool.idle]) found += (server as Server).talk.statements.size
  return found
}

suite('a text that is sent again and again', () => {
  test('is prepared once a server, and answers as on a connection of its own', async () => {
    const sharing = await SharingRig.start(postgres, 2)
    const clients = await sharing.clients(12)
    await repeat(sharing, clients, exchange(WORDS, { params: ['1'] }))
    assert.ok(prepared(sharing) > 0)
    await using direct = await sharing.rig.direct()
    const variants = [
      exchange(WORDS, { params: ['7'] }),
      exchange(WORDS, { params: ['7'] }, false),
      exchange(WORDS, { params: [null] }),
      exchange(WORDS, { params: ['7'], results: [1] }),
      exchange(WORDS, { params: ['1000000'] }),
      exchange(WORDS, { params: [] }),
      exchange(WORDS, { params: ['7', '8'] }),
      exchange(WORDS, { params: ['seven'] }),
      exchange(`${WORDS} and 1 / (id - 7) > 0`, { params: ['7'] }),
    ]
    const expected: string[][] = []
    for (const variant of variants) expected.push(await raw(direct, variant))
    const before = sharing.shared
    for (let round = 0; round < 3; round++) {
      const seen = await sharing.together(
        variants.map((variant, at) => () => raw(clients[at] as WireClient, variant)),
      )
      assert.deepEqual(seen, expected)
    }
    assert.ok(sharing.shared > before)
    // What the client believes to be its unnamed statement is.
    for (const [at, client] of clients.entries()) {
      const { rows } = await client.run(m.bind({ params: [`${at + 1}`] }), m.execute(), m.sync())
      if (at < 5 || at > 8) assert.deepEqual(rows, [[`word ${at + 1}`, `${at + 1}`]])
    }
    await sharing.quiet()
  })

  test('takes the place of what nobody uses any more', async (t) => {
    const bring = t.mock.method(Lane.prototype, 'bring')
    const sharing = await SharingRig.start(postgres, 2, { pool: { maxPreparedStatements: 3 } })
    const clients = await sharing.clients(8)
    const texts = ['select 1 as a', 'select 1 as b', 'select 1 as c', 'select 1 as d', 'select 1 as e']
    for (const text of texts) {
      await repeat(sharing, clients, exchange(text, {}))
      // As when the catalogue was read anew: the servers keep what they have.
      sharing.insight.version++
    }
    assert.ok(bring.mock.callCount() > 3, 'there were more than fit')
    bring.mock.resetCalls()
    await repeat(sharing, clients, exchange(WORDS, { params: ['1'] }))
    assert.ok(bring.mock.callCount() > 0, 'the last one found a place')
    assert.ok(prepared(sharing) <= 2 * 3)
  })

  test('whose constants change is not prepared', async () => {
    const sharing = await SharingRig.start(postgres, 2)
    const clients = await sharing.clients(8)
    let at = 0
    for (let more = 0; more < 6; more++) {
      const works = clients.map(
        (client) => () => client.run(...exchange(`select word from said where id = ${++at}`, {})),
      )
      for (const { error } of await sharing.together(works)) assert.equal(error, null)
    }
    assert.ok(sharing.shared > 0)
    assert.equal(prepared(sharing), 0)
  })

  test('follows its tables: columns, types, names, another table in front', async () => {
    const sharing = await SharingRig.start(postgres, 2)
    const clients = await sharing.clients(8)
    for (const client of clients) await client.query('set search_path = in_front, public')
    await using maker = await sharing.client()
    await using direct = await sharing.rig.direct()
    await direct.query('set search_path = in_front, public')
    const text = 'select * from told where id = $1'
    for (const sql of [
      'select 1',
      // With the same columns: Postgres goes on using what was prepared before.
      `create table in_front.told as select 1 as id, 'front' as word`,
      'drop table in_front.told',
      `alter table told add more int default 5`,
      'alter table told rename column word to other',
      'alter table told alter column id type text',
      `create table in_front.told as select 1 as id, 'front' as word`,
      'drop table in_front.told',
      'drop table told',
      `create table told as select 1 as id, 'anew' as word`,
    ]) {
      assert.equal((await maker.query(sql)).error, null)
      const bytes = exchange(text, { params: ['1'] })
      const expected = await raw(direct, bytes)
      // Until it must have been prepared as it is now.
      const enough = sharing.shared + 3 * clients.length
      for (let more = 0; more < 3 || (sharing.shared < enough && expected.length > 2); more++) {
        const seen = await sharing.together(clients.map((client) => () => raw(client, bytes)))
        for (const one of seen) assert.deepEqual(one, expected, sql)
      }
    }
    assert.ok(sharing.shared > 0)
    await sharing.quiet()
  })

  test('is prepared anew under other settings', async () => {
    const sharing = await SharingRig.start(postgres, 2)
    const clients = await sharing.clients(8)
    const bytes = exchange(`select '02/03/2020'::date - '01/01/2020'::date`, {}, false)
    for (const [style, days] of [
      ['MDY', '33'],
      ['DMY', '61'],
      ['MDY', '33'],
    ]) {
      for (const client of clients) await client.query(`set datestyle = '${style}'`)
      const enough = sharing.shared + 3 * clients.length
      for (let more = 0; more < 3 || sharing.shared < enough; more++) {
        const answers = await sharing.together(clients.map((client) => () => client.run(...bytes)))
        for (const { rows } of answers) assert.deepEqual(rows, [[days]])
      }
      assert.ok(prepared(sharing) > 0)
    }
  })
})
