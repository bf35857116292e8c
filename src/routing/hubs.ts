// The hubs of the process: one for each database of Postgres in which clients listen, whatever name and user
// they come with. It owns them, and says through which pool's route a hub connects; it knows no client.
import type { LoginParts } from '../backend/login.ts'
import { Hub } from '../backend/hub.ts'
import type { ListeningServer } from '../backend/listening-server.ts'
import type { Route } from '../backend/route.ts'
import type { CoarseTime } from '../backend/talk.ts'
import type { AnyPool, Limits } from '../pool/limits.ts'
import type { Counters } from '../observe/counters.ts'

/** A pool whose clients may listen. */
export interface HubMember {
  readonly database: string
  readonly user: string
  /** Where its servers are, in words. */
  readonly where: string
  /** Which database of which Postgres it has, as one text. */
  readonly scope: string
  readonly route: Route
  readonly counters: Counters
  /** It has clients. */
  readonly isAtWork: boolean
  /** It must not have a connection: a pause, or its database is gone. */
  readonly isBarred: boolean
}

/** The connection of a hub, for who wants to see it. */
export interface HubConnection {
  readonly server: ListeningServer
  /** Through which it was opened, or who has it now. */
  readonly member: HubMember
}

/** What hubs are made of. */
export interface HubsParts extends Omit<LoginParts, 'route'> {
  readonly time: CoarseTime
  /** The connections count in them. */
  readonly shared: Limits
  readonly warn: (message: string) => void
}

/** How long a place is waited for: those who listen try again meanwhile. */
const PLACE_MS = 10_000
const NOBODY = { size: 0, first: null } as const

/** What there is at this moment. */
export interface HubGauges {
  readonly servers: number
  readonly channels: number
  readonly subscribers: number
}

/**
 * One hub and the pools that use it. For the limits it is a pool of at most one server, of the database and
 * user of the pool through which that is opened.
 */
class Place implements AnyPool {
  readonly idle = []
  readonly isOutside = true
  readonly hub: Hub
  readonly members = new Set<HubMember>()
  /** Through whose route it was connected last. */
  through: HubMember | null = null
  readonly #parts: HubsParts
  #waitingSince = 0
  #waitsUntil = 0

  constructor(parts: HubsParts, first: HubMember) {
    this.#parts = parts
    const route = (): Route | null => this.#route()
    const onClosed = (): void => parts.shared.serveStarving()
    this.hub = new Hub({ ...parts, counters: first.counters, route, onClosed })
    parts.shared.add(this)
  }

  get database(): string {
    return this.through?.database ?? ''
  }

  get user(): string {
    return this.through?.user ?? ''
  }

  get size(): number {
    return this.hub.server === null ? 0 : 1
  }

  get waiting(): AnyPool['waiting'] {
    const isWaiting = this.hub.server === null && this.#parts.time.now < this.#waitsUntil
    return isWaiting ? { size: 1, first: { waitingSince: this.#waitingSince } } : NOBODY
  }

  serve(): void {
    if (this.waiting.size > 0) this.hub.serve()
  }

  /** Somebody listens: it is no idle server. */
  evict(): boolean {
    return false
  }

  /** It has no clients there any more. The connection stays; somebody who is there says when it must go. */
  leave(member: HubMember): void {
    this.members.delete(member)
    if (this.through === member) this.through = this.members.values().next().value ?? null
  }

  /** In turn: what keeps one user from logging in may let in another. */
  #route(): Route | null {
    const { members, hub, through } = this
    if (hub.server !== null) return through === null || through.isBarred ? null : through.route
    const able = [...members].filter((member) => member.isAtWork && !member.isBarred)
    const next = able[(able.indexOf(through as HubMember) + 1) % able.length]
    this.through = next ?? null
    if (next === undefined) return null
    const { shared, time } = this.#parts
    const hasRoom = shared.makeRoom(this)
    if (!hasRoom && this.waiting.size === 0) this.#waitingSince = time.now
    this.#waitsUntil = hasRoom ? 0 : time.now + PLACE_MS
    return hasRoom ? next.route : null
  }
}

export class Hubs {
  readonly #parts: HubsParts
  readonly #places = new Map<string, Place>()

  constructor(parts: HubsParts) {
    this.#parts = parts
  }

  /** The hub for clients of this pool. */
  of(member: HubMember): Hub {
    const { scope } = member
    let place = this.#places.get(scope)
    if (place === undefined) {
      place = new Place(this.#parts, member)
      this.#places.set(scope, place)
    }
    place.members.add(member)
    return place.hub
  }

  /** This pool's database is somewhere else now: its clients listen there. */
  moved(member: HubMember, from: string): void {
    const place = this.#places.get(from)
    if (place?.members.has(member) !== true) return
    place.leave(member)
    const gone = place.hub.evict(member)
    if (gone.length === 0) return
    const hub = this.of(member)
    for (const [subscriber, names] of gone) hub.adopt(subscriber, names)
  }

  /** The pool is forgotten. */
  left(member: HubMember): void {
    this.#places.get(member.scope)?.leave(member)
  }

  /** Servers of this pool are not to be used again. */
  renew(member: HubMember): void {
    const place = this.#places.get(member.scope)
    if (place?.through === member) place.hub.renew()
  }

  /** There is a connection for clients of this pool. */
  hasServer(member: HubMember): boolean {
    const place = this.#places.get(member.scope)
    return place?.through === member && place.hub.server !== null
  }

  /** Those that there are or are being opened. */
  *connections(): Generator<HubConnection> {
    for (const { hub, through } of this.#places.values())
      if (hub.server !== null && through !== null) yield { server: hub.server, member: through }
  }

  gauges(): HubGauges {
    const gauges = { servers: 0, channels: 0, subscribers: 0 }
    for (const { hub } of this.#places.values()) {
      if (hub.server !== null) gauges.servers++
      gauges.channels += hub.channels.size
      gauges.subscribers += hub.channels.subscribers
    }
    return gauges
  }

  /** Time has passed. */
  tick(now: number): void {
    for (const [scope, place] of this.#places) {
      const { hub } = place
      hub.tick(now)
      if (!hub.isForgotten) continue
      this.#places.delete(scope)
      this.#parts.shared.remove(place)
    }
  }

  close(): void {
    for (const { hub } of this.#places.values()) hub.close()
    this.#places.clear()
  }
}
