// pgbench as it is on this machine: all its protocols, more clients than servers. Must never measure speed:
// that is for bench/.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, type TestContext, test } from 'node:test'
import { type Stage, stage } from '../support/compare.ts'
import { getPostgres, notRun } from '../support/postgres.ts'
import { findProgram, runProgram } from '../support/programs.ts'

const pgbench = findProgram('pgbench')
const postgres = await getPostgres()
const small = await stage(postgres, 'a pool of 1', { pool: { size: 1 } })
const wide = await stage(postgres, 'a pool of 2', { pool: { size: 2 } })
const session = await stage(postgres, 'session mode', { pool: { mode: 'session', size: 20 } })
const statement = await stage(postgres, 'statement mode', { pool: { mode: 'statement', size: 2 } })
const folder = mkdtempSync(join(tmpdir(), 'pgmux-pgbench-'))
after(() => rmSync(folder, { recursive: true, force: true }))

async function bench(stage: Stage, args: string[]): Promise<string> {
  const { user, password, database } = postgres
  const env = {
    PGUSER: user,
    PGPASSWORD: password,
    PGHOST: stage.pooler.host,
    PGPORT: String(stage.pooler.port),
  }
  const { code, stdout, stderr } = await runProgram(pgbench ?? '', [...args, database], { env })
  assert.equal(code, 0, `${stage.name}: ${stdout}${stderr}`)
  return stdout + stderr
}

/**
 * A number of transactions for each client, and none of them failed. Each client has a thread: pgbench
 * prepares statements with a call that waits, and clients of one thread that hold servers would wait for each
 * other.
 */
async function exactly(stage: Stage, args: string[], { clients, each }: { clients: number; each: number }) {
  const output = await bench(stage, ['-n', '-c', `${clients}`, '-j', `${clients}`, '-t', `${each}`, ...args])
  assert.match(
    output,
    new RegExp(`number of transactions actually processed: ${clients * each}/${clients * each}`),
  )
  assert.match(output, /number of failed transactions: 0 /)
}

function missing(t: TestContext): boolean {
  if (pgbench === null) notRun(t, 'pgbench is not installed')
  return pgbench === null
}

suite('pgbench', () => {
  test('makes its tables', async (t) => {
    if (missing(t)) return
    await bench(wide, ['-i', '-q', '-s', '1'])
    const [row] = await postgres.admin('select count(*)::int as n from pgbench_accounts')
    assert.equal(row?.n, 100_000)
  })

  for (const protocol of ['simple', 'extended', 'prepared']) {
    test(`-M ${protocol}: reads and transactions, 2 clients on 1 server and 20 on 2`, async (t) => {
      if (missing(t)) return
      const before = await totals()
      await exactly(small, ['-M', protocol, '-S'], { clients: 2, each: 200 })
      await exactly(wide, ['-M', protocol, '-S'], { clients: 20, each: 100 })
      await exactly(small, ['-M', protocol], { clients: 2, each: 50 })
      await exactly(wide, ['-M', protocol], { clients: 20, each: 25 })
      await exactly(wide, ['-M', protocol, '-C', '-S'], { clients: 4, each: 20 })
      const after = await totals()
      assert.equal(after.history - before.history, 2 * 50 + 20 * 25, 'each transaction took place once')
      assert.equal(after.tellers - after.branches, 0)
    })
  }

  test('session mode, and statement mode for single statements', async (t) => {
    if (missing(t)) return
    for (const protocol of ['simple', 'extended', 'prepared']) {
      await exactly(session, ['-M', protocol], { clients: 4, each: 25 })
      await exactly(statement, ['-M', protocol, '-S'], { clients: 8, each: 50 })
    }
  })

  test('pipelines', async (t) => {
    if (missing(t)) return
    const file = join(folder, 'pipeline.sql')
    const reads = 'select abalance from pgbench_accounts where aid = :aid;\n'.repeat(5)
    writeFileSync(file, `\\set aid random(1, 100000)\n\\startpipeline\n${reads}\\endpipeline\n`)
    for (const protocol of ['extended', 'prepared']) {
      await exactly(small, ['-M', protocol, '-f', file], { clients: 2, each: 100 })
      await exactly(wide, ['-M', protocol, '-f', file], { clients: 20, each: 20 })
    }
  })
})

/** pgbench's own invariant: what tellers and branches sum up to is the same. */
async function totals(): Promise<{ history: number; tellers: number; branches: number }> {
  const [row] = await postgres.admin(`select (select count(*)::int from pgbench_history) as history,
    (select sum(tbalance)::int from pgbench_tellers) as tellers,
    (select sum(bbalance)::int from pgbench_branches) as branches`)
  return row as { history: number; tellers: number; branches: number }
}
