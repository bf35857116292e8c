// What a program that embeds pgmux can decide and be told: the shapes of hooks and events, for index.ts.
// Types and one class of error only.
import type { ReloadReport } from '../reload.ts'

/** A client that has logged in. */
export interface HookClient {
  /** As the client named it. */
  readonly database: string
  readonly user: string
  /** Its IP address; for a Unix socket what the log says. */
  readonly address: string
}

/** A statement that has run. */
export interface HookStatement {
  /** The database, as clients name it. */
  readonly database: string
  /**
   * Its text without its constants (at most 1,000 characters), as SHOW STATEMENTS has it: no value stands
   * in it.
   */
  readonly statement: string
  /** As who the client logged in. */
  readonly user: string
  /** What the client calls itself at present; '' for nothing. */
  readonly applicationName: string
  /** How long Postgres took, in milliseconds. */
  readonly ms: number
  /** How many rows it gave or changed, as its command tags say. */
  readonly rows: number
  /** SQLSTATE of its error; '' where it went well. */
  readonly code: string
  /** It ran on a server beside statements of other clients. */
  readonly isShared: boolean
}

/** A session that keeps its server beyond its transaction. */
export interface HookPin extends HookClient {
  /** One of the reasons in docs/operations.md, such as `temp` or `advisory_lock`. */
  readonly reason: string
  /** How the text began that made it so; '' where it is not known. */
  readonly statement: string
}

/** Something that was refused, or that went wrong: what SHOW ERRORS has. */
export interface HookRefusal extends HookClient {
  /** SQLSTATE. */
  readonly code: string
  /** As in the log and in `pgmux_errors_total`. */
  readonly reason: string
  readonly message: string
}

/**
 * What a program may decide. A hook that is not given costs nothing. One that throws, answers nonsense or
 * takes longer than `hookTimeoutMs` costs the login that asked, and nothing else; the log says which it was.
 */
export interface Hooks {
  /**
   * The secret of a user whom the configuration does not know; in place of `client.auth_query`, at each
   * login.
   * @returns a plain password, an `md5...` hash or a SCRAM-SHA-256 verifier; null: there is no such user. The
   * client's own password is never shown to the hook: pgmux checks it, by `client.auth`.
   */
  authenticate?(who: Pick<HookClient, 'database' | 'user'>): Promise<string | null> | string | null
  /**
   * To which database of the configuration a client goes that has logged in.
   * @returns its name; undefined: the one that the client named
   * @throws ClientRefused to send it away
   */
  route?(client: HookClient): Promise<string | undefined> | string | undefined
  /** A statement has run. Told soon after; see `lostCalls`. */
  onStatement?(statement: HookStatement): unknown
  /** A session begins to keep its server. Told soon after. */
  onPin?(pin: HookPin): unknown
}

/** Thrown by the hook `route`: the client reads this message, with SQLSTATE 28000. */
export class ClientRefused extends Error {}

/** What `pooler.on` can be asked for. Listeners are told soon after, in order. */
export interface PoolerEvents {
  clientIn: [client: HookClient]
  clientOut: [client: HookClient & { readonly reason: string }]
  refusal: [refusal: HookRefusal]
  pin: [pin: HookPin]
  unpin: [pin: HookPin]
  reload: [report: ReloadReport]
  stop: []
}
