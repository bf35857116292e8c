// One (database, user) as clients and servers see it: its pool, what its servers tell at login, the
// statements its clients share. It owns these tables and opens servers; who gets one is the pool's decision.
import type { ClientConfig, SharingConfig } from '../config/types.ts'
import { Dispatch } from '../backend/dispatch.ts'
import type { Server } from '../backend/server.ts'
import { Server as BackendServer } from '../backend/server.ts'
import type { Route, ServerOwner, ServerParts } from '../backend/route.ts'
import { Client } from '../frontend/client.ts'
import { Mail } from '../frontend/mail.ts'
import type { DefaultChange, OwnServerEvents, PoolAccess, Visitor, Welcome } from '../frontend/types.ts'
import { reportHandlerError } from '../net/handler-errors.ts'
import type { Counters, PoolTimes } from '../observe/counters.ts'
import type { LimitedLog } from '../observe/log-limit.ts'
import type { Troubles } from '../observe/troubles.ts'
import type { LeasedServer } from '../pool/lease.ts'
import type { Limits } from '../pool/limits.ts'
import type { Hub } from '../backend/hub.ts'
import type { Insight } from '../backend/insight.ts'
import { Pool } from '../pool/pool.ts'
import type { OpenFailure, PoolLimits, Refusal } from '../pool/types.ts'
import { OwnServers } from './own-servers.ts'
import type { Tracer } from '../session/exchange-trace.ts'
import { ExchangeTracing } from '../session/exchange-tracing.ts'
import { SessionWatch, type StatementTeller } from '../session/session-watch.ts'
import { type Settings, SettingsTable } from '../session/settings.ts'
import { Registry } from '../session/registry.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { HubMember, Hubs } from './hubs.ts'
import { type PinPolicy, PoolPins } from './pool-pins.ts'
import { remember } from './remember.ts'

/** A pool without clients and servers is forgotten after so long. */
const FORGET_MS = 60_000

/** What a reload may replace. */
export interface Wiring {
  readonly route: Route
  /** All that servers have logged in with, as one text with secrets. Another one: they are not used again. */
  readonly identity: string
  /** Which database of which Postgres it is, as one text: those with the same one share a hub. */
  readonly scope: string
  readonly limits: PoolLimits
  readonly clientLimits: ClientConfig
  readonly preparedMemory: number
  readonly sharing: SharingConfig
  readonly pins: PinPolicy
}

/** What a pool entry is made of. */
export interface PoolEntryParts {
  readonly database: string
  readonly user: string
  readonly wiring: Wiring
  readonly shared: Limits
  readonly counters: Counters
  readonly times: PoolTimes
  readonly limitedLog: Pick<LimitedLog, 'write'>
  readonly troubles: Pick<Troubles, 'report' | 'watcher'>
  /** Is told of each statement; null: nobody is, and nothing is asked at any of them. */
  readonly onStatement: StatementTeller | null
  /** Null: nothing is traced. */
  readonly tracer: Tracer | null
  readonly hubs: Hubs
  readonly machinery: Pick<ServerParts, 'clock' | 'random' | 'time' | 'work' | 'insight' | 'warn' | 'vacate'>
  /** `tick` of a dispatch is wanted every few ms, from now on or no more. */
  watchFine(dispatch: Dispatch, isWanted: boolean): void
  onServerOpened(server: Server): void
  onServerFailed(server: Server, failure: OpenFailure): void
  onServerClosed(server: Server, reason: string): void
  onLeak(server: Server, what: string): void
  onDefault(entry: PoolEntry, change: DefaultChange): void
}

export class PoolEntry implements PoolAccess, ServerOwner, HubMember {
  readonly database: string
  readonly user: string
  readonly pool: Pool<LeasedServer>
  readonly table = new SettingsTable()
  readonly registry: Registry
  readonly counters: Counters
  readonly times: PoolTimes
  readonly pins: PoolPins
  readonly sharing: Dispatch | null
  readonly #own: OwnServers
  /** Closed by us, and not yet by Postgres. */
  readonly #leaving = new Set<Server>()
  clients = 0
  /** It gets no new clients. */
  isLeaving = false
  /** Why its clients have to go; null: they need not. */
  farewell: Refusal | null = null
  #wiring: Wiring
  /** When it was last of use to anybody. */
  #usedAt: number
  readonly #parts: PoolEntryParts
  #serverParts: ServerParts
  readonly #welcomes = new Map<string, Welcome>()
  /** Baselines whose welcome is of servers that are not used any more. */
  readonly #staleWelcomes = new Set<string>()
  readonly #accepted = new Map<string, Settings>()

