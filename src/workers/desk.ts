// What is counted over all workers, in the first process: places for servers, clients, and the servers that
// each worker has. It owns these counts. What a worker had that is gone counts until nothing of it is left.
import type { Config } from '../config/types.ts'
import { GuestBook } from '../frontend/guest-book.ts'
import type { KnownServer } from '../membership.ts'
import type { Demand, Place, Want } from '../pool/places.ts'
import { PlaceBroker } from '../pool/place-broker.ts'
import { poolLimitsOf, sharedLimitsOf } from '../routing/precedence.ts'
import type { Handlers } from './line.ts'
import type { Guest } from './messages.ts'

/** What one worker has. */
interface Account {
  /** Clients by address; by database and user. */
  readonly addresses: Map<string, number>
  readonly users: Map<string, { readonly database: string; readonly user: string; count: number }>
  /** By the number of their process. */
  readonly servers: Map<number, KnownServer>
  clients: number
}

export interface DeskParts {
  config(): Config
  tell(worker: number, what: string, body: unknown): void
}

export class Desk {
  readonly #broker: PlaceBroker
  readonly #guests: GuestBook
  readonly #accounts = new Map<number, Account>()

  constructor(parts: DeskParts) {
    // Limits for all: as if one process did the work.
    const alone = (): Config => ({ ...parts.config(), workers: 1 })
    const { tell } = parts
    this.#guests = new GuestBook(() => {
      const { client: limits, databases, users } = parts.config()
      return { limits, databases, users }
    })
    this.#broker = new PlaceBroker(
      {
        size: (database, user) => poolLimitsOf(alone(), database, user),
        minSize: (database, user) => poolLimitsOf(alone(), database, user).minSize,
        shared: () => sharedLimitsOf(parts.config()),
      },
      {
        onGrant: (worker, id, place) => tell(worker, 'grant', { id, place }),
        onRefuse: (worker, id) => tell(worker, 'refuse', id),
        onDemands: (worker, demands: readonly Demand[]) => tell(worker, 'demands', demands),
      },
    )
  }

  /** Clients that a worker has. */
  clientsOf(worker: number): number {
    return this.#accounts.get(worker)?.clients ?? 0
  }

  /** Time has passed, or the limits are others. */
  tick(): void {
    this.#broker.tick()
  }

  /** For the line to this worker. */
  handlersFor(worker: number): Handlers {
    const account: Account = { addresses: new Map(), users: new Map(), servers: new Map(), clients: 0 }
    this.#accounts.set(worker, account)
    // What was said by one that is gone by now counts no more.
    const isThere = (): boolean => this.#accounts.get(worker) === account
    return {
      want: (want: Want) => isThere() && this.#broker.want(worker, want),
      unwant: (id: number) => this.#broker.unwant(worker, id),
      giveBack: ({ place, count }: { place: Place; count: number }) =>
        isThere() && this.#broker.giveBack(worker, place, count),
      enter: ({ address = '' }: Guest) => (isThere() ? this.#enter(account, address) : null),
      enterUser: ({ database = '', user = '' }: Guest) =>
        isThere() ? this.#enterUser(account, database, user) : null,
      leave: ({ address = '' }: Guest) => isThere() && this.#leave(account, address),
      leaveUser: ({ database = '', user = '' }: Guest) =>
        isThere() && this.#leaveUser(account, database, user),
      serverOpened: (server: KnownServer) => account.servers.set(server.target.pid, server),
      serverClosed: (pid: number) => account.servers.delete(pid),
    }
  }

  /** A worker is gone, and its clients with it. @returns its servers, whose places still count */
  died(worker: number): readonly KnownServer[] {
    const account = this.#accounts.get(worker)
    this.#accounts.delete(worker)
    this.#broker.forgetWants(worker)
    if (account === undefined) return []
    for (const [address, count] of account.addresses)
      for (let left = count; left > 0; left--) this.#guests.leave(address)
    for (const { database, user, count } of account.users.values())
      for (let left = count; left > 0; left--) this.#guests.leaveUser(database, user)
    return [...account.servers.values()]
  }

  /** Nothing is left of its servers. */
  settled(worker: number): void {
    this.#broker.forget(worker)
  }

  #enter(account: Account, address: string): string | null {
    const full = this.#guests.enter(address)
    if (full === null) {
      account.clients++
      account.addresses.set(address, (account.addresses.get(address) ?? 0) + 1)
    }
    return full
  }

  #enterUser(account: Account, database: string, user: string): string | null {
    const full = this.#guests.enterUser(database, user)
    if (full !== null) return full
    const key = `${database}\0${user}`
    const known = account.users.get(key)
    if (known === undefined) account.users.set(key, { database, user, count: 1 })
    else known.count++
    return null
  }

  #leave(account: Account, address: string): void {
    this.#guests.leave(address)
    account.clients--
    const left = (account.addresses.get(address) ?? 0) - 1
    if (left > 0) account.addresses.set(address, left)
    else account.addresses.delete(address)
  }

  #leaveUser(account: Account, database: string, user: string): void {
    this.#guests.leaveUser(database, user)
    const key = `${database}\0${user}`
    const known = account.users.get(key)
    if (known === undefined) return
    known.count--
    if (known.count === 0) account.users.delete(key)
  }
}
