// From (database, user) to a pool. It owns the pool entries and makes them from the configuration when they
// are first asked for, which only a client that has logged in can do.
import type { ChannelBinding, Config, DatabaseConfig, ServerTlsConfig } from '../config/types.ts'
import type { Refusal } from '../pool/types.ts'
import type { PoolEntry } from './pool-entry.ts'

/** Names of the console, which is no database of Postgres. */
const RESERVED = new Set(['pgmux', 'pgbouncer'])

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
}

/** What the router is given: how to make things that need sockets. */
export interface RouterParts {
  /** Makes a pool for a place; called once per (database, user). */
  makePool(database: string, user: string, place: Place): PoolEntry
}

export class Router {
  readonly #config: Config
  readonly #parts: RouterParts
  readonly #entries = new Map<string, PoolEntry>()

  constructor(config: Config, parts: RouterParts) {
    this.#config = config
    this.#parts = parts
  }

  entries(): Iterable<PoolEntry> {
    return this.#entries.values()
  }

  get(database: string, user: string): PoolEntry | Refusal {
    const key = `${database}\0${user}`
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const place = this.placeOf(database, user)
    if ('reason' in place) return place
    const entry = this.#parts.makePool(database, user, place)
    this.#entries.set(key, entry)
    return entry
  }

  /** Forgets pools that nobody uses. @returns those. */
  forget(now: number): PoolEntry[] {
    const forgotten: PoolEntry[] = []
    for (const [key, entry] of this.#entries) {
      if (!entry.isForgotten(now)) continue
      this.#entries.delete(key)
      forgotten.push(entry)
    }
    return forgotten
  }

  /** Where this database is and as whom we log in there. */
  placeOf(database: string, user: string): Place | Refusal {
    const { upstream, databases } = this.#config
    const own = RESERVED.has(database) ? undefined : (databases.get(database) ?? databases.get('*'))
    if (RESERVED.has(database) || (own === undefined && (upstream.host === '' || databases.size > 0))) {
      return unknownDatabase(database)
    }
    const from: DatabaseConfig = own ?? {}
    const serverUser = from.user || (from.host === undefined ? upstream.user : '') || user
    return {
      host: from.host ?? upstream.host,
      port: from.port ?? upstream.port,
      dbname: from.dbname || upstream.dbname || database,
      user: serverUser,
      password: this.#passwordOf(from, serverUser),
      tls: { ...upstream.tls, ...from.tls },
      channelBinding: from.channelBinding ?? upstream.channelBinding,
      connectTimeoutMs: from.connectTimeoutMs ?? upstream.connectTimeoutMs,
    }
  }

  #passwordOf(from: DatabaseConfig, serverUser: string): string | null {
    const { upstream, users } = this.#config
    if (from.password !== undefined && from.password !== null) return from.password
    const isUpstreams = from.host === undefined && serverUser === upstream.user
    if (isUpstreams && upstream.password !== null) return upstream.password
    return users.get(serverUser)?.secret ?? null
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
