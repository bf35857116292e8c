// The console through the programs and drivers that people have, and PgBouncer's own beside it. Must only do
// what a user of them does.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, suite, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import connect from 'postgres'
import { ADMIN, OURS, PGBOUNCER, shape, startConsole } from '../support/console.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { eventually } from '../support/rig.ts'
import { WireClient } from '../support/wire-client.ts'

const postgres = await getPostgres()
const rig = await startConsole(postgres)
// Its server is there to be seen, whatever is reconnected.
const client = await rig.client()
after(() => client.end())
await client.query('begin')
const { host, port } = rig.test
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Where Debian puts the jar of libpostgresql-jdbc-java, its Python, and PgBouncer. */
const [JDBC, PYTHON, SBIN] = ['/usr/share/java/postgresql.jar', '/usr/bin/python3', '/usr/sbin/pgbouncer']

const ALL = { ...PGBOUNCER, ...OURS }
const SHOWS = Object.keys(ALL).map((name) => `SHOW ${name}`)
/** What has rows only where there is something to tell. */
const MAY_BE_EMPTY = /DNS|PEER|ERRORS|LEAKS|WAITS|PINS/
/** What each of them must print for `SHOWS` and two more: columns, and as many rows as there are. */
const STATEMENTS = [...SHOWS, 'SHOW NONSENSE', 'RECONNECT']

const env = {
  PGHOST: host,
  PGPORT: String(port),
  PGUSER: ADMIN.user,
  PGPASSWORD: ADMIN.password,
  PGDATABASE: 'pgmux',
}

/** One line for each statement, as the small programs of the drivers print it. */
function assertRead(name: string, lines: readonly string[]): void {
  assert.equal(lines.length, STATEMENTS.length, `${name}: ${lines.join('\n')}`)
  for (const [at, columns] of Object.values(ALL).entries()) {
    const names = columns.map((column) => column.split(':')[0]).join(',')
    const [shown = '', rows] = (lines[at] ?? '').split(' ')
    assert.ok(shown.startsWith(names), `${name}: ${STATEMENTS[at]}: ${lines[at]}`)
    const mayBeEmpty = MAY_BE_EMPTY.test(STATEMENTS[at] ?? '')
    assert.ok(Number(rows) > 0 || (mayBeEmpty && rows === '0'), `${name}: ${STATEMENTS[at]}: ${rows} rows`)
  }
  assert.deepEqual(lines.slice(-2), ['42601', 'done'], name)
}

