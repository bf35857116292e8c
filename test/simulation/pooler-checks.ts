// Owns: what must hold in a world with a pooler, after each event and at its end. Must never change the
// world.

import type { Server } from '../../src/backend/server.ts'
import { isCarried } from '../../src/session/settings.ts'
import { REPORTED } from '../support/fake/settings.ts'
import { FakeCluster } from '../support/fake-postgres.ts'
import { memoryPair } from '../support/memory-stream.ts'
import type { BackendMessage } from '../support/messages.ts'
import { Prng } from '../support/prng.ts'
import { transcript } from '../support/transcript.ts'
import { EventQueue } from './event-queue.ts'
import { SimUser } from './pooler-user.ts'
import type { Fault, PoolerWorld } from './pooler-world.ts'
import type { Script } from './script.ts'
import { bookOf, teachNonces } from './statements.ts'

/** Something that must never be. */
export class Violation extends Error {}

/** Errors that a client gets because of a fault, and the faults that explain each. */
export const EXPLAINED: Record<string, readonly Fault[]> = {
  '08006': ['crash', 'reset', 'outage', 'kill', 'refuseDial', 'choke', 'cancel', 'die'],
  '08007': ['crash', 'reset', 'outage', 'kill'],
  '08001': ['choke', 'crash', 'reset', 'outage', 'refuseDial', 'kill'],
  '57P01': ['kill', 'outage'],
  '57P02': ['outage'],
  '57P03': ['outage'],
  '53300': ['choke', 'outage'],
  '57014': ['cancel', 'choke'],
  '25P03': ['choke'],
  '25P04': ['choke'],
  '08P01': ['choke'],
}

/** After each event. @throws Violation */
export function checkEvent(world: PoolerWorld): void {
  const { pool } = world.entry
  if (pool.size > world.poolSize) throw new Violation(`${pool.size} servers in a pool of ${world.poolSize}`)
  for (const server of pool.idle) checkIdle(world, server as Server)
  const faults = bookOf(world.cluster).faults
  if (faults.length > 0) throw new Violation(faults[0])
  if (world.cluster.faults.length > 0) throw world.cluster.faults[0]
  // Events are many, connections may be as well; a look at one of them each time finds a leak soon enough.
  const end = world.poolerEnds[world.events % world.poolerEnds.length]
  if (end === undefined) return
  if (end.handlerErrors.length > 0) throw end.handlerErrors[0]
  const most = world.capacity * 3 + 24 * 1024
  if (end.unsent > most) throw new Violation(`${end.unsent} bytes wait for somebody who does not read`)
}

/** An idle server is clean, in the pooler's eyes and in truth. */
function checkIdle(world: PoolerWorld, server: Server): void {
  const { talk } = server
  if (!talk.isFree || server.lessee !== null || server.leaving !== null)
    throw new Violation('an idle server is not free')
  const session = world.session(server)
  if (session === undefined) return
  if (session.busy) throw new Violation('an idle server works')
  if (session.tx.status !== 'I') throw new Violation('an idle server is in a transaction')
  if (session.channels.size > 0) throw new Violation('an idle server listens')
  if (world.mode === 'session') return
  for (const [name, value] of talk.settings!.values) {
    const truth = session.settings.get(name)
    if (truth !== value) throw new Violation(`${name} of an idle server is ${truth}, believed to be ${value}`)
  }
  for (const name of Object.values(REPORTED)) {
    if (isCarried(name) && !talk.settings!.values.has(name))
      throw new Violation(`${name} of a server is not known`)
  }
}

/** When all clients have gone. @throws Violation */
export function checkEnd(world: PoolerWorld): void {
  const { house, entry } = world
  for (const end of world.poolerEnds) if (end.handlerErrors.length > 0) throw end.handlerErrors[0]
  if (!world.isQuiet) throw new Violation('at rest, but somebody has something to do')
  if (house.cancelKeys.size > 0) throw new Violation('cancel keys of nobody are kept')
  for (const server of entry.pool.idle) {
    checkIdle(world, server as Server)
    if (world.session(server as Server) === undefined) throw new Violation('a dead server is kept as idle')
  }
  if (world.cluster.logins > entry.pool.idle.length)
    throw new Violation('Postgres has sessions that the pool does not')
  if (world.traces.problem !== '') throw new Violation(world.traces.problem)
  if (world.traces.left !== 0) throw new Violation(`${world.traces.left} traces have no end`)
  for (const user of world.users) checkUser(world, user)
}

