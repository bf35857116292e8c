// The receiving side of a server: matches what Postgres sends with what it owes, and forwards, swallows or
// makes up. It owns the run of bytes that goes to the client next and nothing else. A byte that no entry of
// the queue explains is a protocol violation of the server: it never reaches a client.
import type { Lessee } from '../pool/lease.ts'
import { Fate, Reply, REPLY_KIND, type Replies } from '../pool/replies.ts'
import { NamedStatement } from '../session/statements.ts'
import { field } from '../wire/error-response.ts'
import { Found, type Framer } from '../wire/framer.ts'
import { CLOSE_COMPLETE, PARSE_COMPLETE } from '../wire/messages.ts'
import { FromServer, Status } from '../wire/protocol.ts'
import { doubtSyncs, dropEatenSyncs, dropToFence, endCopy, leadsAstray } from './copy-replies.ts'
import { afterError, isCurable, otherWords } from './failures.ts'
import { described, parametersDescribed } from './fit.ts'
import { type InternalExchange, internalExchange } from './internal.ts'
import { OwnRows } from './own-rows.ts'
import type { NamedClose, NamedParse } from './refs.ts'
import { commandDone } from './running.ts'
import { closeAnswered, nameParsed, parseAnswered, readParameter } from './session-effects.ts'
import { Copy, type Talk } from './talk.ts'
import { toldAs } from '../wire/notification.ts'

const S = FromServer
const EMPTY = Buffer.alloc(0)

export interface AnswerEvents {
  /** FATAL or PANIC: Postgres is about to close the connection. */
  onLastWords(bytes: Buffer): void
  /** The server sent something that nothing asked for. */
  onViolation(what: string): void
  /** An internal exchange on which what follows depends has failed. */
  onGuardFailed(exchange: InternalExchange): void
  /** A reported setting has a new value. */
  onSetting(name: string, value: string): void
  /** An exchange whose error was swallowed is over: it is sent once more. */
  onHealed(): void
  /**
   * An exchange of a client has left a transaction block open.
   * @returns true when that is not allowed here: its ReadyForQuery is not passed on
   */
  onBlock(): boolean
  /** A ReadyForQuery came for a client's exchange. */
  onExchangeEnd(): void
}

export class Answers {
  lessee: Lessee | null = null
  /** The lessee wants no more for now. */
  isBlocked = false
  readonly #talk: Talk
  readonly #replies: Replies
  readonly #events: AnswerEvents
  readonly #rows = new OwnRows()
  #src: Buffer = EMPTY
  #start = 0
  #stop = 0
  /** What happens to the rest of the body of the message given out last. */
  #forwardsBody = false

  constructor(talk: Talk, events: AnswerEvents) {
    this.#talk = talk
    this.#replies = talk.replies
    this.#events = events
  }

