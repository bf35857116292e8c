// One execution: an ordinary client of a pool whose stream is memory. It sends one batch, reads the answer
// with a Reader, and ends once. It owns its client; it knows nothing of HTTP. Its server is reset before
// anybody else gets it, and a statement that nobody waits for any more is cancelled.
import { Client } from '../../frontend/client.ts'
import { cancelled } from '../../frontend/refusals.ts'
import type { ClientHouse, House, PoolAccess, Visitor } from '../../frontend/types.ts'
import type { ServerLoss } from '../../pool/lease.ts'
import type { Refusal } from '../../pool/types.ts'
import type { Settings } from '../../session/settings.ts'
import { Once, VirtualSession } from '../../session/virtual-session.ts'
import type { ByteStream, PeerInfo, StreamHandler } from '../../wire/byte-stream.ts'
import type { Problem } from './problem.ts'
import { answerTooLarge, noCopy, problem, problemOf, refused, timedOut } from './problem.ts'
import { type Plan, Reader } from './reader.ts'

/** The house, as far as a run needs it. */
export type RunHouse = Pick<House, 'time' | 'limits' | 'onRefused'> & {
  onRequest(client: Client): void
  onRequestOver(client: Client): void
}

/** Who waits for the answer. */
export interface RunOwner {
  /** There is more in `reader.out`. @returns false: no more for now */
  onProgress(): boolean
  /** It is over; null: with a result. */
  onEnd(found: Problem | null): void
}

export interface RunParts {
  readonly house: RunHouse
  readonly access: PoolAccess
  readonly visitor: Visitor
  readonly peer: PeerInfo
  readonly settings: Settings
  readonly baseline: string
  /** Most bytes of an answer; 0: any number. */
  readonly maxResponse: number
  /** Its `traceparent`; '' : it has none. */
  readonly traceparent: string
  /** Has to be over by then; 0: never. */
  readonly deadline: number
  readonly owner: RunOwner
}

/** Goes when what it asked for is answered and its server is clean. */
class RequestClient extends Client {
  /** When a server that is not clean yet is cancelled, then closed; 0: its answer is not out, or never. */
  cleanBy = 0

  override onLeaseEnd(): void {
    super.onLeaseEnd()
    this.leave('terminated', 'answered')
  }

  override tick(now: number): void {
    if (this.cleanBy > 0 && now > this.cleanBy) this.leave('cut', 'its server was not clean in time')
    else super.tick(now)
  }

  override onServerLost(loss: ServerLoss): void {
    const run = this.stream as Run
    run.wasLost = true
    super.onServerLost(loss)
    // Lost in its reset: there is no answer left that could end it.
    if (run.reader.isDone) this.leave('lost', 'answered')
  }
}

export class Run implements ByteStream, ClientHouse {
  readonly peer: PeerInfo
  readonly time: House['time']
  readonly limits: House['limits']
  readonly reader: Reader
  readonly unsent = 0
  /** Its server broke while it worked for it. */
  wasLost = false
  /** Bytes that were taken from the reader before. */
  taken = 0
  readonly #parts: RunParts
  readonly #isBatch: boolean
  readonly #client: RequestClient
  #isOver = false
  #isTimedOut = false
  #refusal: Refusal | null = null
  #goesAt = 0

  /** @param isEager the request leaves nothing open that a reset could not undo: it follows at once */
  constructor(parts: RunParts, plan: Plan, isEager: boolean) {
    const { house, access, visitor, settings, baseline, peer } = parts
    this.#parts = parts
    this.#isBatch = plan.isBatch
    this.peer = peer
    this.time = house.time
    this.limits = house.limits
    this.reader = new Reader(plan)
    const session = new VirtualSession(settings, access.registry)
    session.watch = access.watchOf(session, visitor)
    if (parts.traceparent !== '') session.watch?.tracing?.joins(parts.traceparent)
    session.once = new Once(isEager && access.mode !== 'session')
    session.once.onDirty = () => this.#leaveSoon('terminated')
    this.#client = new RequestClient(this, { house: this, access, visitor, session, baseline, pid: 0 }, null)
  }

  /** What its session began with. */
  get settings(): Settings {
    return this.#parts.settings
  }

  /** @param request one batch with its Sync */
  start(request: Buffer): void {
    this.#parts.house.onRequest(this.#client)
    this.#client.onData(request)
  }

