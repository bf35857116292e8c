// How clients put what runs on a shared server: pipelines, pieces, batches that are cut, and departures in
// the middle of these. Each must see what it would see on a server of its own.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { SharingRig, onlyValue } from '../support/sharing.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
await postgres.admin('create table ledger (key text)')
const sharing = await SharingRig.start(postgres)
const one = (number: number | string) => `select ${number} as wired`
const batch = (number: number) => [
  m.parse('select $1::int as wired_too'),
  m.bind({ params: [`${number}`] }),
  m.describe('P'),
  m.execute(),
  m.sync(),
]
await sharing.warm((client) => client.query(one(1)))
await sharing.warm((client) => client.run(...batch(1)))

/** Answers to so many exchanges. */
async function answers(client: WireClient, count: number): Promise<(string | null)[]> {
  const values = []
  for (let at = 0; at < count; at++) values.push(onlyValue(result(await client.until('Z'))))
  return values
}

/** Many clients at once do this while servers are shared; it has to have been noticed. */
async function crowd(count: number, work: (client: WireClient, at: number) => Promise<void>): Promise<void> {
  const clients = await sharing.clients(count)
  const before = sharing.shared
  await sharing.together(clients.map((client, at) => () => work(client, at)))
  assert.ok(sharing.shared > before, 'nothing was shared')
  for (const client of clients) await client.end()
  await sharing.quiet()
}

suite('exchanges on shared servers', () => {
  test('several in one write', () =>
    crowd(12, async (client, at) => {
      client.send(m.query(one(at)), ...batch(at + 1), m.query(one(at + 2)), ...batch(at + 3))
      assert.deepEqual(await answers(client, 4), [at, at + 1, at + 2, at + 3].map(String))
    }))

  test('reads, writes and transactions in one write keep their order', async () => {
    await crowd(8, async (client, at) => {
      client.send(
        m.query(one(at)),
        m.query(`insert into ledger values ('${at}') returning key`),
        m.query(one(at + 1)),
        m.query(`select count(*) from ledger where key = '${at}'`),
        m.query('begin'),
        m.query(one(at + 2)),
        m.query('commit'),
        m.query(one(at + 3)),
      )
      const results = []
      for (let more = 0; more < 8; more++) results.push(result(await client.until('Z')))
      const values = results.map(({ rows, tag }) => rows[0]?.[0] ?? tag)
      const expected = [at, at, at + 1, 1, 'BEGIN', at + 2, 'COMMIT', at + 3]
      assert.deepEqual(values, expected.map(String))
    })
    await postgres.admin('truncate ledger')
  })

  test('each byte alone', () =>
    crowd(6, async (client, at) => {
      const bytes = Buffer.concat([m.query(one(at)), ...batch(at)])
      await client.sendCut(bytes, Array.from(bytes.keys()))
      assert.deepEqual(await answers(client, 2), [`${at}`, `${at}`])
      client.send(m.query(one(at)))
      assert.deepEqual(await answers(client, 1), [`${at}`])
    }))

  test('cut at every byte', async () => {
    const bytes = Buffer.concat([...batch(7), m.query(one(8))])
    const clients = await sharing.clients(bytes.length)
    const before = sharing.shared
    await sharing.together(
      clients.map((client, at) => async () => {
        await client.sendCut(bytes, [at])
        assert.deepEqual(await answers(client, 2), ['7', '8'], `cut at ${at}`)
      }),
    )
    assert.ok(sharing.shared > before)
    for (const client of clients) await client.end()
  })

  test('Parse in one exchange, Bind in another, shared ones between', () =>
    crowd(12, async (client, at) => {
      assert.equal(onlyValue(await client.query(one(at))), `${at}`)
      client.send(m.parse(`select 'kept ${at}'`), m.sync())
      await client.until('Z')
      client.send(m.bind(), m.execute(), m.sync())
      assert.deepEqual(await answers(client, 1), [`kept ${at}`])
      client.send(...batch(at))
      assert.deepEqual(await answers(client, 1), [`${at}`])
      // The unnamed statement is that of the shared exchange.
      client.send(m.bind({ params: [`${at + 100}`] }), m.execute(), m.sync())
      assert.deepEqual(await answers(client, 1), [`${at + 100}`])
      client.send(m.query(one(at)))
      assert.deepEqual(await answers(client, 1), [`${at}`])
      const { error } = await client.run(m.bind({ params: ['1'] }), m.execute(), m.sync())
      assert.equal(error?.code, '26000')
    }))

  test('Flush instead of Sync', () =>
    crowd(6, async (client, at) => {
      assert.equal(onlyValue(await client.query(one(at))), `${at}`)
      client.send(...batch(at).slice(0, -1), m.flush())
      const before = await client.until('C')
      assert.equal(before.find(({ type }) => type === 'D')?.type, 'D')
      client.send(m.sync())
      await client.until('Z')
      client.send(...batch(at + 1))
      assert.deepEqual(await answers(client, 1), [`${at + 1}`])
    }))

  test('a write behind a shared read is done, though its client says goodbye behind it', async () => {
    const clients = await sharing.clients(8)
    const before = sharing.shared
    await sharing.together(
      clients.map((client, at) => async () => {
        client.send(m.query(one(at)), m.query(`insert into ledger values ('bye ${at}')`), m.terminate())
        client.halfClose()
        await client.closed
      }),
    )
    assert.ok(sharing.shared > before)
    await eventually(async () => (await sharing.rig.value('select count(*) from ledger')) === '8')
    await postgres.admin('truncate ledger')
  })

  test('who closes its end and waits is answered to the end', () =>
    crowd(8, async (client, at) => {
      assert.equal(onlyValue(await client.query(one(at))), `${at}`)
      // The first of these is under way when the end comes.
      client.send(m.query(one(at)), m.query(one(at + 1)), ...batch(at + 2))
      client.halfClose()
      assert.deepEqual(await answers(client, 3), [`${at}`, `${at + 1}`, `${at + 2}`])
    }))

  test('who vanishes in the middle leaves the others alone', async () => {
    const clients = await sharing.clients(24)
    const before = sharing.shared
    await sharing.together(
      clients.map((client, at) => async () => {
        client.send(m.query(one(at)), ...batch(at), m.query(one(at)))
        if (at % 3 === 0) {
          await client.next()
          client.destroy()
        } else assert.deepEqual(await answers(client, 3), [`${at}`, `${at}`, `${at}`])
      }),
    )
    assert.ok(sharing.shared > before)
    await sharing.quiet()
    assert.equal(sharing.entry.counters.leaks, 0)
  })
})
