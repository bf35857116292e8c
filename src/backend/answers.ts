// The receiving side of a server: matches what Postgres sends with what it owes, and forwards, swallows or
// makes up. It owns the run of bytes that goes to the client next and nothing else. A byte that no entry of
// the queue explains is a protocol violation of the server: it never reaches a client.
import type { Lessee } from '../pool/lease.ts'
import { Fate, Reply, REPLY_KIND, type Replies } from '../pool/replies.ts'
import { isCarried } from '../session/settings.ts'
import { NamedStatement } from '../session/statements.ts'
import { field, parseErrorResponse, replaceName } from '../wire/error-response.ts'
import { Found, type Framer } from '../wire/framer.ts'
import { CLOSE_COMPLETE, PARSE_COMPLETE } from '../wire/messages.ts'
import { FromServer, Status } from '../wire/protocol.ts'
import { Fault, faultOf } from './healing.ts'
import { FENCE, type InternalExchange, internalExchange } from './internal.ts'
import {
  NamedClose,
  NamedParse,
  NameFix,
  Substitute,
  UNNAMED_CLOSE,
  UnnamedFix,
  UnnamedParse,
} from './refs.ts'
import { Copy, type Talk } from './talk.ts'

const S = FromServer
const EMPTY = Buffer.alloc(0)
const NAME_LENGTH_MAX = 300

