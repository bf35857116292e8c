// Places for servers where several processes share them: what is asked for, given and wanted back. Types, and
// who counts for which limit; it owns nothing.

/** `pool`: a server of a pool. `outside`: one that counts for no pool's size (LISTEN, replication). */
export type PlaceKind = 'pool' | 'outside'

/** For whose server a place is. */
export interface Place {
  readonly kind: PlaceKind
  readonly database: string
  readonly user: string
}

/** One more place, please. The same number again: it is another wish than before. */
export interface Want {
  readonly id: number
  readonly place: Place
  /** Somebody has waited for so long that the reserve may be used. */
  readonly isReserve: boolean
  /** Nobody waits: it is only to keep the least number of servers open. Not granted at once: not at all. */
  readonly isMinimum: boolean
  /** Since when somebody waits, in milliseconds since 1970. */
  readonly since: number
  /** Servers that this pool has in that process. */
  readonly size: number
}

/** Which limit keeps a wish from being granted: places of these pools would help. */
export type ScopeKind = 'pool' | 'process' | 'database' | 'user'

/** A process is to give up a place that suits, if it can do without. */
export interface Demand {
  readonly scope: ScopeKind
  readonly database: string
  readonly user: string
  /** Since when somebody waits, in milliseconds since 1970; 0: there are more than the limits allow. */
  readonly since: number
  /** Servers that whoever waits has. */
  readonly size: number
}

/** Would a place of this pool help? */
export function isInScope(demand: Demand, of: { readonly database: string; readonly user: string }): boolean {
  const { scope, database, user } = demand
  if (scope === 'process') return true
  if (scope === 'database') return of.database === database
  if (scope === 'user') return of.user === user
  return of.database === database && of.user === user
}

/** Where a process asks for places, and gives them back. */
export interface PlaceOffice {
  want(want: Want): void
  /** It is not wanted any more. If it was granted meanwhile, it comes back. */
  unwant(id: number): void
  giveBack(place: Place, count: number): void
}
