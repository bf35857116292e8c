// `npm run bench`: what is measured in which order, and the exit code. It owns the life of everything it
// starts: the poolers and the load end before Postgres, and the temporary folders go with them.
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbedded } from '../src/embedded/embedded.ts'
import { Children } from './child.ts'
import { createDatabase } from './database.ts'
import { type Cell, type Outcome, rotated, type Verdict, verdictOf } from './figures.ts'
import { describeMachine, loadNow, pgmuxVersion } from './machine.ts'
import { type BenchOptions, BenchError, HELP, parseOptions, type Scenario } from './options.ts'
import {
  direct,
  type Ground,
  leaveGround,
  type Peer,
  prepareGround,
  startPgbouncer,
  startPgmux,
} from './peers.ts'
import { Pgbench } from './pgbench.ts'
import { cpuTimeOf, hasProcessFigures, peakMemoryOf } from './process-stat.ts'
import { type CpuProfile, profileClock, topFunctions } from './profile.ts'
import { notMeasured, page, type Results, tables, verdictLine } from './report.ts'

const RESULTS = fileURLToPath(new URL('results', import.meta.url))
/** s of an uncounted run of each peer and scenario: servers log in, code gets compiled, tables are read. */
const WARM_UP = 2
const TOP = 25

/** Everything that runs while it measures. */
interface Scene {
  readonly ground: Ground
  readonly pgbench: Pgbench
  readonly peers: readonly Peer[]
  readonly options: BenchOptions
}

async function bench(options: BenchOptions, children: Children): Promise<number> {
  const pgbench = await Pgbench.find(children)
  say(`starting Postgres, pgmux and PgBouncer (pgbench ${pgbench.version})`)
  const postgres = await startEmbedded({
    dataDir: '',
    ephemeral: true,
    settings: { max_connections: String(options.clients + 2 * options.pool + 30) },
  })
  let ground: Ground | null = null
  try {
    ground = await prepareGround({ children, login: await createDatabase(postgres), options })
    const results = await measureAll(ground, pgbench, postgres.version)
    say(`\n${tables(results)}\n`)
    for (const verdict of results.verdicts) say(verdictLine(verdict))
    if (options.save) say(`written: ${(await save(results)).join(', ')}`)
    if (options.profile) await profile(ground, pgbench)
    return exitCode(results.verdicts, options)
  } finally {
    await children.stopAll()
    if (ground !== null) await leaveGround(ground)
    await postgres.stop()
  }
}

async function measureAll(ground: Ground, pgbench: Pgbench, postgres: string): Promise<Results> {
  const { options } = ground
  const loadBefore = loadNow()
  const version = pgmuxVersion()
  const own = direct(ground.login, postgres)
  await pgbench.fill(own)
  const pgmux = await startPgmux(ground, version, '')
  const pgbouncer = await startPgbouncer(ground)
  const peers = pgbouncer === null ? [own, pgmux] : [own, pgmux, pgbouncer]
  for (const { name, version } of peers) say(`${name === 'direct' ? 'direct: Postgres' : name} ${version}`)
  if (pgbouncer === null) say('this machine has no PgBouncer: nothing will be compared with it')
  const cells = await allRuns({ ground, pgbench, peers, options })
  const poolers = peers.filter((peer) => peer.child !== null)
  const peakMemory = Object.fromEntries(poolers.map((peer) => [peer.name, peakMemoryOf(peer.child!.pid)]))
  const { seconds, rounds, clients, pool, scenarios } = options
  const versions = { pgmux: version, postgres, pgbouncer: pgbouncer?.version ?? null }
  return {
    date: new Date().toISOString(),
    options: { seconds, rounds, clients, pool, scenarios },
    machine: {
      ...describeMachine(),
      ...versions,
      pgbench: pgbench.version,
      loadBefore,
      loadAfter: loadNow(),
    },
    cells,
    verdicts: verdictsOf(cells, options),
    peakMemory,
    notMeasured: notMeasured(cells, { pgbouncer: pgbouncer !== null, cpu: hasProcessFigures() }),
  }
}

/** All rounds of all scenarios; in a round the peers take turns, so that a busy minute hits all of them. */
async function allRuns(scene: Scene): Promise<Cell[]> {
  const { options, peers } = scene
  const cells: Cell[] = []
  for (const scenario of options.scenarios) {
    const row = peers.map((peer): Cell => ({ scenario, peer: peer.name, outcomes: [] }))
    cells.push(...row)
    for (const peer of peers) await measure(scene, peer, scenario, Math.min(WARM_UP, options.seconds))
    for (let round = 0; round < options.rounds; round++) {
      for (const peer of rotated(peers, round)) {
        const outcome = await measure(scene, peer, scenario, options.seconds)
        row[peers.indexOf(peer)]!.outcomes.push(outcome)
        say(`${scenario}, round ${round + 1} of ${options.rounds}, ${peer.name}: ${inWords(outcome)}`)
      }
    }
  }
  return cells
}

