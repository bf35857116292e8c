// The configuration as the program uses it: every value checked, defaults filled in, times in
// milliseconds, sizes in bytes, secrets read from their files. Read only; load.ts makes it.
import type { IpBytes } from '../util/ip.ts'
import type { Regex } from '../util/regex.ts'

export type PoolMode = 'session' | 'transaction' | 'statement'
export type ClientAuth =
  | 'trust'
  | 'password'
  | 'md5'
  | 'scram-sha-256'
  | 'scram-sha-256-plus'
  | 'cert'
  | 'hba'
/** In this order each demands more than the one before. */
export type TlsMode = 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'
/** Whether SCRAM is tied to the TLS connection below it (RFC 5929, tls-server-end-point). */
export type ChannelBinding = 'disable' | 'prefer' | 'require'
/** Which name of a client's certificate is compared with the user. */
export type CertName = 'CN' | 'DN' | 'SAN'
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Names in a rule of pg_hba.conf: one of them has to fit. */
export interface HbaNames {
  readonly all: boolean
  /** The database is called like the user. */
  readonly sameUser: boolean
  /** Physical replication, which has no database. */
  readonly replication: boolean
  readonly exact: ReadonlySet<string>
  readonly patterns: readonly Regex[]
}

/** Where a connection comes from. */
export type HbaAddress =
  /** `samehost`: an address of this machine; `samenet`: one in a network that it is in. */
  | { readonly kind: 'all' | 'samehost' | 'samenet' }
  | { readonly kind: 'network'; readonly network: IpBytes; readonly mask: IpBytes }

export type HbaMethod = 'trust' | 'reject' | 'password' | 'md5' | 'scram-sha-256' | 'cert'
export type ClientCert = 'no' | 'verify-ca' | 'verify-full'

/** A line of pg_hba.conf. */
export interface HbaRule {
  /** `local`: Unix sockets; the others: all that is no Unix socket. */
  readonly connection: 'local' | 'host' | 'hostssl' | 'hostnossl'
  readonly databases: HbaNames
  readonly users: HbaNames
  readonly from: HbaAddress
  readonly method: HbaMethod
  readonly clientCert: ClientCert
  readonly certMap: string
  readonly certName: CertName
}

/** A name in pg_ident.conf. */
export type MappedName =
  | { readonly kind: 'all' }
  /** Of a user: `\1` in it stands for the first group of the system name's pattern. */
  | { readonly kind: 'exact'; readonly name: string }
  | { readonly kind: 'pattern'; readonly pattern: Regex }

/** A line of pg_ident.conf: who is known to be `system` may be `user`. */
export interface UserMapLine {
  readonly map: string
  readonly system: MappedName
  readonly user: MappedName
}

export interface ListenConfig {
  /** At least one. */
  hosts: readonly [string, ...string[]]
  port: number
  /** Folder for the socket `.s.PGSQL.<port>`; '' for none. */
  unixSocketDir: string
  unixSocketMode: number
  /** Name or number of the group that the socket is given to; '' : the one we run as. */
  unixSocketGroup: string
  /** Silence after which the kernel asks whether a client is still there; 0: it never does. */
  keepaliveMs: number
  backlog: number
}

export interface ClientTlsConfig {
  mode: TlsMode
  certFile: string
  keyFile: string
  /** Authorities for the certificates of clients; '': none is asked for. */
  caFile: string
  minVersion: TlsVersion
}

/** Who asks Postgres for the secrets of users that are not configured. */
export interface AuthQueryConfig {
  /** '' : nobody, there is no such query. */
  user: string
  password: string | null
  /** '' : the database that the client wants. */
  dbname: string
  query: string
  /** 0: asked at each login. */
  cacheTimeMs: number
  timeoutMs: number
}

/** Limits and timeouts of the frontend side. 0 means: no limit. */
export interface ClientConfig {
  auth: ClientAuth
  /** Its rules, in their order; none unless `auth` is hba. */
  hbaFile: readonly HbaRule[]
  /** The lines of all user name maps, in their order. */
  identFile: readonly UserMapLine[]
  /** Map for `auth: cert`; '' : the certificate must name the user itself. */
  certMap: string
  certName: CertName
  authQuery: AuthQueryConfig
  tls: ClientTlsConfig
  maxConnections: number
  maxPerDatabase: number
  maxPerUser: number
  maxPerAddress: number
  /** Connections that have not logged in yet, together. */
  maxUnauthenticated: number
  /** Bytes of the process above which nobody new comes in; 0: nine tenths of what its container has. */
  memoryLimit: number
  loginTimeoutMs: number
  idleTimeoutMs: number
  idleTransactionTimeoutMs: number
  transactionTimeoutMs: number
  queryTimeoutMs: number
  /** A client that waits longer for a server is told so by a notice. */
  waitNoticeMs: number
  /** `application_name` gets the address of the client behind it. */
  addAddress: boolean
  /** How long a client may refuse to take its answer. */
  writeTimeoutMs: number
  /** How long a batch may stay without its Sync, or a message half sent, while it holds a server. */
  batchTimeoutMs: number
  /** After Terminate: how long what was asked for may run on (0: until it ends). */
  goneGraceMs: number
  /** After a lost connection: how long before what runs is cancelled. */
  abandonGraceMs: number
  /** Bytes of notifications that may wait for a client. */
  notificationBuffer: number
}

