// What the parts of the endpoint for WebSocket and HTTP tell each other about who comes in. Types only.
import type { Claims } from '../auth/jwt.ts'
import type { PoolAccess, Visitor } from '../frontend/types.ts'
import type { Refusal } from '../pool/types.ts'
import type { PeerInfo } from '../wire/byte-stream.ts'

/** Who is at the other end of a request or an upgrade, proxies that we trust looked through. */
export interface Caller {
  /** With `web`: what the rules say about the page and the name under which it came. */
  readonly peer: PeerInfo
  /** TLS here or up to a proxy that we trust, or the same machine. */
  readonly isSecure: boolean
  /** Of the page in a browser; null: it is none. */
  readonly origin: string | null
  /** The name under which it reached us. */
  readonly host: string
}

/** What a request says it is. */
export interface Credentials {
  /** '' : whom its token names. */
  readonly user: string
  readonly database: string
  readonly password: string | null
  readonly token: string | null
  /** As in a startup message: application_name, options, ... */
  readonly parameters: ReadonlyMap<string, string>
}

/** A login that may run statements. Call `leave` exactly once when the request is over. */
export interface Admitted {
  readonly access: PoolAccess
  readonly visitor: Visitor
  readonly claims: Claims | null
  leave(): void
}

/** A login that may not; the house has heard of it (log and metrics). */
export interface RefusedLogin {
  readonly refusal: Refusal
  /** 400, 429 or 503. */
  readonly status: number
  /** Seconds after which another try makes sense; 0: none does. */
  readonly retryAfter: number
}

/** Logins of requests. What has been right before is so without a promise. */
export interface Logins {
  login(caller: Caller, credentials: Credentials): Admitted | RefusedLogin | Promise<Admitted | RefusedLogin>
}
