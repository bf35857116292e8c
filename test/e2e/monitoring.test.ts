// What people watch a pooler with, on their own machines: Debian's exporter for PgBouncer reads our console,
// and Prometheus' own tool reads our alert rules. Must only do what a user of them does.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ADMIN, startConsole, STATS } from '../support/console.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'
import { eventually } from '../support/rig.ts'

const RULES = fileURLToPath(new URL('../../docker/prometheus-alerts.yaml', import.meta.url))

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

/** Ended with the test. */
function start(t: TestContext, program: string, args: string[], env: Record<string, string>): ChildProcess {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: 'ignore' })
  t.after(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  return child
}

test('prometheus-pgbouncer-exporter reads the console', async (t) => {
  const program = findProgram('prometheus-pgbouncer-exporter')
  if (program === null) return notRun(t, 'prometheus-pgbouncer-exporter is not installed')
  const postgres = await getPostgres()
  const rig = await startConsole(postgres, { pool: { size: 7, reserveSize: 3 } })
  await using client = await rig.client()
  for (let n = 0; n < 5; n++) await client.query('select 1')
  const port = await freePort()
  const at = ['--pgbouncer-host', rig.test.host, '--pgbouncer-port', String(rig.test.port)]
  const args = [...at, '--pgbouncer-user', STATS.user, '--host', '127.0.0.1', '--port', String(port)]
  start(t, program, args, { PGPASSWORD: STATS.password, PGSSLMODE: 'disable' })
  const text = await eventually(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`)
    assert.equal(response.status, 200)
    return response.text()
  }, 20_000)
  const { database, user } = postgres
  const value = (name: string) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1]
  assert.equal(value(`pgbouncer_requests_total{database="${database}"}`), '5.0')
  assert.ok(Number(value(`pgbouncer_received_bytes_total{database="${database}"}`)) > 0)
  assert.equal(value(`pgbouncer_active_clients{database="${database}",user="${user}"}`), '1.0')
  assert.equal(value(`pgbouncer_waiting_clients{database="${database}",user="${user}"}`), '0.0')
  assert.equal(value(`pgbouncer_pool_size{database="${database}"}`), '7.0')
  assert.equal(value(`pgbouncer_reserve_pool{database="${database}"}`), '3.0')
  // The client, and the exporter.
  assert.equal(value('pgbouncer_used_clients'), '2.0')
  assert.equal(value('pgbouncer_databases'), '2.0')
  assert.notEqual(ADMIN.user, STATS.user)
})

test('promtool takes the alert rules', async (t) => {
  const promtool = findProgram('promtool')
  if (promtool === null) return notRun(t, 'promtool (prometheus) is not installed')
  const { code, stdout, stderr } = await runProgram(promtool, ['check', 'rules', join(RULES)])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /SUCCESS: \d+ rules found/)
})
