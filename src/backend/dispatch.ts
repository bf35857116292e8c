// Shared dispatch of one pool (DESIGN section 6): which exchanges may run beside others, on how many lanes,
// and when. It owns the lanes and the clients that wait for room on one. Whether a text may share is judged
// by sql/sharing.ts; it never keeps a server that others wait for in vain.
import type { SharingConfig } from '../config/types.ts'
import type { Counters } from '../observe/counters.ts'
import type { LeasedServer } from '../pool/lease.ts'
import type { Pool } from '../pool/pool.ts'
import { Offered, type Sharer, type Sharing } from '../pool/sharing.ts'
import type { Registry } from '../session/registry.ts'
import type { Definition, NamedStatement } from '../session/statements.ts'
import type { Unnamed } from '../session/virtual-session.ts'
import { plainEffects } from '../sql/effects.ts'
import { Shape } from '../sql/shapes.ts'
import type { Framer } from '../wire/framer.ts'
import type { Insight } from './insight.ts'
import { Lane, type LaneOwner } from './lane.ts'
import { Fit, fitOf, isFree, suits } from './lane-fit.ts'
import { LaneFairness } from './lane-fairness.ts'
import { LaneWaiter } from './lane-waiter.ts'
import { learn } from './preparing.ts'
import { RepeatedTexts } from './repeated-texts.ts'
import { boundTo, Form, hasOnlyOwnTypes, Reading, SharedExchange } from './shared-exchange.ts'
import type { Server } from './server.ts'

/** A lane with so many exchanges in flight asks for another one beside it. */
const GROWS_AT = 6
/** Lanes of one pool whose statements are so quick that they keep Postgres' process busy without others. */
const LANES_MAX = 4
/** Slower ones, ms, do better side by side: there may be as many lanes as servers but one. */
const QUICK_MS = 0.3
/** How often it is looked whether lanes are still of use. */
const WINDOW_MS = 250
/** So many windows in a row in which a server for each would have done. */
const CALM_MAX = 4
const NO_EFFECTS = plainEffects(0)

/** What it is made of. */
export interface DispatchParts {
  readonly pool: Pool<LeasedServer>
  readonly registry: Registry
  readonly insight: Insight
  readonly counters: Counters
  /** A fine clock, ms. */
  readonly clock: () => number
  /** Looked up when it counts: a reload may change it. */
  options(): SharingConfig
  /** `tick` is wanted, from now on or no more. */
  watch(dispatch: Dispatch, isWanted: boolean): void
}

export class Dispatch implements Sharing, LaneOwner {
  readonly lanes: Lane[] = []
  readonly #parts: DispatchParts
  /** With the named statement that each waits to run, and its shape. */
  readonly #waiting = new Map<Sharer, Wanted>()
  readonly #reading = new Reading()
  readonly #repeated: RepeatedTexts
  readonly #fairness: LaneFairness
  /** What was offered last. */
  #shape: Shape | null = null
  #statement: NamedStatement | null = null
  #isOpening = false
  /** A lane that has no server yet. */
  #queued: LaneWaiter | null = null
  /** Most exchanges that were under way at once in this window. */
  #peak = 0
  #windowEnd = 0
  #calm = 0

  constructor(parts: DispatchParts) {
    this.#parts = parts
    this.#repeated = new RepeatedTexts(parts.registry)
    this.#fairness = new LaneFairness(parts.pool)
  }

  // ---- for clients ----

