// The shape of config.yaml: every key with its type, its default and one line of meaning. config.yaml,
// docs/configuration.md and the names of environment variables follow from it (a test keeps them equal).
// Shape only: it reads no file and no environment, and rules between keys live in resolve.ts.

import { z } from 'zod'
import {
  boolean,
  choice,
  duration,
  EXPECTS_KEYS,
  fileMode,
  filledSecret,
  filledText,
  integer,
  limit,
  option,
  optional,
  port,
  secretText,
  section,
  size,
  text,
} from './leaves.ts'
import { admin, embedded, log, shutdown, tracing } from './schema-process.ts'
import { ownPins, session, sharing } from './schema-session.ts'

const poolMode = choice('session', 'transaction', 'statement')
const TLS_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
const tlsMode = choice(...TLS_MODES)
const negotiation = choice('postgres', 'direct')
const channelBinding = choice('disable', 'prefer', 'require')
const tlsVersion = choice('TLSv1.2', 'TLSv1.3')

const listen = section({
  host: option(filledText, '127.0.0.1', 'Addresses to listen on for clients, with commas between them'),
  port: option(port, 6432, 'TCP port for clients; also names the Unix socket'),
  unix_socket_dir: option(text, '', 'Folder for the Unix socket `.s.PGSQL.<port>`; empty: none'),
  unix_socket_mode: option(fileMode, '0777', 'Permissions of the Unix socket, in octal'),
  unix_socket_group: option(text, '', 'Group of the Unix socket, by name or number; empty: our own'),
  keepalive: option(duration, '30s', 'Silence after which the kernel asks if a client is there; 0: never'),
  backlog: option(integer(1, 65_535), 1024, 'Connections that the kernel keeps until they are accepted'),
})

const AUTH_QUERY =
  'SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword END, ' +
  "CASE WHEN pg_catalog.isfinite(rolvaliduntil) THEN pg_catalog.date_part('epoch', " +
  'rolvaliduntil - pg_catalog.now()) END FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin'

const client = section({
  auth: option(
    choice('trust', 'password', 'md5', 'scram-sha-256', 'scram-sha-256-plus', 'cert', 'hba'),
    'scram-sha-256',
    'How clients prove who they are; hba: as `hba_file` says',
  ),
  users_file: option(text, '', 'A userlist.txt with `"user" "secret"` lines; empty: none'),
  hba_file: option(text, '', 'File as pg_hba.conf: who may come in how; sets `auth` to hba; empty: none'),
  ident_file: option(text, '', 'File as pg_ident.conf: names in certificates, and users; empty: none'),
  cert_map: option(text, '', 'Map of `ident_file` that `auth: cert` uses; empty: the name is the user'),
  cert_name: option(
    choice('CN', 'DN', 'SAN'),
    'CN',
    'Which name of a certificate counts: common name, whole subject, or an alternative name',
  ),
  auth_query: section({
    user: option(
      text,
      '',
      'Who asks Postgres for the secrets of users that are not configured; empty: nobody',
    ),
    password: option(secretText, '', 'Its password; empty: the one in `users`'),
    password_file: option(text, '', 'File that holds that password'),
    dbname: option(text, '', 'Database in which is asked; empty: the one that the client wants'),
    query: option(
      filledText,
      AUTH_QUERY,
      'Gives name, secret and, if it likes, the seconds for which it is valid; `$1` is the user',
    ),
    cache_time: option(duration, '30s', 'How long an answer is believed; 0: asked at each login'),
    timeout: option(duration, '5s', 'Time for an answer'),
  }),
  tls: section({
    mode: option(
      tlsMode,
      'disable',
      'TLS for clients: not offered, offered (allow, prefer), required, or with a certificate of theirs ' +
        '(verify-ca: of a known authority; verify-full: that names the user as well)',
    ),
    cert_file: option(text, '', 'PEM file with the certificate chain'),
    key_file: option(text, '', 'PEM file with the private key'),
    ca_file: option(text, '', 'PEM file with the authorities that sign the certificates of clients'),
    min_version: option(tlsVersion, 'TLSv1.2', 'Oldest version of TLS'),
  }),
  max_connections: option(limit, 5000, 'Client connections in total; 0: no limit'),
  max_per_database: option(limit, 0, 'Client connections per database; 0: no limit'),
  max_per_user: option(limit, 0, 'Client connections per user; 0: no limit'),
  max_per_address: option(limit, 0, 'Client connections per IP address, and as many at login; 0: no limit'),
  max_unauthenticated: option(limit, 5000, 'Connections that have not logged in yet; 0: no limit'),
  memory_limit: option(
    size,
    '0',
    'Memory of the process above which new clients are refused; 0: nine tenths of what its container has',
  ),
  login_timeout: option(duration, '15s', 'Time to log in; 0: no limit'),
  idle_timeout: option(duration, '0', 'A client silent for longer outside a transaction is closed; 0: never'),
  idle_transaction_timeout: option(
    duration,
    '0',
    'A client silent for longer inside a transaction is closed; 0: never',
  ),
  transaction_timeout: option(duration, '0', 'A client whose transaction takes longer is closed; 0: never'),
  query_timeout: option(duration, '0', 'A query that runs longer is cancelled; 0: never'),
  wait_notice: option(
    duration,
    '0',
    'A client that waits longer for a server is told so by a notice; 0: never',
  ),
  add_address: option(
    boolean,
    false,
    'Put the address of the client behind its `application_name`, for pg_stat_activity',
  ),
  write_timeout: option(
    duration,
    '5m',
    'A client that takes none of its answer for longer is closed; 0: never',
  ),
  batch_timeout: option(
    duration,
    '30s',
    'Time for a batch to get its Sync, or a message its end, while it holds a server; 0: no limit',
  ),
  gone_grace: option(
    duration,
    '5m',
    'After a client said goodbye: how long what it asked for may run on; 0: until it ends',
  ),
  abandon_grace: option(
    duration,
    '1s',
    'After a connection was lost: how long what runs may go on before it is cancelled; 0: cancelled at once',
  ),
  notification_buffer: option(
    size,
    '8MiB',
    'Notifications that may wait for a client, in a transaction say; with more it is closed; 0: no limit',
  ),
})

