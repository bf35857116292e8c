// Runs the scenario about the dashboard: the same load on the same pgmux, in turns with nobody who looks and
// with some who do. Must never compare anything: it only fills the cells.
import { get, type IncomingMessage } from 'node:http'
import type { DashboardCell } from './dashboard-figures.ts'
import { rotated, type Outcome, total } from './figures.ts'
import { BenchError } from './options.ts'
import { type Peer, startPgmux, trusting } from './peers.ts'
import { loginTime } from './pgbench.ts'
import { runLength, WARM_UP } from './progress.ts'
import { measure, type Scene } from './rounds.ts'
import { clientsOf, DASHBOARD_LOAD } from './scenarios.ts'

const VIEWERS = [0, 2] as const
/** Differences of a few percent show in no fewer. */
const LEAST_ROUNDS = 9
/** Clients of one run may be on their way out when those of the next come. */
const SPARE = 2000

/** @param rounds what `--rounds` says */
export function dashboardRounds(rounds: number): number {
  return Math.max(LEAST_ROUNDS, rounds)
}

export async function allDashboards(scene: Scene, version: string): Promise<DashboardCell[]> {
  const { ground, progress, say } = scene
  const { seconds, rounds } = ground.options
  const clients = clientsOf(DASHBOARD_LOAD, ground.options.clients)
  const logins = loginTime(clients)
  const settings = { ...trusting(ground), label: 'dashboard', isShown: true, maxClients: clients + SPARE }
  const pgmux = await startPgmux(ground, settings, version)
  const cells = VIEWERS.map((viewers): DashboardCell => ({ viewers, outcomes: [] }))
  await measure(scene, pgmux, DASHBOARD_LOAD, WARM_UP)
  progress.spend(runLength(WARM_UP) + logins, false)
  const all = dashboardRounds(rounds)
  for (let round = 0; round < all; round++) {
    for (const cell of rotated(cells, round)) {
      const viewers = await Promise.all(Array.from({ length: cell.viewers }, () => look(pgmux)))
      const outcome = await measure(scene, pgmux, DASHBOARD_LOAD, seconds)
      const seen = viewers.map((viewer) => viewer.leave())
      if (seen.includes(0)) throw new BenchError('somebody who looked at the dashboard was shown nothing')
      cell.outcomes.push(outcome)
      progress.spend(runLength(seconds) + logins, true)
      say(`${progress.mark} dashboard, round ${round + 1} of ${all}, ${inWords(cell.viewers, outcome)}`)
    }
  }
  await pgmux.child!.stop()
  return cells
}

/** Somebody who reads the stream. @returns a way to go, which says how many pictures there were */
function look({ adminPort = 0 }: Peer): Promise<{ leave(): number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ leave(): number }>()
  let pictures = 0
  const onResponse = (response: IncomingMessage): void => {
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      pictures += text.split('event: now').length - 1
    })
    response.on('error', () => {})
    const leave = (): number => {
      response.destroy()
      return pictures
    }
    if (response.statusCode === 200) resolve({ leave })
    else reject(new BenchError(`the dashboard answers ${response.statusCode}`))
  }
  const path = '/dashboard/events'
  get({ host: '127.0.0.1', port: adminPort, path, agent: false }, onResponse).on('error', reject)
  return promise
}

function inWords(viewers: number, outcome: Outcome): string {
  const who = viewers === 0 ? 'nobody looks' : `${viewers} look`
  if (outcome.kind !== 'run') return `${who}: ${outcome.kind}: ${outcome.reason}`
  const used = total(outcome.cpu)
  const cpu = used === null ? '' : `, ${used.toFixed(2)} us CPU per transaction`
  return `${who}: ${outcome.rate.toFixed(0)} tps${cpu}`
}
