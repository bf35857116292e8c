// The settings that Postgres reports (ParameterStatus), as values that can be compared by identity: equal
// settings are the same object. It owns that table of values; it does not know connections.

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
 * What parse analysis reads of the reported settings: a statement parsed under others is another statement.
 */
const READ_BY_PARSE = new Set([
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
  'search_path',
  'standard_conforming_strings',
  'client_encoding',
])

/** Is this reported parameter a setting that a client may change and that we carry for it? */
export function isCarried(name: string): boolean {
  return !FACTS.has(name)
}

/** One combination of values. Compare with ===. */
export class Settings {
  readonly values: ReadonlyMap<string, string>
  /** Equal for settings under which a text parses to the same statement. */
  readonly parseKey: number
  readonly table: SettingsTable
  /** Cached steps to neighbours: name, NUL, value. */
  readonly next = new Map<string, Settings>()

  constructor(table: SettingsTable, values: ReadonlyMap<string, string>, parseKey: number) {
    this.table = table
    this.values = values
    this.parseKey = parseKey
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

  /**
   * What must be set to come from `other` to these, in the order in which it is to be set: client_encoding
   * first, since it decides how the rest is read.
   */
  differences(other: Settings): [name: string, value: string][] {
    const list: [string, string][] = []
    for (const [name, value] of this.values) {
      if (other.values.get(name) === value) continue
      if (name === 'client_encoding') list.unshift([name, value])
      else list.push([name, value])
    }
    return list
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
