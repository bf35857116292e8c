// `npm run test:regress`: Postgres' own regression suite on a direct connection, in session mode, and in
// transaction mode on four servers with a hostile neighbour. Prints what differs from direct, keeps the
// diffs, and ends with 1 where that is not what differences.json says. `-- --modes direct,transaction` runs
// these modes only, `--alone` leaves the neighbour out, to look for causes. Needs Debian's postgresql-15, and
// apt that can fetch its source. Must never compare with anything but a run of the same hour.
import { rmSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type EmbeddedPostgres, startEmbedded } from '../../src/embedded/embedded.ts'
import { type Overrides, startPooler } from '../support/pooler.ts'
import { runProgram } from '../support/programs.ts'
import { WireClient } from '../support/wire-client.ts'
import { HOSTILE_ROLE, Neighbour } from './neighbour.ts'
import { type Outcome, prepareSuite, runSuite, type Suite, type Target } from './suite.ts'

/** As pg_regress makes its own Postgres. */
const SETTINGS = { wal_level: 'replica', max_prepared_transactions: '2', max_connections: '100' }
const DATABASE = 'regression'
const SETUP = [
  `create database ${DATABASE} template template0`,
  ...['lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time'].map((name) => `${name} to 'C'`),
  "bytea_output to 'hex'",
  "timezone_abbreviations to 'Default'",
].map((text, index) => (index === 0 ? text : `alter database ${DATABASE} set ${text}`))

const MODES: Readonly<Record<string, Overrides>> = {
  session: { pool: { mode: 'session', size: 40 } },
  transaction: { pool: { mode: 'transaction', size: 4 } },
}
/** Begins the reason of one that depends on which server a client happens to get. */
const SOMETIMES = 'sometimes: '
const LISTED = new URL('differences.json', import.meta.url)
const SEED = Number(process.env.SEED || 1)

const { values: flags } = parseArgs({
  options: {
    modes: { type: 'string', default: 'direct,session,transaction' },
    alone: { type: 'boolean', default: false },
    diffs: { type: 'string', default: fileURLToPath(new URL('last', import.meta.url)) },
  },
})

/** A run, and what is wrong with it beside the outputs of the scripts, in sentences. */
interface Finished extends Outcome {
  readonly wrong: string[]
}

/** One mode on a Postgres of its own: roles and what is broken do not survive it. */
async function run(suite: Suite, mode: string): Promise<Finished> {
  const postgres = await startEmbedded({
    dataDir: '',
    ephemeral: true,
    settings: SETTINGS,
    native: suite.native,
  })
  try {
    const { host, port, user, password } = postgres
    await using admin = await WireClient.connect({ host, port, user, password, database: 'postgres' })
    for (const sql of [...SETUP, `create role ${HOSTILE_ROLE}`]) {
      const { error } = await admin.query(sql)
      if (error !== null) throw new Error(`${sql}: ${error.message}`)
    }
    const overrides = MODES[mode]
    if (overrides !== undefined) return await through(suite, { mode, overrides }, postgres)
    if (mode !== 'direct') throw new Error(`--modes knows direct, ${Object.keys(MODES).join(', ')}`)
    return { ...(await runSuite(suite, postgres, mode, () => {})), wrong: [] }
  } finally {
    await postgres.stop()
  }
}

