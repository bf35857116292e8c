// Startup parameters of a client: which of them a server must have been opened with (its baseline), and which
// are carried as settings. Pure. Values are kept one character a byte.
import type { PoolMode } from '../config/types.ts'

/** Ours to answer or part of the route, never passed on as they came. */
const NOT_SETTINGS = new Set(['user', 'database', 'replication'])

/** Names that Postgres reports in every version and that are followed by value; compared without case. */
const CARRIED = new Map(
  [
    'application_name',
    'client_encoding',
    'DateStyle',
    'IntervalStyle',
    'TimeZone',
    'standard_conforming_strings',
  ].map((name) => [name.toLowerCase(), name]),
)

/** What a client's startup packet asks for. */
export interface StartupWishes {
  /** Key of the servers that it may use. '' : plain ones. */
  readonly baseline: string
  /** The same of those that were opened with all of it. */
  readonly strict: string
  /** Reported settings with values of the client's own, under Postgres' spelling of their names. */
  readonly carried: ReadonlyMap<string, string>
}

/**
 * Sorts startup parameters. In session mode a server is the client's alone, so everything belongs to its
 * baseline and RESET gives what it gives on a connection of one's own.
 */
export function wishesOf(parameters: ReadonlyMap<string, string>, mode: PoolMode): StartupWishes {
  return sort(parameters, (name) => (mode === 'session' ? undefined : CARRIED.get(name)))
}

/**
 * The same for a session of one request. The name of its program belongs to the baseline too: all requests of
 * a program have it, and a reset brings it back, so that none of them has to bring it.
 */
export function wishesOfRequest(parameters: ReadonlyMap<string, string>, mode: PoolMode): StartupWishes {
  const isOwn = (name: string): boolean => mode === 'session' || name === 'application_name'
  return sort(parameters, (name) => (isOwn(name) ? undefined : CARRIED.get(name)))
}

/** @param reportedAs the name under which a parameter is carried; undefined: it is not */
function sort(
  parameters: ReadonlyMap<string, string>,
  reportedAs: (lowerCase: string) => string | undefined,
): StartupWishes {
  const carried = new Map<string, string>()
  const own: [string, string][] = []
  const all: [string, string][] = []
  for (const [name, value] of parameters) {
    if (NOT_SETTINGS.has(name)) continue
    all.push([name, value])
    const reported = reportedAs(name.toLowerCase())
    if (reported !== undefined) carried.set(reported, value)
    else own.push([name, value])
  }
  return { baseline: baselineOf(own), strict: baselineOf(all), carried }
}

/** The key for these parameters: equal for the same parameters in any order. */
export function baselineOf(parameters: [name: string, value: string][]): string {
  if (parameters.length === 0) return ''
  // Of a name given twice, in another case, the last counts for Postgres: their order is part of the key.
  return JSON.stringify([...parameters].sort((a, b) => compare(a[0].toLowerCase(), b[0].toLowerCase())))
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** The parameters behind a key. */
export function parametersOf(baseline: string): Map<string, string> {
  return baseline === '' ? new Map() : new Map(JSON.parse(baseline) as [string, string][])
}
