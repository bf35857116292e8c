// Owns the rule which statements may run on a server that works for several clients at once: single queries
// that change nothing, tell nothing to others, leave nothing, and come only to functions, relations,
// operators and types of which that is known (RULES 19). It judges what the grammar says; that it only reads,
// Postgres enforces.

import {
  ADVISORY_LOCKS,
  CHANNEL_FUNCTIONS,
  EFFECTS,
  PEEKS,
  SEQUENCE_FUNCTIONS,
  STATE_FUNCTIONS,
  TEXT_RUNNERS,
} from './builtins.ts'
import type { Effects } from './effects.ts'
import type { Name, Statement, Verdict } from './verdict.ts'
import { nameKey } from './words.ts'

/** Volatile built-in functions that change nothing and that nobody else can see. */
const HARMLESS_VOLATILE: ReadonlySet<string> = new Set([
  'clock_timestamp',
  'gen_random_uuid',
  'pg_column_size',
  'pg_database_size',
  'pg_indexes_size',
  'pg_relation_size',
  'pg_table_size',
  'pg_tablespace_size',
  'pg_total_relation_size',
  'random',
  'random_normal',
  'timeofday',
  'uuidv4',
  'uuidv7',
])

const NEVER_SHARED: readonly ReadonlySet<string>[] = [
  ADVISORY_LOCKS,
  CHANNEL_FUNCTIONS,
  EFFECTS,
  PEEKS,
  SEQUENCE_FUNCTIONS,
  STATE_FUNCTIONS,
  TEXT_RUNNERS,
  new Set(['set_config', 'current_setting', 'pg_show_all_settings']),
]

/**
 * May a built-in function run in a query on a server whose transactions are read only and which other clients
 * use at the same time? Those that write, tell and keep nothing; of the volatile ones only those listed.
 */
export function isShareableBuiltin(name: string, isVolatile: boolean): boolean {
  if (isVolatile && !HARMLESS_VOLATILE.has(name)) return false
  return NEVER_SHARED.every((names) => !names.has(name))
}

/** What the database's own functions can do (catalogue.ts). */
interface Strangers {
  readonly everywhere: number
  knows(name: string): boolean
}

/** Functions of Postgres itself: name, and may they run there? They are the same as long as the server is. */
export type Builtins = ReadonlyMap<string, boolean>

/** What the catalogue says of names, read from rows of `sharingQuery` (sharing-queries.ts). */
export class SharingFacts {
  /** null: they were not asked for. */
  builtins: Builtins | null
  readonly #read = new Map<string, boolean>()
  readonly #operators = new Set<string>()
  readonly #types = new Set<string>()
  /** Relations by name: may all of that name be read there? */
  readonly #relations = new Map<string, boolean>()

  /** @param builtins known from before */
  constructor(builtins: Builtins | null) {
    this.builtins = builtins
  }

  /** One row: its kind, a name, a flag, and a column to be told by. */
  add([kind, name, flag]: readonly (string | null)[]): void {
    const key = nameKey(name!)
    if (kind === 'b') allow(this.#read, key, isShareableBuiltin(name!, flag === 't'))
    else if (kind === 'o') this.#operators.add(name!)
    else if (kind === 'y') this.#types.add(key)
    else if (kind === 'r') allow(this.#relations, key, flag === 't')
  }

  /** All rows have come. */
  finish(): void {
    if (this.#read.size > 0) this.builtins = this.#read
  }

  /**
   * Why a text may not share a server.
   * @param effects what it may leave behind
   * @returns null: it may
   */
  refusalOf(effects: Effects, verdict: Verdict, routines: Strangers): string | null {
    if (verdict === null) return 'it is not understood'
    if (verdict.length !== 1) return 'it is not one statement'
    const [statement] = verdict
    if (statement.kind !== 'SelectStmt') return 'it is no query'
    // What it does, and what it calls that does something.
    if (statement.acts !== 0 || effects.touches !== 0 || effects.uses.length > 0)
      return 'it does more than read'
    if (routines.everywhere !== 0) return 'any statement of this database may do anything'
    return this.#strangerIn(statement, routines)
  }

  #strangerIn(statement: Statement, routines: Strangers): string | null {
    for (const name of statement.functions) {
      const isAllowed = isOfPostgres(name) && this.builtins?.get(nameKey(name.name)) === true
      if (!isAllowed || routines.knows(name.name)) return `function ${name.name}`
    }
    // `x.name` may be a call.
    for (const name of statement.attributes) if (routines.knows(name)) return `function ${name}`
    for (const { name } of statement.relations)
      if (this.#relations.get(nameKey(name)) !== true) return `relation ${name}`
    for (const name of statement.operators)
      if (!isOfPostgres(name) || this.#operators.has(name.name)) return `operator ${name.name}`
    for (const { name } of statement.types) {
      const key = nameKey(name)
      if (this.#types.has(key) || this.#relations.has(key)) return `type ${name}`
    }
    return null
  }
}

function isOfPostgres({ schema }: Name): boolean {
  return schema === null || schema === 'pg_catalog'
}

/** Of several that have one name all must be allowed. */
function allow(names: Map<string, boolean>, key: string, isAllowed: boolean): void {
  names.set(key, isAllowed && names.get(key) !== false)
}
