// Owns: one seeded world of pools with pretended servers and clients. Must never look into a pool's private
// parts.

import { Limits } from '../../src/pool/limits.ts'
import { Pool } from '../../src/pool/pool.ts'
import type {
  OpenFailure,
  PooledServer,
  PoolLimits,
  Refusal,
  ServerState,
  Waiter,
} from '../../src/pool/types.ts'
import { type Settings, SettingsTable } from '../../src/session/settings.ts'
import { Prng } from '../support/prng.ts'
import { EventQueue } from './event-queue.ts'
import { checkGrant, checkOpening, checkWorld } from './pool-checks.ts'

export type SimPool = Pool<SimServer>
export class Violation extends Error {}

/** A change that a test plants into the pools of a world. */
export type Plant = (pool: SimPool, limits: Limits) => void

const FAULTS = [
  'loginFails',
  'loginRefused',
  'loginSlow',
  'diesIdle',
  'diesActive',
  'diesOpening',
  'testFails',
  'clientLeaves',
  'retires',
  'pauses',
  'resizes',
  'outside',
] as const
type Fault = (typeof FAULTS)[number]

export class SimServer implements PooledServer {
  state: ServerState = 'opening'
  readonly baseline: string
  settings: Settings | null = null
  openedAt = 0
  idleSince: number
  isRetired = false
  isUnseen = true
  client: SimClient | null = null
  readonly pool: SimPool
  readonly #world: PoolWorld
  #isGone = false

  constructor(world: PoolWorld, pool: SimPool, baseline: string) {
    this.#world = world
    this.pool = pool
    this.baseline = baseline
    this.idleSince = world.queue.now()
    world.background(world.loginMs(), () => this.#login())
  }

  #login(): void {
    const world = this.#world
    if (this.#isGone) return
    if (world.odds('diesOpening', 0.1)) {
      this.close('died while opening')
    } else if (world.odds('loginRefused', 0.05)) {
      this.#fail(true)
    } else if (world.odds('loginFails', 0.3)) {
      this.#fail(false)
    } else {
      this.settings = world.plain
      world.failedAt.delete(this.pool)
      this.pool.opened(this)
    }
  }

  #fail(isFinal: boolean): void {
    this.#isGone = true
    const refusal: Refusal = {
      severity: 'FATAL',
      code: '28P01',
      message: 'no',
      reason: isFinal ? 'final' : 'login',
    }
    const isHopeless = isFinal && ![...this.pool.active].some(({ baseline }) => baseline === this.baseline)
    if (!isHopeless || this.baseline === '') this.#world.failedAt.set(this.pool, this.#world.queue.now())
    this.pool.openFailed(this, { refusal, isFinal } satisfies OpenFailure)
  }

  inspect = (): void => this.test()

  test(): void {
    this.#world.background(this.#world.random.between(0, 30), () => {
      if (this.#isGone) return
      if (this.#world.odds('testFails', 0.4)) this.close('test failed')
      else this.pool.tested(this)
    })
  }

  close(_reason: string): void {
    if (this.#isGone) return
    this.#isGone = true
    const { client } = this
    this.client = null
    this.pool.closed(this)
    client?.lost()
  }
}

export class SimClient implements Waiter<SimServer> {
  readonly baseline: string
  readonly wantedSettings: Settings
  lastServer: SimServer | null = null
  waitingSince = 0
  waitDeadline = 0
  passedOver = 0
  /** Counted by the world: later ones served while it was the first. */
  passed = 0
  state: 'out' | 'waiting' | 'served' = 'out'
  arrival = 0
  askedAt = 0
  readonly pool: SimPool
  readonly #world: PoolWorld
  #rounds: number

  constructor(world: PoolWorld, pool: SimPool) {
    const { random } = world
    this.#world = world
    this.pool = pool
    this.baseline = random.pick(world.baselines)
    this.wantedSettings = random.pick(world.settings)
    this.#rounds = random.between(1, 4)
  }

