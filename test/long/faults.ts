// Owns: the faults of the long run, and what clients may be told while each lasts. A fault must leave
// everything as it was when it resolves: what it broke runs again.
import assert from 'node:assert/strict'
import type { X509Certificate } from 'node:crypto'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Authority, type Issued } from '../support/authority.ts'
import { crumbs } from '../support/chop.ts'
import type { Prng } from '../support/prng.ts'
import type { ProxyConnection } from '../support/proxy.ts'
import { eventually } from '../support/rig.ts'
import { openSocket } from '../support/sockets.ts'
import type { Crowd } from './crowd.ts'
import type { Subject } from './subject.ts'
import type { World } from './world.ts'

export interface Stage {
  readonly world: World
  readonly subject: Subject
  readonly crowd: Crowd
  readonly random: Prng
  readonly certificates: Certificates
}

export interface Fault {
  readonly name: string
  /** SQLSTATEs that clients may be told, and `lost`: the connection ends without a word. */
  readonly allowed: readonly string[]
  run(stage: Stage): Promise<void>
}

const GONE = ['08006', '08007', 'lost']
const STAMPEDE = 500
/** How often connections that have come since are treated as those before. */
const LOOK_MS = 20
const HOLD_MS = 5000
const BLACK_HOLE_MS = 10_000
const CRUMBS_MS = 20_000
const FREEZE_MS = 5000
const PAUSE_MS = 3000
const DOWN_MS = 4000

/** The pairs that a pooler shows by turns. */
export class Certificates {
  readonly #pairs: readonly Issued[]
  #shown = 0

  constructor() {
    const authority = new Authority('the long run')
    this.#pairs = ['one', 'two'].map((name) => authority.issue(`/CN=${name}`))
  }

  /** Puts the next pair where the pooler looks for it. @returns its subject */
  next(folder: string): string {
    this.#shown = 1 - this.#shown
    const { certFile, keyFile } = this.#pairs[this.#shown] as Issued
    copyFileSync(certFile, join(folder, 'server.crt'))
    copyFileSync(keyFile, join(folder, 'server.key'))
    return `CN=${['one', 'two'][this.#shown]}`
  }
}

/** Does this to each connection between pooler and Postgres, also to those that come, for so long. */
async function toAll({ world }: Stage, ms: number, act: (one: ProxyConnection) => void): Promise<void> {
  const seen = new Set<ProxyConnection>()
  for (const until = performance.now() + ms; performance.now() < until; await pause(LOOK_MS)) {
    for (const connection of world.proxy.connections) {
      if (seen.has(connection)) continue
      seen.add(connection)
      act(connection)
    }
  }
}

async function someServers({ world, random }: Stage, count: number): Promise<number[]> {
  const servers = await eventually(async () => {
    const found = await world.servers()
    return found.length > 0 && found
  })
  return random
    .shuffle(servers || [])
    .slice(0, count)
    .map(({ pid }) => pid)
}

async function terminate(stage: Stage): Promise<void> {
  for (let burst = 0; burst < 3; burst++) {
    const pids = await someServers(stage, stage.random.between(1, 6))
    await stage.world.postgres.admin('select pg_terminate_backend(pid) from unnest($1::int[]) pid', [pids])
    await stage.crowd.round()
  }
}

async function kill(stage: Stage): Promise<void> {
  const [pid] = await someServers(stage, 1)
  signalServer(pid as number, 'SIGKILL')
  await stage.world.reachable()
}

const restart =
  (how: 'stopFast' | 'stopImmediate', down = 0) =>
  async ({ world }: Stage): Promise<void> => {
    await world.control[how]()
    await pause(down)
    await world.control.start()
    await world.reachable()
  }

async function refuse({ world: { proxy } }: Stage): Promise<void> {
  proxy.refuse()
  proxy.resetAll()
  await pause(DOWN_MS)
  proxy.admit()
}

async function hold(stage: Stage): Promise<void> {
  await toAll(stage, HOLD_MS, (connection) => connection.hold())
  for (const connection of stage.world.proxy.connections) connection.release()
}

async function blackHole(stage: Stage): Promise<void> {
  await toAll(stage, BLACK_HOLE_MS, (connection) => connection.blackhole())
  stage.world.proxy.resetAll()
}

