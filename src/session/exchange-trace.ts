// One exchange of a client that is traced: when it began, waited, was brought to its server, ran and ended,
// and what came of it. Numbers and short words only: what is shown of it is made elsewhere, and later.
import type { Shape } from '../sql/shapes.ts'
import type { TraceParent } from '../sql/traceparent.ts'

/** Whose exchanges they are. */
export interface TracedClient {
  readonly database: string
  readonly user: string
  readonly address: string
  /** Where its servers are, in words. */
  readonly where: () => string
}

/** Decides what is traced, and takes what has ended. It must return at once and never throw. */
export interface Tracer {
  /** By the fine clock, ms. */
  now(): number
  /** Whether an exchange without a parent is traced. */
  draws(): boolean
  /**
   * Whether there is room for one more; what there is none for is counted.
   * @param underWay of the same client
   */
  hasRoom(underWay: number): boolean
  take(trace: ExchangeTrace): void
}

/** Times are of the fine clock, in ms; 0: it did not come to that. */
export class ExchangeTrace {
  readonly client: TracedClient
  parent: TraceParent | null
  /** How many the client had sent before it on this server, and itself. */
  number = 0
  beganAt: number
  /** It waited for a server until then, from its beginning. */
  grantedAt = 0
  /** The first message of it went to Postgres. */
  sentAt = 0
  /** Postgres has answered what pgmux has put in front of it. */
  broughtAt = 0
  endedAt = 0
  shape: Shape | null = null
  /** Executes, or 1 for a simple Query. */
  statements = 0
  rows = 0
  /** SQLSTATE of its first error. */
  code = ''
  /** Why it has no end of its own: a fixed word. */
  broken = ''
  isShared = false
  /** A transaction was open before it, or is behind it. */
  isInTransaction = false
  /** It was sent once more, elsewhere or anew. */
  isAgain = false
  serverPid = 0
  applicationName = ''

  constructor(client: TracedClient, parent: TraceParent | null, beganAt: number) {
    this.client = client
    this.parent = parent
    this.beganAt = beganAt
  }
}