  ask(): void {
    const world = this.#world
    if (this.state !== 'out') throw new Violation('a client asks twice')
    this.state = 'waiting'
    this.passed = 0
    this.arrival = ++world.arrivals
    this.askedAt = world.queue.now()
    const server = this.pool.acquire(this)
    if (server !== null) this.#serve(server)
    else if (this.isWaiting && world.odds('clientLeaves', 0.2)) {
      const { arrival } = this
      world.after(world.random.between(0, 60), () => this.#leave(arrival))
    }
  }

  /** Not narrowed away: `acquire` may have refused. */
  get isWaiting(): boolean {
    return this.state === 'waiting'
  }

  onGrant(server: SimServer): void {
    checkGrant(this.#world, this, server)
    this.#serve(server)
  }

  onRefuse(refusal: Refusal): void {
    const world = this.#world
    if (!this.isWaiting) throw new Violation(`refused while ${this.state}`)
    const isLate = world.queue.now() >= this.waitDeadline
    if (refusal.reason === 'query_wait_timeout' && !isLate) throw new Violation('refused before its deadline')
    this.state = 'out'
    this.#again()
  }

  lost(): void {
    if (this.state !== 'served') throw new Violation(`lost a server while ${this.state}`)
    this.state = 'out'
    this.#again()
  }

  #serve(server: SimServer): void {
    const world = this.#world
    if (!this.isWaiting) throw new Violation(`granted while ${this.state}`)
    if (server.client !== null) throw new Violation('a server was given to two clients')
    if (server.baseline !== this.baseline) throw new Violation('a server of another baseline was given')
    this.state = 'served'
    server.client = this
    server.settings = this.wantedSettings
    world.after(world.random.between(0, world.workMs), () => this.#done(server))
  }

  #done(server: SimServer): void {
    if (server.client !== this) return
    if (this.#world.odds('diesActive', 0.1)) {
      server.close('died')
      return
    }
    this.state = 'out'
    server.client = null
    this.pool.release(server)
    if (server.isRetired && server.state === 'idle') throw new Violation('a retired server went back')
    this.#again()
  }

  #again(): void {
    if (--this.#rounds > 0) this.#world.after(this.#world.random.between(0, 40), () => this.ask())
  }

  #leave(arrival: number): void {
    if (!this.isWaiting || this.arrival !== arrival) return
    this.state = 'out'
    this.pool.leave(this)
    this.#again()
  }
}

export class PoolWorld {
  readonly seed: number
  readonly random: Prng
  readonly queue: EventQueue
  readonly limits: Limits
  readonly pools: SimPool[] = []
  readonly servers: SimServer[] = []
  readonly clients: SimClient[] = []
  readonly baselines: string[]
  readonly settings: Settings[]
  readonly plain: Settings
  readonly workMs: number
  readonly tickMs: number
  /** When the last login of a pool failed, while none has succeeded since. */
  readonly failedAt = new Map<SimPool, number>()
  readonly outside = new Map<SimPool, number>()
  arrivals = 0
  /** When the janitor last looked, per pool. */
  readonly tickedAt = new Map<SimPool, number>()
  events = 0
  readonly #faults = new Map<Fault, number>()
  #isHealed = false
  #live = 0

  constructor(seed: number, plant: Plant | null = null) {
    this.seed = seed
    const random = new Prng(seed)
    this.random = random
    this.queue = new EventQueue(random.fork())
    for (const fault of FAULTS) if (random.chance(0.35)) this.#faults.set(fault, random.pick([0.3, 1, 2]))
    const table = new SettingsTable()
    this.plain = table.of(new Map())
    this.settings = [this.plain, table.of(new Map([['a', '1']])), table.of(new Map([['a', '2']]))]
    this.baselines = random.chance(0.4) ? ['', '', 'x', 'y'] : ['']
    this.workMs = random.pick([5, 40, 200])
    this.tickMs = random.pick([10, 25, 50])
    const limit = () => (random.chance(0.4) ? random.between(1, 5) : 0)
    const [process, database, user] = [limit(), limit(), limit()]
    this.limits = new Limits({ process, database: () => database, user: () => user })
    for (let index = random.between(1, 3); index > 0; index--) this.#addPool(plant)
    for (let index = random.between(3, 25); index > 0; index--) {
      const client = new SimClient(this, random.pick(this.pools))
      this.clients.push(client)
      this.after(random.between(0, random.pick([5, 150])), () => client.ask())
    }
    this.#plan()
  }

  #addPool(plant: Plant | null): void {
    const { random } = this
    const pool: SimPool = new Pool<SimServer>({
      database: random.pick(['a', 'b']),
      user: random.pick(['u', 'v']),
      limits: this.#poolLimits(),
      shared: this.limits,
      clock: this.queue,
      random: random.fork(),
      open: (baseline) => {
        checkOpening(this, pool)
        const server = new SimServer(this, pool, baseline)
        this.servers.push(server)
        return server
      },
    })
    plant?.(pool, this.limits)
    this.pools.push(pool)
    this.outside.set(pool, 0)
    this.tickedAt.set(pool, 0)
  }

