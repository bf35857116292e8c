// A server that works for several clients at once: their exchanges one behind the other, each answered up to
// its own ReadyForQuery. It is the lessee of its server while it lasts, and owns what is in flight there. It
// never lets a byte of one exchange reach the client of another, and never runs an exchange again of which a
// byte was handed on.
import type { Lessee, ServerLoss } from '../pool/lease.ts'
import { Reply, REPLY_KIND } from '../pool/replies.ts'
import type { Settings } from '../session/settings.ts'
import type { Registry } from '../session/registry.ts'
import type { Definition } from '../session/statements.ts'
import { VirtualSession } from '../session/virtual-session.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Framer } from '../wire/framer.ts'
import { READY_IDLE } from '../wire/messages.ts'
import type { Server } from './server.ts'
import { LaneAnswers, type LaneEvents } from './lane-answers.ts'
import { sharedCancelled } from './refusals.ts'
import { takeDefault } from './server-settings.ts'
import { readParameter } from './session-effects.ts'
import type { SharedExchange, WorksOff } from './shared-exchange.ts'
import { prepareShared } from './shared-prepare.ts'

/** What a lane tells of itself. */
export interface LaneOwner {
  /** It may take exchanges. */
  onLaneOpen(lane: Lane): void
  /** So many exchanges, the last of this shape, have come back `ms` after the first of them was its turn. */
  onRan(lane: Lane, shape: Shape, ms: number, count: number): void
  /** Some of its exchanges have ended. */
  onLaneRoom(lane: Lane): void
  /** It takes no more. @param reason of the closed list of `Demotion` */
  onLaneShut(lane: Lane, reason: string): void
  /** An exchange has to run once more. */
  onSentAgain(exchange: SharedExchange, reason: string): void
}

/** States of a lane, each only after those before. */
const State = { Opening: 0, Open: 1, Shut: 2, Over: 3 } as const

export class Lane implements Lessee, LaneEvents, WorksOff {
  readonly session: VirtualSession
  readonly isProbe = false
  /** Its clients' settings; the server's are the same, but read only. */
  readonly settings: Settings
  server: Server | null = null
  /** When the first exchange in flight became the first, in ms of a fine clock; 0: nothing is in flight. */
  headSince = 0
  /** While nothing is in flight: since when. */
  restsSince = 0
  /** Most exchanges in flight at once since `peakSince`. */
  peak = 0
  peakSince = 0
  #state: number = State.Opening
  readonly #owner: LaneOwner
  readonly #clock: () => number
  #answers: LaneAnswers | null = null
  /** What the statement is of that was brought last. */
  #brought: Shape | null = null

  constructor(owner: LaneOwner, settings: Settings, registry: Registry, clock: () => number) {
    this.#owner = owner
    this.#clock = clock
    this.settings = settings
    this.session = new VirtualSession(settings.with('default_transaction_read_only', 'on'), registry)
    this.session.isLane = true
  }

  get isOpen(): boolean {
    return this.#state === State.Open
  }

  get isOver(): boolean {
    return this.#state === State.Over
  }

  /** Exchanges in flight. */
  get depth(): number {
    return this.server === null ? 0 : this.server.talk.replies.size
  }

  /** Its server is there; its settings are on their way. */
  begin(server: Server): void {
    this.server = server
    this.#answers = new LaneAnswers(server.talk, this)
    server.lane = this
    server.lease(this)
    server.flush()
    server.settle()
  }

  /** Sends an exchange, behind those that are in flight. @param bytes what Postgres is sent */
  append(exchange: SharedExchange, bytes: Buffer): void {
    const { talk, out } = this.server as Server
    if (talk.beganAt === 0 || talk.replies.size === 0) talk.begins()
    if (this.headSince === 0) this.headSince = this.#clock()
    talk.replies.push(Reply.Shared, exchange)
    if (talk.replies.size > this.peak) this.peak = talk.replies.size
    talk.exchanges++
    // Its unnamed statement is another from now on.
    talk.unnamedOf = null
    out.write(bytes)
    exchange.begins(this, talk.time.now)
  }

