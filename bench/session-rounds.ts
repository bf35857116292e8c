// Runs the scenario about sessions: the rows of a group take turns in each round.
// Must never compare anything: it only fills the cells.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Outcome, rotated, total } from './figures.ts'
import { direct, type Ground, type Peer, startPgmux, trusting } from './peers.ts'
import { Pgbench } from './pgbench.ts'
import { runLength, WARM_UP } from './progress.ts'
import { observed, type Scene } from './rounds.ts'
import type { SessionCell } from './session-figures.ts'
import { SESSION_ROWS } from './session-scenarios.ts'

const NO_PGBENCH = "the scripts are pgbench's, which is not in PATH"

/** All rounds of the rows. */
export async function allSessions(
  { ground, generator, progress, say }: Scene,
  version: string,
): Promise<SessionCell[]> {
  const cells = SESSION_ROWS.map((row): SessionCell => ({ ...row, outcomes: [] }))
  const pgmux = await startPgmux(ground, { ...trusting(ground), label: 'session' }, version)
  const peers = { direct: direct(ground), pgmux }
  const files = await writeScripts(ground)
  const run = (cell: SessionCell, seconds: number): Promise<Outcome> => {
    const file = files[cells.indexOf(cell)] as string
    return measure({ ground, generator }, peers[cell.peer], { file, seconds })
  }
  for (const group of Map.groupBy(cells, (cell) => cell.group).values()) {
    for (const cell of group) {
      await run(cell, WARM_UP)
      progress.spend(runLength(WARM_UP), false)
    }
    for (let round = 0; round < ground.options.rounds; round++) {
      for (const cell of rotated(group, round)) {
        const outcome = await run(cell, ground.options.seconds)
        cell.outcomes.push(outcome)
        progress.spend(runLength(ground.options.seconds), true)
        const turn = `round ${round + 1} of ${ground.options.rounds}`
        say(`${progress.mark} ${cell.title}, ${turn}, ${cell.peer}: ${inWords(outcome)}`)
      }
    }
  }
  await pgmux.child!.stop()
  return cells
}

async function writeScripts(ground: Ground): Promise<string[]> {
  return Promise.all(
    SESSION_ROWS.map(async ({ script }, i) => {
      const file = join(ground.folder, `session-${i}.sql`)
      await writeFile(file, script)
      return file
    }),
  )
}

async function measure(
  { ground, generator }: Pick<Scene, 'ground' | 'generator'>,
  peer: Peer,
  { file, seconds }: { file: string; seconds: number },
): Promise<Outcome> {
  if (!(generator instanceof Pgbench)) return { kind: 'failed', reason: NO_PGBENCH }
  const { target } = peer
  const { clients } = ground.options
  return observed(ground, peer, () => generator.runScript({ target, clients, seconds, file }))
}

function inWords(outcome: Outcome): string {
  if (outcome.kind !== 'run') return `${outcome.kind}: ${outcome.reason}`
  const { rate, latency, cpu } = outcome
  const used = total(cpu)
  const times = latency === null ? '' : `, p50 ${latency.p50.toFixed(2)} ms, p99 ${latency.p99.toFixed(2)} ms`
  return `${rate.toFixed(0)} tps${times}${used === null ? '' : `, ${used.toFixed(1)} us CPU per transaction`}`
}
