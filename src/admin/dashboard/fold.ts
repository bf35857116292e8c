// Why clients of one process wait whose servers are in others: there it is known who has them. Pure.
import { IN_USE } from '../console/holders.ts'
import type { CauseRow, HeldRow, Part, PoolKey } from './types.ts'

const ELSEWHERE = 'other_workers'

/** The pools for which the processes have to be asked who has their servers. */
export function poolsHeldElsewhere(parts: readonly Part[]): PoolKey[] {
  const found = new Map<string, PoolKey>()
  for (const { causes } of parts)
    for (const { reason, database, user } of causes)
      if (reason === ELSEWHERE) found.set(JSON.stringify([database, user]), [database, user])
  return [...found.values()]
}

/** The same parts, where clients that wait for others are told which. @param held of all processes */
export function foldHolders(parts: readonly Part[], held: readonly HeldRow[]): Part[] {
  const named = (cause: CauseRow): CauseRow => (cause.reason === ELSEWHERE ? withHolder(cause, held) : cause)
  return parts.map((part) => ({ ...part, causes: part.causes.map(named) }))
}

function withHolder(cause: CauseRow, held: readonly HeldRow[]): CauseRow {
  const rows = held.filter(({ database, user }) => database === cause.database && user === cause.user)
  const longest = ({ holder }: HeldRow): number => holder?.seconds ?? 0
  const [first] = rows.toSorted((a, b) => a.rank - b.rank || longest(b) - longest(a))
  const counts = IN_USE.map((state) => [sum(rows, state), state] as const).filter(([count]) => count > 0)
  const all = counts.reduce((total, [count]) => total + count, 0)
  // A server that is free elsewhere is on its way.
  if (first === undefined || first.holder === null || all < first.size) return cause
  const states = counts.map(([count, state]) => `${count} ${state}`).join(', ')
  const words = `all ${all} servers of the pool are in use: ${states}`
  return { ...cause, reason: 'pool_full', cause: words, advice: first.advice, holder: first.holder }
}

function sum(rows: readonly HeldRow[], state: string): number {
  return rows.reduce((total, { states }) => total + (states[state] ?? 0), 0)
}
