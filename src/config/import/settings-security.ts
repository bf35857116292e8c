// The settings of PgBouncer about who may log in and how connections are encrypted. Part of settings.ts,
// with the same rules.
import { file, type Others, number, type Setting, text, word } from './setting.ts'

const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']
const OPENSSL = 'those of OpenSSL; start with `NODE_OPTIONS=--tls-cipher-list=...`'
const NO_LDAP = 'no LDAP'

/** What `auth_type` says, and what becomes of it. */
const AUTH_TYPES: Readonly<Record<string, string>> = {
  any: 'trust',
  trust: 'trust',
  plain: 'password',
  md5: 'md5',
  cert: 'cert',
  hba: 'hba',
  'scram-sha-256': 'scram-sha-256',
  // Nobody whom we could ask: those users need a secret.
  ldap: 'scram-sha-256',
  pam: 'scram-sha-256',
}

/** Kept where the file is used at all: it may not be there otherwise. */
const withTlsOf =
  (mode: string) =>
  (value: string, { of }: Others): string | null =>
    value === '' || of(mode).toLowerCase() === 'disable' ? null : value

/** Only asked where somebody asks. */
const withAuthUser = (value: string, { of }: Others): string | null =>
  value === '' || of('auth_user') === '' ? null : value

const withHba = (value: string, { of }: Others): string | null =>
  value === '' || of('auth_type').toLowerCase() !== 'hba' ? null : value

/** `secure`, `all` or a list, as PgBouncer reads it: what is not named is not spoken. */
const oldestTls =
  (mode: string) =>
  (value: string, { of }: Others): string | null =>
    /^\s*tlsv1\.3\s*$/i.test(value) && of(mode).toLowerCase() !== 'disable' ? 'TLSv1.3' : null

export const AUTHENTICATION: readonly Setting[] = [
  word(Object.keys(AUTH_TYPES), {
    name: 'auth_type',
    fallback: 'md5',
    to: ['client.auth'],
    as: (value) => AUTH_TYPES[value]!,
    note:
      'there md5, here scram-sha-256; `plain` is `password`; `any` becomes `trust`, which needs no ' +
      'list of users here and is refused where other machines can connect; `pam` and `ldap` are not there',
  }),
  file({ name: 'auth_file', fallback: '', to: ['client.users_file'], note: 'the same format' }),
  file({
    name: 'auth_hba_file',
    fallback: '',
    to: ['client.hba_file'],
    as: withHba,
    note: 'as Postgres reads it: a wrong line refuses the file, where PgBouncer leaves it out',
  }),
  file({
    name: 'auth_ident_file',
    fallback: '',
    to: ['client.ident_file'],
    as: withHba,
    note: 'as Postgres reads it',
  }),
  text({
    name: 'auth_user',
    fallback: '',
    to: ['client.auth_query.user'],
    note: 'its plain password: `client.auth_query.password`; not per database',
  }),
  text({
    name: 'auth_query',
    fallback: '',
    to: ['client.auth_query.query'],
    as: withAuthUser,
    note:
      'may give the seconds of validity as a third column; unqualified names are looked for in ' +
      '`pg_catalog` and `public` only; answers are cached for `client.auth_query.cache_time`',
  }),
  text({
    name: 'auth_dbname',
    fallback: '',
    to: ['client.auth_query.dbname'],
    as: withAuthUser,
    note: 'not per database',
  }),
  text({ name: 'auth_ldap_options', fallback: '', note: NO_LDAP, isMissed: true }),
  number({
    name: 'scram_iterations',
    fallback: '4096',
    note: '4096, as Postgres; verifiers have their own',
    isMissed: true,
  }),
  text({ name: 'admin_users', fallback: '', to: ['admin.users'] }),
  text({ name: 'stats_users', fallback: '', to: ['admin.stats_users'] }),
]

export const CLIENT_TLS: readonly Setting[] = [
  word(SSL_MODES, {
    name: 'client_tls_sslmode',
    fallback: 'disable',
    to: ['client.tls.mode'],
    as: (value) => (value === 'verify-full' ? 'verify-ca' : value),
    note: '`verify-full` there is no more than `verify-ca`; per database: `databases.<name>.client_tls_mode`',
  }),
  ...(['cert', 'key', 'ca'] as const).map((what) =>
    file({
      name: `client_tls_${what}_file`,
      fallback: '',
      to: [`client.tls.${what}_file`],
      as: withTlsOf('client_tls_sslmode'),
    }),
  ),
  text({
    name: 'client_tls_protocols',
    fallback: 'secure',
    to: ['client.tls.min_version'],
    as: oldestTls('client_tls_sslmode'),
    note: 'TLS 1.2 is the oldest',
  }),
  ...['client_tls_ciphers', 'client_tls13_ciphers', 'client_tls_ecdhcurve', 'client_tls_dheparams'].map(
    (name) => text({ name, fallback: tlsDefault(name), note: OPENSSL, isMissed: true }),
  ),
]

export const SERVER_TLS: readonly Setting[] = [
  word(SSL_MODES, {
    name: 'server_tls_sslmode',
    fallback: 'prefer',
    to: ['upstream.tls.mode'],
    note: 'the same modes, per database as well; older releases had `disable` as default',
  }),
  file({
    name: 'server_tls_ca_file',
    fallback: '',
    to: ['upstream.tls.ca_file'],
    as: withTlsOf('server_tls_sslmode'),
    note: 'there none is known without it, here those of Node',
  }),
  ...(['cert', 'key'] as const).map((what) =>
    file({
      name: `server_tls_${what}_file`,
      fallback: '',
      to: [`upstream.tls.${what}_file`],
      as: withTlsOf('server_tls_sslmode'),
    }),
  ),
  text({
    name: 'server_tls_protocols',
    fallback: 'secure',
    to: ['upstream.tls.min_version'],
    as: oldestTls('server_tls_sslmode'),
    note: 'TLS 1.2 is the oldest',
  }),
  ...['server_tls_ciphers', 'server_tls13_ciphers'].map((name) =>
    text({ name, fallback: tlsDefault(name), note: OPENSSL, isMissed: true }),
  ),
]

function tlsDefault(name: string): string {
  if (name.includes('13')) return ''
  return name.endsWith('ciphers') ? 'default' : 'auto'
}
