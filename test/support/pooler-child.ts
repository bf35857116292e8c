// Owns: a pooler in a process of its own, started by pooler-process.ts, that tells its memory. Must only do
// what its parent asks over the channel between them.
import { type Overrides, startPooler } from './pooler.ts'

declare const gc: (() => void) | undefined

/** What the parent sends: the start, or a question. */
export type Order = { start: { upstream: string; overrides: Overrides } } | { memory: true } | { stop: true }

/** What the parent gets. `rss` is in bytes, after a collection; `peak` is the most the process ever had. */
export type Reply = { port: number } | { rss: number; peak: number } | { stopped: true }

let stop = async (): Promise<void> => {}

const send = (reply: Reply): void => {
  process.send?.(reply)
}

process.on('message', async (order: Order) => {
  if ('start' in order) {
    const { upstream, overrides } = order.start
    const pooler = await startPooler(upstream, overrides)
    stop = () => pooler.stop()
    send({ port: pooler.port })
  } else if ('memory' in order) {
    // Twice: buffers are freed by the finalizers that the first one queues.
    gc?.()
    await new Promise((resolve) => setImmediate(resolve))
    gc?.()
    send({ rss: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 })
  } else {
    await stop()
    send({ stopped: true })
    process.disconnect()
  }
})
