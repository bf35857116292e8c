// Where a pool's servers are and how we log in there: what backend/ needs to open one. Data only.
import type { PasswordWork } from '../auth/password-work.ts'
import type { ServerCredential } from '../auth/server-auth.ts'
import type { ChannelBinding, PoolMode, SessionConfig, TlsMode } from '../config/types.ts'
import type { Lessee } from '../pool/lease.ts'
import type { OpenFailure } from '../pool/types.ts'
import type { Mailbox } from '../session/channels.ts'
import type { Settings, SettingsTable } from '../session/settings.ts'
import type { Counters, PoolTimes } from '../observe/counters.ts'
import type { Clock, Random } from '../util/env.ts'
import type { SecurableStream, TlsSettings } from '../wire/byte-stream.ts'
import type { Hub } from './hub.ts'
import type { Insight } from './insight.ts'
import type { Server } from './server.ts'
import type { CoarseTime } from './talk.ts'

/** Opens a stream to the route's address. `code` of an error is as of the operating system (ECONNREFUSED). */
export type Dial = (
  timeoutMs: number,
  callback: (error: (Error & { code: string }) | null, stream: SecurableStream | null) => void,
) => { cancel(): void }

export interface Route {
  readonly dial: Dial
  /** Address in words, for errors. */
  readonly where: string
  readonly dbname: string
  readonly user: string
  /** What we log in with at this moment. */
  readonly credential: () => ServerCredential | null
  /**
   * Postgres has refused this credential as wrong.
   * @returns whether another one is there by now, so that the next login may succeed.
   */
  readonly onCredentialRefused: (credential: ServerCredential) => boolean
  /** `disable` on Unix sockets, whatever was configured. */
  readonly tlsMode: TlsMode
  /** Null with mode `disable`. */
  readonly tls: TlsSettings | null
  /** Postgres has to show a certificate of an authority that we know. */
  readonly checksCertificate: boolean
  /** TLS begins at once, without a question in the clear (Postgres 17). */
  readonly isDirectTls: boolean
  readonly channelBinding: ChannelBinding
  readonly connectTimeoutMs: number
  readonly cancelTimeoutMs: number
  readonly goneGraceMs: number
  readonly abandonGraceMs: number
  readonly mode: PoolMode
  readonly maxPreparedStatements: number
  /** Whether what runs out of sight is followed for its own client; reloads change it. */
  readonly witness: SessionConfig['witness']
  readonly customNames: SessionConfig['customNames']
  readonly sequences: SessionConfig['sequences']
  /** Channels that a client may have at the hub; 0: LISTEN keeps the server. */
  readonly maxChannels: number
  /** How long a ReadyForQuery waits for notifications that the client has made itself; 0: not at all. */
  readonly notifyWaitMs: number
  /** Statements for each new server; '' : none. */
  readonly connectQuery: string
}

/** What servers report to. */
export interface ServerOwner {
  onOpened(server: Server): void
  onOpenFailed(server: Server, failure: OpenFailure): void
  onTested(server: Server): void
  /** It is idle and not as it should be. The owner closes it. */
  onLeak(server: Server, what: string): void
  onReleased(server: Server): void
  onClosed(server: Server, reason: string): void
  /** Its connection is over, too: Postgres does not have it any more. */
  onGone(server: Server): void
  /** A server told another value of a parameter that nobody can set (server_version, in_hot_standby). */
  onFact(name: string, value: string): void
  /** The default of a setting has changed for servers of this baseline. */
  onDefault(baseline: string, name: string, value: string): void
}

/** What all servers of a pool share. */
export interface ServerParts {
  readonly route: Route
  readonly owner: ServerOwner
  readonly clock: Clock
  readonly random: Random
  readonly time: CoarseTime
  readonly work: PasswordWork
  readonly counters: Counters
  readonly times: PoolTimes
  readonly table: SettingsTable
  readonly insight: Insight
  /** That of their database. */
  readonly hub: () => Hub
  /** Where the notifications of a hub go; null: nowhere. */
  readonly openMail: (lessee: Lessee) => Mailbox | null
  /** One line about something odd, for the log. */
  readonly warn: (message: string) => void
  /** A text about databases is about to be sent (`vacating.ts`): servers there that nobody uses go. */
  readonly vacate: (text: string) => void
}

/** A server's parameters at the end of its login. */
export interface Welcome {
  /** All of them, in the order in which Postgres sent them; one character a byte. */
  readonly parameters: ReadonlyMap<string, string>
  readonly settings: Settings
}