const upstream = section({
  url: option(
    secretText,
    '',
    'Postgres as `postgres://user:password@host:port/database?sslmode=prefer`, instead of the keys below',
  ),
  host: option(text, '', 'Host name, address, or folder of a Unix socket; empty: the embedded Postgres'),
  port: option(integer(1, 65_535), 5432, 'Port of Postgres'),
  user: option(text, '', 'User to log in to Postgres with; empty: the name of the client'),
  password: option(secretText, '', 'Password of that user; empty: none'),
  password_file: option(text, '', 'File that holds the password, instead of `password`'),
  dbname: option(text, '', 'Database to use, whatever the client asked for; empty: what it asked for'),
  tls: section({
    mode: option(
      tlsMode,
      'prefer',
      'TLS to Postgres: never, only if it insists, if it can, always, checked (verify-ca), and for the ' +
        'right host (verify-full)',
    ),
    ca_file: option(text, '', 'PEM file with the authorities to trust; empty: those that Node knows'),
    cert_file: option(text, '', 'PEM file with our certificate chain; empty: none'),
    key_file: option(text, '', 'PEM file with its private key'),
    negotiation: option(
      negotiation,
      'postgres',
      'direct: TLS at once, without asking (Postgres 17 and newer)',
    ),
    min_version: option(tlsVersion, 'TLSv1.2', 'Oldest version of TLS'),
  }),
  channel_binding: option(
    channelBinding,
    'prefer',
    'SCRAM bound to the TLS connection: never, if Postgres offers it, or always',
  ),
  connect_timeout: option(duration, '5s', 'Time to connect and log in to Postgres; 0: no limit'),
  keepalive: option(duration, '30s', 'Silence after which the kernel asks if Postgres is there; 0: never'),
})

