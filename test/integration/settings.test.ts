// Settings that Postgres reports: each client has its own on whatever server it works, sees only its own
// changes, and is told what a direct connection tells. What cannot be brought to a server fails closed
// (RULES 1).
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer } from 'node:net'
import { after, describe, it } from 'node:test'
import { assertSame, direct, stage, through, transactionStages } from '../support/compare.ts'
import * as m from '../support/messages.ts'
import { CHOPPED, CHOPS, startPooler } from '../support/pooler.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { normalise } from '../support/transcript.ts'
import { type ClientOptions, LoginError, WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const stages = await transactionStages(postgres)
const [one] = stages
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 3 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 1 } })
const inTransactions = [...stages, session]
const all = [...inTransactions, statement]

const VALUES: Record<string, string[]> = {
  application_name: ['mine', 'it\'s \\ "mine"', ''],
  client_encoding: ['LATIN1', 'UTF8'],
  DateStyle: ['German', 'SQL, DMY', 'ISO, YMD'],
  IntervalStyle: ['iso_8601', 'sql_standard'],
  TimeZone: ['Europe/Berlin', 'UTC', '+05:30', '<+03>-03'],
  standard_conforming_strings: ['off', 'on'],
  default_transaction_read_only: ['on', 'off'],
}
const NAMES = Object.keys(VALUES)
const show = NAMES.map((name) => `current_setting('${name}')`).join(', ')
const quoted = (value: string) => `'${value.replaceAll("'", "''")}'`

describe('settings follow their client', () => {
  for (const [name, values] of Object.entries(VALUES)) {
    it(`${name}: SET, set_config, RESET, SET LOCAL, transactions`, () =>
      assertSame(postgres, inTransactions, async (client, rival) => {
        for (const value of values) {
          await client.query(`set ${name} = E${quoted(value).replaceAll('\\', '\\\\')}`)
          await rival()
          await client.query(`select ${show}`)
          await rival()
          await client.extended(`select ${show}`)
        }
        await client.query('begin')
        await client.query(`set local ${name} to default`)
        await client.query('commit')
        await rival()
        await client.query(`select ${show}`)
        await client.query(`begin; set ${name} to default`)
        await client.query('rollback')
        await rival()
        await client.query(`select ${show}`)
        await client.query(`begin; savepoint a; set ${name} to default; rollback to a; commit`)
        await rival()
        await client.query(`select ${show}`)
        await client.extended('select set_config($1, $2, false)', [name, values[0] ?? ''])
        await rival()
        await client.query(`select ${show}`)
        await client.query(`begin; set ${name} to default; commit`)
        await rival()
        await client.query(`select ${show}`)
      }))
  }

  it('in pipelines', () =>
    assertSame(postgres, all, async (client, rival) => {
      client.send(m.query("set application_name = 'a'"), m.query('show application_name'))
      client.send(m.parse("set application_name = 'b'"), m.bind(), m.execute(), m.sync())
      client.send(m.query('show application_name'))
      for (let count = 0; count < 4; count++) await client.until('Z')
      await rival()
      await client.query('show application_name')
      const set = (value: string) => [m.parse(`set timezone = '${value}'`), m.bind(), m.execute()]
      await client.run(...set('UTC'), ...set('Europe/Paris'), m.sync())
      await rival()
      await client.query('show timezone')
      await client.run(...set('UTC'), ...set('nowhere'), m.sync())
      await rival()
      await client.query('show timezone')
      await client.query("set timezone = 'UTC'; select 1/0")
      await rival()
      await client.query('show timezone')
    }))

  it('values of any length, exact in case', () =>
    assertSame(postgres, all, async (client, rival) => {
      const zone = `<${'Abc+-1'.repeat(22)}>-05:30`
      await client.query(`set timezone = '${zone}'`)
      await rival()
      await client.query('show timezone')
      await client.query(`set application_name = '${'Name '.repeat(40)}'`)
      await rival()
      await client.query('show application_name')
      await client.query("set application_name = 'ünï😀'")
      await rival()
      await client.query('show application_name')
    }))

  it('startup parameters and options, with RESET', () =>
    assertSame(
      postgres,
      inTransactions,
      async (client, rival) => {
        await rival()
        await client.query(`select ${show}`)
        await client.query("set application_name = 'other'; set datestyle = 'ISO'")
        await rival()
        await client.query(`select ${show}`)
      },
      {
        params: {
          application_name: 'Mine',
          datestyle: 'sql, dmy',
          TIMEZONE: 'europe/berlin',
          client_encoding: 'latin1',
        },
      },
    ))

  for (const options of [
    '-c geqo=off -c statement_timeout=1234',
    '--geqo=off --work-mem=5MB',
    '-cgeqo=off',
    '-c search_path=a,"C\\ d" -c geqo=off',
    '-c intervalstyle=iso_8601',
    '-c datestyle=german --timezone=utc',
  ]) {
    it(`options ${options}`, () =>
      assertSame(
        postgres,
        inTransactions,
        async (client, rival) => {
          const names = [
            'geqo',
            'statement_timeout',
            'work_mem',
            'search_path',
            'intervalstyle',
            'datestyle',
            'timezone',
          ]
          const question = `select ${names.map((name) => `current_setting('${name}')`).join(', ')}`
          await client.query(question)
          await rival()
          await client.query(question)
        },
        { params: { options } },
      ))
  }

  it('parameters that are not reported, with RESET and RESET ALL', () =>
    assertSame(
      postgres,
      inTransactions,
      async (client, rival) => {
        const question =
          "select current_setting('search_path'), current_setting('geqo'), current_setting('app.x')"
        await client.query(question)
        await rival()
        await client.query(question)
        await client.query('begin; set search_path = x; reset search_path; select 1; commit')
        await client.query(question)
        await rival()
        await client.query('reset all')
        await client.query(question)
      },
      { params: { search_path: 'pg_catalog', geqo: 'off', 'app.x': 'Y' } },
    ))
})

