// Owns what a database's own functions can do to a session and from where they are reached, judged from the
// rows of catalogue-queries.ts. Others ask Postgres. What it cannot see into (other languages, EXECUTE of a
// text) can do anything.

import { readBody } from './body.ts'
import { HARMLESS_EXTENSIONS, STATE_FUNCTIONS } from './builtins.ts'
import { customNamesIn } from './effects.ts'
import { FIRST_OID, LINKS_MAX, NAMES_MAX, ROUTINES_MAX } from './catalogue-queries.ts'
import { Place, Reach, wordNode } from './reach.ts'
import { type Builtins, SharingFacts } from './sharing.ts'
import { Act, type Statement } from './verdict.ts'
import { Fact } from './vocabulary.ts'
import { nameKey, WordTable } from './words.ts'

/** As the queries give it, all values as texts. */
export type Row = readonly (string | null)[]

/** Rows about what may be shared. */
const SHARED_MAX = 120_000
/** Custom settings that are asked for where it is not known which were set. */
const CUSTOM_MAX = 1000
/** Longest text of all bodies together that is looked into, in characters: it takes some seconds. */
const BODIES_MAX = 64 * 1024 * 1024

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

/** What Postgres itself makes functions of, with each range type. */
const RANGE_MAKERS: ReadonlySet<string> = new Set([
  'range_constructor2',
  'range_constructor3',
  'multirange_constructor0',
  'multirange_constructor1',
  'multirange_constructor2',
])

/**
 * Statements whose reach is in the functions, relations and types that their verdict lists. Of others, most
 * of which make or change objects, the words of the text are all that is known.
 */
const LISTED: ReadonlySet<string> = new Set([
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'CopyStmt',
  'CallStmt',
  'ExplainStmt',
  'DeclareCursorStmt',
  'ExecuteStmt',
  'TruncateStmt',
  'LockStmt',
])

/** They run nothing by themselves. */
const IDLE: ReadonlySet<string> = new Set([
  'VariableSetStmt',
  'VariableShowStmt',
  'TransactionStmt',
  'ConstraintsSetStmt',
  'PrepareStmt',
  'DeallocateStmt',
  'FetchStmt',
  'ClosePortalStmt',
  'ListenStmt',
  'UnlistenStmt',
  'NotifyStmt',
  'DiscardStmt',
])

/** Names of a database. */
interface Known {
  readonly routines: ReadonlySet<string>
  /** Numbers of types whose values can be made without coming to what changes a session. */
  readonly harmlessTypes: ReadonlySet<number>
  readonly relations: ReadonlySet<string>
  readonly customNames: readonly string[]
}

/** What the functions of one database can do, and who comes to them. Made by `Survey`. */
export class Routines {
  /** For `Reading.marked`: names and words by which a statement may change a session; null: none. */
  readonly marked: WordTable | null
  /** `Fact` bits: what any statement may do, through an operator, a cast, a type; 0: nothing. */
  readonly everywhere: number
  /** The same of statements that fire event triggers. */
  readonly ddl: number
  /** Custom settings that are named in bodies that touch. */
  readonly customNames: readonly string[]
  readonly #routines: ReadonlySet<string>
  readonly #relations: ReadonlySet<string>
  readonly #touching: ReadonlyMap<string, number>
  readonly #harmlessTypes: ReadonlySet<number>

  constructor(reach: Reach, { routines, relations, customNames, harmlessTypes }: Known) {
    this.#routines = routines
    this.#relations = relations
    this.customNames = customNames
    this.#touching = new Map(reach.markedWords())
    this.everywhere = reach.facts(Place.Everywhere)
    this.ddl = reach.facts(Place.Ddl)
    const entries = [...this.#touching.keys()].map((word) => [word, Fact.Marked] as const)
    this.marked = entries.length === 0 ? null : new WordTable(entries)
    this.#harmlessTypes = harmlessTypes
  }

  /** May a value of the type with this number change a session when it is made? One that is not known may. */
  touchesType(oid: number): boolean {
    const isAny = this.marked !== null || this.everywhere !== 0
    return isAny && oid >= FIRST_OID && !this.#harmlessTypes.has(oid)
  }

  /**
   * Is there a function of this name that Postgres does not bring? A caller that meets no such asks
   * again.
   */
  knows(name: string): boolean {
    return this.#routines.has(nameKey(name))
  }

  /** Is there a table, view or sequence of this name? */
  knowsRelation(name: string): boolean {
    return this.#relations.has(nameKey(name))
  }

  /**
   * `Fact` bits: why a statement that names this function, relation or type can change the state of a
   * session; 0: it cannot, or the name is not known.
   */
  touches(name: string): number {
    return this.#touching.get(nameKey(name)) ?? 0
  }

  /** Is a call of this function, or CALL of this procedure, surely without effect on the session's state? */
  isHarmless(name: string): boolean {
    return this.everywhere === 0 && this.knows(name) && this.touches(name) === 0
  }

  /** May a text with these facts come to a function that changes a session? The scanner's word for it. */
  mayReach(facts: number): boolean {
    if (this.everywhere !== 0 || (facts & (Fact.Marked | Fact.Odd | Fact.Unclear)) !== 0) return true
    return this.ddl !== 0 && (facts & Fact.Creates) !== 0
  }

  /**
   * `Fact` bits of what a statement comes to, where `mayReach` has said yes of its text. Not counted is
   * what its own verdict says, what PREPARE only stores, and the body of DO.
   */
  reachedBy(statement: Statement): number {
    if (IDLE.has(statement.kind)) return this.everywhere
    if (!LISTED.has(statement.kind)) return this.everywhere | Fact.Unclear
    let facts = this.everywhere
    for (const { name } of statement.functions) facts |= this.touches(name)
    for (const { name } of statement.relations) facts |= this.touches(name)
    for (const { name } of statement.types) facts |= this.touches(name)
    for (const name of statement.attributes) facts |= this.touches(name)
    return (statement.acts & Act.Creates) === 0 ? facts : facts | this.ddl
  }

  /** Names and words that a statement is searched for. */
  get touching(): number {
    return this.#touching.size
  }
}

/**
 * Makes `Routines` of the rows of `surveyQuery`, one by one as they come, so that nobody has to wait for
 * all of them. What it does not get in one transaction's view fits together no less often than the database
 * changes.
 */
export class Survey {
  /** What `DIGEST_QUERY` said in the same view. */
  digest = ''
  /** What may run on servers that several clients share. */
  readonly sharing: SharingFacts
  readonly #reach = new Reach()
  /** Words of a body that are looked at: those that name something. */
  readonly #words = new Set(this.#reach.words)
  readonly #routines = new Set<string>()
  readonly #relations = new Set<string>()
  readonly #types: string[] = []
  /** Custom settings by the node of the function that names them. */
  readonly #custom = new Map<string, readonly string[]>()
  #names = 0
  #links = 0
  #bodies = 0
  #read = 0
  #shared = 0
  #isBroken = false

