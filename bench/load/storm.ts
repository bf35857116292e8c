// Wrong passwords at a fixed rate, and the good traffic that they must not hurt: two jobs, in two processes.
// Must never know a right password in the storm, nor send more than its rate.
import { type Latency, latencyOf } from '../figures.ts'
import { Connection, open, type Target } from './connection.ts'
import { inOpenLoop } from './logins.ts'
import { KeyRing } from './scram.ts'
import { SELECT_ONE } from './transactions.ts'

export interface StormJob {
  readonly kind: 'storm'
  readonly target: Target
  readonly perSecond: number
  readonly seconds: number
  /** Users who exist and have a plain secret. Every other attempt names one who does not exist. */
  readonly users: readonly string[]
}

export interface StormFigures {
  readonly attempts: number
  /** Answers by SQLSTATE; '' for a connection that ended without a word. */
  readonly answers: Readonly<Record<string, number>>
  /** From connect() to the refusal. */
  readonly latency: Latency | null
}

export interface GoodJob {
  readonly kind: 'good'
  readonly target: Target
  readonly seconds: number
  /** Connections that are logged in from the start and ask `select 1`. */
  readonly clients: number
  readonly selectsPerSecond: number
  readonly loginsPerSecond: number
}

/** ms of each select and each login; failures are not among them. */
export interface GoodFigures {
  readonly selects: Latency | null
  readonly logins: Latency | null
  readonly failed: number
  /** The first failure in words; '' for none. */
  readonly reason: string
}

/** Tries wrong passwords for the given time, and waits for what is still open. */
export async function runStorm(job: StormJob): Promise<StormFigures> {
  const { target, perSecond, seconds, users } = job
  const attempts = perSecond * seconds
  // No password: a proof that is wrong, which costs the load client nothing.
  const keys = new KeyRing('')
  const answers: Record<string, number> = {}
  const times: number[] = []
  let open_ = attempts
  await new Promise<void>((resolve) => {
    void inOpenLoop(attempts, seconds * 1000, (i) => {
      const user = i % 2 === 0 ? users[(i / 2) % users.length]! : `nobody_${i}`
      const began = performance.now()
      const connection = new Connection({ ...target, user }, keys, (trouble) => {
        const code = trouble === null ? 'let in' : trouble.code
        answers[code] = (answers[code] ?? 0) + 1
        times.push(performance.now() - began)
        connection.leave()
        if (--open_ === 0) resolve()
      })
    })
  })
  return { attempts, answers, latency: latencyOf(times) }
}

/** Asks and logs in at a fixed rate, and takes the time of each. */
export async function runGood(job: GoodJob): Promise<GoodFigures> {
  const { target, seconds, clients, selectsPerSecond, loginsPerSecond } = job
  const keys = new KeyRing(target.password)
  const free = await Promise.all(Array.from({ length: clients }, () => open(target, keys)))
  const all = [...free]
  const waiting: number[] = []
  const selects: number[] = []
  const logins: number[] = []
  let failed = 0
  let reason = ''
  const note = (times: number[], began: number, trouble: { message: string } | null): void => {
    if (trouble === null) times.push(performance.now() - began)
    else {
      failed++
      reason ||= trouble.message
    }
  }
  const select = (connection: Connection, began: number): void => {
    connection.ask(SELECT_ONE, (trouble) => {
      note(selects, began, trouble)
      const next = waiting.shift()
      if (next === undefined) free.push(connection)
      else select(connection, next)
    })
  }
  const login = (): Promise<void> =>
    new Promise((resolve) => {
      const began = performance.now()
      const connection = new Connection(target, keys, (trouble) => {
        note(logins, began, trouble)
        connection.leave(resolve)
      })
    })
  const open_: Promise<void>[] = []
  await Promise.all([
    inOpenLoop(selectsPerSecond * seconds, seconds * 1000, () => {
      const began = performance.now()
      const connection = free.pop()
      // One that finds no free client waits, and the wait counts.
      if (connection === undefined) waiting.push(began)
      else select(connection, began)
    }),
    inOpenLoop(loginsPerSecond * seconds, seconds * 1000, () => open_.push(login())),
  ])
  await Promise.all(open_)
  await until(() => waiting.length === 0 && free.length === all.length)
  for (const connection of all) connection.leave()
  return { selects: latencyOf(selects), logins: latencyOf(logins), failed, reason }
}

/** ms between two looks, and altogether. */
const LOOK = 10
const LOOK_LIMIT = 10_000

async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + LOOK_LIMIT
  while (!isSo() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, LOOK))
}