describe('what a login is told', () => {
  const wrong: Record<string, string>[] = [
    { timezone: 'nowhere' },
    { datestyle: 'nothing' },
    { client_encoding: 'nothing' },
    { standard_conforming_strings: 'perhaps' },
    { intervalstyle: 'nothing' },
    { default_transaction_read_only: 'perhaps' },
    { geqo: 'perhaps' },
    { work_mem: '1 parsec' },
    { no_such_parameter: '1' },
    { max_connections: '10' },
    { server_version: '10' },
    { is_superuser: 'on' },
    { 'bad name': '1' },
    { options: '-c' },
    { options: '-c geqo' },
    { options: '-c geqo=perhaps' },
    { options: '-c no_such_parameter=1' },
    { options: '-z' },
    { options: 'word' },
    { replication: 'perhaps' },
  ]
  // Postgres 18 tells the name of a parameter at login as it spells it, and not as the client did.
  const spelled = (said: string[]) => said.map((one) => one.replace('"IntervalStyle"', '"intervalstyle"'))
  for (const params of wrong) {
    it(`${JSON.stringify(params)}: Postgres' own words`, async () => {
      const expected = spelled(await refusal(direct(postgres, { params })))
      for (const { name, pooler } of [...stages, session]) {
        assert.deepEqual(spelled(await refusal(through(pooler, postgres, { params }))), expected, name)
        await using after = await WireClient.connect(through(pooler, postgres))
        assert.equal((await after.query('select 1')).tag, 'SELECT 1')
      }
    })
  }

  for (const params of [
    { application_name: 'x'.repeat(63) },
    { application_name: 'ünï \n\t' },
    { timezone: 'utc', datestyle: 'iso,mdy' },
    { client_encoding: 'sql_ascii' },
    { client_encoding: '"UTF-8"' },
    { standard_conforming_strings: 'f' },
    { replication: 'off' },
    { extra_float_digits: '3' },
    { Application_Name: 'Mixed' },
  ] as Record<string, string>[]) {
    it(`${JSON.stringify(params)}: as Postgres spells it`, () =>
      assertSame(
        postgres,
        all,
        async (client, rival) => {
          await rival()
          await client.query(`select ${show}`)
        },
        { params },
      ))
  }

  it('the same when Postgres has been asked before', async () => {
    const params = { timezone: 'europe/rome' }
    for (let round = 0; round < 3; round++) {
      await using client = await WireClient.connect(through(one.pooler, postgres, { params }))
      assert.equal(client.parameters.get('TimeZone'), 'Europe/Rome')
      assert.deepEqual((await client.query('show timezone')).rows, [['Europe/Rome']])
    }
  })

  async function refusal(options: ClientOptions): Promise<string[]> {
    try {
      await using client = await WireClient.connect(options)
      return normalise(client.received)
    } catch (error) {
      assert.ok(error instanceof LoginError, String(error))
      return normalise(error.messages)
    }
  }
})

