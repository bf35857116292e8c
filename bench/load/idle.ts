// Clients that have nothing to do: what each costs a pooler in memory, and how quickly it is served when it
// comes back. The memory is read here, as only this process knows when all are there and quiet. It owns the
// connections until the end. Must never ask anything between the last login and the end of the silence.
import { setTimeout as wait } from 'node:timers/promises'
import { type Latency, latencyOf } from '../figures.ts'
import { residentMemoryOf } from '../process-stat.ts'
import { type Connection, open, type Target } from './connection.ts'
import { inOpenLoop } from './logins.ts'
import { KeyRing } from './scram.ts'
import { asked, SELECT_ONE } from './transactions.ts'

export interface IdleJob {
  readonly kind: 'idle'
  readonly target: Target
  readonly count: number
  /** Of the pooler. */
  readonly pid: number
  /** s of silence. */
  readonly quiet: number
  /** Clients that come back within a second. */
  readonly wakesPerSecond: number
}

/** What came of it. Memory in KiB. */
export interface IdleFigures {
  readonly count: number
  /** Of the pooler when it has served a few clients and all have left; null: this machine does not tell. */
  readonly base: number | null
  /** With all clients connected, after the silence. */
  readonly full: number | null
  /** From the question to its answer, once for each client. */
  readonly wake: Latency
}

/** Clients before the others: what is made once for all is no cost of one. */
const FIRST = 200
/** Logins at once. */
const AT_ONCE = 50

/** @throws Error with the server's words where a login or a query fails */
export async function runIdle(job: IdleJob): Promise<IdleFigures> {
  const { target, count, pid, quiet, wakesPerSecond } = job
  const keys = new KeyRing(target.password)
  const first = await openAll(target, keys, FIRST)
  await Promise.all(first.map((connection) => new Promise<void>((gone) => connection.leave(gone))))
  await wait(quiet * 1000)
  const base = residentMemoryOf(pid)
  const connections = await openAll(target, keys, count)
  await wait(quiet * 1000)
  const full = residentMemoryOf(pid)
  const times: number[] = []
  const answers: Promise<void>[] = []
  await inOpenLoop(count, (count / wakesPerSecond) * 1000, (i) => {
    const began = performance.now()
    const answer = asked(connections[i]!, SELECT_ONE)
    answers.push(answer.then(() => void times.push(performance.now() - began)))
  })
  await Promise.all(answers)
  return { count, base, full, wake: latencyOf(times)! }
}

/** Each has asked once when this is over. */
async function openAll(target: Target, keys: KeyRing, count: number): Promise<Connection[]> {
  const connections: Connection[] = []
  let begun = 0
  const some = async (): Promise<void> => {
    while (begun++ < count) {
      const connection = await open(target, keys)
      await asked(connection, SELECT_ONE)
      connections.push(connection)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, some))
  return connections
}
