// The sending side of a server: takes the client's messages, renames statements, injects what the server
// lacks, and notes for each what Postgres will answer. It owns nothing but the way out; the state is in Talk.
// It must never complete a message that a client left half, nor send what a client did not ask for except
// exchanges whose answers are swallowed.
import type { PoolMode } from '../config/types.ts'
import { Sent } from '../pool/lease.ts'
import { Fate, Reply, type Replies } from '../pool/replies.ts'
import type { Once, VirtualSession } from '../session/virtual-session.ts'
import { type Effects, NOT_READ, Touch } from '../sql/effects.ts'
import { Fact } from '../sql/scanner.ts'
import { Found, Framer } from '../wire/framer.ts'
import { SYNC } from '../wire/messages.ts'
import { CLIENT_RULES, FromClient, Status } from '../wire/protocol.ts'
import { internalExchange, writeEvictions, writeFence } from './internal.ts'
import type { Insight } from './insight.ts'
import { NamedRequests } from './named-requests.ts'
import type { Output } from './output.ts'
import { notePlain, shapeOfText, traceMessage } from './running.ts'
import type { Substitute } from './refs.ts'
import { refusedLength, refusedText } from './pinning.ts'
import { noBlocks, notOwnSequence, reserved } from './refusals.ts'
import { refuseMessage } from './refusing.ts'
import { type ResetTarget, writeReset } from './reset.ts'
import { mayRead } from './sequences.ts'
import { Copy, type Talk } from './talk.ts'
import { noteCall, noteEffects } from './touched.ts'
import { noteVacancy } from './vacating.ts'

/** Replies that one client may have outstanding between exchanges; beyond it, it waits. */
const PIPELINE_MAX = 4096
/** And within one batch, where waiting could last for ever: beyond it, it is refused. */
const BATCH_MAX = 1_000_000

/** Syncs that a client may send into a COPY IN, which ignores them. */
const COPY_MAX = 16_384

/** What the sending side needs of its server. */
export interface RequestParts {
  server: ResetTarget & { readonly baseline: string }
  mode: PoolMode
  /** Looked up when it counts: a reload may change it. */
  limits: { readonly maxPreparedStatements: number }
}

export class Requests {
  readonly #talk: Talk
  readonly #replies: Replies
  readonly #out: Output
  readonly #mode: PoolMode
  readonly #named: NamedRequests
  readonly #limits: RequestParts['limits']
  readonly #server: RequestParts['server']
  readonly #insight: Insight
  #session: VirtualSession | null = null

  constructor(parts: RequestParts) {
    const { talk, out } = parts.server
    this.#talk = talk
    this.#replies = talk.replies
    this.#out = out
    this.#mode = parts.mode
    this.#limits = parts.limits
    this.#server = parts.server
    this.#insight = parts.server.parts.insight
    this.#named = new NamedRequests(talk, out, this.#insight)
  }

  set session(session: VirtualSession | null) {
    this.#session = session
    this.#named.session = session
  }

