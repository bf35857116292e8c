// One client that has logged in: reads its messages, takes a server when it needs one, gives its answers
// back. It owns the client's stream and what it has not handed over yet. It never touches a server that is
// not leased to it.
import { type Departure, type LeasedServer, type Lessee, Sent, type ServerLoss } from '../pool/lease.ts'
import type { Refusal, Waiter } from '../pool/types.ts'
import type { Settings } from '../session/settings.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { ByteStream, StreamHandler } from '../wire/byte-stream.ts'
import { errorResponse } from '../wire/error-response.ts'
import { Found, Framer } from '../wire/framer.ts'
import { READY_IDLE } from '../wire/messages.ts'
import { CLIENT_RULES, FromClient } from '../wire/protocol.ts'
import { endOf } from './goodbye.ts'
import { Held } from './held.ts'
import { answerLoss } from './loss-answers.ts'
import { needsServer } from './needs-server.ts'
import { cancelled, malformed, SHUTDOWN, tooLong } from './refusals.ts'
import type { ClientHouse, ClientParts, PoolAccess, Visitor } from './types.ts'
import { act, isBetween, Watch } from './watch.ts'

/** Longest Query, Parse, Describe or Close that is read whole. */
const WHOLE_MAX = 256 * 1024
/** Of a longer one, and of Bind, this much is looked at. */
const PREFIX_MAX = 16 * 1024

export class Client implements StreamHandler, Lessee, Waiter<LeasedServer> {
  readonly stream: ByteStream
  readonly session: VirtualSession
  readonly access: PoolAccess
  readonly visitor: Visitor
  baseline: string
  readonly #usualBaseline: string
  readonly pid: number
  lastServer: LeasedServer | null = null
  waitingSince = 0
  waitDeadline = 0
  passedOver = 0
  isWaiting = false
  readonly isProbe = false
  server: LeasedServer | null = null
  isGone = false
  readonly #house: ClientHouse
  readonly #framer = new Framer(CLIENT_RULES, WHOLE_MAX, PREFIX_MAX)
  readonly #held = new Held()
  /** Messages are dropped up to the next Sync, whose ReadyForQuery is ours. */
  #isSkipping = false
  /** The rest of the message's body goes to the server (else it is dropped). */
  #sendsBody = false
  /** What the message that is held, or handled now, is answered instead of getting a server. */
  #refusal: Refusal | null = null
  #isServerFull = false
  /** It has not taken its last answer, so no more is read from it: further answers would be kept here. */
  #isUnread = false
  /** Why it has to go at the next boundary of a transaction. */
  #farewell: Refusal | null = null
  #endDeadline = 0
  readonly watch: Watch
  /** It works on a server that nobody else has (replication). */
  readonly hasOwnServer: boolean

  constructor(stream: ByteStream, parts: ClientParts, ownServer: LeasedServer | null) {
    this.stream = stream
    this.session = parts.session
    this.access = parts.access
    this.visitor = parts.visitor
    this.baseline = this.#usualBaseline = parts.baseline
    this.pid = parts.pid
    this.#house = parts.house
    this.watch = new Watch(parts.house.time.now, parts.access.cancelTimeoutMs)
    this.hasOwnServer = ownServer !== null
    if (ownServer !== null) {
      this.server = ownServer
      ownServer.lease(this)
    }
  }

  get wantedSettings(): Settings | null {
    return this.session.settings
  }

  // ---- the client's stream ----