  /** One piece that the framer gave out. */
  take(framer: Framer, found: number): void {
    if (found === Found.Body) {
      if (this.#forwardsBody) this.#forward(framer)
      else this.#rows.more(framer)
      return
    }
    this.#forwardsBody = false
    if ((this.#replies.head & Fate.Insert) !== 0) this.drainInserts()
    if (this.#talk.isDoubtful && dropEatenSyncs(this.#talk, framer.type)) this.drainInserts()
    switch (framer.type) {
      case S.DataRow:
      case S.CopyData:
        if (!this.#explains()) this.#violation('a row')
        else if ((this.#replies.head & Fate.Internal) === 0) this.#pass(framer)
        else this.#rows.begin(this.#replies.headRef as InternalExchange, framer)
        break
      case S.BindComplete:
        this.#answers(framer, Reply.Bind)
        break
      case S.CommandComplete:
        this.#commandComplete(framer)
        break
      case S.ReadyForQuery:
        this.#ready(framer)
        break
      case S.RowDescription:
      case S.NoData:
        this.#described(framer)
        break
      default:
        this.#seldom(framer)
    }
  }

  /** Hands what was collected to the client. */
  flush(): void {
    if (this.#stop === this.#start) return
    const src = this.#src
    const run = this.#start === 0 && this.#stop === src.length ? src : src.subarray(this.#start, this.#stop)
    this.#src = EMPTY
    this.#start = this.#stop = 0
    if (this.lessee !== null && !this.lessee.deliver(run)) this.isBlocked = true
  }

  /** Makes up the answers whose turn has come. */
  drainInserts(): void {
    for (;;) {
      const head = this.#replies.head
      if ((head & Fate.Insert) !== 0) this.#insert(head)
      else if ((head & REPLY_KIND) === Reply.CopyEnd && this.#talk.copy !== Copy.In) this.#replies.shift()
      else return
    }
  }

  #seldom(framer: Framer): void {
    switch (framer.type) {
      case S.ParseComplete:
        this.#completed(framer, Reply.Parse)
        return
      case S.CloseComplete:
        this.#completed(framer, Reply.Close)
        return
      case S.ParameterDescription:
        if (parametersDescribed(this.#talk, framer)) this.#pass(framer)
        else this.#violation('a parameter description')
        return
      case S.EmptyQueryResponse:
        this.#emptyQuery(framer)
        return
      case S.PortalSuspended:
        this.#answers(framer, Reply.Execute)
        return
      case S.FunctionCallResponse:
        if ((this.#replies.head & REPLY_KIND) === Reply.FunctionCall) this.#pass(framer)
        else this.#violation('a function result')
        return
      case S.ErrorResponse:
        this.#error(framer)
        return
      case S.NoticeResponse:
        this.#pass(framer)
        return
      case S.NotificationResponse:
        this.#notification(framer)
        return
      case S.ParameterStatus:
        this.#parameterStatus(framer)
        return
      default:
        this.#copy(framer)
    }
  }

  #copy(framer: Framer): void {
    const talk = this.#talk
    const type = framer.type
    if (!this.#explains()) {
      this.#violation('a COPY message')
      return
    }
    if (type === S.CopyInResponse || type === S.CopyBothResponse) {
      talk.copy = type === S.CopyInResponse ? Copy.In : Copy.Both
      doubtSyncs(this.#replies)
    } else if (type === S.CopyOutResponse) {
      talk.copy = Copy.Out
    } else if (type !== S.CopyDone) {
      this.#violation(`a message of type ${String.fromCharCode(type)}`)
      return
    }
    this.#pass(framer)
  }

  #commandComplete(framer: Framer): void {
    const talk = this.#talk
    const kind = this.#replies.head & REPLY_KIND
    if (kind !== Reply.Query && kind !== Reply.Execute) {
      this.#violation('a command tag')
      return
    }
    if ((this.#replies.head & Fate.Internal) === 0) commandDone(talk, framer, this.lessee?.session)
    this.#pass(framer)
    if (kind === Reply.Execute) this.#replies.shift()
    if (talk.copy !== Copy.None) endCopy(talk)
    this.drainInserts()
  }

  #ready(framer: Framer): void {
    const talk = this.#talk
    const replies = this.#replies
    const head = replies.head
    const kind = head & REPLY_KIND
    if (kind !== Reply.Query && kind !== Reply.Sync && kind !== Reply.FunctionCall) {
      this.#violation('ReadyForQuery')
      return
    }
    talk.ready(framer.src[framer.start + 5])
    if ((head & Fate.Internal) !== 0) {
      this.#internalDone(replies.headRef as InternalExchange)
      return
    }
    if (talk.status !== Status.Idle && this.#events.onBlock()) return
    // Notifications stand in front of the end of a transaction, which may have to wait for some.
    const hasMail = talk.status === Status.Idle && (this.lessee?.session.mail ?? null) !== null
    if (hasMail) this.flush()
    if (!hasMail || talk.channels?.takesReady() !== true) this.#pass(framer)
    replies.shift()
    talk.exchanges--
    // All were answered, so none was eaten.
    if (replies.size === 0) talk.needsFence = talk.isDoubtful = false
    if (kind === Reply.Query) this.lessee?.session.setUnnamed(null)
    this.#events.onExchangeEnd()
    this.drainInserts()
  }

  #internalDone(exchange: InternalExchange): void {
    const talk = this.#talk
    this.#replies.shift()
    exchange.onDone(talk.status, exchange)
    if (exchange.isGuard) {
      talk.watch?.tracing?.brought(talk.readAt)
      talk.unconfirmed--
      if (exchange.error !== null || talk.status !== Status.Idle) this.#events.onGuardFailed(exchange)
    }
    this.drainInserts()
  }

  #described(framer: Framer): void {
    const replies = this.#replies
    const kind = replies.head & REPLY_KIND
    if (kind === Reply.Query && framer.type === S.RowDescription) {
      this.#pass(framer)
      return
    }
    if (kind !== Reply.DescribeStatement && kind !== Reply.DescribePortal) {
      this.#violation('a row description')
      return
    }
    described(this.#talk, framer)
    this.#pass(framer)
    replies.shift()
    this.drainInserts()
  }

  /** ParseComplete or CloseComplete. */
  #completed(framer: Framer, kind: number): void {
    const { head } = this.#replies
    if ((head & REPLY_KIND) !== kind) {
      this.#violation(`a message of type ${String.fromCharCode(framer.type)}`)
      return
    }
    this.#pass(framer)
    const session = this.lessee?.session
    if (kind === Reply.Parse) parseAnswered(this.#talk, head, session)
    else closeAnswered(this.#talk, head, session)
    this.#replies.shift()
    this.drainInserts()
  }

  #insert(head: number): void {
    const ref = this.#replies.headRef as NamedParse | NamedClose | null
    this.#replies.shift()
    if ((head & REPLY_KIND) === Reply.Parse) {
      nameParsed(this.#talk, ref as NamedParse, this.lessee?.session)
      this.#emit(PARSE_COMPLETE)
    } else {
      // Null: there was nothing of that name.
      if (ref !== null) this.lessee?.session.statements.confirm(ref.change)
      this.#emit(CLOSE_COMPLETE)
    }
  }

  #emptyQuery(framer: Framer): void {
    const replies = this.#replies
    const kind = replies.head & REPLY_KIND
    if (kind === Reply.Query || kind === Reply.Execute) {
      this.#pass(framer)
      if (kind === Reply.Execute) {
        replies.shift()
        this.drainInserts()
      }
      return
    }
    dropToFence(this.#talk)
    if (replies.size === 0) this.#violation('an empty query response')
  }

  #error(framer: Framer): void {
    const bytes = framer.src.subarray(framer.start, framer.stop)
    const isWhole = framer.rest === 0
    const severity = field(bytes, 'V') || field(bytes, 'S')
    if (severity === 'FATAL' || severity === 'PANIC') {
      this.#events.onLastWords(Buffer.from(bytes))
      return
    }
    const replies = this.#replies
    const head = replies.head
    if (head === 0) {
      this.#violation('an error')
      return
    }
    const ref = replies.headRef
    if (isWhole && ref instanceof NamedStatement && this.#heals(bytes, ref)) return
    if ((head & Fate.Internal) !== 0) (ref as InternalExchange).error ??= Buffer.from(bytes)
    else {
      const words = otherWords(this.#talk, bytes, isWhole)
      this.#talk.watch?.failed(field(words ?? bytes, 'C'))
      if (words !== null) this.#emit(words)
      // An injected message fails in place of the client's own: in a failed transaction, or outgrown.
      else this.#passAlways(framer)
    }
    const isAstray = leadsAstray(this.#talk, bytes)
    afterError(this.#talk, head, this.lessee?.session)
    if (isAstray) this.#violation('the end of a COPY')
  }

  #heals(bytes: Buffer, ref: NamedStatement): boolean {
    if (!isCurable(this.#talk, bytes, ref) || this.lessee === null) return false
    const again = internalExchange('healing', false, () => this.#events.onHealed())
    this.#talk.healing.start(bytes)
    this.#replies.skipToSync(() => {})
    this.#replies.replaceHead(Reply.Sync | Fate.Internal, again)
    return true
  }

  #notification(framer: Framer): void {
    const { channels, pid } = this.#talk
    // It may set free others that have to stand behind what was collected.
    this.flush()
    const message = channels === null ? toldAs(framer, pid, this.lessee?.pid) : channels.receive(framer)
    this.#forwardsBody = channels === null
    if (message !== null) this.#emit(message)
  }

  #parameterStatus(framer: Framer): void {
    const parameter = readParameter(framer)
    if (parameter === null) {
      this.#violation('a broken ParameterStatus')
      return
    }
    const [name, value] = parameter
    this.#events.onSetting(name, value)
    const head = this.#replies.head
    if (this.lessee === null || head === 0 || (head & (Fate.Internal | Fate.Swallow)) !== 0) return
    this.#passAlways(framer)
  }

  /** A message that answers the entry at the head and ends it. */
  #answers(framer: Framer, kind: number): void {
    if ((this.#replies.head & REPLY_KIND) !== kind) {
      this.#violation(`a message of type ${String.fromCharCode(framer.type)}`)
      return
    }
    this.#pass(framer)
    this.#replies.shift()
    this.drainInserts()
  }

  /** May rows or COPY data come now? */
  #explains(): boolean {
    const kind = this.#replies.head & REPLY_KIND
    return kind === Reply.Query || kind === Reply.Execute
  }

  /** Forwards the message, unless it belongs to an exchange of ours. */
  #pass(framer: Framer): void {
    if ((this.#replies.head & (Fate.Internal | Fate.Swallow)) === 0) this.#passAlways(framer)
  }

  #passAlways(framer: Framer): void {
    this.#forwardsBody = true
    this.#forward(framer)
  }

  #forward(framer: Framer): void {
    if (this.lessee === null) return
    if (this.#stop === framer.start && this.#src === framer.src) {
      this.#stop = framer.stop
      return
    }
    this.flush()
    this.#src = framer.src
    this.#start = framer.start
    this.#stop = framer.stop
  }

  /** A message of our own making, in its place among the others. */
  #emit(bytes: Buffer): void {
    this.flush()
    if (this.lessee !== null && !this.lessee.deliver(bytes)) this.isBlocked = true
  }

  #violation(what: string): void {
    this.#events.onViolation(`Postgres sent ${what} that nothing asked for`)
  }
}
