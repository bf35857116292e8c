// What pgmux knows about the conversation with one server: what it owes, its status, what state it is in.
// Plain data with one owner, Server; requests.ts writes the sending side, answers.ts the receiving side.
import type { SessionConfig } from '../config/types.ts'
import type { Counters, PoolTimes } from '../observe/counters.ts'
import type { TalkView } from '../pool/lease.ts'
import { Fate, Reply, REPLY_KIND, Replies } from '../pool/replies.ts'
import type { Settings } from '../session/settings.ts'
import type { SessionWatch } from '../session/session-watch.ts'
import { ServerStatements } from '../session/server-statements.ts'
import type { Definition } from '../session/statements.ts'
import type { VirtualSession } from '../session/virtual-session.ts'
import { Touch } from '../sql/effects.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Clock } from '../util/env.ts'
import { Status } from '../wire/protocol.ts'
import type { Blame } from './blame.ts'
import { Healing } from './healing.ts'
import { OwnNames } from './own-names.ts'
import { shapeOfRef } from './refs.ts'
import type { VirtualChannels } from './virtual-channels.ts'

/** Which kind of COPY a server is in. */
export const Copy = { None: 0, In: 1, Out: 2, Both: 3 } as const

/** Coarse time, shared by all connections: the janitor moves it on. */
export interface CoarseTime {
  now: number
}

/** Who is told of the end of each exchange. */
interface Told {
  readonly counters: Counters
  readonly times: PoolTimes
  readonly insight: { redefined(): void }
}

/** A client whose pipeline was too long goes on when no more than this is outstanding. */
const RESUME_BELOW = 1024

export class Talk implements TalkView {
  readonly replies = new Replies()
  readonly statements = new ServerStatements()
  /** What it has under names of clients. */
  readonly names = new OwnNames()
  readonly time: CoarseTime
  readonly healing = new Healing()
  /** Status byte of the last ReadyForQuery. */
  status: number = Status.Idle
  /** Reported settings as they are on the server; null before login. */
  settings: Settings | null = null
  /** What it told at its login, and a RESET brings back. */
  loginSettings: Settings | null = null
  /** Of its login, those settings that Postgres reports. */
  reported: ReadonlyMap<string, string> = new Map()
  /** `Touch` bits of what was sent since Postgres was last asked what is left (sql/effects.ts). */
  touched = 0
  /** How the last text began that touched anything. */
  touchedBy = ''
  /** Texts that may have pinned the session since; null: none. */
  blame: Blame | null = null
  /** Custom settings that were named since. */
  customTouched: Set<string> | null = null
  /** Postgres is being asked what a session has left. */
  isReadingBack = false
  /** Whose statements may have left what cannot be seen: before anybody else comes there is a reset. */
  taintedBy: VirtualSession | null = null
  /** Whose values of currval and lastval it may have. */
  sequencesOf: VirtualSession | 'many' | null = null
  /** What `session.sequences` says of this lease. */
  sequences: SessionConfig['sequences'] = 'error'
  /** Everything is asked after each transaction. */
  isWitnessed = false
  /** A custom name makes it useless for anybody else ... */
  isStrict = false
  /** ... which has come to pass. */
  isSpent = false
  /** Statements on their way to it, for several clients. */
  readonly bringing = new Set<number>()
  /** The statements of the probe are prepared. */
  hasProbes = false
  /** Number of its backend. */
  pid = 0
  /** Null in session mode. */
  channels: VirtualChannels | null = null
  /** It may listen to something for its client: nobody else gets it before that has been handed over. */
  isListening = false
  /** Channels are on their way from the server to a hub: what the client sends waits. */
  isHandingOver = false
  /** The client's last ReadyForQuery waits for notifications of its own. */
  isReadyHeld = false
  /** Nobody has used it since its login or the last reset: nothing of a session can be there. */
  isClean = true
  /** A reset is under way, without which nothing of the present client may run. */
  isResetting = false
  /** A reset took the statements of our own exchanges: they are prepared again before one is used. */
  needsSetup = false
  /** Extended messages were sent since the last Sync. */
  isBatchOpen = false
  /** The last message of the open batch was a Flush: Postgres answers what it has. */
  isFlushed = false
  /** An Execute was sent since the last Sync: it may have changed what statements the server has. */
  hasExecuted = false
  /** A description of ours is on its way, for a message that waits for it (`named-requests.ts`). */
  isAsking = false
  /** The statement that was described for that reason since the last Sync. */
  asked: Definition | null = null
  /** Number of the open batch, or of the next one. */
  batch = 0
  /** The open batch has a message that makes the server's unnamed statement the client's own. */
  isUnnamedInBatch = false
  /** Statements parsed or injected since the last Sync. */
  readonly parsedInBatch = new Set<number>()
  /** Exchanges of clients that are not answered up to their ReadyForQuery. */
  exchanges = 0
  /**
   * Internal exchanges on which the safety of what follows depends (settings diff) and that are not
   * confirmed.
   */
  unconfirmed = 0
  copy: number = Copy.None
  /** A COPY IN failed with Syncs in flight that it may or may not have eaten: count anew behind a fence. */
  needsFence = false
  /** Since then, until the fence is answered: a Sync at the head of the queue may be one that was eaten. */
  isDoubtful = false
  /** What the server told of itself at its login. */
  parameters: ReadonlyMap<string, string> = new Map()
  /** The statements of our own exchanges are gone: the server must not be used for another lease. */
  lostSetup = false
  /** The last Parse of our own that failed: its error is what a use of the statement must tell. */
  failedParse: { id: number; error: Buffer } | null = null
  /** CREATE, ALTER or DROP was done, in this transaction. */
  hasDefined = false
  /** Bytes of a client's message that are still to be handed over. */
  restOut = 0
  /**
   * Whose unnamed statement the server has for certain, and in which version, once all that was sent is
   * done; null: nobody's or unknown.
   */
  unnamedOf: VirtualSession | null = null
  unnamedVersion = 0
  /** Cancel connections aimed at this server that Postgres has not closed. */
  cancels = 0
  /** The client wants a cancel, to be sent when its own exchange is the one that runs. */
  isCancelWanted = false
  /** What runs may end the transaction: if the server is lost now, nobody knows whether it was committed. */
  endsTransaction = false
  busySince = 0
  idleSince = 0
  transactionSince = 0
  /** By the fine clock: when what was read last came, */
  readAt = 0
  /** when the exchange began that runs (0: none does), and the statement in it, and the transaction. */
  beganAt = 0
  stepAt = 0
  transactionAt = 0
  /** How long the last exchange took. */
  answeredIn = 0
  /** What the client has asked for last, and what its portal runs; null: nothing. */
  shape: Shape | null = null
  bound: Shape | null = null
  /** Of the client that has it, or had it last: what it left runs to its end. Null: nobody looks on. */
  watch: SessionWatch | null = null
  readonly #clock: Clock

