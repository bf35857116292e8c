// The rules of the section `client`: how clients log in and whether anybody can, their TLS, their limits.
// Opens no socket. Problems are collected, not thrown.

import { RANK } from './layers.ts'
import { readHba, readIdent } from './resolve-hba.ts'
import { type Path, type ResolveContext, readableFile, readSecret, rule } from './rules.ts'
import type { FileConfig } from './schema.ts'
import type { AuthQueryConfig, ClientAuth, ClientTlsConfig, Config, HbaRule, UserMapLine } from './types.ts'
import { isLoopbackHost, namesIn } from './units.ts'

/** Everything that the rules of this section look at besides it. */
type Known = Pick<Config, 'upstream' | 'users'>

const MD5_HASH = /^md5[0-9a-f]{32}$/
const at = (...keys: string[]): Path => ['client', ...keys]

function checkTrust(context: ResolveContext, file: FileConfig, auth: ClientAuth): void {
  const open = auth === 'trust' && !namesIn(file.listen.host).every(isLoopbackHost)
  const hostPath = ['listen', 'host']
  if (context.layers.rank(at('auth')) > RANK.none) {
    const text = 'trust lets everybody in who can connect, so it needs a listen.host such as 127.0.0.1'
    rule(context, [at('auth'), hostPath], open, text)
  } else {
    const text =
      'other machines could connect without a password, because the upstream has none and no users are ' +
      'configured; listen on 127.0.0.1, give the upstream a password, or configure users'
    rule(context, [hostPath, at('auth')], open, text)
  }
}

/** Warns where nobody could log in, or some users could not. */
function checkSecrets(context: ResolveContext, file: FileConfig, known: Known & { auth: ClientAuth }): void {
  const { auth, upstream, users } = known
  const { layers } = context
  if (auth === 'trust' || auth === 'cert' || auth === 'hba') return
  const secrets = [...users].filter(([, user]) => user.secret !== null)
  const configured = upstream.host !== '' || Object.keys(file.databases).length > 0
  if (configured && secrets.length === 0 && file.client.auth_query.user === '') {
    const text =
      `nobody can log in with ${auth}: configure users, client.users_file, client.auth_query or an ` +
      'upstream password'
    layers.warnings.push(`${layers.place(at('auth'))}: ${text}`)
  }
  for (const [name, { secret }] of secrets) {
    if (!auth.startsWith('scram') || !MD5_HASH.test(secret!)) continue
    layers.warnings.push(`user ${name}: an md5 hash cannot log in with client.auth ${auth}`)
  }
}

/** How clients log in, and whether anybody can. */
function resolveAuth(context: ResolveContext, file: FileConfig, known: Known): ClientAuth {
  const { upstream, users } = known
  const { client } = file
  const written = context.layers.rank(at('auth')) > RANK.none
  const noSecretToAsk =
    upstream.host !== '' && upstream.password === null && users.size === 0 && client.auth_query.user === ''
  const byDefault = client.hba_file !== '' ? 'hba' : noSecretToAsk ? 'trust' : client.auth
  const auth = written ? client.auth : byDefault
  rule(context, [at('hba_file')], client.hba_file === '' && auth === 'hba', 'is needed for client.auth hba')
  const unused = client.hba_file !== '' && auth !== 'hba'
  rule(
    context,
    [at('hba_file')],
    unused,
    `is not used with client.auth ${auth}; set that to hba, or remove it`,
  )
  const noMaps = client.cert_map !== '' && client.ident_file === ''
  rule(context, [at('cert_map')], noMaps, 'names a map, but client.ident_file is empty')
  const needsTls = auth === 'cert' || auth === 'scram-sha-256-plus'
  const noTls = needsTls && client.tls.mode === 'disable'
  rule(context, [at('auth'), at('tls', 'mode')], noTls, `${auth} needs TLS: set client.tls.mode to require`)
  const noCa = auth === 'cert' && client.tls.ca_file === ''
  rule(context, [at('tls', 'ca_file'), at('auth')], noCa, 'is needed for client.auth cert')
  checkTrust(context, file, auth)
  checkSecrets(context, file, { ...known, auth })
  return auth
}

