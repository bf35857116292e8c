// The connection string that a request carries in a header: whose login, on which database, with which
// startup parameters. Pure. Its host is never looked at beyond being there, and never connected to; what
// is wrong is told without repeating the string, which holds a password.
import { badRequest } from './problem.ts'

/** What a connection string says. */
export interface Target {
  readonly user: string
  readonly database: string
  readonly password: string | null
  /** As in a startup message. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Meant for the program that connects: nothing that Postgres could be told. */
const NOT_FOR_POSTGRES = new Set(
  (
    'sslmode sslnegotiation sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslsni sslcompression ' +
    'sslcertmode ssl_min_protocol_version ssl_max_protocol_version ssl min_protocol_version ' +
    'max_protocol_version channel_binding gssencmode gssdelegation gsslib krbsrvname require_auth ' +
    'requirepeer passfile service servicefile host hostaddr port user password dbname connect_timeout ' +
    'keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout ' +
    'target_session_attrs load_balance_hosts fallback_application_name client_encoding uselibpqcompat ' +
    'query_timeout connection_limit pool_timeout pgbouncer'
  ).split(' '),
)
const SCHEME = /^postgres(?:ql)?:\/\//i
const LENGTH_MAX = 16 * 1024

/** @throws RequestError with status 400 */
export function parseConnectionString(text: string): Target {
  const scheme = SCHEME.exec(text)
  if (scheme === null) throw badRequest('invalid connection string: incorrect scheme', '08P01', FORM)
  if (text.length > LENGTH_MAX) throw badRequest('invalid connection string: it is too long')
  const rest = text.slice(scheme[0].length)
  if (/^[/?#]|^[^/?#]*@(?:[/?#]|$)/.test(rest) || rest === '')
    throw badRequest('invalid connection string: missing hostname', '08P01', FORM)
  const url = urlOf(`http://${rest}`)
  const user = decoded(url.username)
  const database = decoded(url.pathname.split('/')[1] ?? '')
  if (database === '') throw badRequest('invalid connection string: missing database name', '08P01', FORM)
  const password = url.password === '' ? null : decoded(url.password)
  return { user, database, password, parameters: parametersOf(url) }
}

const FORM = 'It has the form postgresql://user:password@host/database?parameter=value.'

function urlOf(text: string): URL {
  try {
    return new URL(text)
  } catch {
    throw badRequest('invalid connection string: it is not a URL', '08P01', FORM)
  }
}

/** Once, and a plus sign is one. */
function decoded(text: string): string {
  let value: string
  try {
    value = decodeURIComponent(text)
  } catch {
    throw badRequest('invalid connection string: a percent sign is not followed by two hex digits of UTF-8')
  }
  if (value.includes('\0')) throw badRequest('invalid connection string: it holds a zero byte')
  return value
}

function parametersOf(url: URL): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>()
  for (const part of url.search.slice(1).split('&')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    // Whoever changes a URL through its searchParams writes a blank as a plus sign here, and only here.
    const name = decoded((equals < 0 ? part : part.slice(0, equals)).replaceAll('+', ' '))
    const value = equals < 0 ? '' : decoded(part.slice(equals + 1).replaceAll('+', ' '))
    if (name === 'replication') throw badRequest('replication is not possible over HTTP', '0A000')
    if (name !== '' && !NOT_FOR_POSTGRES.has(name.toLowerCase())) parameters.set(name, inPostgres(value))
  }
  // What JSON can carry.
  return parameters.set('client_encoding', 'UTF8')
}

/** Values of startup parameters are kept one character a byte. */
function inPostgres(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}
