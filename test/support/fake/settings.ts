// Owns: the settings of one session of the model: values, canonical forms, what a transaction undoes and
// which parameters were reported. Must never know messages or streams.

import { PgError } from './wire.ts'

type Values = Map<string, string>

/** A copy of the settings, to return to. */
export interface Snapshot {
  session: Values
  effective: Values
}

/** Parameters that Postgres 15 reports, in lower case, with their proper spelling. */
export const REPORTED: Record<string, string> = Object.fromEntries(
  [
    'application_name',
    'client_encoding',
    'DateStyle',
    'default_transaction_read_only',
    'in_hot_standby',
    'integer_datetimes',
    'IntervalStyle',
    'is_superuser',
    'server_encoding',
    'server_version',
    'session_authorization',
    'standard_conforming_strings',
    'TimeZone',
  ].map((name) => [name.toLowerCase(), name]),
)

const READ_ONLY = /^(in_hot_standby|integer_datetimes|is_superuser|server_encoding|server_version)$/
const TIME_ZONES = /^(UTC|GMT|Europe\/Berlin|America\/New_York|Asia\/Tokyo)$/
const UNITS: [string, number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
]

/** Values of a session that changed nothing. */
export const DEFAULTS: Readonly<Record<string, string>> = {
  application_name: '',
  client_encoding: 'UTF8',
  datestyle: 'ISO, MDY',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  in_hot_standby: 'off',
  integer_datetimes: 'on',
  intervalstyle: 'postgres',
  is_superuser: 'on',
  lock_timeout: '0',
  role: 'none',
  search_path: '"$user", public',
  server_encoding: 'UTF8',
  server_version: '15.0',
  session_authorization: 'postgres',
  standard_conforming_strings: 'on',
  statement_timeout: '0',
  timezone: 'UTC',
  work_mem: '4MB',
}

function invalid(name: string, value: string): PgError {
  return new PgError('22023', `invalid value for parameter "${name}": "${value}"`)
}

/**
 * `name` as the client wrote it: Postgres repeats it here, and its own spelling where a check of its own
 * refuses.
 */
function toBoolean(name: string, value: string): string {
  const lower = value.toLowerCase()
  if (['on', 'true', 'yes', '1', 't', 'y'].includes(lower)) return 'on'
  if (['off', 'false', 'no', '0', 'f', 'n'].includes(lower)) return 'off'
  throw new PgError('22023', `parameter "${name}" requires a Boolean value`)
}

function toDuration(name: string, value: string): string {
  const [, digits = '', unit = 'ms'] = /^\s*(\d+)\s*(ms|s|min|h|d)?\s*$/.exec(value) ?? []
  if (digits === '') throw invalid(name, value)
  const ms = Number(digits) * (UNITS.find(([known]) => known === unit)?.[1] ?? 1)
  if (ms === 0) return '0'
  const [best, size] = UNITS.find(([, length]) => ms % length === 0) ?? ['ms', 1]
  return `${ms / size}${best}`
}

/** Milliseconds of a canonical duration. */
export function durationMs(value: string): number {
  const [, digits = '0', unit = 'ms'] = /^(\d+)(\w+)?$/.exec(value) ?? []
  return Number(digits) * (UNITS.find(([known]) => known === unit)?.[1] ?? 1)
}

/** `old` fills the part (style or order) that the new value leaves open, as in Postgres. */
function toDateStyle(value: string, old: string): string {
  const styles: Record<string, string> = { iso: 'ISO', sql: 'SQL', postgres: 'Postgres', german: 'German' }
  let [style, order] = old.split(', ')
  if (/german/i.test(value)) order = 'DMY'
  for (const word of value.toLowerCase().split(',')) {
    const token = word.trim()
    if (styles[token] !== undefined) style = styles[token]
    else if (/^(mdy|dmy|ymd)$/.test(token)) order = token.toUpperCase()
    else throw invalid('DateStyle', value)
  }
  return `${style}, ${order}`
}

function toEncoding(value: string): string {
  const known = value.toUpperCase().replace('-', '')
  if (!/^(UTF8|LATIN1|SQL_ASCII)$/.test(known)) throw invalid('client_encoding', value)
  return known
}

/** The form in which Postgres keeps a value; `given` is the name as written. @throws PgError 22023 */
function canonical(given: string, value: string, old: string): string {
  const name = given.toLowerCase()
  if (name === 'datestyle') return toDateStyle(value, old)
  if (name === 'client_encoding') return toEncoding(value)
  if (name === 'timezone' && !TIME_ZONES.test(value)) throw invalid('TimeZone', value)
  if (name === 'statement_timeout' || name === 'lock_timeout') return toDuration(given, value)
  if (name === 'default_transaction_read_only' || name === 'standard_conforming_strings')
    return toBoolean(given, value)
  if (name !== 'intervalstyle') return value
  const styles = ['postgres', 'postgres_verbose', 'sql_standard', 'iso_8601']
  if (styles.includes(value.toLowerCase())) return value.toLowerCase()
  const hint = `Available values: ${styles.join(', ')}.`
  throw new PgError('22023', invalid(given, value).message, 'ERROR', { H: hint })
}

