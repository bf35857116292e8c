// The console as its clients see it: who gets in, what each may do, both protocols, and clients that behave
// badly. Must only look inside the pooler for what no client can see.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  ADMIN,
  type ConsoleRig,
  OURS,
  PGBOUNCER,
  records,
  STATS,
  shape,
  startConsole,
} from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres } from '../support/postgres.ts'
import { Prng } from '../support/prng.ts'
import { until } from '../support/waits.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'
import { through } from '../support/compare.ts'

/** More than the kernel keeps for a client that does not read. */
const ANSWERS = 2000

const postgres = await getPostgres()
const rig = await startConsole(postgres)

/** The names of all commands, with the role that the console says each needs. */
async function commands(): Promise<{ name: string; role: string }[]> {
  await using boss = await rig.console()
  const { rows } = await boss.query('SHOW HELP')
  return rows.map(([name, role]) => ({ name: name ?? '', role: role ?? '' }))
}

function refused(at: ConsoleRig, extra: Parameters<ConsoleRig['console']>[0]): Promise<LoginError> {
  return at.console(extra).then(
    () => assert.fail('it came in'),
    (error: unknown) => {
      assert.ok(error instanceof LoginError, String(error))
      return error
    },
  )
}

suite('who may do what', () => {
  test('only users of the options come in, after they have shown who they are', async () => {
    const { user, password } = postgres
    for (const database of ['pgmux', 'pgbouncer']) {
      const nobody = await refused(rig, { user, password, database })
      assert.match(nobody.message, /FATAL 42501: user ".*" is not allowed to use the console/)
      assert.match(JSON.stringify(nobody.messages.at(-1)), /admin\.users or admin\.stats_users/)
    }
    const wrong = await refused(rig, { password: 'wrong' })
    const unknown = await refused(rig, { user: 'stranger', password: 'wrong' })
    const elsewhere = await refused(rig, { user: 'stranger', password: 'wrong', database: postgres.database })
    for (const error of [wrong, unknown, elsewhere]) assert.equal(error.code, '28P01')
    assert.equal(unknown.messages.length, elsewhere.messages.length)
  })

  test('each command, for each role', async () => {
    const all = await commands()
    assert.ok(all.length > 30, `${all.length} commands`)
    const changing = all.filter(({ role }) => role === 'admin').map(({ name }) => name)
    assert.deepEqual(changing.sort(), [
      'CANCEL',
      'DISABLE',
      'ENABLE',
      'KILL',
      'KILL_CLIENT',
      'PAUSE',
      'RECONNECT',
      'RELOAD',
      'RESUME',
      'SET',
      'SHUTDOWN',
      'SUSPEND',
      'WAIT_CLOSE',
    ])
    await using viewer = await rig.console(STATS)
    await using boss = await rig.console()
    for (const { name, role } of all) {
      // With an argument that none takes, so that nothing happens to the pooler.
      const harmless = role === 'admin' ? `${name}${ARGUMENTS[name] ?? ''}` : name
      for (const [client, may] of [
        [viewer, role === 'stats'],
        [boss, true],
      ] as const) {
        const text = may ? harmless : `${name}${role === 'admin' ? (NEEDED[name] ?? '') : ''}`
        const simple = await client.query(text)
        const extended = await client.extended(text)
        for (const { error } of [simple, extended]) {
          if (may) assert.notEqual(error?.code, '42501', name)
          else assert.equal(error?.message, 'admin access needed', name)
        }
      }
    }
  })

  test('a role that is taken away counts at the next command', async () => {
    const other = await startConsole(postgres)
    await using boss = await other.console()
    assert.equal((await boss.query('SHOW STATE')).error, null)
    const { config } = other.test.pooler
    const admin = { ...config.admin, users: [], statsUsers: [ADMIN.user] }
    other.test.pooler.reload({ ...config, admin })
    assert.equal((await boss.query('SHOW STATE')).error, null)
    assert.equal((await boss.query('RESUME')).error?.code, '42501')
    other.test.pooler.reload({ ...config, admin: { ...admin, statsUsers: [] } })
    boss.send(m.query('SHOW STATE'))
    const [error] = await boss.untilClosed()
    assert.ok(error?.type === 'E' && error.severity === 'FATAL' && error.code === '42501')
  })

  test('it is no database: no pool, no limit of clients, a limit of its own', async () => {
    const full = await startConsole(postgres, {
      client: { maxConnections: 1, maxPerUser: 1, maxPerAddress: 1 },
    })
    await using client = await full.client()
    await assert.rejects(full.client(), /53300/)
    await using one = await full.console()
    await using two = await full.console({ database: 'pgbouncer' })
    assert.equal((await one.query('SHOW VERSION')).error, null)
    assert.equal((await two.query('SHOW VERSION')).rows.length, 1)
    assert.equal([...full.test.pooler.router.entries()].length, 1)
    const clients: WireClient[] = []
    // One after the other: connections that log in count for max_per_address until they are in.
    while (clients.length < 98) clients.push(await full.console())
    await assert.rejects(full.console(), /53300/)
    await Promise.all(clients.map((each) => each.end()))
    await client.query('select 1')
    await until(
      () => full.console().then((each) => each.end().then(() => true)),
      () => 'no place became free',
    )
  })
})