export interface ServerTlsConfig {
  mode: TlsMode
  /** '' : the authorities that Node trusts. */
  caFile: string
  /** '' : we have none. */
  certFile: string
  keyFile: string
  /** direct: the handshake begins at once (Postgres 17). */
  negotiation: 'postgres' | 'direct'
  minVersion: TlsVersion
}

/** Where Postgres is, and how we log in there when neither database nor user says otherwise. */
export interface UpstreamConfig {
  /** Host name, address, or a folder that holds a Unix socket; '' when nothing is configured. */
  host: string
  port: number
  /** '' : the client's own user name. */
  user: string
  /** null: none known (an upstream that asks for one cannot be used, trust can). */
  password: string | null
  /** '' : the name that the client asked for. */
  dbname: string
  /**
   * The database that the upstream URL named: an example for the connection string that is printed, no more.
   */
  shownDbname: string
  tls: ServerTlsConfig
  channelBinding: ChannelBinding
  connectTimeoutMs: number
  /** Silence after which the kernel asks whether Postgres is still there; 0: it never does. */
  keepaliveMs: number
}

export interface PoolConfig {
  mode: PoolMode
  size: number
  minSize: number
  reserveSize: number
  reserveTimeoutMs: number
  /** All servers of the process; 0: no limit. */
  maxServers: number
  maxServersPerDatabase: number
  maxServersPerUser: number
  /** Logins to Postgres in flight at once, per pool. */
  maxLogins: number
  /** Clients that may wait for a server of one pool; 0: no limit. */
  maxWaiting: number
  queryWaitTimeoutMs: number
  serverLifetimeMs: number
  serverIdleTimeoutMs: number
  /** The server that is free for longest is used next, not the one used last. */
  serverRoundRobin: boolean
  /** A server idle longer than this is checked before it is used; 0: never checked. */
  serverCheckDelayMs: number
  /** Idle time after which a used server is looked at; 0: never. */
  leakCheckMs: number
  /** How long a cancel connection to Postgres may take. */
  cancelTimeoutMs: number
  /** Statements kept on one server. */
  maxPreparedStatements: number
  /** Bytes of statement text that one pool keeps, over all its clients. */
  preparedMemory: number
  sharing: SharingConfig
}

/** Reads of several clients on one server. */
export interface SharingConfig {
  isOn: boolean
  /** In flight at once on one server. */
  depth: number
  /** Statements that take longer are not shared. */
  maxMs: number
  /** One that takes longer is left alone. */
  maxWaitMs: number
}

/** Reasons to keep a server beyond the transaction that clients can do something about. */
export type PolicedPin =
  | 'temp'
  | 'advisory_lock'
  | 'cursor'
  | 'backend_state'
  | 'sql_prepare'
  | 'listen'
  | 'custom_setting'
  | 'privileged_setting'
  | 'by_hand'
  | 'large_statement'
export type PinAction = 'allow' | 'warn' | 'refuse'
export type PinActions = Readonly<Record<PolicedPin, PinAction>>

/** What sessions promise where servers are shared, and what it may cost. */
export interface SessionConfig {
  pins: PinActions
  /** Clients of one pool that keep a server at once; 0: no limit. */
  maxPinned: number
  /** 0: for ever. */
  maxPinTimeMs: number
  /** Whether Postgres is asked what functions and the like have left: where it may be so, always, never. */
  witness: 'auto' | 'always' | 'off'
  /** strict: a server on which a custom name was used is nobody else's. */
  customNames: 'relaxed' | 'strict'
  /** What becomes of currval and lastval: refused where in doubt, a server of one's own, not looked after. */
  sequences: 'error' | 'pin' | 'pass'
  /** Whether one connection listens for all clients, or each that listens keeps its server. */
  listen: 'virtual' | 'pin'
  /** How long an answer waits for notifications that its client has made itself. */
  notifyWaitMs: number
  /** Of one client; beyond it the client keeps its server. */
  maxChannels: number
}

