// `pgmux tunnel` as its users start it: psql and other programs that speak TCP, through the WebSocket
// endpoint of a pooler. What they see must be what they see directly. Must never leave a tunnel running.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, suite, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { WebSocketServer } from 'ws'
import { stage } from '../support/compare.ts'
import { endpointOf, on } from '../support/neon.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, type Outcome, type RunOptions, runProgram } from '../support/programs.ts'
import { testCertificate } from '../support/server-files.ts'
import { asleep, until } from '../support/waits.ts'
import { WireClient } from '../support/wire-client.ts'

const psql = findProgram('psql')
const postgres = await getPostgres()
const { pooler } = await stage(postgres, 'one', { pool: { size: 4 }, serverless: on() })
const folder = mkdtempSync(join(tmpdir(), 'pgmux-tunnel-'))
after(() => rmSync(folder, { recursive: true, force: true }))

interface Tunnel {
  readonly port: number
  readonly child: ChildProcess
  /** What it has said on standard error. */
  readonly errors: string[]
}

async function startTunnel(url: string, env: Record<string, string> = {}): Promise<Tunnel> {
  const bin = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
  const child = spawn(process.execPath, [bin, 'tunnel', url, '--listen', '127.0.0.1:0'], {
    env: { ...process.env, ...env },
  })
  after(() => child.kill('SIGKILL'))
  const errors: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const port = Number(/^pgmux tunnel: 127\.0\.0\.1:(\d+) to wss?:/.exec(line)?.[1])
  assert.ok(port > 0, line)
  return { port, child, errors }
}

const tunnel = await startTunnel(`ws://${endpointOf(pooler)}/v2`)

function run(where: 'direct' | 'tunnel', input: string, args: string[] = [], options: RunOptions = {}) {
  const { host, port } = where === 'direct' ? postgres : { host: '127.0.0.1', port: tunnel.port }
  return runPsql({ host, port, input, args, options })
}

interface Run {
  host: string
  port: number
  input: string
  args: string[]
  options: RunOptions
}

function runPsql({ host, port, input, args, options }: Run): Promise<Outcome> {
  const env = {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: postgres.user,
    PGPASSWORD: postgres.password,
    PGDATABASE: postgres.database,
    PGCONNECT_TIMEOUT: '10',
    PSQLRC: '/dev/null',
    PGAPPNAME: 'psql through a tunnel',
  }
  return runProgram(psql ?? '', ['-X', '-v', 'VERBOSITY=verbose', ...args], {
    ...options,
    env,
    input,
    cwd: folder,
  })
}

function missing(t: TestContext): boolean {
  if (psql === null) notRun(t, 'psql is not installed')
  return psql === null
}

suite('psql through a tunnel', () => {
  test('queries, transactions, errors and \\copy give what they give directly', async (t) => {
    if (missing(t)) return
    const rows = Array.from({ length: 20_000 }, (_, i) => `${i}\trow ${i} ${'x'.repeat(i % 100)}\n`).join('')
    writeFileSync(join(folder, 'in.tsv'), rows)
    const script = `
create table copied (id int, name text);
\\copy copied from 'in.tsv'
\\copy (select * from copied order by id) to 'out.tsv'
select count(*), sum(length(name)) from copied;
begin; select 1/0; rollback;
select 'caf\u00e9 \u2603';
\\d copied
do $$ begin raise notice 'a notice'; end $$;
drop table copied;
`
    const direct = await run('direct', script)
    writeFileSync(join(folder, 'out.tsv'), '')
    const tunnelled = await run('tunnel', script)
    assert.deepEqual(tunnelled, direct)
    assert.equal(readFileSync(join(folder, 'out.tsv'), 'utf8'), rows)
    assert.match(tunnelled.stderr, /22012/)
  })

  test('20 MB come through as they are', async (t) => {
    if (missing(t)) return
    const sql = 'select i, repeat(chr(97 + i % 26), 1000) from generate_series(1, 20000) i'
    const digests: string[] = []
    for (const where of ['direct', 'tunnel'] as const) {
      const hash = createHash('sha256')
      await run(where, '', ['-At', '-c', sql], { onOutput: (piece) => hash.update(piece), discard: true })
      digests.push(hash.digest('hex'))
    }
    assert.equal(digests[1], digests[0])
  })

  test('Ctrl-C cancels: the request comes in a WebSocket of its own', async (t) => {
    if (missing(t)) return
    let interrupt = () => {}
    const ended = run('tunnel', 'select pg_sleep(30);\n', ['-At'], {
      onStart: (child) => {
        interrupt = () => child.kill('SIGINT')
      },
    })
    await asleep(postgres)
    interrupt()
    assert.match((await ended).stderr, /57014/)
  })

  test('a wrong password is refused in words', async (t) => {
    if (missing(t)) return
    const wrong = await run('tunnel', '', ['-c', 'select 1', 'password=wrong'])
    assert.match(wrong.stderr, /FATAL: {2}password authentication failed for user "postgres"/)
    assert.equal(wrong.code, 2)
  })
})

