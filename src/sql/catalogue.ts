// Owns what a database's own functions can do to a session, judged from rows of pg_proc, and which built-in
// functions may run where several clients share a server. Others ask Postgres, with the queries here. What
// it cannot see into (other languages, EXECUTE of a text) can do anything.

import { readBody } from './body.ts'
import {
  ADVISORY_LOCKS,
  CHANNEL_FUNCTIONS,
  EFFECTS,
  HARMLESS_EXTENSIONS,
  PEEKS,
  SEQUENCE_FUNCTIONS,
  STATE_FUNCTIONS,
  TEXT_RUNNERS,
} from './builtins.ts'
import { customNamesIn } from './effects.ts'
import { Fact } from './vocabulary.ts'
import { lower, WordTable } from './words.ts'

/** One row of `routinesQuery`. */
export interface Routine {
  readonly name: string
  readonly language: string
  /** The body; '' where the language is not one that we read. */
  readonly source: string
  /** Was the body longer than what the query gives? */
  readonly isCut: boolean
  /** The extension that it belongs to; null: none. */
  readonly extension: string | null
}

/** Custom settings that are asked for where it is not known which were set. */
const CUSTOM_MAX = 1000
/** Longest body that is looked into, in characters. */
const SOURCE_MAX = 256 * 1024
/** Objects below this were made by initdb. */
const FIRST_OID = 16384
/** An aggregate is written in the functions that it is made of. */
const AGGREGATE_BODY = `pg_catalog.concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
      a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)`
/** The body, or since Postgres 14 the parsed body of BEGIN ATOMIC and RETURN. */
const SQL_BODY = 'coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)'

/** Facts of a body that mean: it can change the state of a session. */
const TOUCHES =
  Fact.Unclear |
  Fact.Settings |
  Fact.Discards |
  Fact.Executes |
  Fact.Prepares |
  Fact.Listens |
  Fact.Temp |
  Fact.Locks |
  Fact.Holds |
  Fact.Backend |
  Fact.Runs

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
 * Asks for all functions that initdb did not make: name, language, source, is the source cut, extension. All
 * names are qualified: the search path may be anybody's.
 * @param major of the server
 */
export function routinesQuery(major: number): string {
  const body = major >= 14 ? SQL_BODY : 'p.prosrc'
  return `select p.proname, b.language,
  case when b.language operator(pg_catalog.=) any (array['sql', 'plpgsql'])
    then pg_catalog."left"(b.body, ${SOURCE_MAX}) else '' end,
  pg_catalog.length(b.body) operator(pg_catalog.>) ${SOURCE_MAX}, e.extname
from pg_catalog.pg_proc p
  join pg_catalog.pg_language l on l.oid operator(pg_catalog.=) p.prolang
  left join pg_catalog.pg_aggregate a on a.aggfnoid operator(pg_catalog.=) p.oid
  cross join lateral (select
    case when a.aggfnoid is null then l.lanname::pg_catalog.text else 'sql' end as language,
    case when a.aggfnoid is null then ${body} else ${AGGREGATE_BODY} end as body) b
  left join pg_catalog.pg_depend d on d.classid operator(pg_catalog.=) 1255
    and d.objid operator(pg_catalog.=) p.oid and d.deptype operator(pg_catalog.=) 'e'
  left join pg_catalog.pg_extension e on e.oid operator(pg_catalog.=) d.refobjid
where p.oid operator(pg_catalog.>=) ${FIRST_OID}`
}

/** Asks for the names of built-in functions, each with: is any of that name volatile? */
export const BUILTINS_QUERY = `select p.proname, pg_catalog.bool_or(p.provolatile operator(pg_catalog.=) 'v')
from pg_catalog.pg_proc p where p.oid operator(pg_catalog.<) ${FIRST_OID} group by p.proname`

/**
 * May a built-in function run in a query on a server whose transactions are read only and which other clients
 * use at the same time? Those that write, tell and keep nothing; of the volatile ones only those listed.
 */
export function isShareableBuiltin(name: string, isVolatile: boolean): boolean {
  if (isVolatile && !HARMLESS_VOLATILE.has(name)) return false
  return NEVER_SHARED.every((names) => !names.has(name))
}

/** What the functions of one database can do. */
export class Routines {
  /** Names in lower case: a caller that meets another one asks the database again. */
  readonly #names = new Set<string>()
  readonly #touching = new Map<string, number>()
  /** For `Reading.marked`: names that can change the state of a session; null: none can. */
  readonly marked: WordTable | null

  /** Custom settings that are named in bodies that touch. */
  readonly customNames: readonly string[]

  /** @param relations names of tables and views from which a function that is not named can be reached */
  constructor(routines: Iterable<Routine>, relations: Iterable<string> = []) {
    const all = [...routines]
    for (const { name } of all) this.#names.add(lower(name))
    const callers = new Map<string, Set<string>>()
    for (const routine of all) this.#add(routine, callers)
    this.#close(callers)
    const custom = new Set<string>()
    for (const { name, source } of all)
      if (this.touches(name) !== 0) for (const found of customNamesIn(source)) custom.add(found)
    this.customNames = [...custom].slice(0, CUSTOM_MAX)
    const names = [...this.#touching.keys(), ...relations]
    this.marked = names.length === 0 ? null : new WordTable(names.map((name) => [name, Fact.Marked]))
  }

  knows(name: string): boolean {
    return this.#names.has(lower(name))
  }

  /** `Fact` bits: why it can change the state of a session; 0: it cannot. */
  touches(name: string): number {
    return this.#touching.get(lower(name)) ?? 0
  }

  get touching(): number {
    return this.#touching.size
  }

  #add(routine: Routine, callers: Map<string, Set<string>>): void {
    const name = lower(routine.name)
    if (routine.language !== 'sql' && routine.language !== 'plpgsql') {
      if (!isHarmless(routine)) this.#mark(name, Fact.Unclear)
      return
    }
    if (routine.isCut) this.#mark(name, Fact.Unclear)
    const { facts, words } = readBody(routine.source)
    if ((facts & TOUCHES) !== 0) this.#mark(name, facts & TOUCHES)
    for (const word of words) {
      if (!this.#names.has(word)) continue
      const those = callers.get(word)
      if (those === undefined) callers.set(word, new Set([name]))
      else those.add(name)
    }
  }

  #mark(name: string, facts: number): void {
    this.#touching.set(name, this.touches(name) | facts)
  }

  /** Who calls one that touches touches. */
  #close(callers: ReadonlyMap<string, ReadonlySet<string>>): void {
    const open = [...this.#touching.keys()]
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const facts = this.touches(name)
      for (const caller of callers.get(name) ?? []) {
        const before = this.touches(caller)
        if ((before | facts) === before) continue
        this.#mark(caller, facts)
        open.push(caller)
      }
    }
  }
}

/** In C or another language, of an extension that is known to keep nothing in the session. */
function isHarmless({ name, extension }: Routine): boolean {
  return extension !== null && HARMLESS_EXTENSIONS.has(extension) && !STATE_FUNCTIONS.has(name)
}
