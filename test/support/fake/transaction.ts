// Owns: the transaction of one session of the model: block states, savepoints, what commits and what is
// undone. Must never send anything by itself: warnings go through the function that it was given.

import type { Settings, Snapshot } from './settings.ts'
import { PgError } from './wire.ts'

/** One executed statement, in the order of the whole cluster. */
export interface LedgerEntry {
  readonly seq: number
  readonly pid: number
  readonly user: string
  readonly database: string
  readonly sql: string
  readonly params: readonly (string | null)[]
  /** Settings that differed from login when it started. */
  readonly settings: Readonly<Record<string, string>>
  /** `lost`: the session ended while it ran. */
  outcome: 'running' | 'done' | 'error' | 'cancelled' | 'lost'
  /** What became of its transaction. */
  fate: 'open' | 'committed' | 'rolled back'
}

interface Savepoint {
  name: string
  settings: Snapshot
  entries: number
  portals: Set<unknown>
}

/** What the transaction needs of its session. */
export interface TransactionHost {
  readonly settings: Settings
  readonly portals: Map<string, { released: boolean }>
  warn(error: PgError): void
}

const NO_TRANSACTION = () => new PgError('25P01', 'there is no transaction in progress', 'WARNING')
const noSavepoint = (name: string) => new PgError('3B001', `savepoint "${name}" does not exist`)

/**
 * `none`: nothing started; `single`: one statement of its own; `implicit`: several statements of one Query or
 * one pipeline; `open` and `failed`: a block that the client began.
 */
export class Transaction {
  block: 'none' | 'single' | 'implicit' | 'open' | 'failed' = 'none'
  readOnly = false
  /** A statement of this pipeline ran already. */
  pipelining = false
  readonly #host: TransactionHost
  #ending: 'commit' | 'abort' | null = null
  #saved: Snapshot = { session: new Map(), effective: new Map() }
  #savepoints: Savepoint[] = []
  #entries: LedgerEntry[] = []
  #onCommit: (() => void)[] = []

  constructor(host: TransactionHost) {
    this.#host = host
  }

  /** As ReadyForQuery says it. */
  get status(): 'I' | 'T' | 'E' {
    if (this.block === 'failed') return 'E'
    return this.block === 'open' ? 'T' : 'I'
  }

  get inBlock(): boolean {
    return this.block !== 'none' && this.block !== 'single'
  }

  /** Before each statement: starts a transaction where none is. */
  start(): void {
    if (this.block === 'none') {
      this.block = 'single'
      this.#saved = this.#host.settings.snapshot()
      this.readOnly = this.#host.settings.get('default_transaction_read_only') === 'on'
    }
  }

  /** Several statements in one Query share a transaction. */
  beginImplicit(): void {
    if (this.block === 'single') this.block = 'implicit'
  }

  endImplicit(): void {
    if (this.block === 'implicit') this.block = 'single'
  }

  /** After a statement: does what BEGIN, COMMIT or ROLLBACK asked for; a single statement commits. */
  finish(): void {
    if (this.#ending === 'abort') this.abort()
    else if (this.#ending === 'commit' || this.block === 'single') this.commit()
  }

  add(entry: LedgerEntry): void {
    this.#entries.push(entry)
  }

  atCommit(run: () => void): void {
    this.#onCommit.push(run)
  }

  // ---- statements

  begin(modes: string): void {
    if (this.block === 'open') {
      this.#host.warn(new PgError('25001', 'there is already a transaction in progress', 'WARNING'))
    } else this.block = 'open'
    if (/read only/i.test(modes)) this.readOnly = true
    if (/read write/i.test(modes)) this.readOnly = false
  }

  /** COMMIT. @returns its tag: a failed block answers ROLLBACK */
  commitCommand(): string {
    if (this.block === 'single' || this.block === 'implicit') this.#host.warn(NO_TRANSACTION())
    this.#ending = this.block === 'failed' ? 'abort' : 'commit'
    return this.block === 'failed' ? 'ROLLBACK' : 'COMMIT'
  }

  rollbackCommand(): void {
    if (this.block === 'single' || this.block === 'implicit') this.#host.warn(NO_TRANSACTION())
    this.#ending = 'abort'
  }

  savepoint(name: string): void {
    this.#needBlock('SAVEPOINT')
    const portals = new Set(this.#host.portals.values())
    const entries = this.#entries.length
    this.#savepoints.push({ name, settings: this.#host.settings.snapshot(), entries, portals })
  }

  release(name: string): void {
    this.#needBlock('RELEASE SAVEPOINT')
    this.#savepoints.length = this.#find(name)
  }

  rollbackTo(target: string): void {
    this.#needBlock('ROLLBACK TO SAVEPOINT')
    this.#savepoints.length = this.#find(target) + 1
    const point = this.#savepoints.at(-1) as Savepoint
    this.#undo(point)
    for (const [name, portal] of [...this.#host.portals]) {
      if (!point.portals.has(portal)) this.#host.portals.delete(name)
    }
    this.block = 'open'
  }

  // ---- ends

  /**
   * An error: all is undone back to the last savepoint; a block that the client began waits for its end,
   * portals kept.
   */
  fail(): void {
    this.#ending = null
    if (this.block === 'open') {
      this.block = 'failed'
      const point = this.#savepoints.at(-1)
      this.#undo(point ?? { settings: this.#saved, entries: 0 })
      for (const portal of this.#host.portals.values()) {
        if (point?.portals.has(portal) !== true) portal.released = true
      }
    } else if (this.block !== 'none' && this.block !== 'failed') this.abort()
  }

  commit(): void {
    this.#host.settings.commit()
    for (const entry of this.#entries) entry.fate = 'committed'
    const hooks = this.#onCommit
    this.#reset()
    for (const run of hooks) run()
  }

  abort(): void {
    this.#host.settings.restore(this.#saved)
    for (const entry of this.#entries) entry.fate = 'rolled back'
    this.#reset()
  }

  #undo(to: Pick<Savepoint, 'settings' | 'entries'>): void {
    this.#host.settings.restore(to.settings)
    for (const entry of this.#entries.splice(to.entries)) entry.fate = 'rolled back'
  }

  #reset(): void {
    this.block = 'none'
    this.#ending = null
    this.pipelining = false
    this.#savepoints = []
    this.#entries = []
    this.#onCommit = []
    this.#host.portals.clear()
  }

  #needBlock(what: string): void {
    if (this.block === 'open' || this.block === 'failed') return
    throw new PgError('25P01', `${what} can only be used in transaction blocks`)
  }

  #find(name: string): number {
    const at = this.#savepoints.map((point) => point.name).lastIndexOf(name)
    if (at < 0) throw noSavepoint(name)
    return at
  }
}
