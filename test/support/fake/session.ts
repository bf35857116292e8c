// Owns: one backend process of the model: its state and its main loop, told as a coroutine that mirrors
// PostgresMain. Must never touch a stream, a timer or another session by itself: the host does that.

import { copyIn, copyOut } from './copy.ts'
import { extended, type Portal, type Prepared } from './extended.ts'
import type { Rows, Rule, Statement, Steps } from './language.ts'
import { analyse, checkSyntax, exitsBlock, split } from './grammar.ts'
import { durationMs, type Settings } from './settings.ts'
import { type LedgerEntry, Transaction } from './transaction.ts'
import { answer, type ClientMessage, Fields, PgError } from './wire.ts'

/** What a session asks of the cluster and the stream. */
export interface SessionHost {
  /** Takes bytes for the client. @returns false when the client does not read */
  write(bytes: Uint8Array): boolean
  record(session: Session, sql: string, params: readonly (string | null)[]): LedgerEntry
  notify(session: Session, channel: string, payload: string): void
  readonly rules: readonly Rule[]
  /** Milliseconds that a statement takes before it answers; 0 for none. */
  duration(sql: string, session: Session): number
}

export interface Identity {
  readonly pid: number
  readonly key: Buffer
  readonly user: string
  readonly database: string
}

/** Postgres sends what it has when its buffer of this size is full. */
const BUFFER = 8192
const FUNCTION_PG_BACKEND_PID = 2026
const aborted = () =>
  new PgError('25P02', 'current transaction is aborted, commands ignored until end of transaction block')

/** The client has gone, or Terminate came. */
export class Gone extends Error {}

export class Session {
  readonly pid: number
  readonly key: Buffer
  readonly user: string
  readonly database: string
  readonly settings: Settings
  readonly statements = new Map<string, Prepared>()
  readonly portals = new Map<string, Portal>()
  readonly channels = new Set<string>()
  readonly tx: Transaction
  /** True while a cancel would hit a statement: not while it waits for the next message. */
  busy = false
  /** A cancel came; the next place that looks for it raises 57014. */
  cancelPending = false
  /** Settings of a reload, applied when the next message has been read. */
  readonly reloads: [string, string][] = []
  readonly #host: SessionHost
  #out: Buffer[] = []
  #outLength = 0
  #skipping = false
  #current: Live | null = null
  #extended = false
  #notifications: Buffer[] = []

  constructor(identity: Identity, settings: Settings, host: SessionHost) {
    this.pid = identity.pid
    this.key = identity.key
    this.user = identity.user
    this.database = identity.database
    this.settings = settings
    this.#host = host
    this.tx = new Transaction({ settings, portals: this.portals, warn: (error) => this.warn(error) })
  }

  get extraRules(): readonly Rule[] {
    return this.#host.rules
  }

  // ---- sending

  /** Puts a message into the buffer; it leaves with the next flush. */
  emit(bytes: Buffer): void {
    this.#out.push(bytes)
    this.#outLength += bytes.length
  }

  /** Notices leave at once, as in Postgres. */
  warn(error: PgError): void {
    this.emit(answer.notice(error))
    this.#host.write(this.#takeOut())
  }