async function measure(scene: Scene, peer: Peer, scenario: Scenario, seconds: number): Promise<Outcome> {
  const reason = peer.cannot(scenario)
  if (reason !== '') return { kind: 'cannot', reason }
  const { pgbench, options } = scene
  const pid = peer.child?.pid ?? 0
  const before = pid === 0 ? null : cpuTimeOf(pid)
  const report = await pgbench.run(peer, { scenario, clients: options.clients, seconds })
  const after = pid === 0 ? null : cpuTimeOf(pid)
  if (scene.ground.children.stopping) throw new BenchError('stopped before its end')
  if (peer.child !== null && !peer.child.running) {
    throw new BenchError(`${peer.name} ended while it was measured: ${peer.child.lastWords}`)
  }
  if ('kind' in report) return report
  const { transactions } = report
  const hasCpu = before !== null && after !== null
  const cpu = !hasCpu
    ? null
    : {
        user: (after.user - before.user) / transactions,
        system: (after.system - before.system) / transactions,
      }
  return { kind: 'run', ...report, cpu }
}

function inWords(outcome: Outcome): string {
  if (outcome.kind !== 'run') return `${outcome.kind}: ${outcome.reason}`
  const { tps, latencyAverage, cpu } = outcome
  const used = cpu === null ? '' : `, ${(cpu.user + cpu.system).toFixed(1)} us CPU per transaction`
  return `${tps.toFixed(0)} tps, ${latencyAverage.toFixed(3)} ms${used}`
}

function verdictsOf(cells: readonly Cell[], options: BenchOptions): Verdict[] {
  const find = (scenario: Scenario, peer: string) =>
    cells.find((cell) => cell.scenario === scenario && cell.peer === peer)
  return options.scenarios.map((scenario) =>
    verdictOf(find(scenario, 'pgmux')!, find(scenario, 'pgbouncer') ?? null),
  )
}

function exitCode(verdicts: readonly Verdict[], options: BenchOptions): number {
  const complaints = verdicts.filter((verdict) => verdict.complaint !== '')
  return complaints.length > 0 && options.assert ? 1 : 0
}

/** @returns the names of the files; what an earlier bench of the day has written stays. */
async function save(results: Results): Promise<string[]> {
  await mkdir(RESULTS, { recursive: true })
  const there = await readdir(RESULTS)
  const day = `${results.date.slice(0, 10)}-select`
  let name = day
  for (let i = 2; there.includes(`${name}.json`); i++) name = `${day}-${i}`
  await writeFile(join(RESULTS, `${name}.json`), `${JSON.stringify(results, null, 2)}\n`)
  await writeFile(join(RESULTS, `${name}.md`), page(results))
  return [`bench/results/${name}.json`, `bench/results/${name}.md`]
}

/** One more run of each scenario, in a pgmux of its own that writes down where its time goes. */
async function profile(ground: Ground, pgbench: Pgbench): Promise<void> {
  const { options, folder } = ground
  const { scenarios, clients, seconds } = options
  for (const scenario of scenarios) {
    const into = join(folder, `profile-${scenario}`)
    const peer = await startPgmux(ground, '', into)
    await pgbench.run(peer, { scenario, clients, seconds: Math.min(WARM_UP, seconds) })
    const from = profileClock()
    const outcome = await pgbench.run(peer, { scenario, clients, seconds })
    const to = profileClock()
    await peer.child!.stop()
    if ('kind' in outcome) {
      say(`profile of ${scenario}: ${outcome.reason}`)
      continue
    }
    const [file] = await readdir(into).catch(() => [])
    if (file === undefined)
      throw new BenchError('Node wrote no profile: pgmux was killed, or it cannot write there')
    const read = JSON.parse(await readFile(join(into, file), 'utf8')) as CpuProfile
    const tps = outcome.tps.toFixed(0)
    say(`\nprofile of ${scenario} (share of the samples that were not idle, ${tps} tps under the profiler)`)
    for (const { name, place, share } of topFunctions(read, { from, to }, TOP)) {
      say(`${(share * 100).toFixed(1).padStart(6)} %  ${name}  ${place}`)
    }
    await mkdir(RESULTS, { recursive: true })
    await copyFile(join(into, file), join(RESULTS, `${scenario}.cpuprofile`))
    say(`for a browser's developer tools: bench/results/${scenario}.cpuprofile`)
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Signals end what runs; everything after that follows from the first program that cannot be started. */
async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) {
    say(HELP)
    return 0
  }
  const children = new Children()
  let stoppedBy = ''
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (stoppedBy === '') process.stderr.write(`bench: ${name}, stopping what was started\n`)
      stoppedBy ||= name
      void children.stopAll()
    })
  }
  try {
    return await bench(options, children)
  } catch (error) {
    if (stoppedBy !== '') return stoppedBy === 'SIGINT' ? 130 : 143
    throw error
  }
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: Error) => {
    // One sentence where we know what is wrong; a stack trace is for what we did not foresee.
    const foreseen = error.name === 'BenchError' || error.name === 'EmbeddedError'
    process.stderr.write(`bench: ${foreseen ? error.message : (error.stack ?? error.message)}\n`)
    process.exitCode = 1
  },
)