suite('drivers read the console', () => {
  test('psql', async (t) => {
    const psql = findProgram('psql')
    if (psql === null) return notRun(t, 'psql is not installed')
    const input = `${STATEMENTS.join(';\n')};\n\\echo end\n`
    const { stdout, stderr, code } = await runProgram(psql, ['-X', '-A'], { env, input })
    assert.equal(code, 0, stderr)
    for (const columns of Object.values(ALL)) {
      const header = columns.map((column) => column.split(':')[0]).join('|')
      assert.ok(
        stdout.split('\n').some((line) => line.startsWith(header)),
        header,
      )
    }
    assert.match(stdout, /\nRECONNECT\nend\n$/)
    assert.match(stderr, /invalid command 'SHOW NONSENSE', use SHOW HELP;/)
    assert.doesNotMatch(stderr, /WARNING/, 'psql thinks that it knows this server')
  })

  for (const how of ['simple', 'extended', 'prepared', 'binary'] as const) {
    test(`node-postgres, ${how}`, async () => {
      const operator = new pg.Client({ host, port, ...ADMIN, database: 'pgbouncer' })
      await operator.connect()
      const lines: string[] = []
      for (const text of STATEMENTS) {
        const config = {
          simple: { text },
          extended: { text, queryMode: 'extended' },
          prepared: { text, name: text },
          binary: { text, binary: true, queryMode: 'extended' },
        }[how]
        lines.push(
          await operator.query(config).then(
            ({ fields, rows }) =>
              fields.length === 0 ? 'done' : `${fields.map(({ name }) => name).join(',')} ${rows.length}`,
            (error: pg.DatabaseError) => error.code ?? String(error),
          ),
        )
      }
      await operator.end()
      assertRead(how, lines)
    })
  }

  test('postgres.js', async () => {
    const sql = connect({ host, port, ...ADMIN, database: 'pgmux', max: 1, onnotice: () => {} })
    const lines: string[] = []
    for (const text of STATEMENTS) {
      lines.push(
        await sql.unsafe(text, [], { prepare: true }).then(
          (rows) =>
            rows.columns === undefined || rows.columns.length === 0
              ? 'done'
              : `${rows.columns.map(({ name }) => name).join(',')} ${rows.length}`,
          (error: { code: string }) => error.code,
        ),
      )
    }
    const [ping] = await sql`SELECT 1`
    assert.equal(ping?.['?column?'], 1)
    await sql.end()
    assertRead('postgres.js', lines)
  })

  for (const driver of ['psycopg', 'psycopg2', 'asyncpg']) {
    test(driver, async (t) => {
      if (!existsSync(PYTHON)) return notRun(t, `${PYTHON} is not there`)
      const probe = await runProgram(PYTHON, ['-c', `import ${driver}`])
      if (probe.code !== 0) return notRun(t, `${driver} is not installed`)
      const program = join(ROOT, 'test/e2e/drivers/python/console.py')
      const { stdout, stderr, code } = await runProgram(PYTHON, [program, driver, ...STATEMENTS], { env })
      assert.equal(code, 0, stderr)
      assertRead(driver, stdout.trimEnd().split('\n'))
    })
  }

  for (const mode of ['simple', 'extended']) {
    test(`pgjdbc, ${mode}`, async (t) => {
      const java = findProgram('java')
      if (java === null || findProgram('javac') === null) return notRun(t, 'a JDK is not installed')
      if (!existsSync(JDBC)) return notRun(t, 'pgjdbc (libpostgresql-jdbc-java) is not installed')
      const program = join(ROOT, 'test/e2e/drivers/java/Console.java')
      const user = `user=${ADMIN.user}&password=${encodeURIComponent(ADMIN.password)}`
      const url = `jdbc:postgresql://${host}:${port}/pgmux?${user}&preferQueryMode=${mode}`
      const args = ['-XX:TieredStopAtLevel=1', '-cp', JDBC, program, url, ...STATEMENTS]
      const { stdout, stderr, code } = await runProgram(java, args)
      assert.equal(code, 0, stderr)
      assertRead(`pgjdbc, ${mode}`, stdout.trimEnd().split('\n'))
    })
  }
})

suite('beside PgBouncer', () => {
  test('shows what this PgBouncer shows, in its order and types', async (t) => {
    const program = findProgram('pgbouncer') ?? (existsSync(SBIN) ? SBIN : null)
    if (program === null) return notRun(t, 'PgBouncer is not installed')
    await using pgbouncer = await startPgbouncer(t, program)
    await using ours = await rig.console()
    let compared = 0
    for (const text of Object.keys(PGBOUNCER).map((name) => `SHOW ${name}`)) {
      const theirs = await pgbouncer.query(text)
      // A version that does not know this one yet.
      if (theirs.error !== null) continue
      const described = (await ours.query(text)).messages.find(({ type }) => type === 'T')
      const expected = theirs.messages.find(({ type }) => type === 'T')
      assert.ok(described?.type === 'T' && expected?.type === 'T', text)
      const columns = shape(described.columns)
      const missing = shape(expected.columns).filter((name) => !columns.includes(name))
      assert.deepEqual(
        missing.filter((name) => !RENAMED.includes(name)),
        [],
        text,
      )
      const isKept = (name: string) => columns.includes(name) && !RENAMED.includes(name)
      const order = shape(expected.columns).filter(isKept)
      assert.deepEqual(
        columns.filter((name) => order.includes(name)),
        order,
        text,
      )
      compared++
    }
    assert.ok(compared >= 12, `${compared} compared`)
  })
})

/** Columns that PgBouncer itself has renamed or given another type since 1.18. */
const RENAMED = ['reserve_pool:int4']

