// All places for servers that several processes share: who has how many, who wants one, who is asked to give
// one up. It owns these counts and the limits hold for their sums: a place is granted only where no sum would
// go beyond its limit, and counts until the process that has it gives it back. It knows no process and no
// server, and no time but what it is told.
import type { SharedLimits } from './limits.ts'
import type { Demand, Place, ScopeKind, Want } from './places.ts'

/** The limits; asked for each decision, so that a reload needs no word. */
export interface BrokerRules {
  size(database: string, user: string): { readonly size: number; readonly reserveSize: number }
  minSize(database: string, user: string): number
  shared(): SharedLimits
}

/** How decisions reach the processes. */
export interface BrokerEvents {
  onGrant(holder: number, id: number, place: Place): void
  /** A wish for the minimum that cannot be granted. */
  onRefuse(holder: number, id: number): void
  /** All that this process is asked for now. */
  onDemands(holder: number, demands: readonly Demand[]): void
}

/** A limit that a place counts for. */
interface Scope {
  readonly kind: ScopeKind
  readonly key: string
  readonly max: number
}

interface Open extends Want {
  readonly holder: number
  /** Who is asked is another one each time. */
  turn: number
}

const NOBODY = new Map<string, number>()

export class PlaceBroker {
  readonly #rules: BrokerRules
  readonly #events: BrokerEvents
  /** Holder -> scope -> places. */
  readonly #held = new Map<number, Map<string, number>>()
  /** Scope -> places, over all holders. */
  readonly #sums = new Map<string, number>()
  /** Places by what they are for, over all holders. */
  readonly #kinds = new Map<string, Place>()
  #wants: Open[] = []
  readonly #asked = new Set<number>()

  constructor(rules: BrokerRules, events: BrokerEvents) {
    this.#rules = rules
    this.#events = events
  }

  /** Places of this kind, over all processes. */
  sum(scope: ScopeKind, database = '', user = ''): number {
    return this.#sums.get(keyOf(scope, database, user)) ?? 0
  }

