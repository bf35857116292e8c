// Looks on while the statements of one client run, for whoever wants to be told of each, and for traces.
// There is one for a client only where somebody does. It decides nothing, and calls nobody but those it was
// made for.
import type { Shape } from '../sql/shapes.ts'
import type { ExchangeTracing } from './exchange-tracing.ts'
import type { VirtualSession } from './virtual-session.ts'

/** A statement that has run. A simple Query counts as one. */
export interface StatementRun {
  readonly shape: Shape
  readonly database: string
  readonly user: string
  readonly applicationName: string
  readonly ms: number
  /** As its command tags say: rows that it gave, or changed. */
  readonly rows: number
  /** SQLSTATE of its error; '' for none. */
  readonly code: string
  /** It ran on a server beside statements of other clients. */
  readonly isShared: boolean
}

/** Is told of each. It must return at once and never throw. */
export type StatementTeller = (run: StatementRun) => void

/** Whose statements they are. */
export interface Watched {
  readonly session: VirtualSession
  readonly database: string
  readonly user: string
}

export class SessionWatch {
  /** Null: its exchanges are not traced. */
  readonly tracing: ExchangeTracing | null
  readonly #watched: Watched
  readonly #tell: StatementTeller | null
  #rows = 0
  #code = ''

  constructor(watched: Watched, tell: StatementTeller | null, tracing: ExchangeTracing | null) {
    this.#watched = watched
    this.#tell = tell
    this.tracing = tracing
  }

  /** A command of the statement that runs is done. */
  gave(rows: number): void {
    this.#rows += rows
    this.tracing?.gave(rows)
  }

  /** An error came for what runs. */
  failed(code: string): void {
    this.#code = code
    this.tracing?.failed(code)
  }

  /** What has run is no statement that anybody knows. */
  drop(): void {
    this.#rows = 0
    this.#code = ''
  }

  /** The statement has run. */
  ran(shape: Shape, ms: number, isShared: boolean): void {
    if (this.#tell !== null) {
      const { session, database, user } = this.#watched
      const applicationName = session.settings.values.get('application_name') ?? ''
      this.#tell({ shape, database, user, applicationName, ms, rows: this.#rows, code: this.#code, isShared })
    }
    this.drop()
  }
}
