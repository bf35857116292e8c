// `npm run bench`: what is measured in which order, and the exit code. It owns the life of everything it
// starts: the poolers and the load end before Postgres, and the temporary folders go with them.
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbedded } from '../src/embedded/embedded.ts'
import { chart } from './chart.ts'
import { compare, type OldResults, readOld } from './compare.ts'
import { Children } from './child.ts'
import { checkDashboard } from './dashboard-figures.ts'
import { allDashboards, dashboardRounds } from './dashboard-rounds.ts'
import { createDatabases, fill } from './database.ts'
import { type Cell, type Verdict, verdictOf } from './figures.ts'
import { type Check, checkLogins, checkStorm, type LoginCell, type StormCell } from './login-figures.ts'
import { allLogins, allStorms, checkFileLimit } from './login-rounds.ts'
import { htmlPage } from './html.ts'
import { checkIdle } from './idle-figures.ts'
import { allIdle, IDLE_COUNTS } from './idle-rounds.ts'
import { describeMachine, loadNow, pgmuxVersion } from './machine.ts'
import { type BenchOptions, BenchError, HELP, parseOptions } from './options.ts'
import { type Generator, ownGenerator } from './own.ts'
import {
  cannotDo,
  DIRECT_CLIENTS,
  type Ground,
  knowsShared,
  leaveGround,
  type Peer,
  prepareGround,
} from './peers.ts'
import { loginTime, Pgbench } from './pgbench.ts'
import { hasProcessFigures } from './process-stat.ts'
import { profileAll } from './profile-runs.ts'
import { checkMixed } from './mixed-figures.ts'
import { inMinutes, planned, Progress } from './progress.ts'
import { conclusions, notMeasured, page, type Results, tables } from './report.ts'
import { measureRoundTrip, startPeers, takingPart } from './roster.ts'
import { allRounds, type Scene } from './rounds.ts'
import { clientsOf, DASHBOARD_LOAD, FACTS, isLoad, type Load, type Scenario } from './scenarios.ts'
import { type Scripts, writeScripts } from './scripts.ts'
import { checkSessions } from './session-figures.ts'
import { allSessions } from './session-rounds.ts'
import { SESSION_ROWS } from './session-scenarios.ts'
import { checkWeb, checkWebStorm } from './web-figures.ts'
import { allWeb, allWebStorms, webRows } from './web-rounds.ts'

const RESULTS = fileURLToPath(new URL('results', import.meta.url))
/** Connections of Postgres beside those of the load and of the poolers. */
const SPARE_CONNECTIONS = 30

/** What makes loads. */
interface Tools {
  readonly generator: Generator
  readonly own: Generator
  /** Filled when the tables are there. */
  readonly scripts: Map<Load, Scripts>
  /** null: nothing is compared with. */
  readonly old: OldResults | null
}

async function bench(options: BenchOptions, children: Children): Promise<number> {
  // Before anything is measured: a wrong name is told at once.
  const old = options.compare === '' ? null : readOld(options.compare)
  const own = ownGenerator(children)
  const generator = await chooseGenerator(options, children, own)
  if (options.scenarios.includes('logins')) checkFileLimit(options.logins)
  say('starting Postgres and the poolers')
  const others = options.others.length
  const postgres = await startEmbedded({
    dataDir: '',
    ephemeral: true,
    port: options.postgresPort,
    settings: {
      // Two databases, so each pooler may have two pools.
      max_connections: String(directClients(options) + (12 + 2 * others) * options.pool + SPARE_CONNECTIONS),
      // All that is read stays in memory, and a checkpoint never comes in the middle.
      shared_buffers: '512MB',
      max_wal_size: '8GB',
      checkpoint_timeout: '1h',
    },
  })
  let ground: Ground | null = null
  try {
    const login = await createDatabases(postgres, options.password)
    ground = await prepareGround({ children, login, options, postgres })
    const scripts = new Map<Load, Scripts>()
    const results = await measureAll(ground, { generator, own, scripts, old })
    say(`\n${tables(results)}\n`)
    for (const line of conclusions(results)) say(line)
    if (options.save) say(`written: ${(await save(results)).join(', ')}`)
    if (options.profile) await profileAll({ ground, generator, own, scripts, say }, RESULTS)
    return exitCode(results, options)
  } finally {
    await children.stopAll()
    if (ground !== null) await leaveGround(ground)
    await postgres.stop()
  }
}

async function chooseGenerator(
  options: BenchOptions,
  children: Children,
  own: Generator,
): Promise<Generator> {
  const pgbench = options.generator === 'own' ? null : await Pgbench.find(children)
  if (pgbench !== null) return pgbench
  const script = options.scenarios.filter(isLoad).find((load) => FACTS[load].how === 'script')
  if (script !== undefined)
    throw new BenchError(`${script} is a script of pgbench: there is no load without it`)
  if (options.generator === 'own') return own
  if (options.generator === 'auto') {
    say("pgbench is not in PATH: the load is made by a generator of the bench's own")
    return own
  }
  throw new BenchError(
    'pgbench is not in PATH: install the package of Postgres that has it, or use --generator own',
  )
}

