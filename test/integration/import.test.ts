// What `pgmux import` makes of a pgbouncer.ini behaves as PgBouncer does with that file: both run side by
// side on one Postgres, and the same clients knock at both.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { after, describe, it, type TestContext } from 'node:test'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chooseAccount } from '../../src/embedded/account.ts'
import { temporaryRoot } from '../../src/embedded/home.ts'
import { importIni } from '../../src/config/import/import.ts'
import { createPooler } from '../../src/index.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { logTo } from '../support/pooler.ts'
import { freePort } from '../support/program.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { query } from '../support/messages.ts'
import { LoginError, WireClient } from '../support/wire-client.ts'

const BIN = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
const PGBOUNCER = findProgram('pgbouncer') ?? findProgram('/usr/sbin/pgbouncer')
const MISSING = 'needs PgBouncer (Debian: pgbouncer)'

const postgres = await getPostgres()
await postgres.admin("create role alice login password 'wonder'")
await postgres.admin("create role carol login password 'sing'")
const [stored] = await postgres.admin("select rolpassword from pg_authid where rolname = 'carol'")
const account = await chooseAccount(null)
const folder = mkdtempSync(join(await temporaryRoot(account), 'pgmux-import-'))
if (account !== null) chownSync(folder, account.uid, account.gid)
after(() => rmSync(folder, { recursive: true, force: true }))

const md5Of = (user: string, password: string): string =>
  `md5${createHash('md5')
    .update(password + user)
    .digest('hex')}`

/** A pooler that can be knocked at. */
interface Door {
  readonly name: 'pgbouncer' | 'pgmux'
  connect(database: string, user: string, password: string): Promise<WireClient>
}

/** The same file behind two doors. */
async function bothWith(t: TestContext, settings: string, users = ''): Promise<Door[]> {
  const port = await freePort()
  const { host, user, password, database } = postgres
  const login = `host=${host} port=${postgres.port} dbname=${database}`
  const ini = `[databases]
forced = ${login} user=${user} password='${password}'
small = ${login} user=${user} password='${password}' pool_size=1
own = ${login}
[users]
alice = pool_mode=session
${users}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_file = userlist.txt
%include ${file('more.ini', `${settings}\n`)}
`
  const list = [
    ['alice', 'wonder'],
    ['bob', md5Of('bob', 'build')],
    ['carol', String(stored?.rolpassword)],
    ['boss', 'do""it'],
  ]
  file('userlist.txt', `; users\n${list.map(([name, secret]) => `"${name}" "${secret}"\n`).join('')}`)
  const path = file('pgbouncer.ini', ini)
  await startPgbouncer(t, path)
  const { yaml } = importIni(path)
  const pooler = await createPooler({
    file: file('config.yaml', yaml),
    flags: { listen: '127.0.0.1:0', admin: 'off' },
    env: {},
    log: logTo([], {}),
  })
  t.after(() => pooler.drain(0))
  return [doorAt('pgbouncer', port), doorAt('pgmux', pooler.addresses.postgres.port)]
}

function doorAt(name: Door['name'], port: number): Door {
  const connect: Door['connect'] = (database, user, password) =>
    WireClient.connect({ host: '127.0.0.1', port, database, user, password })
  return { name, connect }
}

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, 0o644)
  return path
}

async function startPgbouncer(t: TestContext, path: string): Promise<void> {
  const identity = account === null ? {} : { uid: account.uid, gid: account.gid }
  const child: ChildProcess = spawn(PGBOUNCER!, [path], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    ...identity,
  })
  t.after(() => child.kill('SIGKILL'))
  const said: string[] = []
  const lines = createInterface({ input: child.stderr! })
  await new Promise<void>((resolve, reject) => {
    lines.on('close', () => reject(new Error(`PgBouncer does not start: ${said.join('\n')}`)))
    lines.on('line', (line) => {
      said.push(line)
      if (line.includes('process up')) resolve()
    })
  })
}

/** 'in', or all that the refusal says. */
async function knock(
  door: Door,
  who: readonly [database: string, user: string, password: string],
): Promise<string> {
  try {
    const client = await door.connect(...who)
    const { rows, error } = await client.query('select current_user')
    client.end()
    return error === null ? `in as ${rows[0]?.[0]}` : `${error.message} ${error.fields.D ?? ''}`
  } catch (error) {
    if (!(error instanceof LoginError)) throw error
    const report = error.messages.find((message) => message.type === 'E')
    return `${report?.message} ${report?.fields.D ?? ''}`
  }
}

const WRONG = /password authentication failed|SASL authentication failed/
/** By no line, or by one that rejects: PgBouncer 1.18 says the same to both. */
const REFUSED = /login rejected|no pg_hba.conf entry|pg_hba.conf rejects/
const NOBODY = /no such database|does not exist/

