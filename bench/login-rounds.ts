// Runs the scenarios that are about logging in, each with poolers of its own: their authentication differs.
// Must never measure Postgres itself here: it forks for each connection and is no pooler's rival in this.
import { rotated } from './figures.ts'
import type { Missing } from './figures.ts'
import { verifierOf } from './load/scram.ts'
import type { LoginAuth, LoginCell, LoginRun, StormCell, StormRun } from './login-figures.ts'
import { BenchError } from './options.ts'
import { runJob } from './own.ts'
import { type Ground, type Peer, type PoolerSettings, startPgbouncer, startPgmux } from './peers.ts'
import { cpuTimeOf, openFileLimit } from './process-stat.ts'
import { fixedLength, STORM_PHASE } from './progress.ts'
import { difference, type Scene } from './rounds.ts'

/** ms within which all logins of a run arrive. */
const WITHIN = 1000
const WARM_UP_LOGINS = 1000
/** Files that a pooler and the load client need besides their connections. */
const SPARE_FILES = 200
const STORM = { perSecond: 500, clients: 10, selectsPerSecond: 1000, loginsPerSecond: 100 } as const
/** Users with a plain secret that the storm tries; a pooler may cache what it derives from each. */
const PLAIN_USERS = 50
/** s that the storm begins before the good traffic and ends after it. */
const STORM_MARGIN = 0.5

type Place = Pick<Scene, 'ground' | 'progress' | 'say'>

/** @throws BenchError where the machine allows fewer open files than the logins need */
export function checkFileLimit(logins: number): void {
  const limit = openFileLimit()
  const needed = logins + SPARE_FILES
  if (limit === null || limit >= needed) return
  throw new BenchError(
    `${logins} logins need ${needed} open files and this shell allows ${limit}: ` +
      `run "ulimit -n ${needed}" first, or ask for fewer with --logins`,
  )
}

/** The user of the load has a SCRAM verifier: with a plain one a pooler may choose a new salt each time. */
export function loginSettings(ground: Ground, auth: LoginAuth, profileFolder: string): PoolerSettings {
  const { user, password } = ground.login
  const users = new Map([[user, verifierOf(password)]])
  const label = `logins-${auth}${profileFolder === '' ? '' : '-profiled'}`
  return { label, auth, users, maxClients: ground.options.logins + SPARE_FILES, profileFolder }
}

/** All rounds of the logins, with each way to authenticate. */
export async function allLogins(place: Place, version: string): Promise<LoginCell[]> {
  const cells: LoginCell[] = []
  for (const auth of ['trust', 'scram-sha-256'] as const) {
    const settings = loginSettings(place.ground, auth, '')
    const rows = await inAlternation(place, settings, version, async (peer, round) => {
      const run = await loginRun(place.ground, peer, place.ground.options.logins)
      const { rounds } = place.ground.options
      const words = run.kind === 'run' ? loginWords(run) : `${run.kind}: ${run.reason}`
      place.progress.spend(fixedLength('logins'), true)
      place.say(
        `${place.progress.mark} logins with ${auth}, round ${round + 1} of ${rounds}, ${peer.name}: ${words}`,
      )
      return run
    })
    cells.push(...rows.map(({ peer, rounds }) => ({ auth, peer: peer.name, rounds })))
  }
  return cells
}

/** All rounds of good traffic with and without wrong passwords. */
export async function allStorms(place: Place, version: string): Promise<StormCell[]> {
  const { ground, progress, say } = place
  const plain = Array.from({ length: PLAIN_USERS }, (_, i): [string, string] => [`plain_${i}`, `secret-${i}`])
  const base = loginSettings(ground, 'scram-sha-256', '')
  const settings = { ...base, label: 'storm', users: new Map([...base.users, ...plain]) }
  const rows = await inAlternation(place, settings, version, async (peer, round) => {
    const run = await stormRun(
      ground,
      peer,
      plain.map(([name]) => name),
    )
    const words = run.kind === 'run' ? stormWords(run) : `${run.kind}: ${run.reason}`
    progress.spend(fixedLength('auth-storm'), true)
    say(`${progress.mark} auth-storm, round ${round + 1} of ${ground.options.rounds}, ${peer.name}: ${words}`)
    return run
  })
  return rows.map(({ peer, rounds }) => ({ peer: peer.name, rounds }))
}

