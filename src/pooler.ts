// The composition root: makes the parts from a configuration, joins them, and takes them apart again. It owns
// the process-wide tick, the listeners and the order of a shutdown. It decides nothing about single
// connections.
import { ClientAuthContext } from './auth/client-auth.ts'
import { DEFAULT_LIMITS, PasswordWork } from './auth/password-work.ts'
import { Console } from './admin/console/console.ts'
import { PoolerSource } from './admin/console/source.ts'
import { LocalDesk } from './admin/dashboard/local-desk.ts'
import { poolSeries } from './admin/pool-series.ts'
import { AdminPort } from './admin/port.ts'
import { Certificates, type Side } from './certificates.ts'
import { changesBetween } from './config/diff.ts'
import type { Config, PoolMode } from './config/types.ts'
import { databaseRemoved, SHUTDOWN } from './frontend/refusals.ts'
import { type Hooked, serverEvents, tellInternalErrors } from './server-events.ts'
import { gaugesOf, readiness, untilQuiet } from './health.ts'
import { House } from './house.ts'
import { farewellsOf, rulesOf } from './house-rules.ts'
import { type Addresses, Listeners } from './listeners.ts'
import type { Membership } from './membership.ts'
import { systemClock } from './net/clock.ts'
import { FineTick } from './net/fine-tick.ts'
import { systemRandom } from './net/random.ts'
import { Counters } from './observe/counters.ts'
import { DatabaseCounters } from './observe/database-counters.ts'
import type { Log } from './observe/log.ts'
import { LimitedLog } from './observe/log-limit.ts'
import { MemoryWatch, readMemory } from './observe/memory-watch.ts'
import { type Gauges, Metrics } from './observe/metrics.ts'
import { StatsLine } from './observe/stats-line.ts'
import { Troubles } from './observe/troubles.ts'
import { Limits } from './pool/limits.ts'
import { type ReadAgain, type ReloadReport, Reloads, type SetPairs } from './reload.ts'
import { Hubs } from './routing/hubs.ts'
import { Insights } from './routing/insights.ts'
import { PoolEntry, type Wiring } from './routing/pool-entry.ts'
import { modeOf, sharedLimitsOf } from './routing/precedence.ts'
import { routeOf } from './routing/route-of.ts'
import { type Place, Router } from './routing/router.ts'
import { wiringOf } from './routing/wiring.ts'
import { readUpstreamTls } from './routing/upstream-tls.ts'
import { SecretOrigins } from './routing/auth-query-of.ts'
import { SecretKeeper, warmUsers } from './routing/secret-keeper.ts'
import { Endpoint } from './serverless/endpoint.ts'
import { type Tracing, tracingOf, tracingSeries } from './tracing/tracing.ts'
import { version } from './util/version.ts'

/** The step of the coarse clock: timeouts are late by at most this. */
const TICK_MS = 50

