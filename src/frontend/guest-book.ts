// How many clients are in, by address, database and user, and the limits on that. It owns the counts; who
// they are others know. A process has one for its own clients; of several that share the work, the first has
// one for all of them.
import type { ClientConfig, DatabaseConfig, UserConfig } from '../config/types.ts'

/** What limits clients. */
export interface GuestRules {
  readonly limits: Pick<ClientConfig, 'maxConnections' | 'maxPerAddress' | 'maxPerDatabase' | 'maxPerUser'>
  readonly databases: ReadonlyMap<string, DatabaseConfig>
  readonly users: ReadonlyMap<string, UserConfig>
}

export class GuestBook {
  readonly #rules: () => GuestRules
  readonly #byDatabase = new Map<string, number>()
  readonly #byUser = new Map<string, number>()
  readonly #byAddress = new Map<string, number>()
  #admitted = 0

  /** @param rules those of this moment */
  constructor(rules: () => GuestRules) {
    this.#rules = rules
  }

  /** Counts one that has said who it is. @returns the limit that keeps it out; null: it is counted */
  enter(address: string): string | null {
    const { limits } = this.#rules()
    if (isFull(this.#admitted, limits.maxConnections)) return 'client.max_connections'
    if (isFull(this.#byAddress.get(address), limits.maxPerAddress)) return 'client.max_per_address'
    this.#admitted++
    add(this.#byAddress, address, 1)
    return null
  }

  /** The same for one that has shown it. */
  enterUser(database: string, user: string): string | null {
    const { limits, databases, users } = this.#rules()
    const perDatabase = (databases.get(database) ?? databases.get('*'))?.maxClients ?? limits.maxPerDatabase
    const perUser = users.get(user)?.maxClients ?? limits.maxPerUser
    if (isFull(this.#byDatabase.get(database), perDatabase)) return 'client.max_per_database'
    if (isFull(this.#byUser.get(user), perUser)) return 'client.max_per_user'
    add(this.#byDatabase, database, 1)
    add(this.#byUser, user, 1)
    return null
  }

  leave(address: string): void {
    this.#admitted--
    add(this.#byAddress, address, -1)
  }

  leaveUser(database: string, user: string): void {
    add(this.#byDatabase, database, -1)
    add(this.#byUser, user, -1)
  }
}

/** @param max 0: no limit */
export function isFull(count: number | undefined, max: number): boolean {
  return max > 0 && (count ?? 0) >= max
}

/** Counts; a count of zero is forgotten. */
export function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
}
