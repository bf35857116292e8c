// Owns the three ways to Postgres that are compared, and that their settings are as alike as they can be:
// trust on loopback, transaction mode, the same number of servers, no TLS, no log of connections.
// Must never run a pooler as root that refuses it, nor leave a password in a file that others can read.
import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Account, chooseAccount } from '../src/embedded/account.ts'
import { temporaryRoot } from '../src/embedded/home.ts'
import type { Child, Children } from './child.ts'
import type { Login } from './database.ts'
import type { PeerName } from './figures.ts'
import { type BenchOptions, SCENARIOS, type Scenario } from './options.ts'
import { type Address, findProgram } from './pgbench.ts'

/** One way to Postgres that is measured. */
export interface Peer extends Address {
  readonly name: PeerName
  readonly version: string
  /** The pooler; null: there is none in between. */
  readonly child: Child | null
  /** '' or why it cannot do a scenario. */
  cannot(scenario: Scenario): string
}

/** What poolers are started with. */
export interface Ground {
  readonly children: Children
  readonly login: Login
  readonly options: BenchOptions
  /** Removed by the one who made it. */
  readonly folder: string
  /** The account of PgBouncer, which refuses to run as root; null: our own. */
  readonly account: Account | null
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** More than any bench has, so that no limit is in the way. */
const MAX_CLIENTS = 2000
/** From here on PgBouncer knows prepared statements in transaction mode. */
const PREPARED_SINCE = [1, 21] as const

/** Makes the temporary folder for the configurations. The caller removes it with leaveGround(). */
export async function prepareGround(parts: Pick<Ground, 'children' | 'login' | 'options'>): Promise<Ground> {
  const account = await chooseAccount(null)
  const folder = await mkdtemp(join(await temporaryRoot(account), 'pgmux-bench-'))
  if (account !== null) await chown(folder, account.uid, account.gid)
  return { ...parts, account, folder }
}

export async function leaveGround(ground: Ground): Promise<void> {
  await rm(ground.folder, { recursive: true, force: true })
}

/** Postgres itself. */
export function direct(login: Login, version: string): Peer {
  return { name: 'direct', ...login, version, child: null, cannot: () => '' }
}

/** @param profileFolder where Node writes its CPU profile when pgmux ends; '' for none */
export async function startPgmux(ground: Ground, version: string, profileFolder: string): Promise<Peer> {
  const { children, login, options, folder } = ground
  const { host, port, user, password, database } = login
  const config = {
    listen: { host: '127.0.0.1', port: 0 },
    client: { auth: 'trust', max_connections: MAX_CLIENTS },
    upstream: { host, port, user, password, tls: { mode: 'disable' } },
    pool: { mode: 'transaction', size: options.pool },
    users: { [user]: {} },
    admin: { host: 'off' },
    log: { level: 'warn', format: 'json' },
  }
  const name = profileFolder === '' ? 'pgmux' : 'pgmux-profiled'
  const file = join(folder, `${name}.yaml`)
  // JSON is YAML.
  await writeFile(file, JSON.stringify(config), { mode: 0o600 })
  const profile =
    profileFolder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, '--cpu-prof-interval=500']
  const command = [process.execPath, ...profile, join(ROOT, 'bin', 'pgmux.js'), 'run', '--config', file]
  const child = children.start('pgmux', command, { cwd: folder })
  const [, told] = await child.said(/^pgmux clients: .*:(\d+),/)
  return { name: 'pgmux', port: Number(told), user, password: '', database, version, child, cannot: () => '' }
}

/** @returns null where this machine has no PgBouncer */
export async function startPgbouncer(ground: Ground): Promise<Peer | null> {
  const program = await findProgram('pgbouncer', ['/usr/sbin', '/usr/local/sbin'])
  if (program === null) return null
  const { children, account } = ground
  const asked = children.start('pgbouncer', [program, '--version'], {})
  await asked.exited
  const version = /^PgBouncer (\d[\w.]*)/m.exec(asked.lines.join('\n'))?.[1] ?? 'unknown'
  const port = await freePort()
  const knowsPrepared = isAtLeast(version, PREPARED_SINCE)
  const file = await writePgbouncerConfig(ground, port, knowsPrepared)
  const identity = account === null ? {} : { uid: account.uid, gid: account.gid }
  const child = children.start('pgbouncer', [program, file], { cwd: ground.folder, ...identity })
  await child.said(/process up/)
  const reason = `PgBouncer ${version} knows no prepared statements in transaction mode (1.21 and newer do)`
  const cannot = (scenario: Scenario): string => (scenario === SCENARIOS[2] && !knowsPrepared ? reason : '')
  const { user, database } = ground.login
  return { name: 'pgbouncer', port, user, password: '', database, version, child, cannot }
}

/** @returns whether `version` (`1.18.0`) is `least` or newer; false where it is no version */
export function isAtLeast(version: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0)
  return major > least[0] || (major === least[0] && minor >= least[1])
}

async function writePgbouncerConfig(ground: Ground, port: number, knowsPrepared: boolean): Promise<string> {
  const { login, options, account } = ground
  const folder = join(ground.folder, 'pgbouncer')
  await mkdir(folder, { mode: 0o700 })
  const users = join(folder, 'userlist.txt')
  const file = join(folder, 'pgbouncer.ini')
  const settings: Record<string, string | number> = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    listen_backlog: 1024,
    unix_socket_dir: '',
    auth_type: 'trust',
    auth_file: users,
    pool_mode: 'transaction',
    default_pool_size: options.pool,
    max_client_conn: MAX_CLIENTS,
    log_connections: 0,
    log_disconnections: 0,
    client_tls_sslmode: 'disable',
    server_tls_sslmode: 'disable',
    ...(knowsPrepared ? { max_prepared_statements: 200 } : {}),
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  const upstream = `${login.database} = host=${login.host} port=${login.port} dbname=${login.database}`
  await writeFile(file, `[databases]\n${upstream}\n\n[pgbouncer]\n${lines.join('\n')}\n`, { mode: 0o600 })
  await writeFile(users, `"${login.user}" "${login.password}"\n`, { mode: 0o600 })
  for (const path of account === null ? [] : [folder, users, file])
    await chown(path, account!.uid, account!.gid)
  return file
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
