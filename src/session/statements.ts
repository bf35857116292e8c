// Prepared statements: what a text is (Definition) and what a client calls how (ClientStatements); what a
// pool knows is in registry.ts, what a server has in server-statements.ts. Pure bookkeeping: it writes no
// messages.
// Rules: a name means the same text for its client on whatever server; a server "has" a statement only after
// its ParseComplete; an error takes nothing away that Postgres would have kept.
import type { Effects } from '../sql/effects.ts'
import { Fact } from '../sql/scanner.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Registry } from './registry.ts'
import type { Settings } from './settings.ts'

/** Postgres compares statement names up to NAMEDATALEN - 1 bytes. */
export const NAME_MAX = 63

/** Prefix of every statement name that we give on a server. */
export const PREFIX = 'pgmux_'

/** What makes a text a statement of its own. */
export interface Kind {
  readonly key: string
  readonly parseKey: number
  /** Its name on servers, if that is not ours to choose. */
  readonly name?: string
  /** Absent: it is brought to servers as it is, always. */
  readonly database?: Schema
}

/** One text with its declared parameter types, parsed under settings of one kind. */
export class Definition {
  readonly id: number
  /** Name on every server, one character a byte. */
  readonly name: string
  /** Body of a Parse message behind the statement name: text, NUL, types. */
  readonly body: Buffer
  /** What it may leave behind, as it was read last. */
  effects: Effects
  /** By which knowledge of the database that was (backend/insight.ts). */
  readAs = 0
  /** Registry key. */
  readonly key: string
  readonly parseKey: number
  /**
   * Settings under which it was parsed first (any with the same `parseKey` would do); null: not known yet.
   */
  settings: Settings | null = null
  references = 0
  /** By which it is counted; null: it has not run. */
  shape: Shape | null = null
  /** A PREPARE: it has the client's own name on servers (sql-statements.ts). */
  readonly isSql: boolean
  readonly #database: Schema
  /** The number of the database's schema when it was parsed first. */
  readonly #madeIn: number
  /** Room for the types of as many parameters as it can have. */
  readonly #typesMax: number
  /** As its clients were told them, behind a count; null: they were not. */
  #types: Buffer | null = null

  constructor(id: number, body: Buffer, effects: Effects, of: Kind) {
    this.id = id
    this.name = of.name ?? PREFIX + id
    this.isSql = of.name !== undefined
    this.body = body
    this.effects = effects
    this.key = of.key
    this.parseKey = of.parseKey
    this.#database = of.database ?? UNCHANGING
    this.#madeIn = this.#database.schema
    this.#typesMax = of.database === undefined ? 0 : typesMax(body)
  }

  /** Bytes that it costs us, roughly. */
  get cost(): number {
    return this.body.length * 2 + this.#typesMax + DEFINITION_OVERHEAD
  }

