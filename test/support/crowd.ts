// Owns: many clients in a process of their own. Must never outlive the test: its process ends with the
// channel to it.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { CrowdOrder, CrowdReply } from './crowd-child.ts'

export interface Crowd {
  /** Opens so many connections; without a user they say nothing. Resolves when all are in, or are lost. */
  open(door: Extract<CrowdOrder, { open: object }>['open']): Promise<CrowdReply>
  /** Every client sends this and waits for the answer, `atOnce` at a time. */
  ask(bytes: Buffer, atOnce?: number): Promise<CrowdReply>
  /** All go at once, without a word. */
  stop(): Promise<void>
}

/** Starts the process; nobody is connected yet. */
export function startCrowd(): Crowd {
  const child = fork(new URL('./crowd-child.ts', import.meta.url))
  const tell = async (order: CrowdOrder): Promise<CrowdReply> => {
    const answered = once(child, 'message')
    child.send(order)
    const [reply] = await answered
    return reply as CrowdReply
  }
  return {
    open: (door) => tell({ open: door }),
    ask: (bytes, atOnce = 50) => tell({ ask: { bytes: bytes.toString('base64'), atOnce } }),
    async stop() {
      const gone = once(child, 'exit')
      await tell({ close: true })
      await gone
    },
  }
}
