// `pgmux status` and `pgmux top` beside a running pgmux, each in a process of its own; `top` in a real
// terminal too. Must only do what a user of them does.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ADMIN, startConsole, STATS } from '../support/console.ts'
import * as m from '../support/messages.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { eventually } from '../support/rig.ts'

const COMMAND = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
const postgres = await getPostgres()
const { user, database } = postgres
const rig = await startConsole(postgres, { pool: { size: 1 } })
const { host, port } = rig.test
const url = `postgres://${STATS.user}@${host}:${port}/pgmux`
const env = { ...process.env, PGPASSWORD: STATS.password } as Record<string, string>

function pgmux(args: string[], more: Record<string, string> = env) {
  return runProgram(process.execPath, [COMMAND, ...args], { env: more })
}

/** Somebody is idle in a transaction, and somebody else waits. */
const idler = await rig.client()
const waiter = await rig.client()
after(() => Promise.all([idler.end(), waiter.end()]))
await idler.query('begin')
await idler.query("select 'secret', 7")
waiter.send(m.query('select 8'))
await using boss = await rig.console()
await eventually(async () => (await boss.query('SHOW WAITS')).rows.length === 1)

suite('status', { concurrency: 2 }, () => {
  test('for people, with why clients wait', async () => {
    const { code, stdout, stderr } = await pgmux(['status', url])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^pgmux \S+: active, \d+ clients, 1 waiting, 0 pins\n/)
    assert.match(stdout, /\ndatabase +user +pool_mode +cl_active/)
    assert.match(stdout, /1 wait for .*all 1 servers of the pool are in use: 1 idle in transaction, up to/)
    assert.match(stdout, /is idle in transaction for \d+ s: select '\?', \?\n.*KILL_CLIENT \d+/)
    assert.ok(!stdout.includes('secret'))
  })

  test('for programs', async () => {
    const { code, stdout } = await pgmux(['status', '--json', url])
    assert.equal(code, 0)
    const found = JSON.parse(stdout)
    assert.equal(found.state.active, 'yes')
    assert.equal(found.pools[0].cl_waiting, 1)
    assert.equal(found.waits[0].reason, 'pool_full')
    assert.equal(found.waits[0].statement, 'select ?')
    assert.deepEqual(
      found.hosts.map((one: { database: string; state: string }) => [one.database, one.state]),
      [[database, 'up']],
    )
    assert.ok(found.totals.total_query_count >= 2 && found.statements.length > 0)
  })

  test('finds the console of a configuration, and the password of who may look', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pgmux-status-'))
    after(() => rm(folder, { recursive: true }))
    const file = join(folder, 'config.yaml')
    const { PGPASSWORD: _, ...bare } = env
    const config = {
      listen: { host, port },
      upstream: { url: postgres.url },
      admin: { users: ADMIN.user },
      users: { [ADMIN.user]: { password: ADMIN.password } },
    }
    await writeFile(file, JSON.stringify(config))
    const found = await pgmux(['status', '--config', file], bare)
    assert.equal(found.code, 0, found.stderr)
    assert.match(found.stdout, /1 waiting/)
    await writeFile(file, JSON.stringify({ ...config, admin: {} }))
    const nobody = await pgmux(['status', '--config', file], bare)
    assert.equal(nobody.code, 1)
    assert.match(nobody.stderr, /^pgmux: nobody is known who may use the console: name a user in admin\./)
  })

  test('says in one line why it cannot', async () => {
    for (const [args, expected] of [
      [['status', `postgres://${user}@${host}:${port}/pgmux`], /28P01/],
      [['status', 'nonsense'], /the URL of the console is not one/],
    ] as const) {
      const { code, stdout, stderr } = await pgmux([...args])
      assert.notEqual(code, 0, args.join(' '))
      assert.match(stderr, expected)
      assert.equal(stdout, '')
      assert.ok(!stderr.includes('    at ') && !stderr.includes(STATS.password), stderr)
    }
  })
})

suite('top', () => {
  test('without a terminal prints once', async () => {
    const { code, stdout, stderr } = await pgmux(['top', url])
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^pgmux \S+ {2}\d+ clients {2}1 waiting\n.*q quit\n1 wait for /)
    assert.match(stdout, new RegExp(`\\n${database} +${user} +transaction`))
    assert.ok(!stdout.includes('\u001b'))
  })

  test('in a terminal goes on, sorts, changes its view, and quits with q', async (t) => {
    const script = findProgram('script')
    if (script === null) return notRun(t, 'script is not installed')
    let seen = ''
    /** What is typed once something is seen, in this order. */
    const plan: [what: RegExp, then: string][] = [
      [/queries\/s/, 's'],
      [/total_time-/, '<'],
      [/calls-/, 'w'],
      [/holder_state/, 'q'],
    ]
    const file = join(tmpdir(), `pgmux-top-${process.pid}`)
    t.after(() => rm(file, { force: true }))
    const line = `stty cols 150 rows 40; exec ${[process.execPath, COMMAND, 'top', url].join(' ')}`
    const child = spawn(script, ['-qec', line, file], { env: { ...env, TERM: 'xterm' } })
    t.after(() => child.kill('SIGKILL'))
    child.stdout.on('data', (piece: Buffer) => {
      seen += piece
      const [next] = plan
      if (next === undefined || !next[0].test(seen)) return
      plan.shift()
      seen = ''
      child.stdin.write(next[1])
    })
    const [code] = await once(child, 'close')
    assert.deepEqual(plan, [], seen)
    assert.equal(code, 0)
    assert.ok(seen.endsWith('\u001b[?25h\u001b[?1049l'), 'the terminal is given back')
  })
})
