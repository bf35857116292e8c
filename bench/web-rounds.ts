// Runs what is about WebSocket and HTTP, with poolers of its own: one that trusts loopback, one that asks for
// passwords. In a round the rows of a group take turns. Must never compare anything: it only fills the cells.
import type { Outcome } from './figures.ts'
import { rotated, total } from './figures.ts'
import { verifierOf } from './load/scram.ts'
import { BenchError } from './options.ts'
import { type Generator, runJob } from './own.ts'
import { type Ground, type Peer, type PoolerSettings, startPgmux } from './peers.ts'
import { cpuTimeOf } from './process-stat.ts'
import { fixedLength, runLength, STORM_SECONDS, WARM_UP } from './progress.ts'
import { difference, observed, type Scene } from './rounds.ts'
import type { Scenario } from './scenarios.ts'
import type { WebCell, WebStormRound } from './web-figures.ts'
import { GOOD_KINDS, WEB_ROWS, type WebRow } from './web-scenarios.ts'

type Place = Pick<Scene, 'ground' | 'progress' | 'say' | 'generator'>
type Auth = WebRow['auth']

/** Connections beside those of the load that a pooler has to take. */
const SPARE = 200
const STORM = {
  perSecond: 100,
  connections: 10,
  good: { 'HTTP requests': 200, 'WebSocket queries': 200, 'WebSocket visits': 50 },
} as const
/** ms in which the two processes of a storm start. */
const STORM_START = 1500

/** The rows of the scenarios that were asked for. */
export function webRows(scenarios: readonly Scenario[]): WebRow[] {
  return WEB_ROWS.filter(({ scenario }) => scenarios.includes(scenario))
}

/** Password or trust; with the endpoint for WebSocket and HTTP. */
export function webSettings(ground: Ground, auth: Auth, profileFolder: string): PoolerSettings {
  const { user, password } = ground.login
  const users = new Map([[user, auth === 'trust' ? password : verifierOf(password)]])
  const label = `web-${auth}${profileFolder === '' ? '' : '-profiled'}`
  const most = Math.max(...WEB_ROWS.map((row) => row.clients), ground.options.clients)
  return { label, auth, users, maxClients: 2 * most + SPARE, profileFolder, isWeb: true }
}

/** All rounds of the rows. */
export async function allWeb(place: Place, version: string): Promise<WebCell[]> {
  const { ground } = place
  const cells = webRows(ground.options.scenarios).map((row): WebCell => ({ ...row, outcomes: [] }))
  const peers = new Map<Auth, Peer>()
  for (const { auth } of cells) {
    if (!peers.has(auth)) peers.set(auth, await startPgmux(ground, webSettings(ground, auth, ''), version))
  }
  for (const group of Map.groupBy(cells, (cell) => `${cell.scenario} ${cell.group}`).values()) {
    for (const cell of group) {
      await measureWeb(place, peers.get(cell.auth)!, cell, WARM_UP)
      place.progress.spend(runLength(WARM_UP), false)
    }
    for (let round = 0; round < ground.options.rounds; round++) {
      for (const cell of rotated(group, round)) {
        const outcome = await measureWeb(place, peers.get(cell.auth)!, cell, ground.options.seconds)
        cell.outcomes.push(outcome)
        place.progress.spend(runLength(ground.options.seconds), true)
        const turn = `round ${round + 1} of ${ground.options.rounds}`
        place.say(`${place.progress.mark} ${cell.group}, ${turn}, ${cell.way}: ${inWords(outcome)}`)
      }
    }
  }
  for (const peer of peers.values()) await peer.child!.stop()
  return cells
}

/** One run of one row. */
export async function measureWeb(
  place: Pick<Place, 'ground' | 'generator'>,
  peer: Peer,
  row: WebRow,
  seconds: number,
): Promise<Outcome> {
  const { ground, generator } = place
  const clients = row.clients === 0 ? ground.options.clients : row.clients
  const { target, webPort } = peer
  const { way, load } = row
  return observed(ground, peer, () =>
    way === 'pgbench -S'
      ? byPgbench(generator, { target, clients, seconds })
      : runJob<'web'>(
          ground.children,
          { kind: 'web', way, load, target, webPort, clients, seconds },
          seconds,
        ),
  )
}

/** What `pgbench -S` does, also where another program has to do it. */
function byPgbench(generator: Generator, order: Omit<Parameters<Generator['run']>[0], 'load'>) {
  return generator.run({ ...order, load: 'simple' })
}

function inWords(outcome: Outcome): string {
  if (outcome.kind !== 'run') return `${outcome.kind}: ${outcome.reason}`
  const { rate, latency, cpu, generator } = outcome
  const used = total(cpu)
  const load = total(generator)
  const times = latency === null ? '' : `, p50 ${latency.p50.toFixed(2)} ms, p99 ${latency.p99.toFixed(2)} ms`
  const both = used === null ? '' : `, CPU us ${used.toFixed(0)}, of the load ${load?.toFixed(0)}`
  return `${rate.toFixed(0)}/s${times}${both}`
}

/** All rounds of good traffic with and without wrong passwords. */
export async function allWebStorms(place: Place, version: string): Promise<WebStormRound[]> {
  const { ground, progress, say } = place
  const settings = webSettings(ground, 'scram-sha-256', '')
  const peer = await startPgmux(ground, { ...settings, label: 'web-storm' }, version)
  const rounds: WebStormRound[] = []
  // Uncounted: code gets compiled, and what a burst of wrong passwords may cost is spent.
  await webStormRun(ground, peer)
  for (let round = 0; round < ground.options.rounds; round++) {
    const run = await webStormRun(ground, peer)
    rounds.push(run)
    progress.spend(fixedLength('web-storm'), true)
    const words = run.kind === 'run' ? stormWords(run) : `${run.kind}: ${run.reason}`
    say(`${progress.mark} web-storm, round ${round + 1} of ${ground.options.rounds}: ${words}`)
    if (ground.children.stopping) throw new BenchError('stopped before its end')
  }
  await peer.child!.stop()
  return rounds
}

async function webStormRun(ground: Ground, peer: Peer): Promise<WebStormRound> {
  const target = { ...peer.target, port: peer.webPort }
  const { connections, perSecond, good } = STORM
  const from = Date.now() + STORM_START
  const common = { target, from, count: STORM_SECONDS }
  const before = cpuTimeOf(peer.pid)
  const [figures, storm] = await Promise.all([
    runJob<'web-good'>(
      ground.children,
      { kind: 'web-good', ...common, connections, perSecond: good },
      STORM_SECONDS,
    ),
    runJob<'web-storm'>(ground.children, { kind: 'web-storm', ...common, perSecond }, STORM_SECONDS),
  ])
  if ('kind' in figures) return figures
  if ('kind' in storm) return storm
  const cpu = difference(before, cpuTimeOf(peer.pid), storm.attempts)
  return { kind: 'run', good: figures, storm, cpu }
}

function stormWords({ good }: Extract<WebStormRound, { kind: 'run' }>): string {
  const words = GOOD_KINDS.map((kind) => {
    const [before, during] = [good.calm, good.hurt].map((times) => times[kind]?.p99.toFixed(2) ?? 'none')
    return `${kind} ${before} -> ${during}`
  })
  return `p99 in ms: ${words.join(', ')}`
}
