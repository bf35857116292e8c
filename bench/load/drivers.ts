// The same load through the libraries that programs use: node-postgres and the serverless driver, both as
// they are. What they cost themselves is in the figures. Must never change a driver but for its addresses.
import { WebSocket } from 'ws'
import { BATCH, type Way, type WebLoad } from '../web-scenarios.ts'
import { ACCOUNTS_PER_SCALE, SELECT_SCALE } from '../scenarios.ts'
import type { Target } from './connection.ts'
import { SELECT, upTo } from './statements.ts'
import type { Step } from './transactions.ts'

const ACCOUNTS = ACCOUNTS_PER_SCALE * SELECT_SCALE
const TEXT = `${SELECT} $1`

type DriverWay = Extract<Way, 'node-postgres' | 'neon websocket' | 'neon http'>

/** @returns whether a library has to make this load */
export function isDriver(way: Way): way is DriverWay {
  return way === 'node-postgres' || way === 'neon websocket' || way === 'neon http'
}

/** One request through a driver. */
export async function driverStep(way: DriverWay, load: WebLoad, target: Target): Promise<Step> {
  const run = way === 'node-postgres' ? await overTcp(load, target) : await overWeb(way, load, target)
  return (done) => {
    run().then(
      () => done(null),
      (error: Error & { code?: string }) => done({ code: error.code ?? '', message: error.message }),
    )
  }
}

type Run = () => Promise<unknown>

async function overTcp(load: WebLoad, target: Target): Promise<Run> {
  const { default: pg } = await import('pg')
  if (load === 'visit') return visiting(() => new pg.Client(target))
  const client = new pg.Client(target)
  await client.connect()
  if (load === 'query') return () => client.query(TEXT, [upTo(ACCOUNTS)])
  return async () => {
    await client.query('BEGIN')
    for (let i = 0; i < BATCH; i++) await client.query(TEXT, [upTo(ACCOUNTS)])
    await client.query('COMMIT')
  }
}

async function overWeb(way: DriverWay, load: WebLoad, target: Target): Promise<Run> {
  const { Client, neon, neonConfig } = await import('@neondatabase/serverless')
  const { host, port, user, password, database } = target
  const url = `postgresql://${user}:${encodeURIComponent(password)}@${host}/${database}`
  neonConfig.fetchEndpoint = `http://${host}:${port}/sql`
  neonConfig.wsProxy = () => `${host}:${port}/v2`
  neonConfig.useSecureWebSocket = false
  neonConfig.webSocketConstructor = WebSocket
  if (way === 'neon websocket') return visiting(() => new Client(url))
  const sql = neon(url)
  if (load === 'query') return () => sql.query(TEXT, [upTo(ACCOUNTS)])
  const all = Array.from({ length: BATCH })
  return () => sql.transaction(all.map(() => sql.query(TEXT, [upTo(ACCOUNTS)])))
}

interface DriverClient {
  connect(): Promise<unknown>
  query(text: string, values: unknown[]): Promise<unknown>
  end(): Promise<void>
}

function visiting(make: () => DriverClient): Run {
  return async () => {
    const client = make()
    await client.connect()
    await client.query(TEXT, [upTo(ACCOUNTS)])
    await client.end()
  }
}
