// Logins at a fixed rate, whatever the other side makes of it (an open loop), all of which stay. It owns the
// connections until the last login is over. Must never wait for one login before it starts another.
import { type Latency, latencyOf } from '../figures.ts'
import { Connection, open, type Target } from './connection.ts'
import { KeyRing } from './scram.ts'

export interface LoginJob {
  readonly kind: 'logins'
  readonly target: Target
  readonly count: number
  /** ms over which they are spread evenly. */
  readonly within: number
}

/** What came of many logins. */
export interface LoginFigures {
  readonly count: number
  readonly failed: number
  /** The first failure in words; '' for none. */
  readonly reason: string
  /** From connect() to ReadyForQuery; null where none succeeded. */
  readonly latency: Latency | null
  /** How late connect() itself was called: what the load client could not keep up with. */
  readonly lateness: Latency
  /** ms from the first connect() to the last ReadyForQuery. */
  readonly took: number
  /** Of the load client, in microseconds per login. */
  readonly ownCpu: number
}

/** ms between two looks at the clock. */
const STEP = 1
/** ms after which a login that has not succeeded is given up. */
const LIMIT = 20_000

/** Calls `start` with 0, 1, 2 ... evenly spread; several in a row where the clock has gone on. */
export function inOpenLoop(count: number, within: number, start: (i: number, late: number) => void) {
  return new Promise<void>((resolve) => {
    const from = performance.now()
    const each = within / count
    let next = 0
    const timer = setInterval(() => {
      const now = performance.now() - from
      while (next < count && next * each <= now) {
        // What is started now is not what the clock said when this turn began.
        const late = performance.now() - from - next * each
        start(next++, late)
      }
      if (next < count) return
      clearInterval(timer)
      resolve()
    }, STEP)
  })
}

/** Logs in `count` times and keeps all connections until the end. */
export async function runLogins(job: LoginJob): Promise<LoginFigures> {
  const { target, count, within } = job
  const keys = new KeyRing(target.password)
  // The one that salts the password; it also brings the pooler's first server up.
  const first = await open(target, keys)
  await left(first)
  const times: number[] = []
  const lateness: number[] = []
  const connections: Connection[] = []
  let failed = 0
  let reason = ''
  const cpuBefore = process.cpuUsage()
  const from = performance.now()
  let last = from
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, within + LIMIT)
    let open_ = count
    void inOpenLoop(count, within, (_i, late) => {
      lateness.push(late)
      const began = performance.now()
      const connection = new Connection(target, keys, (trouble) => {
        last = performance.now()
        if (trouble === null) times.push(last - began)
        else {
          failed++
          reason ||= trouble.message
        }
        if (--open_ > 0) return
        clearTimeout(timer)
        resolve()
      })
      connections.push(connection)
    })
  })
  const { user, system } = process.cpuUsage(cpuBefore)
  const ownCpu = (user + system) / count
  const missing = count - failed - times.length
  if (missing > 0) reason ||= `${missing} logins had no answer within ${LIMIT / 1000} s`
  await Promise.all(connections.map(left))
  const took = last - from
  return {
    count,
    failed: failed + missing,
    reason,
    latency: latencyOf(times),
    lateness: latencyOf(lateness)!,
    took,
    ownCpu,
  }
}

/** ms that a connection has to close after it said goodbye. */
const LEAVE_LIMIT = 5000

function left(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => connection.socket.destroy(), LEAVE_LIMIT)
    connection.leave(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