async function through(
  suite: Suite,
  { mode, overrides }: { mode: string; overrides: Overrides },
  { url, user, password }: EmbeddedPostgres,
): Promise<Finished> {
  const test = await startPooler(url, overrides)
  const target: Target = { host: test.host, port: test.port, user, password }
  const files = await readdir(join(suite.work, 'suite', 'sql'))
  const scripts = files.map((file) => file.replace(/\.sql$/, ''))
  const neighbour = new Neighbour({ ...target, database: DATABASE }, scripts, SEED)
  if (flags.alone) await neighbour.stop()
  try {
    const outcome = await runSuite(suite, target, mode, async () => {
      if (!flags.alone) await neighbour.keepQuiet()
    })
    const leaks = /^pgmux_session_leaks_total\S* (\d+)/m.exec(await test.pooler.metrics())?.[1] ?? '0'
    const { statements, losses, strayLocks } = neighbour
    process.stdout.write(`${mode}: the neighbour ran ${statements} statements\n`)
    const wrong = [
      losses.length > 0 ? `${mode}: the neighbour lost ${losses.length} connections: ${losses[0]}` : '',
      strayLocks > 0 ? `${mode}: the neighbour met ${strayLocks} of its locks in other sessions` : '',
      leaks === '0' ? '' : `${mode}: the leak detector found ${leaks} leaks`,
    ]
    return { ...outcome, wrong: wrong.filter(Boolean) }
  } finally {
    await neighbour.stop()
    await keepLog(mode, test.lines)
    await test.stop()
  }
}

async function keepLog(mode: string, lines: readonly { level: string }[]): Promise<void> {
  const worth = lines.filter(({ level }) => level !== 'debug')
  await writeFile(join(flags.diffs, `${mode}.log`), worth.map((line) => `${JSON.stringify(line)}\n`).join(''))
}

/** Scripts whose output is neither expected nor what the direct connection gave; their diffs are kept. */
async function differences(mode: string, outcome: Outcome, base: Outcome | null): Promise<string[]> {
  const found: string[] = []
  await mkdir(join(flags.diffs, mode), { recursive: true })
  for (const [script, isExpected] of outcome.passed) {
    if (isExpected) continue
    const theirs = join(outcome.results, `${script}.out`)
    const ours = base === null ? null : join(base.results, `${script}.out`)
    const diff = ours === null ? null : await runProgram('diff', ['-U3', ours, theirs])
    if (diff?.code === 0) continue
    found.push(script)
    if (diff !== null) await writeFile(join(flags.diffs, mode, `${script}.diff`), diff.stdout)
  }
  return found
}

/** What is wrong with the differences of a mode, in sentences. */
function complaints(
  mode: string,
  found: readonly string[],
  listed: Readonly<Record<string, string>>,
): string[] {
  const known = Object.keys(listed)
  const unlisted = found.filter((script) => !known.includes(script))
  const gone = known.filter((script) => !found.includes(script) && !listed[script]?.startsWith(SOMETIMES))
  return [
    ...unlisted.map((script) => `${mode}: ${script} differs from direct and is not in differences.json`),
    ...gone.map((script) => `${mode}: ${script} is in differences.json and does not differ: remove it there`),
  ]
}

async function main(): Promise<void> {
  await rm(flags.diffs, { recursive: true, force: true })
  await mkdir(flags.diffs, { recursive: true })
  const suite = await prepareSuite()
  process.on('exit', () => rmSync(suite.work, { recursive: true, force: true }))
  const listed = JSON.parse(await readFile(LISTED, 'utf8')) as Record<string, Record<string, string>>
  const problems: string[] = []
  const counts: string[] = []
  let base: Outcome | null = null
  for (const mode of flags.modes.split(',')) {
    const outcome = await run(suite, mode)
    const found = await differences(mode, outcome, base)
    if (mode === 'direct') base = outcome
    else problems.push(...outcome.wrong, ...complaints(mode, found, listed[mode] ?? {}))
    const as = mode === 'direct' ? 'expected' : 'direct'
    counts.push(`${mode}: ${outcome.passed.size - found.length} of ${outcome.passed.size} as ${as}`)
    counts.push(...found.map((script) => `  ${script}: ${listed[mode]?.[script] ?? '?'}`))
  }
  const summary = `Postgres ${suite.version}\n${counts.join('\n')}\n${problems.join('\n')}\n`
  await writeFile(join(flags.diffs, 'summary.txt'), summary)
  process.stdout.write(`${summary}The diffs are in ${flags.diffs}\n`)
  process.exitCode = problems.length === 0 ? 0 : 1
}

// An end by signal takes Postgres and the folder along, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
await main()
