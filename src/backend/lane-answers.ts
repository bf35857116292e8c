// What Postgres answers to exchanges that several clients have in flight on one server: all up to a
// ReadyForQuery is of the exchange at the head. It owns the run of bytes that goes to its client next. What
// could still turn out to be an error of ours is kept back.
import { field } from '../wire/error-response.ts'
import { Reply, REPLY_KIND } from '../pool/replies.ts'
import type { Shape } from '../sql/shapes.ts'
import { Found, type Framer } from '../wire/framer.ts'
import { PARSE_COMPLETE } from '../wire/messages.ts'
import { FromServer, Status } from '../wire/protocol.ts'
import { rowsOf } from './running.ts'
import type { SharedExchange } from './shared-exchange.ts'
import type { Talk } from './talk.ts'

const S = FromServer
const EMPTY = Buffer.alloc(0)

const WRITES = 'it is not read only'
/** Errors that a client would not have met on a server of its own, each with what is to be said of it. */
const OURS: ReadonlyMap<string, string> = new Map([
  ['25006', WRITES],
  ['26000', 'its statement was gone'],
  ['0A000', 'its result has changed'],
])

export interface LaneEvents {
  /** Postgres would not run it here, and nothing of its answer was handed on. */
  sendElsewhere(exchange: SharedExchange, reason: string): void
  /** Its client does not take its answer, of which there is more. */
  onBlocked(): void
  /** Its ReadyForQuery was handed on. */
  onEnded(exchange: SharedExchange): void
  /** Nothing that was asked for explains it. */
  onStrange(what: string): void
  /** A setting has another value. */
  onParameter(framer: Framer): void
  /** FATAL or PANIC: Postgres is about to close the connection. */
  onLastWords(bytes: Buffer): void
}

export class LaneAnswers {
  /** Exchanges that have ended since it was last set to 0, and of what kind the last was. */
  ended = 0
  lastShape: Shape | null = null
  readonly #talk: Talk
  readonly #events: LaneEvents
  #src: Buffer = EMPTY
  #start = 0
  #stop = 0
  /** A row, or the end of the result, has come for the exchange at the head. */
  #isCertain = false
  /** What happens to the rest of the body of the message given out last. */
  #forwardsBody = false

  constructor(talk: Talk, events: LaneEvents) {
    this.#talk = talk
    this.#events = events
  }

  take(framer: Framer, found: number): void {
    if (found === Found.Body) {
      if (this.#forwardsBody) this.#forward(framer)
      return
    }
    this.#forwardsBody = true
    switch (framer.type) {
      case S.CommandComplete:
        this.#isCertain = true
        this.#gave(rowsOf(framer))
        this.#forward(framer)
        return
      case S.DataRow:
      case S.EmptyQueryResponse:
        this.#isCertain = true
        this.#forward(framer)
        return
      case S.ReadyForQuery:
        this.#ready(framer)
        return
      case S.RowDescription:
      case S.NoData:
      case S.BindComplete:
      case S.ParseComplete:
        this.#prefix(framer)
        this.#forward(framer)
        return
      case S.NoticeResponse:
        this.#forward(framer)
        return
      case S.ErrorResponse:
        this.#error(framer)
        return
      default:
        this.#forwardsBody = false
        this.#other(framer)
    }
  }

  /** Hands what was collected to the client of the exchange at the head. */
  flush(): void {
    if (this.#stop === this.#start) return
    const src = this.#src
    const isWhole = this.#start === 0 && this.#stop === src.length
    const run = isWhole ? src : src.subarray(this.#start, this.#stop)
    this.#src = EMPTY
    this.#start = this.#stop = 0
    const { replies } = this.#talk
    if ((replies.head & REPLY_KIND) !== Reply.Shared) return
    const exchange = replies.headRef as SharedExchange
    if (exchange.client === null) return
    if (!this.#isCertain) {
      exchange.kept = exchange.kept === null ? Buffer.from(run) : Buffer.concat([exchange.kept, run])
      return
    }
    if (!this.#hand(exchange, run)) this.#events.onBlocked()
  }

  #hand(exchange: SharedExchange, run: Buffer): boolean {
    const { client, kept } = exchange
    if (client === null) return true
    let mayGoOn = true
    if (exchange.isParsed && !exchange.isForwarded) mayGoOn = client.deliver(PARSE_COMPLETE)
    exchange.isForwarded = true
    if (kept !== null) {
      exchange.kept = null
      if (!client.deliver(kept)) mayGoOn = false
    }
    return client.deliver(run) && mayGoOn
  }

  #ready(framer: Framer): void {
    const talk = this.#talk
    const { replies } = talk
    talk.ready(framer.src[framer.start + 5])
    if (talk.status !== Status.Idle) {
      this.#events.onStrange('Postgres opened a transaction for a query')
      return
    }
    this.#forward(framer)
    const run = this.#src.subarray(this.#start, this.#stop)
    this.#src = EMPTY
    this.#start = this.#stop = 0
    const exchange = replies.headRef as SharedExchange
    this.#hand(exchange, run)
    if (exchange.unnamed === null && exchange.statement === null) exchange.client?.session.setUnnamed(null)
    this.#isCertain = false
    this.ended++
    this.lastShape = exchange.shape
    exchange.shape.shared++
    this.#counted?.ran(talk.answeredIn)
    exchange.client?.session.watch?.ran(exchange.shape, talk.answeredIn, true)
    exchange.client?.session.watch?.tracing?.ended(talk, 0)
    replies.shift()
    talk.exchanges--
    this.#events.onEnded(exchange)
  }

  /** Of the exchange at the head; null: it runs once more elsewhere, or its client has gone. */
  get #counted(): Shape | null {
    const { client, shape } = this.#talk.replies.headRef as SharedExchange
    return client === null ? null : shape
  }

  #gave(rows: number): void {
    const { client, shape } = this.#talk.replies.headRef as SharedExchange
    if (client === null) return
    shape.gave(rows)
    client.session.watch?.gave(rows)
  }