/** @returns how many connections the largest load may have to Postgres itself */
function directClients({ scenarios, clients }: BenchOptions): number {
  const most = scenarios.filter(isLoad).map((load) => clientsOf(load, clients))
  return Math.max(...most.filter((count) => count <= DIRECT_CLIENTS), clients)
}

async function measureAll(ground: Ground, tools: Tools): Promise<Results> {
  const { options, pgbouncer, postgres, login } = ground
  const loads = options.scenarios.filter(isLoad)
  const version = pgmuxVersion()
  if (options.others.length > 0) {
    const where = `127.0.0.1:${login.port}, user ${login.user}, databases bench and bench_tpcb`
    say(`for the peers: Postgres is on ${where}`)
  }
  if (pgbouncer === null) say('this machine has no PgBouncer: nothing will be compared with it')
  const total = planned(planOf(ground, loads))
  const length = inMinutes(total.start + total.seconds)
  say(`load by ${tools.generator.name}; this will take about ${length}: ${total.runs} runs`)
  // What is asked over WebSocket and HTTP, and in sessions, is the select of `simple`.
  await fill(login, needsAccounts(options.scenarios) ? [...loads, 'simple'] : loads)
  for (const [load, scripts] of await writeScripts(ground, loads)) tools.scripts.set(load, scripts)
  const progress = new Progress(total, () => performance.now())
  const loadBefore = loadNow()
  // The loads and each of the other scenarios start peers of their own.
  const scene = { ground, ...tools, peers: [], progress, say }
  const measured = await allLoads(scene, loads, version)
  const has = (name: Scenario): boolean => options.scenarios.includes(name)
  const idle = has('idle') ? await allIdle(scene, version) : []
  const logins = has('logins') ? await allLogins(scene, version) : []
  const storms = has('auth-storm') ? await allStorms(scene, version) : []
  const web = webRows(options.scenarios).length > 0 ? await allWeb(scene, version) : []
  const webStorms = has('web-storm') ? await allWebStorms(scene, version) : []
  const sessions = has('session') ? await allSessions(scene, version) : []
  const dashboards = has('dashboard') ? await allDashboards(scene, version) : []
  const { seconds, rounds, clients, pool, scenarios } = options
  return {
    date: new Date().toISOString(),
    options: { seconds, rounds, clients, pool, logins: options.logins, scenarios },
    machine: {
      ...describeMachine(),
      pgmux: version,
      postgres: postgres.version,
      pgbouncer: pgbouncer?.version ?? null,
      loadBefore,
      loadAfter: loadNow(),
    },
    generator: tools.generator.name,
    ...measured,
    comparison: tools.old === null ? null : compare({ options, ...measured }, tools.old),
    verdicts: verdictsOf(measured.cells, loads),
    idle,
    logins,
    storms,
    web,
    webStorms,
    sessions,
    dashboards,
    checks: [
      ...checksOf(logins, storms),
      ...checkMixed(measured.cells),
      ...checkIdle(idle),
      ...checkWeb(web),
      ...(has('web-storm') ? checkWebStorm(webStorms) : []),
      ...(has('session') ? checkSessions(sessions) : []),
      ...checkDashboard(dashboards),
    ],
    notMeasured: notMeasured(measured.cells, { pgbouncer: pgbouncer !== null, cpu: hasProcessFigures() }),
  }
}

function needsAccounts(scenarios: readonly Scenario[]): boolean {
  const others: readonly Scenario[] = ['web-storm', 'session', 'dashboard']
  return webRows(scenarios).length > 0 || others.some((name) => scenarios.includes(name))
}

/** The near loads, then the far ones: both at once would only hold memory. */
async function allLoads(
  scene: Scene,
  loads: readonly Load[],
  version: string,
): Promise<Pick<Results, 'cells' | 'configurations' | 'addedRoundTrip'>> {
  const { ground } = scene
  const far = loads.filter((load) => FACTS[load].isFar)
  const cells: Cell[] = []
  const configurations: Results['configurations'][number][] = []
  for (const some of [loads.filter((load) => !FACTS[load].isFar), far]) {
    if (some.length === 0) continue
    const peers = await startPeers(ground, some, version)
    for (const peer of peers) say(inWords(peer))
    cells.push(...(await allRounds({ ...scene, peers }, some)))
    for (const peer of peers) await peer.child?.stop()
    const names = configurations.map(({ name }) => name)
    const told = peers.filter(({ name, configuration }) => configuration !== '' && !names.includes(name))
    configurations.push(...told.map(({ name, configuration }) => ({ name, text: configuration })))
  }
  const addedRoundTrip = far.length === 0 ? null : await measureRoundTrip(ground)
  if (addedRoundTrip !== null) say(`a far relay adds ${addedRoundTrip.toFixed(2)} ms to a round trip`)
  return { cells, configurations, addedRoundTrip }
}

