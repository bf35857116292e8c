// The rules of the section `serverless`: who may come over WebSocket and HTTP, and with what. Opens no
// socket. Problems are collected, not thrown.

import { parseNetwork } from '../util/ip.ts'
import { type Path, type ResolveContext, readableFile, rule } from './rules.ts'
import type { FileConfig } from './schema.ts'
import type { JwtConfig, ServerlessConfig } from './types.ts'
import { isLoopbackHost, namesIn } from './units.ts'

const POSTGRES_PORT = '5432'
/** Signatures that only the holder of a private key can make. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const at = (...keys: string[]): Path => ['serverless', ...keys]

/** `Host`, `host:port`, `[v6]:port` in the one form in which they are compared. */
export function addressKey(text: string): string {
  const name = text.trim().toLowerCase()
  const hasPort = name.startsWith('[') ? /\]:\d+$/.test(name) : /^[^:]*:\d+$/.test(name)
  return hasPort ? name : `${name}:${POSTGRES_PORT}`
}

function resolveAddresses(context: ResolveContext, listed: string): ServerlessConfig['addresses'] {
  const addresses: { address: string; database: string }[] = []
  for (const entry of namesIn(listed)) {
    const split = entry.lastIndexOf('=')
    const isWrong = split < 1 || split === entry.length - 1
    rule(context, [at('addresses')], isWrong, `expects host:port=database, not "${entry}"`)
    if (isWrong) continue
    addresses.push({ address: addressKey(entry.slice(0, split)), database: entry.slice(split + 1).trim() })
  }
  return addresses
}

/** As browsers write it in `Origin`: a page has no path there. */
function resolveOrigins(context: ResolveContext, listed: string): string[] {
  const path = at('allowed_origins')
  return namesIn(listed).map((entry) => {
    if (entry === '*') return entry
    const isWeb = /^https?:/i.test(entry)
    const origin = isWeb ? (URL.parse(entry)?.origin ?? '') : entry.toLowerCase()
    const isWrong = !/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/i.test(entry) || origin === ''
    rule(context, [path], isWrong, `expects origins like https://app.example.com, not "${entry}"`)
    return origin
  })
}

function resolveHosts(context: ResolveContext, listed: string): string[] {
  return namesIn(listed).map((entry) => {
    const isName = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(entry)
    const text = `expects host names without port, like db.example.com, not "${entry}"`
    rule(context, [at('allowed_hosts')], !isName, text)
    return entry.toLowerCase()
  })
}

function resolveProxies(context: ResolveContext, listed: string): string[] {
  const proxies = namesIn(listed)
  for (const entry of proxies) {
    const text = `expects addresses or networks like 10.0.0.0/8 or fd00::/8, not "${entry}"`
    rule(context, [at('trust_proxy')], parseNetwork(entry) === null, text)
  }
  return proxies
}

/** The keys decide who comes in: nobody on the way must be able to give others. */
function checkKeysUrl(context: ResolveContext, text: string): void {
  const path = at('jwt', 'jwks_url')
  const url = URL.parse(text)
  const isHere = url?.protocol === 'http:' && isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''))
  const isSafe = url?.protocol === 'https:' || isHere
  rule(context, [path], text !== '' && !isSafe, 'expects an https:// address (http:// for this machine only)')
  const hasSecret = url !== null && (url.username !== '' || url.password !== '')
  rule(context, [path], hasSecret, 'must not hold a user or password; keys that anybody may read need none')
}

function resolveJwt(context: ResolveContext, { jwt }: FileConfig['serverless']): JwtConfig {
  checkKeysUrl(context, jwt.jwks_url)
  const isUsed = jwt.jwks_url !== '' || jwt.jwks_file !== ''
  const both = jwt.jwks_url !== '' && jwt.jwks_file !== ''
  rule(context, [at('jwt', 'jwks_url')], both, 'stands beside "jwks_file"; remove one')
  const algorithms = namesIn(jwt.algorithms)
  rule(context, [at('jwt', 'algorithms')], algorithms.length === 0, 'names no signature')
  for (const name of algorithms) {
    const text = `"${name}" is not one of ${ALGORITHMS.join(', ')}`
    rule(context, [at('jwt', 'algorithms')], !ALGORITHMS.includes(name), text)
  }
  const needed = 'is needed with jwks_url or jwks_file: a token for something else must not open this'
  rule(context, [at('jwt', 'issuer')], isUsed && jwt.issuer === '', needed)
  rule(context, [at('jwt', 'audience')], isUsed && jwt.audience === '', needed)
  rule(
    context,
    [at('jwt', 'roles')],
    isUsed && namesIn(jwt.roles).length === 0,
    'names no role: no token could be used',
  )
  return {
    jwksUrl: jwt.jwks_url,
    jwksFile: readableFile(context, at('jwt', 'jwks_file'), jwt.jwks_file),
    algorithms,
    issuer: jwt.issuer,
    audience: jwt.audience,
    roleClaim: jwt.role_claim,
    roles: namesIn(jwt.roles),
    loginUser: jwt.login_user,
    leewayMs: jwt.leeway,
  }
}

function checkListener(context: ResolveContext, file: FileConfig): void {
  const { listen, admin, serverless } = file
  const clash = (host: string, port: number): boolean =>
    namesIn(host).includes(serverless.host) && port === serverless.port && port !== 0
  const text = 'is the port of another listener; choose another'
  rule(context, [at('port'), at('host')], clash(listen.host, listen.port), text)
  rule(context, [at('port'), at('host')], clash(admin.host, admin.port), text)
}

function resolveTls(context: ResolveContext, { tls }: FileConfig['serverless']): ServerlessConfig['tls'] {
  const half = (tls.cert_file === '') !== (tls.key_file === '')
  rule(context, [at('tls', 'cert_file'), at('tls', 'key_file')], half, 'needs cert_file and key_file')
  return {
    certFile: readableFile(context, at('tls', 'cert_file'), tls.cert_file),
    keyFile: readableFile(context, at('tls', 'key_file'), tls.key_file),
    minVersion: tls.min_version,
  }
}

/** Everything about the endpoint for WebSocket and HTTP. */
export function resolveServerless(context: ResolveContext, file: FileConfig): ServerlessConfig {
  const { serverless: said } = file
  checkListener(context, file)
  return {
    host: said.host === 'off' ? '' : said.host,
    port: said.port,
    tls: resolveTls(context, said),
    trustProxy: resolveProxies(context, said.trust_proxy),
    allowedOrigins: resolveOrigins(context, said.allowed_origins),
    allowedHosts: resolveHosts(context, said.allowed_hosts),
    addresses: resolveAddresses(context, said.addresses),
    insecurePasswords: said.insecure_passwords,
    pipelinedTls: said.pipelined_tls,
    pingIntervalMs: said.ping_interval,
    failureRate: said.failure_rate,
    failureBurst: said.failure_burst,
    keepaliveMs: said.keepalive,
    queryTimeoutMs: said.query_timeout,
    maxRequest: said.max_request,
    maxResponse: said.max_response,
    streamFrom: said.stream_from,
    maxQueries: said.max_queries,
    jwt: resolveJwt(context, said),
  }
}
