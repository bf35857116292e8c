// What frontend/ is given: the doors it may knock at. Types only; routing/ and pooler.ts implement them.
import type { ClientAuthContext } from '../auth/client-auth.ts'
import type { Arrival, Gate } from '../auth/access.ts'
import type { AuthFailure } from '../auth/failure.ts'
import type { Claims } from '../auth/jwt.ts'
import type { SecretStore } from '../auth/secrets.ts'
import type { ClientConfig, PoolMode } from '../config/types.ts'
import type { Counters, PoolTimes } from '../observe/counters.ts'
import type { LeasedServer, Lessee } from '../pool/lease.ts'
import type { Pool } from '../pool/pool.ts'
import type { Sharing } from '../pool/sharing.ts'
import type { Refusal } from '../pool/types.ts'
import type { Subscriber } from '../session/channels.ts'
import type { Settings, SettingsTable } from '../session/settings.ts'
import type { PinWatcher } from '../session/pins.ts'
import type { SessionWatch } from '../session/session-watch.ts'
import type { Registry } from '../session/registry.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { Random } from '../util/env.ts'
import type { TlsSettings } from '../wire/byte-stream.ts'
import type { CancelKeys } from './cancel-keys.ts'
import type { Client } from './client.ts'
import type { ConsoleVisit } from './console-door.ts'
import type { Startup } from './startup.ts'

/** What a server of one baseline tells at its login. */
export interface Welcome {
  readonly parameters: ReadonlyMap<string, string>
  readonly settings: Settings
}

/** A setting whose default is another one now, for clients of this baseline. */
export interface DefaultChange {
  readonly baseline: string
  readonly name: string
  readonly before: string | undefined
  readonly value: string
}

/** A pool, as its clients see it. */
export interface PoolAccess {
  readonly database: string
  readonly user: string
  /** Who its servers log in as: the user, unless the configuration names somebody for all. */
  readonly loginUser: string
  readonly mode: PoolMode
  readonly pool: Pool<LeasedServer>
  readonly table: SettingsTable
  readonly registry: Registry
  /** Clients that are in; kept by the house. */
  clients: number
  readonly connectTimeoutMs: number
  /** How long a cancelled query may take to end before its server is given up. */
  readonly cancelTimeoutMs: number
  readonly counters: Counters
  readonly times: PoolTimes
  /** Lets reads of several clients share a server; null: each has one to itself. */
  readonly sharing: Sharing | null
  /** Told why its clients keep their servers. */
  readonly pins: PinWatcher
  /** Listens for its clients. */
  readonly hub: { leave(subscriber: Subscriber): void }
  /** Limits and times of its clients; a reload may replace them. */
  readonly clientLimits: ClientConfig
  /** Why its clients have to go; null: they need not. */
  readonly farewell: Refusal | null
  /** What servers of this baseline tell, once one has logged in. */
  welcome(baseline: string): Welcome | null
  /** Settings that Postgres made of these wishes before; null: not known. */
  accepted(key: string): Settings | null
  remember(key: string, settings: Settings): void
  /** Looks on while the statements of a client run; null: nobody does. */
  watchOf(session: VirtualSession, visitor: Visitor): SessionWatch | null
  /** A server for this client alone, with these startup parameters (replication). */
  openOwn(parameters: ReadonlyMap<string, string>, events: OwnServerEvents): { cancel(): void }
}

export interface OwnServerEvents {
  onReady(server: LeasedServer, welcome: Welcome): void
  onFailed(refusal: Refusal): void
}

/** What a client is made of, besides its stream. */
export interface ClientParts {
  house: ClientHouse
  access: PoolAccess
  visitor: Visitor
  session: VirtualSession
  baseline: string
  pid: number
}

/** The process, as a client that is in sees it. */
export type ClientHouse = Pick<House, 'time' | 'limits' | 'onRefused' | 'onLeft'>

/** A name of a database, or why the client cannot stay. Never rejects. */
export type Reroute = (client: Visitor) => Promise<string | Refusal>

/** Why a client may not come in; null: it may. A promise never rejects. */
export type Verdict = Refusal | null | Promise<Refusal | null>

/** The process, as a client that comes in sees it. */
export interface House {
  readonly random: Random
  /** Coarse time, in milliseconds. */
  readonly time: { readonly now: number }
  readonly counters: Counters
  readonly cancelKeys: CancelKeys
  readonly auth: ClientAuthContext
  /** Present limits; a reload may replace them. */
  readonly limits: ClientConfig
  /** Null: no TLS is offered. */
  readonly tls: TlsSettings | null
  readonly isDraining: boolean
  /** What a connection that has said who it is has to show, or why it may not come in. */
  judge(arrival: Arrival): Gate | AuthFailure
  readonly secrets: SecretStore
  /** Counts a client that has said who it is. @returns why it may not come in. */
  admit(client: Visitor): Verdict
  /** Counts it for its user and database, once it has shown that it may. @returns why it may not come in. */
  admitUser(client: Visitor): Verdict
  /** A client that was admitted has gone. */
  dismiss(client: Visitor, hadLoggedIn: boolean): void
  /** Says to which database a client that has logged in goes; null: to the one that it names. */
  readonly reroute: Reroute | null
  /** One that was counted for its user is not, after all. */
  dismissUser(client: Visitor): void
  /** A cancel request. `onOver`: it can hit nothing any more. */
  cancel(pid: number, key: Buffer, onOver: () => void): void
  /** The pool for a client that has logged in. */
  route(database: string, user: string): PoolAccess | Refusal
  /** Takes a client that wants the console. @returns why it may not come in; null: it is in. */
  enterConsole(visit: ConsoleVisit): Refusal | null
  /** A visitor has become a client, or gone before. */
  onEntered(client: Client): void
  onLeft(client: Client, reason: string): void
  /** A connection that has not logged in yet is over. */
  onVisitorOver(visitor: Startup): void
  onRefused(visitor: Visitor, refusal: Refusal): void
}

/** Who is at the door. */
export interface Visitor {
  readonly database: string
  readonly user: string
  readonly address: string
  /** What its token says of it; absent: it came with none. */
  readonly claims?: Claims
}

export type { Lessee }