function inWords({ name, version }: Peer): string {
  return `${name === 'direct' ? 'direct: Postgres' : name} ${version}`.trim()
}

function planOf(ground: Ground, loads: readonly Load[]) {
  const { seconds, rounds, scenarios } = ground.options
  const both = ground.pgbouncer === null ? 1 : 2
  const runnable = (load: Load) =>
    takingPart(ground, load).filter((name) => cannotDo(ground, name, load) === '')
  return {
    seconds,
    rounds,
    cells: loads.flatMap(runnable).length,
    loginSeconds: loads.reduce(
      (sum, load) => sum + runnable(load).length * loginTime(clientsOf(load, ground.options.clients)),
      0,
    ),
    hasTpcb: loads.includes('tpcb'),
    // With each of two ways to authenticate.
    loginRuns: scenarios.includes('logins') ? 2 * both : 0,
    stormRuns: scenarios.includes('auth-storm') ? both : 0,
    idleRuns: scenarios.includes('idle') ? IDLE_COUNTS.length * both : 0,
    webRows: webRows(scenarios).length,
    sessionRows: scenarios.includes('session') ? SESSION_ROWS.length : 0,
    webStorms: scenarios.includes('web-storm') ? 1 : 0,
    dashboard: {
      runs: scenarios.includes('dashboard') ? 2 * dashboardRounds(rounds) : 0,
      loginSeconds: loginTime(clientsOf(DASHBOARD_LOAD, ground.options.clients)),
    },
  }
}

function verdictsOf(cells: readonly Cell[], loads: readonly Load[]): Verdict[] {
  const shares = knowsShared()
  return loads.flatMap((load) => {
    const find = (peer: string) => cells.find((cell) => cell.scenario === load && cell.peer === peer) ?? null
    const others = { pgbouncer: find('pgbouncer'), direct: find('direct') }
    return ['pgmux', 'pgmux-leased'].flatMap((peer) => {
      const ours = find(peer)
      return ours === null ? [] : [verdictOf(ours, { ...others, isSharing: shares && peer === 'pgmux' })]
    })
  })
}

function checksOf(logins: readonly LoginCell[], storms: readonly StormCell[]): Check[] {
  const ours = logins.filter((cell) => cell.peer === 'pgmux')
  const theirs = (auth: string) =>
    logins.find((cell) => cell.peer === 'pgbouncer' && cell.auth === auth) ?? null
  const stormed = storms.find((cell) => cell.peer === 'pgmux')
  return [
    ...ours.map((cell) => checkLogins(cell, theirs(cell.auth))),
    ...(stormed === undefined ? [] : checkStorm(stormed)),
  ]
}

function exitCode(results: Results, options: BenchOptions): number {
  const complaints = results.verdicts.filter((verdict) => verdict.complaint !== '')
  const failed = complaints.length > 0 || results.checks.some((check) => check.failed)
  return failed && options.assert ? 1 : 0
}

/** @returns the names of the files; what an earlier bench of the day has written stays. */
async function save(results: Results): Promise<string[]> {
  await mkdir(RESULTS, { recursive: true })
  const there = await readdir(RESULTS)
  const day = `${results.date.slice(0, 10)}-bench`
  let name = day
  for (let i = 2; there.includes(`${name}.json`); i++) name = `${day}-${i}`
  const { clients, pool, rounds, seconds } = results.options
  const { machine } = results
  const load = `${clients} clients, pool of ${pool}, medians of ${rounds} rounds of ${seconds} s`
  const where = `${machine.cores} cores, Postgres ${machine.postgres}`
  const subtitle = `${load}; ${where}, ${results.date.slice(0, 10)}`
  const files: [string, string][] = [['json', `${JSON.stringify(results, null, 2)}\n`]]
  const picture = results.cells.length === 0 ? '' : `${name}.svg`
  if (picture !== '') files.push(['svg', chart(results.cells, subtitle)])
  files.push(['html', htmlPage(results, subtitle)], ['md', page(results, picture)])
  for (const [end, text] of files) await writeFile(join(RESULTS, `${name}.${end}`), text)
  return files.map(([end]) => `bench/results/${name}.${end}`)
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
  const stop = (name: string): void => {
    if (stoppedBy === '') process.stderr.write(`bench: ${name}, stopping what was started\n`)
    stoppedBy ||= name
    void children.stopAll()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop(name))
  // Whoever read has gone (`| head`): without this the process ends at once and leaves its folders behind.
  process.stdout.on('error', () => stop('nobody reads the output'))
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
