// Owns: a model of a Postgres server for simulations: who is connected, what was executed, in which order,
// and faults on demand. Must never use real time or chance: both are given, so that a run can be repeated.

import type { Random } from '../../src/util/env.ts'
import type { ByteStream } from '../../src/wire/byte-stream.ts'
import { FakeBackend } from './fake/backend.ts'
import type { Rule } from './fake/language.ts'
import type { Session } from './fake/session.ts'
import type { LedgerEntry } from './fake/transaction.ts'
import { PgError } from './fake/wire.ts'

export type { Rule, Statement } from './fake/language.ts'
export type { Session } from './fake/session.ts'
export type { LedgerEntry } from './fake/transaction.ts'
export { PgError } from './fake/wire.ts'

export interface FakeClusterOptions {
  /** Runs `run` after `ms` milliseconds; 0 may be at once or later. */
  schedule(ms: number, run: () => void): void
  /** For cancel keys. */
  random: Random
  /**
   * Who may log in, and whether each is a superuser (default: postgres, app and other; only postgres is one).
   */
  roles?: Record<string, boolean>
  databases?: string[]
  maxConnections?: number
  /** Highest minor version of protocol 3: 0 (default) or 2. */
  protocolMinor?: number
  /** Defaults of settings, names in lower case. */
  defaults?: Record<string, string>
}

/**
 * A Postgres that speaks the real protocol on any ByteStream given to `accept`. Its statements are listed in
 * fake/language.ts; `rules` adds more. Behaves as version 15 where versions differ.
 */
export class FakeCluster {
  readonly schedule: FakeClusterOptions['schedule']
  readonly random: Random
  readonly roles: ReadonlyMap<string, boolean>
  readonly databases: ReadonlySet<string>
  readonly protocolMinor: number
  readonly defaults: Record<string, string>
  maxConnections: number
  /** Milliseconds between a CancelRequest and its signal. */
  cancelDelay = 0
  /** Milliseconds that a login takes. */
  loginDelay = 0
  /** Every login is answered with this, while it is set. */
  refusal: PgError | null = null
  /** Milliseconds that a statement takes before it answers (on top of pg_sleep). */
  duration: (sql: string, session: Session) => number = () => 0
  /** Statements beyond the built-in ones; looked at first. */
  readonly rules: Rule[] = []
  /** Every statement that was executed, in the order of the cluster. */
  readonly ledger: LedgerEntry[] = []
  /** Cancel requests as they came, also those that hit nothing. */
  readonly cancelRequests: { pid: number; key: Buffer }[] = []
  /** Cancel requests that hit a running statement: process number and its text. */
  readonly cancelled: { pid: number; sql: string }[] = []
  /** Faults of the model itself; a test must find it empty. */
  readonly faults: unknown[] = []
  readonly #backends = new Set<FakeBackend>()
  #pid = 1000

  constructor(options: FakeClusterOptions) {
    this.schedule = options.schedule
    this.random = options.random
    this.roles = new Map(Object.entries(options.roles ?? { postgres: true, app: false, other: false }))
    this.databases = new Set(options.databases ?? ['postgres', 'app', 'other'])
    this.protocolMinor = options.protocolMinor ?? 0
    this.defaults = { ...options.defaults }
    this.maxConnections = options.maxConnections ?? 100
  }

  /** Takes a new connection. */
  accept(stream: ByteStream): void {
    this.#backends.add(new FakeBackend(this, stream))
  }

  /** Sessions that have logged in and not ended. */
  get sessions(): Session[] {
    return [...this.#backends].flatMap(({ session }) => (session === null ? [] : [session]))
  }

  get logins(): number {
    return this.sessions.length
  }

  session(pid: number): Session | undefined {
    return this.sessions.find((session) => session.pid === pid)
  }

  // ---- faults on demand

  /** pg_terminate_backend: FATAL 57P01. */
  terminate(pid: number): void {
    this.#of(pid)?.terminate('57P01', 'terminating connection due to administrator command')
  }

  /** The process dies without a word. */
  crash(pid: number): void {
    this.#of(pid)?.crash()
  }

  /** Fast shutdown: 57P01 to all, 57P03 to whoever comes. */
  stop(): void {
    this.refusal = new PgError('57P03', 'the database system is shutting down', 'FATAL')
    for (const { pid } of this.sessions) this.terminate(pid)
  }

  /** A crash of the server: all connections break; logins are refused with 57P03 until `start`. */
  crashAll(): void {
    this.refusal = new PgError('57P03', 'the database system is in recovery mode', 'FATAL')
    for (const backend of [...this.#backends]) backend.crash()
  }

  start(): void {
    this.refusal = null
  }

  /** Another default in the server's configuration; sessions notice with their next message. */
  reload(name: string, value: string): void {
    this.defaults[name.toLowerCase()] = value
    for (const session of this.sessions) session.reloads.push([name, value])
  }

  // ---- for backends

  /** Signals the session with this key; a wrong key does nothing. @returns whether a statement was hit */
  cancel(pid: number, key: Uint8Array): boolean {
    const backend = this.#of(pid)
    const session = backend?.session
    if (backend === undefined || session?.busy !== true || !session.key.equals(key)) return false
    const running = this.ledger.findLast((entry) => entry.pid === pid && entry.outcome === 'running')
    this.cancelled.push({ pid, sql: running?.sql ?? '' })
    backend.cancel()
    return true
  }

  nextPid(): number {
    return ++this.#pid
  }

  record(session: Session, sql: string, params: readonly (string | null)[]): LedgerEntry {
    const { pid, user, database } = session
    const seq = this.ledger.length
    const settings = session.settings.changed()
    const entry: LedgerEntry = {
      seq,
      pid,
      user,
      database,
      sql,
      params,
      settings,
      outcome: 'running',
      fate: 'open',
    }
    this.ledger.push(entry)
    return entry
  }

  notify(from: Session, channel: string, payload: string): void {
    for (const session of this.sessions) {
      if (session.database === from.database && session.channels.has(channel)) {
        session.notified(from.pid, channel, payload)
      }
    }
  }

  /** The backend has ended. */
  forget(backend: FakeBackend): void {
    this.#backends.delete(backend)
    const pid = backend.session?.pid
    for (const entry of this.ledger) {
      if (entry.pid === pid && entry.outcome === 'running') entry.outcome = 'lost'
    }
  }

  #of(pid: number): FakeBackend | undefined {
    return [...this.#backends].find(({ session }) => session?.pid === pid)
  }
}
