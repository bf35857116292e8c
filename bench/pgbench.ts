// Owns how pgbench is called and how its report is read.
// Must never make up a figure that pgbench did not print.
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { Child, Children } from './child.ts'
import type { Missing, Run } from './figures.ts'
import { BenchError, type Scenario } from './options.ts'

/** Where a peer listens on loopback, and whom it lets in. */
export interface Address {
  readonly port: number
  readonly user: string
  /** '' where it asks for none. */
  readonly password: string
  readonly database: string
}

/** 100,000 accounts each: 1,000,000 rows, some 150 MB, all of which stay in memory. */
const SCALE = 10
/** ms beyond its length that a run has: connecting, logging in, ending. */
const RUN_SLACK = 30_000

/** What a report says. */
export type Report = Omit<Run, 'kind' | 'cpu'>

/** @returns the path of a program in PATH or one of the `extra` folders; null: it is not there. */
export async function findProgram(name: string, extra: readonly string[] = []): Promise<string | null> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...extra]) {
    const path = join(folder, name)
    const usable =
      folder !== '' &&
      (await access(path, constants.X_OK).then(
        () => true,
        () => false,
      ))
    if (usable) return path
  }
  return null
}

/** @returns the report in pgbench's output (10 to 18), or one sentence why there is none. */
export function parseReport(lines: readonly string[]): Report | string {
  const text = lines.join('\n')
  const number = (pattern: RegExp): number | null => {
    const match = pattern.exec(text)
    return match === null ? null : Number(match[1])
  }
  const aborted = lines.find((line) => /aborted|^pgbench: (error|fatal)/.test(line))
  if (aborted !== undefined) return aborted.trim()
  const failed = number(/^number of failed transactions: (\d+)/m) ?? 0
  if (failed > 0) return `${failed} transactions failed`
  const transactions = number(/^number of transactions actually processed: (\d+)/m)
  const tps =
    number(/^tps = ([\d.]+) \(without initial connection time\)/m) ??
    number(/^tps = ([\d.]+) \(excluding connections establishing\)/m)
  const latencyAverage = number(/^latency average = ([\d.]+) ms/m)
  if (transactions === null || tps === null || latencyAverage === null) return 'pgbench printed no result'
  if (transactions === 0) return 'not one transaction was done'
  const latencyDeviation = number(/^latency stddev = ([\d.]+) ms/m)
  return { transactions, tps, latencyAverage, latencyDeviation }
}

/** pgbench on this machine. */
export class Pgbench {
  /** As in `15.18`. */
  readonly version: string
  readonly #path: string
  readonly #children: Children

  private constructor(path: string, version: string, children: Children) {
    this.#path = path
    this.version = version
    this.#children = children
  }

  /** @throws BenchError where the machine has none */
  static async find(children: Children): Promise<Pgbench> {
    const path = await findProgram('pgbench')
    if (path === null) {
      throw new BenchError(
        'this bench needs pgbench and it is not in PATH: install the package of Postgres that has it',
      )
    }
    const child = children.start('pgbench', [path, '--version'], {})
    await child.exited
    return new Pgbench(path, /\d[\d.]*/.exec(child.lines.join(' '))?.[0] ?? 'unknown', children)
  }

  /** Creates and fills the tables. */
  async fill(address: Address): Promise<void> {
    const child = this.#start(['-i', '-q', '-s', String(SCALE)], address)
    const { code } = await child.exited
    if (code !== 0) throw new BenchError(`pgbench could not create its tables: ${child.lastWords}`)
  }

  /** One run of `seconds`. Never throws for what the peer does: that is `failed` and a reason. */
  async run(address: Address, load: { scenario: Scenario; clients: number; seconds: number }) {
    const { scenario, clients, seconds } = load
    const args = ['-S', '-n', '-M', scenario, '-c', String(clients), '-j', '1', '-T', String(seconds)]
    // With a progress report asked for, pgbench times each transaction and prints the deviation. It is due
    // after the end, so none is printed.
    args.push('-P', String(seconds + 60))
    const child = this.#start(args, address)
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
    const report = parseReport(child.lines)
    if (typeof report === 'string') return failed(report)
    if (code !== 0) return failed(`pgbench ended with ${signal ?? `exit code ${code}`}: ${child.lastWords}`)
    return report
  }

  #start(args: readonly string[], address: Address): Child {
    const where = ['-h', '127.0.0.1', '-p', String(address.port), '-U', address.user]
    const env = { PGPASSWORD: address.password, PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' }
    return this.#children.start('pgbench', [this.#path, ...args, ...where, address.database], { env })
  }
}

function failed(reason: string): Missing {
  return { kind: 'failed', reason }
}
