// Owns one running Postgres as a child process: initdb, start, readiness, its log, its end.
// Must never choose folders or accounts, and never wait by the clock for what an event tells.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { EmbeddedError } from './account.ts'
import { type Binaries, program } from './binaries.ts'
import { type Home, inside } from './home.ts'

/** How a Postgres ended. */
export interface EmbeddedExit {
  code: number | null
  signal: NodeJS.Signals | null
  /** The last lines of its log. */
  log: string[]
}

/** What a start needs to know. */
export interface Launch {
  binaries: Binaries
  home: Home
  port: number
  /** Folder for the Unix socket; '' for none. */
  socketDir: string
  settings: Readonly<Record<string, string>>
  onLog: ((line: string) => void) | undefined
}

/** Thrown by a start: somebody else listens on the port. */
export class PortTaken extends EmbeddedError {}

/** Postgres waits for its clients' rollback at a fast stop: ms until it is told to drop everything. */
const FAST_LIMIT = 15_000
/** ms after that until it is killed. */
const IMMEDIATE_LIMIT = 5_000
const KEPT_LINES = 30
const SHOWN_LINES = 6

/**
 * Creates the data of a fresh home.
 * @throws EmbeddedError with initdb's words
 */
export async function createData(binaries: Binaries, home: Home, sync: boolean): Promise<void> {
  const data = inside(home.dir, 'data')
  // Under another name until it is complete: a start that is killed leaves no half of a data folder.
  const half = `${data}.${randomBytes(4).toString('hex')}`
  const args = ['-D', half, '-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', inside(home.dir, 'password')]
  args.push('-E', 'UTF8', '--no-locale')
  if (!sync) args.push('--no-sync')
  const child = start(binaries, 'initdb', home, args)
  const log: string[] = []
  collect(child, log, undefined)
  const exit = await ended(child, log)
  if (exit.code !== 0) {
    await rm(half, { recursive: true, force: true })
    throw new EmbeddedError(`initdb could not create ${data}: ${tail(exit)}`)
  }
  await rename(half, data)
}

/** @throws EmbeddedError where the data in `home` were made by another major version than `binaries` */
export async function checkVersion(binaries: Binaries, home: Home): Promise<void> {
  const text = await readFile(join(inside(home.dir, 'data'), 'PG_VERSION'), 'utf8').catch(() => '')
  if (Number(text) === binaries.major) return
  const theirs = text.trim() ? `was made by Postgres ${text.trim()}` : 'holds no complete Postgres data'
  throw new EmbeddedError(
    `the data folder ${home.dir} ${theirs}, and this is Postgres ${binaries.major}: name another folder, ` +
      `move it away to start afresh, or run a Postgres of that version yourself and name it with --upstream`,
  )
}

/** A Postgres that accepts connections. */
export class Postmaster {
  readonly exited: Promise<EmbeddedExit>
  readonly pid: number
  readonly #child: ChildProcess
  readonly #launch: Launch
  #running = true

  private constructor(child: ChildProcess, launch: Launch, exited: Promise<EmbeddedExit>) {
    this.#child = child
    this.#launch = launch
    this.pid = child.pid ?? 0
    this.exited = exited.finally(() => {
      this.#running = false
      process.off('exit', this.#onOurExit)
    })
    process.on('exit', this.#onOurExit)
  }

  get running(): boolean {
    return this.#running
  }

  // A process that ends without having stopped Postgres takes it along.
  readonly #onOurExit = (): void => {
    this.#child.kill('SIGINT')
  }

  /**
   * Starts Postgres and waits until it accepts connections.
   * @throws PortTaken
   * @throws EmbeddedError with the last lines of Postgres' log
   */
  static async start(launch: Launch): Promise<Postmaster> {
    const { binaries, home, port, socketDir } = launch
    const args = ['-D', inside(home.dir, 'data')]
    const where = { listen_addresses: '127.0.0.1' }
    const fixed = { port: String(port), unix_socket_directories: socketDir }
    const log = { logging_collector: 'off', log_destination: 'stderr' }
    for (const [name, value] of Object.entries({ ...where, ...launch.settings, ...fixed, ...log })) {
      args.push('-c', `${name}=${value}`)
    }
    const child = start(binaries, 'postgres', home, args)
    const lines: string[] = []
    const exited = ended(child, lines)
    const ready = new Promise<'ready'>((resolve) => {
      collect(child, lines, (line) => {
        if (line.includes('database system is ready to accept connections')) resolve('ready')
        launch.onLog?.(line)
      })
    })
    const first = await Promise.race([ready, exited])
    if (first === 'ready') return new Postmaster(child, launch, exited)
    if (first.log.some((line) => /could not bind .*in use/i.test(line))) {
      throw new PortTaken(
        `port ${port} on 127.0.0.1 is taken: name another port, or end the program that uses it`,
      )
    }
    throw new EmbeddedError(`the embedded Postgres in ${home.dir} did not start: ${tail(first)}`)
  }

  /**
   * Ends Postgres and waits for its end. `fast`: transactions are rolled back, data are written out;
   * `immediate`: as in a crash, the next start recovers from the log.
   */
  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    if (!this.#running) return
    this.#signal(mode)
    const timers = [
      setTimeout(() => this.#signal('immediate'), FAST_LIMIT),
      setTimeout(() => this.#child.kill('SIGKILL'), FAST_LIMIT + IMMEDIATE_LIMIT),
    ]
    await this.exited
    for (const timer of timers) clearTimeout(timer)
  }

  #signal(mode: 'fast' | 'immediate'): void {
    if (process.platform !== 'win32') {
      this.#child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
      return
    }
    // Windows knows no signals; pg_ctl has Postgres' own way.
    const data = inside(this.#launch.home.dir, 'data')
    const args = ['stop', '-W', '-D', data, '-m', mode]
    execFile(program(this.#launch.binaries.native, 'pg_ctl'), args, () => {})
  }
}

function start(binaries: Binaries, name: 'postgres' | 'initdb', home: Home, args: string[]): ChildProcess {
  const env: NodeJS.ProcessEnv = { LC_ALL: 'C' }
  for (const key of ['PATH', 'TZ', 'SystemRoot', 'TEMP', 'TMP']) {
    if (process.env[key] !== undefined) env[key] = process.env[key]
  }
  return spawn(program(binaries.native, name), args, {
    cwd: home.dir,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A session of its own: the terminal's Ctrl-C is for us, who drain first and stop Postgres afterwards.
    detached: true,
    ...(home.account ? { uid: home.account.uid, gid: home.account.gid } : {}),
  })
}

function collect(child: ChildProcess, lines: string[], onLine: ((line: string) => void) | undefined): void {
  for (const input of [child.stdout, child.stderr]) {
    if (!input) continue
    createInterface({ input }).on('line', (line) => {
      lines.push(line)
      if (lines.length > KEPT_LINES) lines.shift()
      onLine?.(line)
    })
  }
}

function ended(child: ChildProcess, log: string[]): Promise<EmbeddedExit> {
  return new Promise((resolve) => {
    child.once('error', (cause) => {
      log.push(cause.message)
      // A program that could not be started gives no other event.
      if (child.pid === undefined) resolve({ code: null, signal: null, log })
    })
    child.once('close', (code, signal) => resolve({ code, signal, log }))
  })
}

function tail(exit: EmbeddedExit): string {
  const lines = exit.log.filter((line) => line.trim()).slice(-SHOWN_LINES)
  if (lines.length === 0)
    return exit.signal ? `ended by ${exit.signal}` : `exit code ${exit.code}, no word in its log`
  return `its log ends with:\n  ${lines.join('\n  ')}`
}
