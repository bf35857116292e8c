// The composition root: makes the parts from a configuration, joins them, and takes them apart again. It owns
// the process-wide tick, the listeners and the order of a shutdown. It decides nothing about single
// connections.
import { Access } from './auth/access.ts'
import { ClientAuthContext } from './auth/client-auth.ts'
import { PasswordWork } from './auth/password-work.ts'
import { parseSecret } from './auth/secrets.ts'
import { adminHandler } from './admin/http.ts'
import type { Config, PoolMode, TlsMode } from './config/types.ts'
import { SHUTDOWN } from './frontend/refusals.ts'
import { House } from './house.ts'
import { systemClock } from './net/clock.ts'
import { setHandlerErrorReporter } from './net/handler-errors.ts'
import { serveHttp } from './net/http.ts'
import { localAddresses } from './net/interfaces.ts'
import { type Listener, listen } from './net/listen.ts'
import { systemRandom } from './net/random.ts'
import { serverTls } from './net/tls-server.ts'
import { Counters } from './observe/counters.ts'
import type { Log } from './observe/log.ts'
import { LimitedLog } from './observe/log-limit.ts'
import { type Gauges, Metrics } from './observe/metrics.ts'
import { Limits } from './pool/limits.ts'
import type { PoolLimits } from './pool/types.ts'
import { PoolEntry } from './routing/pool-entry.ts'
import { routeOf } from './routing/route-of.ts'
import { type Place, Router } from './routing/router.ts'
import { SecretKeeper } from './routing/secret-keeper.ts'
import { readUpstreamTls } from './routing/upstream-tls.ts'

/** The step of the coarse clock: timeouts are late by at most this. */
const TICK_MS = 50
/** Of this machine, for all configurations. */
const ADDRESSES = localAddresses(systemClock)

/** Where a running pooler listens. */
export interface Addresses {
  readonly postgres: { host: string; port: number }
  /** Path of the Unix socket; '' for none. */
  readonly unixSocket: string
  readonly admin: { host: string; port: number } | null
}

export class Pooler {
  readonly config: Config
  readonly house: House
  readonly router: Router
  readonly #log: Log
  readonly #limitedLog: LimitedLog
  readonly #counters = new Counters()
  readonly #metrics = new Metrics()
  readonly #time = { now: systemClock.now() }
  readonly #work = new PasswordWork()
  readonly #limits: Limits
  readonly #listeners: Listener[] = []
  #admin: Listener | null = null
  #ticker: NodeJS.Timeout | null = null
  #addresses: Addresses | null = null
  #stopping: Promise<void> | null = null

