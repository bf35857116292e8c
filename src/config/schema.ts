// The shape of config.yaml: every key with its type, its default and one line of meaning. config.yaml,
// docs/configuration.md and the names of environment variables follow from it (a test keeps them equal).
// Shape only: it reads no file and no environment, and rules between keys live in resolve.ts.

import { z } from 'zod'
import { parseDuration, parseFileMode, parseSize } from './units.ts'

export type OptionKind = 'text' | 'integer' | 'boolean' | 'choice' | 'duration' | 'size'

interface OptionMeta {
  description: string
  kind: OptionKind
  /** The value is never shown in an error or in a listing. */
  secret?: boolean
  /** The value that stands in the file, as it is written there. Absent: the key has no default. */
  fallback?: string | number | boolean
}

interface Leaf<T extends z.ZodType> {
  kind: OptionKind
  type: T
  secret?: boolean
}

/** Runs a parser of units.ts as the last step of a schema, its error becoming the issue. */
function parsed<In>(type: z.ZodType<In>, parse: (value: In) => number): z.ZodType<number, In> {
  return type.transform((value, context) => {
    try {
      return parse(value)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
      return z.NEVER
    }
  }) as unknown as z.ZodType<number, In>
}

const plainText = z.string({ error: 'expects text; put it in quotes' })
const scalar = (error: string) => z.union([z.string(), z.number()], { error })

const text = { kind: 'text', type: plainText } as const
const filledText = {
  kind: 'text',
  type: plainText.min(1, { error: 'expects a text that is not empty' }),
} as const
const filledSecret = { ...filledText, secret: true } as const
const secretText = { kind: 'text', type: plainText, secret: true } as const
const boolean = { kind: 'boolean', type: z.boolean({ error: 'expects true or false' }) } as const
const duration = {
  kind: 'duration',
  type: parsed(scalar('expects a duration like "250ms", "30s", "5m", "1h", or "0" for off'), parseDuration),
} as const
const size = {
  kind: 'size',
  type: parsed(scalar('expects a size like "16KiB" or "64MiB", or a whole number of bytes'), parseSize),
} as const
const fileMode = {
  kind: 'text',
  type: parsed(z.string({ error: "expects three octal digits in quotes, like '0777'" }), parseFileMode),
} as const

function integer(least: number, most: number = Number.MAX_SAFE_INTEGER) {
  const range = most === Number.MAX_SAFE_INTEGER ? `, ${least} or more` : ` from ${least} to ${most}`
  const error = `expects a whole number${range}`
  return { kind: 'integer', type: z.int({ error }).min(least, { error }).max(most, { error }) } as const
}

function choice<const T extends readonly [string, ...string[]]>(...values: T) {
  return { kind: 'choice', type: z.enum(values, { error: `expects one of ${values.join(', ')}` }) } as const
}

const limit = integer(0, 1_000_000)
const poolMode = choice('session', 'transaction', 'statement')
const port = integer(0, 65_535)
const serverTlsMode = choice('disable', 'prefer', 'require')

/** A key with a default, which is written as it would stand in the file. */
function option<T extends z.ZodType>(leaf: Leaf<T>, fallback: z.input<T>, description: string) {
  const { kind, secret = false } = leaf
  return leaf.type.prefault(fallback as never).meta({ description, kind, secret, fallback })
}

/** A key that may be absent. */
function optional<T extends z.ZodType>(leaf: Leaf<T>, description: string) {
  return leaf.type.optional().meta({ description, kind: leaf.kind, secret: leaf.secret ?? false })
}

const EXPECTS_KEYS = 'expects keys and values, indented below it'

function section<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, { error: EXPECTS_KEYS }).prefault({} as never)
}

const listen = section({
  host: option(filledText, '127.0.0.1', 'Address to listen on for clients'),
  port: option(port, 6432, 'TCP port for clients; also names the Unix socket'),
  unix_socket_dir: option(text, '', 'Folder for the Unix socket `.s.PGSQL.<port>`; empty: none'),
  unix_socket_mode: option(fileMode, '0777', 'Permissions of the Unix socket, in octal'),
  backlog: option(integer(1, 65_535), 1024, 'Connections that the kernel keeps until they are accepted'),
})

