// One `POST /sql` on its way: connection string, login, body, settings, run, answer. It owns these steps
// and their order; each ends in an answer at most once, whatever happens, and a place in the house is
// always given back.
import type { ServerlessConfig } from '../../config/types.ts'
import { Reception } from '../../frontend/reception.ts'
import type { House, PoolAccess } from '../../frontend/types.ts'
import { reportHandlerError } from '../../net/handler-errors.ts'
import type { HttpCounters } from '../../observe/counters.ts'
import type { Log } from '../../observe/log.ts'
import { type StartupWishes, wishesOf } from '../../session/baseline.ts'
import type { Settings } from '../../session/settings.ts'
import type { Admitted, Caller, Logins, RefusedLogin } from '../types.ts'
import { askedBy, NO_WISHES, type Wishes } from './asked.ts'
import { type Body, parseBody } from './body.ts'
import type { Target } from './connection-string.ts'
import { beginsTransaction, firstWord, frameOf, refusedStatement, singleFrameOf } from './control.ts'
import { type Problem, problem, refused, RequestError, tooLarge } from './problem.ts'
import { settledBefore, settledNow, startupOf } from './remembered.ts'
import { NO_HEADERS, type Reply, type ReplyOwner } from './reply.ts'
import { Run, type RunHouse, type RunOwner, type RunParts } from './run.ts'
import type { SqlRequest } from './sql-door.ts'
import { askTypes } from './type-question.ts'
import type { TypeTable } from './types.ts'
import { batchOf, type Frame, PLAIN } from './wire.ts'

export type RequestHouse = RunHouse & Pick<House, 'isDraining' | 'counters'>

export interface RequestParts {
  readonly request: SqlRequest
  readonly caller: Caller
  readonly id: string
  readonly door: {
    readonly house: RequestHouse
    readonly logins: Logins
    readonly log: Log
    config(): ServerlessConfig
  }
  typesOf(database: string): TypeTable
}

const NO_STARTUP: StartupWishes = { baseline: '', strict: '', carried: new Map() }
/** A piece of a result that is sent while the rest is made. */
const PIECE = 64 * 1024

export class Request implements ReplyOwner, RunOwner {
  /** Set before anything else happens. */
  reply!: Reply
  readonly #parts: RequestParts
  readonly #config: ServerlessConfig
  readonly #startedAt: number
  #admitted: Admitted | null = null
  #reception: Reception | null = null
  #run: Run | null = null
  #question: Run | null = null
  #wishes: Wishes = NO_WISHES
  #startup = NO_STARTUP
  /** A body that comes in pieces. */
  #chunks: Buffer[] | null = null
  #bytes = 0
  /** The connection is gone, or an answer is on its way. */
  #isOver = false
  #status = 0
  /** When the answer, or a piece of it, has to be taken; 0: there is none. */
  #unsent = 0
  #unsentSince = 0

  constructor(parts: RequestParts) {
    this.#parts = parts
    this.#config = parts.door.config()
    this.#startedAt = parts.door.house.time.now
  }

  start(): void {
    try {
      this.#start()
    } catch (thrown) {
      this.#onThrown(thrown)
    }
  }