  /** @param builtins the functions of Postgres itself, where they are not among the rows */
  constructor(builtins: Builtins | null = null) {
    this.sharing = new SharingFacts(builtins)
  }

  /** Rows of the queries are told apart by their length. */
  add(row: Row): void {
    if (row.length === 1) this.digest = row[0]!
    else if (row.length === 2) this.#addLink(row)
    else if (row.length === 3) this.#addName(row)
    else if (row.length === 4) this.#addShared(row)
    else if (row.length === 6) this.#addRoutine(row)
    else this.#isBroken = true
  }

  #addShared(row: Row): void {
    if (++this.#shared <= SHARED_MAX) this.sharing.add(row)
  }

  #addName([letter, number, name]: Row): void {
    if (++this.#names > NAMES_MAX) return
    const node = `${letter}${number}`
    const key = nameKey(name!)
    if (letter === 'b') {
      this.#reach.mark(node, readBody(key).facts & TOUCHES)
      return
    }
    if (letter === 'f') this.#routines.add(key)
    else if (letter === 'r') this.#relations.add(key)
    // Postgres' own that matter are in the vocabulary.
    if (Number(number) < FIRST_OID) return
    const word = wordNode(key)
    this.#words.add(key)
    this.#reach.link(node, word)
    if (letter === 'r') this.#reach.link(`x${number}`, word)
    else if (letter === 't') this.#types.push(number!)
  }

  #addLink([from, to]: Row): void {
    if (++this.#links <= LINKS_MAX) this.#reach.link(from!, to!)
  }

  #addRoutine([oid, name, language, source, isCut, extension]: Row): void {
    if (++this.#bodies > ROUTINES_MAX) return
    const node = `f${oid}`
    if (language !== 'sql' && language !== 'plpgsql') {
      const isMaker = language === 'internal' && RANGE_MAKERS.has(source!)
      if (!isMaker && !isHarmless(nameKey(name!), extension ?? null)) this.#reach.mark(node, Fact.Unclear)
      return
    }
    this.#read += source!.length
    if (isCut === 't' || this.#read > BODIES_MAX) {
      this.#reach.mark(node, Fact.Unclear)
      return
    }
    const { facts, words } = readBody(source!)
    this.#reach.mark(node, facts & TOUCHES)
    for (const word of words) if (this.#words.has(word)) this.#reach.link(wordNode(word), node)
    const custom = customNamesIn(source!)
    if (custom.length > 0) this.#custom.set(node, custom)
  }

  finish(): Routines {
    this.sharing.finish()
    const isTooMuch =
      this.#isBroken || this.#names > NAMES_MAX || this.#links > LINKS_MAX || this.#bodies > ROUTINES_MAX
    if (isTooMuch) this.#reach.mark(Place.Everywhere, Fact.Unclear)
    this.#reach.spread()
    const custom = new Set<string>()
    for (const [node, names] of this.#custom)
      if (this.#reach.facts(node) !== 0) for (const name of names) custom.add(name)
    return new Routines(this.#reach, {
      routines: this.#routines,
      relations: this.#relations,
      customNames: [...custom].slice(0, CUSTOM_MAX),
      harmlessTypes: new Set(this.#types.filter((oid) => this.#reach.facts(`t${oid}`) === 0).map(Number)),
    })
  }
}

/** In C or another language, of an extension that is known to keep nothing in the session. */
function isHarmless(name: string, extension: string | null): boolean {
  return extension !== null && HARMLESS_EXTENSIONS.has(extension) && !STATE_FUNCTIONS.has(name)
}

/** Of a database about which nothing is known: any statement may do anything. */
export const UNREAD: Routines = unread()

function unread(): Routines {
  const survey = new Survey()
  survey.add([])
  return survey.finish()
}