  /** Its clients were told the types of parameters in `src[start..stop)`: a count, and their numbers. */
  told(src: Buffer, start: number, stop: number): void {
    const length = stop - start
    if (this.#types === null && length > COUNT_BYTES && length <= this.#typesMax)
      this.#types = ownCopy(src.subarray(start, stop))
  }

  /**
   * With what it is parsed on a server that lacks it. Where the database has changed since, its parameters
   * keep the types that its clients were told, as in Postgres: values come in the format of these.
   */
  get bodyNow(): Buffer {
    const { body } = this
    if (this.#types === null || this.#database.schema === this.#madeIn) return body
    return Buffer.concat([body.subarray(0, body.indexOf(0) + 1), this.#types])
  }

  /** Too long to be kept: it is on one server only, and cannot be brought to another. */
  get isLarge(): boolean {
    return this.id <= 0
  }

  /** Could running it end a transaction, as far as its text tells? */
  get mayEndTransaction(): boolean {
    return (this.effects.facts & (Fact.Ends | Fact.Unclear)) !== 0
  }
}

const DEFINITION_OVERHEAD = 300
const COUNT_BYTES = 2
const TYPE_BYTES = 4
const DOLLAR = 0x24

/** There are as many parameters as its text has dollar signs, at most. */
function typesMax(body: Buffer): number {
  let count = 0
  const end = body.indexOf(0)
  for (let at = body.indexOf(DOLLAR); at >= 0 && at < end; at = body.indexOf(DOLLAR, at + 1)) count++
  return count === 0 ? 0 : COUNT_BYTES + count * TYPE_BYTES
}

/** In memory of its own: a piece of Node's pool would keep 64 KiB for as long as the statement is kept. */
export function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(copy)
  return copy
}

/** Says what texts are made into: with another number it may be something else. */
export interface Schema {
  readonly schema: number
}

/** Of what no change is told. */
export const UNCHANGING: Schema = { schema: 0 }

/** A name of one client: what it stands for, and what its driver was told about it. */
export class NamedStatement {
  readonly name: string
  readonly definition: Definition
  /** Shape of the result that the client was told of since its Parse (wire/shape.ts); 0: of none. */
  shape = 0

  constructor(name: string, definition: Definition) {
    this.name = name
    this.definition = definition
  }
}

/** A change of a name that was sent and is not answered yet. `to` null: it will be gone. */
export class PendingName {
  readonly name: string
  readonly to: NamedStatement | null
  /** Number of the batch in which it was sent. */
  readonly batch: number
  /** Of the same name, sent just before and just behind it. */
  older: PendingName | null = null
  newer: PendingName | null = null

  constructor(name: string, to: NamedStatement | null, batch: number) {
    this.name = name
    this.to = to
    this.batch = batch
  }
}

/** Of clients that have none. Never written to. */
const NO_NAMES = new Map<string, NamedStatement>()
const NO_CHANGES = new Map<string, PendingName>()

/** The named statements of one client. */
export class ClientStatements {
  readonly #registry: Registry
  // Made when first needed: most of many idle clients never name a statement.
  #confirmed: Map<string, NamedStatement> = NO_NAMES
  /** The last change of each name: one batch may hold very many, so nothing here looks through them. */
  #pending: Map<string, PendingName> = NO_CHANGES
  #bytes = 0
  /** Names whose text was too long to be kept: they exist on one server only. */
  #large = 0
  #sql = 0

  constructor(registry: Registry) {
    this.#registry = registry
  }

  get size(): number {
    return this.#confirmed.size
  }

  /** Some answers about names are still to come. */
  get hasPending(): boolean {
    return this.#pending.size > 0
  }

  get hasLarge(): boolean {
    return this.#large > 0
  }

  /** SQL's PREPARE has made some of them. */
  get hasSql(): boolean {
    return this.#sql > 0
  }

  /** The definition for a Parse of this client, or null when it or the pool may keep no more text. */
  define(body: Buffer, parseKey: number, read: (body: Buffer) => Effects): Definition | null {
    if (this.#bytes + body.length * 2 > this.#registry.clientBytesMax) return null
    return this.#registry.acquire(body, parseKey, read)
  }

  /** The same for what SQL has prepared. */
  defineSql(key: string, bytes: number, make: (id: number) => Definition): Definition | null {
    if (this.#bytes + bytes * 2 > this.#registry.clientBytesMax) return null
    return this.#registry.acquireAs(key, make)
  }

  /** Names that Postgres has confirmed. */
  get names(): Iterable<NamedStatement> {
    return this.#confirmed.values()
  }

  /** Postgres says that this name stands for this. Takes over the caller's reference to the definition. */
  adopt(name: string, definition: Definition): void {
    this.drop(name)
    this.#count(definition)
    this.#set(new NamedStatement(name, definition))
  }

  /** What the name will stand for when all that was sent has been done. */
  lookup(name: string): NamedStatement | undefined {
    const change = this.#pending.get(name)
    return change === undefined ? this.#confirmed.get(name) : (change.to ?? undefined)
  }

  /**
   * Does `lookup` rest on an answer that is still to come? Within one batch that does not matter: if
   * Postgres does not come to the one message, it does not come to the other.
   */
  isUncertain(name: string, batch: number): boolean {
    const change = this.#pending.get(name)
    return change !== undefined && change.batch !== batch
  }

  /** A Parse under this name was sent. Takes over the caller's reference to the definition. */
  sentParse(name: string, definition: Definition, batch: number): PendingName {
    const change = new PendingName(name, new NamedStatement(name, definition), batch)
    this.#count(definition)
    this.#append(change)
    return change
  }

  /** A Close of this name was sent. */
  sentClose(name: string, batch: number): PendingName {
    const change = new PendingName(name, null, batch)
    this.#append(change)
    return change
  }

  /** Postgres did what was sent. */
  confirm(change: PendingName): void {
    this.#forget(change)
    this.drop(change.name)
    if (change.to !== null) this.#set(change.to)
  }

  #set(statement: NamedStatement): void {
    if (this.#confirmed === NO_NAMES) this.#confirmed = new Map()
    this.#confirmed.set(statement.name, statement)
  }

  /** Postgres refused it or never came to it: the name stays as it was. */
  withdraw(change: PendingName): void {
    this.#forget(change)
    if (change.to !== null) this.#release(change.to.definition)
  }

  /** DEALLOCATE ALL or DISCARD ALL was done: what was there before is gone, what is under way is not. */
  clear(): void {
    for (const statement of this.#confirmed.values()) this.#release(statement.definition)
    this.#confirmed.clear()
  }

  /** The server that should have answered is gone: what is not confirmed will not be. */
  withdrawAll(): void {
    for (const last of this.#pending.values()) {
      for (let change: PendingName | null = last; change !== null; change = change.older) {
        if (change.to !== null) this.#release(change.to.definition)
      }
    }
    this.#pending.clear()
  }

  /** The client has gone. */
  dispose(): void {
    this.clear()
    this.withdrawAll()
  }

  #count(definition: Definition): void {
    this.#bytes += definition.cost
    if (definition.isLarge) this.#large++
    if (definition.isSql) this.#sql++
  }

  #release(definition: Definition): void {
    this.#bytes -= definition.cost
    if (definition.isSql) this.#sql--
    if (definition.isLarge) this.#large--
    else this.#registry.release(definition)
  }

  #append(change: PendingName): void {
    const before = this.#pending.get(change.name)
    if (before !== undefined) {
      change.older = before
      before.newer = change
    }
    if (this.#pending === NO_CHANGES) this.#pending = new Map()
    this.#pending.set(change.name, change)
  }

  #forget(change: PendingName): void {
    const { name, older, newer } = change
    if (older !== null) older.newer = newer
    if (newer !== null) newer.older = older
    else if (older !== null) this.#pending.set(name, older)
    else if (this.#pending.get(name) === change) this.#pending.delete(name)
    change.older = change.newer = null
  }

  /** Postgres has no such name any more. */
  drop(name: string): void {
    const statement = this.#confirmed.get(name)
    if (statement === undefined) return
    this.#confirmed.delete(name)
    this.#release(statement.definition)
  }
}
