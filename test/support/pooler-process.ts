// Owns: a pooler in a process of its own, so that its memory can be measured apart from the test's. Must
// never outlive the test: it is stopped in order, and killed if it does not stop.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Overrides } from './pooler.ts'
import type { Order, Reply } from './pooler-child.ts'

export interface PoolerProcess {
  readonly host: string
  readonly port: number
  readonly pid: number
  /** Bytes of memory after a garbage collection, and the most that the process ever had. */
  memory(): Promise<{ rss: number; peak: number }>
  stop(): Promise<void>
}

/** Starts it. `overrides` must survive JSON: no maps. */
export async function startPoolerProcess(
  upstream: string,
  overrides: Overrides = {},
): Promise<PoolerProcess> {
  const child = fork(new URL('./pooler-child.ts', import.meta.url), { execArgv: ['--expose-gc'] })
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
  const { port } = await ask<{ port: number }>({ start: { upstream, overrides } })
  return {
    host: '127.0.0.1',
    port,
    pid: child.pid ?? 0,
    memory: () => ask<{ rss: number; peak: number }>({ memory: true }),
    async stop() {
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
      const gone = once(child, 'exit')
      await ask({ stop: true })
      await gone
      clearTimeout(timer)
    },
  }
}
