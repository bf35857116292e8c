// Where Postgres is, for the upstream section and for each database: a URL or separate keys, and which of
// them counts when both were given in different places. Opens no socket.

import { RANK } from './layers.ts'
import { type Path, type ResolveContext, readSecret, rule } from './rules.ts'
import type { ServerTlsMode, UpstreamConfig } from './types.ts'
import { parseUpstreamUrl, type UpstreamUrl } from './upstream-url.ts'

interface UpstreamKeys {
  url?: string | undefined
  host?: string | undefined
  port?: number | undefined
  user?: string | undefined
  password?: string | undefined
  password_file?: string | undefined
  dbname?: string | undefined
  tls?: { mode?: ServerTlsMode | undefined } | undefined
}

const URL_PARTS = ['host', 'port', 'user', 'password', 'password_file', 'dbname'] as const
const URL_PART_DEFAULTS: Readonly<Record<string, unknown>> = { port: 5432 }

/** True where the value was given; a default that is spelled out in the file says nothing. */
function isGiven(context: ResolveContext, path: Path, value: unknown): boolean {
  const rank = context.layers.rank(path)
  const fallback = URL_PART_DEFAULTS[path.at(-1)!] ?? ''
  return rank > RANK.file || (rank === RANK.file && value !== undefined && value !== fallback)
}

function readUrl(context: ResolveContext, section: Path, text: string): UpstreamUrl | null {
  const path = [...section, 'url']
  try {
    const url = parseUpstreamUrl(text)
    for (const name of url.ignored) {
      context.layers.warnings.push(`${context.layers.place(path)}: the parameter "${name}" is not used`)
    }
    return url
  } catch (error) {
    rule(context, [path], true, (error as Error).message)
    return null
  }
}

/**
 * Takes from `keys` what the URL does not replace. A URL replaces the separate keys of lower layers; separate
 * keys of higher layers replace parts of the URL, `host` all of it; both in one layer contradict each other.
 */
function splitUrl(context: ResolveContext, section: Path, keys: UpstreamKeys) {
  const { layers } = context
  const given = URL_PARTS.filter((key) => isGiven(context, [...section, key], keys[key]))
  const urlRank = layers.rank([...section, 'url'])
  const hostWins = given.includes('host') && layers.rank([...section, 'host']) > urlRank
  const useUrl = keys.url !== undefined && keys.url !== '' && !hostWins
  if (!useUrl) return { url: null, own: new Set<string>(given) }
  const own = new Set<string>()
  for (const key of given) {
    const path = [...section, key]
    const rank = layers.rank(path)
    rule(context, [path], rank === urlRank, 'stands beside "url"; put it into the URL or remove the URL')
    if (rank > urlRank) own.add(key)
  }
  return { url: readUrl(context, section, keys.url!), own }
}

function ownPassword(context: ResolveContext, section: Path, keys: UpstreamKeys, own: Set<string>) {
  const path = [...section, 'password']
  const filePath = [...section, 'password_file']
  const difference = context.layers.rank(path) - context.layers.rank(filePath)
  const both = own.has('password') && own.has('password_file')
  rule(context, [path, filePath], both && difference === 0, 'stands beside "password_file"; remove one')
  if (own.has('password_file') && (!both || difference < 0)) {
    return readSecret(context, filePath, keys.password_file!)
  }
  return own.has('password') ? keys.password! : undefined
}

/** Host, login and TLS of an upstream or a database; keys that nothing was said about are absent. */
export function resolveUpstream(
  context: ResolveContext,
  section: Path,
  keys: UpstreamKeys,
): Partial<UpstreamConfig> {
  const { url, own } = splitUrl(context, section, keys)
  const result: Partial<UpstreamConfig> = {}
  const tlsPath = [...section, 'tls', 'mode']
  const tlsRank = context.layers.rank(tlsPath)
  const urlRank = context.layers.rank([...section, 'url'])
  if (url !== null) {
    result.host = url.host
    result.port = url.port
    if (url.user !== '') result.user = url.user
    // The URL's password belongs to the URL's user.
    if (url.password !== null && !own.has('user')) result.password = url.password
    // Behind the upstream stands any database that clients name; behind a database of ours, the one of its
    // URL.
    if (url.dbname !== '' && section[0] === 'upstream') result.shownDbname = url.dbname
    else if (url.dbname !== '') result.dbname = url.dbname
  }
  if (own.has('host')) result.host = keys.host!
  if (own.has('port')) result.port = keys.port!
  if (own.has('user')) result.user = keys.user!
  if (own.has('dbname')) result.dbname = keys.dbname!
  const password = ownPassword(context, section, keys, own)
  if (password !== undefined) result.password = password
  const tlsMode = keys.tls?.mode
  const urlDecides = url !== null && url.tlsMode !== null && tlsRank <= urlRank
  const clash = urlDecides && tlsRank === urlRank && tlsMode !== 'prefer' && tlsMode !== url.tlsMode
  rule(context, [tlsPath], clash, 'says something else than "sslmode" in the URL; remove one')
  if (urlDecides) result.tls = { mode: url.tlsMode! }
  else if (tlsMode !== undefined) result.tls = { mode: tlsMode }
  return result
}