const client = section({
  auth: option(choice('trust', 'md5', 'scram-sha-256'), 'scram-sha-256', 'How clients prove who they are'),
  users_file: option(text, '', 'A userlist.txt with `"user" "secret"` lines; empty: none'),
  tls: section({
    mode: option(
      choice('disable', 'allow', 'prefer', 'require'),
      'disable',
      'TLS for clients: not offered, offered (allow and prefer are the same), or required',
    ),
    cert_file: option(text, '', 'PEM file with the certificate chain'),
    key_file: option(text, '', 'PEM file with the private key'),
  }),
  max_connections: option(limit, 5000, 'Client connections in total; 0: no limit'),
  max_per_database: option(limit, 0, 'Client connections per database; 0: no limit'),
  max_per_user: option(limit, 0, 'Client connections per user; 0: no limit'),
  max_per_address: option(limit, 0, 'Client connections per IP address; 0: no limit'),
  max_unauthenticated: option(limit, 1000, 'Connections that have not logged in yet; 0: no limit'),
  login_timeout: option(duration, '15s', 'Time to log in; 0: no limit'),
  idle_timeout: option(duration, '0', 'A client silent for longer outside a transaction is closed; 0: never'),
  idle_transaction_timeout: option(
    duration,
    '0',
    'A client silent for longer inside a transaction is closed; 0: never',
  ),
  transaction_timeout: option(duration, '0', 'A client whose transaction takes longer is closed; 0: never'),
  query_timeout: option(duration, '0', 'A query that runs longer is cancelled; 0: never'),
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
    mode: option(serverTlsMode, 'prefer', 'TLS to Postgres: never, if it can, or always'),
  }),
  connect_timeout: option(duration, '5s', 'Time to connect and log in to Postgres; 0: no limit'),
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
    user: optional(text, 'User to log in to Postgres with: one pool for all clients'),
    password: optional(filledSecret, 'Password of that user'),
    password_file: optional(filledText, 'File that holds the password'),
    dbname: optional(filledText, 'Name of the database in Postgres'),
    tls: z
      .strictObject({ mode: optional(serverTlsMode, 'TLS to Postgres') }, { error: EXPECTS_KEYS })
      .optional(),
    pool_mode: optional(poolMode, 'How long a client keeps its server'),
    pool_size: optional(integer(1, 100_000), 'Servers per pool'),
    min_pool_size: optional(limit, 'Servers that a pool keeps open'),
    reserve_size: optional(limit, 'Further servers for a pool in which a client waits too long'),
    max_servers: optional(limit, 'Servers of this database, over all users; 0: no limit'),
    max_clients: optional(limit, 'Client connections to this database; 0: no limit'),
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
    max_servers: optional(limit, 'Servers of this user, over all databases; 0: no limit'),
    max_clients: optional(limit, 'Client connections of this user; 0: no limit'),
  },
  { error: EXPECTS_KEYS },
)

export const fileSchema = z.strictObject(
  {
    listen,
    client,
    upstream,
    pool,
    databases: z.record(z.string(), database, { error: EXPECTS_KEYS }).prefault({}),
    users: z.record(z.string(), user, { error: EXPECTS_KEYS }).prefault({}),
    admin: section({
      host: option(filledText, '127.0.0.1', 'Address of the admin HTTP server; `off`: none'),
      port: option(port, 6490, 'Its port'),
    }),
    log: section({
      level: option(
        choice('debug', 'info', 'warn', 'error'),
        'info',
        'Least important lines that are logged',
      ),
      format: option(choice('auto', 'pretty', 'json'), 'auto', 'auto: pretty on a terminal, else json'),
    }),
    embedded: section({
      data_dir: option(filledText, './.pgmux/postgres', 'Folder of the embedded Postgres'),
      ephemeral: option(boolean, false, 'Use a new folder and remove it at the end'),
    }),
    shutdown: section({
      timeout: option(duration, '25s', 'Time for open transactions to end after SIGTERM; 0: no limit'),
    }),
  },
  { error: EXPECTS_KEYS },
)

/** The file with all defaults filled in: times in milliseconds, sizes in bytes. */
export type FileConfig = z.output<typeof fileSchema>

/** One key of the file. */
export interface OptionInfo extends OptionMeta {
  /** Section, perhaps a subsection, key. `<name>` stands for the name of a database or user. */
  path: readonly string[]
  /** Name of its environment variable; null inside databases and users. */
  env: string | null
}

function unwrap(schema: unknown): unknown {
  let inner = schema
  while (inner instanceof z.ZodPrefault || inner instanceof z.ZodOptional) inner = inner.unwrap()
  return inner
}

function collect(schema: unknown, path: readonly string[], into: OptionInfo[]): void {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodObject) {
    for (const [key, child] of Object.entries(inner.shape)) collect(child, [...path, key], into)
  } else if (inner instanceof z.ZodRecord) {
    collect(inner.valueType, [...path, '<name>'], into)
  } else {
    const meta = (schema as z.ZodType).meta() as unknown as OptionMeta
    const env = path.includes('<name>') ? null : `PGMUX_${path.join('_').toUpperCase()}`
    into.push({ ...meta, path, env })
  }
}

function collectAll(): OptionInfo[] {
  const all: OptionInfo[] = []
  collect(fileSchema, [], all)
  return all
}

/** Every key of the file, in the order of the file. */
export const OPTIONS: readonly OptionInfo[] = collectAll()

/** The keys known below `path`; null where the value at `path` is not a map, or its keys are free names. */
export function keysAt(path: readonly string[]): readonly string[] | null {
  const inner = descend(path)
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : null
}

/** True where the value at `path` is a map. */
export function isMapAt(path: readonly string[]): boolean {
  const inner = descend(path)
  return inner instanceof z.ZodObject || inner instanceof z.ZodRecord
}

/** The option at `path`, where database and user names are the real ones. */
export function optionAt(path: readonly string[]): OptionInfo | undefined {
  const named = path[0] === 'databases' || path[0] === 'users'
  const wanted = path.map((part, i) => (named && i === 1 ? '<name>' : part)).join('.')
  return OPTIONS.find((candidate) => candidate.path.join('.') === wanted)
}

function descend(path: readonly string[]): unknown {
  let inner = unwrap(fileSchema)
  for (const key of path) {
    if (inner instanceof z.ZodObject && Object.hasOwn(inner.shape, key)) inner = unwrap(inner.shape[key])
    else if (inner instanceof z.ZodRecord) inner = unwrap(inner.valueType)
    else return undefined
  }
  return inner
}
