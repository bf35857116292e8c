// The connection on which a hub listens: its login, its exchanges one at a time, and what comes by itself. It
// owns the stream. It runs nothing but texts of the hub, and gives out every notification, whole and in
// Postgres' order: one that it cannot read ends it.
import type { Refusal } from '../pool/types.ts'
import type { PeerInfo, SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { parseErrorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { query, TERMINATE } from '../wire/messages.ts'
import { ANSWER_RULES, FromServer, Status } from '../wire/protocol.ts'
import { Login, type LoginEvents, type LoginParts, type LoginResult } from './login.ts'

const MESSAGE_MAX = 64 * 1024
const HEADER = 5

/**
 * How it introduces itself. With SQL_ASCII Postgres converts nothing: names and payloads are in the encoding
 * of the database, whatever that is.
 */
const PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['application_name', 'pgmux listen'],
  ['client_encoding', 'SQL_ASCII'],
])

/**
 * What roles and databases may have as their defaults, and must not be here: it waits for hours, and nobody
 * waits for its transactions to reach a disk. Older servers do not have all of them.
 */
const OWN_SETTINGS = `SELECT pg_catalog.set_config(s.name, w.value, false)
  FROM pg_catalog.pg_settings s, (VALUES
  ('synchronous_commit', 'off'), ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
  ('statement_timeout', '0'), ('transaction_timeout', '0'), ('lock_timeout', '0'),
  ('default_transaction_isolation', 'read committed'), ('default_transaction_deferrable', 'off'),
  ('client_min_messages', 'error')) w (name, value) WHERE s.name OPERATOR(pg_catalog.=) w.name`

/** Why an exchange, or the connection, failed. */
export type Problem = Pick<Refusal, 'code' | 'message'>

/** Told what comes; after `close` nothing. */
export interface ListeningOwner {
  /** Logged in: exchanges may be sent. */
  onOpened(): void
  /** A notification, `src[start..stop)`, valid until this returns. */
  onNotification(src: Buffer, start: number, stop: number): void
  /** The exchange is over; null: it was committed. */
  onAnswer(problem: Problem | null): void
  /** It is over; called once. */
  onGone(problem: Problem): void
}

export class ListeningServer implements StreamHandler, LoginEvents {
  readonly #owner: ListeningOwner
  readonly #framer = new Framer(ANSWER_RULES, MESSAGE_MAX, MESSAGE_MAX)
  readonly #login: Login
  #stream: SecurableStream | null = null
  #problem: Problem | null = null
  #isAsking = false
  #isReady = false
  #isOver = false
  /** Number of its backend. */
  pid = 0
  /** Coarse time at which it could be used first. */
  openedAt = 0

  constructor(parts: LoginParts, owner: ListeningOwner) {
    this.#owner = owner
    this.#login = new Login(parts, PARAMETERS, this)
  }

  /** Logged in. */
  get isOpen(): boolean {
    return this.#isReady && !this.#isOver
  }

  /** Null: there is none yet. */
  get peer(): PeerInfo | null {
    return this.#stream?.peer ?? null
  }

  /** An exchange has no answer yet. */
  get isAsking(): boolean {
    return this.#isAsking
  }

  /** Sends these statements as one transaction. Only while it is open and asks nothing. */
  run(text: Uint8Array): void {
    this.#isAsking = true
    this.#stream?.write(query(text))
  }

  /** Not wanted any more. The owner hears no more of it. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#stream === null) this.#login.cancel('not wanted any more')
    else this.#stream.end(TERMINATE)
  }

  /** An answer, or the login, takes too long. */
  timeOut(): void {
    if (this.#stream === null) this.#login.timeOut()
    else this.#gone('57014', 'Postgres did not answer in time')
  }

  // ---- login ----

  onLoggedIn({ stream, pid }: LoginResult): void {
    this.#stream = stream
    stream.handler = this
    this.pid = pid
    this.run(Buffer.from(OWN_SETTINGS))
  }

  onLoginFailed(refusal: Refusal): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#owner.onGone(refusal)
  }

  // ---- the stream ----

  onData(chunk: Buffer): void {
    const framer = this.#framer
    framer.push(chunk)
    while (!this.#isOver) {
      const found = framer.next()
      if (found === Found.Nothing) return
      if (found === Found.Message && framer.rest === 0) this.#onMessage()
      else this.#gone('08P01', 'Postgres sent a message that is no notification and no short answer')
    }
  }

  onDrain(): void {}

  onEnd(): void {
    this.#gone('08006', 'Postgres closed the connection')
  }

  onClose(reason: string): void {
    this.#gone('08006', reason)
  }

  #onMessage(): void {
    const { type, src, start, stop } = this.#framer
    switch (type) {
      case FromServer.NotificationResponse:
        this.#owner.onNotification(src, start, stop)
        return
      case FromServer.ErrorResponse: {
        const { severity, code, message } = parseErrorResponse(src, start, stop)
        // Outside an exchange it could only be that a notification was not made: then one is missing.
        if (severity === 'FATAL' || severity === 'PANIC' || !this.#isAsking) this.#gone(code, message)
        else this.#problem = { code, message }
        return
      }
      case FromServer.ReadyForQuery:
        this.#onReady(src[start + HEADER])
        return
    }
  }

  #onReady(status: number): void {
    if (!this.#isAsking || status !== Status.Idle) {
      this.#gone('08P01', 'Postgres sent an answer that nothing asked for')
      return
    }
    this.#isAsking = false
    const problem = this.#problem
    this.#problem = null
    if (this.#isReady) this.#owner.onAnswer(problem)
    else if (problem === null) {
      this.#isReady = true
      this.#owner.onOpened()
    } else this.#gone(problem.code, problem.message)
  }

  #gone(code: string, message: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stream?.destroy(message)
    this.#owner.onGone({ code: code || '08006', message })
  }
}