async function byteByByte(stage: Stage): Promise<void> {
  const { proxy } = stage.world
  const shape = (cut: 'whole' | typeof crumbs) => (connection: ProxyConnection) => {
    connection.up.shape.cut = cut
    connection.down.shape.cut = cut
  }
  await toAll(stage, CRUMBS_MS, shape(crumbs))
  proxy.connections.forEach(shape('whole'))
}

async function reload(stage: Stage): Promise<void> {
  const { world, subject, random } = stage
  for (const place of world.places) {
    place.size = random.between(3, 8)
    place.most = Math.max(place.most, place.size)
  }
  const ok = 'pgmux_reloads_total{result="ok"}'
  const before = (await subject.metrics()).get(ok) ?? 0
  subject.configure(JSON.stringify(world.settings(subject.folder, random.pick(['info', 'debug', 'warn']))))
  subject.signal('SIGHUP')
  await eventually(async () => assert.equal((await subject.metrics()).get(ok), before + 1))
}

async function brokenReload({ world, subject }: Stage): Promise<void> {
  const failed = 'pgmux_reloads_total{result="failed"}'
  const before = (await subject.metrics()).get(failed) ?? 0
  const told = subject.failedReloads
  subject.configure(world.broken)
  subject.signal('SIGHUP')
  await eventually(async () => assert.equal((await subject.metrics()).get(failed), before + 1))
  await eventually(() => subject.failedReloads > told)
}

async function certificate({ world, subject, certificates }: Stage): Promise<void> {
  const name = certificates.next(subject.folder)
  await eventually(async () => {
    const socket = await openSocket({ port: world.port, ssl: 'direct' })
    const { subject: shown } = (
      socket as unknown as { getPeerX509Certificate(): X509Certificate }
    ).getPeerX509Certificate()
    socket.destroy()
    assert.equal(shown, name)
  })
}

async function freeze(stage: Stage): Promise<void> {
  const pids = await someServers(stage, 2)
  for (const pid of pids) signalServer(pid, 'SIGSTOP')
  await pause(FREEZE_MS)
  for (const pid of pids) signalServer(pid, 'SIGCONT')
}

/** Nothing where it has ended by itself since it was chosen: its client may have gone. */
function signalServer(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Nobody outside a transaction is served until it is over. */
async function pauseAndResume({ world, subject, crowd }: Stage): Promise<void> {
  subject.signal('SIGUSR1')
  try {
    await eventually(async () => {
      const servers = await world.servers()
      assert.deepEqual(
        servers.filter(({ mode }) => mode === 'transaction').map(({ query }) => query),
        [],
      )
    }, 10_000)
    await using client = await crowd.doors.enter(world.target('transaction'))
    let isServed = false
    const served = client.query('select 1').then(() => {
      isServed = true
    })
    await pause(PAUSE_MS)
    assert.equal(isServed, false, 'nobody is served during a pause')
    subject.signal('SIGUSR2')
    await served
  } finally {
    subject.signal('SIGUSR2')
  }
}

async function stampede({ world, crowd, random }: Stage): Promise<void> {
  const one = async (number: number): Promise<void> => {
    await using client = await crowd.doors.enter(world.target(random.pick(world.places).mode))
    const mark = `stampede ${number}`
    assert.deepEqual((await client.query(`select '${mark}'`)).rows, [[mark]])
    await client.end()
  }
  await Promise.all(Array.from({ length: STAMPEDE }, (_, number) => one(number)))
}

const list: [string, readonly string[], Fault['run']][] = [
  ['terminate', ['57P01', ...GONE], terminate],
  ['kill -9', ['57P02', ...GONE], kill],
  ['restart fast', ['57P01', ...GONE], restart('stopFast')],
  ['stop immediate', ['57P01', '57P02', ...GONE], restart('stopImmediate')],
  ['down for a while', ['57P01', ...GONE], restart('stopFast', DOWN_MS)],
  ['refuse', GONE, refuse],
  ['reset all', GONE, async ({ world }) => world.proxy.resetAll()],
  ['hold', [], hold],
  ['black hole', GONE, blackHole],
  ['byte by byte', [], byteByByte],
  ['reload', [], reload],
  ['broken reload', [], brokenReload],
  ['certificate', [], certificate],
  ['freeze', [], freeze],
  ['pause', [], pauseAndResume],
  ['stampede', [], stampede],
]

export const FAULTS: readonly Fault[] = list.map(([name, allowed, run]) => ({ name, allowed, run }))