  constructor(parts: PoolEntryParts) {
    this.#parts = parts
    this.#wiring = parts.wiring
    this.#usedAt = parts.machinery.time.now
    this.database = parts.database
    this.user = parts.user
    this.counters = parts.counters
    this.times = parts.times
    this.registry = new Registry(parts.wiring.preparedMemory, parts.machinery.insight)
    const { time } = parts.machinery
    const { counters, limitedLog: log, troubles } = parts
    this.pins = new PoolPins({ time, counters, log, troubles, policy: parts.wiring.pins })
    this.#serverParts = {
      ...parts.machinery,
      route: parts.wiring.route,
      owner: this,
      counters: parts.counters,
      times: parts.times,
      table: this.table,
      hub: () => this.hub,
      openMail: (lessee) => (lessee instanceof Client ? new Mail(lessee) : null),
    }
    this.pool = new Pool<LeasedServer>({
      database: parts.database,
      user: parts.user,
      limits: parts.wiring.limits,
      shared: parts.shared,
      clock: parts.machinery.clock,
      random: parts.machinery.random,
      open: (baseline) => new BackendServer(this.#serverParts, baseline),
    })
    const { shared } = parts
    this.#own = new OwnServers({ pool: this.pool, shared, server: () => this.#serverParts })
    this.sharing = this.mode === 'session' ? null : this.#dispatch()
  }

