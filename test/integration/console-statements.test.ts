// SHOW STATEMENTS counts every statement, however it was sent, once: calls, time, rows, errors. Must never
// read the pooler's own counters for what the console can tell.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type ConsoleRig, records, startConsole } from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'

const postgres = await getPostgres()

/** Calls, rows and errors by statement. */
async function counted(rig: ConsoleRig): Promise<Record<string, string>> {
  await using boss = await rig.console()
  const rows = records(await boss.query('SHOW STATEMENTS'))
  return Object.fromEntries(
    rows.map((row) => [row.statement ?? '', `${row.calls} ${row.rows} ${row.errors}`]),
  )
}

for (const mode of ['transaction', 'session', 'statement'] as const) {
  suite(`${mode} mode`, () => {
    test('counts queries, prepared statements, pipelines and errors exactly', async () => {
      const rig = await startConsole(postgres, { pool: { mode } })
      await using client = await rig.client()
      for (let n = 1; n <= 3; n++) await client.query(`select ${n} from generate_series(1, ${n * 10})`)
      await client.query("select 'a'; select 'b'")
      await client.extended('select $1::int', ['7'])
      await client.extended('select $1::int', ['8'])
      await client.run(m.parse('select 1 union select 2', { name: 'p' }), m.sync())
      const bound = [m.bind({ statement: 'p' }), m.execute()]
      await client.run(...bound, ...bound, m.sync())
      await client.run(...bound, m.sync())
      assert.equal((await client.query('select 1 / 0')).error?.code, '22012')
      assert.equal((await client.extended('select 2 / $1::int', ['0'])).error?.code, '22012')
      assert.equal((await client.extended('selekt')).error?.code, '42601')
      const all = await counted(rig)
      assert.deepEqual(
        {
          'select ? from generate_series(?, ?)': '3 60 0',
          "select '?'; select '?'": '1 2 0',
          'select $1::int': '2 2 0',
          'select ? union select ?': '3 6 0',
          'select ? / ?': '1 0 1',
          'select ? / $1::int': '1 0 1',
          selekt: '1 0 1',
        },
        Object.fromEntries(Object.entries(all).filter(([name]) => name !== '<others>')),
      )
    })
  })
}

suite('each statement', () => {
  test('has its own time, also behind others in one pipeline', async () => {
    const rig = await startConsole(postgres)
    await using client = await rig.client()
    const part = (text: string) => [m.parse(text), m.bind(), m.execute()]
    await client.run(...part('select pg_sleep(0.2)'), m.flush(), ...part('select 2'), m.sync())
    await client.run(m.query('select pg_sleep(0.2)'), m.query('select 3'))
    await client.until()
    await using boss = await rig.console()
    const rows = records(await boss.query('SHOW STATEMENTS'))
    const slept = rows.find(({ statement }) => statement === 'select pg_sleep(?.?)')
    const quick = rows.find(({ statement }) => statement === 'select ?')
    assert.deepEqual([slept?.calls, quick?.calls], ['2', '2'])
    assert.ok(Number(slept?.total_time) > 390_000 && Number(slept?.max_time) > 195_000, slept?.total_time)
    assert.ok(Number(quick?.max_time) < 150_000, quick?.max_time)
    assert.equal(rows[0], slept, 'what took most stands first')
  })

  test('is counted from the first on, also where what it does is not known yet', async () => {
    const rig = await startConsole(postgres)
    await using client = await rig.client()
    for (let n = 1; n <= 3; n++) await client.query(`select unknown_yet(${n})`)
    await client.query('prepare p as select 5')
    for (let n = 1; n <= 2; n++) assert.equal((await client.query('execute p')).error, null)
    const all = await counted(rig)
    assert.equal(all['select unknown_yet(?)'], '3 0 3')
    assert.equal(all['execute p'], '2 2 0')
  })

  test('of another encoding or a long text is counted with the others', async () => {
    const rig = await startConsole(postgres)
    await using odd = await rig.client({ params: { client_encoding: 'LATIN1' } })
    await odd.query('select 1')
    await using client = await rig.client()
    await client.query(`select '${'x'.repeat(10_000)}'`)
    await client.query("select e'x'")
    assert.equal((await counted(rig))['<others>'], '3 3 0')
  })
})
