// The prepared statements and portals of one client of the console, under Postgres' rules for their names. It
// owns them and runs nothing.
import { type Column, Format, type Value } from '../../wire/rows.ts'
import { resolveOne } from './resolve.ts'
import { ConsoleError, type Filter, type Statement } from './types.ts'

/** Postgres compares names up to here. */
const NAME_MAX = 63
/** Statements and portals that one client may have. */
const COUNT_MAX = 1000

/** A statement with the formats of its result, and what is left of that. */
export interface Portal {
  readonly statement: Statement
  readonly formats: readonly number[]
  /** Null: not begun. */
  rest: Iterator<readonly Value[]> | null
  isDone: boolean
}

export class Prepared {
  readonly #statements = new Map<string, Statement>()
  readonly #portals = new Map<string, Portal>()

  get size(): number {
    return this.#statements.size
  }

  /** @throws ConsoleError as Postgres would */
  parse(name: string, text: string, parameters: number): void {
    if (parameters > 0) throw noParameters()
    checkName(name, this.#statements.size)
    const statement = resolveOne(text)
    if (name !== '' && this.#statements.has(name))
      throw new ConsoleError('42P05', `prepared statement "${name}" already exists`)
    this.#statements.set(name, statement)
  }

  /** @throws ConsoleError as Postgres would */
  bind(name: string, of: { statement: string; values: number; formats: readonly number[] }): void {
    if (of.values > 0) throw noParameters()
    checkName(name, this.#portals.size)
    if (name !== '' && this.#portals.has(name))
      throw new ConsoleError('42P03', `cursor "${name}" already exists`)
    const statement = this.statement(of.statement)
    const columns = columnsOf(statement).length
    const { formats } = of
    if (formats.length > 1 && formats.length !== columns) {
      throw new ConsoleError(
        '08P01',
        `bind message has ${formats.length} result formats but query has ${columns} columns`,
      )
    }
    const odd = formats.find((format) => format !== Format.Text && format !== Format.Binary)
    if (odd !== undefined) throw new ConsoleError('22023', `unsupported format code: ${odd}`)
    this.#portals.set(name, { statement, formats, rest: null, isDone: false })
  }

  /** @throws ConsoleError 26000 */
  statement(name: string): Statement {
    const found = this.#statements.get(name)
    if (found !== undefined) return found
    const which = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`
    throw new ConsoleError('26000', `${which} does not exist`)
  }

  /** @throws ConsoleError 34000 */
  portal(name: string): Portal {
    const found = this.#portals.get(name)
    if (found === undefined) throw new ConsoleError('34000', `portal "${name}" does not exist`)
    return found
  }

  close(kind: string, name: string): void {
    if (kind === 'S') this.#statements.delete(name)
    else this.#portals.delete(name)
  }

  /** The transaction is over. */
  dropPortals(): void {
    this.#portals.clear()
  }

  /** A simple query takes the unnamed ones away. */
  dropUnnamed(): void {
    this.#statements.delete('')
    this.#portals.delete('')
  }
}

/** The columns of its result; none: it has no result. */
export function columnsOf({ command }: Statement): readonly Column[] {
  return command?.columns ?? []
}

/** The rows that are wanted of its result. */
export function* wantedOf(
  { filters = [] }: Statement,
  rows: Iterable<readonly Value[]>,
): Generator<readonly Value[]> {
  for (const row of rows) if (isWanted(row, filters)) yield row
}

/** Whether a row has all of these values. */
export function isWanted(row: readonly Value[], filters: readonly Filter[]): boolean {
  return filters.every(({ column, value }) => String(row[column] ?? '') === value)
}

function checkName(name: string, count: number): void {
  if (Buffer.byteLength(name) > NAME_MAX)
    throw new ConsoleError('42622', `a name is longer than ${NAME_MAX} bytes`)
  if (count >= COUNT_MAX)
    throw new ConsoleError('54000', `more than ${COUNT_MAX} statements or portals`, 'Close some.')
}

function noParameters(): ConsoleError {
  return new ConsoleError(
    '0A000',
    'the console takes no parameters',
    'Write the argument into the command: PAUSE app.',
  )
}
