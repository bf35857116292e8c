// Owns: several processes with pools of the real kind, the real count of their places, and the lines between
// them, in virtual time: messages are late, servers linger, processes die. It checks nothing.
import { LeasedPlaces } from '../../src/pool/leased-places.ts'
import type { SharedLimits } from '../../src/pool/limits.ts'
import { PlaceBroker } from '../../src/pool/place-broker.ts'
import { Pool } from '../../src/pool/pool.ts'
import type { PooledServer, PoolLimits, ServerState, Waiter } from '../../src/pool/types.ts'
import type { Prng } from '../support/prng.ts'

const NEVER = Number.POSITIVE_INFINITY
const LATE_MS = 5
const LOGIN_MS = 20
const LINGER_MS = 20
const WORK_MS = 60
export const TICK_MS = 50

/** A connection of Postgres': there until it has gone there, too. */
class SimServer implements PooledServer {
  state: ServerState = 'opening'
  readonly baseline = ''
  readonly settings = null
  openedAt = 0
  idleSince = 0
  isRetired = false
  isUnseen = false
  isThere = true
  readonly #world: PlacesWorld
  readonly #member: Member
  readonly #pool: () => Pool<SimServer>

  constructor(world: PlacesWorld, member: Member, pool: () => Pool<SimServer>) {
    this.#world = world
    this.#member = member
    this.#pool = pool
    world.servers.add(this)
    world.later(LOGIN_MS, () => {
      if (member.isAlive && this.state === 'opening') pool().opened(this)
    })
  }

  test(): void {
    this.#pool().tested(this)
  }

  inspect(): void {
    this.#pool().tested(this)
  }

  close(): void {
    this.#member.places.countLeaving(this.#pool(), 1)
    this.#pool().closed(this)
    this.#world.later(LINGER_MS, () => {
      this.vanish()
      if (this.#member.isAlive) this.#member.places.countLeaving(this.#pool(), -1)
    })
  }

  vanish(): void {
    this.isThere = false
    this.#world.servers.delete(this)
  }
}

/** One process. */
class Member {
  readonly id: number
  isAlive = true
  readonly places: LeasedPlaces
  readonly pools: Pool<SimServer>[]
  readonly servers: SimServer[] = []

  constructor(id: number, world: PlacesWorld) {
    this.id = id
    const { broker } = world
    const say = (what: () => void): void => world.tell(`from ${id}`, what)
    const time = { now: () => world.now, wall: () => world.now + 1_000_000 }
    const office = {
      want: (want: Parameters<PlaceBroker['want']>[1]) => say(() => broker.want(id, want)),
      unwant: (wanted: number) => say(() => broker.unwant(id, wanted)),
      giveBack: (place: Parameters<PlaceBroker['giveBack']>[1], count: number) =>
        say(() => broker.giveBack(id, place, count)),
    }
    this.places = new LeasedPlaces(world.shared, office, time)
    this.pools = world.users.map((user) => this.#poolOf(user, world))
  }

  #poolOf(user: string, world: PlacesWorld): Pool<SimServer> {
    const pool: Pool<SimServer> = new Pool<SimServer>({
      database: 'db',
      user,
      limits: world.limits,
      shared: this.places,
      clock: { now: () => world.now },
      random: world.random,
      open: () => {
        const server = new SimServer(world, this, () => pool)
        this.servers.push(server)
        return server
      },
    })
    return pool
  }
}

export class PlacesWorld {
  now = 0
  readonly random: Prng
  readonly users = ['one', 'two']
  readonly limits: PoolLimits
  readonly shared: SharedLimits
  readonly broker: PlaceBroker
  readonly servers = new Set<SimServer>()
  readonly members = new Map<number, Member>()
  waiting = 0
  #events: { at: number; what: () => void }[] = []
  /** When the last message of each line comes: they stay in their order. */
  readonly #lines = new Map<string, number>()
  #lastId = 0