/** What the receiving side tells its server. */
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
      return
    }
    this.#forwardsBody = false
    if ((this.#replies.head & Fate.Insert) !== 0) this.drainInserts()
    if (this.#talk.isDoubtful) this.#dropEatenSyncs(framer.type)
    switch (framer.type) {
      case S.DataRow:
      case S.CopyData:
        if (this.#explains()) this.#pass(framer)
        else this.#violation('a row')
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
        this.#parseComplete(framer)
        return
      case S.CloseComplete:
        this.#closeComplete(framer)
        return
      case S.ParameterDescription:
        if ((this.#replies.head & REPLY_KIND) === Reply.DescribeStatement) this.#pass(framer)
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
      this.#doubtSyncs()
    } else if (type === S.CopyOutResponse) {
      talk.copy = Copy.Out
    } else if (type !== S.CopyDone) {
      this.#violation(`a message of type ${String.fromCharCode(type)}`)
      return
    }
    this.#pass(framer)
  }

  /** The Syncs in front of the end of a COPY IN are read, and ignored, by the COPY. */
  #doubtSyncs(): void {
    const replies = this.#replies
    for (let place = 1; place < replies.size; place++) {
      const code = replies.at(place)
      if ((code & REPLY_KIND) === Reply.CopyEnd) return
      if ((code & REPLY_KIND) === Reply.Sync) replies.setAt(place, code | Fate.Doubtful)
    }
  }

  #commandComplete(framer: Framer): void {
    const talk = this.#talk
    const kind = this.#replies.head & REPLY_KIND
    if (kind !== Reply.Query && kind !== Reply.Execute) {
      this.#violation('a command tag')
      return
    }
    const tag = framer.src[framer.start + 5]
    // D(ISCARD ALL), D(EALLOCATE ALL), L(ISTEN), P(REPARE): what they did concerns us.
    if (tag === 0x44 || tag === 0x4c || tag === 0x50) this.#watchTag(framer)
    this.#pass(framer)
    if (kind === Reply.Execute) this.#replies.shift()
    if (talk.copy !== Copy.None) this.#copyEnded()
    this.drainInserts()
  }

  /** COPY is over: what it has eaten is not answered. */
  #copyEnded(): void {
    const talk = this.#talk
    const replies = this.#replies
    if (talk.copy === Copy.In) {
      // In a simple Query the entry of the Query stays in front.
      const first = (replies.head & REPLY_KIND) === Reply.Query ? 1 : 0
      for (let place = first; place < replies.size; ) {
        const code = replies.at(place)
        const isEnd = (code & REPLY_KIND) === Reply.CopyEnd
        if (!isEnd && (code & Fate.Doubtful) === 0) break
        if (!isEnd) talk.exchanges--
        replies.removeAt(place)
        if (isEnd) break
      }
    }
    talk.copy = Copy.None
  }

  /** Behind a failed COPY IN: what answers no Sync shows that the Syncs in front were eaten. */
  #dropEatenSyncs(type: number): void {
    if (type === S.ReadyForQuery || type === S.NoticeResponse) return
    if (type === S.ParameterStatus || type === S.NotificationResponse) return
    const replies = this.#replies
    while (replies.head === Reply.Sync || replies.head === (Reply.Sync | Fate.Doubtful)) {
      this.#talk.exchanges--
      replies.shift()
      this.drainInserts()
    }
  }

  #watchTag(framer: Framer): void {
    const { src, start, stop } = framer
    if (stop - start > 64) return
    const tag = src.toString('latin1', start + 5, stop - 1)
    const session = this.lessee?.session
    if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') {
      this.#talk.statements.clear()
      this.#talk.unnamedOf = null
      this.#talk.lostSetup = true
      session?.statements.clear()
      session?.pins.delete('sql_prepare')
      if (tag === 'DISCARD ALL') session?.pins.delete('listen')
    } else if (tag === 'LISTEN') session?.pins.add('listen')
    else if (tag === 'PREPARE') session?.pins.add('sql_prepare')
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
    talk.status = framer.src[framer.start + 5]
    talk.idleSince = talk.busySince = talk.time.now
    if ((head & Fate.Internal) !== 0) {
      this.#internalDone(replies.headRef as InternalExchange)
      return
    }
    if (talk.status !== Status.Idle && this.#events.onBlock()) return
    this.#pass(framer)
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
    const ref = replies.headRef
    if (ref instanceof NamedStatement) ref.described = true
    this.#pass(framer)
    replies.shift()
    this.drainInserts()
  }

  #parseComplete(framer: Framer): void {
    const replies = this.#replies
    if ((replies.head & REPLY_KIND) !== Reply.Parse) {
      this.#violation('ParseComplete')
      return
    }
    const ref = replies.headRef
    if ((replies.head & Fate.Swallow) !== 0) {
      if (ref instanceof UnnamedFix) this.#confirmUnnamed(ref.version)
      else this.#talk.statements.add(ref as NamedParse['definition'])
    } else {
      this.#pass(framer)
      if (ref instanceof UnnamedParse) {
        this.lessee?.session.setUnnamed(ref.unnamed)
        this.#confirmUnnamed(ref.version)
      } else if (ref instanceof NamedParse) this.#parsed(ref, true)
    }
    replies.shift()
    this.drainInserts()
  }

  #parsed(ref: NamedParse, isNew: boolean): void {
    const { definition } = ref
    if (isNew && !definition.isLarge) this.#talk.statements.add(definition)
    const session = this.lessee?.session
    if (session === undefined) return
    // Behind exchanges in flight the settings were not known when it was sent; now they are.
    if (definition.parseKey === 0) definition.settings = session.settings
    session.statements.confirm(ref.change)
  }

  #confirmUnnamed(version: number): void {
    if (this.lessee !== null) this.#talk.confirmUnnamed(this.lessee.session, version)
  }

  #closeComplete(framer: Framer): void {
    const replies = this.#replies
    if ((replies.head & REPLY_KIND) !== Reply.Close) {
      this.#violation('CloseComplete')
      return
    }
    const ref = replies.headRef
    if ((replies.head & Fate.Swallow) !== 0) {
      if (ref instanceof UnnamedFix) this.#confirmUnnamed(ref.version)
      else this.#talk.statements.delete((ref as NamedParse['definition']).id)
    } else {
      this.#pass(framer)
      if (ref === UNNAMED_CLOSE) this.lessee?.session.setUnnamed(null)
      else if (ref instanceof NamedClose) this.lessee?.session.statements.confirm(ref.change)
    }
    replies.shift()
    this.drainInserts()
  }

  #insert(head: number): void {
    const ref = this.#replies.headRef
    this.#replies.shift()
    if ((head & REPLY_KIND) === Reply.Parse) {
      this.#parsed(ref as NamedParse, false)
      this.#emit(PARSE_COMPLETE)
    } else {
      this.lessee?.session.statements.confirm((ref as NamedClose).change)
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
    // Behind a failed COPY IN: the fence is reached, so what stands in front of it was eaten by the COPY.
    while (replies.size > 0 && !isFence(replies)) {
      const isClients = (replies.head & Fate.Internal) === 0
      if (isClients && (replies.head & REPLY_KIND) === Reply.Sync) this.#talk.exchanges--
      replies.shift()
    }
    if (replies.size === 0) this.#violation('an empty query response')
  }

  #error(framer: Framer): void {
    const { src, start, stop } = framer
    const isWhole = framer.rest === 0
    const severity = field(src.subarray(start, stop), 'V') || field(src.subarray(start, stop), 'S')
    if (severity === 'FATAL' || severity === 'PANIC') {
      this.#events.onLastWords(Buffer.from(src.subarray(start, stop)))
      return
    }
    const replies = this.#replies
    const head = replies.head
    if (head === 0) {
      this.#violation('an error')
      return
    }
    const ref = replies.headRef
    if (isWhole && ref instanceof NamedStatement && this.#heals(src.subarray(start, stop), ref)) return
    if ((head & Fate.Internal) !== 0) {
      const exchange = ref as InternalExchange
      exchange.error ??= Buffer.from(src.subarray(start, stop))
    } else if (ref instanceof Substitute) {
      this.#emit(ref.error)
    } else if (ref instanceof NamedStatement && ref.definition.id === this.#talk.failedParse?.id) {
      this.#emit(this.#talk.failedParse.error)
      this.#talk.failedParse = null
    } else if (isWhole && (ref instanceof NameFix || ref instanceof NamedStatement) && stop - start < 8192) {
      this.#emitRenamed(src.subarray(start, stop), ref)
    } else {
      // An injected message fails in place of the client's own: in a failed transaction, or since the text
      // does not parse any more.
      this.#passAlways(framer)
    }
    this.#failed(head)
  }

  /**
   * Is this an error that a new Parse heals? Then nobody sees it, and the exchange is sent again behind
   * its end.
   */
  #heals(bytes: Buffer, ref: NamedStatement): boolean {
    const talk = this.#talk
    const replies = this.#replies
    const { healing, statements } = talk
    const { id } = ref.definition
    const fault = faultOf(bytes)
    if (fault === Fault.None) return false
    if (fault === Fault.Lost) statements.delete(id)
    else statements.markOutgrown(id)
    if (this.lessee === null || !healing.cures(fault, ref, replies.size)) return false
    statements.delete(id)
    healing.isArmed = false
    healing.isPending = true
    healing.error = Buffer.from(bytes)
    replies.skipToSync(() => {})
    const again = internalExchange('healing', false, () => this.#events.onHealed())
    replies.replaceHead(Reply.Sync | Fate.Internal, again)
    return true
  }

  /** What the error did to the queue. */
  #failed(head: number): void {
    const talk = this.#talk
    const kind = head & REPLY_KIND
    const wasCopyIn = talk.copy === Copy.In
    if (wasCopyIn) {
      talk.needsFence = talk.isDoubtful = this.#hasDoubtful()
      // It may have eaten messages that were to change the unnamed statement.
      talk.unnamedOf = null
    }
    talk.copy = Copy.None
    if (kind === Reply.Query || kind === Reply.FunctionCall) return
    const ref = this.#replies.headRef
    // The failing entry itself: a Parse of the unnamed statement that reached Postgres drops it (RULES 15).
    if (ref instanceof UnnamedParse) {
      this.lessee?.session.setUnnamed(null)
      this.#replies.shift()
    }
    this.#replies.skipToSync((code, dropped) => this.#onDropped(code, dropped))
    if (this.#replies.isSkipping) talk.isBatchOpen = true
  }

  #hasDoubtful(): boolean {
    for (let place = 0; place < this.#replies.size; place++) {
      if ((this.#replies.at(place) & Fate.Doubtful) !== 0) return true
    }
    return false
  }

  /** Postgres never came to this message, or refused it. */
  #onDropped(code: number, ref: unknown): void {
    const session = this.lessee?.session
    if (ref instanceof NamedParse || ref instanceof NamedClose) session?.statements.withdraw(ref.change)
    else if (ref instanceof UnnamedParse) {
      session?.giveBack(ref.unnamed)
      this.#talk.unnamedOf = null
    } else if (ref === UNNAMED_CLOSE || ref instanceof UnnamedFix) this.#talk.unnamedOf = null
    const kind = code & REPLY_KIND
    if (kind === Reply.Query || kind === Reply.FunctionCall) {
      if ((code & Fate.Internal) === 0) this.#talk.exchanges--
      this.#talk.unnamedOf = null
    }
  }

  #emitRenamed(bytes: Buffer, ref: NameFix | NamedStatement): void {
    const isFix = ref instanceof NameFix
    const from = isFix ? ref.serverName : ref.definition.name
    const to = isFix ? ref.clientName : ref.name
    if (parseErrorResponse(bytes, 0, bytes.length).message.length > NAME_LENGTH_MAX)
      this.#emit(Buffer.from(bytes))
    else this.#emit(replaceName(bytes, from, Buffer.from(to, 'latin1')))
  }

  #notification(framer: Framer): void {
    // Only its own client may see it: in modes that share servers that is one that is pinned because it
    // listens.
    const session = this.lessee?.session
    if (session !== undefined && (session.pins.has('listen') || session.pins.has('session')))
      this.#passAlways(framer)
  }

  #parameterStatus(framer: Framer): void {
    const { src, start, stop } = framer
    const nameStop = src.indexOf(0, start + 5)
    const valueStop = src.indexOf(0, nameStop + 1)
    if (framer.rest > 0 || nameStop < 0 || valueStop < 0 || valueStop >= stop) {
      this.#violation('a broken ParameterStatus')
      return
    }
    const name = src.toString('latin1', start + 5, nameStop)
    const value = src.toString('latin1', nameStop + 1, valueStop)
    this.#events.onSetting(name, value)
    const head = this.#replies.head
    if (this.lessee === null || head === 0 || (head & (Fate.Internal | Fate.Swallow)) !== 0) return
    if (!isCarried(name) && name !== 'in_hot_standby') this.lessee.session.pins.add('session_authorization')
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

function isFence(replies: Replies): boolean {
  return (replies.head & Fate.Internal) !== 0 && (replies.headRef as InternalExchange).name === FENCE
}
