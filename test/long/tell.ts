// Loaded into the pooler under test by `--import`: tells its parent how much memory is in use. Must never
// change what the pooler does, nor keep it from ending.

declare const gc: (() => void) | undefined

/** Bytes in use after a collection. */
export interface Memory {
  rss: number
  /** JavaScript's heap, and buffers outside of it. */
  heap: number
}

process.on('message', async () => {
  // Twice: buffers are freed by the finalizers that the first one queues.
  gc?.()
  await new Promise((resolve) => setImmediate(resolve))
  gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const memory: Memory = { rss, heap: heapUsed + external }
  process.send?.(memory)
})
process.channel?.unref()