describe('settings that cannot be brought', () => {
  const insert = "insert into ran values ('never')"

  /**
   * Takes the conversion of an encoding away: whoever has it as client_encoding cannot be brought
   * anywhere.
   */
  const allowEncoding = (isAllowed: boolean) =>
    postgres.admin(`do $$ begin
      set local allow_system_table_mods = on;
      update pg_conversion set condefault = ${isAllowed}
        where conname in ('euc_jp_to_utf8', 'utf8_to_euc_jp');
    end $$`)

  const batches: Record<string, Buffer[]> = {
    'a Query': [m.query(insert)],
    'a Query with ROLLBACK': [m.query(`rollback; ${insert}`)],
    'ROLLBACK, then a Query': [m.query('rollback'), m.query(insert)],
    'one batch': [
      m.parse('rollback'),
      m.bind(),
      m.execute(),
      m.parse(insert),
      m.bind(),
      m.execute(),
      m.sync(),
    ],
    'two batches': [m.parse('abort'), m.bind(), m.execute(), m.sync(), m.query(insert)],
    'COMMIT in the second of three': [m.query('select 1'), m.query(`commit; ${insert}`), m.query(insert)],
    'END behind a comment': [m.query(`/* x */ end; ${insert}`)],
    'a long Query': [m.query(insert.padEnd(100_000))],
    'a long Query that begins with ROLLBACK': [m.query(`rollback; ${insert}`.padEnd(100_000))],
    'a prepared ROLLBACK': [m.bind({ statement: 'back' }), m.execute(), m.sync(), m.query(insert)],
    'a DO block': [m.query(`do $$ begin rollback; ${insert}; end $$`)],
    'a COPY': [m.query('copy ran from stdin'), m.copyData('never\n'), m.copyDone()],
  }
  for (const [name, batch] of Object.entries(batches)) {
    it(`${name}: nothing runs, the client is told why, others go on`, async () => {
      const { pooler } = await stage(postgres, 'fails closed', { pool: { mode: 'transaction', size: 1 } })
      await postgres.admin('create table if not exists ran (what text)')
      await using client = await WireClient.connect(through(pooler, postgres))
      await using other = await WireClient.connect(through(pooler, postgres))
      await client.run(m.parse('rollback', { name: 'back' }), m.sync())
      await client.query("set client_encoding = 'EUC_JP'")
      await other.query('select 1')
      await allowEncoding(false)
      try {
        client.send(...batch)
        for (const bytes of batch) {
          if (bytes[0] !== 0x51 && bytes[0] !== 0x53) continue
          const [error] = await client.until('Z')
          assert.ok(error?.type === 'E' && error.message.includes('client_encoding'), JSON.stringify(error))
        }
        assert.equal(client.status, 'I')
        assert.deepEqual((await other.query('show client_encoding')).rows, [['UTF8']])
        assert.deepEqual(await postgres.admin('select * from ran'), [])
      } finally {
        await allowEncoding(true)
      }
      client.drain()
      const answer = await client.query("select 'again', current_setting('client_encoding')")
      assert.equal(answer.error?.message ?? '', '')
    })
  }
})

describe('round trips', () => {
  it('a settings diff costs none', async (t) => {
    if (CHOPS) return notRun(t, CHOPPED)
    const { proxy, pooler } = await counted()
    await using client = await WireClient.connect(
      through(pooler, postgres, { params: { application_name: 'a' } }),
    )
    await using other = await WireClient.connect(
      through(pooler, postgres, { params: { application_name: 'b' } }),
    )
    await client.query('select 1')
    const before = proxy.writes
    for (let round = 0; round < 20; round++) {
      assert.deepEqual((await client.query('show application_name')).rows, [['a']])
      assert.deepEqual((await other.query('show application_name')).rows, [['b']])
    }
    // One write each, the diff in front of the question.
    assert.ok(proxy.writes - before <= 44, `${proxy.writes - before} writes for 40 exchanges`)
  })

  /** A pooler in front of a relay that counts what arrives for Postgres, in pieces. */
  async function counted() {
    const proxy = { writes: 0 }
    const relay = createServer((socket) => {
      const upstream = connect({ host: postgres.host, port: postgres.port })
      socket.on('data', (chunk) => {
        proxy.writes++
        upstream.write(chunk)
      })
      upstream.pipe(socket)
      socket.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
      upstream.on('error', () => socket.destroy())
    })
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
    const url = new URL(postgres.url)
    url.hostname = '127.0.0.1'
    url.port = String((relay.address() as AddressInfo).port)
    const pooler = await startPooler(url.href, { pool: { mode: 'transaction', size: 1 } })
    after(async () => {
      await pooler.stop()
      relay.close()
    })
    return { proxy, pooler }
  }
})