/** The settings of one session. Names are lower case inside. */
export class Settings {
  /** What RESET returns to: given at login. */
  readonly boot: Values
  /** Who may be named in `role` and `session_authorization`, and whether each is a superuser. */
  readonly #roles: ReadonlyMap<string, boolean>
  /** Values that outlive the transaction if it commits; `effective` also has those of SET LOCAL. */
  #session: Values
  #effective: Values
  #told: Values = new Map()

  constructor(boot: Record<string, string>, roles: ReadonlyMap<string, boolean>) {
    this.boot = new Map(Object.entries(boot))
    this.#roles = roles
    this.#session = new Map(this.boot)
    this.#effective = new Map(this.boot)
  }

  /** @throws PgError 42704 for a name that does not exist */
  get(name: string): string {
    const value = this.#effective.get(name.toLowerCase())
    if (value === undefined) throw this.unknown(name)
    return value
  }

  unknown(name: string): PgError {
    return new PgError('42704', `unrecognized configuration parameter "${name}"`)
  }

  has(name: string): boolean {
    return this.#effective.has(name.toLowerCase())
  }

  /** Values that differ from what login gave. */
  changed(): Record<string, string> {
    const differs = [...this.#effective].filter(([name, value]) => value !== (this.boot.get(name) ?? ''))
    return Object.fromEntries(differs)
  }

  /**
   * Sets or, with null, resets. @returns the canonical value. @throws PgError when name or value is refused
   */
  set(name: string, value: string | null, local: boolean): string {
    const key = name.toLowerCase()
    const old = this.#effective.get(key) ?? ''
    // A name with a dot is made by naming it; any other must exist.
    if (!this.#effective.has(key) && !name.includes('.')) throw this.unknown(name)
    if (READ_ONLY.test(key)) throw new PgError('55P02', `parameter "${REPORTED[key]}" cannot be changed`)
    const next = value === null ? (this.boot.get(key) ?? '') : canonical(name, value, old)
    this.#checkRole(key, next)
    this.#put(key, next, local)
    if (key === 'session_authorization') this.#put('role', 'none', local)
    if (key === 'session_authorization' || key === 'role') this.#noteSuperuser(local)
    return next
  }

  /** RESET ALL: roles stay. */
  resetAll(): void {
    for (const [name] of this.#session) {
      if (/^(role|session_authorization)$/.test(name) || READ_ONLY.test(name)) continue
      this.#put(name, this.boot.get(name) ?? '', false)
    }
  }

  snapshot(): Snapshot {
    return { session: new Map(this.#session), effective: new Map(this.#effective) }
  }

  /** Back to a snapshot. A custom name made since then cannot be unmade: it reads ''. */
  restore(to: Snapshot): void {
    const custom = [...this.#effective.keys()].filter((name) => !to.effective.has(name))
    this.#session = new Map(to.session)
    this.#effective = new Map(to.effective)
    for (const name of custom) this.#put(name, '', false)
  }

  /** The transaction committed: SET LOCAL ends, SET stays. */
  commit(): void {
    for (const name of this.#effective.keys()) if (!this.#session.has(name)) this.#session.set(name, '')
    this.#effective = new Map(this.#session)
  }

  /** The server was reloaded with another default: sessions that have not set the name follow. */
  reload(name: string, value: string): void {
    const key = name.toLowerCase()
    const follows = this.#session.get(key) === this.boot.get(key)
    this.boot.set(key, value)
    if (follows) this.#put(key, value, false)
  }

  /** Reported parameters whose value the client does not know yet; they count as told afterwards. */
  untold(): [string, string][] {
    const out: [string, string][] = []
    for (const [key, name] of Object.entries(REPORTED)) {
      const value = this.#effective.get(key) ?? ''
      if (this.#told.get(key) === value) continue
      this.#told.set(key, value)
      out.push([name, value])
    }
    return out
  }

  #put(key: string, value: string, local: boolean): void {
    this.#effective.set(key, value)
    if (!local) this.#session.set(key, value)
  }

  #checkRole(key: string, value: string): void {
    if (key !== 'role' && key !== 'session_authorization') return
    if (key === 'role' && value === 'none') return
    if (!this.#roles.has(value)) throw new PgError('22023', `role "${value}" does not exist`)
    const login = this.boot.get('session_authorization') ?? ''
    if (this.#roles.get(login) === true || value === login) return
    const what = key === 'role' ? 'set role' : 'set session authorization'
    throw new PgError('42501', `permission denied to ${what} "${value}"`)
  }

  #noteSuperuser(local: boolean): void {
    const role = this.#effective.get('role')
    const who = role === 'none' ? this.#effective.get('session_authorization') : role
    this.#put('is_superuser', this.#roles.get(who ?? '') === true ? 'on' : 'off', local)
  }
}