test('a hundred connections at once, each with its own answers', async () => {
  const work = Array.from({ length: 100 }, async (_, i) => {
    const { user, password, database } = postgres
    const client = new pg.Client({ host: '127.0.0.1', port: tunnel.port, user, password, database })
    await client.connect()
    await client.query('begin')
    const { rows } = await client.query('select $1::int as n, pg_sleep(0.01)', [i])
    await client.query('commit')
    await client.end()
    return rows[0].n as number
  })
  assert.deepEqual(
    await Promise.all(work),
    work.map((_, i) => i),
  )
  assert.deepEqual(tunnel.errors, [])
})

/** psycopg 3 asks in pipelines, copies, and is told of an error in between. */
const PYTHON = `
import os, psycopg
with psycopg.connect(os.environ['TUNNEL'], autocommit=True) as db:
    with db.pipeline():
        numbers = [db.execute('select %s::int', (i,)) for i in range(50)]
    print(sum(cursor.fetchone()[0] for cursor in numbers))
    with db.transaction():
        db.execute('create temp table copied (id int) on commit drop')
        with db.cursor().copy('copy copied from stdin') as copy:
            for i in range(5000):
                copy.write_row((i,))
        print(db.execute('select count(*) from copied').fetchone()[0])
    try:
        db.execute('select 1 / 0')
    except psycopg.Error as error:
        print(error.sqlstate)
`

test('psycopg', async (t) => {
  // Debian's own: another Python on the PATH does not have Debian's packages.
  const python = '/usr/bin/python3'
  const isThere = await runProgram(python, ['-c', 'import psycopg']).then(
    ({ code }) => code === 0,
    () => false,
  )
  if (!isThere) return notRun(t, 'psycopg is not installed')
  const url = new URL(postgres.url)
  url.host = `127.0.0.1:${tunnel.port}`
  const { stdout, stderr } = await runProgram(python, ['-c', PYTHON], { env: { TUNNEL: url.href } })
  assert.equal(stdout, '1225\n5000\n22012\n', stderr)
})

test("wss://, with a certificate of an authority of one's own", async (t) => {
  if (missing(t)) return
  const { certFile, keyFile } = testCertificate()
  const secure = await stage(postgres, 'with TLS', { serverless: on({ tls: { certFile, keyFile } }) })
  const url = `wss://${endpointOf(secure.pooler)}/v2`
  const ask = ({ port }: Tunnel) =>
    runPsql({ host: '127.0.0.1', port, input: '', args: ['-Atc', 'select 42'], options: {} })
  assert.equal((await ask(await startTunnel(url, { NODE_EXTRA_CA_CERTS: certFile }))).stdout, '42\n')
  const { stderr } = await ask(await startTunnel(url))
  assert.match(stderr, /FATAL: {2}cannot open a WebSocket to wss:.*NODE_EXTRA_CA_CERTS/)
})

test('the endpoint goes: psql reads why, and the tunnel serves again when it is back', async (t) => {
  if (missing(t)) return
  const mine = await stage(postgres, 'that goes', { serverless: on() })
  const at = endpointOf(mine.pooler)
  const { port, errors } = await startTunnel(`ws://${at}/v2`)
  const ask = () => runPsql({ host: '127.0.0.1', port, input: '', args: ['-Atc', 'select 42'], options: {} })
  assert.equal((await ask()).stdout, '42\n')
  await mine.pooler.pooler.drain(0)
  const refused = await ask()
  assert.equal(refused.code, 2)
  assert.match(
    refused.stderr,
    /FATAL: {2}cannot open a WebSocket to ws:\/\/127\.0\.0\.1:\d+\/v2: connection refused/,
  )
  await until(
    () => errors.length === 1,
    () => 'the tunnel says nothing',
  )
  const again = { host: '127.0.0.1', port: Number(at.split(':')[1]) }
  await stage(postgres, 'that is back', { serverless: again })
  assert.equal((await ask()).stdout, '42\n')
})

test('more connections than it carries are refused in words, until one has gone', async () => {
  const far = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(far, 'listening')
  after(() => {
    for (const socket of far.clients) socket.terminate()
    far.close()
  })
  const { port, errors } = await startTunnel(`ws://127.0.0.1:${(far.address() as AddressInfo).port}/`)
  const open = () => connect({ host: '127.0.0.1', port })
  const sockets = Array.from({ length: 500 }, open)
  after(() => {
    for (const socket of sockets) socket.destroy()
  })
  await until(
    () => far.clients.size === 500,
    () => `${far.clients.size} are through`,
  )
  const { user, database } = postgres
  const login = WireClient.connect({ host: '127.0.0.1', port, user, database })
  await assert.rejects(login, /FATAL 53300: the tunnel has 500 connections open, which is its limit/)
  await until(
    () => errors.length === 1,
    () => 'the tunnel says nothing',
  )
  sockets[0]!.destroy()
  await until(
    () => far.clients.size === 499,
    () => 'it is still there',
  )
  await until(
    () => {
      // The tunnel may hear later than we do that the far end is gone.
      sockets.push(open())
      return far.clients.size === 500
    },
    () => 'nobody else comes in',
  )
})

test('a signal ends it: connections are closed and the code is 0', async () => {
  const { port, child } = await startTunnel(`ws://${endpointOf(pooler)}/v2`)
  const { user, password, database } = postgres
  const client = new pg.Client({ host: '127.0.0.1', port, user, password, database })
  let isLost = false
  client.on('error', () => {
    isLost = true
  })
  await client.connect()
  await client.query('select 1')
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
  await until(
    () => isLost,
    () => 'the program does not know',
  )
})
