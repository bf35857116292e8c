// One (database, user) as clients and servers see it: its pool, what its servers tell at login, the
// statements its clients share. It owns these tables and opens servers; who gets one is the pool's decision.
import type { Server } from '../backend/server.ts'
import { Server as BackendServer } from '../backend/server.ts'
import type { Route, ServerOwner, ServerParts } from '../backend/route.ts'
import type { OwnServerEvents, PoolAccess, Welcome } from '../frontend/types.ts'
import type { Counters } from '../observe/counters.ts'
import type { LeasedServer } from '../pool/lease.ts'
import type { Limits } from '../pool/limits.ts'
import { Pool } from '../pool/pool.ts'
import type { OpenFailure, PoolLimits } from '../pool/types.ts'
import { type Settings, SettingsTable } from '../session/settings.ts'
import { Registry } from '../session/statements.ts'

/** Baselines, and accepted wishes, that are remembered. */
const REMEMBERED_MAX = 1000

/** What a pool entry is made of. */
export interface PoolEntryParts {
  readonly database: string
  readonly user: string
  readonly route: Route
  readonly limits: PoolLimits
  readonly shared: Limits
  readonly preparedMemory: number
  readonly counters: Counters
  readonly machinery: Pick<ServerParts, 'clock' | 'random' | 'time' | 'work' | 'warn'>
  onServerOpened(server: Server): void
  onServerFailed(server: Server, failure: OpenFailure): void
  onServerClosed(server: Server, reason: string): void
}

export class PoolEntry implements PoolAccess, ServerOwner {
  readonly database: string
  readonly user: string
  readonly pool: Pool<LeasedServer>
  readonly table = new SettingsTable()
  readonly registry: Registry
  readonly counters: Counters
  /** Servers of single clients (replication). */
  readonly own = new Set<Server>()
  readonly #parts: PoolEntryParts
  readonly #serverParts: ServerParts
  readonly #welcomes = new Map<string, Welcome>()
  readonly #accepted = new Map<string, Settings>()

  constructor(parts: PoolEntryParts) {
    this.#parts = parts
    this.database = parts.database
    this.user = parts.user
    this.counters = parts.counters
    this.registry = new Registry(parts.preparedMemory)
    this.#serverParts = {
      ...parts.machinery,
      route: parts.route,
      owner: this,
      counters: parts.counters,
      table: this.table,
    }
    this.pool = new Pool<LeasedServer>({
      database: parts.database,
      user: parts.user,
      limits: parts.limits,
      shared: parts.shared,
      clock: parts.machinery.clock,
      random: parts.machinery.random,
      open: (baseline) => new BackendServer(this.#serverParts, baseline),
    })
  }

  get mode(): Route['mode'] {
    return this.#parts.route.mode
  }

  get connectTimeoutMs(): number {
    return this.#parts.route.connectTimeoutMs
  }

  // ---- for clients ----

  welcome(baseline: string): Welcome | null {
    return this.#welcomes.get(baseline) ?? null
  }

  accepted(key: string): Settings | null {
    return this.#accepted.get(key) ?? null
  }

  remember(key: string, settings: Settings): void {
    remember(this.#accepted, key, settings)
  }

  openOwn(parameters: ReadonlyMap<string, string>, events: OwnServerEvents): { cancel(): void } {
    const { shared } = this.#parts
    let isWanted = true
    const finish = (server: Server): void => {
      if (this.own.delete(server)) shared.countOutside(this.pool, -1)
    }
    const owner: ServerOwner = {
      onOpened: (server) => {
        if (!isWanted || server.settings === null) server.close('not wanted any more')
        else {
          server.state = 'active'
          events.onReady(server, { parameters: server.parameters, settings: server.settings })
        }
      },
      onOpenFailed: (server, failure) => {
        finish(server)
        if (isWanted) events.onFailed(failure.refusal)
      },
      onTested: () => {},
      onReleased: (server) => server.close('its client has gone'),
      onClosed: finish,
      onFact: () => {},
    }
    const route: Route = { ...this.#parts.route, mode: 'session' }
    const server = new BackendServer({ ...this.#serverParts, route, owner }, '', parameters)
    this.own.add(server)
    shared.countOutside(this.pool, 1)
    return {
      cancel: () => {
        isWanted = false
      },
    }
  }

  // ---- for servers ----

  onOpened(server: Server): void {
    if (server.settings !== null && !this.#welcomes.has(server.baseline)) {
      remember(this.#welcomes, server.baseline, { parameters: server.parameters, settings: server.settings })
    } else if (server.settings !== null) {
      // The newest server knows best what Postgres is now (a failover, an upgrade).
      this.#welcomes.set(server.baseline, { parameters: server.parameters, settings: server.settings })
    }
    this.#parts.onServerOpened(server)
    this.pool.opened(server)
  }

  onOpenFailed(server: Server, failure: OpenFailure): void {
    this.#parts.onServerFailed(server, failure)
    this.pool.openFailed(server, failure)
  }

  onTested(server: Server): void {
    this.pool.tested(server)
  }

  onReleased(server: Server): void {
    this.pool.release(server)
  }

  onClosed(server: Server, reason: string): void {
    this.#parts.onServerClosed(server, reason)
    this.pool.closed(server)
  }

  onFact(name: string, value: string): void {
    for (const [baseline, welcome] of this.#welcomes) {
      const parameters = new Map(welcome.parameters).set(name, value)
      this.#welcomes.set(baseline, { ...welcome, parameters })
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

  tick(now: number): void {
    for (const server of [...this.servers()]) server.tick(now)
    this.pool.tick(now)
  }

  /** Closes all servers. */
  close(reason: string): void {
    this.pool.isPaused = true
    for (const server of [...this.servers()]) server.close(reason)
  }
}

function remember<T>(table: Map<string, T>, key: string, value: T): void {
  if (table.size >= REMEMBERED_MAX) {
    for (const oldest of table.keys()) {
      table.delete(oldest)
      break
    }
  }
  table.set(key, value)
}
