// Follows the exchanges of one client that are traced, from the first message to ReadyForQuery, wherever
// they run. It owns those that are under way. Whatever goes wrong, none is left behind: an exchange that
// has no end of its own ends with its server, its client or the next ReadyForQuery.
//
//   sent, not answered      oldest                                      latest
//   #inFlight               [number 4, number 6]        of 4, 5 (not traced) and 6
//   #open                   the batch whose Sync has not been sent; null: not traced, or none
import type { Shape } from '../sql/shapes.ts'
import { parseTraceParent, type TraceParent, traceParentIn } from '../sql/traceparent.ts'
import type { Framer } from '../wire/framer.ts'
import { FromClient, Status } from '../wire/protocol.ts'
import { ExchangeTrace, type TracedClient, type Tracer } from './exchange-trace.ts'
import type { VirtualSession } from './virtual-session.ts'

const HEADER = 5

/** What an exchange came to on its server. */
export interface ExchangeEnd {
  /** When its answer was read. */
  readonly readAt: number
  /** Status byte of its ReadyForQuery. */
  readonly status: number
  /** Number of the backend. */
  readonly pid: number
}

export class ExchangeTracing {
  readonly #client: TracedClient
  readonly #tracer: Tracer
  readonly #session: VirtualSession
  readonly #inFlight: ExchangeTrace[] = []
  /** Exchanges sent to the present server, and those of them that have ended. */
  #sent = 0
  #done = 0
  #open: ExchangeTrace | null = null
  #isBatchOpen = false
  #openSince = 0
  /** Executes of the open batch. */
  #executes = 0
  /** Since when the message that comes next could not be sent; 0: it could. */
  #heldSince = 0
  #waitedFrom = 0
  #grantedAt = 0
  #broughtAt = 0
  #isInside = false
  /** What is sent once more is the same exchange. */
  #again: ExchangeTrace | null = null
  /** To which all belong that do not say otherwise. */
  #given: TraceParent | null = null

  constructor(client: TracedClient, tracer: Tracer, session: VirtualSession) {
    this.#client = client
    this.#tracer = tracer
    this.#session = session
  }

  /** The client has said apart from its statements where they belong. */
  joins(traceparent: string): void {
    this.#given = parseTraceParent(traceparent)
  }

  // ---- before it is sent ----

  /** It has waited for a server. */
  waited(ms: number): void {
    this.#grantedAt = this.#tracer.now()
    this.#waitedFrom = this.#grantedAt - ms
  }

  /** The server does not take the message yet. */
  held(): void {
    if (this.#heldSince === 0) this.#heldSince = this.#tracer.now()
  }

  /** There is no server for the message that the framer has given out last. */
  refused(framer: Framer, code: string): void {
    const trace = this.#begin(parentIn(framer), 0)
    if (trace === null) return
    trace.code = code
    trace.broken = 'refused'
    this.#finish(trace, this.#tracer.now())
  }

  // ---- while it is sent ----

  /** A message that is an exchange by itself was sent. @param shape null: nobody knows its text */
  query(framer: Framer, shape: Shape | null): void {
    const trace = this.#isBatchOpen ? this.#open : this.#begin(parentIn(framer), this.#tracer.now())
    if (trace !== null) {
      trace.shape ??= shape
      trace.statements++
    }
    this.#complete(trace)
  }

  /**
   * A message of a batch was sent.
   * @param shape of the statement that it parses or runs; null: it does neither, or nobody knows
   */
  message(framer: Framer, shape: Shape | null): void {
    const { type } = framer
    const parent = type === FromClient.Parse ? parentIn(framer) : null
    if (!this.#isBatchOpen) {
      this.#isBatchOpen = true
      this.#openSince = this.#tracer.now()
      this.#executes = 0
      this.#open = this.#begin(parent, this.#openSince)
    } else if (parent !== null) this.#join(parent)
    if (type === FromClient.Execute) this.#executes++
    const open = this.#open
    if (open === null) return
    open.statements = this.#executes
    open.shape ??= shape
  }

  /** The first text of a batch that says so decides. */
  #join(parent: TraceParent): void {
    const open = this.#open
    if (open === null) this.#open = this.#begin(parent, this.#openSince)
    else if (open.parent === null) {
      open.parent = parent
      if (!parent.isSampled) this.#open = null
    }
  }

  /** The Sync of a batch was sent. */
  sync(): void {
    this.#complete(this.#open)
  }