/** What is absent is as in `upstream`, `pool`, `session` and `client`. */
export interface DatabaseConfig extends Partial<Omit<UpstreamConfig, 'tls'>> {
  tls?: Partial<ServerTlsConfig>
  /** Least TLS of clients that want this database. */
  clientTlsMode?: TlsMode
  poolMode?: PoolMode
  poolSize?: number
  minPoolSize?: number
  reserveSize?: number
  queryWaitTimeoutMs?: number
  serverLifetimeMs?: number
  /** Runs on each server after its login. */
  connectQuery?: string
  maxServers?: number
  maxClients?: number
  pins?: Partial<PinActions>
  maxPinned?: number
  maxPinTimeMs?: number
}

export interface UserConfig {
  /** Plain password, `md5...` or a SCRAM-SHA-256 verifier; null: from the userlist, or none. */
  secret: string | null
  poolMode?: PoolMode
  poolSize?: number
  reserveSize?: number
  queryWaitTimeoutMs?: number
  queryTimeoutMs?: number
  idleTimeoutMs?: number
  idleTransactionTimeoutMs?: number
  transactionTimeoutMs?: number
  maxServers?: number
  maxClients?: number
  pins?: Partial<PinActions>
  maxPinned?: number
  maxPinTimeMs?: number
}

/** The endpoint for WebSocket and HTTP clients. */
export interface ServerlessConfig {
  /** '' : there is none. */
  host: string
  port: number
  tls: { certFile: string; keyFile: string; minVersion: TlsVersion }
  /** Proxies that are believed about where a client comes from: addresses or networks. */
  trustProxy: readonly string[]
  /** Origins of web pages; `*` stands for any. */
  allowedOrigins: readonly string[]
  allowedHosts: readonly string[]
  /** What `?address=` may say, in lower case with its port, and the database that it means. */
  addresses: readonly { readonly address: string; readonly database: string }[]
  insecurePasswords: boolean
  pipelinedTls: boolean
  /** 0: never. */
  pingIntervalMs: number
  /** Wrong passwords a second, for each address and each user; 0: no limit. */
  failureRate: number
  failureBurst: number
  keepaliveMs: number
  /** 0: no limit. */
  queryTimeoutMs: number
  maxRequest: number
  /** 0: no limit. */
  maxResponse: number
  streamFrom: number
  maxQueries: number
  jwt: JwtConfig
}

/** Which tokens are believed, and what their holders may be. Without keys none is. */
export interface JwtConfig {
  jwksUrl: string
  jwksFile: string
  algorithms: readonly string[]
  issuer: string
  audience: string
  /** '' : no claim names roles. */
  roleClaim: string
  roles: readonly string[]
  /** '' : the role itself logs in. */
  loginUser: string
  leewayMs: number
}

export interface AdminConfig {
  /** '' : no admin listener. */
  host: string
  port: number
  /** Who may do everything in the console. */
  users: readonly string[]
  /** Who may look at everything there. */
  statsUsers: readonly string[]
  /** Who needs no password to look at it: who is on this machine, or nobody. */
  dashboard: 'auto' | 'password' | 'off'
}

export interface LogConfig {
  level: LogLevel
  format: 'pretty' | 'json'
  /** Clients that come are worth a line of level info, not only debug. */
  connections: boolean
  disconnections: boolean
  /** A line of averages that often; 0: none. */
  statsPeriodMs: number
}

export interface TracingConfig {
  /** '' : nothing is traced. */
  endpoint: string
  sample: number
  serviceName: string
  /** For the collector, as `name=value` with commas between them; '' : none. */
  headers: string
}

export interface EmbeddedConfig {
  dataDir: string
  ephemeral: boolean
}

export interface Config {
  /** Processes behind the ports; 1: the one that was started. */
  workers: number
  /** One that has not answered for so long is replaced; 0: never. */
  workerTimeoutMs: number
  listen: ListenConfig
  client: ClientConfig
  upstream: UpstreamConfig
  pool: PoolConfig
  session: SessionConfig
  /** By the name that clients use; `*` is the fallback. */
  databases: ReadonlyMap<string, DatabaseConfig>
  users: ReadonlyMap<string, UserConfig>
  serverless: ServerlessConfig
  admin: AdminConfig
  log: LogConfig
  tracing: TracingConfig
  embedded: EmbeddedConfig
  shutdown: { timeoutMs: number; delayMs: number }
}
