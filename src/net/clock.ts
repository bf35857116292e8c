// Owns the time that production code is given. Must never be imported by the pure folders, which get a Clock.
import type { Clock } from '../util/env.ts'

/** Monotonic milliseconds since the process started. */
export const systemClock: Clock = { now: () => performance.now() }
