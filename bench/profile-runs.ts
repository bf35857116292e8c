// One more run of pgmux under Node's CPU profiler, for each scenario that it makes sense for, and what took
// the time. Must never mix its figures with those of the comparison: the profiler costs time itself.
import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { databaseOf } from './database.ts'
import { loginRun, loginSettings } from './login-rounds.ts'
import { BenchError } from './options.ts'
import { type Ground, type Peer, startPgmux, trusting } from './peers.ts'
import { type CpuProfile, profileClock, topFunctions } from './profile.ts'
import { WARM_UP } from './progress.ts'
import type { Scene } from './rounds.ts'
import { clientsOf, isBulk, isLoad, type Load } from './scenarios.ts'
import { measureWeb, webRows, webSettings } from './web-rounds.ts'

const TOP = 25

/** @param into folder of the profiles that a browser's developer tools can show */
export async function profileAll(scene: Omit<Scene, 'progress' | 'peers'>, into: string): Promise<void> {
  const { ground, say } = scene
  for (const scenario of ground.options.scenarios) {
    if (isLoad(scenario)) await profileLoad(scene, scenario, into)
    else if (scenario === 'logins') {
      for (const auth of ['trust', 'scram-sha-256'] as const) {
        const folder = join(ground.folder, `profile-logins-${auth}`)
        const peer = await startPgmux(ground, loginSettings(ground, auth, folder), '')
        await loginRun(ground, peer, ground.options.logins)
        const from = profileClock()
        const run = await loginRun(ground, peer, ground.options.logins)
        const words = run.kind === 'run' ? `p99 ${run.latency?.p99.toFixed(1)} ms` : run.reason
        await show({ ground, say, peer, folder, into, from }, `logins-${auth}`, words)
      }
    } else if (scenario === 'websocket' || scenario === 'http') await profileWeb(scene, scenario, into)
    else say(`no profile of ${scenario}: choose logins, or http and websocket`)
  }
}

async function profileLoad(
  scene: Omit<Scene, 'progress' | 'peers'>,
  load: Load,
  into: string,
): Promise<void> {
  const { ground, generator, own, say } = scene
  const { seconds } = ground.options
  const folder = join(ground.folder, `profile-${load}`)
  const peer = await startPgmux(ground, { ...trusting(ground, folder), label: `profiled-${load}` }, '')
  const clients = clientsOf(load, ground.options.clients)
  const scripts = scene.scripts.get(load)
  const target = { ...peer.target, database: databaseOf(load) }
  const order = { target, load, clients, ...(scripts && { scripts }) }
  const by = isBulk(load) ? own : generator
  await by.run({ ...order, seconds: WARM_UP })
  const from = profileClock()
  const measured = await by.run({ ...order, seconds })
  const words = 'kind' in measured ? measured.reason : `${measured.rate.toFixed(0)}/s under the profiler`
  await show({ ground, say, peer, folder, into, from }, load, words)
}

/** What the scenario is held to: visits over WebSocket, queries over HTTP. */
async function profileWeb(
  scene: Omit<Scene, 'progress' | 'peers'>,
  scenario: 'websocket' | 'http',
  into: string,
): Promise<void> {
  const { ground, say } = scene
  const folder = join(ground.folder, `profile-${scenario}`)
  const row = webRows([scenario]).find(({ way }) => way === scenario)!
  const peer = await startPgmux(ground, webSettings(ground, row.auth, folder), '')
  await measureWeb(scene, peer, row, WARM_UP)
  const from = profileClock()
  const run = await measureWeb(scene, peer, row, ground.options.seconds)
  const words = run.kind === 'run' ? `${run.rate.toFixed(0)}/s under the profiler` : run.reason
  await show({ ground, say, peer, folder, into, from }, scenario, words)
}

interface Profiled {
  readonly ground: Ground
  say(line: string): void
  readonly peer: Peer
  /** Where Node writes. */
  readonly folder: string
  readonly into: string
  readonly from: number
}

async function show(profiled: Profiled, name: string, words: string): Promise<void> {
  const { peer, folder, into, from, say } = profiled
  const to = profileClock()
  await peer.child!.stop()
  const [file] = await readdir(folder).catch(() => [])
  if (file === undefined) {
    throw new BenchError('Node wrote no profile: pgmux was killed, or it cannot write there')
  }
  const read = JSON.parse(await readFile(join(folder, file), 'utf8')) as CpuProfile
  say(`\nprofile of ${name} (share of the samples that were not idle; ${words})`)
  for (const { name: of, place, share } of topFunctions(read, { from, to }, TOP)) {
    say(`${(share * 100).toFixed(1).padStart(6)} %  ${of}  ${place}`)
  }
  await mkdir(into, { recursive: true })
  await copyFile(join(folder, file), join(into, `${name}.cpuprofile`))
  say(`for a browser's developer tools: bench/results/${name}.cpuprofile`)
}