async function inAlternation<T>(
  { ground }: Place,
  settings: PoolerSettings,
  version: string,
  run: (peer: Peer, round: number) => Promise<T>,
): Promise<{ peer: Peer; rounds: T[] }[]> {
  const pgmux = await startPgmux(ground, settings, version)
  const pgbouncer = await startPgbouncer(ground, settings)
  const peers = pgbouncer === null ? [pgmux] : [pgmux, pgbouncer]
  const rows = peers.map((peer) => ({ peer, rounds: [] as T[] }))
  // Uncounted: servers log in, code gets compiled.
  for (const peer of peers) await loginRun(ground, peer, WARM_UP_LOGINS)
  for (let round = 0; round < ground.options.rounds; round++) {
    for (const row of rotated(rows, round)) {
      row.rounds.push(await run(row.peer, round))
      if (ground.children.stopping) throw new BenchError('stopped before its end')
      if (!row.peer.child!.running) {
        throw new BenchError(`${row.peer.name} ended while it was measured: ${row.peer.child!.lastWords}`)
      }
    }
  }
  for (const peer of peers) await peer.child!.stop()
  return rows
}

/** One second of logins. */
export async function loginRun(ground: Ground, peer: Peer, count: number): Promise<LoginRun | Missing> {
  const { children } = ground
  const job = { kind: 'logins', target: peer.target, count, within: WITHIN } as const
  const before = cpuTimeOf(peer.pid)
  const figures = await runJob<'logins'>(children, job, WITHIN / 1000)
  const cpu = difference(before, cpuTimeOf(peer.pid), count)
  return 'kind' in figures ? figures : { kind: 'run', ...figures, cpu }
}

async function stormRun(ground: Ground, peer: Peer, users: readonly string[]): Promise<StormRun | Missing> {
  const { children } = ground
  const { perSecond, ...good } = STORM
  const { target } = peer
  const asked = { kind: 'good', target, seconds: STORM_PHASE, ...good } as const
  const calm = await runJob<'good'>(children, asked, STORM_PHASE)
  if ('kind' in calm) return calm
  const seconds = STORM_PHASE + 2 * STORM_MARGIN
  const before = cpuTimeOf(peer.pid)
  const stormed = runJob<'storm'>(children, { kind: 'storm', target, perSecond, seconds, users }, seconds)
  await new Promise((resolve) => setTimeout(resolve, STORM_MARGIN * 1000))
  const hurt = await runJob<'good'>(children, asked, STORM_PHASE)
  const storm = await stormed
  if ('kind' in hurt) return hurt
  if ('kind' in storm) return storm
  return { kind: 'run', calm, hurt, storm, cpu: difference(before, cpuTimeOf(peer.pid), storm.attempts) }
}

function loginWords(run: LoginRun): string {
  if (run.latency === null) return `no login succeeded: ${run.reason}`
  const { p50, p99, most } = run.latency
  const failed = run.failed === 0 ? '' : `, ${run.failed} failed: ${run.reason}`
  return `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${most.toFixed(1)} ms${failed}`
}

function stormWords({ calm, hurt }: StormRun): string {
  const pair = (what: 'selects' | 'logins'): string => {
    const [before, during] = [calm[what], hurt[what]].map((times) => times?.p99.toFixed(2) ?? 'none')
    return `p99 of ${what} ${before} -> ${during} ms`
  }
  return `${pair('selects')}, ${pair('logins')}`
}
