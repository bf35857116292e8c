// Runs the loads: all rounds of all scenarios. In a round the peers take turns, so that a busy minute hits
// all of them. Must never compare anything: it only fills the cells.
import { databaseOf, tidyTpcb } from './database.ts'
import type { Cell, CpuPerUnit, Measured, Missing, Outcome } from './figures.ts'
import { rotated, total } from './figures.ts'
import { BenchError } from './options.ts'
import type { Generator } from './own.ts'
import type { Ground, Peer } from './peers.ts'
import { type CpuTime, cpuTimeOf, endedChildrenCpu, peakMemoryOf, resetPeakMemory } from './process-stat.ts'
import { type Progress, runLength, WARM_UP } from './progress.ts'
import { cannotDo } from './peers.ts'
import { loginTime } from './pgbench.ts'
import { takingPart } from './roster.ts'
import { clientsOf, isBulk, type Load } from './scenarios.ts'
import type { Scripts } from './scripts.ts'

/** Everything that runs while it measures. */
export interface Scene {
  readonly ground: Ground
  readonly peers: readonly Peer[]
  /** For everything but COPY. */
  readonly generator: Generator
  /** For COPY. */
  readonly own: Generator
  /** Of the loads that are made of scripts. */
  readonly scripts: ReadonlyMap<Load, Scripts>
  readonly progress: Progress
  say(line: string): void
}

/** All runs of these loads. */
export async function allRounds(scene: Scene, loads: readonly Load[]): Promise<Cell[]> {
  const cells: Cell[] = []
  for (const load of loads) {
    const names = takingPart(scene.ground, load)
    const peers = scene.peers.filter(({ name }) => names.includes(name))
    const row = peers.map((peer): Cell => ({ scenario: load, peer: peer.name, outcomes: [] }))
    cells.push(...row)
    await allRoundsOf({ ...scene, peers }, load, row)
  }
  return cells
}

async function allRoundsOf(scene: Scene, load: Load, row: readonly Cell[]): Promise<void> {
  const { peers, progress, ground, say } = scene
  const { rounds, seconds } = ground.options
  const logins = loginTime(clientsOf(load, ground.options.clients))
  const hopeless = new Map<Peer, Outcome>()
  for (const peer of peers) {
    const reason = cannotDo(ground, peer.name, load)
    const warmUp: Outcome = reason === '' ? await measure(scene, peer, load, WARM_UP) : cannot(reason)
    if (reason === '') progress.spend(runLength(WARM_UP) + logins, false)
    // What a pooler of somebody else's cannot do shows in its first run, and is no fault of ours.
    const isOther = peer.child === null && peer.name !== 'direct'
    if (warmUp.kind === 'cannot') hopeless.set(peer, warmUp)
    if (warmUp.kind === 'failed' && isOther) hopeless.set(peer, cannot(warmUp.reason))
  }
  for (const [peer, outcome] of hopeless) say(`${load}, ${peer.name}: ${inWords(load, outcome)}`)
  for (let round = 0; round < rounds; round++) {
    for (const peer of rotated(peers, round)) {
      const cell = row[peers.indexOf(peer)]!
      const known = hopeless.get(peer)
      if (known !== undefined) {
        cell.outcomes.push(known)
        if (cannotDo(ground, peer.name, load) === '') progress.spend(runLength(seconds) + logins, true)
        continue
      }
      const outcome = await measure(scene, peer, load, seconds)
      cell.outcomes.push(outcome)
      progress.spend(runLength(seconds) + logins, true)
      const turn = `round ${round + 1} of ${rounds}`
      say(`${progress.mark} ${load}, ${turn}, ${peer.name}: ${inWords(load, outcome)}`)
    }
  }
}

function cannot(reason: string): Outcome {
  return { kind: 'cannot', reason }
}

/** One run of a load on a peer. */
export async function measure(scene: Scene, peer: Peer, load: Load, seconds: number): Promise<Outcome> {
  const { ground, generator, own } = scene
  const { options, login } = ground
  const scripts = scene.scripts.get(load)
  if (load === 'tpcb') await tidyTpcb(login)
  const clients = clientsOf(load, options.clients)
  const target = { ...peer.target, database: databaseOf(load) }
  const by = isBulk(load) ? own : generator
  return observed(ground, peer, () => by.run({ target, load, clients, seconds, ...(scripts && { scripts }) }))
}

/** One run, and what each side used meanwhile. @throws BenchError where the pooler ends or we are stopping */
export async function observed(
  ground: Ground,
  peer: Peer,
  run: () => Promise<Measured | Missing>,
): Promise<Outcome> {
  const before = readings(ground, peer)
  if (peer.pid !== 0) resetPeakMemory(peer.pid)
  const measured = await run()
  const after = readings(ground, peer)
  if (ground.children.stopping) throw new BenchError('stopped before its end')
  if (peer.child !== null && !peer.child.running) {
    throw new BenchError(`${peer.name} ended while it was measured: ${peer.child.lastWords}`)
  }
  if ('kind' in measured) return measured
  const per = (which: keyof typeof after): CpuPerUnit | null =>
    difference(before[which], after[which], measured.amount)
  const peakMemory = peer.pid === 0 ? null : peakMemoryOf(peer.pid)
  const [cpu, postgres, load_] = [per('pooler'), per('postgres'), per('generator')]
  return { kind: 'run', ...measured, cpu, postgres, generator: load_, peakMemory }
}

/** CPU time of each side. */
interface Readings {
  readonly pooler: CpuTime | null
  readonly postgres: CpuTime | null
  readonly generator: CpuTime | null
}

/** What each side has used so far. */
function readings(ground: Ground, peer: Peer): Readings {
  return {
    pooler: peer.pid === 0 ? null : cpuTimeOf(peer.pid),
    postgres: cpuTimeOf(ground.postgres.pid),
    // Nothing else that we started ends during a run.
    generator: endedChildrenCpu(),
  }
}

/** @returns microseconds per unit; null where one reading is missing */
export function difference(before: CpuTime | null, after: CpuTime | null, units: number): CpuPerUnit | null {
  if (before === null || after === null || units === 0) return null
  return { user: (after.user - before.user) / units, system: (after.system - before.system) / units }
}

function inWords(load: Load, outcome: Outcome): string {
  if (outcome.kind !== 'run') return `${outcome.kind}: ${outcome.reason}`
  const { rate, latency, cpu } = outcome
  const isMb = isBulk(load)
  const used = total(cpu)
  const unit = isMb ? 'MB' : 'transaction'
  return [
    `${rate.toFixed(0)} ${isMb ? 'MB/s' : 'tps'}`,
    latency === null ? '' : `p50 ${latency.p50.toFixed(2)} ms, p99 ${latency.p99.toFixed(2)} ms`,
    used === null ? '' : `${used.toFixed(1)} us CPU per ${unit}`,
  ]
    .filter(Boolean)
    .join(', ')
}
