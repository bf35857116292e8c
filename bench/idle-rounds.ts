// Runs the scenario about clients that have nothing to do: each pooler by itself, a new process for each
// number of clients. Must never use a process twice: memory that was needed once is not given back.
import type { Missing } from './figures.ts'
import { type IdleCell, idleWords } from './idle-figures.ts'
import { BenchError } from './options.ts'
import { runJob } from './own.ts'
import { type Ground, type Peer, startPgbouncer, startPgmux, trusting } from './peers.ts'
import { openFileLimit } from './process-stat.ts'
import { fixedLength } from './progress.ts'
import type { Scene } from './rounds.ts'

/** How many clients there are. */
export const IDLE_COUNTS = [1000, 5000, 10_000] as const
/** s in which nothing is asked, before memory is read. */
const QUIET = 3
const WAKES_PER_SECOND = 2000
/** Files and clients that a pooler and the load need besides. */
const SPARE = 300

/** One run of each pooler with each number of clients. */
export async function allIdle(scene: Scene, version: string): Promise<IdleCell[]> {
  const { ground, progress, say } = scene
  const cells: IdleCell[] = []
  for (const count of IDLE_COUNTS) {
    for (const name of ground.pgbouncer === null ? ['pgmux'] : ['pgmux', 'pgbouncer']) {
      const outcome = await measureIdle(ground, name, count, version)
      const cell = { peer: name, count, outcome }
      cells.push(cell)
      progress.spend(fixedLength('idle'), true)
      say(`${progress.mark} ${idleWords(cell)}`)
    }
  }
  return cells
}

async function measureIdle(
  ground: Ground,
  name: string,
  count: number,
  version: string,
): Promise<IdleCell['outcome']> {
  const limit = openFileLimit()
  if (limit !== null && limit < count + SPARE) return cannot(`${limit} open files are too few (ulimit -n)`)
  const settings = { ...trusting(ground), label: `idle-${count}`, maxClients: count + SPARE }
  const peer: Peer =
    name === 'pgmux' ? await startPgmux(ground, settings, version) : (await startPgbouncer(ground, settings))!
  const { target, pid } = peer
  const job = { kind: 'idle', target, count, pid, quiet: QUIET, wakesPerSecond: WAKES_PER_SECOND } as const
  const figures = await runJob<'idle'>(ground.children, job, 2 * QUIET + count / WAKES_PER_SECOND)
  if (ground.children.stopping) throw new BenchError('stopped before its end')
  await peer.child!.stop()
  return 'kind' in figures ? figures : { kind: 'run', ...figures }
}

function cannot(reason: string): Missing {
  return { kind: 'cannot', reason }
}