  constructor(random: Prng, sizes: { size: number; reserveSize: number; process: number }) {
    this.random = random
    const { size, reserveSize, process } = sizes
    this.limits = {
      ...{ size, reserveSize, minSize: 0, reserveTimeoutMs: reserveSize > 0 ? 500 : NEVER, maxLogins: 4 },
      ...{ maxWaiting: 0, queryWaitTimeoutMs: NEVER, serverLifetimeMs: 3000, serverIdleTimeoutMs: 2000 },
      ...{ serverCheckDelayMs: 0, leakCheckMs: 0, serverRoundRobin: false },
    }
    this.shared = { process, database: () => 0, user: () => 0 }
    this.broker = new PlaceBroker(
      { size: () => ({ size, reserveSize }), minSize: () => 0, shared: () => this.shared },
      {
        onGrant: (id, wanted, place) => this.#say(id, (to) => to.granted(wanted, place)),
        onRefuse: (id, wanted) => this.#say(id, (to) => to.refused(wanted)),
        onDemands: (id, demands) => this.#say(id, (to) => to.demand(demands)),
      },
    )
    for (let count = 0; count < 3; count++) this.begin()
  }

  /** Nobody waits, nothing is left. */
  get isOver(): boolean {
    return this.waiting === 0 && this.servers.size === 0 && this.broker.sum('process') === 0
  }

  /** A process begins. */
  begin(): void {
    const id = ++this.#lastId
    this.members.set(id, new Member(id, this))
  }

  /** It is gone at once; its servers vanish one after another, and then its places come back. */
  kill(id: number): void {
    const member = this.members.get(id)
    if (member === undefined) return
    member.isAlive = false
    this.members.delete(id)
    for (const pool of member.pools) this.waiting -= pool.waiting.size
    this.broker.forgetWants(id)
    // What it has said is still read, but counts no more.
    this.#lines.set(`from ${id}`, NEVER)
    this.later(LINGER_MS, () => {
      for (const server of member.servers) server.vanish()
      this.broker.forget(id)
    })
  }

  /** A client wants a server of one of the pools of one of the processes, works, and gives it back. */
  arrive(worksMs = WORK_MS): void {
    const members = [...this.members.values()]
    const member = members[this.random.below(members.length)] as Member
    const pool = member.pools[this.random.below(member.pools.length)] as Pool<SimServer>
    const work = (server: SimServer): void => {
      this.later(worksMs, () => {
        if (member.isAlive && server.state === 'active') pool.release(server)
      })
    }
    const waiter: Waiter<SimServer> = {
      ...{ baseline: '', wantedSettings: null, lastServer: null, waitingSince: 0, waitDeadline: 0 },
      passedOver: 0,
      onGrant: (server) => {
        this.waiting--
        work(server)
      },
      onRefuse: () => {
        this.waiting--
      },
    }
    this.waiting++
    const server = pool.acquire(waiter)
    if (server === null) return
    this.waiting--
    work(server)
  }

  later(mostMs: number, what: () => void): void {
    this.#events.push({ at: this.now + this.random.next() * mostMs, what })
  }

  /** Says something over a line: late, but in order. */
  tell(line: string, what: () => void): void {
    const at = Math.max(this.now + this.random.next() * LATE_MS, this.#lines.get(line) ?? 0)
    if (at === NEVER) return
    this.#lines.set(line, at)
    this.#events.push({ at, what: () => this.#lines.get(line) !== NEVER && what() })
  }

  /** The next thing happens. @returns false: nothing is left */
  step(): boolean {
    let next = -1
    for (const [index, { at }] of this.#events.entries())
      if (next < 0 || at < (this.#events[next]?.at ?? 0)) next = index
    const [event] = next < 0 ? [] : this.#events.splice(next, 1)
    if (event === undefined) return false
    this.now = Math.max(this.now, event.at)
    event.what()
    return true
  }

  /** Time passes for all of them. */
  tick(): void {
    this.broker.tick()
    for (const { places, pools } of this.members.values()) {
      for (const pool of pools) pool.tick(this.now)
      places.tick()
    }
  }

  #say(id: number, what: (to: LeasedPlaces) => void): void {
    const member = this.members.get(id)
    if (member === undefined) return
    this.tell(`to ${id}`, () => {
      if (member.isAlive) what(member.places)
    })
  }
}
