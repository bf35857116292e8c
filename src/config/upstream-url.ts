// Reads the URL of an upstream Postgres (postgres://user:password@host:port/db?sslmode=...).
// Pure. An error never repeats any part of the URL, which may hold a password.

import type { ServerTlsMode } from './types.ts'

export interface UpstreamUrl {
  host: string
  port: number
  /** '' where the URL names none. */
  user: string
  password: string | null
  dbname: string
  /** null where the URL says nothing. */
  tlsMode: ServerTlsMode | null
  /** Names of the URL's parameters that pgmux does not know; it goes on without them. */
  ignored: string[]
}

const TLS_MODES: readonly string[] = ['disable', 'prefer', 'require'] satisfies ServerTlsMode[]

/** Other modes would be a promise that is not kept (verify-full) or weaker than it looks (allow). */
function readTlsMode(text: string): ServerTlsMode {
  if (!TLS_MODES.includes(text)) {
    throw new Error(`has a sslmode that is not supported: it may be ${TLS_MODES.join(', ')}`)
  }
  return text as ServerTlsMode
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
    tlsMode: params.has('sslmode') ? readTlsMode(params.get('sslmode')!) : null,
    ignored: [...new Set(params.keys())].filter((name) => name !== 'sslmode' && name !== 'host'),
  }
  if (result.host === '') throw new Error('names no host')
  return result
}
