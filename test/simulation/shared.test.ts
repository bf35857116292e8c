// Shared servers in the simulation of pooler.test.ts: worlds in which nearly all is read, by many clients
// with the same settings, with all faults; and bugs planted into shared dispatch, each of which is found.
//
//   SEEDS=20000 node --test test/simulation/shared.test.ts     many, without a limit of time

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type PlantedBug, withPlanted } from './pooler-plants.ts'
import { PoolerWorld } from './pooler-world.ts'
import { FOUND_BY, PLANTED_SHARED } from './shared-plants.ts'

const SEEDS = Number(process.env.SEEDS ?? 1000)
const BUDGET_MS = process.env.SEEDS === undefined ? 3000 : Number.POSITIVE_INFINITY
const LEAST = 20
/** Small worlds; with those of pooler.test.ts there are 5,000 of them. */
const SMALL = Number(process.env.SEEDS ?? 2500)
const PLANTED_SEEDS = 400

/** The n-th seed of a world in which reads share servers (pooler-world.ts, pooler-limits.ts). */
function seedOf(n: number): number {
  const [round, rest] = [Math.floor(n / 6), n % 6]
  const seeds = Array.from({ length: 36 }, (_, seed) => seed).filter((seed) => seed % 4 === 3 && seed % 9 > 2)
  return round * 36 + seeds[rest]!
}

/** @returns how many exchanges were shared */
function runSeed(seed: number, isSmall: boolean): number {
  const world = new PoolerWorld(seed, null, isSmall)
  try {
    world.run()
  } catch (error) {
    const again = `${isSmall ? 'SMALL=1 ' : ''}SEED=${seed} node --test test/simulation/pooler.test.ts`
    throw new Error(`seed ${seed}: ${(error as Error).message}; again with: ${again}`, { cause: error })
  }
  return world.counters.shared
}

describe('shared servers', () => {
  it('show each client what it would see alone, whatever happens', (t) => {
    const start = performance.now()
    let shared = 0
    let n = 0
    for (; n < SEEDS && (n < LEAST || performance.now() - start < BUDGET_MS); n++)
      shared += runSeed(seedOf(n), false)
    t.diagnostic(`${n} seeds, ${shared} exchanges shared`)
    assert.ok(shared > n, 'servers were shared')
  })

  it('show it in thousands of small worlds', (t) => {
    let shared = 0
    for (let n = 0; n < SMALL; n++) shared += runSeed(seedOf(n), true)
    t.diagnostic(`${SMALL} seeds, ${shared} exchanges shared`)
    assert.ok(shared > SMALL, 'servers were shared')
  })
})

describe('planted bug in shared dispatch', () => {
  for (const [name, bug] of Object.entries(PLANTED_SHARED)) {
    it(`is found: ${name}`, (t) => {
      const { seed, what } = withPlanted(bug, () => find(bug, FOUND_BY[name]))
      new PoolerWorld(seed).run()
      t.diagnostic(`seed ${seed}: ${what}`)
    })
  }
})

/** The first seed that fails; the caller sees to it that it does not fail without the bug. */
function find(bug: PlantedBug, first = seedOf(0)): { seed: number; what: string } {
  for (let n = -1; n < PLANTED_SEEDS; n++) {
    const seed = n < 0 ? first : seedOf(n)
    try {
      new PoolerWorld(seed, bug.server).run()
    } catch (error) {
      return { seed, what: (error as Error).message }
    }
  }
  return assert.fail(`${PLANTED_SEEDS} seeds did not find it`)
}