  offer(client: Sharer, framer: Framer): number {
    const { pool } = this.#parts
    this.#shape = null
    // While servers are free and there are no lanes, each has one of its own.
    if (this.lanes.length === 0 && (pool.idle.length > 0 || this.#mayOpen)) return Offered.No
    if (!isFree(client) || !this.#parts.options().isOn) return Offered.No
    const shape = this.#shapeOf(client, framer)
    if (shape === null || shape.refusal !== null || shape.judgedBy < this.#parts.insight.version)
      return Offered.No
    this.#shape = shape
    if (shape.ms < 0 || shape.ms > this.#parts.options().maxMs) {
      // A plan for all values may be worse than one for each.
      if (shape.ms >= 0) this.#repeated.spoil(shape)
      return Offered.Measure
    }
    const lane = this.#pick(client)
    const fit = lane === null ? Fit.Later : fitOf(lane, this.#statement, shape)
    if (fit === Fit.Never) return Offered.No
    if (lane === null || fit === Fit.Later) return Offered.Wait
    this.#append(lane, client, framer)
    return Offered.Taken
  }

  /** A new server can be had, as far as this pool knows. */
  get #mayOpen(): boolean {
    const { pool } = this.#parts
    return pool.size < pool.limits.size && pool.waiting.size === 0
  }

  /** Way to Postgres and back, which is nobody's fault. */
  get #roundTrip(): number {
    const { roundTripMs } = this.#parts.insight
    return Number.isFinite(roundTripMs) ? roundTripMs : 0
  }

  measured(what: object, ms: number): void {
    if (what instanceof Shape) what.took(Math.max(0, ms - this.#roundTrip))
  }

  waits(client: Sharer): void {
    if (this.#shape === null) return
    this.#waiting.set(client, { statement: this.#statement, shape: this.#shape })
  }

  waitsNoMore(client: Sharer): void {
    this.#waiting.delete(client)
  }

  get offered(): Shape | null {
    return this.#shape
  }

  /** What is known of the text that the exchange runs; null: it cannot be shared. */
  #shapeOf({ session }: Sharer, framer: Framer): Shape | null {
    const { insight } = this.#parts
    const reading = this.#reading
    const form = reading.read(framer)
    this.#shape = this.#statement = null
    if (form === Form.None) return null
    if (form !== Form.Named) {
      const { src, start } = framer
      return insight.shapeOf(src, start + reading.textStart, start + reading.textEnd, session.settings)
    }
    const name = reading.statementOf(framer)
    const statement = session.statements.lookup(name)
    if (statement === undefined || session.statements.hasPending) return null
    const { definition } = statement
    if (definition.isLarge || definition.isSql || definition.parseKey !== session.settings.parseKey)
      return null
    const { body } = definition
    const textEnd = body.indexOf(0)
    if (!hasOnlyOwnTypes(body, textEnd + 1, body.length)) return null
    this.#statement = statement
    return insight.shapeOf(body, 0, textEnd, session.settings)
  }

  #append(lane: Lane, client: Sharer, framer: Framer): void {
    const { src, start } = framer
    const { form, size, textStart, bindStart } = this.#reading
    const { session } = client
    const shape = this.#shape as Shape
    const bytes = Buffer.from(src.subarray(start, start + size))
    let of: NamedStatement | Unnamed | null = null
    let definition: Definition | null = null
    if (form !== Form.Query) framer.skipTo(start + size)
    if (form === Form.Unnamed) {
      of = session.takeUnnamed()
      of.set(src, start + textStart, start + bindStart)
      session.unnamedVersion++
      session.unnamedEffects = NO_EFFECTS
      session.unnamedShape = shape
      const { version, schema } = this.#parts.insight
      // Both only grow.
      this.#repeated.follow(version + schema)
      definition = this.#repeated.find(shape, session.settings, bytes, this.#reading)
    } else if (form === Form.Named) {
      of = this.#statement
      definition = this.#statement?.definition ?? null
    } else session.unnamedVersion++
    const exchange = new SharedExchange(client, bytes, shape, of)
    if (definition !== null && (form === Form.Named || lane.has(definition))) {
      exchange.definition = definition
      lane.append(exchange, boundTo(definition.name, bytes, this.#reading))
    } else {
      lane.append(exchange, bytes)
      // Behind this one: those that come next need no Parse.
      if (definition !== null) lane.bringIfRoom(definition, shape)
    }
    const tracing = session.watch?.tracing ?? null
    if (tracing !== null) {
      const text = form === Form.Named ? null : ([bytes, textStart, this.#reading.textEnd] as const)
      tracing.shared(text, shape)
    }
    this.#parts.counters.shared++
    this.#count()
  }

  // ---- lanes ----

  /** The lane for the client's next exchange; null: there is none with room. */
  #pick(client: Sharer): Lane | null {
    const { settings } = client.session
    const { depth } = this.#parts.options()
    let found: Lane | null = null
    let least = depth
    let same = 0
    for (const lane of this.lanes) {
      if (lane.settings !== settings) continue
      same++
      if (lane.isOpen && lane.depth < least && lane.server?.baseline === client.baseline) {
        found = lane
        least = lane.depth
      }
    }
    if (found === null || least >= GROWS_AT) this.#grow(client, same)
    return found
  }

  /** Asks for one more lane, if there may be one. */
  #grow({ session, baseline }: Sharer, same: number): void {
    const { pool, registry, clock } = this.#parts
    const isQuick = this.#shape !== null && this.#shape.ms < QUICK_MS
    const most = Math.max(1, Math.min(isQuick ? LANES_MAX : Number.POSITIVE_INFINITY, pool.limits.size - 1))
    if (this.#isOpening || this.lanes.length >= most || pool.isPaused) return
    // Clients with other settings than those of the lanes get one beside these, and no more.
    if (same === 0 && this.lanes.length > 0 && this.lanes.length >= most - 1) return
    this.#isOpening = true
    const lane = new Lane(this, session.settings, registry, clock)
    this.lanes.push(lane)
    if (this.lanes.length === 1) this.#parts.watch(this, true)
    // While no lane has a server nobody can share: it stands for all who could.
    const isLast = !this.lanes.some(({ server }) => server !== null)
    const isUrgent = isLast && !this.#fairness.isAnybodyOwed
    const waiter = new LaneWaiter(lane, { baseline, isUrgent }, (isGranted) => {
      this.#queued = null
      if (!isGranted) this.#forget(lane)
    })
    this.#queued = waiter
    const server = pool.acquire(waiter)
    if (server !== null) waiter.onGrant(server)
  }

  #forget(lane: Lane): void {
    const at = this.lanes.indexOf(lane)
    if (at >= 0) this.lanes.splice(at, 1)
    this.#isOpening = false
    if (this.lanes.length > 0) return
    this.#calm = 0
    this.#waiting.clear()
    this.#parts.watch(this, false)
  }

  onLaneOpen(lane: Lane): void {
    this.#isOpening = false
    this.onLaneRoom(lane)
  }

  onRan(lane: Lane, shape: Shape, ms: number, count: number): void {
    const each = Math.max(0, ms - this.#roundTrip) / count
    if (lane.isOpen) shape.took(each)
    else shape.tookTooLong(each)
  }

  onLaneRoom(lane: Lane): void {
    if (this.#waiting.size === 0 || !this.#isUsable(lane)) return
    const { depth } = this.#parts.options()
    let left = this.#waiting.size
    for (const [client, { statement, shape }] of this.#waiting) {
      // Who comes back is at the end.
      if (left-- === 0 || !lane.isOpen || lane.depth >= depth) return
      if (!suits(lane, client)) continue
      const fit = fitOf(lane, statement, shape)
      if (fit === Fit.Later) continue
      this.#waiting.delete(client)
      if (fit === Fit.Now) client.onRoom()
    }
  }

  onLaneShut(lane: Lane, reason: string): void {
    this.#parts.counters.lanesShut.add([reason])
    this.#forget(lane)
  }

  onSentAgain(exchange: SharedExchange, reason: string): void {
    exchange.shape.sentAgain++
    this.#parts.counters.sentAgain.add([reason])
  }

  /** May the lane go on taking exchanges? */
  #isUsable(lane: Lane): boolean {
    const { pool } = this.#parts
    const { isOn } = this.#parts.options()
    const { server } = lane
    if (server === null) return false
    const { serverLifetimeMs } = pool.limits
    const isOld = serverLifetimeMs > 0 && pool.ageOf(server) > serverLifetimeMs
    const isUseless = server.isRetired || pool.isPaused || isOld
    if (isUseless || !isOn) lane.shut(isUseless ? 'retired' : 'off')
    return !isUseless && isOn
  }

  // ---- time ----

  #count(): void {
    let underWay = 0
    for (const lane of this.lanes) underWay += lane.depth
    if (underWay > this.#peak) this.#peak = underWay
  }

  /** A few ms have passed. */
  tick(now: number): void {
    const { maxWaitMs } = this.#parts.options()
    for (const lane of [...this.lanes]) {
      if (lane.headSince > 0 && now - lane.headSince > maxWaitMs + this.#roundTrip) lane.demote('slow')
      else if (lane.isOpen) this.#isUsable(lane)
    }
    this.#feedStarving(now)
    if (now < this.#windowEnd) return
    this.#windowEnd = now + WINDOW_MS
    // Where lanes never rest nobody else may come to ask.
    const [lane] = this.lanes
    if (lane?.isOpen === true) learn(lane.server as Server, () => {})
    this.#look()
  }

  /** Somebody whom no lane serves has waited for long: a lane goes. */
  #feedStarving(now: number): void {
    const queued = this.#queued
    // Those who can share wait, too, and so may a lane.
    const strangers = this.#parts.pool.waiting.size - this.#waiting.size - (queued === null ? 0 : 1)
    const isAnyStranger = strangers > 0 || this.#isAnyStranded()
    this.#fairness.due(this.lanes, { isAnyStranger, queued }, now)?.shut('others_wait')
  }

  /** Who has waited for longest to share finds no lane. */
  #isAnyStranded(): boolean {
    for (const client of this.#waiting.keys()) return !this.lanes.some((lane) => suits(lane, client))
    return false
  }

  /** When a server for each would do, lanes are of no use. */
  #look(): void {
    const { pool } = this.#parts
    const free = pool.idle.length + (pool.limits.size - pool.size) + this.lanes.length
    this.#calm = this.#peak <= free && this.#waiting.size === 0 ? this.#calm + 1 : 0
    this.#peak = 0
    if (this.#calm >= CALM_MAX) for (const lane of [...this.lanes]) lane.shut('calm')
  }
}

/** What a client waits with. */
interface Wanted {
  readonly statement: NamedStatement | null
  readonly shape: Shape
}