function checkUser(world: PoolerWorld, user: SimUser): void {
  const { script } = user
  const where = `client ${script.id}`
  if (user.problem !== '') throw new Violation(`${where}: ${user.problem}`)
  if (user.cancelledLate && !world.has('choke'))
    throw new Violation(`${where}: a cancel hit what came behind`)
  for (const { sql, params, fate } of world.cluster.ledger) {
    if (fate !== 'committed' || user.halfSaid.length === 0) continue
    const isHalf = user.halfSaid.some((nonce) => sql.includes(`'${nonce}'`) || params.includes(nonce))
    if (isHalf) throw new Violation(`${where}: half a batch was committed: ${sql}`)
  }
  checkRows(user)
  const alone = alonePlayed(script)
  const seen = user.messages.slice(user.loginEnd < 0 ? user.messages.length : user.loginEnd)
  const fault = seen.findIndex(isFault)
  const error = user.messages.find(isFault)
  if (error?.type === 'E') {
    const reasons = EXPLAINED[error.code]!
    if (!reasons.some((reason) => world.has(reason)))
      throw new Violation(`${where}: ${error.code} ${error.message}`)
  }
  const isWhole = fault < 0 && user.isDone
  compare(where, isWhole ? seen : seen.slice(0, fault < 0 ? seen.length : fault), alone, isWhole)
  const most = user.expectedReady + (isWhole ? 0 : user.spareReady)
  if (user.isDone && (user.ready < user.expectedReady || user.ready > most)) {
    throw new Violation(`${where}: ${user.ready} ReadyForQuery instead of ${user.expectedReady}`)
  }
  const isCut = user.closed !== '' && !user.isDone && !user.hasDied
  if (
    isCut &&
    error === undefined &&
    !['crash', 'reset', 'outage', 'kill', 'choke'].some((f) => world.has(f as Fault))
  ) {
    throw new Violation(`${where}: closed without a reason: ${user.closed}`)
  }
}

function isFault(message: BackendMessage): boolean {
  return message.type === 'E' && message.code in EXPLAINED && !isScripted(message.message)
}

/** Errors that belong to the script and have a code that a fault has, too. */
function isScripted(text: string): boolean {
  return text.startsWith('COPY from stdin failed')
}

function compare(where: string, seen: BackendMessage[], alone: BackendMessage[], isWhole: boolean): void {
  for (let index = 0; index < seen.length; index++) {
    const expected = alone[index]
    if (expected?.raw.equals(seen[index]!.raw)) continue
    const from = Math.max(0, index - 6)
    throw new Violation(
      `${where} sees ${transcript(seen.slice(from, index + 3))} where alone it sees ` +
        `${transcript(alone.slice(from, index + 3))}; ${text(seen[index])} instead of ${text(expected)}`,
    )
  }
  if (isWhole && seen.length < alone.length)
    throw new Violation(`${where} misses ${transcript(alone.slice(seen.length))}`)
}

function text(message: BackendMessage | undefined): string {
  return message === undefined ? 'nothing' : JSON.stringify(message.raw.toString('latin1'))
}

/** Whatever happens: rows with a number are the client's own. */
function checkRows({ messages, script }: SimUser): void {
  for (const message of messages) {
    if (message.type !== 'D' || message.values.length < 3) continue
    const nonce = message.values[0]?.toString() ?? ''
    if (!nonce.startsWith(`c${script.id}:`))
      throw new Violation(`client ${script.id} got the row of ${nonce}`)
    const label = message.values[1]?.toString() ?? ''
    if (/^c\d/.test(label) && !label.startsWith(`c${script.id}-`)) {
      throw new Violation(`client ${script.id} ran the statement ${label}`)
    }
  }
}

/** What the client sees when it has a Postgres of its own. */
function alonePlayed(script: Script): BackendMessage[] {
  const queue = new EventQueue(new Prng(1))
  const after = (ms: number, run: () => void): void => queue.after(ms, run)
  const cluster = new FakeCluster({ schedule: after, random: new Prng(2) })
  teachNonces(cluster)
  const habits = {
    random: new Prng(3),
    diesAfter: Number.POSITIVE_INFINITY,
    saysGoodbye: true,
    pauses: 0,
    cancels: 0,
    thinksMs: 0,
  }
  const user = new SimUser(script, habits, {
    after,
    connect: () => {
      const [ours, theirs] = memoryPair({ schedule: (step) => after(0, step), capacity: 1e9 })
      cluster.accept(ours)
      return theirs
    },
    onOver() {},
  })
  while (queue.step());
  if (!user.isDone || user.problem !== '')
    throw new Error(`a script that does not work alone: ${user.problem}`)
  return user.messages.slice(user.loginEnd)
}
