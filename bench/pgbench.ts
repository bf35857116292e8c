// Owns how pgbench is called, and how its report and its logs are read.
// Must never make up a figure that pgbench did not print.
import { constants } from 'node:fs'
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Child, Children } from './child.ts'
import { latencyOf, type Measured, type Missing } from './figures.ts'
import { transactionTimes, turnTimes } from './latency-log.ts'
import type { Generator, LoadOrder } from './own.ts'
import type { Scripts } from './scripts.ts'
import { FACTS, type Load } from './scenarios.ts'

/** ms beyond its length that a run has: connecting, logging in, ending. */
const RUN_SLACK = 30_000
/** Where transactions come by the ten thousand a second, one in ten is logged: that costs nothing. */
const SAMPLED = 0.1
/** In memory, where Linux has it: a log on a disk would share it with Postgres. */
const MEMORY_FOLDER = '/dev/shm'

/** From here on logins take a noticeable part of a run. The number a second is what a busy machine does. */
const MANY_CLIENTS = 100
const LOGINS_PER_SECOND = 1000
/** More clients than this share two threads: one would be what limits, and logs them in one by one. */
const CLIENTS_OF_THREAD = 200

const NO_RESULT = 'pgbench printed no result'

/** Where a run goes, and how large it is. */
type RunOrder = Omit<LoadOrder, 'load' | 'scripts'>

/** A run of a script in a file. */
export interface ScriptOrder extends RunOrder {
  readonly file: string
}

/** What tells pgbench the load, and which share of the transactions it logs. */
interface Arguments {
  readonly args: readonly string[]
  readonly share: number
  /** Place of the script whose transactions are timed; null: all. */
  readonly timed: number | null
}

/** What a report says. */
export interface Report {
  readonly transactions: number
  /** Transactions a second: without the time to connect, or, with `-C`, with it. */
  readonly tps: number
}

/** @returns the path of a program in PATH or one of the `extra` folders; null: it is not there. */
export async function findProgram(name: string, extra: readonly string[] = []): Promise<string | null> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...extra]) {
    const path = join(folder, name)
    if (folder !== '' && (await can(path, constants.X_OK))) return path
  }
  return null
}

function can(path: string, what: number): Promise<boolean> {
  return access(path, what).then(
    () => true,
    () => false,
  )
}

/**
 * @param reconnects whether each transaction had a connection of its own (`-C`)
 * @returns the report in pgbench's output (10 to 18), or one sentence why there is none
 */