  /** One message of the client. @returns one of `Sent`. */
  send(framer: Framer): number {
    const talk = this.#talk
    const type = framer.type
    if (type === FromClient.CopyData) return this.#forward(framer)
    // In a COPY IN nothing waits: the end of the COPY would wait behind it.
    if (talk.copy === Copy.In) {
      if (this.#replies.size > COPY_MAX) return Sent.Refuse
    } else if (!talk.isBatchOpen && this.#mustWait()) return Sent.Hold
    if (this.#replies.size > BATCH_MAX) return Sent.Refuse
    if (talk.beganAt === 0 || this.#replies.size === 0) talk.begins()
    talk.isFlushed = type === FromClient.Flush
    talk.healing.isArmed = false
    switch (type) {
      case FromClient.Query:
        return this.#query(framer)
      case FromClient.Sync:
        return this.#sync(framer)
      case FromClient.Flush:
        return this.#forward(framer)
      case FromClient.CopyDone:
      case FromClient.CopyFail:
        this.#replies.push(Reply.CopyEnd, null)
        return this.#forward(framer)
      case FromClient.FunctionCall:
        if (this.#mode !== 'session') noteCall(talk, framer)
        if (this.#replies.push(Reply.FunctionCall, null)) {
          talk.exchanges++
          talk.endBatch()
          talk.watch?.tracing?.query(framer, null)
        }
        return this.#forward(framer)
      default:
        return this.#extended(framer, type)
    }
  }

  /** More of the body of the message sent last. */
  sendBody(framer: Framer): void {
    this.#out.forward(framer.src, framer.start, framer.stop)
    this.#talk.restOut = framer.rest
  }

  #extended(framer: Framer, type: number): number {
    const talk = this.#talk
    this.#startBatch()
    if (type === FromClient.Parse)
      noteVacancy(this.#server.parts, framer, framer.src.indexOf(0, framer.start + 5) + 1)
    let sent: number = Sent.Taken
    if (type === FromClient.Execute) {
      this.#replies.push(Reply.Execute, talk.bound)
      talk.shape = talk.bound
      this.#forward(framer)
    } else if (this.#mode === 'session') {
      this.#replies.push(plainReply(framer), null)
      if (type === FromClient.Parse) this.#out.counters.parsesToServers++
      notePlain(talk, this.#insight, this.#session, framer)
      this.#forward(framer)
    } else if (type === FromClient.Parse) {
      sent = this.#parse(framer)
    } else {
      if (type === FromClient.Bind && this.#session?.strictBaseline != null) {
        const bound = this.#named.effectsOfBind(framer)
        if (bound !== null && this.#needsOther(bound)) return this.#elsewhere()
      }
      sent = this.#named.send(framer, type)
      if (sent === Sent.Taken) talk.restOut = framer.rest
    }
    if (sent !== Sent.Taken) return sent
    this.#keepForHealing(framer, type)
    if (talk.watch !== null) traceMessage(talk, framer)
    talk.isBatchOpen = true
    if (type === FromClient.Execute) talk.hasExecuted = true
    else if (type === FromClient.Parse) this.#out.counters.parsesFromClients++
    else if (type === FromClient.Bind) this.#out.counters.binds++
    return Sent.Taken
  }

  #keepForHealing(framer: Framer, type: number): void {
    const talk = this.#talk
    const { healing } = talk
    const isFirst = talk.isBatchOpen
      ? healing.isExpected
      : talk.status === Status.Idle && talk.exchanges === 0
    healing.isExpected = false
    if (healing.isRecording) healing.next(framer)
    else if (!isFirst) return
    else if (type === FromClient.Parse)
      healing.isExpected = this.#replies.tail === (Reply.Parse | Fate.Insert)
    else if (type === FromClient.Bind || type === FromClient.Describe) {
      healing.begin(framer, this.#replies.tailRef)
    }
  }

  #parse(framer: Framer): number {
    const talk = this.#talk
    const nameStop = framer.src.indexOf(0, framer.start + 5)
    const effects = this.#effects(framer, nameStop + 1)
    const { facts } = effects
    // With a name, too: it is mostly run in the same batch, inside which there is no other server.
    if (this.#needsOther(effects)) return this.#elsewhere()
    const isUnnamed = nameStop === framer.start + 5
    if (isUnnamed) {
      // Postgres may read it now, and run it in this exchange or another.
      const session = this.#session
      if (session !== null) {
        session.unnamedEffects = effects
        session.unnamedShape = talk.shape = shapeOfText(this.#insight, session, framer, nameStop + 1)
      }
      if (talk.mayBeInside && (facts & Fact.Ends) !== 0) talk.endsTransaction = true
    }
    if (this.#session?.mail !== null && talk.channels?.prepare(effects, false) === false) return Sent.Hold
    if (talk.unconfirmed > 0 && (facts & (Fact.Ends | Fact.Unclear)) !== 0) return Sent.Hold
    const refusal = this.#refusal(effects, isUnnamed) ?? refusedLength(this.#session, framer, nameStop)
    if (refusal !== null) {
      refuseMessage(this.#server, framer, refusal)
      talk.restOut = framer.rest
      return Sent.Taken
    }
    const sent = this.#named.parse(framer, effects)
    if (sent === Sent.Taken) talk.restOut = framer.rest
    return sent
  }

  /** RESET would go back to what the server has from its login, which is not all that the client has. */
  #needsOther(effects: Effects): boolean {
    const strict = this.#session?.strictBaseline ?? null
    if (strict === null || strict === this.#server.baseline || this.#session?.isBound === true) return false
    if ((this.#named.sql.touchesOf(effects) & Touch.Resets) === 0) return false
    const { status, isBatchOpen, exchanges } = this.#talk
    // Within a transaction there is no other server.
    return status === Status.Idle && !isBatchOpen && exchanges === 0
  }

  /** What is in flight is ours. */
  #elsewhere(): number {
    if (this.#replies.size > 0) return Sent.Hold
    // Nothing of this client has come here.
    this.#talk.touched = 0
    return Sent.Elsewhere
  }

  /** Why a text must not be sent at all. @param isRun it may run now */
  #refusal(effects: Effects, isRun: boolean): Buffer | null {
    if (this.#mode === 'statement' && (effects.facts & Fact.Begins) !== 0) return noBlocks()
    const refusal = effects.uses.length === 0 ? null : reserved(effects)
    const session = this.#session
    if (refusal !== null || !isRun || session === null || session.once !== null) return refusal
    const touches = this.#named.sql.touchesOf(effects)
    return mayRead(this.#server, session, this.#insight, touches) ? null : notOwnSequence()
  }

  /** What the text that begins there may leave behind; anything, where it is not all here. */
  #effects(framer: Framer, start: number): Effects {
    if (framer.rest > 0) return NOT_READ
    return this.#insight.ofMessage(framer.src, start, framer.stop, this.#session?.settings ?? null)
  }

  #query(framer: Framer): number {
    const talk = this.#talk
    let failure: Substitute | null = null
    if (this.#mode !== 'session') {
      const effects = this.#effects(framer, framer.start + 5)
      const { facts } = effects
      if (this.#needsOther(effects)) return this.#elsewhere()
      if (this.#session?.mail !== null && talk.channels?.prepare(effects, true) === false) return Sent.Hold
      if (talk.unconfirmed > 0 && (facts & (Fact.Ends | Fact.Unclear)) !== 0) return Sent.Hold
      const refusal =
        this.#refusal(effects, true) ?? refusedText(this.#session, this.#named.sql.touchesOf(effects))
      // Behind an error Postgres ignores it, and a Sync of ours would end that.
      if (refusal !== null && !this.#replies.isSkipping) {
        // The Sync would stand in the middle of it.
        if (framer.rest > 0) return Sent.Refuse
        refuseMessage(this.#server, framer, refusal)
        talk.watch?.tracing?.query(framer, null)
        return this.#ownSync()
      }
      const brought = this.#named.sql.forQuery(effects)
      if (brought === false) return Sent.Hold
      failure = brought
      if (talk.mayBeInside && (facts & Fact.Ends) !== 0) talk.endsTransaction = true
      if (effects.touches !== 0) noteEffects(talk, this.#session, effects)
    }
    noteVacancy(this.#server.parts, framer, framer.start + 5)
    const shape = shapeOfText(this.#insight, this.#session, framer, framer.start + 5)
    talk.shape = shape
    if (failure !== null) failure.shape = shape
    const isSent = this.#replies.push(Reply.Query, failure ?? shape)
    if (this.#session !== null) talk.changesUnnamed(this.#session, isSent)
    if (isSent) {
      talk.exchanges++
      talk.endBatch()
      talk.watch?.tracing?.query(framer, shape)
    }
    return this.#forward(framer)
  }

  #sync(framer: Framer): number {
    const talk = this.#talk
    const replies = this.#replies
    const isDoubtful = talk.copy === Copy.In && !talk.hasCopyEnd
    replies.push(isDoubtful ? Reply.Sync | Fate.Doubtful : Reply.Sync, null)
    talk.exchanges++
    talk.endBatch()
    talk.watch?.tracing?.sync()
    if (talk.healing.isRecording) talk.healing.complete(framer)
    this.#forward(framer)
    if (talk.needsFence) this.#writeFence()
    if (this.#session?.once?.isEager === true && this.#mode !== 'session') this.#reset(this.#session.once)
    return Sent.Taken
  }

  /** Right behind the one request of its session, in the same write. */
  #reset(once: Once): void {
    writeReset(this.#server, (isDone) => {
      if (isDone) once.isClean = true
      else once.onDirty()
    })
  }

  /** Sends the kept exchange once more. @returns false when nothing can be sent now. */
  resend(bytes: Buffer): boolean {
    const framer = new Framer(CLIENT_RULES, bytes.length, bytes.length)
    framer.push(bytes)
    // Nothing of it can wait for a description.
    this.#talk.asked = this.#talk.healing.definition
    while (framer.next() === Found.Message) if (this.send(framer) !== Sent.Taken) return false
    this.#talk.healing.isArmed = false
    this.#out.flush()
    return true
  }

  /** Writes the fence behind what was sent, if a Sync that no COPY can have eaten is among it. */
  fenceIfCertain(): void {
    if (this.#talk.isBatchOpen) return
    for (let place = 0; place < this.#replies.size; place++) {
      if (this.#replies.at(place) !== Reply.Sync) continue
      this.#writeFence()
      this.#out.flush()
      return
    }
  }

  #writeFence(): void {
    if (this.#session !== null) this.#session.unnamedVersion++
    writeFence(this.#talk, this.#out)
  }

  /**
   * Ends a Query that was replaced by a message that must fail: its error and ReadyForQuery are as of a
   * Query.
   */
  #ownSync(): number {
    this.#replies.push(Reply.Sync, null)
    this.#talk.exchanges++
    this.#talk.endBatch()
    this.#out.write(SYNC)
    return Sent.Taken
  }

  /** In front of a new batch: too many statements are closed, as long as nothing in flight uses them. */
  #startBatch(): void {
    const talk = this.#talk
    if (talk.isBatchOpen || talk.exchanges > 0 || this.#mode === 'session') return
    if (talk.statements.surplus(this.#limits.maxPreparedStatements) === null) return
    writeEvictions(
      talk,
      this.#out,
      this.#limits.maxPreparedStatements,
      internalExchange('evict', false, () => {}),
    )
  }

  /** A new exchange must not start now. */
  #mustWait(): boolean {
    const talk = this.#talk
    // A cancel that is under way must not hit what the client asks next.
    if (talk.healing.isPending || talk.isResetting || talk.isReadingBack) return true
    if (talk.isReadyHeld || talk.isHandingOver) return true
    if (talk.isCancelWanted && this.#replies.size > 0) return true
    return talk.cancels > 0 || this.#replies.size > PIPELINE_MAX
  }

  #forward(framer: Framer): number {
    this.#out.forward(framer.src, framer.start, framer.stop)
    this.#talk.restOut = framer.rest
    return Sent.Taken
  }
}

/** The reply to a message that is passed on as it is. */
function plainReply(framer: Framer): number {
  switch (framer.type) {
    case FromClient.Parse:
      return Reply.Parse
    case FromClient.Bind:
      return Reply.Bind
    case FromClient.Close:
      return Reply.Close
    default:
      return framer.src[framer.start + 5] === 0x53 ? Reply.DescribeStatement : Reply.DescribePortal
  }
}
