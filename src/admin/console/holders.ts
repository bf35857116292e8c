// Who has the servers of a pool, in words: for those who ask why others wait. Reads; changes nothing.
import type { Server } from '../../backend/server.ts'
import type { SharedExchange } from '../../backend/shared-exchange.ts'
import { Client } from '../../frontend/client.ts'
import { Reply, REPLY_KIND } from '../../pool/replies.ts'
import type { PoolEntry } from '../../routing/pool-entry.ts'
import type { Shape } from '../../sql/shapes.ts'

/** What a server in use is doing, those first that are most in the way. */
export const IN_USE = [
  'idle in transaction',
  'pinned',
  'in session mode',
  'active',
  'shared',
  'finishing',
] as const
export type InUse = (typeof IN_USE)[number]

/** One server that is in use. */
export interface Holder {
  readonly server: Server
  /** Null: several clients at once, or one that has gone. */
  readonly client: Client | null
  readonly state: InUse
  /** Since when it is in this state (coarse time). */
  readonly since: number
  /** The reasons of its pins; '' : none. */
  readonly pins: string
  /** What it runs, or has run last. */
  readonly statement: string
}

/** The servers of these pools that are in use, the one that is most in the way first. */
export function holdersOf(entries: Iterable<PoolEntry>): Holder[] {
  const holders: Holder[] = []
  for (const { pool, own } of entries)
    for (const servers of [pool.active, own])
      for (const server of servers) holders.push(holderOf(server as Server))
  return holders.sort((a, b) => IN_USE.indexOf(a.state) - IN_USE.indexOf(b.state) || a.since - b.since)
}

/** `2 active, 1 pinned`. */
export function countStates(holders: readonly Holder[]): string {
  const counts = IN_USE.map((state) => [holders.filter((one) => one.state === state).length, state] as const)
  return counts
    .filter(([count]) => count > 0)
    .map(([count, state]) => `${count} ${state}`)
    .join(', ')
}

function holderOf(server: Server): Holder {
  const { talk, lessee, lane } = server
  const client = lessee instanceof Client ? lessee : null
  const of = (state: InUse, since: number, shape: Shape | null = talk.shape, pins = ''): Holder => {
    return { server, client, state, since, pins, statement: shape?.label ?? '' }
  }
  if (lane !== null) return of('shared', talk.busySince, runningOn(server))
  if (client === null) return of('finishing', talk.busySince)
  const { pins } = client.session
  const [oldest] = pins.all()
  const reasons = [...new Set(Array.from(pins.all(), ({ reason }) => reason))].join(', ')
  if (talk.isBusy) return of('active', talk.busySince, talk.shape, reasons)
  if (talk.isInTransaction) return of('idle in transaction', talk.idleSince, talk.shape, reasons)
  if (oldest === undefined || oldest.reason === 'session') return of('in session mode', talk.idleSince)
  const pinned = of('pinned', oldest.since, talk.shape, reasons)
  return oldest.statement === '' ? pinned : { ...pinned, statement: oldest.statement }
}

/** What runs for the first of several clients. */
function runningOn({ talk: { replies } }: Server): Shape | null {
  const isShared = (replies.head & REPLY_KIND) === Reply.Shared
  return isShared ? (replies.headRef as SharedExchange).shape : null
}
