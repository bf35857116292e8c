// `pgmux run`: starts what is configured, prints where it is, and stops it on a signal. It owns the order in
// which things start and stop: Postgres first and last.
import { readFileSync } from 'node:fs'
import { ConfigError, type LoadedConfig, loadConfig } from '../config/load.ts'
import type { SetOptions } from '../config/set.ts'
import type { Config } from '../config/types.ts'
import { orForever } from '../config/units.ts'
import { type EmbeddedPostgres, startEmbedded } from '../embedded/embedded.ts'
import { createLog, type Log } from '../observe/log.ts'
import { Pooler } from '../pooler.ts'
import { Crew } from '../workers/crew.ts'
import type { Arguments } from './arguments.ts'
import { keepYoungGenerationSmall } from './heap.ts'

/** npm passes on a signal that the terminal has sent to us as well: within this time it is the same one. */
const SAME_SIGNAL_MS = 500

/** One process, or several that look like one. */
type Running = Pooler | Crew

/** @returns the exit code, when everything has stopped. */
export async function run(given: Arguments): Promise<number> {
  keepYoungGenerationSmall()
  const load = (set?: SetOptions): LoadedConfig => loadConfig({ flags: given.flags, set })
  const { config: loaded, warnings } = load()
  const log = createLog(loaded.log)
  for (const warning of warnings) log.warn({}, warning)
  warnOfFiles(loaded, log)
  const signals = new Signals()
  let postgres: EmbeddedPostgres | null = null
  let config = loaded
  if (loaded.upstream.host === '' && loaded.databases.size === 0) {
    postgres = await startEmbedded({
      ...loaded.embedded,
      onLog: (line) => log.debug({ postgres: line }, 'Postgres'),
    })
    config = inFrontOf(loaded, postgres)
  }
  const pooler = config.workers > 1 ? new Crew(config, log) : new Pooler(config, log)
  pooler.readsFrom((set) => again(load(set), postgres))
  try {
    await pooler.start()
  } catch (error) {
    await postgres?.stop()
    throw error
  }
  for (const notice of postgres?.notices ?? []) process.stdout.write(`pgmux ${notice}\n`)
  announce(pooler, postgres)
  signals.obey(pooler)
  let isStopping = false
  const failed = postgres === null ? null : watch(postgres, log, () => isStopping)
  // SHUTDOWN in the console stops it as well.
  const asked = Promise.race([signals.first, pooler.stopped.then(() => 'drain' as const)])
  const how = await (failed === null ? asked : Promise.race([asked, failed]))
  isStopping = true
  await stop(pooler, signals, how, log)
  await postgres?.stop()
  return how === 'failed' ? 1 : 0
}

/** What was read again, in front of the same Postgres of our own as before, if there is one. */
function again(loaded: LoadedConfig, postgres: EmbeddedPostgres | null): LoadedConfig {
  const { config } = loaded
  if (config.upstream.host !== '' || config.databases.size > 0) return loaded
  if (postgres === null) {
    throw new ConfigError([
      'upstream.host: the Postgres of our own is only started with pgmux; name a Postgres, or restart pgmux',
    ])
  }
  return { ...loaded, config: inFrontOf(config, postgres) }
}

/** The configuration with the Postgres of our own as upstream: its user is the one that clients log in as. */
function inFrontOf(config: Config, postgres: EmbeddedPostgres): Config {
  const { host, port, user, password } = postgres
  const users = new Map(config.users)
  if (!users.has(user)) users.set(user, { secret: password })
  return {
    ...config,
    users,
    upstream: {
      ...config.upstream,
      host,
      port,
      user,
      password,
      tls: { ...config.upstream.tls, mode: 'disable' },
    },
  }
}

/** Files that a process needs besides its connections. */
const OTHER_FILES = 64

/** Without enough open files Node closes new connections without a word, so it is said before. */
function warnOfFiles(config: Config, log: Log): void {
  const limit = openFilesMax()
  const needed = config.client.maxConnections + config.pool.size + OTHER_FILES
  if (limit === null || needed <= limit) return
  const fields = { open_files: limit, needed }
  log.warn(
    fields,
    'fewer open files are allowed than client.max_connections needs: raise ulimit -n or lower it',
  )
}

/** The soft limit of open files, where the system tells it. */
function openFilesMax(): number | null {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return line === null ? null : Number(line[1])
  } catch {
    return null
  }
}