  onData(chunk: Buffer): void {
    this.watch.lastDataAt = this.#house.time.now
    this.access.counters.bytesFromClients += chunk.length
    if (this.#held.isHolding) {
      this.#held.add(chunk)
      if (this.#held.isFull) this.stream.pause()
      return
    }
    this.#framer.push(chunk)
    this.#pump()
  }

  onDrain(): void {
    this.watch.blockedSince = 0
    this.server?.resume()
    if (!this.#isUnread) return
    this.#isUnread = false
    this.#resumeStream()
  }

  /** The client will send no more. What it asked for is answered, as Postgres would, but not for long. */
  onEnd(): void {
    const isDone = this.#held.isHolding ? !this.#held.saysGoodbye : this.server?.talk.isOwing !== true
    if (isDone) this.leave('lost', 'the client closed the connection')
    else this.#endDeadline = this.#house.time.now + this.#house.limits.abandonGraceMs
  }

  onClose(reason: string): void {
    this.leave('lost', reason)
  }

  // ---- messages ----

  #pump(): void {
    const framer = this.#framer
    for (;;) {
      const found = framer.next()
      if (found === Found.Nothing) break
      if (found === Found.Body) {
        if (this.#sendsBody && this.server !== null) this.server.sendBody(framer)
        continue
      }
      if (found === Found.Invalid) {
        this.fatal(malformed(framer.type, framer.problem), null, 'lost')
        return
      }
      if (!this.#onMessage()) {
        this.#flushServer()
        return
      }
    }
    this.#flushServer()
  }

  #flushServer(): void {
    const { server } = this
    if (server === null || server.flush() || this.isGone) return
    this.#isServerFull = true
    this.stream.pause()
  }

  /** @returns false when reading must stop. */
  #onMessage(): boolean {
    const framer = this.#framer
    const type = framer.type
    this.#sendsBody = false
    if (type === FromClient.Terminate) {
      this.leave('terminated', 'the client said goodbye')
      return false
    }
    if (this.#isSkipping) {
      if (type === FromClient.Sync) {
        this.#isSkipping = false
        this.#say(READY_IDLE)
      }
      return true
    }
    let { server } = this
    if (server === null) {
      if (!needsServer(type)) {
        // Nothing is in flight, so the answer is in order.
        if (type === FromClient.Sync) this.#say(READY_IDLE)
        return true
      }
      server = this.#acquire()
      if (server === null) return this.#withoutServer(type)
    }
    const sent = server.send(framer)
    if (sent === Sent.Elsewhere) {
      this.#letGo()
      server.giveBack()
      this.baseline = this.session.strictBaseline ?? this.baseline
      return this.#onMessage()
    }
    if (sent === Sent.Hold) {
      this.#hold()
      return false
    }
    if (sent === Sent.Refuse) {
      this.fatal(tooLong(), null, 'lost')
      return false
    }
    this.#sendsBody = true
    return true
  }

  #acquire(): LeasedServer | null {
    if (this.#refusal !== null) return null
    // Already now: it may be granted or refused before `acquire` returns.
    this.isWaiting = true
    const server = this.access.pool.acquire(this)
    if (server !== null) {
      this.isWaiting = false
      this.#lease(server)
    }
    return this.server
  }

