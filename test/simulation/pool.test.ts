// The pool under 2,000 seeds: whatever the order of events, its promises hold after each of them. And the
// check of the check: bugs that are planted must be found.
//
//   SEED=17 npm test -- test/simulation/pool.test.ts      one seed

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Backoff } from '../../src/pool/backoff.ts'
import { move } from '../../src/pool/states.ts'
import { type Plant, PoolWorld, type SimPool, type SimServer } from './pool-world.ts'

const SEEDS = Number(process.env.SEEDS ?? 2000)
const ONE = process.env.SEED === undefined ? null : Number(process.env.SEED)

function runSeed(seed: number): void {
  try {
    new PoolWorld(seed).run()
  } catch (error) {
    const again = `SEED=${seed} node_modules/.bin/node --test test/simulation/pool.test.ts`
    throw new Error(`seed ${seed}: ${(error as Error).message}; again with: ${again}`, { cause: error })
  }
}

/** During `run`, the pool serves nobody. */
function withoutServing(pool: SimPool, run: () => void): void {
  const { serve } = pool
  pool.serve = () => {}
  run()
  pool.serve = serve
}

const PLANTS: Record<string, Plant> = {
  'the newest waiter is served first': ({ waiting }) => {
    Object.defineProperty(waiting, 'first', { get: () => [...waiting.all()].at(-1) ?? null })
  },
  'a waiter that timed out stays in the queue': ({ waiting }) => {
    waiting.expired = (now) => [...waiting.all()].filter((waiter) => now >= waiter.waitDeadline)
  },
  'nobody looks at deadlines': ({ waiting }) => {
    waiting.expired = () => []
  },
  'the size does not count logins under way': (pool) => {
    Object.defineProperty(pool, 'size', {
      get: () => pool.idle.length + pool.active.size + pool.testing.size,
    })
  },
  'a release does not serve the next': (pool) => {
    const release = pool.release.bind(pool)
    pool.release = (server) => withoutServing(pool, () => release(server))
  },
  'a failed login keeps its place': (pool) => {
    pool.openFailed = (server) => move(server, 'closed')
  },
  'a closed server is not replaced': (pool) => {
    const closed = pool.closed.bind(pool)
    pool.closed = (server) => withoutServing(pool, () => closed(server))
  },
  'a client that left stays in the queue': (pool) => {
    pool.leave = () => {}
  },
  'a closed server stays in its list': (pool) => {
    pool.closed = (server: SimServer) => {
      if (server.state === 'closed') return
      move(server, 'closed')
      pool.serve()
    }
  },
  'a retired server goes back': (pool) => {
    const release = pool.release.bind(pool)
    pool.release = (server) => {
      const { isRetired } = server
      server.isRetired = false
      release(server)
      server.isRetired = isRetired
    }
  },
  'a tested server is lost': (pool) => {
    pool.tested = (server) => {
      pool.testing.delete(server)
    }
  },
  'a limit that is shared is not looked at': (_pool, limits) => {
    limits.makeRoom = () => true
  },
  'no idle server of another pool gives way': (_pool, limits) => {
    limits.makeRoom = (pool) => limits.hasRoom(pool)
  },
  'a pool without a place is never called again': (_pool, limits) => {
    limits.serveStarving = () => {}
  },
  'the reserve is there from the beginning': ({ waiting }) => {
    const push = waiting.push.bind(waiting)
    waiting.push = (waiter) => {
      waiter.waitingSince = Number.NEGATIVE_INFINITY
      push(waiter)
    }
  },
  'the first may be passed over for ever': ({ waiting }) => {
    const push = waiting.push.bind(waiting)
    waiting.push = (waiter) => {
      Object.defineProperty(waiter, 'passedOver', { get: () => 0, set: () => {}, configurable: true })
      push(waiter)
    }
  },
}

describe('pool', () => {
  if (ONE !== null) {
    it(`seed ${ONE}`, () => new PoolWorld(ONE).run())
    return
  }

  it(`keeps its promises under ${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) runSeed(seed)
  })

  it('runs the same way again from the same seed', () => {
    const [one, two] = [new PoolWorld(5), new PoolWorld(5)]
    one.run()
    two.run()
    assert.deepEqual(
      [one.events, one.queue.now(), one.servers.length],
      [two.events, two.queue.now(), two.servers.length],
    )
  })
})

describe('planted bug in the pool', () => {
  for (const [name, plant] of Object.entries(PLANTS)) {
    it(`is found: ${name}`, (t) => {
      const seed = foundBy(plant)
      runSeed(seed)
      t.diagnostic(`found by seed ${seed}`)
    })
  }

  it('is found: logins are tried again at once', (t) => {
    const { isOver } = Backoff.prototype
    Backoff.prototype.isOver = () => true
    try {
      t.diagnostic(`found by seed ${foundBy(() => {})}`)
    } finally {
      Backoff.prototype.isOver = isOver
    }
  })
})

function foundBy(plant: Plant): number {
  for (let seed = 1; seed <= 200; seed++) {
    try {
      new PoolWorld(seed, plant).run()
    } catch {
      return seed
    }
  }
  return assert.fail('200 seeds did not find it')
}
