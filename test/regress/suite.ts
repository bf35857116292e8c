// Owns: Postgres' own regression suite as Debian has it: where its parts come from, and one run of it with
// Debian's pg_regress. Must never change a script of the suite, and never put a part of it into this project.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { runProgram } from '../support/programs.ts'

/** The version that Debian's packages carry here; psql, pg_regress and the scripts must be of one version. */
const MAJOR = 15
const FOLDER = fileURLToPath(new URL('.', import.meta.url))
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/pgmux-regress', import.meta.url))
const FETCH_LIMIT = 300_000
/** A run on a quiet machine takes a minute; one that hangs has to end some time. */
const RUN_LIMIT_MS = 20 * 60_000
/** They look at the locks and the tables of the whole database: nobody else may make any meanwhile. */
const ALONE = ['maintain_every', 'advisory_lock']
const VERDICT = /^(?:test)?\s+(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))/

/** Where one run goes. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

/** Folders of the suite, at a place that any account can read. */
export interface Suite {
  readonly version: string
  /** Folder with bin/ and lib/ of Postgres. */
  readonly native: string
  /** Below it each run has its own folder. */
  readonly work: string
}

/** What a run gave. */
export interface Outcome {
  /** Script -> whether its output is one of those that Postgres' authors expect. */
  readonly passed: ReadonlyMap<string, boolean>
  /** Folder with the outputs, `NAME.out`. */
  readonly results: string
}

/** Fetches what is not there yet, and lays it where Postgres can read it. @throws Error with the reason */
export async function prepareSuite(): Promise<Suite> {
  const native = `/usr/lib/postgresql/${MAJOR}`
  const asked = await runProgram('dpkg-query', ['-W', '-f', '${Version}', `postgresql-client-${MAJOR}`])
  const version = process.env.PGMUX_REGRESS_VERSION || asked.stdout.trim()
  if (version === '')
    throw new Error(`postgresql-client-${MAJOR} of Debian is not installed: it has pg_regress`)
  const kept = join(CACHE, version)
  if (!existsSync(kept)) {
    const half = `${kept}.half`
    await rm(half, { recursive: true, force: true })
    await mkdir(half, { recursive: true })
    await script('fetch.sh', [join(half, 'suite'), version])
    await script('build.sh', [join(half, 'suite'), join(half, 'lib'), version])
    await rename(half, kept)
  }
  const work = await mkdtemp(join(tmpdir(), 'pgmux-regress-'))
  await chmod(work, 0o755)
  await cp(kept, work, { recursive: true })
  return { version, native, work }
}

async function script(name: string, args: string[]): Promise<void> {
  const { code, stderr } = await runProgram('sh', [join(FOLDER, name), ...args], { limit: FETCH_LIMIT })
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}`)
}

/**
 * One run of all scripts, as `make installcheck-parallel` does it, one connection for each.
 * @param beforeAlone called before the scripts that must see no temporary tables and locks but their own
 */
export async function runSuite(
  suite: Suite,
  target: Target,
  name: string,
  beforeAlone: () => Promise<void> | void,
): Promise<Outcome> {
  const out = join(suite.work, name)
  const results = join(out, 'results')
  await mkdir(results, { recursive: true })
  // Postgres itself writes there too, under another account.
  for (const folder of [out, results]) await chmod(folder, 0o777)
  const schedule = join(out, 'schedule')
  const lines = await readFile(join(suite.work, 'suite', 'parallel_schedule'), 'utf8')
  await writeFile(schedule, without(lines, ALONE))
  const passed = new Map<string, boolean>()
  await regress(suite, target, { out, passed, args: [`--schedule=${schedule}`] })
  await beforeAlone()
  await regress(suite, target, { out, passed, args: ALONE })
  return { passed, results }
}

/** A schedule without these scripts. */
function without(schedule: string, scripts: readonly string[]): string {
  const left = schedule.replace(new RegExp(` (${scripts.join('|')})\\b`, 'g'), '')
  return left.replace(/^test:\s*$/gm, '')
}

interface Piece {
  readonly out: string
  readonly passed: Map<string, boolean>
  readonly args: readonly string[]
}

async function regress(suite: Suite, target: Target, { out, passed, args }: Piece): Promise<void> {
  const given = {
    inputdir: join(suite.work, 'suite'),
    outputdir: out,
    bindir: join(suite.native, 'bin'),
    dlpath: join(suite.work, 'lib'),
    dbname: 'regression',
    host: target.host,
    port: String(target.port),
    user: target.user,
  }
  const flags = Object.entries(given).map(([flag, value]) => `--${flag}=${value}`)
  const program = join(suite.native, 'lib/pgxs/src/test/regress/pg_regress')
  const { DATABASE_URL: _, ...env } = process.env
  const child = spawn(program, ['--use-existing', ...flags, ...args], {
    cwd: out,
    env: { ...env, PGPASSWORD: target.password },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const timer = setTimeout(() => child.kill('SIGTERM'), RUN_LIMIT_MS)
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  for await (const line of createInterface({ input: child.stdout })) {
    const [, script, verdict] = VERDICT.exec(line) ?? []
    if (script !== undefined) passed.set(script, verdict === 'ok')
    if (script !== undefined && verdict !== 'ok') process.stdout.write(`${line}\n`)
  }
  const code = await ended
  clearTimeout(timer)
  // 1: some scripts differ. Anything else: it could not do its work.
  if (code !== 0 && code !== 1) throw new Error(`pg_regress ended with ${code}`)
}