  constructor(time: CoarseTime, clock: Clock) {
    this.time = time
    this.#clock = clock
  }

  /** A client has it from now on. */
  leased(watch: SessionWatch | null): void {
    this.watch = watch
    this.transactionSince = this.idleSince = this.busySince = this.time.now
    this.shape = this.bound = null
    this.beganAt = 0
  }

  /** A message is about to be sent, and nothing of the client's is in flight. */
  begins(): void {
    this.busySince = this.time.now
    this.beganAt = this.stepAt = this.#clock.now()
    if (this.isWitnessed) this.touched |= Touch.Witness
    if (this.status !== Status.Idle) return
    this.transactionSince = this.time.now
    this.transactionAt = this.beganAt
  }

  /** @returns how long the statement took that has ended */
  step(): number {
    const took = this.readAt - this.stepAt
    this.stepAt = this.readAt
    return took > 0 ? took : 0
  }

  /** A statement of the exchange has ended, which is of this shape. */
  ran(shape: Shape): void {
    const took = this.step()
    shape.ran(took)
    this.watch?.ran(shape, took, false)
  }

  /** A ReadyForQuery with this status came. */
  ready(status: number): void {
    const { now } = this.time
    this.status = status
    this.idleSince = this.busySince = now
    if ((this.replies.head & Fate.Internal) !== 0) return
    const shape = shapeOfRef(this.replies.headRef)
    if (shape !== null) this.ran(shape)
    this.answeredIn = this.beganAt === 0 ? 0 : Math.max(0, this.readAt - this.beganAt)
    this.beganAt = this.stepAt = this.replies.size > 1 ? this.readAt : 0
  }

  /** The last exchange is sent once more, and counted anew then. */
  again(): void {
    this.exchanges--
    this.watch?.tracing?.again()
  }

  /** An exchange of a client has ended. */
  exchangeEnded({ counters, times, insight }: Told): void {
    this.watch?.tracing?.ended(this, this.exchanges)
    counters.exchanges++
    // Inside a transaction the client sees it already; at its end the others do, or it is undone.
    if (this.hasDefined) {
      insight.redefined()
      this.hasDefined = this.status !== Status.Idle
    }
    times.query(this.answeredIn)
    // What else is in flight may be the COMMIT.
    if (this.exchanges === 0 && !this.isBatchOpen) this.endsTransaction = false
    if (this.status !== Status.Idle) return
    counters.transactions++
    times.transaction(this.readAt - this.transactionAt)
    this.transactionAt = this.readAt
    this.transactionSince = this.time.now
  }