/** Without it these are not even a command. */
const NEEDED: Readonly<Record<string, string>> = {
  CANCEL: ' 1',
  DISABLE: ' x',
  ENABLE: ' x',
  KILL_CLIENT: ' 1',
  SET: ' a = 1',
}

/** For each admin command an argument with which it changes nothing. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  CANCEL: ' 0',
  DISABLE: ' pgmux',
  ENABLE: ' pgmux',
  KILL: ' pgmux',
  KILL_CLIENT: ' 0',
  PAUSE: ' pgmux',
  SET: ' nothing = 1',
  SHUTDOWN: ' nothing',
  SUSPEND: ' nothing',
}

suite('what it shows', () => {
  test("has PgBouncer's columns and types, in both protocols", async () => {
    await using boss = await rig.console()
    const shown = (await commands()).map(({ name }) => name).filter((name) => name.startsWith('SHOW '))
    assert.deepEqual(
      Object.keys(PGBOUNCER)
        .map((name) => `SHOW ${name}`)
        .filter((name) => !shown.includes(name)),
      [],
    )
    for (const [name, expected] of Object.entries({ ...PGBOUNCER, ...OURS })) {
      for (const result of [
        await boss.query(`SHOW ${name}`),
        await boss.extended(`show ${name.toLowerCase()};`),
      ]) {
        const described = result.messages.find((message) => message.type === 'T')
        assert.ok(described?.type === 'T', name)
        assert.deepEqual(shape(described.columns).slice(0, expected.length), expected, name)
        assert.equal(result.tag, 'SHOW')
        assert.equal(result.status, 'I')
      }
    }
  })

  test('what is there: clients, servers, pools, waits, databases', async () => {
    const other = await startConsole(postgres, { pool: { size: 1 } })
    await using boss = await other.console({ params: { application_name: 'the console' } })
    await using holder = await other.client({ params: { application_name: 'holder' } })
    await using waiter = await other.client()
    await using _idler = await other.client()
    await holder.query('begin')
    await holder.run(m.parse('select 1', { name: 'one' }), m.sync())
    waiter.send(m.query('select 1'))
    const show = async (name: string) => records(await boss.query(`SHOW ${name}`))
    await until(
      async () => (await show('POOLS'))[0]?.cl_waiting === '1',
      () => 'nobody waits',
    )
    const [pool] = await show('POOLS')
    assert.deepEqual(
      [pool?.database, pool?.user, pool?.cl_active, pool?.sv_active, pool?.sv_idle, pool?.pool_mode],
      [postgres.database, postgres.user, '2', '1', '0', 'transaction'],
    )
    const clients = await show('CLIENTS')
    const byState = clients.map(({ state }) => state).sort()
    assert.deepEqual(byState, ['active', 'active', 'idle', 'waiting'])
    const held = clients.find((client) => client.application_name === 'holder')
    assert.equal(held?.prepared_statements, '1')
    assert.ok(clients.some((client) => client.application_name === 'the console'))
    const [server] = await show('SERVERS')
    assert.equal(held?.link, server?.ptr)
    assert.equal(server?.link, held?.ptr)
    const { rows } = await holder.query('select pg_backend_pid()')
    assert.equal(server?.remote_pid, rows[0]?.[0])
    assert.match(held?.connect_time ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/)
    const [database] = await show('DATABASES')
    assert.deepEqual(
      [
        database?.name,
        database?.pool_size,
        database?.current_connections,
        database?.current_client_connections,
      ],
      [postgres.database, '1', '1', '3'],
    )
    const ids = clients.map(({ id }) => id)
    assert.deepEqual(
      (await show('CLIENTS')).map(({ id }) => id),
      ids,
      'ids stay',
    )
    await holder.query('commit')
    await waiter.until()
    assert.equal((await show('LISTS')).find(({ list }) => list === 'used_clients')?.items, '4')
  })

  test('counts per database, exactly', async () => {
    const other = await startConsole(postgres)
    await using boss = await other.console()
    await using client = await other.client()
    await client.query('select 1')
    await client.query('begin; select 2')
    await client.query('commit')
    await client.extended('select 3')
    const [stats] = records(await boss.query('SHOW STATS'))
    assert.deepEqual(
      [stats?.database, stats?.total_xact_count, stats?.total_query_count, stats?.total_client_login_count],
      [postgres.database, '3', '4', '1'],
    )
    assert.deepEqual([stats?.total_client_parse_count, stats?.total_bind_count], ['1', '1'])
    // The login has none: what it wants is known from the server that was opened for it, or it takes one.
    assert.ok(Number(stats?.total_server_assignment_count) >= 3)
    await client.query('select pg_sleep(0.3)')
    const [after] = records(await boss.query('SHOW STATS_TOTALS'))
    const took = Number(after?.query_time) - Number(stats?.total_query_time)
    assert.ok(took > 200_000 && took < 5_000_000, `${took} us for a query of 300 ms`)
  })

  test('no secret', async () => {
    await using boss = await rig.console()
    let all = ''
    for (const { name } of (await commands()).filter(({ role }) => role === 'stats'))
      all += JSON.stringify((await boss.query(name)).rows)
    for (const secret of [postgres.password, ADMIN.password, STATS.password])
      assert.ok(!all.includes(JSON.stringify(secret).slice(1, -1)), secret)
  })
})

suite('the protocol', () => {
  test('several statements, comments, blocks; an error ends the query, not the client', async () => {
    await using boss = await rig.console()
    const both = await boss.query('show version; SHOW State -- of it\n;')
    assert.deepEqual(both.tags, ['SHOW', 'SHOW'])
    const half = await boss.query('show version; nonsense; show state')
    assert.equal(half.error?.code, '42601')
    assert.deepEqual(half.tags, [], 'nothing ran: the text was read first')
    assert.equal((await boss.query('SHOW POLLS')).error?.fields.H?.includes('Did you mean SHOW POOLS?'), true)
    assert.match((await boss.query('drop table x')).error?.fields.H ?? '', /It knows: SHOW HELP\|/)
    assert.equal((await boss.query('')).messages[0]?.type, 'I')
    assert.equal((await boss.query('begin')).status, 'T')
    assert.equal((await boss.query('nonsense')).status, 'E')
    assert.equal((await boss.query('show version')).error?.code, '25P02')
    assert.equal((await boss.query('rollback')).status, 'I')
    assert.equal((await boss.query("set application_name to 'me'")).error, null)
    assert.equal(boss.parameters.get('application_name'), 'me')
    assert.equal((await boss.query('set pool_size = 3')).error?.code, '22023')
    assert.equal((await boss.query('SHOW FDS')).error?.code, '0A000')
    assert.equal((await boss.query('show datestyle')).rows[0]?.[0], 'ISO, MDY')
  })

  test('extended: formats, portals, row limits, names, errors up to the Sync', async () => {
    await using boss = await rig.console()
    const lists = (await boss.query('SHOW LISTS')).rows
    const binary = await boss.extended('SHOW LISTS', [], { results: [1] })
    const row = binary.messages.find((message) => message.type === 'D')
    assert.ok(row?.type === 'D')
    assert.equal(row.values[0]?.toString(), lists[0]?.[0])
    assert.equal(row.values[1]?.readInt32BE(), Number(lists[0]?.[1]))
    boss.send(m.parse('SHOW LISTS', { name: 'l' }), m.describe('S', 'l'), m.bind({ statement: 'l' }))
    boss.send(m.execute('', 3), m.execute('', 0), m.sync())
    const kinds = (await boss.until()).map(({ type }) => type).join('')
    assert.equal(kinds, `1tT2DDDs${'D'.repeat(lists.length - 3)}CZ`)
    const again = await boss.run(m.parse('SHOW STATE', { name: 'l' }), m.bind({ statement: 'l' }), m.sync())
    assert.equal(again.error?.code, '42P05')
    assert.equal(again.messages.map(({ type }) => type).join(''), 'EZ')
    assert.equal((await boss.run(m.bind({ statement: 'none' }), m.sync())).error?.code, '26000')
    assert.equal((await boss.run(m.execute('none'), m.sync())).error?.code, '34000')
    assert.equal((await boss.extended('KILL_CLIENT $1', ['3'])).error?.code, '0A000')
    assert.equal((await boss.extended('SHOW LISTS', [], { results: [7] })).error?.code, '22023')
    assert.equal((await boss.run(m.functionCall(1))).error?.code, '0A000')
    assert.equal((await boss.extended('SHOW STATE; SHOW STATE')).error?.code, '42601')
    boss.send(m.parse('SHOW STATE', { name: 'f' }), m.describe('S', 'f'), m.flush())
    assert.deepEqual((await boss.until('T')).map(({ type }) => type).join(''), '1tT')
    assert.equal((await boss.run(m.close('S', 'f'), m.sync())).status, 'I')
  })

  test('garbage ends one client and nobody else', async () => {
    const random = new Prng(4)
    await using boss = await rig.console()
    const good = [
      m.query('SHOW STATE'),
      m.parse('SHOW POOLS'),
      m.bind(),
      m.execute(),
      m.sync(),
      m.close('S', 'x'),
    ]
    for (let round = 0; round < 60; round++) {
      const wild = await rig.console()
      const bytes = Buffer.concat([random.pick(good), random.pick(good), random.pick(good)])
      for (let hit = 0; hit < 3; hit++) bytes[random.below(bytes.length)] = random.below(256)
      wild.send(bytes, m.terminate())
      await wild.end()
    }
    const long = await rig.console()
    long.send(m.query(`SHOW ${'x'.repeat(70_000)}`))
    const last = (await long.untilClosed()).at(-1)
    assert.ok(last?.type === 'E' && last.code === '08P01')
    assert.equal((await boss.query('SHOW STATE')).error, null)
    assert.ok(!rig.test.lines.some(({ message }) => message.includes('internal error')))
  })

  test('who does not read is not worked for, and gets all of it later', async () => {
    await using boss = await rig.console()
    await using other = await rig.console()
    const sessions = async () => records(await other.query('SHOW SOCKETS'))
    const named = async () =>
      (await sessions()).filter((each) => each.application_name === 'has its answers').length
    boss.pause()
    boss.send(...Array.from({ length: ANSWERS }, () => m.query('SHOW CONFIG')))
    boss.send(m.query("SET application_name = 'has its answers'"))
    await until(
      async () => (await sessions()).some(({ send_remain }) => Number(send_remain) > 0),
      () => 'nothing is kept for it',
    )
    assert.equal(await named(), 0)
    boss.resume()
    for (let answered = 0; answered <= ANSWERS; ) if ((await boss.next()).type === 'Z') answered++
    assert.equal(await named(), 1)
  })

  test('a client that takes nothing for client.write_timeout is closed', async () => {
    const strict = await startConsole(postgres, { client: { writeTimeoutMs: 100 } })
    const boss = await strict.console()
    boss.pause()
    boss.send(...Array.from({ length: ANSWERS }, () => m.query('SHOW CONFIG')))
    await using other = await strict.console()
    await until(
      async () => records(await other.query('SHOW CLIENTS')).length === 1,
      () => 'it is still there',
    )
    boss.destroy()
  })

  test('says what a Postgres says at login, with a key that cancels nothing', async () => {
    await using boss = await rig.console({ minor: 2 })
    assert.equal(boss.key.length, 32)
    assert.equal(boss.parameters.get('client_encoding'), 'UTF8')
    assert.equal(boss.parameters.get('standard_conforming_strings'), 'on')
    assert.match(boss.parameters.get('server_version') ?? '', /^13\.0 \(pgmux /)
    await boss.cancel()
    assert.equal((await boss.query('SHOW STATE')).error, null)
    const early = await WireClient.open(through(rig.test, postgres, { ...ADMIN, database: 'pgmux' }))
    await early.login()
    await early.end()
  })
})
