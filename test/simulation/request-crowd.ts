// Owns: the simulated requests of a world, the door of the endpoint that they knock at, and the places that
// it has given them.

import type { ServerlessConfig } from '../../src/config/types.ts'
import type { House } from '../../src/house.ts'
import type { Log } from '../../src/observe/log.ts'
import type { RequestHouse } from '../../src/serverless/http/request.ts'
import type { Run } from '../../src/serverless/http/run.ts'
import { SqlDoor } from '../../src/serverless/http/sql-door.ts'
import { Prng } from '../support/prng.ts'
import { Violation } from './pooler-checks.ts'
import type { PoolerWorld } from './pooler-world.ts'
import { writeRequest } from './request-script.ts'
import { SimRequest } from './sim-request.ts'

/** Numbers of requests begin here, so that they are nobody else's. */
const FIRST = 1000
const VISITOR = { address: '127.0.0.1', user: 'app', database: 'app' }

type Limits = Pick<
  ServerlessConfig,
  'maxRequest' | 'maxQueries' | 'maxResponse' | 'streamFrom' | 'queryTimeoutMs'
>

export class RequestCrowd {
  readonly door: SqlDoor
  readonly requests: SimRequest[] = []
  readonly limits: Limits
  /** Logins that have not left. */
  readonly admitted = new Set<object>()
  readonly #world: PoolerWorld
  readonly #random: Prng

  constructor(world: PoolerWorld, log: Log) {
    this.#world = world
    const random = new Prng(world.seed ^ 0x5eed)
    this.#random = random
    this.limits = {
      maxRequest: 100_000,
      maxQueries: 100,
      maxResponse: random.pick([0, 0, 3000]),
      streamFrom: random.pick([100, 100, 1e6]),
      queryTimeoutMs: world.has('slow') ? random.pick([0, 120]) : 0,
    }
    const config = (): ServerlessConfig => this.limits as ServerlessConfig
    this.door = new SqlDoor({
      house: this.#houseOf(world.house),
      logins: { login: () => this.#admit() },
      log,
      config,
    })
  }

  /** The house as requests see it. */
  #houseOf(house: House): RequestHouse {
    return {
      time: house.time,
      limits: house.limits,
      counters: house.counters,
      isDraining: false,
      onRefused: (visitor, refusal) => house.onRefused(visitor, refusal),
      onRequest: (client) => house.onRequest(client),
      onRequestOver: (client) => {
        const isBlocked = client.watch.blockedSince > 0
        if (isBlocked && (client.stream as Run).reader.isDone)
          throw new Violation('a server has waited for the reader of an answer that it had given')
        house.onRequestOver(client)
      },
    }
  }

  #admit(): { access: PoolerWorld['entry']; visitor: typeof VISITOR; claims: null; leave(): void } {
    const leave = (): void => void this.admitted.delete(place)
    const place = { access: this.#world.entry, visitor: VISITOR, claims: null, leave }
    this.admitted.add(place)
    return place
  }

  /** So many more will come; those before are forgotten. */
  plan(count: number): void {
    const world = this.#world
    const random = this.#random
    const last = random.pick([50, 300, 600])
    this.requests.length = 0
    for (let number = 0; number < count; number++) {
      const script = writeRequest(FIRST + number + world.events, random.fork(), world.mode)
      const habits = {
        random: random.fork(),
        goesAfter: random.chance(0.3) ? random.pick([5, 100]) : 0,
        pauses: random.pick([0, 0.3, 0.6]),
      }
      const request = new SimRequest(script, habits, {
        after: (ms, run) => world.after(ms, run),
        door: this.door,
      })
      this.requests.push(request)
      world.after(random.between(0, last), () => request.start())
    }
  }

  /** Time has passed. */
  tick(now: number): void {
    this.door.tick(now)
  }

  /** All have been told, or have gone. */
  get isQuiet(): boolean {
    return this.door.size === 0 && this.requests.every(({ isClosed }) => isClosed)
  }

  /** Who is still there, for a report. */
  names(): string[] {
    const there = this.requests.filter(({ isClosed }) => !isClosed)
    return [...there.map(({ script }) => `request ${script.id}`), `${this.door.size} at the door`]
  }
}
