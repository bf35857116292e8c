// The commands that change something: pause, resume, reconnect, kill, shut down, reload. They do it through
// the router and the source; the words of errors are PgBouncer's where it has the case.
import { SHUTDOWN } from '../../frontend/refusals.ts'
import type { Refusal } from '../../pool/types.ts'
import { optionsMeant, SetError } from '../../config/set.ts'
import type { Client } from '../../frontend/client.ts'
import { isConsole } from '../../frontend/console-door.ts'
import type { PoolEntry } from '../../routing/pool-entry.ts'
import type { Router } from '../../routing/router.ts'
import { idOf, readId } from './ids.ts'
import { databaseNames } from './show-pools.ts'
import {
  type Command,
  ConsoleError,
  type ConsoleSource,
  DEFAULT,
  type Operator,
  type ShutdownMode,
} from './types.ts'

const KILLED: Refusal = {
  severity: 'FATAL',
  code: '57P01',
  message: 'admin forced disconnect',
  reason: 'killed',
}

/** @throws ConsoleError where there is no such database; '' is fine */
function known(source: ConsoleSource, name: string, verb: string): void {
  if (name === '' || databaseNames(source).includes(name)) return
  if (isConsole(name)) throw new ConsoleError('22023', `cannot ${verb} admin db: ${name}`)
  if ('reason' in source.router.placeOf(name, '')) {
    throw new ConsoleError('3D000', `no such database: ${name}`, 'SHOW DATABASES lists those that there are.')
  }
}

function refuseInDrain(source: ConsoleSource): void {
  if (source.house.isDraining) throw new ConsoleError('57P03', 'pooler is shutting down')
}

/** '' : all. */
function which(name: string): string | null {
  return name === '' ? null : name
}

function serversLeft(router: Router, name: string): number {
  let left = 0
  for (const entry of router.of(which(name))) {
    left += entry.pool.size + entry.own.size
    if (router.hubs?.hasServer(entry) === true) left++
  }
  return left
}

async function pause(operator: Operator, name: string): Promise<void> {
  const { source } = operator
  const { router } = source
  refuseInDrain(source)
  known(source, name, 'pause')
  const isPaused = name === '' ? router.gates.isAllPaused : router.gates.isPaused(name)
  if (isPaused || source.house.isSuspended) throw new ConsoleError('55000', 'already suspended/paused')
  router.pause(which(name))
  try {
    await operator.wait(() => serversLeft(router, name) === 0)
  } catch (error) {
    // As with PgBouncer: who gives up waiting does not want it any more.
    router.resume(which(name))
    throw error
  }
}

/** Answers when nothing is under way for a client that needs no more of it. */
async function suspend(operator: Operator): Promise<void> {
  const { house, router } = operator.source
  refuseInDrain(operator.source)
  if (house.isSuspended || router.gates.isAllPaused)
    throw new ConsoleError('55000', 'already suspended/paused')
  house.suspend(true)
  try {
    await operator.wait(() => ![...house.clients].some(({ isOwed }) => isOwed))
  } catch (error) {
    house.suspend(false)
    throw error
  }
}

function resume(operator: Operator, name: string): void {
  const { source } = operator
  const { router } = source
  refuseInDrain(source)
  known(source, name, 'resume')
  if (name === '' && source.house.isSuspended) {
    source.house.suspend(false)
    if (!router.gates.isAllPaused) return
  }
  const isPaused = name === '' ? router.gates.isAllPaused : router.gates.paused.has(name)
  if (!isPaused && name === '') {
    const byName = [...router.gates.paused].sort().join(', ')
    const hint = byName === '' ? '' : `Paused by name, to be resumed by name: ${byName}.`
    throw new ConsoleError('55000', 'pooler is not paused/suspended', hint)
  }
  if (!isPaused) throw new ConsoleError('55000', `database ${name} is not paused`)
  router.resume(which(name))
}

function reconnect(operator: Operator, name: string): void {
  known(operator.source, name, 'reconnect')
  for (const entry of operator.source.router.of(which(name))) entry.retire()
}

function waitClose(operator: Operator, name: string): Promise<void> {
  const { source } = operator
  known(source, name, 'wait for')
  const isClosed = (entry: PoolEntry): boolean => {
    const { pool } = entry
    for (const list of [pool.idle, pool.active, pool.testing, pool.opening])
      for (const server of list) if (server.isRetired) return false
    return true
  }
  return operator.wait(() => source.router.of(which(name)).every(isClosed))
}

function disable(operator: Operator, name: string): void {
  known(operator.source, name, 'disable')
  operator.source.router.gates.disabled.add(name)
}

function enable(operator: Operator, name: string): void {
  known(operator.source, name, 'enable')
  operator.source.router.gates.disabled.delete(name)
}

