// Who takes part in which load, and how all of them are started. Near loads have Postgres at hand; in far
// ones each pooler has a relay of its own between itself and Postgres, which keeps each byte for a while.
// Must never let two peers share a relay: the load of one would wait behind that of another.
import { fileURLToPath } from 'node:url'
import type { PeerName } from './figures.ts'
import { asked } from './load/transactions.ts'
import { open, type Target } from './load/connection.ts'
import type { RelayJob } from './load/relay.ts'
import { KeyRing } from './load/scram.ts'
import * as m from '../test/support/messages.ts'
import {
  direct,
  type Ground,
  knowsShared,
  meetOther,
  type Peer,
  type PoolerSettings,
  startPgbouncer,
  startPgmux,
  trusting,
} from './peers.ts'
import { type Beside, FACTS, type Load } from './scenarios.ts'

/** ms that a far relay keeps each chunk, in each direction. */
const ONE_WAY = 1
const PROBES = 200
const RELAY = fileURLToPath(new URL('load/relay.ts', import.meta.url))

/** @returns the names of those that run a load, in the order of the report */
export function takingPart(ground: Ground, load: Load): PeerName[] {
  const { beside, isFar } = FACTS[load]
  const { options } = ground
  const has = (name: Beside, wish: boolean | null): boolean =>
    name === 'relay' && isFar ? false : (wish ?? beside.includes(name))
  return [
    'direct',
    'pgmux',
    // Without the option all of pgmux is as leased as can be.
    ...(has('pgmux-leased', options.leased) && knowsShared() ? ['pgmux-leased'] : []),
    ...(ground.pgbouncer === null ? [] : ['pgbouncer']),
    ...(has('relay', options.relay) ? ['relay'] : []),
    ...(isFar ? [] : options.others.map(({ name }) => name)),
  ]
}

/** Starts all that take part in these loads, which are all far or all near. */
export async function startPeers(ground: Ground, loads: readonly Load[], version: string): Promise<Peer[]> {
  const names = new Set(loads.flatMap((load) => takingPart(ground, load)))
  const isFar = loads.some((load) => FACTS[load].isFar)
  const peers: Peer[] = []
  for (const name of names) {
    const settings = await settingsOf(ground, name, isFar)
    if (name === 'direct') peers.push(isFar ? await startRelay(ground, name, ONE_WAY) : direct(ground))
    else if (name === 'pgmux') peers.push(await startPgmux(ground, settings, version))
    else if (name === 'pgmux-leased') peers.push({ ...(await startPgmux(ground, settings, version)), name })
    else if (name === 'pgbouncer') peers.push((await startPgbouncer(ground, settings))!)
    else if (name === 'relay') peers.push(await startRelay(ground, name, 0))
    else peers.push(await meetOther(ground, ground.options.others.find((other) => other.name === name)!))
  }
  return peers
}

async function settingsOf(ground: Ground, name: PeerName, isFar: boolean): Promise<PoolerSettings> {
  const base = trusting(ground)
  const isPooler = name === 'pgmux' || name === 'pgmux-leased' || name === 'pgbouncer'
  const upstreamPort =
    isFar && isPooler ? (await startRelay(ground, 'relay', ONE_WAY)).target.port : undefined
  return {
    ...base,
    label: `${name}-${isFar ? 'far' : 'load'}`,
    ...(name === 'pgmux-leased' ? { shared: 'off' } : {}),
    ...(upstreamPort === undefined ? {} : { upstreamPort }),
  }
}

async function startRelay(ground: Ground, name: PeerName, delay: number): Promise<Peer> {
  const { login, children } = ground
  const job: RelayJob = { host: login.host, port: login.port, delay }
  const env = { BENCH_RELAY: JSON.stringify(job) }
  const child = children.start('relay', [process.execPath, RELAY], { env })
  const [, port] = await child.said(/^relay on port (\d+)$/)
  const target = { ...login, port: Number(port) }
  // What is called `direct` has no pooler whose CPU could be shown.
  const pid = name === 'direct' ? 0 : child.pid
  return { name, target, webPort: 0, version: '', child, pid, configuration: '' }
}

/** @returns ms that a far relay adds to a round trip when nothing else goes on, as median of some */
export async function measureRoundTrip(ground: Ground): Promise<number> {
  const relay = await startRelay(ground, 'relay', ONE_WAY)
  const [near, far] = [await medianTrip(ground.login), await medianTrip(relay.target)]
  await relay.child!.stop()
  return far - near
}

async function medianTrip(target: Target): Promise<number> {
  const connection = await open(target, new KeyRing(target.password))
  const times: number[] = []
  for (let i = 0; i < PROBES; i++) {
    const began = performance.now()
    await asked(connection, m.query('select 1'))
    times.push(performance.now() - began)
  }
  connection.leave()
  return times.toSorted((a, b) => a - b)[PROBES >> 1]!
}
