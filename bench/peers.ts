// Owns the ways to Postgres that are compared, and that the settings of the poolers which it starts are as
// alike as they can be: transaction mode, the same number of servers, no TLS, no log of connections.
// Must never run a pooler as root that refuses it, nor leave a password in a file that others can read.
import { readFileSync } from 'node:fs'
import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { type Account, chooseAccount } from '../src/embedded/account.ts'
import type { EmbeddedPostgres } from '../src/embedded/embedded.ts'
import { temporaryRoot } from '../src/embedded/home.ts'
import type { Child, Children } from './child.ts'
import type { PeerName } from './figures.ts'
import { open, type Target } from './load/connection.ts'
import { KeyRing } from './load/scram.ts'
import { BenchError, type BenchOptions, type OtherPeer } from './options.ts'
import { findProgram } from './pgbench.ts'
import { clientsOf, FACTS, isLoad, type Load } from './scenarios.ts'

/** One way to Postgres that is measured. */
export interface Peer {
  readonly name: PeerName
  /** '' where nobody has told. */
  readonly version: string
  readonly target: Target
  /** Where it takes WebSocket and HTTP; 0: nowhere. */
  readonly webPort: number
  /** Where its dashboard is; absent: nowhere. */
  readonly adminPort?: number
  /** What we have started; null: Postgres itself, or a pooler that somebody else has started. */
  readonly child: Child | null
  /** Of the pooler; 0: there is none in between, or its process is not known. */
  readonly pid: number
  /** The file it was started with, without secrets; '' for what we have not started. */
  readonly configuration: string
}

/** What everything is measured on. */
export interface Ground {
  readonly children: Children
  readonly postgres: EmbeddedPostgres
  /** Logs in to Postgres itself. */
  readonly login: Target
  readonly options: BenchOptions
  /** Removed by the one who made it. */
  readonly folder: string
  /** The account of PgBouncer, which refuses to run as root; null: our own. */
  readonly account: Account | null
  /** null: this machine has none. */
  readonly pgbouncer: { readonly program: string; readonly version: string } | null
}

