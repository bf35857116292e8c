// What is different between two configurations: by the dotted names of the options, never by their values,
// which may be secrets. It knows which options count from the start of a process to its end. Pure.
import { isDeepStrictEqual } from 'node:util'
import type { Config } from './types.ts'

/** Names that came, went, or whose keys have other values. */
export interface NameChanges {
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
}

/** What a new configuration means for a process that runs with an old one. */
export interface Changes {
  /** What counts from now on: the new one, with the old values of what cannot change in a running process. */
  readonly config: Config
  /** Options with another value that takes effect now, by dotted name; databases and users by theirs. */
  readonly changed: readonly string[]
  /** Options whose new value waits for the next start. */
  readonly needsRestart: readonly string[]
  readonly databases: NameChanges
  readonly users: NameChanges
}

/** Sockets that are open, and the Postgres of our own that runs, are as they are. */
export const AT_START: RegExp =
  /^(workers$|listen\.|embedded\.|(admin|serverless)\.(host|port)$|log\.format$|tracing\.(?!sample$))/

/** No option of its own: an example that is printed at the start. */
const SHOWN_ONLY = /\.shown_dbname$/

/** Files of rules, which are compared as a whole. */
const FILES = /^client\.(hba|ident)_file$/

/** Options of `pool` that are kept together. */
const SHARING: Readonly<Record<string, string>> = {
  isOn: 'pool.shared',
  depth: 'pool.shared_depth',
  maxMs: 'pool.shared_max_ms',
  maxWaitMs: 'pool.shared_max_wait',
}

/** `queryWaitTimeoutMs` is `query_wait_timeout` in the file. */
function nameInFile(key: string): string {
  if (key === 'hosts') return 'host'
  return key.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** Each value below `value` with its dotted name. */
function* leaves(value: unknown, name: string): Generator<[name: string, value: unknown]> {
  const isMap = value instanceof Map
  const isSection = typeof value === 'object' && value !== null && !Array.isArray(value) && !isMap
  const isFile = FILES.test(name)
  if (isFile) yield [name, value]
  else if (isMap) {
    for (const [key, inner] of value) yield* leaves(inner, `${name}.${key}`)
  } else if (isSection && Object.getPrototypeOf(value) === Object.prototype) {
    for (const [key, inner] of Object.entries(value)) {
      if (name === 'pool.sharing') yield [SHARING[key], inner]
      else yield* leaves(inner, name === '' ? nameInFile(key) : `${name}.${nameInFile(key)}`)
    }
  } else if (!SHOWN_ONLY.test(name)) yield [name, value]
}

function namesWithOtherValues(before: Partial<Config>, after: Partial<Config>): string[] {
  const [old, fresh] = [new Map(leaves(before, '')), new Map(leaves(after, ''))]
  const names = new Set([...old.keys(), ...fresh.keys()])
  return [...names].filter((name) => !isDeepStrictEqual(old.get(name), fresh.get(name))).sort()
}

function compareNames(
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
): NameChanges {
  const kept = [...after.keys()].filter((name) => before.has(name))
  return {
    added: [...after.keys()].filter((name) => !before.has(name)),
    removed: [...before.keys()].filter((name) => !after.has(name)),
    changed: kept.filter((name) => !isDeepStrictEqual(before.get(name), after.get(name))),
  }
}

/** Only the entries that both have: of those that came or went the name says enough. */
function inBoth<T>(map: ReadonlyMap<string, T>, other: ReadonlyMap<string, T>): Map<string, T> {
  return new Map([...map].filter(([name]) => other.has(name)))
}

/** A port that is open goes on with TLS, or without it. */
function hasOtherTls(before: Config, after: Config): boolean {
  return (before.serverless.tls.certFile === '') !== (after.serverless.tls.certFile === '')
}

/** Compares what a process runs with and what its configuration says now. */
export function changesBetween(before: Config, after: Config): Changes {
  const databases = compareNames(before.databases, after.databases)
  const users = compareNames(before.users, after.users)
  const common = (one: Config, other: Config): Config => ({
    ...one,
    databases: inBoth(one.databases, other.databases),
    users: inBoth(one.users, other.users),
  })
  const names = namesWithOtherValues(common(before, after), common(after, before))
  const isFixed = (name: string): boolean =>
    AT_START.test(name) || (hasOtherTls(before, after) && name.startsWith('serverless.tls.'))
  return {
    config: {
      ...after,
      workers: before.workers,
      listen: before.listen,
      embedded: before.embedded,
      serverless: {
        ...after.serverless,
        host: before.serverless.host,
        port: before.serverless.port,
        tls: hasOtherTls(before, after) ? before.serverless.tls : after.serverless.tls,
      },
      admin: { ...after.admin, host: before.admin.host, port: before.admin.port },
      log: { ...after.log, format: before.log.format },
      tracing: { ...before.tracing, sample: after.tracing.sample },
    },
    changed: names.filter((name) => !isFixed(name)),
    needsRestart: names.filter(isFixed),
    databases,
    users,
  }
}