  #start(): void {
    const { request } = this.#parts
    const asked = askedBy(request.headers, request.body !== undefined)
    const { target } = asked
    this.#wishes = asked
    const problem = this.#bodyProblem()
    if (problem !== null) {
      this.#refuse(problem)
      return
    }
    const { door, caller } = this.#parts
    const outcome = door.logins.login(caller, target)
    if (outcome instanceof Promise) {
      outcome.then(
        (found) => this.#try(() => this.#onLogin(found, target)),
        (thrown) => this.#onThrown(thrown),
      )
    } else this.#onLogin(outcome, target)
  }

  // ---- as the owner of its answer ----

  get counters(): HttpCounters {
    return this.#parts.door.house.counters.http
  }

  get acceptEncoding(): string {
    return this.#header('accept-encoding')
  }

  get isLast(): boolean {
    return this.#parts.door.house.isDraining
  }

  /** The connection is gone, or the answer is out. */
  closed(): void {
    this.#isOver = true
    this.#reception?.abandon()
    this.#run?.abort()
    this.#question?.abort()
    // Whoever still holds this, dead already, does not keep what it has used alive.
    this.#reception = this.#run = this.#question = null
    this.#leave()
  }

  /** The response takes more again. */
  drained(): void {
    this.#run?.drained()
  }

  /** Time has passed. */
  tick(now: number): void {
    this.#reception?.tick(now)
    this.#run?.tick(now)
    this.#question?.tick(now)
    this.#watchReader(now)
  }

  /** An answer that is complete here, and of which nothing is taken, is given up. */
  #watchReader(now: number): void {
    const { reply } = this
    const { door } = this.#parts
    const limit = door.house.limits.writeTimeoutMs
    if (!reply.isEnded || limit === 0) return
    const { unsent } = reply
    if (unsent !== this.#unsent || this.#unsentSince === 0) {
      this.#unsent = unsent
      this.#unsentSince = now
    } else if (now - this.#unsentSince > limit) reply.cut()
  }

  // ---- what is asked for ----

  #header(name: string): string {
    const value = this.#parts.request.headers[name]
    return typeof value === 'string' ? value : ''
  }

  /** What can be said of a body before it is read. */
  #bodyProblem(): Problem | null {
    const encoding = this.#header('content-encoding')
    if (encoding !== '' && encoding.toLowerCase() !== 'identity') {
      const hint = 'Send the body as it is.'
      return problem(415, '08P01', 'request bodies with a Content-Encoding are not taken', hint)
    }
    const { maxRequest } = this.#config
    const length = this.#parts.request.body?.length ?? Number(this.#header('content-length'))
    return length > maxRequest ? tooLarge(maxRequest) : null
  }

  // ---- the login ----

  #onLogin(outcome: Admitted | RefusedLogin, target: Target): void {
    if ('refusal' in outcome) {
      const { status, retryAfter, refusal } = outcome
      this.#refuse({ ...refused(refusal), status, retryAfter })
      return
    }
    this.#admitted = outcome
    if (this.#isOver) {
      this.#leave()
      return
    }
    this.#startup = this.#startupOf(outcome.access, target)
    const { request } = this.#parts
    if (request.body !== undefined) {
      this.counters.bytesFromClients += request.body.length
      this.#onWhole(outcome, request.body)
      return
    }
    request.on('data', (chunk) => this.#onBody(chunk))
    request.on('end', () => this.#try(() => this.#onBodyEnd()))
  }

  #startupOf(access: PoolAccess, { parameters }: Target): StartupWishes {
    const { caller, door } = this.#parts
    if (!door.house.limits.addAddress) return startupOf(parameters, access.mode)
    const from = caller.peer.address
    const name = parameters.get('application_name') ?? ''
    const named = new Map(parameters).set('application_name', name === '' ? from : `${name} - ${from}`)
    return wishesOf(named, access.mode)
  }

  // ---- the body ----

  #onBody(chunk: Buffer): void {
    if (this.#isOver) return
    this.#bytes += chunk.length
    this.counters.bytesFromClients += chunk.length
    if (this.#bytes > this.#config.maxRequest) {
      this.#chunks = null
      this.#refuse(tooLarge(this.#config.maxRequest))
    } else if (this.#chunks === null) this.#chunks = [chunk]
    else this.#chunks.push(chunk)
  }

  #onBodyEnd(): void {
    const chunks = this.#chunks ?? []
    this.#chunks = null
    const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
    if (!this.#isOver && this.#admitted !== null) this.#onWhole(this.#admitted, bytes)
  }

  #onWhole(admitted: Admitted, bytes: Buffer): void {
    const body = parseBody(bytes, this.#config.maxQueries)
    const problem = refusedStatement(body.statements, body.isBatch)
    if (problem === null) this.#settle(admitted, body)
    else this.#refuse(problem)
  }

  // ---- the run ----

  /** The settings that the parameters of the connection string stand for. */
  #settle(admitted: Admitted, body: Body): void {
    const { access } = admitted
    const settled = settledBefore(access, this.#startup)
    if (settled !== null) {
      this.#execute(admitted, body, settled)
      return
    }
    this.#reception = new Reception({
      access,
      wishes: this.#startup,
      names: this.#startup.carried.keys(),
      onSettled: (welcome, settings) => {
        this.#reception = null
        settledNow(access, this.#startup, { welcome, settings })
        this.#try(() => this.#execute(admitted, body, settings))
      },
      onRefused: (refusal) => {
        this.#reception = null
        this.#parts.door.house.onRefused(admitted.visitor, refusal)
        this.#refuse(refused(refusal))
      },
    })
    this.#reception.start()
  }

  #execute(admitted: Admitted, body: Body, settings: Settings): void {
    if (this.#isOver) return
    const { isRaw, isArrayMode } = this.#wishes
    const frame = this.#frame(admitted, body)
    const types = isRaw ? null : this.#parts.typesOf(admitted.access.database)
    const { statements, isBatch } = body
    const isEager = !isBatch && !beginsTransaction(firstWord(statements[0].text))
    const plan = { statements, isBatch, before: frame.before.length, isArrayMode, types }
    this.#run = new Run(this.#runParts(admitted, settings), plan, isEager)
    this.#run.start(batchOf(statements, frame))
  }

  #frame({ access, claims }: Admitted, { isBatch }: Body): Frame {
    if (isBatch) return frameOf(this.#wishes.batch, claims, access.mode === 'statement')
    return claims === null ? PLAIN : singleFrameOf(claims)
  }

  #runParts({ access, visitor }: Admitted, settings: Settings): RunParts {
    const { caller, door } = this.#parts
    const { queryTimeoutMs, maxResponse } = this.#config
    return {
      house: door.house,
      access,
      visitor,
      peer: caller.peer,
      settings,
      baseline: this.#startup.baseline,
      traceparent: this.#header('traceparent'),
      maxResponse,
      deadline: queryTimeoutMs === 0 ? 0 : door.house.time.now + queryTimeoutMs,
      owner: this,
    }
  }

  /** There is more of the answer. @returns false: no more for now */
  onProgress(): boolean {
    const run = this.#run
    const { reply } = this
    if (run === null) return true
    const { reader } = run
    if (reader.missingTypes.length > 0) {
      if (reader.isDone) this.#askTypes(run)
      return true
    }
    const { length } = reader.out
    if (length < (reply.isStarted ? PIECE : this.#config.streamFrom) || reader.error !== null) return true
    run.taken += length
    return reply.send(reader.out.take(), this.#echo())
  }

  /** The run is over; null: with a result. */
  onEnd(found: Problem | null): void {
    const run = this.#run
    if (found !== null) this.#refuse(found)
    else if (run !== null) {
      this.#status = 200
      this.reply.finish(run.reader.out, this.#echo())
      run.reader.out.dispose()
      this.#over()
    }
  }

  /** A batch is told what it had. */
  #echo(): Readonly<Record<string, string>> {
    const { isolation, isReadOnly, isDeferrable } = this.#wishes.batch
    if (isolation === '' && !isReadOnly && !isDeferrable) return NO_HEADERS
    const echo: Record<string, string> = {}
    if (isolation !== '') echo['neon-batch-isolation-level'] = isolation
    if (isReadOnly) echo['neon-batch-read-only'] = 'true'
    if (isDeferrable) echo['neon-batch-deferrable'] = 'true'
    return echo
  }

  #askTypes(run: Run): void {
    const admitted = this.#admitted
    if (admitted === null || this.#question !== null) return
    const types = this.#parts.typesOf(admitted.access.database)
    const parts = this.#runParts(admitted, run.settings)
    this.#question = askTypes(types, run.reader.missingTypes, parts, (found) => {
      this.#question = null
      if (found === null) run.goOn()
      else this.#refuse(found)
    })
  }

  // ---- the end ----

  /** Whatever is thrown is an answer. */
  #try(step: () => void): void {
    try {
      step()
    } catch (thrown) {
      this.#onThrown(thrown)
    }
  }

  /** An error of ours is reported, and harms nobody else. */
  #onThrown(thrown: unknown): void {
    if (thrown instanceof RequestError) this.#refuse(thrown.problem)
    else {
      reportHandlerError(thrown, 'a request over HTTP')
      this.#refuse(internal())
    }
  }

  #refuse(found: Problem): void {
    if (this.#isOver) return
    this.#status = found.status
    this.reply.refuse(found)
    this.#over()
  }

  #over(): void {
    this.#isOver = true
    this.#leave()
    const { door, id, caller } = this.#parts
    if (!door.log.enabled('debug')) return
    const ms = door.house.time.now - this.#startedAt
    door.log.debug(
      { request: id, client: caller.peer.address, status: this.#status, ms },
      'HTTP request answered',
    )
  }

  #leave(): void {
    const admitted = this.#admitted
    this.#admitted = null
    admitted?.leave()
  }
}

function internal(): Problem {
  return problem(500, 'XX000', 'internal error')
}
