// Owns: a pooler in a process of its own, started by pooler-process.ts, that tells its memory. Must only do
// what its parent asks over the channel between them.
import { keepYoungGenerationSmall } from '../../src/cli/heap.ts'
import { type Overrides, startPooler, type TestPooler } from './pooler.ts'

declare const gc: (() => void) | undefined

/** What the parent sends: the start, or a question. */
export type Order =
  | { start: { upstream: string; overrides: Overrides } }
  | { memory: true }
  | { gauges: true }
  | { cpu: true }
  | { clock: true }
  | { delay: true }
  | { stop: true }

/** Clients and servers by state, as far as JSON carries them. */
export type Gauges = Pick<ReturnType<TestPooler['pooler']['gauges']>, 'clients' | 'servers' | 'waiting'>

/** What the parent gets. `rss` is in bytes, after a collection; `peak` is the most the process ever had. */
export type Reply =
  | { port: number; webPort: number }
  | { rss: number; peak: number }
  | { gauges: Gauges }
  | { cpu: number }
  | { clock: number }
  | { delay: number }
  | { stopped: true }

// As the program does.
keepYoungGenerationSmall()

const LOOK_MS = 5

let test: TestPooler | null = null

const send = (reply: Reply): void => {
  process.send?.(reply)
}

let longest = -1

/**
 * The most work between two turns of the event loop since this was asked last, in ms of processor time: what
 * others on the machine take is not counted.
 */
function heldUp(): number {
  if (longest < 0) {
    let before = process.cpuUsage()
    const look = (): void => {
      const { user, system } = process.cpuUsage(before)
      before = process.cpuUsage()
      longest = Math.max(longest, (user + system) / 1000)
    }
    setInterval(look, LOOK_MS).unref()
  }
  const found = longest
  longest = 0
  return found
}

process.on('message', async (order: Order) => {
  if ('start' in order) {
    const { upstream, overrides } = order.start
    test = await startPooler(upstream, overrides)
    send({ port: test.port, webPort: test.pooler.addresses.serverless?.port ?? 0 })
  } else if ('memory' in order) {
    // The log that tests read is none of the pooler's own memory.
    test?.lines.splice(0)
    // Twice: buffers are freed by the finalizers that the first one queues.
    gc?.()
    await new Promise((resolve) => setImmediate(resolve))
    gc?.()
    send({ rss: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 })
  } else if ('gauges' in order) {
    const { clients, servers, waiting } = (test as TestPooler).pooler.gauges()
    send({ gauges: { clients, servers, waiting } })
  } else if ('cpu' in order) {
    const { user, system } = process.cpuUsage()
    send({ cpu: (user + system) / 1000 })
  } else if ('clock' in order) {
    send({ clock: Date.now() })
  } else if ('delay' in order) {
    send({ delay: heldUp() })
  } else {
    await test?.stop()
    send({ stopped: true })
    process.disconnect()
  }
})
