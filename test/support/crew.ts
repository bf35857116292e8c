// Owns: pgmux with several workers, started as its users start it, and what the system tells of its
// processes. Must never look inside: what it says on its ports and in its log is all there is.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { TestPostgres } from './postgres.ts'
import { freePort, Program } from './program.ts'
import { eventually } from './rig.ts'
import type { ClientOptions, WireClient } from './wire-client.ts'

/** What /metrics shows of each worker by itself. */
export const WORKER_METRICS = [
  'pgmux_worker_clients',
  'pgmux_worker_servers',
  'pgmux_worker_exchanges_total',
  'pgmux_worker_event_loop_delay_seconds',
  'pgmux_worker_cpu_seconds_total',
  'pgmux_worker_memory_bytes',
] as const

export interface CrewOptions {
  readonly workers?: number
  /** Sections of the configuration, laid over what all have. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export class TestCrew {
  readonly program: Program
  readonly folder: string
  readonly webPort: number
  readonly adminPort: number
  readonly #postgres: TestPostgres
  readonly #config: Record<string, unknown>

  private constructor(
    postgres: TestPostgres,
    program: Program,
    rest: Pick<TestCrew, 'folder' | 'webPort'>,
    more: { adminPort: number; config: Record<string, unknown> },
  ) {
    this.program = program
    this.folder = rest.folder
    this.webPort = rest.webPort
    this.adminPort = more.adminPort
    this.#postgres = postgres
    this.#config = more.config
  }

  /** Killed at the end of the file, suite or test. */
  static async start(postgres: TestPostgres, options: CrewOptions = {}): Promise<TestCrew> {
    const folder = mkdtempSync(join(tmpdir(), 'pgmux-workers-'))
    after(() => rmSync(folder, { recursive: true }))
    const [adminPort, webPort] = [await freePort(), await freePort()]
    const { user } = postgres
    const given = options.config ?? {}
    const config = {
      workers: options.workers ?? 2,
      ...given,
      upstream: { url: postgres.url, ...given.upstream },
      admin: { users: user, ...given.admin },
      users: { [user]: { password: postgres.password } },
    }
    const file = join(folder, 'config.yaml')
    writeFileSync(file, JSON.stringify(config))
    const ports = ['--admin', `127.0.0.1:${adminPort}`, '--serverless', `127.0.0.1:${webPort}`]
    const program = await Program.start(['--config', file, ...ports], postgres.password)
    return new TestCrew(postgres, program, { folder, webPort }, { adminPort, config })
  }

  /** Another configuration in the file. */
  rewrite(section: string, keys: Record<string, unknown> | string): void {
    const isWhole = typeof keys === 'string'
    this.#config[section] = isWhole ? keys : { ...(this.#config[section] as object), ...keys }
    writeFileSync(join(this.folder, 'config.yaml'), JSON.stringify(this.#config))
  }

  client(extra: ClientOptions = {}): Promise<WireClient> {
    return this.program.client(extra)
  }

  clients(count: number, extra: ClientOptions = {}): Promise<WireClient[]> {
    return Promise.all(Array.from({ length: count }, () => this.client(extra)))
  }

  console(): Promise<WireClient> {
    return this.client({ database: 'pgmux' })
  }

  /** Rows of a command of the console, by the names of their columns. */
  async show(what: string): Promise<Record<string, string | null>[]> {
    await using client = await this.console()
    const { rows, columns, error } = await client.query(`show ${what}`)
    assert.equal(error, null)
    return rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index] ?? null])))
  }

  /** Of the processes that are there now. */
  workers(): number[] {
    const { pid } = this.program.child
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return children.trim().split(/\s+/).filter(Boolean).map(Number)
  }

  /** The lines of the log with this message. */
  logged(message: string): Record<string, unknown>[] {
    const lines = this.program.lines.filter((line) => line.startsWith('{'))
    return lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) => msg === message)
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.adminPort}${path}`)
    return { status: answer.status, text: await answer.text() }
  }

  /** One number of /metrics. */
  async metric(name: string): Promise<number> {
    const { text } = await this.get('/metrics')
    const line = text.split('\n').find((one) => one.startsWith(`${name} `))
    return Number(line?.slice(name.length + 1))
  }

  /** Server processes that Postgres has for it. */
  async backends(): Promise<number> {
    const sql = `select count(*)::int as n from pg_stat_activity where pid <> pg_backend_pid()
      and backend_type = 'client backend' and application_name <> 'pgmux listen'
      and datname = '${this.#postgres.database}'`
    return Number((await this.#postgres.admin(sql))[0]?.n)
  }

  /** Resolves when this many workers take clients. */
  ready(): Promise<unknown> {
    return eventually(async () => (await this.get('/readyz')).status === 200, 20_000)
  }

  /** Those of the worker with this number. */
  processes(number: number): number[] {
    const title = `worker ${number}`
    return this.workers().filter((worker) => readFileSync(`/proc/${worker}/cmdline`, 'utf8').includes(title))
  }

  /** Of the worker in which this client is, of two. */
  processOf({ pid }: WireClient): number {
    const [found] = this.processes(workerOf(pid, 2))
    assert.ok(found !== undefined, `the worker of ${pid} runs`)
    return found
  }

  async stop(): Promise<number | null> {
    this.program.child.kill('SIGTERM')
    return this.program.exit
  }
}

/** Which of `clients` are in which worker: each number of SHOW CLIENTS says it. */
export function workerOf(id: number | string | null | undefined, workers: number): number {
  return Number(id) % workers
}
