// One connection of our own to Postgres, on which one statement is asked again and again with another value.
// It owns the stream; questions are answered in the order in which they were asked. It carries nothing that a
// client has said but that value, and takes nothing but a few short rows: anything else ends it.
import type { QueryOutcome } from '../auth/query-verdict.ts'
import type { Refusal } from '../pool/types.ts'
import type { SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { bind, describe, execute, parse, SYNC, TERMINATE } from '../wire/messages.ts'
import { ANSWER_RULES, FromServer, Status } from '../wire/protocol.ts'
import { CancelConnection } from './cancel.ts'
import { Login, type LoginEvents, type LoginParts, type LoginResult } from './login.ts'

/** More rows than this change nothing about the verdict. */
const ROWS_MAX = 2
const MESSAGE_MAX = 64 * 1024
const HEADER = 5

/** What a connection for questions is made of. */
export interface QueryConnectionParts extends LoginParts {
  readonly sql: string
  /** Startup parameters: ours, never a client's. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Told what becomes of the questions. */
export interface QueryOwner {
  onOpened(): void
  /** The oldest question is answered. */
  onAnswer(outcome: QueryOutcome): void
  /** It is over; called once, unless the owner ended it. `isRefused`: Postgres refused the login. */
  onGone(refusal: Pick<Refusal, 'code' | 'message'>, isRefused: boolean): void
}

export class QueryConnection implements StreamHandler, LoginEvents {
  readonly #parts: QueryConnectionParts
  readonly #owner: QueryOwner
  readonly #framer = new Framer(ANSWER_RULES, MESSAGE_MAX, MESSAGE_MAX)
  readonly #statement: Buffer
  readonly #login: Login
  #stream: SecurableStream | null = null
  #target: { pid: number; key: Buffer; isEncrypted: boolean } = {
    pid: 0,
    key: Buffer.alloc(0),
    isEncrypted: false,
  }
  #unanswered = 0
  #columns = 0
  #rows: (string | null)[][] = []
  #error: { code: string; message: string } | null = null
  #isOver = false

  constructor(parts: QueryConnectionParts, owner: QueryOwner) {
    this.#parts = parts
    this.#owner = owner
    this.#statement = parse('', parts.sql)
    this.#login = new Login(parts, parts.parameters, this)
  }

  /** Logged in: questions may be asked. */
  get isOpen(): boolean {
    return this.#stream !== null && !this.#isOver
  }

  /** Asks with this value for $1. Only while it is open. */
  ask(value: string): void {
    this.#unanswered++
    const bound = bind('', '', [value])
    this.#stream?.write(
      Buffer.concat([this.#statement, bound, describe('P', ''), execute('', ROWS_MAX), SYNC]),
    )
  }

  /** Nothing is asked any more. The owner hears no more of it. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#stream === null) this.#login.cancel('not wanted any more')
    else this.#stream.end(TERMINATE)
  }

  /**
   * An answer took too long: ends it, and asks Postgres to stop working on it. The owner hears no more of it.
   * @returns the cancel request on its way; null where there is nothing to cancel
   */
  cut(onCancelOver: (request: CancelConnection) => void): CancelConnection | null {
    if (this.#isOver) return null
    this.#isOver = true
    if (this.#stream === null) this.#login.cancel('it took too long')
    this.#stream?.destroy('an answer took too long')
    if (this.#target.key.length === 0) return null
    const request = new CancelConnection(this.#parts.route, this.#target, () => onCancelOver(request))
    return request
  }

  /** The login took too long. */
  timeOut(): void {
    this.#login.timeOut()
  }

  // ---- login ----

  onLoggedIn({ stream, pid, key }: LoginResult): void {
    this.#stream = stream
    stream.handler = this
    this.#target = { pid, key, isEncrypted: stream.peer.encrypted }
    this.#owner.onOpened()
  }

  onLoginFailed(refusal: Refusal): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#owner.onGone(refusal, refusal.reason === 'server_login')
  }

  // ---- the stream ----

  onData(chunk: Buffer): void {
    this.#framer.push(chunk)
    while (!this.#isOver) {
      const found = this.#framer.next()
      if (found === Found.Nothing) return
      if (found === Found.Message && this.#framer.rest === 0) this.#onMessage()
      else this.#gone('08P01', `Postgres sent what is no answer to a short question: ${this.#what(found)}`)
    }
  }

  onDrain(): void {}

  onEnd(): void {
    this.#gone('08006', 'Postgres closed the connection')
  }

  onClose(reason: string): void {
    this.#gone('08006', reason)
  }

  #what(found: number): string {
    return found === Found.Invalid ? this.#framer.problem : 'a message that is too long'
  }

  #onMessage(): void {
    const { type, src, start, stop } = this.#framer
    switch (type) {
      case FromServer.RowDescription:
        this.#columns = stop - start < HEADER + 2 ? 0 : src.readUInt16BE(start + HEADER)
        return
      case FromServer.DataRow: {
        const row = rowOf(src, start + HEADER, stop)
        if (row === null) this.#gone('08P01', 'Postgres sent a broken row')
        else if (this.#rows.length < ROWS_MAX) this.#rows.push(row)
        return
      }
      case FromServer.ErrorResponse: {
        const { severity, code, message } = parseErrorResponse(src, start, stop)
        if (severity === 'FATAL' || severity === 'PANIC') this.#gone(code || '08006', message)
        else this.#error = { code, message }
        return
      }
      case FromServer.ReadyForQuery:
        this.#onReady(src[start + HEADER])
        return
    }
  }

  #onReady(status: number): void {
    if (this.#unanswered === 0) {
      this.#gone('08P01', 'Postgres sent an answer that nothing asked for')
      return
    }
    this.#unanswered--
    const outcome: QueryOutcome =
      this.#error === null
        ? { kind: 'rows', columns: this.#columns, rows: this.#rows }
        : { kind: 'error', ...this.#error }
    this.#columns = 0
    this.#rows = []
    this.#error = null
    this.#owner.onAnswer(outcome)
    // A statement that opens a transaction would leave the next question in it.
    if (status !== Status.Idle) this.#gone('25001', 'the query left a transaction open')
  }

  #gone(code: string, message: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stream?.destroy(message)
    this.#owner.onGone({ code, message }, false)
  }
}

/** The values of a DataRow; null for one that does not add up. */
function rowOf(src: Buffer, start: number, stop: number): (string | null)[] | null {
  if (stop - start < 2) return null
  const count = src.readUInt16BE(start)
  const row: (string | null)[] = []
  let at = start + 2
  for (let index = 0; index < count; index++) {
    if (stop - at < 4) return null
    const length = src.readInt32BE(at)
    at += 4
    if (length > stop - at) return null
    row.push(length < 0 ? null : src.toString('utf8', at, at + length))
    at += Math.max(length, 0)
  }
  return at === stop ? row : null
}
