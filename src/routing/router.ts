// From (database, user) to a pool. It owns the pool entries and makes them from the configuration when they
// are first asked for, which only a client that has logged in can do.
import type { ChannelBinding, Config, DatabaseConfig, ServerTlsConfig } from '../config/types.ts'
import { isConsole } from '../frontend/console-door.ts'
import type { Refusal } from '../pool/types.ts'
import { Gates } from './gates.ts'
import type { PoolEntry } from './pool-entry.ts'
import type { Hubs } from './hubs.ts'
import { modeOf } from './precedence.ts'

/** Where a database is, after all defaults. */
export interface Place {
  readonly host: string
  readonly port: number
  readonly dbname: string
  readonly user: string
  readonly password: string | null
  readonly tls: ServerTlsConfig
  readonly channelBinding: ChannelBinding
  readonly connectTimeoutMs: number
  readonly keepaliveMs: number
  /** '' : none. */
  readonly connectQuery: string
}

/** What the router is given: how to make things that need sockets. */
export interface RouterParts {
  /** Makes a pool for a place; called once per (database, user). */
  makePool(database: string, user: string, place: Place): PoolEntry
  /** Those that listen for the clients of all pools; absent where no pool is made. */
  readonly hubs?: Hubs
}

export class Router {
  #config: Config
  readonly #parts: RouterParts
  readonly #entries = new Map<string, PoolEntry>()
  /** Pools that get no new clients: their database or their mode is another one now. */
  readonly #leaving = new Set<PoolEntry>()
  readonly gates = new Gates()

  constructor(config: Config, parts: RouterParts) {
    this.#config = config
    this.#parts = parts
  }

  get hubs(): Hubs | undefined {
    return this.#parts.hubs
  }

  /** Every pool, those without new clients too. */
  *entries(): Generator<PoolEntry> {
    yield* this.#entries.values()
    yield* this.#leaving
  }

  /**
   * Another configuration counts from now on. Pools whose mode has changed get no new clients.
   * @returns for each pool where its servers are to be from now on, or why its database is gone
   */
  reconfigure(config: Config): [entry: PoolEntry, place: Place | Refusal][] {
    this.#config = config
    for (const [key, entry] of this.#entries) {
      const { database, user } = entry
      if (!('reason' in this.placeOf(database, user)) && modeOf(config, database, user) === entry.mode)
        continue
      this.#entries.delete(key)
      this.#leaving.add(entry)
      entry.isLeaving = true
    }
    return Array.from(this.entries(), (entry) => [entry, this.placeOf(entry.database, entry.user)])
  }

  get(database: string, user: string): PoolEntry | Refusal {
    if (this.gates.disabled.has(database)) return disabled(database)
    const key = `${database}\0${user}`
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const place = this.placeOf(database, user)
    if ('reason' in place) return place
    const entry = this.#parts.makePool(database, user, place)
    if (this.gates.isPaused(database)) entry.pool.isPaused = true
    this.#entries.set(key, entry)
    return entry
  }

  /**
   * No server of this database (null: of any) is given out until `resume`: free ones are closed at once, the
   * others when they are given back.
   */
  pause(database: string | null): void {
    this.gates.pause(database)
    for (const entry of this.of(database)) {
      entry.pool.pause()
    }
  }

  resume(database: string | null): void {
    this.gates.resume(database)
    for (const entry of this.of(database)) {
      if (!this.gates.isPaused(entry.database)) entry.pool.resume()
    }
  }

  /** The pools of a database; null: all. */
  of(database: string | null): PoolEntry[] {
    return [...this.entries()].filter((entry) => database === null || entry.database === database)
  }

  /** A statement with this text is about databases: where no client is, the servers of those it names go. */
  vacate(text: string, others: { vacate(text: string): void } | null): void {
    others?.vacate(text)
    const named = text.toLowerCase().replaceAll('""', '"')
    for (const entry of this.entries()) {
      const { dbname } = entry.route
      // CREATE DATABASE copies template1 without naming it.
      if (dbname === 'template1' || named.includes(dbname.toLowerCase())) entry.vacate()
    }
  }

  /** Forgets pools that nobody uses. @returns those. */
  forget(now: number): PoolEntry[] {
    const forgotten: PoolEntry[] = []
    for (const [key, entry] of this.#entries) {
      if (!entry.isForgotten(now)) continue
      this.#entries.delete(key)
      forgotten.push(entry)
    }
    for (const entry of this.#leaving) {
      if (!entry.isForgotten(now)) continue
      this.#leaving.delete(entry)
      forgotten.push(entry)
    }
    for (const entry of forgotten) this.hubs?.left(entry)
    return forgotten
  }

  /** Where this database is and as whom we log in there. */
  placeOf(database: string, user: string, config = this.#config): Place | Refusal {
    const { upstream, databases } = config
    if (isConsole(database)) return unknownDatabase(database)
    const own = databases.get(database) ?? databases.get('*')
    if (own === undefined && (upstream.host === '' || databases.size > 0)) return unknownDatabase(database)
    const from: DatabaseConfig = own ?? {}
    const serverUser = from.user || (from.host === undefined ? upstream.user : '') || user
    return {
      host: from.host ?? upstream.host,
      port: from.port ?? upstream.port,
      dbname: from.dbname || upstream.dbname || database,
      user: serverUser,
      password: passwordOf(config, from, serverUser),
      tls: { ...upstream.tls, ...from.tls },
      channelBinding: from.channelBinding ?? upstream.channelBinding,
      connectTimeoutMs: from.connectTimeoutMs ?? upstream.connectTimeoutMs,
      keepaliveMs: upstream.keepaliveMs,
      connectQuery: from.connectQuery ?? '',
    }
  }
}

function passwordOf(config: Config, from: DatabaseConfig, serverUser: string): string | null {
  const { upstream, users } = config
  if (from.password !== undefined && from.password !== null) return from.password
  const isUpstreams = from.host === undefined && serverUser === upstream.user
  if (isUpstreams && upstream.password !== null) return upstream.password
  return users.get(serverUser)?.secret ?? null
}

/** As PgBouncer says it. */
function disabled(name: string): Refusal {
  return {
    severity: 'FATAL',
    code: '57P03',
    message: `database "${name}" is disabled`,
    detail: 'An operator disabled it in the console; ENABLE lets clients in again.',
    reason: 'database_disabled',
  }
}

function unknownDatabase(name: string): Refusal {
  return {
    severity: 'FATAL',
    code: '3D000',
    message: `database "${name}" does not exist`,
    hint: 'Only databases of the configuration can be reached through this pooler.',
    reason: 'unknown_database',
  }
}
