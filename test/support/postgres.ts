// Owns the Postgres that integration tests talk to: PGMUX_TEST_URL if set, else a container where an engine
// answers, else the embedded binaries. One server for each call, stopped with the file or test that asked.
// Must never be imported by src/.
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { get } from 'node:http'
import { after, type TestContext } from 'node:test'
import { Client } from 'pg'
import { SETTINGS } from '../../src/embedded/embedded.ts'
import { startCopied } from './template.ts'

/** What a test wants of its server. */
export interface PostgresOptions {
  /** Settings by name, on top of the ones in src/embedded. */
  settings?: Readonly<Record<string, string>>
}

/** Outages on purpose. */
export interface PostgresControl {
  /** Process number of the postmaster. */
  readonly pid: number
  /** Folder of the Unix socket. */
  readonly socketDir: string
  /** `pg_ctl stop -m fast`: clients get 57P01. Resolves when it has ended. */
  stopFast(): Promise<void>
  /** As in a crash: connections break. Resolves when it has ended. */
  stopImmediate(): Promise<void>
  /** Starts it again with its data on the same port. */
  start(): Promise<void>
}

/** A Postgres for tests. */
export interface TestPostgres {
  readonly kind: 'url' | 'container' | 'embedded'
  readonly host: string
  readonly port: number
  /** A superuser (or what PGMUX_TEST_URL names). */
  readonly user: string
  readonly password: string
  /** Fresh: no other test file uses it. */
  readonly database: string
  /** 13, 15, 17, ... */
  readonly major: number
  readonly url: string
  /** Null where this server cannot be stopped; `missing` says why. */
  readonly control: PostgresControl | null
  /** Why there is no `control` (and, under PGMUX_TEST_URL, none of the settings): a reason for notRun(). */
  readonly missing: string
  /** Runs one statement on a connection of its own, past pgmux. */
  admin(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  stop(): Promise<void>
}

type Address = Pick<TestPostgres, 'host' | 'port' | 'user' | 'password'>
type Rest = Pick<TestPostgres, 'kind' | 'control' | 'missing' | 'stop'>

const ENGINE_SOCKET = '/var/run/docker.sock'
/** ms that a container engine has for its answer. */
const ENGINE_LIMIT = 2000

/** What Postgres 14 brought, and tests use: to terminate, and to wait until it has happened. */
const TERMINATE = `create function public.pg_terminate_backend(victim int, timeout_ms bigint) returns boolean
  language plpgsql as $$
  begin
    if not pg_catalog.pg_terminate_backend(victim) then return false; end if;
    for step in 1 .. timeout_ms / 5 loop
      perform pg_stat_clear_snapshot();
      if not exists (select from pg_stat_activity where pid = victim) then return true; end if;
      perform pg_sleep(0.005);
    end loop;
    return false;
  end $$`

/**
 * Starts (or names) a Postgres. It is stopped at the end of the file, suite or test that calls this.
 * @param options what the server must have
 */
export async function getPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const postgres = await startPostgres(options)
  after(() => postgres.stop())
  return postgres
}

/**
 * As getPostgres(), but the caller stops it.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const url = process.env.PGMUX_TEST_URL
  if (url) return named(new URL(url))
  if (await engineAnswers()) return inContainer(options)
  return embedded(options)
}

/** Marks a test as not run; the runner lists it with the reason at the end. */
export function notRun(t: TestContext, reason: string): void {
  t.skip(reason)
}

async function embedded(options: PostgresOptions): Promise<TestPostgres> {
  const native = process.env.PGMUX_TEST_BINARIES
  const server = await startCopied({ native: native || undefined, settings: options.settings ?? {} })
  const control: PostgresControl = {
    get pid() {
      return server.pid
    },
    get socketDir() {
      return server.socketDir
    },
    stopFast: () => server.halt('fast'),
    stopImmediate: () => server.halt('immediate'),
    start: () => server.start(),
  }
  return describe(server, { kind: 'embedded', control, missing: '', stop: () => server.stop() })
}

async function inContainer(options: PostgresOptions): Promise<TestPostgres> {
  const { GenericContainer, Wait } = await import('testcontainers')
  const password = randomBytes(12).toString('hex')
  const { unix_socket_permissions: _, ...settings } = { ...SETTINGS, ...options.settings }
  const flags = Object.entries({ ...settings, fsync: 'off' }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ])
  const container = await new GenericContainer(`postgres:${process.env.PGMUX_TEST_VERSION || '15'}`)
    .withEnvironment({ POSTGRES_PASSWORD: password })
    .withExposedPorts(5432)
    .withCommand(['postgres', ...flags])
    // The image starts Postgres twice: once to set it up.
    .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
    .start()
  const address = {
    host: container.getHost(),
    port: container.getMappedPort(5432),
    user: 'postgres',
    password,
  }
  return describe(address, {
    kind: 'container',
    control: null,
    missing: 'needs a Postgres that the test can stop; this one runs in a container',
    stop: async () => {
      await container.stop()
    },
  })
}

async function named(url: URL): Promise<TestPostgres> {
  const address = {
    host: url.hostname || '127.0.0.1',
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username || 'postgres'),
    password: decodeURIComponent(url.password),
  }
  const first = decodeURIComponent(url.pathname.slice(1)) || 'postgres'
  const database = `pgmux_test_${randomBytes(6).toString('hex')}`
  await query(address, first, `create database ${database}`)
  return describe(
    address,
    {
      kind: 'url',
      control: null,
      missing: 'needs a Postgres that the test sets up or stops; PGMUX_TEST_URL names one that runs',
      stop: async () => {
        await query(address, first, `drop database ${database} with (force)`)
      },
    },
    database,
  )
}

async function describe(address: Address, rest: Rest, database = 'postgres'): Promise<TestPostgres> {
  const { host, port, user, password } = address
  const [row] = await query(address, database, 'show server_version_num')
  const major = Math.floor(Number(row?.server_version_num) / 10_000)
  if (major < 14) await query(address, database, TERMINATE)
  let stopped: Promise<void> | undefined
  return {
    ...rest,
    host,
    port,
    user,
    password,
    database,
    major,
    url: `postgres://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${database}`,
    admin: (sql, values) => query(address, database, sql, values),
    stop: () => {
      stopped ??= rest.stop()
      return stopped
    },
  }
}

async function query(address: Address, database: string, sql: string, values?: unknown[]) {
  const { host, port, user, password } = address
  const client = new Client({ host, port, user, password, database })
  await client.connect()
  try {
    return (await client.query(sql, values)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}

/** @returns whether a container engine is there and talks. */
async function engineAnswers(): Promise<boolean> {
  const named = process.env.DOCKER_HOST
  if (!named && !existsSync(ENGINE_SOCKET)) return false
  const at = new URL(named || `unix://${ENGINE_SOCKET}`)
  const target =
    at.protocol === 'unix:' ? { socketPath: at.pathname } : { host: at.hostname, port: at.port || 2375 }
  return new Promise((resolve) => {
    const request = get({ ...target, path: '/_ping', timeout: ENGINE_LIMIT }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
}