  #complete(trace: ExchangeTrace | null): void {
    this.#isBatchOpen = false
    this.#open = null
    this.#sent++
    if (trace === null) return
    trace.number = this.#sent
    this.#inFlight.push(trace)
  }

  /** A whole exchange was sent beside those of other clients. @param text null: it has none of its own */
  shared(text: readonly [src: Buffer, start: number, end: number] | null, shape: Shape): void {
    const parent = text === null ? null : traceParentIn(...text)
    const trace = this.#begin(parent, this.#tracer.now())
    if (trace !== null) {
      trace.shape = shape
      trace.statements = 1
      trace.isShared = true
    }
    this.#complete(trace)
  }

  /** @param sentAt 0: it is not sent at all. @returns null: it is not traced */
  #begin(parent: TraceParent | null, sentAt: number): ExchangeTrace | null {
    const beganAt = this.#waitedFrom || this.#heldSince || sentAt
    const grantedAt = this.#grantedAt
    const broughtAt = this.#broughtAt
    this.#waitedFrom = this.#grantedAt = this.#heldSince = this.#broughtAt = 0
    let trace = this.#again
    this.#again = null
    if (trace !== null) {
      trace.isAgain = true
      trace.isShared = false
    } else {
      const joined = parent ?? this.#given
      if (joined === null ? !this.#tracer.draws() : !joined.isSampled) return null
      if (!this.#tracer.hasRoom(this.#inFlight.length)) return null
      trace = new ExchangeTrace(this.#client, joined, beganAt || this.#tracer.now())
    }
    trace.grantedAt = grantedAt
    trace.sentAt = sentAt
    trace.broughtAt = broughtAt
    trace.isInTransaction = this.#isInside
    return trace
  }

  // ---- while it runs ----

  /** What stands at the head of the queue, as far as it is traced. */
  get #running(): ExchangeTrace | null {
    if (this.#inFlight.length > 0) {
      const head = this.#inFlight[0]
      return head.number === this.#done + 1 ? head : null
    }
    return this.#sent === this.#done ? this.#open : null
  }

  gave(rows: number): void {
    const trace = this.#running
    if (trace !== null) trace.rows += rows
  }

  failed(code: string): void {
    const trace = this.#running
    if (trace !== null && trace.code === '') trace.code = code
  }

  /** Postgres has done what was put in front of the client's messages. */
  brought(readAt: number): void {
    const trace = this.#running
    if (trace === null) this.#broughtAt = readAt
    else trace.broughtAt = readAt
  }

  /** A ReadyForQuery came. @param left exchanges that are not answered */
  ended(end: ExchangeEnd, left: number): void {
    this.#done = this.#sent - left
    this.#isInside = end.status !== Status.Idle
    this.#broughtAt = 0
    for (;;) {
      const head = this.#inFlight[0]
      if (head === undefined || head.number > this.#done) break
      this.#inFlight.shift()
      if (this.#isInside) head.isInTransaction = true
      head.serverPid = end.pid
      this.#finish(head, end.readAt)
    }
    if (left === 0) this.#sent = this.#done = 0
  }

  /** The last one is sent once more: nothing of its answer was handed on. */
  again(): void {
    const last = this.#inFlight.at(-1)
    if (last?.number === this.#sent) this.#again = this.#inFlight.pop() ?? null
    if (this.#sent > this.#done) this.#sent--
  }

  /** They have no end of their own. @param broken why, a fixed word @param code SQLSTATE; '' for none */
  cut(broken: string, code: string): void {
    const now = this.#tracer.now()
    const open = this.#open
    if (open !== null) this.#inFlight.push(open)
    for (const trace of this.#inFlight) {
      trace.broken = broken
      if (trace.code === '') trace.code = code
      this.#finish(trace, now)
    }
    this.#inFlight.length = 0
    this.#open = this.#again = null
    this.#isBatchOpen = this.#isInside = false
    this.#sent = this.#done = 0
  }

  #finish(trace: ExchangeTrace, at: number): void {
    trace.endedAt = at
    trace.applicationName = this.#session.settings.values.get('application_name') ?? ''
    this.#tracer.take(trace)
  }
}

/** What the text of a Query or Parse says of its trace. */
function parentIn({ src, start, stop, type }: Framer): TraceParent | null {
  if (type === FromClient.Query) return traceParentIn(src, start + HEADER, stop)
  if (type !== FromClient.Parse) return null
  const nameEnd = src.indexOf(0, start + HEADER)
  return nameEnd < 0 || nameEnd >= stop ? null : traceParentIn(src, nameEnd + 1, stop)
}
