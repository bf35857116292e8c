// Owns: one seeded world with the real pooler between simulated clients and the model of Postgres, all on
// streams in memory and a pretended clock. Must never use a socket, a timer or chance that the seed does
// not decide.

import { Access } from '../../src/auth/access.ts'
import { ClientAuthContext } from '../../src/auth/client-auth.ts'
import { SecretKeeper } from '../../src/routing/secret-keeper.ts'
import { PasswordWork } from '../../src/auth/password-work.ts'
import type { Dial } from '../../src/backend/route.ts'
import type { Server } from '../../src/backend/server.ts'
import type { PoolMode } from '../../src/config/types.ts'
import { House } from '../../src/house.ts'
import { Counters, PoolTimes, Times } from '../../src/observe/counters.ts'
import { MemoryWatch } from '../../src/observe/memory-watch.ts'
import { Troubles } from '../../src/observe/troubles.ts'
import { Limits } from '../../src/pool/limits.ts'
import { Hubs } from '../../src/routing/hubs.ts'
import { PoolEntry } from '../../src/routing/pool-entry.ts'
import { FakeCluster, PgError, type Session } from '../support/fake-postgres.ts'
import { type MemoryStream, memoryPair } from '../support/memory-stream.ts'
import { Prng } from '../support/prng.ts'
import { EventQueue } from './event-queue.ts'
import { FineTicks } from './fine-ticks.ts'
import { checkEnd, checkEvent, Violation } from './pooler-checks.ts'
import { SimUser, type UserWorld } from './pooler-user.ts'
import { BESIDES, clientLimits, poolLimits, routeTo, SILENT, sharingOf } from './pooler-limits.ts'
import { checkCrowd } from './request-checks.ts'
import { RequestCrowd } from './request-crowd.ts'
import { type Script, writeScript } from './script.ts'
import { insightOfModel, teachLitter, teachNonces } from './statements.ts'
import { TraceLedger } from './trace-ledger.ts'

/** Changes something in the pooler on purpose; called for each server that has logged in. */
export type Plant = (server: Server, world: PoolerWorld) => void

const SERVERS = ['kill', 'crash', 'reset', 'outage', 'refuseDial', 'slow'] as const
const CLIENTS = ['cancel', 'die', 'lazy', 'choke'] as const
const FAULTS = [...SERVERS, ...CLIENTS]
export type Fault = (typeof FAULTS)[number] | 'reload'

const TICK_MS = 50
const END_MS = 300_000
const START_MS = 1000

export class PoolerWorld implements UserWorld {
  readonly seed: number
  /** A few clients that say little: quick, so that there can be thousands. */
  readonly isSmall: boolean
  readonly random: Prng
  readonly queue: EventQueue
  readonly cluster: FakeCluster
  readonly house: House
  readonly entry: PoolEntry
  readonly mode: PoolMode
  readonly poolSize: number
  readonly users: SimUser[] = []
  readonly crowd: RequestCrowd
  readonly faults = new Set<Fault>()
  readonly time = { now: START_MS }
  readonly counters = new Counters()
  readonly traces = new TraceLedger(() => this.queue.now() + START_MS)
  /** The pooler's ends of all connections, and how many bytes may wait in each. */
  readonly poolerEnds: MemoryStream[] = []
  readonly capacity: number
  events = 0
  isHealed = false
  /** Clients that have come or will come. */
  #invited = 0
  readonly #chunks: number
  readonly #latency: number
  readonly #dialMs: number
  readonly #serverEnds = new Set<MemoryStream>()

