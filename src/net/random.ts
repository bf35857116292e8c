// Owns the chance that production code is given. Must never be imported by the pure folders, which get a
// Random.
import { randomBytes } from 'node:crypto'
import type { Random } from '../util/env.ts'

/** Asked for at once: each question to the system costs more than a login needs of it. */
const POOL_BYTES = 4096

let pool = Buffer.alloc(0)
let used = 0

/** Bytes of the system's CSPRNG. None is given out twice, and none stays here once it was given out. */
function bytes(length: number): Buffer {
  if (length > POOL_BYTES / 8) return randomBytes(length)
  if (used + length > pool.length) {
    pool = randomBytes(POOL_BYTES)
    used = 0
  }
  const taken = Buffer.from(pool.subarray(used, used + length))
  pool.fill(0, used, used + length)
  used += length
  return taken
}

/**
 * `bytes` comes from the system's CSPRNG; `next` is fast and good enough to spread things, not for secrets.
 */
export const systemRandom: Random = { next: () => Math.random(), bytes }