  /** No server for this message: it waits, or is refused. */
  #withoutServer(type: number): boolean {
    const refusal = this.#refusal
    if (refusal === null) {
      this.#hold()
      return false
    }
    this.#refusal = null
    this.#house.onRefused(this.visitor, refusal)
    // A login that Postgres refused is the end of that login, not of this client.
    this.#say(errorResponse({ ...refusal, severity: 'ERROR' }))
    if (type === FromClient.Query || type === FromClient.FunctionCall) this.#say(READY_IDLE)
    else this.#isSkipping = true
    return true
  }

  /** An answer of our own. Whoever does not read those is not read either: a million Syncs cost no memory. */
  #say(bytes: Buffer): void {
    if (this.deliver(bytes)) return
    this.#isUnread = true
    this.stream.pause()
  }

  /** The message given out last, and what follows it, waits. */
  #hold(): void {
    this.#held.start(this.#framer.unread())
    if (this.#held.isFull) this.stream.pause()
  }

  #resumeHeld(): void {
    if (!this.#held.isHolding || this.isGone) return
    const wasFull = this.#held.isFull
    this.#framer.push(this.#held.take())
    this.#pump()
    if (wasFull) this.#resumeStream()
  }

  // ---- waiting ----

  onGrant(server: LeasedServer): void {
    this.isWaiting = false
    this.access.counters.waits.record(Math.max(0, this.#house.time.now - this.waitingSince))
    this.#lease(server)
    this.#resumeHeld()
  }

  onRefuse(refusal: Refusal): void {
    this.#refusal = refusal
    if (!this.isWaiting) return
    this.isWaiting = false
    this.#resumeHeld()
  }

  #lease(server: LeasedServer): void {
    this.server = server
    this.watch.leased()
    server.lease(this)
  }

  // ---- the server ----

  deliver(bytes: Buffer): boolean {
    this.access.counters.bytesToClients += bytes.length
    if (this.stream.write(bytes)) return true
    if (this.watch.blockedSince === 0) this.watch.blockedSince = this.#house.time.now
    return false
  }

  onServerContinue(): void {
    this.#resumeHeld()
  }

  onServerDrain(): void {
    if (!this.#isServerFull) return
    this.#isServerFull = false
    this.#resumeStream()
  }

  onLeaseEnd(): void {
    this.#letGo()
    this.watch.idleSince = this.#house.time.now
    if (this.watch.blockedSince > 0) {
      this.#isUnread = true
      this.stream.pause()
    }
    if (this.#farewell !== null) this.fatal(this.#farewell)
    else if (this.#endDeadline > 0) this.leave('terminated', 'the client closed the connection')
  }

  onServerLost(loss: ServerLoss): void {
    this.#letGo()
    this.session.statements.withdrawAll()
    this.watch.idleSince = this.#house.time.now
    if (loss.isMidMessage) {
      this.leave('lost', 'the server was lost in the middle of an answer')
      this.stream.destroy('the server was lost in the middle of an answer')
      return
    }
    const { refusal, lastWords } = loss
    if (loss.isFatal || this.hasOwnServer) {
      this.fatal({ ...refusal, severity: 'FATAL' }, lastWords)
      return
    }
    if (loss.isUnfit && loss.exchanges === 0 && !loss.isBatchOpen) {
      this.#refusal = { ...refusal, severity: 'ERROR' }
      this.#resumeHeld()
      return
    }
    this.#house.onRefused(this.visitor, refusal)
    answerLoss(this.stream, loss)
    this.#isSkipping = loss.isBatchOpen
    this.#resumeHeld()
  }

  #resumeStream(): void {
    if (!this.#isServerFull && !this.#isUnread && !this.#held.isFull && !this.isGone) this.stream.resume()
  }

  #letGo(): void {
    this.server = null
    this.baseline = this.#usualBaseline
    this.#sendsBody = false
    this.onServerDrain()
  }

  // ---- from outside ----

  cancelRequest(onOver: () => void): void {
    if (this.isWaiting) {
      this.access.pool.leave(this)
      this.onRefuse(cancelled())
      onOver()
    } else if (this.server !== null) this.server.cancel(onOver)
    else onOver()
  }

  /** Goes at the next boundary of a transaction: the pooler stops, or there is nothing for it here now. */
  drain(farewell: Refusal = SHUTDOWN): void {
    this.#farewell = farewell
    this.#drainIfIdle()
  }

  #drainIfIdle(): void {
    const farewell = this.#farewell
    if (farewell === null || this.isGone) return
    // When the pooler stops, who waits is served before; elsewhere nothing is begun any more.
    if (this.isWaiting && farewell === SHUTDOWN && !this.access.pool.isPaused) return
    if (isBetween(this.server)) this.fatal(farewell)
  }

  /** Ends the connection with this error, or silently where that would stand inside a message. */
  fatal(refusal: Refusal, bytes: Buffer | null = null, how: Departure = 'cut'): void {
    if (this.isGone) return
    this.#house.onRefused(this.visitor, refusal)
    const isMidMessage = this.server?.isMidMessage === true
    if (!isMidMessage) this.stream.write(bytes ?? errorResponse({ ...refusal, severity: 'FATAL' }))
    this.leave(how, refusal.reason)
    if (isMidMessage) this.stream.destroy(refusal.reason)
  }

  /** The client goes, or is made to go. */
  leave(how: Departure, reason: string): void {
    if (this.isGone) return
    this.isGone = true
    if (this.isWaiting) this.access.pool.leave(this)
    this.isWaiting = false
    this.#held.take()
    const { server } = this
    this.server = null
    if (this.hasOwnServer) server?.close('its client has gone')
    else server?.abandon(how)
    this.session.dispose()
    endOf(this.stream, how, reason)
    this.#house.onLeft(this, reason)
  }

  /** Time has passed. */
  tick(now: number): void {
    if (this.isGone) return
    const limits = this.access.clientLimits
    if (this.watch.dueBlocked(now, limits)) {
      this.leave('cut', 'client_write_timeout')
      this.stream.destroy('client_write_timeout')
      return
    }
    if (this.#endDeadline > 0 && !this.#held.isHolding) {
      if (now > this.#endDeadline || this.server?.talk.isOwing !== true) {
        this.leave('cut', 'the client closed the connection')
        return
      }
    }
    this.#drainIfIdle()
    // While we do not read from it, its silence is ours.
    if (this.#isServerFull || this.#held.isHolding || this.watch.blockedSince > 0) this.watch.lastDataAt = now
    const { server } = this
    if (server !== null) act(this, this.watch.dueLeased(now, limits, server.talk, this.hasOwnServer), server)
    else if (this.isWaiting) this.watch.remind(this, now, limits)
    else act(this, this.watch.dueIdle(now, limits), null)
  }
}