  /** A message, or more of one, of the exchange at the head. */
  take(framer: Framer, found: number): void {
    this.#answers?.take(framer, found)
  }

  /** A chunk of answers has been read. */
  flush(): void {
    const answers = this.#answers
    if (answers === null) return
    answers.flush()
    const { ended } = answers
    if (ended === 0) return
    answers.ended = 0
    const now = this.#clock()
    // What came together was worked off together.
    if (answers.lastShape !== null) this.#owner.onRan(this, answers.lastShape, now - this.headSince, ended)
    this.#nowRuns(now)
    this.#owner.onLaneRoom(this)
  }

  #nowRuns(now: number): void {
    const isAny = this.depth > 0
    this.headSince = isAny ? now : 0
    if (!isAny) this.restsSince = now
  }

  /** Brings a statement to the server; what stands behind it must not wait for that for long either. */
  bring(definition: Definition, shape: Shape): void {
    if (this.headSince === 0) this.headSince = this.#clock()
    this.#brought = shape
    prepareShared(this.server as Server, definition, (isThere) => {
      if (!isThere) shape.forbid('it cannot be prepared')
      this.#nowRuns(this.#clock())
      this.#owner.onLaneRoom(this)
    })
  }

  /** Is the statement there, as far as known as it would be if it were parsed now? */
  has(definition: Definition): boolean {
    const { statements } = (this.server as Server).talk
    if (!statements.isFresh(definition.id)) return false
    statements.touch(definition)
    return true
  }

  /** Brings a statement that is of use but not needed: none that a client has named goes for it. */
  bringIfRoom(definition: Definition, shape: Shape): void {
    const { talk, parts } = this.server as Server
    const max = parts.route.maxPreparedStatements
    const goes = talk.statements.has(definition.id) ? null : talk.statements.surplus(max - 1)
    if (goes === null || goes.references === 0) this.bring(definition, shape)
  }

  /** After each event of the server. @returns false: the lease is over */
  settle(): boolean {
    const { talk } = this.server as Server
    if (this.#state === State.Opening && talk.unconfirmed === 0 && !talk.isResetting) {
      this.#state = State.Open
      this.restsSince = this.peakSince = this.#clock()
      this.#owner.onLaneOpen(this)
    } else if (this.#state === State.Shut && talk.replies.size === 0) {
      this.session.isLane = false
      return false
    }
    return true
  }

  /** Nothing is appended any more; what is in flight goes on. */
  shut(reason: string): void {
    if (this.#state >= State.Shut) return
    this.#state = State.Shut
    this.#owner.onLaneShut(this, reason)
    this.server?.settle()
  }

  /** The same, and what stands behind the head runs elsewhere: its answers here are swallowed (RULES 21). */
  demote(reason: string): void {
    if (this.#state === State.Over || this.server === null) return
    this.shut(reason)
    if (this.server === null) return
    const { head, headRef } = this.server.talk.replies
    // It is slow to be parsed: the next lane need not try.
    if ((head & REPLY_KIND) !== Reply.Shared) this.#brought?.forbid('it cannot be prepared in time')
    for (const exchange of this.#exchanges()) if (exchange !== headRef) this.#back(exchange, reason, true)
    this.#cancelIfNobodys()
  }

  /** Its clients are gone, or go now: what runs is cancelled, and its server closed whatever came of that. */
  hurry(): void {
    this.demote('shutdown')
    const { server } = this
    server?.cancel(() => server.close('shutdown'))
  }

  /**
   * What runs and is for nobody any more is not waited for; a late cancel must not hit what is for others.
   */
  #cancelIfNobodys(): void {
    const { server } = this
    if (server === null || (server.talk.replies.head & REPLY_KIND) !== Reply.Shared) return
    if (this.#exchanges().every(({ client }) => client === null)) server.cancel(() => {})
  }

  /** All that are in flight, the head first. */
  #exchanges(): SharedExchange[] {
    const replies = this.server?.talk.replies
    const all: SharedExchange[] = []
    for (let place = 0; replies !== undefined && place < replies.size; place++) {
      if ((replies.at(place) & REPLY_KIND) === Reply.Shared) all.push(replies.refAt(place) as SharedExchange)
    }
    return all
  }

  /** The exchange runs elsewhere. */
  #back(exchange: SharedExchange, reason: string, mayShare: boolean): void {
    const client = exchange.letGo()
    if (client === null) return
    client.session.watch?.tracing?.again()
    this.#owner.onSentAgain(exchange, reason)
    client.onSharedBack(exchange.bytes, mayShare)
  }

  // ---- for its answers ----

  /** Postgres would not run it here, and nothing of its answer was handed on. */
  sendElsewhere(exchange: SharedExchange, reason: string): void {
    this.#back(exchange, reason, false)
  }

  /** Its client does not take its answer, of which there is more. */
  onBlocked(): void {
    this.demote('slow_reader')
    this.server?.pause()
  }

  onEnded(exchange: SharedExchange): void {
    this.server?.onExchangeEnd()
    exchange.letGo()?.onShared()
  }

  onStrange(what: string): void {
    this.server?.onViolation(what)
  }

  onLastWords(bytes: Buffer): void {
    this.server?.onLastWords(bytes)
  }

  /** No read has changed it: Postgres was told to take another default. */
  onParameter(framer: Framer): void {
    const parameter = readParameter(framer)
    if (this.server === null) return
    if (parameter === null) this.server.onViolation('Postgres sent a broken ParameterStatus')
    else takeDefault(this.server, ...parameter)
    this.shut('settings')
  }

  // ---- for its clients ----

  isMidMessage(exchange: SharedExchange): boolean {
    return exchange.isForwarded && this.isHead(exchange) && this.server?.isMidMessage === true
  }

  isHead(exchange: SharedExchange): boolean {
    return this.server?.talk.replies.headRef === exchange
  }

  cancel(exchange: SharedExchange, onOver: () => void): void {
    const { server } = this
    const { client } = exchange
    if (server === null || client === null) {
      onOver()
    } else if (this.isHead(exchange)) {
      this.demote('cancel')
      server.cancel(onOver)
    } else {
      exchange.letGo()
      client.session.watch?.tracing?.cut('cancelled', '57014')
      client.deliver(sharedCancelled())
      client.deliver(READY_IDLE)
      client.onShared()
      onOver()
    }
  }

  /** Its client has gone. What does not run yet is not waited for. */
  forget(exchange: SharedExchange): void {
    exchange.letGo()
    this.server?.resume()
    if (this.#state === State.Shut) this.#cancelIfNobodys()
  }

  resume(): void {
    this.server?.resume()
  }

  giveUp(): void {
    this.server?.close('query_timeout')
  }

  // ---- as the lessee of its server ----

  /** Nothing that comes outside of exchanges is anybody's. */
  deliver(_bytes: Buffer): boolean {
    return true
  }

  onServerContinue(): void {}

  onServerDrain(): void {}

  onLeaseEnd(): void {
    this.#end('over')
  }

  onServerLost(loss: ServerLoss): void {
    const all = this.#exchanges()
    const head = this.server?.talk.replies.headRef
    this.#end('server_lost')
    // Orderly: Postgres says that it ends, and does not die of what it runs (RULES 22).
    const isOrderly = loss.refusal.code === '57P01'
    for (const exchange of all) {
      if (exchange !== head || (isOrderly && !exchange.isForwarded))
        this.#back(exchange, 'server_lost', exchange !== head)
      else exchange.letGo()?.onSharedLost(lossOfHead(loss, exchange))
    }
  }

  #end(reason: string): void {
    if (this.#state < State.Shut) {
      this.#state = State.Shut
      this.#owner.onLaneShut(this, reason)
    }
    this.#state = State.Over
    this.server = null
    this.#answers = null
  }
}

/** What the client of the exchange at the head has lost: all of its answer, or what was still to come. */
function lossOfHead(loss: ServerLoss, { isForwarded }: SharedExchange): ServerLoss {
  const isMidMessage = loss.isMidMessage && isForwarded
  return { ...loss, isMidMessage, exchanges: 1, isBatchOpen: false, isFailedBatch: false }
}
