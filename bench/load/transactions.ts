// A closed loop, as pgbench runs it: each client sends the next transaction when the last one is done.
// Must never count a transaction that ended after the time or in an error.
import * as m from '../../test/support/messages.ts'
import { latencyOf, type Measured } from '../figures.ts'
import { ACCOUNTS_PER_SCALE } from '../scenarios.ts'
import { Connection, open, type Target, type Trouble } from './connection.ts'
import { KeyRing } from './scram.ts'
import { prepareSelect, selectTemplate, tpcb, upTo } from './statements.ts'

export interface TransactionJob {
  readonly kind: 'transactions'
  readonly load: 'simple' | 'extended' | 'prepared' | 'tpcb' | 'connect'
  readonly target: Target
  readonly clients: number
  readonly seconds: number
  readonly scale: number
}

type Done = (trouble: Trouble | null) => void

/** Runs one transaction. */
export type Step = (done: Done) => void

/** @throws Error with the server's words where one transaction fails */
export async function runTransactions(job: TransactionJob): Promise<Measured> {
  const { target, clients, seconds } = job
  const keys = new KeyRing(target.password)
  const ways = Array.from({ length: clients }, () => wayOf(job, keys))
  const steps = await Promise.all(ways)
  const times: number[] = []
  const from = performance.now()
  const until = from + seconds * 1000
  await Promise.all(steps.map((step) => loop(step, until, times)))
  const latency = latencyOf(times)
  if (latency === null) throw new Error('not one transaction was done')
  return { amount: times.length, rate: times.length / seconds, latency }
}

/** Steps one after another until then. @param times ms of each */
export function loop(step: Step, until: number, times: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let began = performance.now()
    const next = (trouble: Trouble | null): void => {
      if (trouble !== null) {
        reject(new Error(trouble.message))
        return
      }
      const now = performance.now()
      if (now > until) {
        resolve()
        return
      }
      times.push(now - began)
      began = now
      step(next)
    }
    step(next)
  })
}

async function wayOf(job: TransactionJob, keys: KeyRing): Promise<Step> {
  const { load, target, scale } = job
  const accounts = ACCOUNTS_PER_SCALE * scale
  if (load === 'connect') return connectingStep(target, keys, accounts)
  const connection = await open(target, keys)
  if (load === 'tpcb') return (done) => inTurn(connection, tpcb(scale), 0, done)
  if (load === 'prepared') await asked(connection, prepareSelect())
  const template = selectTemplate(load)
  return (done) => connection.ask(template.fill(upTo(accounts)), done)
}

function connectingStep(target: Target, keys: KeyRing, accounts: number): Step {
  const template = selectTemplate('simple')
  return (done) => {
    const connection = new Connection(target, keys, (refused) => {
      if (refused !== null) {
        done(refused)
        return
      }
      connection.ask(template.fill(upTo(accounts)), (trouble) => {
        connection.leave()
        done(trouble)
      })
    })
  }
}

/** TPC-B: after an error nothing more is asked. */
function inTurn(connection: Connection, requests: readonly Buffer[], at: number, done: Done): void {
  connection.ask(requests[at]!, (trouble) => {
    if (trouble !== null || at + 1 === requests.length) done(trouble)
    else inTurn(connection, requests, at + 1, done)
  })
}

/** @throws Error with the server's words */
export function asked(connection: Connection, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.ask(bytes, (trouble) => (trouble === null ? resolve() : reject(new Error(trouble.message))))
  })
}

/** What a good client asks while others misbehave. */
export const SELECT_ONE = m.query('select 1')
