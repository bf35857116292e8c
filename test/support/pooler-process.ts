// Owns: a pooler in a process of its own, so that its memory can be measured apart from the test's, or so
// that it can be put where its system fails it: another network, few open files, little memory. Must never
// outlive the test: it is stopped in order, and killed if it does not stop.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Overrides } from './pooler.ts'
import type { Gauges, Order, Reply } from './pooler-child.ts'

export interface PoolerProcess {
  readonly host: string
  readonly port: number
  /** For WebSocket and HTTP; 0: there is none. */
  readonly webPort: number
  readonly pid: number
  /** Bytes of memory after a garbage collection, and the most that the process ever had. */
  memory(): Promise<{ rss: number; peak: number }>
  /** Clients and servers by state. */
  gauges(): Promise<Gauges>
  /** Processor time so far, in ms. */
  cpu(): Promise<number>
  /** What the clock on its wall says, in ms. */
  clock(): Promise<number>
  /** The most work that held up its event loop since this was asked last, in ms of processor time. */
  delay(): Promise<number>
  /** At once, as by `kill -9`. */
  kill(): Promise<void>
  stop(): Promise<void>
}

/** Where and how the process runs. */
export interface ProcessOptions {
  /** A command that runs it, such as `ip netns exec x` or `prlimit --nofile=64`. */
  through?: readonly string[]
  /** Flags for Node. */
  flags?: readonly string[]
  env?: Readonly<Record<string, string>>
}

/** Starts it. `overrides` must survive JSON: no maps. */
export async function startPoolerProcess(
  upstream: string,
  overrides: Overrides = {},
  options: ProcessOptions = {},
): Promise<PoolerProcess> {
  const child = launch(options)
  const ask = async <T extends Reply>(order: Order): Promise<T> => {
    const listening = new AbortController()
    const { signal } = listening
    const ended = once(child, 'exit', { signal }).then(() => [null])
    const answered = once(child, 'message', { signal })
    child.send(order)
    const [reply] = await Promise.race([answered, ended])
    for (const waiting of [answered, ended]) waiting.catch(() => {})
    listening.abort()
    if (reply === null) throw new Error('the pooler process has ended')
    return reply as T
  }
  const { port, webPort } = await ask<{ port: number; webPort: number }>({ start: { upstream, overrides } })
  return {
    host: overrides.listen?.hosts?.[0] ?? '127.0.0.1',
    port,
    webPort,
    pid: child.pid ?? 0,
    memory: () => ask<{ rss: number; peak: number }>({ memory: true }),
    gauges: async () => (await ask<{ gauges: Gauges }>({ gauges: true })).gauges,
    clock: async () => (await ask<{ clock: number }>({ clock: true })).clock,
    delay: async () => (await ask<{ delay: number }>({ delay: true })).delay,
    cpu: async () => (await ask<{ cpu: number }>({ cpu: true })).cpu,
    async kill() {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
      const gone = once(child, 'exit')
      await ask({ stop: true })
      await gone
      clearTimeout(timer)
    },
  }
}

function launch({ through = [], flags = [], env = {} }: ProcessOptions): ChildProcess {
  const [command = process.execPath, ...rest] = [...through, process.execPath]
  return fork(new URL('./pooler-child.ts', import.meta.url), {
    execPath: command,
    // As bin/pgmux.js starts it: else V8 takes half a GiB to optimise the grammar.
    execArgv: [...rest, '--liftoff-only', '--expose-gc', ...flags],
    env: { ...process.env, ...env },
  })
}