  constructor(config: Config, log: Log) {
    this.config = config
    this.#log = log
    this.#limitedLog = new LimitedLog(log, systemClock)
    const { tls } = config.client
    readUpstreamTls(config)
    const auth = new ClientAuthContext(systemRandom, this.#work)
    this.#limits = new Limits({
      process: config.pool.maxServers,
      database: (name) =>
        (config.databases.get(name) ?? config.databases.get('*'))?.maxServers ??
        config.pool.maxServersPerDatabase,
      user: (name) => config.users.get(name)?.maxServers ?? config.pool.maxServersPerUser,
    })
    this.router = new Router(config, {
      makePool: (database, user, place) => this.#makePool(database, user, place),
    })
    this.house = new House({
      random: systemRandom,
      time: this.#time,
      counters: this.#counters,
      auth,
      limits: config.client,
      databases: config.databases,
      users: config.users,
      access: new Access(config.client, {
        tlsOfDatabase: (name) => this.#clientTlsOf(name),
        localAddresses: ADDRESSES,
      }),
      secrets: new SecretKeeper(config.users),
      tls: tls.mode === 'disable' ? null : serverTls(tls),
      log,
      limitedLog: this.#limitedLog,
      route: (database, user) => this.router.get(database, user),
    })
    for (const [name, { secret }] of config.users) {
      const parsed = secret === null ? null : parseSecret(secret)
      if (parsed?.kind === 'plain') void auth.warm(name, parsed)
    }
    setHandlerErrorReporter((error, where) => {
      this.#counters.errors.add(['XX000', 'internal_error'])
      log.error({ where, error: error.stack ?? error.message }, 'internal error: one connection was closed')
    })
    this.#metrics.registerCounters(() => this.#counters)
    this.#metrics.registerGauges(() => this.gauges())
  }

  /** Where it listens; only after `start`. */
  get addresses(): Addresses {
    if (this.#addresses === null) throw new Error('the pooler has not been started')
    return this.#addresses
  }

  /** Opens the listeners. @throws one clear sentence when one cannot be opened; then none is open. */
  async start(): Promise<void> {
    const { listen: at, admin } = this.config
    try {
      const main = await listen({ host: at.host, port: at.port, backlog: at.backlog }, (stream) =>
        this.house.accept(stream),
      )
      this.#listeners.push(main)
      const path = at.unixSocketDir === '' ? '' : `${at.unixSocketDir}/.s.PGSQL.${main.port}`
      if (path !== '') {
        const options = { path, mode: at.unixSocketMode, backlog: at.backlog }
        this.#listeners.push(await listen(options, (stream) => this.house.accept(stream)))
      }
      if (admin.host !== '') this.#admin = await this.#serveAdmin(admin)
      this.#addresses = {
        postgres: { host: at.host, port: main.port },
        unixSocket: path,
        admin: this.#admin === null ? null : { host: admin.host, port: this.#admin.port },
      }
    } catch (error) {
      await this.#closeListeners()
      await this.#admin?.close()
      throw error
    }
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
  }

  /**
   * Stops accepting, lets transactions finish, then closes the servers. Those who are not done after
   * `timeoutMs` are cut off with 57P01. Safe to call again: a shorter time counts.
   */
  drain(timeoutMs: number): Promise<void> {
    const deadline = setTimeout(() => this.#cutOff(), timeoutMs)
    this.#stopping ??= this.#stop()
    return this.#stopping.finally(() => clearTimeout(deadline))
  }

  #cutOff(): void {
    this.house.closeAll(SHUTDOWN)
    for (const entry of this.router.entries()) entry.hurry()
  }

  async #stop(): Promise<void> {
    const { house } = this
    await this.#closeListeners()
    const empty = new Promise<void>((resolve) => {
      house.onEmpty = resolve
    })
    house.drain()
    if (house.clients.size > 0 || house.visitors.size > 0) await empty
    // Servers finish what clients that said goodbye have left with them.
    await this.#serversQuiet()
    for (const entry of this.router.entries()) entry.close('shutdown')
    if (this.#ticker !== null) clearInterval(this.#ticker)
    await this.#admin?.close()
  }

  /** Resolves when no server works for a client that has gone. */
  #serversQuiet(): Promise<void> {
    return new Promise((resolve) => {
      const look = setInterval(() => {
        for (const entry of this.router.entries()) if (entry.pool.active.size > 0) return
        clearInterval(look)
        resolve()
      }, TICK_MS)
    })
  }

  async #closeListeners(): Promise<void> {
    const listeners = this.#listeners.splice(0)
    await Promise.all(listeners.map((listener) => listener.close()))
  }

  /** The numbers of this moment, counted anew from the lists. */
  gauges(): Gauges {
    const servers = { opening: 0, idle: 0, testing: 0, active: 0 }
    let waiting = 0
    for (const { pool, own } of this.router.entries()) {
      servers.opening += pool.opening.size
      servers.idle += pool.idle.length
      servers.testing += pool.testing.size
      servers.active += pool.active.size + own.size
      waiting += pool.waiting.size
    }
    const clients = { login: this.house.visitors.size, idle: 0, active: 0, waiting: 0 }
    for (const client of this.house.clients) {
      if (client.server !== null) clients.active++
      else if (client.isWaiting) clients.waiting++
      else clients.idle++
    }
    return { clients, servers, waiting }
  }

  metrics(): Promise<string> {
    return this.#metrics.text()
  }

  /** Could a client get a server now? */
  ready(): { ok: boolean; reason: string } {
    if (this.house.isDraining) return { ok: false, reason: 'the pooler is shutting down' }
    let failure = ''
    for (const { pool } of this.router.entries()) {
      if (pool.idle.length + pool.active.size > 0) return { ok: true, reason: '' }
      if (pool.lastFailure !== null) failure = pool.lastFailure.refusal.message
    }
    return failure === '' ? { ok: true, reason: '' } : { ok: false, reason: failure }
  }

  #serveAdmin(at: { host: string; port: number }): Promise<Listener> {
    const handler = adminHandler({ metrics: () => this.metrics(), ready: () => this.ready() })
    return serveHttp(at, handler)
  }

  #tick(): void {
    const now = systemClock.now()
    this.#time.now = now
    this.house.tick(now)
    this.#limitedLog.tick()
    for (const entry of this.router.entries()) entry.tick(now)
    for (const { pool } of this.router.forget(now)) this.#limits.remove(pool)
  }

  #makePool(database: string, user: string, place: Place): PoolEntry {
    const { config } = this
    const log = this.#log.child({ database, user })
    return new PoolEntry({
      database,
      user,
      route: routeOf(config, place, this.#modeOf(database, user)),
      limits: this.#limitsOf(database, user),
      shared: this.#limits,
      preparedMemory: config.pool.preparedMemory,
      counters: this.#counters,
      machinery: {
        clock: systemClock,
        random: systemRandom,
        time: this.#time,
        work: this.#work,
        warn: (message) => log.warn({}, message),
      },
      onServerOpened: (server) => log.debug({ pid: server.pid }, 'server opened'),
      onServerFailed: (_server, { refusal }) => {
        this.#counters.errors.add([refusal.code, refusal.reason])
        const fields = { database, user, code: refusal.code, error: refusal.message }
        this.#limitedLog.write('warn', refusal.reason, { fields, message: 'login to Postgres failed' })
      },
      onDefault: (entry, change) => this.house.followDefault(entry, change),
      onServerClosed: (server, reason) => log.debug({ pid: server.pid, reason }, 'server closed'),
    })
  }

  #clientTlsOf(database: string): TlsMode {
    const { client, databases } = this.config
    return (databases.get(database) ?? databases.get('*'))?.clientTlsMode ?? client.tls.mode
  }

  #modeOf(database: string, user: string): PoolMode {
    const { pool, databases, users } = this.config
    const ofDatabase = databases.get(database) ?? databases.get('*')
    return users.get(user)?.poolMode ?? ofDatabase?.poolMode ?? pool.mode
  }

  #limitsOf(database: string, user: string): PoolLimits {
    const { pool, databases, users } = this.config
    const ofDatabase = databases.get(database) ?? databases.get('*')
    const ofUser = users.get(user)
    return {
      size: ofUser?.poolSize ?? ofDatabase?.poolSize ?? pool.size,
      minSize: ofDatabase?.minPoolSize ?? pool.minSize,
      reserveSize: ofDatabase?.reserveSize ?? pool.reserveSize,
      reserveTimeoutMs: pool.reserveTimeoutMs || Number.POSITIVE_INFINITY,
      maxLogins: pool.maxLogins,
      maxWaiting: pool.maxWaiting,
      queryWaitTimeoutMs: pool.queryWaitTimeoutMs || Number.POSITIVE_INFINITY,
      serverLifetimeMs: pool.serverLifetimeMs,
      serverIdleTimeoutMs: pool.serverIdleTimeoutMs,
      serverCheckDelayMs: pool.serverCheckDelayMs,
    }
  }
}
