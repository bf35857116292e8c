// Owns: getting a driver's program ready to run, compiled into a temporary folder, or saying what is missing.
// Must never call a program of ours that does not compile "missing".
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { findProgram, type Outcome, runProgram } from './programs.ts'

/** How a program is started, or why it cannot be. */
export type Command = { program: string; args: readonly string[] } | { missing: string }

const FOLDER = fileURLToPath(new URL('../e2e/drivers/', import.meta.url))
/** Where Debian puts the jar of libpostgresql-jdbc-java. */
const JDBC = '/usr/share/java/postgresql.jar'
/** The first build on a machine compiles Go's own libraries. */
const BUILD_LIMIT = 240_000

/** A program for an interpreter of this machine, if `probe` runs with it. */
export async function interpreted(name: string, probe: readonly string[], file: string): Promise<Command> {
  const program = findProgram(name)
  if (program === null) return { missing: `${name} is not installed` }
  const { code, stderr } = await runProgram(program, probe)
  if (code !== 0) return { missing: lastLine(stderr) }
  return { program, args: [join(FOLDER, file)] }
}

/** A program for the Node that runs the tests. */
export function forNode(file: string): Command {
  return { program: process.execPath, args: [join(FOLDER, 'node', file)] }
}

/** The Go programs of these packages, in their order. */
export async function compiledGo(packages: readonly string[]): Promise<Command[]> {
  const missing = (reason: string) => packages.map(() => ({ missing: reason }))
  const go = findProgram('go')
  if (go === null) return missing('go is not installed')
  const options = {
    cwd: join(FOLDER, 'go'),
    limit: BUILD_LIMIT,
    // Kept between runs, outside the clone. Without C there is no C compiler to wait for.
    env: { GOCACHE: join(tmpdir(), 'pgmux-go-build'), CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' },
  }
  const download = await runProgram(go, ['mod', 'download'], options)
  if (download.code !== 0) return missing(`its modules cannot be had: ${lastLine(download.stderr)}`)
  const folder = temporary()
  mustCompile(
    await runProgram(go, ['build', '-o', `${folder}/`, ...packages.map((name) => `./${name}`)], options),
  )
  return packages.map((name) => ({ program: join(folder, name), args: [] }))
}

/** The Java program. */
export async function compiledJava(): Promise<Command> {
  const [javac, java] = [findProgram('javac'), findProgram('java')]
  if (javac === null || java === null) return { missing: 'a JDK is not installed' }
  if (!existsSync(JDBC)) return { missing: 'pgjdbc (libpostgresql-jdbc-java) is not installed' }
  const folder = temporary()
  const source = join(FOLDER, 'java', 'Scenario.java')
  mustCompile(await runProgram(javac, ['-encoding', 'UTF-8', '-cp', JDBC, '-d', folder, source]))
  // It lives for a second or two: what the optimising compiler could gain is not worth its time.
  const args = [
    '-XX:TieredStopAtLevel=1',
    '-XX:+UseSerialGC',
    '-Xmx256m',
    '-cp',
    `${JDBC}:${folder}`,
    'Scenario',
  ]
  return { program: java, args }
}

function mustCompile({ code, stderr }: Outcome): void {
  if (code !== 0) throw new Error(`a driver's program does not compile: ${stderr}`)
}

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgmux-driver-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
