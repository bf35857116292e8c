// Owns how the load generator of our own is started and what it answers. The load itself is in load/.
// Must never run a load in this process: it would share the event loop with what measures.
import { fileURLToPath } from 'node:url'
import type { Children } from './child.ts'
import type { Measured, Missing } from './figures.ts'
import type { Target } from './load/connection.ts'
import type { CopyJob } from './load/copy.ts'
import type { IdleFigures, IdleJob } from './load/idle.ts'
import type { LoginFigures, LoginJob } from './load/logins.ts'
import type { GoodFigures, GoodJob, StormFigures, StormJob } from './load/storm.ts'
import type { TransactionJob } from './load/transactions.ts'
import type { WebJob } from './load/web.ts'
import type { WebGoodFigures, WebGoodJob, WebStormJob } from './load/web-storm.ts'
import { scaleOf } from './database.ts'
import { FACTS, type Load } from './scenarios.ts'
import type { Scripts } from './scripts.ts'

/** One run that is asked of a generator. */
export interface LoadOrder {
  readonly target: Target
  readonly load: Load
  readonly clients: number
  readonly seconds: number
  /** Where the load is one of scripts. */
  readonly scripts?: Scripts
}

/** What makes a load. Never throws for what the peer does: that is `failed` and a reason. */
export interface Generator {
  /** As in `pgbench 15.18`. */
  readonly name: string
  run(order: LoadOrder): Promise<Measured | Missing>
}

/** Job -> what it answers. */
interface Answers {
  transactions: { job: TransactionJob; figures: Measured }
  copy: { job: CopyJob; figures: Measured }
  logins: { job: LoginJob; figures: LoginFigures }
  idle: { job: IdleJob; figures: IdleFigures }
  storm: { job: StormJob; figures: StormFigures }
  good: { job: GoodJob; figures: GoodFigures }
  web: { job: WebJob; figures: Measured }
  'web-storm': { job: WebStormJob; figures: StormFigures }
  'web-good': { job: WebGoodJob; figures: WebGoodFigures }
}

const MAIN = fileURLToPath(new URL('load/main.ts', import.meta.url))
/** ms beyond its length that a job has: connecting, logging in, ending. */
const SLACK = 45_000

/** One job in a process of its own. */
export async function runJob<K extends keyof Answers>(
  children: Children,
  job: Answers[K]['job'] & { kind: K },
  seconds: number,
): Promise<Answers[K]['figures'] | Missing> {
  const env = { BENCH_JOB: JSON.stringify(job) }
  const child = children.start('load', [process.execPath, MAIN], { env })
  let late = false
  const timer = setTimeout(
    () => {
      late = true
      child.signal('SIGKILL')
    },
    seconds * 1000 + SLACK,
  )
  const { code } = await child.exited
  clearTimeout(timer)
  if (late) return failed(`the load generator had not ended ${SLACK / 1000} s after its time`)
  const line = child.lines.findLast((each) => each.startsWith('{')) ?? ''
  if (line === '') return failed(`the load generator ended with ${code}: ${child.lastWords}`)
  const answer = JSON.parse(line) as { figures?: Answers[K]['figures']; reason?: string }
  return answer.figures ?? failed(answer.reason ?? 'the load generator gave no figures')
}

/** The generator of our own for everything that runs for a time; the only one for COPY. */
export function ownGenerator(children: Children): Generator {
  return {
    name: `a generator of the bench's own (Node ${process.versions.node})`,
    run({ target, load, clients, seconds }) {
      const { how } = FACTS[load]
      if (how === 'copy-out' || how === 'copy-in') {
        return runJob<'copy'>(children, { kind: 'copy', load: how, target, seconds }, seconds)
      }
      if (how === 'script') return Promise.resolve(failed(`${load} is a script of pgbench`))
      const scale = scaleOf(load)
      const job = { kind: 'transactions', load: how, target, clients, seconds, scale } as const
      return runJob<'transactions'>(children, job, seconds)
    },
  }
}

function failed(reason: string): Missing {
  return { kind: 'failed', reason }
}
