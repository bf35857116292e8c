// Questions to one database on a connection of our own: who waits for an answer, how long, and when the
// connection is opened and closed. It owns the queue and that connection; it never drops a question silently:
// each ends in an outcome, once.
import type { QueryOutcome } from '../auth/query-verdict.ts'
import { Backoff } from '../pool/backoff.ts'
import type { Refusal } from '../pool/types.ts'
import type { CancelConnection } from './cancel.ts'
import { QueryConnection, type QueryConnectionParts, type QueryOwner } from './query-connection.ts'
import type { Route } from './route.ts'
import type { CoarseTime } from './talk.ts'

/** Questions that wait or are in flight; what comes beyond them is told at once. */
const QUESTIONS_MAX = 5000
/** Questions written before the first of them is answered. */
const IN_FLIGHT_MAX = 32
/** A question whose connection was lost is asked once more: it reads only. */
const TRIES_MAX = 2
/** A connection unused for longer is closed. */
const IDLE_MS = 60_000

interface Question {
  readonly value: string
  readonly deadline: number
  tries: number
  resolve(outcome: QueryOutcome): void
}

/** What it is made of, besides what its connection needs. */
export interface QuestionsParts extends Omit<QueryConnectionParts, 'route'> {
  /** The way there at this moment. May throw: a certificate that cannot be read. */
  readonly route: () => Route
  readonly time: CoarseTime
  readonly timeoutMs: number
}

export class Questions implements QueryOwner {
  readonly #parts: QuestionsParts
  readonly #backoff: Backoff
  readonly #waiting: Question[] = []
  readonly #asked: Question[] = []
  readonly #cancels = new Map<CancelConnection, number>()
  #connection: QueryConnection | null = null
  #hasLoggedIn = false
  #openDeadline = 0
  #cancelTimeoutMs = 0
  #usedAt: number
  #failure: QueryOutcome | null = null
  #isClosed = false

  constructor(parts: QuestionsParts) {
    this.#parts = parts
    this.#backoff = new Backoff(parts.random)
    this.#usedAt = parts.time.now
  }

  /** Nobody waits for an answer. */
  get isQuiet(): boolean {
    return this.#asked.length === 0 && this.#waiting.length === 0
  }

  /** Nothing is left of it, and nobody has asked for a while. */
  isForgotten(now: number): boolean {
    return (
      this.#connection === null && this.isQuiet && this.#cancels.size === 0 && now - this.#usedAt > IDLE_MS
    )
  }

  /** Asks with this value for $1. Never rejects. */
  ask(value: string): Promise<QueryOutcome> {
    const { now } = this.#parts.time
    this.#usedAt = now
    if (this.#isClosed) return Promise.resolve(lost('57P01', 'the pooler is shutting down'))
    if (this.#waiting.length + this.#asked.length >= QUESTIONS_MAX) return Promise.resolve({ kind: 'busy' })
    if (this.#connection === null && this.#failure !== null && !this.#backoff.isOver(now))
      return Promise.resolve(this.#failure)
    return new Promise((resolve) => {
      this.#waiting.push({ value, deadline: now + this.#parts.timeoutMs, tries: 0, resolve })
      this.#pump()
    })
  }

  /** Time has passed. */
  tick(now: number): void {
    for (const [request, deadline] of this.#cancels) if (now > deadline) request.giveUp()
    const connection = this.#connection
    if (connection !== null && !connection.isOpen && now > this.#openDeadline) connection.timeOut()
    const isStuck = (this.#asked[0]?.deadline ?? Number.POSITIVE_INFINITY) < now
    if (isStuck) this.#cut(now)
    // All have the same time: the oldest stand in front.
    while ((this.#waiting[0]?.deadline ?? Number.POSITIVE_INFINITY) < now)
      this.#waiting.shift()?.resolve(lost('57014', 'Postgres did not answer in time'))
    if (isStuck) this.#pump()
    if (this.isQuiet && now - this.#usedAt > IDLE_MS && this.#connection?.isOpen === true) this.#end()
  }

  /** Ends it: whoever waits is told. */
  close(): void {
    this.#isClosed = true
    this.#end()
    for (const request of [...this.#cancels.keys()]) request.giveUp()
    for (const question of [...this.#asked.splice(0), ...this.#waiting.splice(0)])
      question.resolve(lost('57P01', 'the pooler is shutting down'))
  }

  // ---- of the connection ----

  onOpened(): void {
    this.#hasLoggedIn = true
    this.#backoff.succeeded()
    this.#failure = null
    this.#pump()
  }

  onAnswer(outcome: QueryOutcome): void {
    this.#asked.shift()?.resolve(outcome)
    this.#pump()
  }

  onGone({ code, message }: Pick<Refusal, 'code' | 'message'>, isRefused: boolean): void {
    const wasOpen = this.#hasLoggedIn
    this.#connection = null
    const outcome: QueryOutcome = { kind: 'lost', code, message, isRefused }
    this.#askAgain(outcome)
    if (wasOpen) {
      this.#pump()
      return
    }
    this.#failure = outcome
    this.#backoff.failed(this.#parts.time.now)
    for (const question of this.#waiting.splice(0)) question.resolve(outcome)
  }

  /** What was asked on a connection that is gone goes back to the front, or ends. */
  #askAgain(outcome: QueryOutcome): void {
    const again: Question[] = []
    for (const question of this.#asked.splice(0)) {
      if (question.tries >= TRIES_MAX) question.resolve(outcome)
      else again.push(question)
    }
    this.#waiting.unshift(...again)
  }

  /** The connection does not answer: another one is tried for those who still have time. */
  #cut(now: number): void {
    const request = this.#connection?.cut((over) => this.#cancels.delete(over)) ?? null
    if (request !== null) this.#cancels.set(request, now + this.#cancelTimeoutMs)
    this.#connection = null
    this.#askAgain(lost('57014', 'Postgres did not answer in time'))
  }

  #end(): void {
    this.#connection?.close()
    this.#connection = null
  }

  #pump(): void {
    if (this.#waiting.length === 0 || this.#isClosed) return
    if (this.#connection === null) this.#open()
    const connection = this.#connection
    while (connection?.isOpen === true && this.#asked.length < IN_FLIGHT_MAX) {
      const question = this.#waiting.shift()
      if (question === undefined) return
      question.tries++
      this.#asked.push(question)
      connection.ask(question.value)
    }
  }

  #open(): void {
    this.#hasLoggedIn = false
    try {
      const route = this.#parts.route()
      this.#openDeadline = this.#parts.time.now + route.connectTimeoutMs
      this.#cancelTimeoutMs = route.cancelTimeoutMs
      this.#connection = new QueryConnection({ ...this.#parts, route }, this)
    } catch (thrown) {
      this.onGone({ code: '08001', message: (thrown as Error).message }, false)
    }
  }
}

function lost(code: string, message: string): QueryOutcome {
  return { kind: 'lost', code, message, isRefused: false }
}