export function parseReport(lines: readonly string[], reconnects: boolean): Report | string {
  const text = lines.join('\n')
  const number = (pattern: RegExp): number | null => {
    const match = pattern.exec(text)
    return match === null ? null : Number(match[1])
  }
  const aborted = lines.find((line) => /aborted|^pgbench: (error|fatal)/.test(line))
  if (aborted !== undefined) return aborted.trim()
  const failures = number(/^number of failed transactions: (\d+)/m) ?? 0
  if (failures > 0) return `${failures} transactions failed`
  const transactions = number(/^number of transactions actually processed: (\d+)/m)
  const patterns = reconnects
    ? [/^tps = ([\d.]+) \(including reconnection times\)/m, /^tps = ([\d.]+) \(including connections/m]
    : [/^tps = ([\d.]+) \(without initial connection time\)/m, /^tps = ([\d.]+) \(excluding connections/m]
  const tps = patterns.map(number).find((found) => found !== null) ?? null
  if (transactions === null || tps === null) return NO_RESULT
  if (transactions === 0) return 'not one transaction was done'
  return { transactions, tps }
}

/** @returns what tells pgbench the load, and which share of the transactions it logs */
export function argumentsOf(load: Load, clients: number, scripts?: Scripts): Arguments {
  const { how } = FACTS[load]
  const threads = String(clients > CLIENTS_OF_THREAD ? 2 : 1)
  if (how === 'tpcb') return { args: ['-b', 'tpcb-like', '-j', '1'], share: 1, timed: null }
  // A thread each: pgbench waits for a connection, and with it waits everything else in the thread.
  if (how === 'connect') return { args: ['-S', '-C', '-j', String(clients)], share: 1, timed: null }
  if (how === 'script') {
    const files = (scripts?.files ?? []).flatMap((file) => ['-f', file])
    return { args: [...files, '-M', 'simple', '-j', threads], share: 1, timed: scripts?.timed ?? null }
  }
  return { args: ['-S', '-M', how, '-j', threads], share: SAMPLED, timed: null }
}

/** @returns s that so many logins may take: pgbench's time begins before the first, its rate behind them */
export function loginTime(clients: number): number {
  return clients < MANY_CLIENTS ? 0 : Math.ceil(clients / LOGINS_PER_SECOND)
}

/** pgbench on this machine. */
export class Pgbench implements Generator {
  readonly name: string
  readonly #path: string
  readonly #children: Children

  private constructor(path: string, version: string, children: Children) {
    this.#path = path
    this.name = `pgbench ${version}`
    this.#children = children
  }

  /** @returns null where the machine has none */
  static async find(children: Children): Promise<Pgbench | null> {
    const path = await findProgram('pgbench')
    if (path === null) return null
    const child = children.start('pgbench', [path, '--version'], {})
    await child.exited
    return new Pgbench(path, /\d[\d.]*/.exec(child.lines.join(' '))?.[0] ?? 'unknown', children)
  }

  run(order: LoadOrder): Promise<Measured | Missing> {
    const { load, clients, scripts } = order
    return this.#logged(order, argumentsOf(load, clients, scripts), FACTS[load].how === 'connect')
  }

  /** Transactions of a script of ours. Its variable `started` is 0 in the first one of each connection. */
  async runScript(order: ScriptOrder): Promise<Measured | Missing> {
    const args = ['-f', order.file, '-M', 'simple', '-j', '1', '-D', 'started=0']
    return this.#logged(order, { args, share: SAMPLED, timed: null }, false)
  }

  async #logged(order: RunOrder, what: Arguments, reconnects: boolean): Promise<Measured | Missing> {
    const root = (await can(MEMORY_FOLDER, constants.W_OK)) ? MEMORY_FOLDER : tmpdir()
    const folder = await mkdtemp(join(root, 'pgmux-bench-log-'))
    try {
      return await this.#run(order, { ...what, folder, reconnects })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #run(
    order: RunOrder,
    { args, share, timed, folder, reconnects }: Arguments & { folder: string; reconnects: boolean },
  ): Promise<Measured | Missing> {
    const { clients, seconds } = order
    const log = ['-l', `--log-prefix=${join(folder, 'log')}`, `--sampling-rate=${share}`]
    const size = ['-c', String(clients), '-T', String(seconds + (reconnects ? 0 : loginTime(clients)))]
    const child = this.#start(['-n', ...args, ...size, ...log], order)
    let late = false
    const timer = setTimeout(
      () => {
        late = true
        child.signal('SIGKILL')
      },
      seconds * 1000 + RUN_SLACK,
    )
    const { code, signal } = await child.exited
    clearTimeout(timer)
    if (late) return failed(`pgbench had not ended ${RUN_SLACK / 1000} s after its time`)
    const report = parseReport(child.lines, reconnects)
    const end = `pgbench ended with ${signal ?? `exit code ${code}`}: ${child.lastWords}`
    if (typeof report === 'string') return failed(report === NO_RESULT ? end : report)
    if (code !== 0) return failed(end)
    const files = await readdir(folder)
    const logs = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))
    const times = reconnects ? turnTimes(logs) : transactionTimes(logs, timed)
    return { amount: report.transactions, rate: report.tps, latency: latencyOf(times) }
  }

  #start(args: readonly string[], { target }: RunOrder): Child {
    const where = ['-h', target.host, '-p', String(target.port), '-U', target.user]
    const env = { PGPASSWORD: target.password, PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' }
    return this.#children.start('pgbench', [this.#path, ...args, ...where, target.database], { env })
  }
}

function failed(reason: string): Missing {
  return { kind: 'failed', reason }
}