function resolveAuthQuery(context: ResolveContext, file: FileConfig, known: Known): AuthQueryConfig {
  const keys = file.client.auth_query
  const path = (key: string): Path => at('auth_query', key)
  const both = keys.password !== '' && keys.password_file !== ''
  rule(context, [path('password'), path('password_file')], both, 'stands beside "password_file"; remove one')
  const own =
    keys.password_file === ''
      ? keys.password
      : (readSecret(context, path('password_file'), keys.password_file) ?? '')
  const { upstream, users } = known
  const ofUpstream = upstream.user === keys.user ? upstream.password : null
  const listed = users.get(keys.user)?.secret ?? ofUpstream
  const isHash =
    own === '' && listed !== null && (MD5_HASH.test(listed) || listed.startsWith('SCRAM-SHA-256$'))
  rule(
    context,
    [path('user')],
    keys.user !== '' && isHash,
    'needs its plain password: set client.auth_query.password',
  )
  return {
    user: keys.user,
    password: own === '' ? listed : own,
    dbname: keys.dbname,
    query: keys.query,
    cacheTimeMs: keys.cache_time,
    timeoutMs: keys.timeout,
  }
}

/** The rules of `client_tls_mode` of a database: it can ask for no more than the listener offers. */
export function checkClientTls(context: ResolveContext, file: FileConfig, database: string): void {
  const mode = file.databases[database]?.client_tls_mode ?? 'disable'
  const path = ['databases', database, 'client_tls_mode']
  const { tls } = file.client
  const noTls = mode !== 'disable' && tls.mode === 'disable'
  rule(context, [path, at('tls', 'mode')], noTls, `${mode} needs TLS: set client.tls.mode to prefer`)
  const noCa = mode.startsWith('verify') && !noTls && tls.ca_file === ''
  rule(context, [path, at('tls', 'ca_file')], noCa, `${mode} needs client.tls.ca_file`)
}

function resolveTls(context: ResolveContext, file: FileConfig): ClientTlsConfig {
  const { tls } = file.client
  const mode = at('tls', 'mode')
  for (const key of ['cert_file', 'key_file'] as const) {
    const missing = tls.mode !== 'disable' && tls[key] === ''
    rule(context, [at('tls', key), mode], missing, `is needed for client.tls.mode ${tls.mode}`)
  }
  const verifies = tls.mode === 'verify-ca' || tls.mode === 'verify-full'
  const noCa = verifies && tls.ca_file === ''
  rule(context, [at('tls', 'ca_file'), mode], noCa, `is needed for client.tls.mode ${tls.mode}`)
  return {
    mode: tls.mode,
    certFile: readableFile(context, at('tls', 'cert_file'), tls.cert_file),
    keyFile: readableFile(context, at('tls', 'key_file'), tls.key_file),
    caFile: readableFile(context, at('tls', 'ca_file'), tls.ca_file),
    minVersion: tls.min_version,
  }
}

function resolveHba(
  context: ResolveContext,
  { client }: FileConfig,
  identFile: readonly UserMapLine[],
): readonly HbaRule[] {
  if (client.hba_file === '') return []
  return readHba(context, client.hba_file, {
    hasTls: client.tls.mode !== 'disable',
    hasCa: client.tls.ca_file !== '',
    maps: client.ident_file === '' ? null : identFile,
  })
}

/** The section `client`, and who may log in how. */
export function resolveClient(context: ResolveContext, file: FileConfig, known: Known): Config['client'] {
  const { client } = file
  const identFile = client.ident_file === '' ? [] : readIdent(context, client.ident_file)
  const hbaFile = resolveHba(context, file, identFile)
  return {
    auth: resolveAuth(context, file, known),
    hbaFile,
    identFile,
    certMap: client.cert_map,
    certName: client.cert_name,
    authQuery: resolveAuthQuery(context, file, known),
    tls: resolveTls(context, file),
    maxConnections: client.max_connections,
    maxPerDatabase: client.max_per_database,
    maxPerUser: client.max_per_user,
    maxPerAddress: client.max_per_address,
    maxUnauthenticated: client.max_unauthenticated,
    memoryLimit: client.memory_limit,
    loginTimeoutMs: client.login_timeout,
    idleTimeoutMs: client.idle_timeout,
    idleTransactionTimeoutMs: client.idle_transaction_timeout,
    transactionTimeoutMs: client.transaction_timeout,
    queryTimeoutMs: client.query_timeout,
    waitNoticeMs: client.wait_notice,
    addAddress: client.add_address,
    writeTimeoutMs: client.write_timeout,
    batchTimeoutMs: client.batch_timeout,
    goneGraceMs: client.gone_grace,
    abandonGraceMs: client.abandon_grace,
    notificationBuffer: client.notification_buffer,
  }
}