  want(holder: number, want: Want): void {
    const turn = this.#wants.find((one) => one.holder === holder && one.id === want.id)?.turn ?? 0
    this.unwant(holder, want.id)
    const open: Open = { ...want, holder, turn }
    if (this.#grant(open)) return
    if (want.isMinimum) this.#events.onRefuse(holder, want.id)
    else {
      this.#wants.push(open)
      this.#ask()
    }
  }

  unwant(holder: number, id: number): void {
    this.#wants = this.#wants.filter((one) => one.holder !== holder || one.id !== id)
  }

  giveBack(holder: number, place: Place, count: number): void {
    this.#count(holder, place, -count)
    this.#serve()
  }

  /** This process wants nothing any more. What it has still counts. */
  forgetWants(holder: number): void {
    this.#wants = this.#wants.filter((one) => one.holder !== holder)
    this.#asked.delete(holder)
  }

  /** What it had is gone for sure. */
  forget(holder: number): void {
    this.forgetWants(holder)
    for (const [key, count] of this.#held.get(holder) ?? []) this.#add(key, -count)
    this.#held.delete(holder)
    for (const [key, { database, user }] of this.#kinds)
      if (this.sum('pool', database, user) === 0) this.#kinds.delete(key)
    this.#serve()
  }

  /** Time has passed, or the limits are others: wishes are looked at again, and somebody else is asked. */
  tick(): void {
    this.#serve()
    for (const want of this.#wants) want.turn++
    this.#ask()
  }

  /** Oldest first. */
  #serve(): void {
    if (this.#wants.length === 0) return
    const wants = [...this.#wants].sort((a, b) => a.since - b.since)
    this.#wants = wants.filter((want) => !this.#grant(want))
  }

  #grant(want: Open): boolean {
    if (want.isMinimum && this.#hasMinimum(want.place)) return false
    if (this.#binding(want.place, want.isReserve) !== null) return false
    this.#count(want.holder, want.place, 1)
    this.#events.onGrant(want.holder, want.id, want.place)
    return true
  }

  #hasMinimum({ database, user }: Place): boolean {
    return this.sum('pool', database, user) >= this.#rules.minSize(database, user)
  }

  /** The first limit that keeps a place from being granted; null: none does. */
  #binding(place: Place, isReserve: boolean): Scope | null {
    const isFull = ({ key, max }: Scope): boolean => max > 0 && (this.#sums.get(key) ?? 0) >= max
    return this.#scopesOf(place, isReserve).find(isFull) ?? null
  }

  #scopesOf({ kind, database, user }: Place, isReserve: boolean): Scope[] {
    const shared = this.#rules.shared()
    const { size, reserveSize } = this.#rules.size(database, user)
    const scope = (of: ScopeKind, max: number): Scope => ({ kind: of, key: keyOf(of, database, user), max })
    const scopes = [
      scope('process', shared.process),
      scope('database', shared.database(database)),
      scope('user', shared.user(user)),
    ]
    return kind === 'outside' ? scopes : [scope('pool', size + (isReserve ? reserveSize : 0)), ...scopes]
  }

  #count(holder: number, place: Place, by: number): void {
    const held = this.#held.get(holder) ?? new Map<string, number>()
    this.#held.set(holder, held)
    this.#kinds.set(JSON.stringify(place), place)
    for (const { key } of this.#scopesOf(place, false)) {
      held.set(key, (held.get(key) ?? 0) + by)
      this.#add(key, by)
    }
    if (by < 0 && this.#sums.get(keyOf('pool', place.database, place.user)) === undefined)
      this.#kinds.delete(JSON.stringify(place))
  }

  #add(key: string, by: number): void {
    const sum = (this.#sums.get(key) ?? 0) + by
    if (sum === 0) this.#sums.delete(key)
    else this.#sums.set(key, sum)
  }

  // ---- who gives one up ----

  /** For each wish one process is asked: those that have most of what would help first, then in turn. */
  #ask(): void {
    const demands = new Map<number, Demand[]>()
    const add = (holder: number, demand: Demand): void => {
      demands.set(holder, [...(demands.get(holder) ?? []), demand])
    }
    for (const want of this.#wants) {
      const scope = this.#binding(want.place, want.isReserve)
      const { database, user } = want.place
      if (scope === null) continue
      const holders = this.#holdersOf(scope.key)
      if (holders.length === 0) continue
      const demand = { scope: scope.kind, database, user, since: want.since, size: want.size }
      add(holders[want.turn % holders.length], demand)
    }
    this.#askForSurplus(add)
    for (const holder of new Set([...this.#asked, ...demands.keys()])) {
      const wanted = demands.get(holder) ?? []
      if (wanted.length === 0) this.#asked.delete(holder)
      else this.#asked.add(holder)
      this.#events.onDemands(holder, wanted)
    }
  }

  /** A reload has made a limit smaller: all who have some are asked. */
  #askForSurplus(add: (holder: number, demand: Demand) => void): void {
    const seen = new Set<string>()
    for (const place of this.#kinds.values()) {
      for (const { kind, key, max } of this.#scopesOf(place, true)) {
        if (max === 0 || seen.has(key) || (this.#sums.get(key) ?? 0) <= max) continue
        seen.add(key)
        const { database, user } = place
        for (const holder of this.#holdersOf(key).slice(0, (this.#sums.get(key) ?? 0) - max))
          add(holder, { scope: kind, database, user, since: 0, size: 0 })
      }
    }
  }

  /** Who has places of this scope, most first. */
  #holdersOf(key: string): number[] {
    const count = (holder: number): number => (this.#held.get(holder) ?? NOBODY).get(key) ?? 0
    return [...this.#held.keys()].filter((one) => count(one) > 0).sort((a, b) => count(b) - count(a))
  }
}

function keyOf(scope: ScopeKind, database: string, user: string): string {
  if (scope === 'process') return scope
  if (scope === 'database') return `database\0${database}`
  return scope === 'user' ? `user\0${user}` : `pool\0${database}\0${user}`
}
