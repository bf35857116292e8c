// Owns the chance that production code is given. Must never be imported by the pure folders, which get a
// Random.
import { randomBytes } from 'node:crypto'
import type { Random } from '../util/env.ts'

/**
 * `bytes` comes from the system's CSPRNG; `next` is fast and good enough to spread things, not for secrets.
 */
export const systemRandom: Random = { next: () => Math.random(), bytes: (length) => randomBytes(length) }