export class Pooler {
  readonly house: House
  readonly router: Router
  readonly #log: Log
  readonly #membership: Membership | null
  readonly #limitedLog: LimitedLog
  readonly #counters = new Counters()
  readonly numbers = new Metrics()
  readonly #databaseCounters = new DatabaseCounters(this.numbers)
  readonly #time = { now: systemClock.now() }
  readonly #troubles: Troubles
  readonly #work = new PasswordWork(DEFAULT_LIMITS, {
    clock: systemClock,
    times: this.#counters.passwordTimes,
  })
  readonly #fineTick = new FineTick()
  readonly #machinery = { clock: systemClock, random: systemRandom, time: this.#time, work: this.#work }
  readonly #auth = new ClientAuthContext(systemRandom, this.#work)
  readonly #secrets: SecretKeeper
  readonly consoleDoor: Console
  readonly #limits: Limits
  readonly #insights = new Insights()
  readonly #tracing: Tracing | null
  readonly #hubs: Hubs
  readonly #certificates: Certificates
  readonly #stats: StatsLine
  #config: Config
  readonly #reloads: Reloads
  readonly #origins: SecretOrigins
  readonly #hooked: Hooked | null
  readonly #listeners = new Listeners()
  readonly #serverless: Endpoint
  readonly desk = new LocalDesk(this)
  readonly #admin = new AdminPort(this, this.desk)
  #ticker: NodeJS.Timeout | null = null
  #addresses: Addresses | null = null
  #stopping: Promise<void> | null = null
  readonly #end = Promise.withResolvers<void>()
  /** Resolves when it has stopped, whoever wished it. */
  readonly stopped = this.#end.promise

  /** @param hooked what a program decides that embeds it @param membership of one of several processes */
  constructor(given: Config, log: Log, hooked: Hooked | null = null, membership: Membership | null = null) {
    const config = membership !== null || given.workers === 1 ? given : { ...given, workers: 1 }
    this.#config = config
    this.#hooked = hooked
    this.#log = log
    this.#membership = membership
    this.#limitedLog = new LimitedLog(log, systemClock)
    this.#tracing = tracingOf(() => this.#config.tracing, log, membership?.fellows.number ?? null)
    this.#troubles = new Troubles(this.#time, this.#limitedLog)
    this.#troubles.watcher = hooked?.watcher ?? null
    const apply = (next: Config): ReloadReport => this.reload(next)
    this.#reloads = new Reloads({ apply, log, counters: this.#counters })
    this.#certificates = new Certificates({ log, wallClock: Date.now, renew: (side) => this.#renew(side) })
    const marks = this.#certificates.marks(config)
    readUpstreamTls(config)
    this.#limits = membership?.limits(sharedLimitsOf(config)) ?? new Limits(sharedLimitsOf(config))
    const warn = (message: string): void =>
      this.#limitedLog.write('warn', 'listening', { fields: {}, message })
    this.#hubs = new Hubs({ ...this.#machinery, shared: this.#limits, warn })
    this.router = new Router(config, {
      makePool: (database, user, place) => this.#makePool(database, user, place),
      hubs: this.#hubs,
    })
    this.#origins = this.#secretOrigins()
    this.#secrets = new SecretKeeper(this.#origins.sources())
    const source = this.#source()
    this.consoleDoor = new Console(source)
    this.house = new House({
      random: systemRandom,
      time: this.#time,
      counters: this.#counters,
      auth: this.#auth,
      ...rulesOf(config),
      secrets: this.#secrets,
      log,
      troubles: this.#troubles,
      route: (database, user) => this.router.get(database, user),
      console: this.consoleDoor,
      memory: new MemoryWatch(readMemory, config.workers),
      fellows: membership?.fellows ?? null,
    })
    this.house.reroute = hooked?.reroute ?? null
    this.#serverless = new Endpoint({
      config: () => this.#config,
      accept: (stream, entrance) => this.house.accept(stream, entrance),
      house: this.house,
      log,
      auth: this.#auth,
      time: this.#time,
      warn: (error, message) => this.#limitedLog.write('warn', message, { fields: { error }, message }),
    })
    warmUsers(this.#auth, config.users, config.users.keys())
    tellInternalErrors({ log, counters: this.#counters, troubles: this.#troubles })
    this.numbers.registerCounters(() => this.#counters)
    this.numbers.registerGauges(() => this.gauges())
    this.#certificates.follow(config, marks)
    this.numbers.registerSeries([...poolSeries(source), ...tracingSeries(this.#tracing)])
    const numbers = { totals: () => this.numbers.totals(), gauges: () => this.gauges() }
    this.#stats = new StatsLine(numbers, log, systemClock.now())
  }

  #secretOrigins(): SecretOrigins {
    const parts = { machinery: this.#machinery, auth: this.#auth, router: this.router }
    const more = { log: this.#limitedLog, config: () => this.#config }
    return new SecretOrigins({ ...parts, ...more }, this.#hooked?.secrets ?? null)
  }

  #source(): PoolerSource {
    const seen = { version: version(), time: this.#time, counters: this.#databaseCounters, log: this.#log }
    const more = { troubles: this.#troubles, limits: this.#limits, membership: this.#membership }
    return new PoolerSource(this, { ...seen, ...more })
  }

  /** What counts at present. */
  get config(): Config {
    return this.#config
  }

  /**
   * Takes over another configuration. What can only change at the start stays, and is named in the report.
   * @throws an error of one sentence; then nothing has changed
   */
  reload(config: Config): ReloadReport {
    if (this.#stopping !== null)
      throw new Error('the pooler is stopping: its configuration is not read again')
    const { config: next, ...report } = changesBetween(this.#config, config)
    const marks = this.#certificates.marks(next)
    // All that can fail comes first.
    const rules = rulesOf(next)
    readUpstreamTls(next)
    this.#serverless.reconfigure(next)
    const before = this.#config
    this.#config = next
    this.#certificates.follow(next, marks)
    this.house.reconfigure(rules)
    this.#secrets.reconfigure(this.#origins.sources(before))
    warmUsers(this.#auth, next.users, [...report.users.added, ...report.users.changed])
    this.#log.setLevel?.(next.log.level)
    const places = this.#rewire()
    this.#limits.configure(sharedLimitsOf(next))
    const farewellOf = farewellsOf(next, report)
    this.house.dismissAll(farewellOf)
    this.consoleDoor.dismissAll(farewellOf)
    for (const [entry] of places) if (entry.farewell !== null) entry.evict()
    return report
  }

  /** All pools follow the present configuration, or have no place in it. */
  #rewire(): readonly [entry: PoolEntry, place: unknown][] {
    const places = this.router.reconfigure(this.#config)
    for (const [entry, place] of places) {
      if ('reason' in place) entry.farewell = databaseRemoved(entry.database)
      else entry.follow(this.#wiringOf(entry, place, entry.mode))
    }
    return places
  }

  /** Files of certificates are others now. @throws CertificateError; then the old ones stay in use */
  #renew(side: Side): void {
    if (side === 'client') {
      const rules = rulesOf(this.#config)
      this.#serverless.reconfigure(this.#config)
      this.house.reconfigure(rules)
    } else {
      // What was read belongs to a configuration: the same once more.
      const next = { ...this.#config }
      readUpstreamTls(next)
      this.#config = next
      this.#secrets.reconfigure(this.#origins.sources())
      this.#rewire()
    }
  }

  /** Where its configuration comes from, for those who want it read again. */
  readsFrom(read: ReadAgain): void {
    this.#reloads.read = read
  }

  /** Reads the configuration again. @throws what is wrong, after it was logged; then nothing has changed */
  reread(): ReloadReport {
    return this.#reloads.now()
  }

  /** The same with options that count until the next time; null: as they stand there. */
  set(options: SetPairs): ReloadReport {
    return this.#reloads.set(options)
  }

  /** The same for signals: soon, and quietly where it cannot be done. */
  rereadSoon(): void {
    this.#reloads.ask()
  }

  /** No server is given to clients of this database (null: of any) until `resume`; free ones are closed. */
  pause(database: string | null = null): void {
    this.router.pause(database)
    this.#log.warn({ database: database ?? '*' }, 'paused: clients wait')
  }

  resume(database: string | null = null): void {
    this.router.resume(database)
    this.#log.warn({ database: database ?? '*' }, 'resumed')
  }

  /** Where it listens; only after `start`. */
  get addresses(): Addresses {
    if (this.#addresses === null) throw new Error('the pooler has not been started')
    return this.#addresses
  }

  /** Opens the listeners. @throws one clear sentence when one cannot be opened; then none is open. */
  async start(): Promise<void> {
    await Promise.all([this.#insights.open(), this.#tracing?.open()])
    const { listen: at, admin } = this.config
    await this.#listeners.open(at, (stream) => this.house.accept(stream))
    try {
      await this.#serverless.open()
      if (this.#membership === null) await this.#admin.open(admin)
    } catch (error) {
      await this.#serverless.close()
      await this.#listeners.close()
      throw error
    }
    const { port, unixSocket } = this.#listeners
    this.#addresses = {
      postgres: { host: at.hosts[0], port },
      unixSocket,
      admin: this.#admin.address,
      serverless: this.#serverless.address,
    }
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
  }

  /** Stops accepting, lets transactions finish for so long, then closes. Again: a shorter time counts. */
  drain(timeoutMs: number): Promise<void> {
    const deadline = setTimeout(() => this.#cutOff(), timeoutMs)
    this.#stopping ??= this.#stop()
    return this.#stopping.finally(() => clearTimeout(deadline))
  }

  /** Takes nobody in any more, and stops when the clients have gone by themselves. */
  async stopWhenEmpty(): Promise<void> {
    await this.#listeners.close()
    await this.#serverless.close()
    const { house } = this
    if (this.#stopping !== null) return
    house.onEmpty = () => void this.drain(0)
    if (house.clients.size === 0 && house.visitors.size === 0) await this.drain(0)
  }

  #cutOff(): void {
    this.house.closeAll(SHUTDOWN)
    this.#serverless.cutOff()
    for (const entry of this.router.entries()) entry.hurry()
  }

  async #stop(): Promise<void> {
    await this.#listeners.close()
    await this.#serverless.close()
    await this.house.drained()
    await this.#serverless.finished() // Servers finish what clients that said goodbye have left with them.
    await untilQuiet(this.router, TICK_MS)
    for (const entry of this.router.entries()) entry.close('shutdown')
    this.#hubs.close()
    this.#secrets.close()
    this.#certificates.close()
    await this.#tracing?.close()
    this.consoleDoor.close(SHUTDOWN)
    if (this.#ticker !== null) clearInterval(this.#ticker)
    await this.#admin.close()
    this.#end.resolve()
  }

  /** The numbers of this moment, counted anew from the lists. */
  gauges(): Gauges {
    const logLinesLost = this.#log.lost?.() ?? 0
    const { webSockets, httpRequests } = this.#serverless
    const { ends: certificates } = this.#certificates
    return { ...gaugesOf(this.house, this.router), certificates, logLinesLost, webSockets, httpRequests }
  }

  metrics(): Promise<string> {
    return this.numbers.text()
  }

  /** Could a client get a server now? */
  ready(): { ok: boolean; reason: string } {
    return readiness(this.house, this.router, this.#listeners.isOpen)
  }

  #tick(): void {
    const now = systemClock.now()
    this.#time.now = now
    this.house.tick(now)
    this.consoleDoor.tick(now)
    this.desk.tick(now)
    this.#admin.tick(now)
    this.#serverless.tick(now)
    this.#secrets.tick(now)
    this.#limitedLog.tick()
    this.#stats.tick(now, this.#config.log.statsPeriodMs)
    for (const entry of this.router.entries()) entry.tick(now)
    this.#hubs.tick(now)
    const forgotten = this.router.forget(now)
    for (const { pool, times } of forgotten) {
      this.#limits.remove(pool)
      this.#databaseCounters.times.leave(times)
    }
    const { databases } = this.config
    const isUsed = (name: string): boolean => databases.has(name) || this.router.of(name).length > 0
    if (forgotten.length > 0) for (const kept of [this.#databaseCounters, this.#insights]) kept.keep(isUsed)
    this.#limits.tick()
    this.#insights.tick()
  }

  #makePool(database: string, user: string, place: Place): PoolEntry {
    const log = this.#log.child({ database, user })
    const told = { log, troubles: this.#troubles, counters: this.#counters, membership: this.#membership }
    return new PoolEntry({
      database,
      user,
      wiring: this.#wiringOf({ database, user }, place, modeOf(this.config, database, user)),
      shared: this.#limits,
      ...this.#databaseCounters.ofPool(database, user),
      limitedLog: this.#limitedLog,
      troubles: this.#troubles,
      onStatement: this.#hooked?.onStatement ?? null,
      tracer: this.#tracing,
      hubs: this.#hubs,
      machinery: {
        ...this.#machinery,
        insight: this.#insights.of(database),
        warn: (message) => log.warn({}, message),
        vacate: (text) => this.router.vacate(text, this.#membership),
      },
      watchFine: (dispatch, isWanted) => this.#fineTick.watch(dispatch, isWanted),
      ...serverEvents({ database, user }, told),
      onDefault: (entry, change) => this.house.followDefault(entry, change),
    })
  }

  #wiringOf({ database, user }: { database: string; user: string }, place: Place, mode: PoolMode): Wiring {
    const plain = routeOf(this.#config, place, mode)
    const route = this.#secrets.passThrough(plain, { database, user })
    return wiringOf(this.#config, { database, user, place, route })
  }
}