/** Clients and servers are cut off now; who comes again waits for RESUME. */
function kill(operator: Operator, name: string): void {
  const { source } = operator
  refuseInDrain(source)
  known(source, name, 'kill')
  const names = name === '' ? databaseNames(source) : [name]
  for (const database of names) source.router.pause(database)
  for (const client of [...source.house.clients])
    if (names.includes(client.visitor.database)) client.fatal(KILLED)
  for (const database of names)
    for (const entry of source.router.of(database))
      for (const server of [...entry.servers()]) server.close('killed by an operator')
}

function idIn(text: string): number {
  const id = readId(text)
  if (!Number.isNaN(id)) return id
  throw new ConsoleError('22P02', 'invalid client pointer supplied', 'Give the id of SHOW CLIENTS.')
}

function clientOf({ source }: Operator, id: number): Client | null {
  for (const client of source.house.clients) if (idOf(client) === id) return client
  return null
}

/** What the client has asked for last is cancelled, as by a cancel request of its own. */
function cancel(operator: Operator, text: string): void {
  const client = clientOf(operator, idIn(text))
  if (client === null) throw notFound()
  const isAsking = client.isWaiting || client.shared !== null || client.server?.talk.isBusy === true
  if (!isAsking) throw new ConsoleError('55000', 'the client runs nothing and waits for nothing')
  client.cancelRequest(() => {})
}

function killClient(operator: Operator, text: string): void {
  const id = idIn(text)
  const client = clientOf(operator, id)
  if (client !== null) {
    client.fatal(KILLED)
    return
  }
  for (const session of operator.sessions) {
    if (idOf(session) !== id) continue
    session.end(SHUTDOWN)
    return
  }
  throw notFound()
}

function notFound(): ConsoleError {
  return new ConsoleError('22023', 'client not found', 'SHOW CLIENTS lists those that are here.')
}

const MODES: Readonly<Record<string, ShutdownMode>> = {
  '': 'now',
  WAIT_FOR_SERVERS: 'wait for servers',
  WAIT_FOR_CLIENTS: 'wait for clients',
}

async function reload({ source }: Operator): Promise<void> {
  try {
    await source.reload()
  } catch (error) {
    throw new ConsoleError(
      'F0000',
      'RELOAD failed, see logs for additional details',
      (error as Error).message,
    )
  }
}

/** @param text `name=value`; an empty value: as file, environment and flags have it */
async function set({ source }: Operator, text: string): Promise<void> {
  const at = text.indexOf('=')
  const [name, value] = [text.slice(0, at), text.slice(at + 1)]
  try {
    await source.set(optionsMeant(name, value === DEFAULT ? null : value))
  } catch (error) {
    const { message } = error as Error
    throw new ConsoleError('22023', message, error instanceof SetError ? error.hint : '')
  }
}

type Row = Pick<Command, 'name' | 'takes' | 'help' | 'act'>

const ROWS: readonly Row[] = [
  { name: 'RELOAD', takes: 'nothing', help: 'Read the configuration again', act: reload },
  {
    name: 'SET',
    takes: 'setting',
    help: 'Give an option another value until the next RELOAD: SET pool.size = 20',
    act: set,
  },
  {
    name: 'PAUSE',
    takes: 'database?',
    help: 'Let clients wait, close servers as they become free; answers when none is left',
    act: pause,
  },
  { name: 'RESUME', takes: 'database?', help: 'Undo PAUSE, SUSPEND and KILL', act: resume },
  {
    name: 'SUSPEND',
    takes: 'nothing',
    help: 'Read nothing more from clients; answers when what they have asked for is answered',
    act: suspend,
  },
  {
    name: 'RECONNECT',
    takes: 'database?',
    help: 'Close each server as soon as it is free and open new ones as they are wanted',
    act: reconnect,
  },
  {
    name: 'WAIT_CLOSE',
    takes: 'database?',
    help: 'Answers when the servers of a RECONNECT or RELOAD have closed',
    act: waitClose,
  },
  { name: 'DISABLE', takes: 'database', help: 'Refuse new clients of a database', act: disable },
  { name: 'ENABLE', takes: 'database', help: 'Let them in again', act: enable },
  {
    name: 'KILL',
    takes: 'database?',
    help: 'Cut off all clients and servers of a database, and pause it',
    act: kill,
  },
  { name: 'CANCEL', takes: 'id', help: 'Cancel what one client waits for or runs', act: cancel },
  { name: 'KILL_CLIENT', takes: 'id', help: 'Cut off one client', act: killClient },
  {
    name: 'SHUTDOWN',
    takes: 'mode?',
    help: 'End pgmux: now, when transactions have ended, or when the clients have gone by themselves',
    act: ({ source }, mode) => source.shutdown(MODES[mode.toUpperCase()]),
  },
]

export const CONTROL_COMMANDS: readonly Command[] = ROWS.map((row) => ({ ...row, role: 'admin' as const }))
