// The whole pooler between simulated clients and a model of Postgres: as many seeds as fit into the time,
// each with its own sizes, timeouts, chunks, clients and faults. What a client sees must be what it sees
// alone, up to the first fault that hits it. And the check of the check: bugs that are planted must be
// found.
//
//   SEED=17 npm test -- test/simulation/pooler.test.ts       one seed (SMALL=1: of a small world)
//   SEEDS=20000 npm test -- test/simulation/pooler.test.ts   many, without a limit of time
//   npm run test:million                                     a million, here and with shared servers

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FOUND_BY, PLANTED, type PlantedBug, withPlanted } from './pooler-plants.ts'
import { PoolerWorld } from './pooler-world.ts'

const SEEDS = Number(process.env.SEEDS ?? 2000)
const IS_SMALL = process.env.SMALL !== undefined
const ONE = process.env.SEED === undefined ? null : Number(process.env.SEED)
/** Where nobody says how many seeds: stop after so long, but not before so many. */
const BUDGET_MS = process.env.SEEDS === undefined ? 4_000 : Number.POSITIVE_INFINITY
const LEAST = 40
/** Small worlds, each of another seed. */
const SMALL = Number(process.env.SEEDS ?? 2500)
/** Most are found within 200; a name in flight when its server is lost, and used again, is rarer. */
const PLANTED_SEEDS = 1000

function runSeed(seed: number, isSmall = IS_SMALL): PoolerWorld {
  const world = new PoolerWorld(seed, null, isSmall)
  try {
    world.run()
  } catch (error) {
    const which = `${isSmall ? 'SMALL=1 ' : ''}SEED=${seed}`
    const again = `${which} node_modules/.bin/node --test test/simulation/pooler.test.ts`
    throw new Error(`seed ${seed}: ${(error as Error).message}; again with: ${again}`, { cause: error })
  }
  return world
}

describe('pooler', () => {
  if (ONE !== null) {
    it(`seed ${ONE}`, () => void runSeed(ONE))
    return
  }

  it('shows each client what it would see alone, whatever happens', (t) => {
    const start = performance.now()
    let seed = 0
    while (seed < SEEDS && (seed < LEAST || performance.now() - start < BUDGET_MS)) runSeed(++seed)
    t.diagnostic(`${seed} seeds`)
  })

  it('shows each client what it would see alone, in thousands of small worlds', (t) => {
    for (let seed = 1; seed <= SMALL; seed++) runSeed(seed, true)
    t.diagnostic(`${SMALL} seeds`)
  })

  it('runs the same way again from the same seed', () => {
    for (const seed of [2, 3, 4]) {
      const [one, two] = [runSeed(seed), runSeed(seed)]
      assert.deepEqual([one.events, one.queue.now()], [two.events, two.queue.now()])
    }
  })
})

describe('planted bug in the pooler', () => {
  for (const [name, bug] of Object.entries(PLANTED)) {
    it(`is found: ${name}`, (t) => {
      const { seed, what } = withPlanted(bug, () => find(bug, FOUND_BY[name]))
      runSeed(seed)
      t.diagnostic(`seed ${seed}: ${what}`)
    })
  }
})

/** The first seed that fails; the caller sees to it that it does not fail without the bug. */
function find(bug: PlantedBug, first = 1): { seed: number; what: string } {
  for (let n = 0; n <= PLANTED_SEEDS; n++) {
    const seed = n === 0 ? first : n
    try {
      new PoolerWorld(seed, bug.server).run()
    } catch (error) {
      return { seed, what: (error as Error).message }
    }
  }
  return assert.fail(`${PLANTED_SEEDS} seeds did not find it`)
}