  *flush(): Steps<void> {
    if (this.#outLength > 0 && !this.#host.write(this.#takeOut())) yield { kind: 'drain' }
  }

  /** After a row: sends full buffers, so that a message may be cut anywhere. */
  *spill(): Steps<void> {
    while (this.#outLength >= BUFFER) {
      const all = this.#takeOut()
      this.emit(all.subarray(BUFFER))
      if (!this.#host.write(all.subarray(0, BUFFER))) yield { kind: 'drain' }
    }
    this.checkCancel()
  }

  /** What waits for the next flush: Postgres sends it in front of its last words. */
  takeRest(): Buffer {
    return this.#takeOut()
  }

  #takeOut(): Buffer {
    const all = Buffer.concat(this.#out)
    this.#out = []
    this.#outLength = 0
    return all
  }

  // ---- waiting

  /** Waits for a message. @throws Gone at the end of the stream */
  *read(): Steps<ClientMessage> {
    const message = (yield { kind: 'read' }) as ClientMessage
    if (message.type === 'EOF') throw new Gone()
    return message
  }

  /** Runs for this long; a cancel or statement_timeout ends it with 57014. */
  *sleep(ms: number): Steps<void> {
    const limit = durationMs(this.settings.get('statement_timeout'))
    this.checkCancel()
    yield { kind: 'sleep', ms: limit > 0 ? Math.min(ms, limit) : ms }
    this.checkCancel()
    if (limit > 0 && limit < ms) throw new PgError('57014', 'canceling statement due to statement timeout')
  }

  checkCancel(): void {
    if (!this.cancelPending) return
    this.cancelPending = false
    throw new PgError('57014', 'canceling statement due to user request')
  }

  // ---- the main loop

  /**
   * Runs until the client goes or a FATAL error ends the session. @throws Gone, or the PgError that was FATAL
   */
  *main(): Steps<void> {
    let ready = true
    for (;;) {
      try {
        if (ready) yield* this.#ready()
        ready = false
        this.busy = false
        const message = yield* this.read()
        this.#beforeMessage()
        ready = yield* this.#handle(message)
      } catch (error) {
        if (!(error instanceof PgError) || error.severity === 'FATAL') throw error
        ready = yield* this.#recover(error)
      }
    }
  }

  #beforeMessage(): void {
    this.busy = true
    this.cancelPending = false
    for (const [name, value] of this.reloads.splice(0)) this.settings.reload(name, value)
  }

  *#ready(): Steps<void> {
    if (this.tx.status === 'I') for (const bytes of this.#notifications.splice(0)) this.emit(bytes)
    for (const [name, value] of this.settings.untold()) this.emit(answer.parameterStatus(name, value))
    this.emit(answer.readyForQuery(this.tx.status))
    yield* this.flush()
  }

  /** @returns true when ReadyForQuery is due */
  *#recover(error: PgError): Steps<boolean> {
    this.emit(answer.error(error))
    yield* this.flush()
    this.tx.fail()
    this.#skipping = this.#extended
    return !this.#extended
  }

  *#handle(message: ClientMessage): Steps<boolean> {
    const { type } = message
    if (type === 'X') throw new Gone()
    if (type === 'S') this.#skipping = false
    if (this.#skipping) return false
    this.#extended = 'PBDECH'.includes(type)
    // COPY messages that come after the COPY failed are dropped in silence.
    if ('dcf'.includes(type)) return false
    const fields = new Fields(message.body)
    if (type === 'Q') yield* this.#query(fields.text())
    else if (type === 'F') this.#call(fields.int())
    else if (type === 'S') this.#sync()
    else if (type === 'H') yield* this.flush()
    else if (this.#extended) yield* extended(this, type, fields)
    else throw new PgError('08P01', `invalid frontend message type ${type.charCodeAt(0)}`, 'FATAL')
    return type === 'Q' || type === 'F' || type === 'S'
  }

  #sync(): void {
    this.tx.endImplicit()
    this.tx.finish()
  }

  // ---- statements

  /** @throws PgError 25P02 for what a failed block does not run */
  refuseIfFailed(allowed: boolean): void {
    if (this.tx.block === 'failed' && !allowed) throw aborted()
  }

