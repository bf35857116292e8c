// Where Postgres is, for the upstream section and for each database: a URL or separate keys, and which of
// them counts when both were given in different places. Opens no socket.

import { RANK } from './layers.ts'
import { type Path, type ResolveContext, readableFile, readSecret, rule } from './rules.ts'
import type { ChannelBinding, DatabaseConfig, ServerTlsConfig, TlsMode, TlsVersion } from './types.ts'
import { parseUpstreamUrl, type UpstreamUrl } from './upstream-url.ts'

interface UpstreamKeys {
  url?: string | undefined
  host?: string | undefined
  port?: number | undefined
  user?: string | undefined
  password?: string | undefined
  password_file?: string | undefined
  dbname?: string | undefined
  tls?: TlsKeys | undefined
  channel_binding?: ChannelBinding | undefined
}

interface TlsKeys {
  mode?: TlsMode | undefined
  ca_file?: string | undefined
  cert_file?: string | undefined
  key_file?: string | undefined
  negotiation?: 'postgres' | 'direct' | undefined
  min_version?: TlsVersion | undefined
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

/** What was said about an upstream or a database. */
export type ResolvedUpstream = Pick<
  DatabaseConfig,
  'host' | 'port' | 'user' | 'password' | 'dbname' | 'shownDbname' | 'tls' | 'channelBinding'
>

/** Host, login and TLS of an upstream or a database; keys that nothing was said about are absent. */
export function resolveUpstream(
  context: ResolveContext,
  section: Path,
  keys: UpstreamKeys,
): ResolvedUpstream {
  const { url, own } = splitUrl(context, section, keys)
  const result: ResolvedUpstream = {}
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
  const tls = resolveTls(context, section, { keys: keys.tls ?? {}, url })
  if (Object.keys(tls).length > 0) result.tls = tls
  const binding = fromUrl<ChannelBinding>(context, [...section, 'channel_binding'], {
    key: keys.channel_binding,
    url: url?.channelBinding ?? undefined,
    fallback: 'prefer',
  })
  if (binding !== undefined) result.channelBinding = binding
  return result
}

interface Wishes<T> {
  key: T | undefined
  url: T | undefined
  /** What the key is worth when nothing was said. */
  fallback: T
}

const URL_NAMES: Readonly<Record<string, string>> = {
  mode: 'sslmode',
  ca_file: 'sslrootcert',
  cert_file: 'sslcert',
  key_file: 'sslkey',
  negotiation: 'sslnegotiation',
  channel_binding: 'channel_binding',
}

/** What counts, a key or the URL's parameter of the same meaning: the one of the higher layer. */
function fromUrl<T>(context: ResolveContext, path: Path, { key, url, fallback }: Wishes<T>): T | undefined {
  if (url === undefined) return key
  const { layers } = context
  const section = path[0] === 'databases' ? path.slice(0, 2) : path.slice(0, 1)
  const difference = layers.rank(path) - layers.rank([...section, 'url'])
  if (difference > 0) return key
  const clash = difference === 0 && key !== undefined && key !== fallback && key !== url
  const name = URL_NAMES[path.at(-1)!]
  rule(context, [path], clash, `says something else than "${name}" in the URL; remove one`)
  return url
}

/** TLS to Postgres: what was said; the rest is absent. */
function resolveTls(
  context: ResolveContext,
  section: Path,
  given: { keys: TlsKeys; url: UpstreamUrl | null },
): Partial<ServerTlsConfig> {
  const { keys } = given
  const url = given.url?.tls ?? {}
  const at = (key: string): Path => [...section, 'tls', key]
  const file = (key: 'ca_file' | 'cert_file' | 'key_file', name: string | undefined): string | undefined => {
    const found = fromUrl(context, at(key), { key: keys[key], url: name, fallback: '' })
    return found === undefined ? undefined : readableFile(context, at(key), found)
  }
  const all = {
    mode: fromUrl(context, at('mode'), { key: keys.mode, url: url.mode, fallback: 'prefer' as TlsMode }),
    caFile: file('ca_file', url.caFile),
    certFile: file('cert_file', url.certFile),
    keyFile: file('key_file', url.keyFile),
    negotiation: fromUrl<'postgres' | 'direct'>(context, at('negotiation'), {
      key: keys.negotiation,
      url: url.negotiation,
      fallback: 'postgres',
    }),
    minVersion: keys.min_version,
  }
  const said = Object.entries(all).filter(([, value]) => value !== undefined)
  return Object.fromEntries(said) as Partial<ServerTlsConfig>
}

/** The rules between the keys of TLS to Postgres, once the defaults of `upstream` are below a database's. */
export function checkServerTls(context: ResolveContext, section: Path, tls: ServerTlsConfig): void {
  const at = (key: string): Path => [...section, 'tls', key]
  const halves = (tls.certFile === '') !== (tls.keyFile === '')
  const missing = tls.certFile === '' ? 'cert_file' : 'key_file'
  rule(
    context,
    [at(missing)],
    halves,
    'a certificate needs its key and a key its certificate; give both files',
  )
  const isWeak = tls.mode === 'disable' || tls.mode === 'allow' || tls.mode === 'prefer'
  const direct = tls.negotiation === 'direct' && isWeak
  rule(
    context,
    [at('negotiation'), at('mode')],
    direct,
    'direct needs tls.mode require, verify-ca or verify-full',
  )
}
