// Reads the URL of an upstream Postgres (postgres://user:password@host:port/db?sslmode=...).
// Pure. An error never repeats any part of the URL, which may hold a password.

import type { ChannelBinding, ServerTlsConfig, TlsMode } from './types.ts'

export interface UpstreamUrl {
  host: string
  port: number
  /** '' where the URL names none. */
  user: string
  password: string | null
  dbname: string
  /** What the URL says of TLS; absent: nothing. File names as they stand in it. */
  tls: Partial<ServerTlsConfig>
  /** null where the URL says nothing. */
  channelBinding: ChannelBinding | null
  /** Names of the URL's parameters that pgmux does not know; it goes on without them. */
  ignored: string[]
}

const TLS_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] satisfies TlsMode[]
const NEGOTIATIONS = ['postgres', 'direct'] as const
const CHANNEL_BINDINGS = ['disable', 'prefer', 'require'] satisfies ChannelBinding[]

/** Parameters of libpq's that are read. */
const KNOWN = new Set([
  'host',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslnegotiation',
  'channel_binding',
])

function oneOf<T extends string>(params: URLSearchParams, name: string, allowed: readonly T[]): T | null {
  const text = params.get(name)
  if (text === null) return null
  const found = allowed.find((value) => value === text)
  if (found === undefined)
    throw new Error(`has a ${name} that is not supported: it may be ${allowed.join(', ')}`)
  return found
}

function readTls(params: URLSearchParams): Partial<ServerTlsConfig> {
  const tls: Partial<ServerTlsConfig> = {}
  const mode = oneOf(params, 'sslmode', TLS_MODES)
  const negotiation = oneOf(params, 'sslnegotiation', NEGOTIATIONS)
  const caFile = params.get('sslrootcert')
  const certFile = params.get('sslcert')
  const keyFile = params.get('sslkey')
  if (mode !== null) tls.mode = mode
  if (negotiation !== null) tls.negotiation = negotiation
  if (caFile === 'system') {
    // libpq's word for well-known authorities. Anybody has a certificate of these for some name, so that, as
    // there, the name must be checked as well.
    if (mode !== null && mode !== 'verify-full')
      throw new Error('has sslrootcert=system, which needs sslmode=verify-full')
    tls.caFile = ''
    tls.mode = 'verify-full'
  } else if (caFile !== null) tls.caFile = caFile
  if (certFile !== null) tls.certFile = certFile
  if (keyFile !== null) tls.keyFile = keyFile
  return tls
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error('has a "%" that is not followed by two hex digits; write "%" itself as "%25"')
  }
}

function readPort(text: string): number {
  if (text === '') return 5432
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw new Error('has a port that is not from 1 to 65535')
  return port
}

/**
 * Reads `postgres://` and `postgresql://` URLs with one host; user, password, host and database are
 * percent-decoded. A Unix socket is a host like `%2Fvar%2Frun%2Fpostgresql`, or `?host=/var/run/postgresql`.
 * @throws Error whose message continues the sentence "upstream.url ...".
 */
export function parseUpstreamUrl(text: string): UpstreamUrl {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new Error(
      'expects a URL like "postgres://user:password@host:5432/database" with one host; ' +
        'percent-encode special characters in user and password ("@" is "%40", "/" is "%2F")',
    )
  }
  if (url.hash !== '') throw new Error('has a "#"; write it as "%23"')
  const host = decode(url.hostname).replace(/^\[(.*)\]$/, '$1')
  const params = url.searchParams
  const result: UpstreamUrl = {
    host: host === '' ? (params.get('host') ?? '') : host,
    port: readPort(url.port),
    user: decode(url.username),
    password: url.password === '' ? null : decode(url.password),
    dbname: decode(url.pathname.slice(1)),
    tls: readTls(params),
    channelBinding: oneOf(params, 'channel_binding', CHANNEL_BINDINGS),
    ignored: [...new Set(params.keys())].filter((name) => !KNOWN.has(name)),
  }
  if (result.host === '') throw new Error('names no host')
  return result
}