  #poolLimits(): PoolLimits {
    const { random } = this
    return {
      size: random.between(1, 4),
      minSize: random.pick([0, 0, 1, 2]),
      reserveSize: random.pick([0, 0, 1, 2]),
      reserveTimeoutMs: random.pick([0, 50, 200]),
      maxLogins: random.between(1, 3),
      maxWaiting: random.pick([0, 0, 3, 10]),
      queryWaitTimeoutMs: random.pick([30, 200, 1000]),
      serverLifetimeMs: random.pick([0, 0, 100, 500]),
      serverIdleTimeoutMs: random.pick([0, 40, 300]),
      leakCheckMs: random.pick([0, 0, 50]),
      serverCheckDelayMs: random.pick([0, 0, 20, 100]),
      serverRoundRobin: random.chance(0.2),
    }
  }

  /** The janitor, and faults that come by themselves. */
  #plan(): void {
    const { random } = this
    const tick = (): void => {
      const now = this.queue.now()
      for (const pool of this.pools) {
        pool.tick(now)
        this.tickedAt.set(pool, now)
      }
      const isAnyWaiting = this.pools.some(({ waiting }) => waiting.size > 0)
      if (this.#live > 0 || isAnyWaiting) this.queue.after(this.tickMs, () => this.#event(tick))
    }
    this.queue.after(this.tickMs, () => this.#event(tick))
    for (let count = random.between(0, 12); count > 0; count--) {
      this.after(random.between(0, 400), () => this.#strike(random.pick(this.pools)))
    }
  }

  #strike(pool: SimPool): void {
    const { random } = this
    if (this.odds('diesIdle', 0.5) && pool.idle.length > 0) random.pick(pool.idle).close('died idle')
    if (this.odds('retires', 0.3)) {
      this.failedAt.delete(pool)
      pool.retire()
    }
    if (this.odds('resizes', 0.5)) pool.configure(this.#poolLimits())
    if (this.odds('pauses', 0.3)) {
      pool.pause()
      this.after(random.between(1, 100), () => pool.resume())
    }
    if (this.odds('outside', 0.5) && this.limits.hasRoom(pool)) {
      this.limits.countOutside(pool, 1)
      this.outside.set(pool, this.outside.get(pool)! + 1)
      this.after(random.between(1, 100), () => {
        this.outside.set(pool, this.outside.get(pool)! - 1)
        this.limits.countOutside(pool, -1)
      })
    }
  }

  loginMs(): number {
    return this.random.between(1, this.odds('loginSlow', 0.3) ? 400 : 20)
  }

  /** Does this fault happen now? */
  odds(fault: Fault, probability: number): boolean {
    const factor = this.#isHealed ? 0 : (this.#faults.get(fault) ?? 0)
    return factor > 0 && this.random.chance(Math.min(0.9, probability * factor))
  }

  /** An event of the world, behind which everything is checked. */
  after(ms: number, run: () => void): void {
    this.#live++
    this.queue.after(ms, () => {
      this.#live--
      this.#event(run)
    })
  }

  /** An event that the janitor need not wait for. */
  background(ms: number, run: () => void): void {
    this.queue.after(ms, () => this.#event(run))
  }

  #event(run: () => void): void {
    run()
    checkWorld(this)
    if (++this.events > 20_000) throw new Violation('the world does not come to rest')
  }

  /** Runs to rest, heals, and asks once more. @throws Violation */
  run(): void {
    while (this.queue.step());
    for (const pool of this.pools) {
      if (pool.waiting.size + pool.active.size + pool.opening.size + pool.testing.size > 0) {
        throw new Violation('at rest, but somebody waits or holds')
      }
    }
    for (const client of this.clients)
      if (client.state !== 'out') throw new Violation('a client was forgotten')
    this.#isHealed = true
    const fresh = this.pools.map((pool) => new SimClient(this, pool))
    for (const client of fresh) {
      client.pool.limits = { ...client.pool.limits, queryWaitTimeoutMs: 5000, maxWaiting: 0 }
      this.after(300, () => client.ask())
    }
    this.#plan()
    let served = 0
    while (this.queue.step()) {
      for (const client of fresh) {
        if (client.state !== 'served') continue
        fresh.splice(fresh.indexOf(client), 1)
        served++
        break
      }
    }
    if (served < this.pools.length)
      throw new Violation('a fresh client was not served after everything had healed')
  }
}