async function startPgbouncer(t: TestContext, program: string): Promise<WireClient> {
  const folder = await mkdtemp(join(tmpdir(), 'pgmux-pgbouncer-'))
  await chmod(folder, 0o755)
  const at = await freePort()
  const lines = ['[databases]', 'app = host=127.0.0.1 port=1', '[pgbouncer]', 'listen_addr = 127.0.0.1']
  lines.push(`listen_port = ${at}`, 'unix_socket_dir =', 'auth_type = any', 'admin_users = boss')
  const file = join(folder, 'pgbouncer.ini')
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o644 })
  // It refuses to run as root.
  const identity = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const child = spawn(program, [file], { ...identity, stdio: 'ignore' })
  t.after(async () => {
    child.kill('SIGKILL')
    await rm(folder, { recursive: true })
  })
  return eventually(() =>
    WireClient.connect({ host: '127.0.0.1', port: at, user: 'boss', database: 'pgbouncer' }),
  )
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: free } = server.address() as { port: number }
  server.close()
  return free
}

suite('the program', () => {
  test('pgmux run ends with status 0 after SHUTDOWN, and reads its file again at RELOAD', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pgmux-console-'))
    after(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, 'config.yaml')
    const write = (size: unknown) =>
      writeFile(
        file,
        JSON.stringify({
          listen: { port: 0 },
          upstream: { url: postgres.url },
          pool: { size },
          users: { boss: { password: ADMIN.password } },
          serverless: { host: 'off' },
          admin: { host: 'off', users: 'boss' },
        }),
      )
    await write(3)
    const child = spawn(process.execPath, [join(ROOT, 'bin', 'pgmux.js'), 'run', '--config', file])
    after(() => child.kill('SIGKILL'))
    const at = await portOf(child)
    const boss = await WireClient.connect({ host: '127.0.0.1', port: at, ...ADMIN, database: 'pgmux' })
    const size = async () => (await boss.query('SHOW CONFIG')).rows.find(([key]) => key === 'pool.size')?.[1]
    assert.equal(await size(), '3')
    await write(4)
    assert.equal((await boss.query('RELOAD')).error, null)
    assert.equal(await size(), '4')
    await write('many')
    assert.match((await boss.query('RELOAD')).error?.fields.H ?? '', /config\.yaml:\d+: pool\.size/)
    assert.equal(await size(), '4')
    await write(5)
    const setTo = async (text: string) => (await boss.query(`SET ${text}`)).error
    assert.equal(await setTo('pool.size = 9'), null)
    assert.equal(await size(), '9')
    const wrong = await setTo('pool.size = many')
    assert.equal(wrong?.code, '22023')
    assert.match(wrong?.message ?? '', /^SET pool\.size: expects a whole number.*, not "many"/)
    assert.equal(await size(), '9')
    // PgBouncer's name, with its seconds; both stay.
    assert.equal(await setTo('default_pool_size = 8'), null)
    assert.equal(await setTo('query_wait_timeout = 90'), null)
    const shown = new Map((await boss.query('SHOW CONFIG')).rows.map(([key, value]) => [key, value]))
    assert.deepEqual([shown.get('pool.size'), shown.get('pool.query_wait_timeout')], ['8', '90s'])
    assert.equal(await setTo('pool_size = DEFAULT'), null)
    assert.equal(await size(), '5')
    assert.equal(await setTo('pool_size = 11'), null)
    assert.equal((await boss.query('RELOAD')).error, null)
    assert.equal(await size(), '5', 'until the next reload')
    const exited = once(child, 'exit')
    await boss.query('SHUTDOWN')
    assert.deepEqual(await exited, [0, null])
  })
})

async function portOf(child: ChildProcess): Promise<number> {
  assert.ok(child.stdout !== null)
  for await (const line of createInterface({ input: child.stdout })) {
    const found = /^pgmux clients: .*:(\d+),/.exec(line)
    if (found !== null) {
      child.stdout.resume()
      return Number(found[1])
    }
  }
  return assert.fail('it did not start')
}