/** One line for each listener, and a connection string that works. */
function announce(pooler: Running, postgres: EmbeddedPostgres | null): void {
  const { addresses, config } = pooler
  const lines: string[] = []
  if (postgres !== null) {
    const life = config.embedded.ephemeral ? 'removed at the end' : 'kept'
    lines.push(
      `Postgres ${postgres.version} of our own on ${postgres.host}:${postgres.port},` +
        ` data in ${postgres.dataDir} (${life})`,
    )
  }
  const { host, port } = addresses.postgres
  const work = config.workers > 1 ? `, ${config.workers} workers` : ''
  lines.push(
    `clients: ${shown(host)}:${port}, ${config.pool.mode} mode, ${config.pool.size} servers a pool${work}`,
  )
  if (addresses.unixSocket !== '') lines.push(`clients: ${addresses.unixSocket}`)
  if (addresses.admin !== null) {
    const at = `http://${shown(addresses.admin.host)}:${addresses.admin.port}`
    if (config.admin.dashboard !== 'off') lines.push(`dashboard: ${at}/`)
    lines.push(`admin: ${at}/metrics /healthz /readyz`)
  }
  const web = addresses.serverless
  if (web !== null) {
    const s = web.isTls ? 's' : ''
    const at = `${shown(web.host)}:${web.port}`
    lines.push(`serverless: ws${s}://${at} on any path, POST http${s}://${at}/sql`)
  }
  lines.push(`connect: ${connectionString(pooler, postgres)}`)
  process.stdout.write(`${lines.map((line) => `pgmux ${line}`).join('\n')}\n`)
}

/** One who can log in: the upstream's user where clients may be it, else the first that has a secret. */
function exampleUser({ upstream, users, client }: Config): string {
  const isOpen = client.auth === 'trust' || users.get(upstream.user)?.secret != null
  const other = [...users].find(([, { secret }]) => secret !== null)?.[0]
  return (isOpen ? upstream.user : '') || other || upstream.user || [...users.keys()][0] || ''
}

/** With the password only where it is one of our own making, for a Postgres on this machine. */
function connectionString(pooler: Running, postgres: EmbeddedPostgres | null): string {
  const { config, addresses } = pooler
  const host = shown(addresses.postgres.host === '0.0.0.0' ? '127.0.0.1' : addresses.postgres.host)
  const user = encodeURIComponent(exampleUser(config) || 'USER')
  const password = postgres === null ? '' : `:${encodeURIComponent(postgres.password)}`
  const named = [...config.databases.keys()].find((name) => name !== '*')
  const database = encodeURIComponent(
    named ?? (config.upstream.shownDbname || config.upstream.dbname || 'postgres'),
  )
  return `postgres://${user}${password}@${host}:${addresses.postgres.port}/${database}`
}

function shown(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function watch(postgres: EmbeddedPostgres, log: Log, isStopping: () => boolean): Promise<'failed'> {
  return postgres.exited.then((exit) => {
    // Also told when we stop it ourselves, which is no failure.
    if (!isStopping()) log.error({ exit }, 'the Postgres of our own has stopped')
    return 'failed' as const
  })
}

async function stop(
  pooler: Running,
  signals: Signals,
  how: 'drain' | 'now' | 'failed',
  log: Log,
): Promise<void> {
  log.info({ how }, 'stopping')
  const { timeoutMs, delayMs } = pooler.config.shutdown
  if (how === 'drain' && delayMs > 0) await lastOrders(pooler, signals, delayMs)
  const drained = pooler.drain(how === 'drain' ? orForever(timeoutMs) : 0)
  void signals.now.then(() => pooler.drain(0))
  await drained
  log.info({}, 'stopped')
}

/** Who sends clients here looks at /readyz now and then: until it has, they still get in. */
async function lastOrders(pooler: Running, signals: Signals, delayMs: number): Promise<void> {
  pooler.house.isEndNear = true
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, delayMs)
  await Promise.race([over, signals.now, pooler.stopped])
  clearTimeout(timer)
}

/** What the operating system tells us. Handlers are there from the start, so that no signal is lost. */
class Signals {
  readonly first: Promise<'drain' | 'now'>
  readonly now: Promise<void>
  #pooler: Running | null = null
  /** What came before there was anybody to obey, in that order. */
  readonly #early: ((pooler: Running) => void)[] = []

  constructor() {
    const first = Promise.withResolvers<'drain' | 'now'>()
    const now = Promise.withResolvers<void>()
    this.first = first.promise
    this.now = now.promise
    let since = 0
    const onDrain = (): void => {
      if (since === 0) {
        since = performance.now()
        first.resolve('drain')
      } else if (performance.now() - since > SAME_SIGNAL_MS) now.resolve()
    }
    process.on('SIGTERM', onDrain)
    process.on('SIGINT', onDrain)
    process.on('SIGQUIT', () => {
      first.resolve('now')
      now.resolve()
    })
    // Without handlers the first would end the process and the second would open Node's inspector.
    process.on('SIGHUP', () => this.#tell((pooler) => pooler.rereadSoon()))
    process.on('SIGUSR1', () => this.#tell((pooler) => pooler.pause()))
    process.on('SIGUSR2', () => this.#tell((pooler) => pooler.resume()))
  }

  /** From now on. What came during the start is done now: the files may have changed since they were read. */
  obey(pooler: Running): void {
    this.#pooler = pooler
    for (const wish of this.#early.splice(0)) wish(pooler)
  }

  #tell(wish: (pooler: Running) => void): void {
    if (this.#pooler === null) this.#early.push(wish)
    else wish(this.#pooler)
  }
}