  /** A message was sent behind which the next begins a batch of its own. */
  endBatch(): void {
    this.isBatchOpen = false
    this.hasExecuted = false
    this.isUnnamedInBatch = false
    this.asked = null
    if (this.parsedInBatch.size > 0) this.parsedInBatch.clear()
    if (this.names.brought.size > 0) this.names.brought.clear()
    this.batch++
  }

  /** The server's unnamed statement is what this client believes it to be. */
  hasUnnamedOf(session: VirtualSession): boolean {
    return this.unnamedOf === session && this.unnamedVersion === session.unnamedVersion
  }

  /**
   * A message was sent that changes the client's unnamed statement. Unless it is the first of its batch an
   * error may make Postgres skip it, so that what the server had before is still there: nobody's, unless it
   * was the client's.
   * @returns the version that it makes.
   */
  changesUnnamed(session: VirtualSession, isSent: boolean): number {
    const isCertain = isSent && (!this.isBatchOpen || this.hasUnnamedOf(session))
    const version = ++session.unnamedVersion
    this.unnamedOf = isCertain ? session : null
    this.unnamedVersion = version
    this.isUnnamedInBatch = true
    return version
  }

  /** The answer to a message that made the server's unnamed statement this client's, in this version. */
  confirmUnnamed(session: VirtualSession, version: number): void {
    if (this.unnamedOf !== null && (this.unnamedOf !== session || this.unnamedVersion >= version)) return
    this.unnamedOf = session
    this.unnamedVersion = version
  }

  get isBusy(): boolean {
    return this.replies.size > 0 || this.isBatchOpen || this.restOut > 0 || this.isReadyHeld
  }

  get isClientsTurn(): boolean {
    return this.restOut > 0 || (this.isBatchOpen && !this.isFlushed && this.copy === Copy.None)
  }

  get isOwing(): boolean {
    if (this.restOut > 0 || this.copy === Copy.Both) return false
    if (this.copy === Copy.In && !this.hasCopyEnd) return false
    return this.exchanges > 0 || this.isReadyHeld || (this.isFlushed && this.replies.size > 0)
  }

  /** The client has sent the end of a COPY that Postgres has not answered. */
  get hasCopyEnd(): boolean {
    for (let place = 0; place < this.replies.size; place++) {
      if ((this.replies.at(place) & REPLY_KIND) === Reply.CopyEnd) return true
    }
    return false
  }

  /** A transaction is open, or may be when what is sent now has its turn. */
  get mayBeInside(): boolean {
    return this.status !== Status.Idle || this.exchanges > 0
  }

  /** May a message that was held be handed over again? */
  get mayGoOn(): boolean {
    return (
      !this.healing.isPending &&
      !this.isAsking &&
      this.cancels === 0 &&
      // With nothing in flight the cancel is for what is held.
      (!this.isCancelWanted || this.replies.size === 0) &&
      this.unconfirmed === 0 &&
      !this.isResetting &&
      !this.isReadingBack &&
      !this.isReadyHeld &&
      !this.isHandingOver &&
      this.replies.size < RESUME_BELOW
    )
  }

  get isInTransaction(): boolean {
    return this.status !== Status.Idle
  }

  get isBetween(): boolean {
    return (
      this.exchanges === 0 &&
      this.status === Status.Idle &&
      !this.isBatchOpen &&
      this.restOut === 0 &&
      this.copy === Copy.None &&
      !this.isReadyHeld
    )
  }

  /**
   * Nothing is owed, half sent, open or unknown: the server may go to anybody (DESIGN section 4, RULES 24).
   */
  get isFree(): boolean {
    return (
      this.replies.size === 0 &&
      this.status === Status.Idle &&
      !this.isBatchOpen &&
      this.restOut === 0 &&
      this.copy === Copy.None &&
      this.cancels === 0 &&
      this.unconfirmed === 0 &&
      this.touched === 0 &&
      !this.isReadyHeld &&
      !this.isListening &&
      !this.isDoubtful
    )
  }

  /** Between two transactions, with nothing in flight: Postgres can be asked what was left. */
  get isQuiet(): boolean {
    return (
      this.replies.size === 0 &&
      this.status === Status.Idle &&
      !this.isBatchOpen &&
      this.restOut === 0 &&
      this.copy === Copy.None &&
      !this.isDoubtful
    )
  }
}
