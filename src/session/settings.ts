// The settings of a session, as values that can be compared by identity: equal settings are the same object.
// All that Postgres reports (ParameterStatus), and of the others those that the session has set. It owns that
// table of values; it does not know connections.
import { READ_UNSEEN } from '../sql/settings.ts'
import { readingFlags } from '../sql/transcode.ts'

/** Reported, but not something that SET could replay: facts about the server or the login. */
const FACTS = new Set([
  'server_version',
  'server_encoding',
  'integer_datetimes',
  'in_hot_standby',
  'is_superuser',
  'session_authorization',
])

/**
 * What Postgres reads while it makes a statement of a text: one made under others is another statement (RULES
 * 13). Parse analysis does, and so do rewriting (rules, views, row security) and planning: output functions
 * count as immutable, so what they make of a constant stays in the plan.
 */
const READ_BY_PARSE = new Set([
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
  'search_path',
  'role',
  'session_authorization',
  'standard_conforming_strings',
  'client_encoding',
  'row_security',
  'session_replication_role',
  ...READ_UNSEEN,
])

/** Who the session acts as. They decide what else may be set, so they are set last and reset first. */
const IDENTITY = ['session_authorization', 'role']

/** What is to be set; null: brought back to its default. */
export type Change = readonly [name: string, value: string | null]

/** Does Postgres convert nothing between these two? */
export function isSameEncoding(client: string, database: string): boolean {
  return client === database || client === 'SQL_ASCII' || database === 'SQL_ASCII'
}

/** Is this reported parameter a setting that a client may change and that we carry for it? */
export function isCarried(name: string): boolean {
  return !FACTS.has(name)
}

/** Of the parameters that a server tells at its login those that are such settings. */
export function carriedOf(parameters: ReadonlyMap<string, string>): Map<string, string> {
  const carried = new Map<string, string>()
  for (const [name, value] of parameters) if (isCarried(name)) carried.set(name, value)
  return carried
}

/** One combination of values. Compare with ===. */
export class Settings {
  readonly values: ReadonlyMap<string, string>
  /** Equal for settings under which a text parses to the same statement. */
  readonly parseKey: number
  readonly table: SettingsTable
  /** How texts are read under them (sql/transcode.ts). */
  readonly readingFlags: number
  /** Cached steps to neighbours: name, NUL, value. */
  readonly next = new Map<string, Settings>()

  constructor(table: SettingsTable, values: ReadonlyMap<string, string>, parseKey: number) {
    this.table = table
    this.values = values
    this.parseKey = parseKey
    const isStandard = values.get('standard_conforming_strings') !== 'off'
    this.readingFlags = readingFlags(values.get('client_encoding') ?? '', isStandard)
  }

  /** These settings with one value changed. */
  with(name: string, value: string): Settings {
    if (this.values.get(name) === value) return this
    const step = `${name}\0${value}`
    const known = this.next.get(step)
    if (known !== undefined) return known
    const settings = this.table.of(new Map(this.values).set(name, value))
    if (this.next.size < STEPS_MAX) this.next.set(step, settings)
    return settings
  }

  /** These settings without a value of the session's own. */
  without(name: string): Settings {
    if (!this.values.has(name)) return this
    const values = new Map(this.values)
    values.delete(name)
    return this.table.of(values)
  }

  /**
   * These settings with the values that the session has set itself in the place of those that it had.
   * @param reported names that Postgres reports: they stay
   */
  withOwn(reported: ReadonlyMap<string, string>, own: Iterable<readonly [string, string]>): Settings {
    const values = new Map<string, string>()
    for (const name of reported.keys()) values.set(name, this.values.get(name) ?? '')
    for (const [name, value] of own) if (!reported.has(name)) values.set(name, value)
    return this.table.of(values)
  }

  /**
   * What must be set to come from `from` to these, in the order in which it is to be set (RULES 2):
   * client_encoding first, since it decides how the rest is read; then as the login's own user all but the
   * identity; session authorization; the role last. What only `from` has goes back to its default.
   */
  changesFrom(from: Settings): Change[] {
    const changes: Change[] = []
    for (const [name, value] of this.values) {
      if (from.values.get(name) === value || IDENTITY.includes(name)) continue
      if (name === 'client_encoding') changes.unshift([name, value])
      else changes.push([name, value])
    }
    for (const name of from.values.keys()) {
      if (!this.values.has(name) && !IDENTITY.includes(name)) changes.push([name, null])
    }
    return this.#withIdentity(from, changes)
  }

  #withIdentity(from: Settings, changes: Change[]): Change[] {
    const [authorization, role] = IDENTITY
    const isSame = IDENTITY.every((name) => from.values.get(name) === this.values.get(name))
    if (isSame && (changes.length === 0 || !IDENTITY.some((name) => this.values.has(name)))) return changes
    const first = changes[0]?.[0] === 'client_encoding' ? changes.splice(0, 1) : []
    const all: Change[] = [...first]
    if (from.values.has(role)) all.push([role, null])
    if (from.values.has(authorization)) all.push([authorization, null])
    all.push(...changes)
    for (const name of IDENTITY) {
      const value = this.values.get(name)
      if (value !== undefined) all.push([name, value])
    }
    return all
  }
}

/**
 * Combinations kept for comparison; beyond it the oldest are forgotten (and would only be compared as
 * different).
 */
const COMBINATIONS_MAX = 20_000
const STEPS_MAX = 64

/** All combinations in use in one pool. */
export class SettingsTable {
  readonly #known = new Map<string, Settings>()
  readonly #parseKeys = new Map<string, number>()
  #parseKeyNext = 1

  /** The one object for these values. */
  of(values: ReadonlyMap<string, string>): Settings {
    const names = [...values.keys()].sort()
    let key = ''
    let parse = ''
    for (const name of names) {
      const part = `${name}\0${values.get(name)}\0`
      key += part
      if (READ_BY_PARSE.has(name)) parse += part
    }
    let settings = this.#known.get(key)
    if (settings === undefined) {
      settings = new Settings(this, values, this.#parseKeyOf(parse))
      if (this.#known.size >= COMBINATIONS_MAX) this.#forgetOldest()
      this.#known.set(key, settings)
    }
    return settings
  }

  /** Numbers are never given twice, so that a forgotten combination cannot be taken for another. */
  #parseKeyOf(parse: string): number {
    let key = this.#parseKeys.get(parse)
    if (key === undefined) {
      key = this.#parseKeyNext++
      if (this.#parseKeys.size >= COMBINATIONS_MAX) this.#parseKeys.clear()
      this.#parseKeys.set(parse, key)
    }
    return key
  }

  /** With its steps: they lead from one to the next, and would keep all that there ever were. */
  #forgetOldest(): void {
    for (const [key, settings] of this.#known) {
      settings.next.clear()
      this.#known.delete(key)
      return
    }
  }
}