describe('pgmux import', () => {
  it('writes what pgmux check takes, warns on standard error, breaks off with one sentence', async () => {
    file('list.txt', '"alice" "wonder"\n')
    const ini = file(
      'cli.ini',
      '[pgbouncer]\nauth_file = list.txt\nso_reuseport = 1\n[databases]\na = host=127.0.0.1\n',
    )
    const pgmux = (...args: string[]) => runProgram(process.execPath, [BIN, ...args], { cwd: folder })
    const [made, broken, missing] = await Promise.all([
      pgmux('import', ini),
      pgmux('import', file('broken.ini', '[pgbouncer]\npool_mode = fast\n')),
      pgmux('import'),
    ])
    assert.equal(made.code, 0)
    assert.match(made.stderr, /^pgmux: warning: .*cli\.ini:3: so_reuseport: .*\n/m)
    const checked = await pgmux('check', '--config', file('cli.yaml', made.stdout))
    assert.deepEqual([checked.code, checked.stderr], [0, ''])
    assert.deepEqual([broken.code, broken.stdout], [1, ''])
    assert.match(
      broken.stderr,
      /^pgmux: .*broken\.ini:2: pool_mode: expects one of session, transaction, statement\n$/,
    )
    assert.equal(missing.code, 2)
  })
})

describe('an imported configuration beside PgBouncer with the same file', () => {
  it('md5 and SCRAM secrets, right and wrong, databases that are and are not', async (t) => {
    if (PGBOUNCER === null) return notRun(t, MISSING)
    const doors = await bothWith(t, 'auth_type = md5\npool_mode = transaction')
    const as = `in as ${postgres.user}`
    const CASES: [readonly [string, string, string], RegExp][] = [
      [['forced', 'alice', 'wonder'], new RegExp(`^${as}$`)],
      [['forced', 'bob', 'build'], new RegExp(`^${as}$`)],
      [['forced', 'carol', 'sing'], new RegExp(`^${as}$`)],
      [['own', 'alice', 'wonder'], /^in as alice$/],
      [['own', 'carol', 'sing'], /^in as carol$/],
      [['forced', 'boss', 'do"it'], new RegExp(`^${as}$`)],
      [['forced', 'alice', 'wander'], WRONG],
      [['forced', 'bob', 'built'], WRONG],
      [['forced', 'carol', 'song'], WRONG],
      [['forced', 'eve', 'wonder'], WRONG],
      [['nowhere', 'alice', 'wonder'], NOBODY],
    ]
    for (const [who, expected] of CASES) {
      for (const door of doors)
        assert.match(await knock(door, who), expected, `${door.name}: ${who.join(' ')}`)
    }
  })

  it('SCRAM alone: an md5 hash does not get in', async (t) => {
    if (PGBOUNCER === null) return notRun(t, MISSING)
    const doors = await bothWith(t, 'auth_type = scram-sha-256')
    for (const door of doors) {
      assert.match(await knock(door, ['own', 'carol', 'sing']), /^in as carol$/, door.name)
      assert.match(await knock(door, ['forced', 'bob', 'build']), WRONG, door.name)
    }
  })

  it('rules of access', async (t) => {
    if (PGBOUNCER === null) return notRun(t, MISSING)
    file(
      'hba.conf',
      'host forced alice 127.0.0.1/32 md5\nhost all carol 127.0.0.0/8 scram-sha-256\n' +
        'host small bob all reject\n',
    )
    const doors = await bothWith(t, 'auth_type = hba\nauth_hba_file = hba.conf')
    for (const door of doors) {
      assert.match(await knock(door, ['forced', 'alice', 'wonder']), /^in as/, door.name)
      assert.match(await knock(door, ['own', 'carol', 'sing']), /^in as carol/, door.name)
      assert.match(await knock(door, ['own', 'alice', 'wonder']), REFUSED, door.name)
      assert.match(await knock(door, ['small', 'bob', 'build']), REFUSED, door.name)
    }
  })

  it('pool modes, one server, the wait for it, and the words that people look for', async (t) => {
    if (PGBOUNCER === null) return notRun(t, MISSING)
    const settings =
      'auth_type = md5\npool_mode = transaction\nquery_wait_timeout = 1\n' +
      'max_client_conn = 3\nadmin_users = boss'
    for (const door of await bothWith(t, settings)) {
      const one = await door.connect('small', 'boss', 'do"it')
      const two = await door.connect('small', 'boss', 'do"it')
      const pid = async (client: WireClient) => (await client.query('select pg_backend_pid()')).rows[0]?.[0]
      assert.equal(await pid(one), await pid(two), `${door.name}: transaction mode shares the one server`)
      two.end()
      const other = await door.connect('small', 'bob', 'build')
      const third = await door.connect('own', 'alice', 'wonder')
      const fourth = await knock(door, ['small', 'bob', 'build'])
      assert.match(fourth, /no more connections allowed \(max_client_conn\)/, door.name)
      const operator = await door.connect('pgbouncer', 'boss', 'do"it')
      assert.ok((await operator.query('show pools')).rows.length > 0, door.name)
      operator.end()
      await one.query('begin')
      // Another user, the same server. PgBouncer hangs up behind these words, pgmux stays.
      other.send(query('select 2'))
      const said = await other.next()
      assert.equal(said.type === 'E' ? said.message : said.name, 'query_wait_timeout', door.name)
      one.end()
      other.end()
      // The user's own mode is session: each connection has its server for itself.
      const fifth = await door.connect('own', 'alice', 'wonder')
      assert.notEqual(await pid(third), await pid(fifth), `${door.name}: session mode of the user`)
      third.end()
      fifth.end()
    }
  })
})