const pool = section({
  mode: option(poolMode, 'transaction', 'How long a client keeps its server'),
  size: option(integer(1, 100_000), 20, 'Servers per pool; a pool is one database with one user'),
  min_size: option(limit, 0, 'Servers that a pool keeps open when nobody needs them'),
  reserve_size: option(limit, 0, 'Further servers for a pool in which a client waits too long'),
  reserve_timeout: option(duration, '5s', 'Waiting time after which the reserve is used; 0: never'),
  max_servers: option(limit, 0, 'Servers of the whole process; 0: no limit'),
  max_servers_per_database: option(limit, 0, 'Servers per database, over all users; 0: no limit'),
  max_servers_per_user: option(limit, 0, 'Servers per user, over all databases; 0: no limit'),
  max_logins: option(integer(1, 1000), 4, 'Logins to Postgres that one pool has in flight at once'),
  max_waiting: option(limit, 0, 'Clients that may wait for a server of one pool; 0: no limit'),
  query_wait_timeout: option(duration, '120s', 'Time to wait for a server; 0: no limit'),
  server_lifetime: option(duration, '1h', 'A server older than this is closed when it is free; 0: never'),
  server_idle_timeout: option(duration, '10m', 'A server unused for longer is closed; 0: never'),
  server_round_robin: option(
    boolean,
    false,
    'Use the server that is free for longest, not the one used last',
  ),
  leak_check: option(
    duration,
    '500ms',
    'Idle time after which a used server is looked at for what a session left there; 0: never',
  ),
  ...sharing,
  server_check_delay: option(
    duration,
    '30s',
    'A server idle for longer is checked before it is used; 0: never checked',
  ),
  cancel_timeout: option(duration, '10s', 'Time for a cancel request to reach Postgres; 0: no limit'),
  max_prepared_statements: option(integer(1, 100_000), 200, 'Prepared statements kept on one server'),
  prepared_memory: option(size, '64MiB', 'Memory for the statement texts of one pool, over all its clients'),
})

const database = z.strictObject(
  {
    url: optional(filledSecret, 'Postgres as a URL, instead of the keys from host to dbname'),
    host: optional(filledText, 'Host of this database'),
    port: optional(integer(1, 65_535), 'Port of Postgres'),
    user: optional(text, 'User to log in to Postgres with, whoever the client is'),
    password: optional(filledSecret, 'Password of that user'),
    password_file: optional(filledText, 'File that holds the password'),
    dbname: optional(filledText, 'Name of the database in Postgres'),
    tls: z
      .strictObject(
        {
          mode: optional(tlsMode, 'TLS to Postgres'),
          ca_file: optional(text, 'PEM file with the authorities to trust'),
          cert_file: optional(text, 'PEM file with our certificate chain'),
          key_file: optional(text, 'PEM file with its private key'),
          negotiation: optional(negotiation, 'How TLS begins'),
          min_version: optional(tlsVersion, 'Oldest version of TLS'),
        },
        { error: EXPECTS_KEYS },
      )
      .optional(),
    channel_binding: optional(channelBinding, 'SCRAM bound to the TLS connection'),
    client_tls_mode: optional(tlsMode, 'Least TLS of clients for this database, above `client.tls.mode`'),
    pool_mode: optional(poolMode, 'How long a client keeps its server'),
    pool_size: optional(integer(1, 100_000), 'Servers per pool'),
    min_pool_size: optional(limit, 'Servers that a pool keeps open'),
    reserve_size: optional(limit, 'Further servers for a pool in which a client waits too long'),
    query_wait_timeout: optional(duration, 'Time to wait for a server; 0: no limit'),
    server_lifetime: optional(duration, 'A server older than this is closed when it is free; 0: never'),
    connect_query: optional(filledText, 'Statements that run on each server after its login'),
    max_servers: optional(limit, 'Servers of this database, over all users; 0: no limit'),
    max_clients: optional(limit, 'Client connections to this database; 0: no limit'),
    ...ownPins,
  },
  { error: EXPECTS_KEYS },
)

const user = z.strictObject(
  {
    password: optional(filledSecret, 'Plain password'),
    password_file: optional(filledText, 'File that holds the plain password'),
    secret: optional(filledSecret, 'Plain password, `md5...` hash or SCRAM-SHA-256 verifier'),
    secret_file: optional(filledText, 'File that holds the secret'),
    pool_mode: optional(poolMode, 'How long a client keeps its server'),
    pool_size: optional(integer(1, 100_000), 'Servers per pool of this user'),
    reserve_size: optional(limit, 'Further servers for a pool in which a client waits too long'),
    query_wait_timeout: optional(duration, 'Time to wait for a server; 0: no limit'),
    query_timeout: optional(duration, 'A query that runs longer is cancelled; 0: never'),
    idle_timeout: optional(duration, 'A client silent for longer outside a transaction is closed; 0: never'),
    idle_transaction_timeout: optional(
      duration,
      'A client silent for longer inside a transaction is closed; 0: never',
    ),
    transaction_timeout: optional(duration, 'A client whose transaction takes longer is closed; 0: never'),
    max_servers: optional(limit, 'Servers of this user, over all databases; 0: no limit'),
    max_clients: optional(limit, 'Client connections of this user; 0: no limit'),
    ...ownPins,
  },
  { error: EXPECTS_KEYS },
)

