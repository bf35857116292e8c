// Places for servers that several processes share: whatever is late, lingers or dies, there are never more
// servers than the limits allow, everybody is served, and nothing is lost in the end.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Prng } from '../support/prng.ts'
import { PlacesWorld, TICK_MS } from './places-world.ts'

const SEEDS = Number(process.env.SEEDS ?? 300)
const BUSY_MS = 3000
/** For all that are left to be served. */
const CALM_MS = 100_000

interface Sizes {
  readonly size: number
  readonly reserveSize: number
  readonly process: number
}

function sizesOf(random: Prng): Sizes {
  const size = 1 + random.below(5)
  const reserveSize = random.below(3) === 0 ? 1 : 0
  return { size, reserveSize, process: random.below(2) === 0 ? 0 : 1 + random.below(2 * size) }
}

/** No more servers than places, no more places than allowed. */
function check(world: PlacesWorld, { size, reserveSize, process }: Sizes): void {
  const most = (process || Number.POSITIVE_INFINITY) as number
  const all = world.broker.sum('process')
  assert.ok(world.servers.size <= all, `${world.servers.size} servers on ${all} places`)
  assert.ok(all <= most, `${all} places of ${most}`)
  for (const user of world.users) {
    const places = world.broker.sum('pool', 'db', user)
    assert.ok(places <= size + reserveSize, `${places} places of ${size} and ${reserveSize}`)
  }
}

function run(seed: number): void {
  const random = new Prng(seed)
  const sizes = sizesOf(random)
  const world = new PlacesWorld(random, sizes)
  let nextTick = 0
  let nextArrival = 0
  let nextDeath = random.next() * 2000
  const pause = 5 + random.next() * 80
  while (world.now < BUSY_MS || (!world.isOver && world.now < BUSY_MS + CALM_MS)) {
    const isBusy = world.now < BUSY_MS
    if (isBusy && world.now >= nextArrival) {
      nextArrival = world.now + random.next() * pause
      world.arrive()
    }
    if (isBusy && world.now >= nextDeath) {
      nextDeath = world.now + random.next() * 3000
      world.kill([...world.members.keys()][0] as number)
      world.begin()
    }
    if (world.now >= nextTick) {
      nextTick = world.now + TICK_MS
      world.later(0, () => world.tick())
      world.later(TICK_MS, () => {})
    }
    if (!world.step()) world.now = nextTick
    check(world, sizes)
  }
  // All have been served, and what nobody uses was closed and given back.
  assert.equal(world.waiting, 0)
  assert.equal(world.servers.size, 0)
  assert.equal(world.broker.sum('process'), 0)
}

describe('places of several processes', () => {
  it(`hold in ${SEEDS} worlds`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        run(seed)
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
  })
})
