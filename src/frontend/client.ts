// One client that has logged in: reads its messages, takes a server when it needs one, gives its answers
// back. It owns the client's stream and what it has not handed over yet. It never touches a server that is
// not leased to it.
import { type Departure, type LeasedServer, type Lessee, Sent, type ServerLoss } from '../pool/lease.ts'
import type { SharedWork } from '../pool/sharing.ts'
import type { Refusal, Waiter } from '../pool/types.ts'
import type { Settings } from '../session/settings.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import type { ByteStream, StreamHandler } from '../wire/byte-stream.ts'
import { errorResponse } from '../wire/error-response.ts'
import { Found } from '../wire/framer.ts'
import { READY_IDLE } from '../wire/messages.ts'
import { FromClient } from '../wire/protocol.ts'
import { endOf, mayGo } from './goodbye.ts'
import { cancelWork } from './cancelling.ts'
import { ClientSharing } from './client-sharing.ts'
import { Inbox } from './inbox.ts'
import { answerLoss, endsOverLoss } from './loss-answers.ts'
import { needsServer } from './needs-server.ts'
import { malformed, SHUTDOWN, tooLong } from './refusals.ts'
import type { ClientHouse, ClientParts, PoolAccess, Visitor } from './types.ts'
import { keepTimes, Watch } from './watch.ts'

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
  readonly inbox: Inbox
  /** Messages are dropped up to the next Sync, whose ReadyForQuery is ours. */
  #isSkipping = false
  /** The rest of the message's body goes to the server (else it is dropped). */
  #sendsBody = false
  /** What the message that is held, or handled now, is answered instead of getting a server. */
  #refusal: Refusal | null = null
  /** Why it has to go at the next boundary of a transaction. */
  #farewell: Refusal | null = null
  #endDeadline = 0
  readonly watch: Watch
  /** It works on a server that nobody else has (replication). */
  readonly hasOwnServer: boolean
  /** Null: its pool shares no servers. */
  readonly #sharing: ClientSharing | null

  constructor(stream: ByteStream, parts: ClientParts, ownServer: LeasedServer | null) {
    this.stream = stream
    this.inbox = new Inbox(stream)
    this.session = parts.session
    this.access = parts.access
    this.visitor = parts.visitor
    this.baseline = this.#usualBaseline = parts.baseline
    this.pid = parts.pid
    this.#house = parts.house
    this.watch = new Watch(parts.house.time.now, parts.access.cancelTimeoutMs)
    this.hasOwnServer = ownServer !== null
    this.#sharing = parts.access.sharing === null ? null : new ClientSharing(this, parts.access.sharing)
    if (ownServer !== null) {
      this.server = ownServer
      ownServer.lease(this)
    }
  }

  get wantedSettings(): Settings | null {
    return this.session.settings
  }

  onData(chunk: Buffer): void {
    this.watch.lastDataAt = this.#house.time.now
    this.access.counters.bytesFromClients += chunk.length
    if (this.inbox.isHolding || this.shared !== null) {
      this.inbox.add(chunk)
      return
    }
    this.inbox.framer.push(chunk)
    this.#pump()
  }

  onDrain(): void {
    this.watch.blockedSince = 0
    this.server?.resume()
    this.shared?.resume()
    if (!this.inbox.isUnread || this.isGone) return
    this.inbox.isUnread = false
    this.inbox.resume()
    if (this.#sharing !== null && this.server === null && !this.isWaiting) this.#resumeHeld()
  }

  /** The client will send no more. What it asked for is answered, as Postgres would, but not for long. */
  onEnd(): void {
    const isWaiting = this.inbox.isHolding && this.shared === null
    const isDone = isWaiting ? !this.inbox.saysGoodbye : !this.isOwed
    if (isDone) this.leave('lost', 'the client closed the connection')
    else this.#endDeadline = this.#house.time.now + this.#house.limits.abandonGraceMs
  }

  onClose(reason: string): void {
    this.leave('lost', reason)
  }

  #pump(): void {
    const { framer } = this.inbox
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
    this.inbox.stopForServer()
  }

  /** @returns false when reading must stop. */
  #onMessage(): boolean {
    const { framer } = this.inbox
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
      if (this.#refusal === null && this.#sharing?.takes(framer) === true) {
        this.inbox.holdRest()
        return false
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
      this.session.watch?.tracing?.held()
      this.inbox.hold()
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
    this.waitingSince = 0
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
      this.inbox.hold()
      return false
    }
    this.#refusal = null
    this.session.watch?.tracing?.refused(this.inbox.framer, refusal.code)
    this.#house.onRefused(this.visitor, refusal)
    // A login that Postgres refused is the end of that login, not of this client.
    this.#say(errorResponse({ ...refusal, severity: 'ERROR' }))
    if (type === FromClient.Query || type === FromClient.FunctionCall) this.#say(READY_IDLE)
    else this.#isSkipping = true
    return true
  }

  /** An answer of our own. Whoever does not read those is not read either: a million Syncs cost no memory. */
  #say(bytes: Buffer): void {
    if (!this.deliver(bytes)) this.inbox.stopForClient()
  }

  #resumeHeld(): void {
    if (!this.inbox.isHolding || this.isGone || this.shared !== null) return
    this.inbox.open()
    this.#pump()
    if (!this.isGone) this.inbox.opened()
  }

  onGrant(server: LeasedServer): void {
    this.#waited()
    this.#lease(server)
    this.#resumeHeld()
  }

  onRoom(): void {
    if (!this.isWaiting) return
    this.access.pool.leave(this)
    this.#waited()
    this.#resumeHeld()
  }

  #waited(): void {
    this.isWaiting = false
    const ms = this.access.pool.waitedBy(this)
    this.access.times.waited(ms)
    this.session.watch?.tracing?.waited(ms)
  }

  onRefuse(refusal: Refusal): void {
    this.#refusal = refusal
    this.#sharing?.leaveQueue()
    if (!this.isWaiting) return
    this.isWaiting = false
    if (this.waitingSince > 0) this.session.watch?.tracing?.waited(this.access.pool.waitedBy(this))
    this.#resumeHeld()
  }

  #lease(server: LeasedServer): void {
    this.server = server
    this.#sharing?.onLease()
    this.watch.leased()
    server.lease(this)
  }

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
    if (!this.isGone) this.inbox.serverDrained()
  }

  onLeaseEnd(): void {
    this.#letGo()
    this.#sharing?.onLeaseEnd()
    this.#rests()
  }

  onAnswered(): void {
    this.#rests()
    if (!this.inbox.isUnread) this.#resumeHeld()
  }

  putBack(bytes: Buffer): void {
    this.inbox.putBack(bytes)
    this.#resumeHeld()
  }

  /** What it asked for last is answered. */
  #rests(): void {
    this.watch.idleSince = this.#house.time.now
    if (this.watch.blockedSince > 0) this.inbox.stopForClient()
    if (this.#farewell !== null) this.fatal(this.#farewell)
    else if (this.endDue > 0) this.leave('terminated', 'the client closed the connection')
  }

  onServerLost(loss: ServerLoss): void {
    this.#letGo()
    this.session.watch?.tracing?.cut('server_lost', loss.refusal.code)
    this.session.statements.withdrawAll()
    this.watch.idleSince = this.#house.time.now
    if (endsOverLoss(this, loss)) return
    if (loss.isUnfit && loss.exchanges === 0 && !loss.isBatchOpen) {
      this.#refusal = { ...loss.refusal, severity: 'ERROR' }
    } else {
      this.#house.onRefused(this.visitor, loss.refusal)
      answerLoss(this.stream, loss)
      this.#isSkipping = loss.isBatchOpen
    }
    this.#resumeHeld()
  }

  #letGo(): void {
    this.server = null
    this.baseline = this.#usualBaseline
    this.#sendsBody = false
    this.onServerDrain()
  }

  /** Its exchange that runs beside those of others. */
  get shared(): SharedWork | null {
    return this.#sharing === null ? null : this.#sharing.shared
  }

  /** Answers are on their way that need nothing more from it. */
  get isOwed(): boolean {
    return this.shared !== null || this.server?.talk.isOwing === true
  }

  // ---- from outside ----

  cancelRequest(onOver: () => void): void {
    if (this.isWaiting) this.access.pool.leave(this)
    cancelWork(this, onOver)
  }

  /** Goes at the next boundary of a transaction: the pooler stops, or there is nothing for it here now. */
  drain(farewell: Refusal = SHUTDOWN): void {
    this.#farewell = farewell
    this.drainIfIdle()
  }

  drainIfIdle(): void {
    const farewell = this.#farewell
    if (farewell !== null && mayGo(this, farewell)) this.fatal(farewell)
  }

  /** Ends the connection with this error, or silently where that would stand inside a message. */
  fatal(refusal: Refusal, bytes: Buffer | null = null, how: Departure = 'cut'): void {
    if (this.isGone) return
    this.#house.onRefused(this.visitor, refusal)
    this.session.watch?.tracing?.cut('closed', refusal.code)
    const isMidMessage = (this.server ?? this.shared)?.isMidMessage === true
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
    this.inbox.drop()
    this.session.watch?.tracing?.cut('client_gone', '')
    this.#sharing?.leave()
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
    if (!this.isGone) keepTimes(this, now)
  }

  /** Nothing is read from it, for reasons of ours. */
  get isStalled(): boolean {
    return this.inbox.isStopped || this.watch.blockedSince > 0
  }

  /** It has sent its last, and goes when what it asked for is answered, or then; 0: it has not. */
  get endDue(): number {
    return this.inbox.isHolding ? 0 : this.#endDeadline
  }
}
