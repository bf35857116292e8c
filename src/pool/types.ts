// What the pool asks of the connections it keeps, and what it tells them. Types only: the real ones are in
// backend/ and frontend/, the simulation has its own.
import type { Settings } from '../session/settings.ts'

/** States of a server connection; one list each. See states.ts for the moves. */
export type ServerState = 'opening' | 'idle' | 'testing' | 'active' | 'closed'

/** An error made by us, as a client gets it (DESIGN: "refusal"). */
export interface Refusal {
  readonly severity: 'ERROR' | 'FATAL'
  /** SQLSTATE. */
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
  /** From a closed list: metric label and what tests match on. */
  readonly reason: string
}

/** A login to Postgres that failed. */
export interface OpenFailure {
  readonly refusal: Refusal
  /** It will fail again until somebody changes something: waiters are told at once. */
  readonly isFinal: boolean
}

/** A server as its pool sees it. `state` is written by pool/states.ts only. */
export interface PooledServer {
  state: ServerState
  /**
   * The startup parameters that it was opened with, as a key: only clients of the same baseline may use it.
   */
  readonly baseline: string
  readonly settings: Settings | null
  openedAt: number
  idleSince: number
  /** Opened before the last reconnect or change of configuration: not to be used again. */
  isRetired: boolean
  /** Ask Postgres whether the connection lives; answered through `Pool.tested` or `Pool.closed`. */
  test(): void
  /** It was used since it was looked at for what was left there. */
  isUnseen: boolean
  /** Look what was left; answered as `test`. */
  inspect(): void
  close(reason: string): void
}

/** A client that wants a server. */
export interface Waiter<S extends PooledServer> {
  readonly baseline: string
  readonly wantedSettings: Settings | null
  /** Not a client, but of the pooler's own: not counted among those who wait. */
  readonly isOurs?: boolean
  /** It stands for many clients, and goes in front. */
  readonly isUrgent?: boolean
  /** The server it used last. */
  lastServer: S | null
  /** When it joined the queue. */
  waitingSince: number
  /** When it is refused. */
  waitDeadline: number
  /** How many have been served before it although they came later. */
  passedOver: number
  onGrant(server: S): void
  onRefuse(refusal: Refusal): void
}

/** Opens servers; given to the pool. */
export type OpenServer<S extends PooledServer> = (baseline: string) => S

/** What a pool may have, all in one place so that a reload can replace it. */
export interface PoolLimits {
  size: number
  minSize: number
  reserveSize: number
  reserveTimeoutMs: number
  maxLogins: number
  maxWaiting: number
  queryWaitTimeoutMs: number
  serverLifetimeMs: number
  serverIdleTimeoutMs: number
  serverCheckDelayMs: number
  /** How long a server that was used must have been idle before it is looked at; 0: never. */
  leakCheckMs: number
  /** The server that is free for longest is granted, not the one used last. */
  serverRoundRobin: boolean
}
