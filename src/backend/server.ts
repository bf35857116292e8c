// One connection to Postgres: its life from login to close, and the lease of the client it works for. It owns
// the stream and the Talk; requests.ts and answers.ts do the two directions, leave.ts what follows when a
// client goes. It never decides who gets it next: that is the pool's.
import type { LeasedServer, Departure, Lessee } from '../pool/lease.ts'
import { Reply } from '../pool/replies.ts'
import type { Refusal, ServerState } from '../pool/types.ts'
import { parametersOf } from '../session/baseline.ts'
import { carriedOf, type Settings } from '../session/settings.ts'
import type { PeerInfo, SecurableStream, StreamHandler } from '../wire/byte-stream.ts'
import { Found, Framer } from '../wire/framer.ts'
import { READY_IDLE, TERMINATE } from '../wire/messages.ts'
import { FromClient, SERVER_RULES } from '../wire/protocol.ts'
import { Answers, type AnswerEvents } from './answers.ts'
import { Cancels } from './cancels.ts'
import { check, inspect } from './inspection.ts'
import type { InternalExchange } from './internal.ts'
import type { Lane } from './lane.ts'
import { type Leaving, isOverdue, leave, settleLeaving, undoingOf } from './leave.ts'
import { Login, type LoginEvents, type LoginResult } from './login.ts'
import { BLOCK_IN_STATEMENT_MODE, lossOf, notOpened, unfit } from './loss.ts'
import { Output } from './output.ts'
import { Requests } from './requests.ts'
import { prepare } from './preparing.ts'
import { endsOverPins } from './pinning.ts'
import { isReadBackDue, readBack } from './read-back.ts'
import type { ServerParts } from './route.ts'
import { bringSettings, takeSetting } from './server-settings.ts'
import { Talk } from './talk.ts'
import { beginWitness, isUsedUp } from './witness.ts'
import { VirtualChannels } from './virtual-channels.ts'

/** Longest message that is read whole (errors, notices, parameters); longer ones are passed on in pieces. */
const WHOLE_MAX = 1024 * 1024
const PREFIX_MAX = 4096

export class Server implements LeasedServer, StreamHandler, LoginEvents, AnswerEvents {
  state: ServerState = 'opening'
  readonly baseline: string
  readonly parts: ServerParts
  readonly talk: Talk
  openedAt = 0
  idleSince: number
  isRetired = false
  isUnseen = false
  /** All parameters that it told at its login, one character a byte. */
  parameters: ReadonlyMap<string, string> = new Map()
  pid = 0
  /** Set while a client that has gone is being cleaned up after. */
  leaving: Leaving | null = null
  /** When the present step (login, test) must be over, 0 for never. */
  deadline: number
  out!: Output
  lessee: Lessee | null = null
  /** Its lessee, while it works for several clients at once. */
  lane: Lane | null = null
  isConnected = false // Until Postgres has closed as well.
  #stream: SecurableStream | null = null
  #login: Login | null
  #framer = new Framer(SERVER_RULES, WHOLE_MAX, PREFIX_MAX)
  #answers: Answers
  #requests!: Requests
  #isHolding = false
  #lastWords: Buffer | null = null
  #isGone = false
  readonly cancels: Cancels