  /** Nobody waits for it any more. */
  abort(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#giveUp()
  }

  /** Whoever takes the answer takes more of it. */
  drained(): void {
    if (!this.#isOver) this.#client.onDrain()
  }

  /** The types that it asked for are known. */
  goOn(): void {
    this.reader.replay()
    this.#look()
  }

  /** Time has passed. */
  tick(now: number): void {
    const { deadline, access } = this.#parts
    if (this.#isOver || deadline === 0 || now < deadline) return
    if (!this.#isTimedOut) {
      this.#isTimedOut = true
      this.#goesAt = now + access.cancelTimeoutMs
      this.#client.cancelRequest(() => {})
    } else if (now > this.#goesAt) this.#fail(timedOut())
  }

  // ---- as the stream of its client ----

  get handler(): StreamHandler {
    return this.#client
  }

  set handler(_handler: StreamHandler) {
    throw new Error('the stream of a request has one owner')
  }

  write(bytes: Uint8Array): boolean {
    if (this.#isOver) return true
    this.reader.push(bytes as Buffer)
    return this.#look()
  }

  pause(): void {}

  resume(): void {}

  /** Its client has left: with an error that was written before, or without a word. */
  end(): void {
    if (this.#isOver || this.reader.isDone) return
    this.#finish(this.reader.error === null ? lostConnection() : this.#problem(this.reader.error))
  }

  destroy(reason: string): void {
    if (!this.#isOver) this.#finish(lostConnection(reason))
  }

  // ---- as the house of its client ----

  onRefused(visitor: Visitor, refusal: Refusal): void {
    // Once it has run, what it is told is the error of a statement.
    if (this.#client.server === null && !this.wasLost) this.#refusal = refusal
    this.#parts.house.onRefused(visitor, refusal)
  }

  onLeft(client: Client): void {
    this.#parts.house.onRequestOver(client)
  }

  // ---- the answer ----

  #look(): boolean {
    const { reader } = this
    const { maxResponse } = this.#parts
    if (reader.isCopy) {
      this.#fail(noCopy())
      return true
    }
    if (maxResponse > 0 && this.taken + reader.out.length + reader.held > maxResponse) {
      this.#fail(answerTooLarge(maxResponse))
      return true
    }
    if (!reader.isDone) return this.#parts.owner.onProgress()
    if (reader.error !== null) this.#finish(this.#problem(reader.error))
    else if (reader.missingTypes.length > 0) this.#parts.owner.onProgress()
    else this.#finish(reader.isSplit ? splitBatch() : null)
    // Else it goes when its server is clean.
    const { server, session } = this.#client
    const { cancelTimeoutMs } = this.#parts.access
    if (server === null || !reader.isIdle || session.once?.isEager !== true) this.#leaveSoon('terminated')
    else if (cancelTimeoutMs > 0) this.#client.cleanBy = this.time.now + cancelTimeoutMs
    return true
  }

  #problem(error: Buffer): Problem {
    const refusal = this.#refusal
    const index = this.#isBatch ? this.reader.errorIndex : null
    const found = refusal !== null ? refused(refusal) : problemOf(error, index)
    return this.#isTimedOut && found.body.code === cancelled().code ? timedOut() : found
  }

  /** It cannot be told to the end. */
  #fail(found: Problem): void {
    this.#finish(found)
    this.#giveUp()
  }

  #giveUp(): void {
    this.#client.cancelRequest(() => {})
    this.#leaveSoon('cut')
  }

  /** Not within a call of its server. */
  #leaveSoon(how: 'terminated' | 'cut'): void {
    queueMicrotask(() => this.#client.leave(how, how === 'cut' ? 'the request was given up' : 'answered'))
  }

  #finish(found: Problem | null): void {
    if (this.#isOver) return
    this.#isOver = true
    // Whether anybody takes the answer does not matter to the server any more: its reset is to be read.
    this.#client.onDrain()
    this.#parts.owner.onEnd(found)
  }
}

function splitBatch(): Problem {
  return problem(400, '2D000', 'a statement of the batch has ended its transaction')
}

function lostConnection(reason = 'the connection to Postgres was lost'): Problem {
  return problem(400, '08006', `${reason}; whether the statement was executed is not known`)
}