  #prefix(framer: Framer): void {
    const exchange = this.#talk.replies.headRef as SharedExchange
    const { client, statement, unnamed } = exchange
    if (client === null) return
    if (framer.type === S.ParseComplete) client.session.setUnnamed(unnamed)
    else if (exchange.isParsed) {
      if (framer.type === S.BindComplete) client.session.setUnnamed(unnamed)
    } else if (statement !== null && framer.type !== S.BindComplete)
      statement.shape = this.#talk.statements.shapeOf(statement.definition.id)
  }

  #error(framer: Framer): void {
    const { src, start, stop } = framer
    const bytes = src.subarray(start, stop)
    const severity = field(bytes, 'V') || field(bytes, 'S')
    const exchange = this.#talk.replies.headRef as SharedExchange
    if (severity === 'FATAL' || severity === 'PANIC') {
      this.#forwardsBody = false
      this.#events.onLastWords(Buffer.from(bytes))
      return
    }
    const why = this.#ours(exchange, field(bytes, 'C'))
    if (why !== undefined && !exchange.isForwarded && !this.#isCertain) {
      // Of what came before, all is of this exchange: others were handed theirs.
      this.#src = EMPTY
      this.#start = this.#stop = 0
      this.#forwardsBody = false
      // What the server has of a statement may be at fault; what a statement does is not.
      if (exchange.definition === null || why === WRITES) exchange.shape.forbid(why)
      else this.#talk.statements.delete(exchange.definition.id)
      this.#events.sendElsewhere(exchange, why)
      return
    }
    this.#isCertain = true
    this.#counted?.failed()
    exchange.client?.session.watch?.failed(field(bytes, 'C'))
    if (exchange.unnamed !== null && exchange.client?.session.unnamed !== exchange.unnamed)
      exchange.client?.session.setUnnamed(null)
    this.#forward(framer)
  }

  /** Why the error may be one that the client would not have met; undefined: it would. */
  #ours(exchange: SharedExchange, code: string): string | undefined {
    // What is parsed now knows tables and types of now, and Bind tells what it calls the statement.
    const isOld =
      exchange.isParsed && (code.startsWith('42') || exchange.client?.session.unnamed !== exchange.unnamed)
    return isOld ? OURS.get('26000') : OURS.get(code)
  }

  /** What no read is answered. */
  #other(framer: Framer): void {
    // Of others' doings: nobody here has asked for it.
    if (framer.type === S.NotificationResponse) return
    if (framer.type === S.ParameterStatus) {
      this.#events.onParameter(framer)
      return
    }
    this.#events.onStrange(`Postgres sent a message of type ${String.fromCharCode(framer.type)} for a read`)
  }

  #forward(framer: Framer): void {
    if (this.#stop === framer.start && this.#src === framer.src) {
      this.#stop = framer.stop
      return
    }
    if (this.#stop !== this.#start) this.flush()
    this.#src = framer.src
    this.#start = framer.start
    this.#stop = framer.stop
  }
}