/** What differs between the poolers of the scenarios. */
export interface PoolerSettings {
  /** Distinguishes what is started of the same program. */
  readonly label: string
  readonly auth: 'trust' | 'scram-sha-256'
  /** User -> secret, as a userlist has it. */
  readonly users: ReadonlyMap<string, string>
  readonly maxClients: number
  /** Where Node writes its CPU profile when pgmux ends; '' for none. */
  readonly profileFolder: string
  /** It takes WebSocket and HTTP too; absent: it does not. */
  readonly isWeb?: boolean
  /** Of pgmux: it has a dashboard; absent: it has none. */
  readonly isShown?: boolean
  /** Of pgmux: pool.shared; absent: its default. */
  readonly shared?: 'auto' | 'off'
  /** Where it finds Postgres; absent: at Postgres itself. */
  readonly upstreamPort?: number
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** More clients than this are not connected to Postgres itself: it has a process for each. */
export const DIRECT_CLIENTS = 200
/** The same with a relay in between: each login is several round trips, and pgbench makes one at a time. */
const FAR_DIRECT_CLIENTS = 64
/** Clients that a pooler has room for beyond those of the largest load. */
const SPARE_CLIENTS = 100
const LEAST_MAX_CLIENTS = 2000
/** From here on PgBouncer knows prepared statements in transaction mode. */
const PREPARED_SINCE = [1, 21] as const
/** ms that a peer of somebody else's has to let us in, and between two tries. */
const OTHER_LIMIT = 30_000
const OTHER_STEP = 500

/** Makes the temporary folder for the configurations. The caller removes it with leaveGround(). */
export async function prepareGround(
  parts: Pick<Ground, 'children' | 'login' | 'options' | 'postgres'>,
): Promise<Ground> {
  const account = await chooseAccount(null)
  const pgbouncer = await findPgbouncer(parts.children)
  const folder = await mkdtemp(join(await temporaryRoot(account), 'pgmux-bench-'))
  if (account !== null) await chown(folder, account.uid, account.gid)
  return { ...parts, account, folder, pgbouncer }
}

export async function leaveGround(ground: Ground): Promise<void> {
  await rm(ground.folder, { recursive: true, force: true })
}

/** What the loads are measured with: trust on loopback. */
export function trusting(ground: Ground, profileFolder = ''): PoolerSettings {
  const { user, password } = ground.login
  const label = profileFolder === '' ? 'load' : 'profiled'
  const { scenarios, clients } = ground.options
  const most = Math.max(...scenarios.filter(isLoad).map((load) => clientsOf(load, clients)))
  // More than any load has, so that no limit is in the way.
  const maxClients = Math.max(LEAST_MAX_CLIENTS, most + SPARE_CLIENTS)
  return { label, auth: 'trust', users: new Map([[user, password]]), maxClients, profileFolder }
}

/** Postgres itself. */
export function direct(ground: Ground): Peer {
  const { login, postgres } = ground
  const { version } = postgres
  return { name: 'direct', target: login, webPort: 0, version, child: null, pid: 0, configuration: '' }
}

/** @returns '' or why this peer cannot do this load */
export function cannotDo(ground: Ground, name: PeerName, load: Load): string {
  const version = ground.pgbouncer?.version ?? ''
  const clients = clientsOf(load, ground.options.clients)
  if (name === 'pgbouncer' && FACTS[load].how === 'prepared' && !isAtLeast(version, PREPARED_SINCE)) {
    return `PgBouncer ${version} knows no prepared statements in transaction mode (1.21 and newer do)`
  }
  if ((name === 'direct' || name === 'relay') && clients > DIRECT_CLIENTS) {
    return `${clients} connections to Postgres itself: it has a process for each`
  }
  if (name === 'direct' && FACTS[load].isFar && clients > FAR_DIRECT_CLIENTS) {
    return `${clients} logins over the relay take longer than a run`
  }
  return ''
}

/** @returns whether pgmux of this clone has the option pool.shared */
export function knowsShared(): boolean {
  const known = parse(readFileSync(join(ROOT, 'config.yaml'), 'utf8')) as { pool?: object }
  return Object.hasOwn(known.pool ?? {}, 'shared')
}

/** @param version what stands in the report */
export async function startPgmux(ground: Ground, settings: PoolerSettings, version: string): Promise<Peer> {
  const { children, login, options, folder } = ground
  const { host, port, user, password } = login
  const { label, auth, users, maxClients, profileFolder, isWeb = false, isShown = false, shared } = settings
  const config = {
    listen: { host: '127.0.0.1', port: 0 },
    // PgBouncer has no limit on those that have not logged in yet.
    client: { auth, max_connections: maxClients, max_unauthenticated: 0 },
    upstream: { host, port: settings.upstreamPort ?? port, user, password, tls: { mode: 'disable' } },
    pool: { mode: 'transaction', size: options.pool, ...(shared === undefined ? {} : { shared }) },
    users: Object.fromEntries([...users].map(([name, secret]) => [name, { secret }])),
    admin: isShown ? { host: '127.0.0.1', port: 0 } : { host: 'off' },
    serverless: { host: isWeb ? '127.0.0.1' : 'off', port: 0 },
    log: { level: 'error', format: 'json' },
  }
  const file = join(folder, `pgmux-${label}.yaml`)
  // JSON is YAML.
  await writeFile(file, JSON.stringify(config), { mode: 0o600 })
  const profile =
    profileFolder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, '--cpu-prof-interval=500']
  const command = [process.execPath, ...profile, join(ROOT, 'bin', 'pgmux.js'), 'run', '--config', file]
  const child = children.start('pgmux', command, { cwd: folder })
  const [, told] = await child.said(/^pgmux clients: .*:(\d+),/)
  const target = { ...login, port: Number(told) }
  const [, web = '0'] = isWeb ? await child.said(/^pgmux serverless: \S+:(\d+) on any path/) : []
  const [, admin = '0'] = isShown ? await child.said(/^pgmux admin: http:\/\/[^/]+:(\d+)\//) : []
  const configuration = JSON.stringify(withoutSecrets(config), null, 2)
  const ports = { webPort: Number(web), adminPort: Number(admin) }
  return { name: 'pgmux', target, ...ports, version, child, pid: child.pid, configuration }
}

/** @returns what can stand in a report: as it is, but every password and secret is three dots */
function withoutSecrets(config: object): unknown {
  return JSON.parse(
    JSON.stringify(config, (key, value) => (key === 'password' || key === 'secret' ? '...' : value)),
  )
}

async function findPgbouncer(children: Children): Promise<Ground['pgbouncer']> {
  const program = await findProgram('pgbouncer', ['/usr/sbin', '/usr/local/sbin'])
  if (program === null) return null
  const asked = children.start('pgbouncer', [program, '--version'], {})
  await asked.exited
  return { program, version: /^PgBouncer (\d[\w.]*)/m.exec(asked.lines.join('\n'))?.[1] ?? 'unknown' }
}

/** @returns null where this machine has no PgBouncer */
export async function startPgbouncer(ground: Ground, settings: PoolerSettings): Promise<Peer | null> {
  if (ground.pgbouncer === null) return null
  const { children, account, login } = ground
  const { program, version } = ground.pgbouncer
  const port = await freePort()
  const knowsPrepared = isAtLeast(version, PREPARED_SINCE)
  const { file, configuration } = await writePgbouncerConfig(ground, settings, {
    listen_port: port,
    ...(knowsPrepared ? { max_prepared_statements: 200 } : {}),
  })
  const identity = account === null ? {} : { uid: account.uid, gid: account.gid }
  const child = children.start('pgbouncer', [program, file], { cwd: ground.folder, ...identity })
  await child.said(/process up/)
  return {
    name: 'pgbouncer',
    target: { ...login, port },
    webPort: 0,
    version,
    child,
    pid: child.pid,
    configuration,
  }
}

/**
 * A pooler that runs already. It is given some time: its owner may start it when ours is up.
 * @throws BenchError where it does not let us in
 */
export async function meetOther(ground: Ground, other: OtherPeer): Promise<Peer> {
  const { name, host, port, pid } = other
  const target = { ...ground.login, host, port }
  const until = performance.now() + OTHER_LIMIT
  for (;;) {
    try {
      const connection = await open(target, new KeyRing(target.password))
      connection.leave()
      return { name, version: '', target, webPort: 0, child: null, pid, configuration: '' }
    } catch (error) {
      if (ground.children.stopping) throw new BenchError('stopped before its end')
      if (performance.now() > until) {
        throw new BenchError(
          `${name} at ${host}:${port} does not let user ${target.user} into database ${target.database} ` +
            `(${(error as Error).message}): --postgres-port and --password make it possible to configure it`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, OTHER_STEP))
    }
  }
}

/** @returns whether `version` (`1.18.0`) is `least` or newer; false where it is no version */
export function isAtLeast(version: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0)
  return major > least[0] || (major === least[0] && minor >= least[1])
}