  constructor(parts: ServerParts, baseline: string, extra: ReadonlyMap<string, string> | null = null) {
    this.parts = parts
    this.baseline = baseline
    this.talk = new Talk(parts.time, parts.clock)
    this.#answers = new Answers(this.talk, this)
    if (parts.route.mode !== 'session') this.talk.channels = new VirtualChannels(this)
    this.cancels = new Cancels(this.talk, parts.route, (isCertain) => this.#onCancelOver(isCertain))
    this.idleSince = parts.time.now
    this.deadline = parts.time.now + parts.route.connectTimeoutMs
    parts.counters.serverOpens++
    const parameters = parametersOf(baseline)
    if (extra !== null) for (const [name, value] of extra) parameters.set(name, value)
    this.#login = new Login(parts, parameters, this)
  }

  get settings(): Settings | null {
    return this.talk.settings
  }

  get isMidMessage(): boolean {
    return this.#framer.rest > 0
  }

  /** Null: there is none yet. */
  get peer(): PeerInfo | null {
    return this.#stream?.peer ?? null
  }

  // ---- login ----

  onLoggedIn(result: LoginResult): void {
    const { route, table } = this.parts
    this.#login = null
    this.#stream = result.stream
    this.isConnected = true
    result.stream.handler = this
    this.parameters = this.talk.parameters = result.parameters
    this.pid = this.talk.pid = result.pid
    this.cancels.target = { pid: result.pid, key: result.key, isEncrypted: result.stream.peer.encrypted }
    this.talk.reported = carriedOf(result.parameters)
    this.talk.settings = this.talk.loginSettings = table.of(this.talk.reported)
    this.out = new Output(result.stream, this.parts.counters)
    this.#requests = new Requests({ server: this, mode: route.mode, limits: route })
    prepare(this, (problem) => {
      this.deadline = 0
      if (problem === null) this.parts.owner.onOpened(this)
      else this.#gone(problem)
    })
  }

  onLoginFailed(refusal: Refusal, isFinal: boolean): void {
    this.#login = null
    this.#isGone = true
    this.parts.counters.serverOpenFailures++
    this.parts.owner.onOpenFailed(this, { refusal, isFinal })
  }

  // ---- the lease ----

  lease(lessee: Lessee): void {
    const { talk } = this
    this.lessee = lessee
    this.#answers.lessee = lessee
    this.#requests.session = lessee.session
    talk.leased(lessee.session.watch)
    this.parts.counters.assignments++
    this.isUnseen = this.parts.route.mode !== 'session'
    beginWitness(talk, lessee.session, this.parts.route)
    if (this.isUnseen) bringSettings(this, lessee)
  }

  send(framer: Framer): number {
    const sent = this.#requests.send(framer)
    const { type } = framer
    if (sent === 1) this.#isHolding = true
    else if (type === FromClient.Flush || type === FromClient.CopyDone || type === FromClient.CopyFail) {
      this.#answers.drainInserts()
      this.#answers.flush()
    }
    return sent
  }

  sendBody(framer: Framer): void {
    this.#requests.sendBody(framer)
  }

  flush(): boolean {
    return this.out.flush()
  }

  pause(): void {
    this.#stream?.pause()
  }

  resume(): void {
    this.#answers.isBlocked = false
    this.#stream?.resume()
  }

  abandon(how: Departure): void {
    if (this.#isGone) return
    const undoing = undoingOf(this.parts.route.mode, this.talk, this.lessee?.session)
    this.#dropLessee()
    this.resume()
    this.cancels.exchangeEnded() // One not sent yet is wanted by nobody now.
    leave(this, how, undoing)
    this.settle()
  }

  /** What the client that has gone has left to be done has no more time. */
  hurry(): void {
    this.lane?.hurry()
    if (this.leaving !== null) this.leaving.deadline = Math.min(this.leaving.deadline, this.talk.time.now)
  }

  /** The client's part in it is over: what still comes for it is swallowed. */
  #dropLessee(): void {
    this.talk.channels?.dropped()
    this.lessee = this.lane = null
    this.#answers.lessee = null
    this.#requests.session = null
    this.#isHolding = false
  }

  giveBack(): void {
    this.#dropLessee()
    this.release()
  }

  // ---- cancel ----

  cancel(onOver: () => void): void {
    this.cancels.ask(this.#isHolding, onOver)
  }

  #onCancelOver(isCertain: boolean): void {
    // It may still arrive: this server must not work for anybody else.
    if (!isCertain) this.isRetired = true
    this.settle()
  }

  // ---- the pool's wishes ----

  test(): void {
    this.#examine(check)
  }

  inspect(): void {
    this.#examine(inspect)
  }

  #examine(look: typeof inspect): void {
    this.deadline = this.talk.time.now + this.parts.route.connectTimeoutMs
    look(this, (leak) => {
      this.deadline = 0
      if (leak === null) this.#gone('the check of an idle server failed')
      else if (leak === '') this.parts.owner.onTested(this)
      else this.parts.owner.onLeak(this, leak)
    })
    this.out.flush()
  }

  close(reason: string): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#login?.cancel(reason)
    const stream = this.#stream
    if (stream !== null) {
      if (this.talk.restOut === 0 && this.talk.copy === 0) stream.end(TERMINATE)
      else stream.destroy(reason)
    }
    // What came in front of the end is the client's: what follows must not stand in the middle of a row.
    this.#answers.flush()
    const loss = this.lessee === null ? null : lossOf(this, reason, this.#lastWords, this.isMidMessage)
    const { lessee } = this
    if (lessee !== null) this.#dropLessee() // Before its login is over there is nothing to drop it from.
    this.cancels.serverGone()
    this.parts.counters.closes.add([reason])
    this.parts.owner.onClosed(this, reason)
    if (loss !== null) lessee?.onServerLost(loss)
  }