  #dispatch(): Dispatch {
    const { pool, registry, counters } = this
    const { machinery, watchFine } = this.#parts
    return new Dispatch({
      pool,
      registry,
      counters,
      insight: machinery.insight,
      clock: () => machinery.clock.now(),
      options: () => this.#wiring.sharing,
      watch: watchFine,
    })
  }

  /** What is known of the texts of its database. */
  get insight(): Insight {
    return this.#parts.machinery.insight
  }

  get mode(): Route['mode'] {
    return this.#wiring.route.mode
  }

  get hub(): Hub {
    return this.#parts.hubs.of(this)
  }

  get scope(): string {
    return this.#wiring.scope
  }

  get route(): Route {
    return this.#wiring.route
  }

  get isAtWork(): boolean {
    return this.clients > 0
  }

  /** During a pause, too, a server may have to hand over what it listens to before it is free. */
  get isBarred(): boolean {
    const { isPaused, active } = this.pool
    return this.farewell !== null || (isPaused && active.size === 0)
  }

  get loginUser(): string {
    return this.#wiring.route.user
  }

  /** Where its servers are, in words. */
  get where(): string {
    return this.#wiring.route.where
  }

  get connectTimeoutMs(): number {
    return this.#wiring.route.connectTimeoutMs
  }

  get cancelTimeoutMs(): number {
    return this.#wiring.route.cancelTimeoutMs
  }

  get clientLimits(): ClientConfig {
    return this.#wiring.clientLimits
  }

  // ---- for a reload ----

  /**
   * Follows another configuration. Where nothing that servers log in with has changed, they stay, and learn
   * of other times and certificates.
   */
  follow(wiring: Wiring): void {
    const { route, identity, scope } = this.#wiring
    const isSamePlace = wiring.identity === identity
    // In place: the servers that are there look it up, for their cancel requests and their times.
    this.#wiring = isSamePlace ? { ...wiring, route: Object.assign(route, wiring.route) } : wiring
    if (!isSamePlace) this.#serverParts = { ...this.#serverParts, route: wiring.route }
    this.registry.bytesMax = wiring.preparedMemory
    this.pins.policy = wiring.pins
    this.pool.configure(this.isLeaving ? { ...wiring.limits, minSize: 0 } : wiring.limits)
    if (wiring.scope !== scope) this.#parts.hubs.moved(this, scope)
    if (!isSamePlace) this.retire()
  }

  /** Its database is gone, and its clients know why: nobody is served, and what is free is closed. */
  evict(): void {
    if (this.farewell !== null) this.pool.refuseAll(this.farewell)
    // Nothing is kept warm for nobody.
    this.pool.configure({ ...this.pool.limits, minSize: 0 })
    for (const server of [...this.own]) server.close('its database was removed')
    this.retire()
  }

  // ---- for clients ----

  watchOf(session: VirtualSession, { user, address }: Visitor): SessionWatch | null {
    const { onStatement, tracer } = this.#parts
    if (onStatement === null && tracer === null) return null
    const { database } = this
    const client = { database, user, address, where: () => this.where }
    const tracing = tracer === null ? null : new ExchangeTracing(client, tracer, session)
    return new SessionWatch({ session, database, user }, onStatement, tracing)
  }

  welcome(baseline: string): Welcome | null {
    if (this.#staleWelcomes.has(baseline)) return null
    return this.#welcomes.get(baseline) ?? null
  }

  accepted(key: string): Settings | null {
    return this.#accepted.get(key) ?? null
  }

  remember(key: string, settings: Settings): void {
    remember(this.#accepted, key, settings)
  }

  openOwn(parameters: ReadonlyMap<string, string>, events: OwnServerEvents): { cancel(): void } {
    return this.#own.open(parameters, events)
  }

  /** Servers of single clients (replication). */
  get own(): ReadonlySet<Server> {
    return this.#own.all
  }

  // ---- for servers ----

  onOpened(server: Server): void {
    const { baseline, parameters, settings } = server
    const before = this.#welcomes.get(baseline)
    // The newest server knows best what Postgres is now (a reload, a failover, an upgrade).
    if (settings !== null) remember(this.#welcomes, baseline, { parameters, settings })
    this.#staleWelcomes.delete(baseline)
    if (settings !== null && before !== undefined) this.#followDefaults(baseline, before.settings, settings)
    this.#parts.onServerOpened(server)
    this.pool.opened(server)
  }

  onOpenFailed(server: Server, failure: OpenFailure): void {
    this.#leaves(server)
    this.#parts.onServerFailed(server, failure)
    this.pool.openFailed(server, failure)
  }

  onTested(server: Server): void {
    this.pool.tested(server)
  }

  onLeak(server: Server, what: string): void {
    this.counters.leaks++
    this.#parts.onLeak(server, what)
    server.close('a session has left something')
  }

  onReleased(server: Server): void {
    this.pool.release(server)
  }

  onClosed(server: Server, reason: string): void {
    this.#leaves(server)
    this.#parts.onServerClosed(server, reason)
    this.pool.closed(server)
  }

  #leaves(server: Server): void {
    if (!server.isConnected) return
    this.#leaving.add(server)
    this.#parts.shared.countLeaving(this.pool, 1)
  }

  onGone(server: Server): void {
    if (this.#leaving.delete(server)) this.#parts.shared.countLeaving(this.pool, -1)
  }

  onFact(name: string, value: string): void {
    for (const [baseline, welcome] of this.#welcomes) {
      const parameters = new Map(welcome.parameters).set(name, value)
      this.#welcomes.set(baseline, { ...welcome, parameters })
    }
  }

  onDefault(baseline: string, name: string, value: string): void {
    const welcome = this.#welcomes.get(baseline)
    const before = welcome?.settings.values.get(name)
    if (welcome === undefined || before === value) return
    const parameters = new Map(welcome.parameters).set(name, value)
    this.#welcomes.set(baseline, { parameters, settings: welcome.settings.with(name, value) })
    this.#parts.onDefault(this, { baseline, name, before, value })
  }

  /** Something is done to its database that Postgres refuses while anybody is there; of clients nobody is. */
  vacate(): void {
    if (this.clients > 0) return
    // It may be another one of the same name soon, of which nothing is known.
    this.insight.doubt(true)
    this.retire()
  }

  #followDefaults(baseline: string, before: Settings, after: Settings): void {
    for (const [name, value] of after.changesFrom(before)) {
      if (value !== null)
        this.#parts.onDefault(this, { baseline, name, before: before.values.get(name), value })
    }
  }

  /** Every server of this pool, whatever it does. */
  *servers(): Generator<Server> {
    const { pool } = this
    for (const server of pool.idle) yield server as Server
    for (const list of [pool.active, pool.opening, pool.testing])
      for (const server of list) yield server as Server
    yield* this.own
  }

  /**
   * Nobody has it, waits in it or has used it for a while: names that clients try must not stay for ever.
   * Servers that are kept warm count as use.
   */
  isForgotten(now: number): boolean {
    const { pool, own, clients } = this
    if (clients > 0 || pool.size > 0 || pool.waiting.size > 0 || own.size > 0) this.#usedAt = now
    return now - this.#usedAt > (this.isLeaving ? 0 : FORGET_MS)
  }

  tick(now: number): void {
    for (const server of [...this.servers()]) {
      try {
        server.tick(now)
      } catch (thrown) {
        // One connection's trouble must not be everybody's.
        reportHandlerError(thrown, 'the timeouts of a server')
        server.close('internal error')
      }
    }
    this.pool.tick(now)
    this.pins.tick(now)
    if (this.isLeaving && this.clients === 0 && this.pool.waiting.size === 0) this.pool.retire()
  }

  /** No server that is open now is used again: free ones are closed, the others when they are given back. */
  retire(): void {
    // What new servers tell may be something else.
    for (const baseline of this.#welcomes.keys()) this.#staleWelcomes.add(baseline)
    this.#accepted.clear()
    for (const server of this.own) server.isRetired = true
    this.#parts.hubs.renew(this)
    this.pool.retire()
  }

  /** What clients that have gone have left to be done is not waited for any more. */
  hurry(): void {
    for (const server of this.servers()) server.hurry()
  }

  /** Closes all servers. */
  close(reason: string): void {
    this.pool.isPaused = true
    for (const server of [...this.servers()]) server.close(reason)
  }
}