export const fileSchema = z.strictObject(
  {
    workers: option(integer(1, 64), 1, 'Processes that share the work; 1: one process does it all'),
    worker_timeout: option(
      duration,
      '30s',
      'One that does nothing any more for so long is replaced; 0: never',
    ),
    listen,
    client,
    upstream,
    pool,
    session,
    databases: z.record(z.string(), database, { error: EXPECTS_KEYS }).prefault({}),
    users: z.record(z.string(), user, { error: EXPECTS_KEYS }).prefault({}),
    serverless: section({
      host: option(
        filledText,
        '127.0.0.1',
        'Address for WebSocket and HTTP clients (`POST /sql`); `off`: none',
      ),
      port: option(port, 6480, 'Its port'),
      tls: section({
        cert_file: option(text, '', 'PEM file with the certificate chain; empty: plain ws:// and http://'),
        key_file: option(text, '', 'PEM file with the private key'),
        min_version: option(tlsVersion, 'TLSv1.2', 'Oldest version of TLS'),
      }),
      trust_proxy: option(
        text,
        '',
        'Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed, with commas between',
      ),
      allowed_origins: option(
        text,
        '',
        'Origins of web pages that may connect, with commas between them; `*`: any; empty: none',
      ),
      allowed_hosts: option(
        text,
        '',
        'Host names under which clients that need no password may reach this, besides localhost',
      ),
      addresses: option(
        text,
        '',
        'What `?address=` may say, as `host:port=database`, with commas between them; never connected to',
      ),
      insecure_passwords: option(
        boolean,
        false,
        'Take passwords from other machines over ws:// and http:// without TLS',
      ),
      pipelined_tls: option(
        boolean,
        false,
        'Take a TLS handshake that comes right behind its SSLRequest inside a WebSocket',
      ),
      ping_interval: option(duration, '25s', 'Silence after which a WebSocket is pinged; 0: never'),
      failure_rate: option(limit, 5, 'Wrong passwords a second for each address and each user; 0: no limit'),
      failure_burst: option(limit, 20, 'Wrong passwords that may come at once before `failure_rate` counts'),
      keepalive: option(duration, '75s', 'How long an HTTP connection without requests is kept'),
      query_timeout: option(duration, '280s', 'A query over HTTP that runs longer is cancelled; 0: never'),
      max_request: option(size, '10MiB', 'Longest body of an HTTP request'),
      max_response: option(size, '64MiB', 'Longest body of an HTTP answer; 0: no limit'),
      stream_from: option(size, '1MiB', 'An answer longer than this is sent while it is made'),
      max_queries: option(integer(1, 100_000), 1000, 'Most queries in one batch'),
      jwt: section({
        jwks_url: option(text, '', 'Where the keys that sign tokens are published (https); empty: nowhere'),
        jwks_file: option(text, '', 'File with these keys (a JWK set)'),
        algorithms: option(filledText, 'RS256, ES256', 'Signatures that are believed'),
        issuer: option(text, '', 'The `iss` that tokens must have'),
        audience: option(text, '', 'The `aud` that tokens must have'),
        role_claim: option(
          text,
          'role',
          'Claim that names the role or roles of its holder; empty: none does',
        ),
        roles: option(text, '', 'Roles that a token may take, with commas between them'),
        login_user: option(
          text,
          '',
          'User who logs in to Postgres for tokens and takes their role; empty: the role itself',
        ),
        leeway: option(duration, '30s', 'By how much clocks may differ'),
      }),
    }),
    admin,
    log,
    tracing,
    embedded,
    shutdown,
  },
  { error: EXPECTS_KEYS },
)

/** The file with all defaults filled in: times in milliseconds, sizes in bytes. */
export type FileConfig = z.output<typeof fileSchema>