  /** Time has passed. */
  tick(now: number): void {
    if (this.#login !== null && now > this.deadline) this.#login.timeOut()
    else if (this.deadline > 0 && now > this.deadline) this.#gone('Postgres did not answer in time')
    this.cancels.tick(now)
    this.talk.channels?.tick(now)
    if (!this.#isGone && isOverdue(this, now)) this.cancels.want()
  }

  // ---- the stream ----

  onData(chunk: Buffer): void {
    const framer = this.#framer
    this.parts.counters.bytesFromServers += chunk.length
    this.talk.readAt = this.parts.clock.now()
    framer.push(chunk)
    for (;;) {
      const found = framer.next()
      if (found === Found.Nothing) break
      if (found === Found.Invalid) this.onViolation(`Postgres sent an ${framer.problem}`)
      else if (this.lane !== null && this.talk.replies.head === Reply.Shared) this.lane.take(framer, found)
      else this.#answers.take(framer, found)
      if (this.#isGone) return
    }
    this.lane?.flush()
    this.#answers.flush()
    if (this.#answers.isBlocked && this.lessee !== null) this.#stream?.pause()
    if (this.talk.replies.size === 0 && !framer.atBoundary) this.#onHalfMessage()
    else if (this.deadline > 0 && this.state === 'active') this.deadline = 0
    this.settle()
  }

  /** A message that nothing asked for has begun: its rest would be taken for the next answer. */
  #onHalfMessage(): void {
    if (this.state === 'idle') this.#gone('half a message on an idle server')
    else if (this.deadline === 0) this.deadline = this.talk.time.now + this.parts.route.connectTimeoutMs
  }

  onDrain(): void {
    this.lessee?.onServerDrain()
  }

  onEnd(): void {
    this.#gone('Postgres closed the connection')
  }

  onClose(reason: string): void {
    this.isConnected = false
    this.#gone(reason)
    this.parts.owner.onGone(this)
  }

  onLastWords(bytes: Buffer): void {
    this.#lastWords = bytes
    this.#gone('Postgres ended the connection')
  }

  onViolation(what: string): void {
    this.parts.warn(what)
    this.#framer.rest = 0 // Nothing of what is wrong has reached the client.
    this.#gone('protocol violation')
  }

  onGuardFailed(exchange: InternalExchange): void {
    this.#answers.flush()
    const { lessee } = this
    if (lessee !== null) {
      const loss = unfit(this, exchange)
      this.#dropLessee()
      lessee.onServerLost(loss)
    }
    this.close('settings diff failed')
  }

  onSetting(name: string, value: string): void {
    takeSetting(this, name, value)
  }

  onHealed(): void {
    const { talk, lessee } = this
    // Counted anew when it is sent.
    talk.again()
    const bytes = talk.healing.take()
    if (lessee === null || this.#requests.resend(bytes)) return
    lessee.deliver(talk.healing.error)
    lessee.deliver(READY_IDLE)
  }

  onExchangeEnd(): void {
    this.talk.exchangeEnded(this.parts)
    this.cancels.exchangeEnded()
  }

  onBlock(): boolean {
    if (this.parts.route.mode !== 'statement') return false
    this.close(BLOCK_IN_STATEMENT_MODE)
    return true
  }

  #gone(reason: string): void {
    if (this.#isGone || this.#login !== null) return
    if (this.state === 'opening') {
      this.#isGone = true
      this.#stream?.destroy(reason)
      this.parts.owner.onOpenFailed(this, notOpened(this, reason, this.#lastWords))
      return
    }
    this.#stream?.destroy(reason)
    this.close(reason)
  }

  /** After each event: does the lease end, may what was held go on, is the clean-up over? */
  settle(): void {
    if (this.#isGone) return
    const { talk, lessee } = this
    this.cancels.settle()
    if (this.leaving !== null) {
      settleLeaving(this, this.#framer.atBoundary)
      this.out.flush()
      return
    }
    if (lessee === null || endsOverPins(this, lessee)) return
    if (this.lane?.settle() === true) return
    if (talk.needsFence) this.#requests.fenceIfCertain()
    talk.channels?.settle(lessee.session)
    if (this.#isHolding && talk.mayGoOn) {
      this.#isHolding = false
      lessee.onServerContinue()
      if (this.lessee !== lessee) return
      this.cancels.settle()
    }
    if (isReadBackDue(talk, lessee.session)) readBack(this, lessee.session)
    if (endsOverPins(this, lessee)) return
    if (!talk.isFree || !this.#framer.atBoundary || this.#isHolding) return
    if (this.parts.route.mode === 'session' || lessee.session.isBound) return
    this.#dropLessee()
    // The client has its whole answer, if not read yet: the next one must not wait for it.
    if (this.#answers.isBlocked) this.resume()
    // The client first: once the server is back in its pool it may be somebody else's at once.
    lessee.onLeaseEnd()
    this.release()
  }

  /** Clean and free: back to the pool. */
  release(): void {
    this.cancels.exchangeEnded() // What a client left behind has ended by itself.
    if (isUsedUp(this.talk, this.parts.route)) this.isRetired = true
    this.talk.lostSetup = false
    this.leaving = null
    this.parts.owner.onReleased(this)
  }
}
