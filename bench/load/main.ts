// The load generator of our own, a process by itself so that it shares no event loop with the bench. Takes
// one job as JSON in BENCH_JOB (it holds a password, and everybody can read arguments) and prints one line of
// JSON: figures, or why there are none. Must never say more on its standard output.
import { type CopyJob, runCopy } from './copy.ts'
import { type IdleJob, runIdle } from './idle.ts'
import { type LoginJob, runLogins } from './logins.ts'
import { type GoodJob, runGood, runStorm, type StormJob } from './storm.ts'
import { runTransactions, type TransactionJob } from './transactions.ts'
import { runWeb, type WebJob } from './web.ts'
import { runWebGood, runWebStorm, type WebGoodJob, type WebStormJob } from './web-storm.ts'

export type Job =
  | TransactionJob
  | CopyJob
  | LoginJob
  | StormJob
  | GoodJob
  | WebJob
  | WebStormJob
  | WebGoodJob
  | IdleJob

function run(job: Job): Promise<unknown> {
  switch (job.kind) {
    case 'transactions':
      return runTransactions(job)
    case 'copy':
      return runCopy(job)
    case 'logins':
      return runLogins(job)
    case 'storm':
      return runStorm(job)
    case 'good':
      return runGood(job)
    case 'idle':
      return runIdle(job)
    case 'web':
      return runWeb(job)
    case 'web-storm':
      return runWebStorm(job)
    case 'web-good':
      return runWebGood(job)
  }
}

function print(answer: object): void {
  // Connections that are still open are not waited for.
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit())
}

run(JSON.parse(process.env.BENCH_JOB ?? '{}') as Job).then(
  (figures) => print({ figures }),
  (error: Error) => print({ reason: error.message || 'the load generator failed' }),
)
