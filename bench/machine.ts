// Where and with what a bench ran: what has to stand beside its figures. It only reads, and names neither the
// machine nor any folder of it.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly system: string
  readonly node: string
  readonly pgmux: string
  readonly postgres: string
  /** null: not on this machine. */
  readonly pgbouncer: string | null
  /** Of one, five and fifteen minutes. */
  readonly loadBefore: readonly number[]
  readonly loadAfter: readonly number[]
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** @returns the three load averages, to two digits */
export function loadNow(): number[] {
  return loadavg().map((load) => Math.round(load * 100) / 100)
}

/** What the machine says of itself. */
export function describeMachine(): Pick<Machine, 'cpu' | 'cores' | 'memoryGib' | 'system' | 'node'> {
  const all = cpus()
  return {
    cpu: all[0]?.model.trim() || 'unknown',
    cores: all.length,
    memoryGib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.versions.node,
  }
}

/** @returns pgmux' version with its commit, as in `0.1.0 (1a2b3c4, with changes)` */
export function pgmuxVersion(): string {
  const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string }
  try {
    const commit = git('rev-parse', '--short', 'HEAD')
    const changes =
      git('status', '--porcelain', '--', 'src', 'bin', 'package.json') === '' ? '' : ', with changes'
    return `${version} (${commit}${changes})`
  } catch {
    return version
  }
}

function git(...args: string[]): string {
  return execFileSync('git', args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim()
}
