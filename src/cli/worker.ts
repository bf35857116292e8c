// A worker: a process of its own with a pooler that serves what the first process hands over. It owns the
// life of that process, which ends with the first one. It prints nothing; signals are the first process' to
// obey.
import { shareIds } from '../admin/console/ids.ts'
import { orForever } from '../config/units.ts'
import { HandedDoors } from '../net/handed.ts'
import { createLog } from '../observe/log.ts'
import { Pooler } from '../pooler.ts'
import { Member } from '../workers/member.ts'
import type { Start } from '../workers/messages.ts'
import { keepYoungGenerationSmall } from './heap.ts'

/** A terminal and a service manager send them to every process. */
const IGNORED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const

let pooler: Pooler | null = null

async function start(given: Start): Promise<void> {
  const { config, number, count, gates } = given
  shareIds(number, count)
  member.known(given, new HandedDoors(given.doors))
  const made = new Pooler(config, createLog(config.log).child({ worker: number }), null, member)
  member.serve(made, gates)
  await made.start()
  pooler = made
  void made.stopped.then(() => process.exit(0))
}

keepYoungGenerationSmall()
for (const signal of IGNORED) process.on(signal, () => {})
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
// Nobody would count what this one does.
process.on('disconnect', () => process.exit(1))

const member = new Member(process, {
  onStart: start,
  onDrain: (timeoutMs) => {
    if (pooler === null) process.exit(0)
    void pooler.drain(Math.min(timeoutMs, orForever(0)))
  },
  onDrainWhenEmpty: () => {
    if (pooler === null) process.exit(0)
    void pooler.stopWhenEmpty()
  },
})