  *#query(sql: string): Steps<void> {
    this.tx.start()
    this.dropUnnamed()
    const parts = split(sql)
    checkSyntax(parts, this)
    for (const [i, part] of parts.entries()) {
      const { text } = part
      this.refuseIfFailed(exitsBlock(text))
      this.tx.start()
      if (parts.length > 1) this.tx.beginImplicit()
      const statement = analyse(part, this)
      if (statement.params !== undefined && statement.params.length > 0)
        throw new PgError('42P02', 'there is no parameter $1')
      if (statement.planError !== undefined) throw statement.planError
      const last = i === parts.length - 1
      const tag = yield* this.#simpleStatement(statement, text)
      if (last) this.tx.endImplicit()
      if (last || statement.transaction === true) this.tx.finish()
      this.emit(answer.commandComplete(tag))
    }
    if (parts.length === 0) this.emit(answer.bare('I'))
    this.tx.finish()
  }

  *#simpleStatement(statement: Statement, text: string): Steps<string> {
    const live = this.execute(statement, text, [])
    this.portals.set('', { live, formats: [], released: true })
    if (statement.startError !== undefined) throw statement.startError
    if (statement.form === 'rows') this.emit(answer.rowDescription(statement.columns, []))
    const tag = yield* this.fetch(live, { max: 0, formats: [] })
    this.portals.delete('')
    return tag
  }

  /** Starts a statement and writes it into the ledger. The coroutine is driven by `fetch`. */
  execute(statement: Statement, sql: string, params: readonly (string | null)[]): Live {
    return { statement, sql, params, entry: null, rows: null, done: false }
  }

  /**
   * Runs a statement on, up to `max` rows (0: all of them).
   * @returns the tag of CommandComplete; '' when rows may be left
   */
  *fetch(live: Live, how: { max: number; formats: readonly number[] }): Steps<string> {
    const entry = live.entry ?? this.#record(live)
    live.entry = entry
    this.#current = live
    try {
      const tag = yield* this.#run(live, how)
      if (tag !== '') entry.outcome = 'done'
      return tag
    } catch (error) {
      const cancelled = error instanceof PgError && error.code === '57014'
      const failed = cancelled ? 'cancelled' : 'error'
      entry.outcome = error instanceof PgError && error.severity !== 'FATAL' ? failed : 'lost'
      throw error
    }
  }

  #record(live: Live): LedgerEntry {
    const entry = this.#host.record(this, live.sql, live.params)
    this.tx.add(entry)
    return entry
  }

  *#run(live: Live, how: { max: number; formats: readonly number[] }): Steps<string> {
    const { statement, params } = live
    if (live.done && statement.form !== 'rows') throw new PgError('55000', `portal "" cannot be run`)
    const takes = this.#host.duration(live.sql, this)
    if (takes > 0 && live.rows === null) yield* this.sleep(takes)
    const writes = statement.writes ?? ''
    if (writes !== '' && this.tx.readOnly) {
      throw new PgError('25006', `cannot execute ${writes} in a read-only transaction`)
    }
    live.done = statement.form !== 'rows'
    if (statement.form === 'command') return statement.run(this, params)
    if (statement.form === 'copyIn') return yield* copyIn(this, statement.table)
    if (statement.form === 'copyOut') return yield* copyOut(this, statement.lines)
    if (statement.form === 'empty') return ''
    live.rows ??= statement.rows(this, params)
    const count = yield* this.#sendRows(live.rows, live, how)
    return how.max > 0 && count === how.max
      ? ''
      : statement.tag === 'SELECT'
        ? `SELECT ${count}`
        : statement.tag
  }

  *#sendRows(rows: Rows, live: Live, how: { max: number; formats: readonly number[] }): Steps<number> {
    const columns = live.statement.form === 'rows' ? live.statement.columns : []
    for (let count = 0; ; ) {
      const next = rows.next()
      if (next.done === true) return count
      if (next.value.kind !== 'row') {
        yield next.value
        this.checkCancel()
        continue
      }
      const values = next.value.row.map((value, i) =>
        encode(value, columns[i]?.type ?? 0, how.formats[i] ?? 0),
      )
      this.emit(answer.dataRow(values))
      yield* this.spill()
      count++
      if (count === how.max) return count
    }
  }

  /** FunctionCall: only `pg_backend_pid()` is known. */
  #call(oid: number): void {
    this.tx.start()
    this.refuseIfFailed(false)
    if (oid !== FUNCTION_PG_BACKEND_PID) throw new PgError('42883', `function with OID ${oid} does not exist`)
    this.emit(answer.functionResult(String(this.pid)))
    this.tx.finish()
  }

  // ---- for statements

  /** DEALLOCATE ALL: the unnamed statement stays. */
  dropStatements(): void {
    for (const name of [...this.statements.keys()]) if (name !== '') this.statements.delete(name)
  }

  /** Drops all portals except the one that is running. */
  closePortals(): void {
    for (const [name, portal] of [...this.portals])
      if (portal.live !== this.#current) this.portals.delete(name)
  }

  dropUnnamed(): void {
    this.statements.delete('')
  }

  notify(channel: string, payload: string): void {
    this.#host.notify(this, channel, payload)
  }

  /** A notification has come; it is sent now if the session is idle, else before its next ReadyForQuery. */
  notified(from: number, channel: string, payload: string): void {
    const bytes = answer.notification(from, channel, payload)
    if (this.busy || this.tx.status !== 'I') this.#notifications.push(bytes)
    else this.#host.write(bytes)
  }
}

/** A statement that has begun, or is about to. */
export interface Live {
  readonly statement: Statement
  readonly sql: string
  readonly params: readonly (string | null)[]
  entry: LedgerEntry | null
  rows: Rows | null
  done: boolean
}

function encode(value: string | null, type: number, format: number): Buffer | null {
  if (value === null) return null
  if (format === 0 || type !== 23) return Buffer.from(value)
  const out = Buffer.alloc(4)
  out.writeInt32BE(Number(value))
  return out
}
