// A closed loop as in transactions.ts, over WebSocket, HTTP and TCP, so that they can be
// compared. Must never count what ended after the time or in an error.
import * as m from '../../test/support/messages.ts'
import { latencyOf, type Measured } from '../figures.ts'
import { ACCOUNTS_PER_SCALE, SELECT_SCALE } from '../scenarios.ts'
import { BATCH, type Way, type WebLoad } from '../web-scenarios.ts'
import { Connection, open, type Target } from './connection.ts'
import { driverStep, isDriver } from './drivers.ts'
import { KeyRing } from './scram.ts'
import { HOLE, SELECT, selectTemplate, Template, upTo } from './statements.ts'
import { loop, type Step } from './transactions.ts'
import { HttpConnection, requestOf } from './web-request.ts'
import { firstMessage, framed, openWebSocket, visitWebSocket } from './web-socket.ts'

export interface WebJob {
  readonly kind: 'web'
  readonly way: Way
  readonly load: WebLoad
  readonly target: Target
  /** Where the endpoint listens. */
  readonly webPort: number
  readonly clients: number
  readonly seconds: number
}

const ACCOUNTS = ACCOUNTS_PER_SCALE * SELECT_SCALE
/** Logins at a time before the clock starts. */
const AT_ONCE = 50

/** @throws Error with the server's words where one request fails */
export async function runWeb(job: WebJob): Promise<Measured> {
  const keys = new KeyRing(job.target.password)
  const steps: Step[] = []
  while (steps.length < job.clients) {
    const count = Math.min(AT_ONCE, job.clients - steps.length)
    steps.push(...(await Promise.all(Array.from({ length: count }, () => stepOf(job, keys)))))
  }
  const times: number[] = []
  const until = performance.now() + job.seconds * 1000
  await Promise.all(steps.map((step) => loop(step, until, times)))
  const latency = latencyOf(times)
  if (latency === null) throw new Error('not one request was answered')
  return { amount: times.length, rate: times.length / job.seconds, latency }
}

async function stepOf({ way, load, target, webPort }: WebJob, keys: KeyRing): Promise<Step> {
  const web = { ...target, port: webPort }
  if (isDriver(way)) return driverStep(way, load, way === 'node-postgres' ? target : web)
  if (way === 'http') return httpStep(load, web)
  const isWeb = way === 'websocket'
  if (load === 'visit') return isWeb ? webSocketVisit(web) : tcpVisit(target, keys)
  const bytes = load === 'batch' ? tcpBatch() : selectTemplate('extended').fill(0)
  const template = new Template(isWeb ? framed(bytes) : bytes)
  const connection = isWeb ? await openWebSocket(web) : await open(target, keys)
  return (done) => connection.ask(template.fill(upTo(ACCOUNTS)), done)
}

/** The statement comes once the login is over, as from node-postgres. */
function tcpVisit(target: Target, keys: KeyRing): Step {
  const template = selectTemplate('extended')
  return (done) => {
    const connection = new Connection(target, keys, (refused) => {
      if (refused !== null) {
        done(refused)
        return
      }
      connection.ask(template.fill(upTo(ACCOUNTS)), (trouble) => {
        connection.leave()
        done(trouble)
      })
    })
  }
}

/** Login and statement come in one message, as from the serverless driver. */
function webSocketVisit(target: Target): Step {
  const template = new Template(framed(firstMessage(target, selectTemplate('extended').fill(0))))
  return (done) => visitWebSocket(target, template.fill(upTo(ACCOUNTS)), done)
}

function httpStep(load: WebLoad, target: Target): Step {
  const query = `${SELECT} $1`
  const one = { query, params: [HOLE] }
  const more = Array.from({ length: BATCH - 1 }, (_, i) => ({ query, params: [String(i + 1)] }))
  const body = JSON.stringify(load === 'batch' ? { queries: [one, ...more] } : one)
  const template = new Template(requestOf(target, body))
  if (load === 'visit') {
    return (done) => {
      const connection = new HttpConnection(target)
      connection.ask(template.fill(upTo(ACCOUNTS)), (trouble) => {
        connection.leave()
        done(trouble)
      })
    }
  }
  const connection = new HttpConnection(target)
  return (done) => connection.ask(template.fill(upTo(ACCOUNTS)), done)
}

/** One transaction in one write, with one Sync: what a batch over HTTP is for Postgres. */
function tcpBatch(): Buffer {
  const one = (text: string, params: string[]): Buffer[] => [
    m.parse(text),
    m.bind({ params }),
    m.describe('P'),
    m.execute(),
  ]
  const query = `${SELECT} $1`
  const selects = Array.from({ length: BATCH }, (_, i) => one(query, [i === 0 ? HOLE : String(i)]))
  return Buffer.concat([...one('START TRANSACTION', []), ...selects.flat(), ...one('COMMIT', []), m.sync()])
}