  constructor(seed: number, plant: Plant | null = null, isSmall = false) {
    this.seed = seed
    this.isSmall = isSmall
    const random = new Prng(seed)
    this.random = random
    this.queue = new EventQueue(random.fork())
    // Every third world is without faults: there each client must see what it would see alone.
    if (seed % 3 !== 0) for (const fault of FAULTS) if (random.chance(0.4)) this.faults.add(fault)
    if (seed % 12 === 1 || seed % 12 === 8) this.faults.add('reload')
    this.mode = random.pick<PoolMode>(['transaction', 'transaction', 'transaction', 'session', 'statement'])
    this.poolSize = isSmall ? random.pick([1, 1, 2]) : random.between(1, 4)
    this.#chunks = random.pick(isSmall ? [20, 300, 1e9, 1e9, 1e9] : [1, 7, 60, 1000, 1e9])
    const latency = random.pick(this.#chunks === 1 ? [0, 1] : [0, 0, 2, 10])
    // Two dozen clients, a few bytes in ten milliseconds: they would wait for longer than they may.
    this.#latency = this.#chunks < 60 && seed % 4 === 3 ? 0 : latency
    this.#dialMs = random.pick([5, 60])
    this.capacity = random.pick([500, 4096, 65536])
    this.cluster = new FakeCluster({ schedule: (ms, run) => this.after(ms, run), random: random.fork() })
    teachNonces(this.cluster)
    teachLitter(this.cluster)
    if (this.has('slow') || this.has('cancel'))
      this.cluster.duration = () => (random.chance(0.3) ? random.between(1, 100) : 0)
    this.cluster.loginDelay = random.pick([0, 5, 40])
    this.cluster.cancelDelay = random.pick([0, 1, 20])
    const clock = { now: () => this.queue.now() + START_MS }
    const fine = new FineTicks({ ...clock, after: (ms, run) => this.after(ms, run) })
    const limits = clientLimits(random, this.has('choke'))
    const shared = new Limits({ process: 0, database: () => 0, user: () => 0 })
    this.entry = new PoolEntry({
      database: 'app',
      user: 'app',
      wiring: {
        route: routeTo(this.#dial, this.mode, this.random),
        identity: 'app',
        limits: {
          ...poolLimits(this.random, this.poolSize, this.has('choke')),
          serverRoundRobin: seed % 7 === 3,
        },
        clientLimits: limits,
        sharing: sharingOf(seed),
        ...BESIDES,
      },
      shared,
      counters: this.counters,
      times: new PoolTimes(new Times(), this.counters),
      limitedLog: { write: () => {} },
      troubles: new Troubles(this.time, { write: () => {} }),
      onStatement: null,
      tracer: this.traces,
      hubs: new Hubs({ random, time: this.time, shared, work: new PasswordWork(), warn: () => {} }),
      machinery: {
        clock,
        random: random.fork(),
        time: this.time,
        work: new PasswordWork(),
        insight: insightOfModel(),
        warn: (text) => this.#warn(text),
        vacate: () => {},
      },
      watchFine: (dispatch, isWanted) => fine.watch(dispatch, isWanted),
      onServerOpened: (server) => plant?.(server, this),
      onServerFailed() {},
      onServerClosed() {},
      onLeak: (_server, what) => this.#warn(`of a leak: ${what}`),
      onDefault: (entry, change) => this.house.followDefault(entry, change),
    })
    this.house = new House({
      random: random.fork(),
      time: this.time,
      counters: this.counters,
      auth: new ClientAuthContext(random.fork()),
      limits,
      databases: new Map(),
      users: new Map(),
      logs: { connections: false, disconnections: false },
      access: new Access(limits, { tlsOfDatabase: () => 'disable', localAddresses: () => [] }),
      secrets: new SecretKeeper({ users: new Map(), authQuery: null }),
      tls: null,
      log: SILENT,
      troubles: new Troubles(this.time, { write: () => {} }),
      route: () => this.entry,
      console: { enter: () => null },
      fellows: null,
      memory: new MemoryWatch(() => ({ rss: 0, limit: 1, heap: 0, heapLimit: 1 })),
    })
    this.crowd = new RequestCrowd(this, SILENT)
    this.#watchCancels()
    this.#plan()
    if (seed % 2 === 0) this.crowd.plan(isSmall ? random.between(1, 3) : random.between(4, 16))
  }

  /** Tells clients when a cancel of theirs has come. */
  #watchCancels(): void {
    const { cancelKeys } = this.house
    const find = cancelKeys.find.bind(cancelKeys)
    cancelKeys.find = (pid, key) => {
      this.users.find((user) => user.pid === pid)?.noteCancel()
      return find(pid, key)
    }
  }

  has(fault: Fault): boolean {
    return this.faults.has(fault)
  }

  /** Opens a connection of the pooler to the model. */
  readonly #dial: Dial = (_timeoutMs, callback) => {
    let isWanted = true
    this.after(this.random.between(0, this.#dialMs), () => {
      if (!isWanted) return
      if (!this.isHealed && this.has('refuseDial') && this.random.chance(0.2)) {
        callback(Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' }), null)
        return
      }
      const [ours, theirs] = this.#pair()
      this.#serverEnds.add(theirs)
      this.cluster.accept(theirs)
      callback(null, ours)
    })
    return {
      cancel: () => {
        isWanted = false
      },
    }
  }

  connect(): MemoryStream {
    const [ours, theirs] = this.#pair()
    this.house.accept(ours)
    return theirs
  }

  #pair(): [MemoryStream, MemoryStream] {
    const { random } = this
    const pair = memoryPair({
      capacity: this.capacity,
      schedule: (step) => this.after(random.between(0, this.#latency), step),
      // The longer the queue the longer the piece, so that long results do not take for ever.
      chunker: ({ length }) => random.between(1, Math.max(this.#chunks, length >> 4)),
    })
    this.poolerEnds.push(pair[0])
    return pair
  }

  /** The janitor, for as long as anybody is there. */
  #startTicks(): void {
    const tick = (): void => {
      this.time.now = this.queue.now() + START_MS
      this.house.tick(this.time.now)
      this.entry.tick(this.time.now)
      this.crowd.tick(this.time.now)
      if (!this.isQuiet) this.queue.after(TICK_MS, () => this.#event(tick))
    }
    this.queue.after(TICK_MS, () => this.#event(tick))
  }

  #plan(): void {
    const { random } = this
    this.#startTicks()
    const isReading = this.seed % 4 === 3
    const length = this.isSmall ? random.between(1, isReading ? 3 : 2) : random.pick([3, 8, 15])
    const most = this.isSmall ? (isReading ? 7 : 3) : isReading ? 24 : 8
    for (let id = 1, count = random.between(this.isSmall && isReading ? 4 : 1, most); id <= count; id++) {
      const script = writeScript(id, random.fork(), { mode: this.mode, length, isReading })
      this.#invited++
      this.after(random.between(0, random.pick([1, this.isSmall ? 10 : 100])), () => this.#enter(script))
    }
    const last = this.isSmall ? 60 : random.pick([100, 600])
    for (let count = random.between(1, this.isSmall ? 3 : 20); count > 0; count--)
      this.after(random.between(5, last), () => this.#strike())
  }

  #enter(script: Script): void {
    const { random } = this
    const length = script.actions.flat().reduce((sum, { bytes }) => sum + bytes.length, 0)
    const dies = this.has('die') && random.chance(0.6)
    this.users.push(
      new SimUser(
        script,
        {
          random: random.fork(),
          diesAfter: dies ? random.below(length) : Number.POSITIVE_INFINITY,
          saysGoodbye: random.chance(0.4),
          pauses: this.has('lazy') ? random.pick([0, 0.05, 0.3]) : 0,
          cancels: this.has('cancel') ? random.pick([0, 0.2, 0.6]) : 0,
          thinksMs: random.pick([0, 5, this.isSmall ? 0 : 100]),
        },
        this,
      ),
    )
  }

  /** Another configuration: of another place or the same; sometimes a pause until it is there. */
  #reload(): void {
    const { random, entry } = this
    const follow = (): void => {
      const identity = random.chance(0.5) ? 'app' : `another after ${this.events}`
      const limits = poolLimits(random, this.poolSize, this.has('choke'))
      const clientLimits = this.house.limits
      const route = routeTo(this.#dial, this.mode, this.random)
      entry.follow({ route, identity, limits, clientLimits, sharing: sharingOf(this.seed), ...BESIDES })
      entry.pool.resume()
    }
    if (random.chance(0.5)) {
      follow()
      return
    }
    entry.pool.pause()
    this.after(random.between(1, 50), follow)
  }

  /** One fault of a server. */
  #strike(): void {
    if (this.isHealed) return
    const { random, cluster } = this
    if (this.has('reload') && random.chance(0.3)) this.#reload()
    const working = cluster.sessions.filter(({ busy }) => busy)
    const sessions = working.length > 0 ? working : cluster.sessions
    const session = sessions.length > 0 ? random.pick(sessions) : null
    if (this.has('kill') && session !== null && random.chance(0.7)) cluster.terminate(session.pid)
    else if (this.has('crash') && session !== null && random.chance(0.9)) cluster.crash(session.pid)
    else if (this.has('reset') && random.chance(0.9)) {
      for (const stream of this.#serverEnds) {
        this.#serverEnds.delete(stream)
        stream.reset()
        break
      }
    } else if (this.has('outage') && random.chance(0.5)) {
      if (random.chance(0.5)) cluster.stop()
      else cluster.crashAll()
      this.after(random.between(1, 800), () => cluster.start())
    } else if (this.has('outage')) {
      cluster.refusal = new PgError('53300', 'sorry, too many clients already', 'FATAL')
      this.after(random.between(1, 300), () => cluster.start())
    }
  }

  /** A client has said all, or is gone: it leaves after a while. */
  onOver(user: SimUser): void {
    if (user.isDone) this.after(this.random.between(0, 50), () => user.leave())
  }

  after(ms: number, run: () => void): void {
    this.queue.after(ms, () => this.#event(run))
  }

  #event(run: () => void): void {
    run()
    checkEvent(this)
    if (++this.events > 300_000) throw new Violation('the world does not come to rest')
  }

  #warn(text: string): void {
    throw new Violation(`the pooler takes the model for a liar: ${text}`)
  }

  /** Nobody is left on the side of the clients, and no server has anything to do. */
  get isQuiet(): boolean {
    const { pool, own } = this.entry
    const { house } = this
    const servers = pool.active.size + pool.opening.size + pool.testing.size + own.size + pool.waiting.size
    return (
      house.clients.size + house.visitors.size + servers === 0 &&
      this.crowd.isQuiet &&
      this.users.length === this.#invited &&
      this.users.every((user) => !user.isOpen)
    )
  }

  session(server: Server): Session | undefined {
    return this.cluster.session(server.pid)
  }

  /** Runs to the end. @throws Violation */
  run(): void {
    this.queue.owningMicrotasks(() => this.#run())
  }

  #run(): void {
    this.#runQueue()
    checkEnd(this)
    checkCrowd(this)
    this.#heal()
    this.users.length = this.#invited = 0
    this.crowd.plan(2)
    const fresh = writeScript(99, new Prng(this.seed), { mode: 'statement', length: 3 })
    this.#invited++
    this.after(0, () => this.#enter(fresh))
    this.#startTicks()
    this.#runQueue()
    checkEnd(this)
    checkCrowd(this)
    const last = this.users.at(-1)
    if (last?.script.id !== 99 || !(last.isDone || last.hasDied)) {
      throw new Violation(`a fresh client was not served: ${last?.closed}`)
    }
  }

  /** No more faults, and no limits that a slow network could reach. */
  #heal(): void {
    this.isHealed = true
    this.faults.clear()
    this.cluster.start()
    this.cluster.duration = () => 0
    this.entry.pool.limits.queryWaitTimeoutMs = 60_000
    Object.assign(this.house.limits, {
      idleTransactionTimeoutMs: 0,
      transactionTimeoutMs: 0,
      queryTimeoutMs: 0,
      writeTimeoutMs: 0,
      batchTimeoutMs: 0,
    })
  }

  #runQueue(): void {
    const end = this.queue.now() + END_MS
    while (this.queue.step())
      if (this.queue.now() > end) throw new Violation(`somebody hangs: ${this.#whoHangs()}`)
  }

  #whoHangs(): string {
    const users = this.users.filter((user) => user.isOpen).map(({ script }) => `client ${script.id}`)
    const servers = [...this.entry.servers()].map(({ pid, state }) => `server ${pid} ${state}`)
    return [...users, ...this.crowd.names(), ...servers].join(', ')
  }
}