async function writePgbouncerConfig(
  ground: Ground,
  pooler: PoolerSettings,
  more: Readonly<Record<string, number>>,
): Promise<{ file: string; configuration: string }> {
  const { login, options, account } = ground
  const folder = join(ground.folder, `pgbouncer-${pooler.label}`)
  await mkdir(folder, { mode: 0o700 })
  const users = join(folder, 'userlist.txt')
  const file = join(folder, 'pgbouncer.ini')
  const settings: Record<string, string | number> = {
    listen_addr: '127.0.0.1',
    listen_backlog: 1024,
    unix_socket_dir: '',
    auth_type: pooler.auth,
    auth_file: users,
    pool_mode: 'transaction',
    default_pool_size: options.pool,
    max_client_conn: pooler.maxClients,
    log_connections: 0,
    log_disconnections: 0,
    log_pooler_errors: 0,
    client_tls_sslmode: 'disable',
    server_tls_sslmode: 'disable',
    ...more,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  // Its own user for Postgres, as pgmux has it: what clients prove has nothing to do with it.
  const upstream = `* = host=${login.host} port=${pooler.upstreamPort ?? login.port} user=${login.user}`
  const text = (password: string): string =>
    `[databases]\n${upstream} password=${password}\n\n[pgbouncer]\n${lines.join('\n')}\n`
  const list = [...pooler.users].map(([name, secret]) => `"${name}" "${secret}"\n`)
  await writeFile(file, text(login.password), { mode: 0o600 })
  await writeFile(users, list.join(''), { mode: 0o600 })
  for (const path of account === null ? [] : [folder, users, file])
    await chown(path, account!.uid, account!.gid)
  return { file, configuration: text('...').replaceAll(ground.folder, '') }
}

/** For PgBouncer, which has to be told its port. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
