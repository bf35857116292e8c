// What the pure folders are given instead of the machine: time and chance. Nothing here reads either
// by itself, so that the same code runs in a seeded simulation.

/** Monotonic time. */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. */
  now(): number
}

/** A source of chance. */
export interface Random {
  /** In [0, 1). */
  next(): number
  /** `length` unpredictable bytes (a CSPRNG in production). */
  bytes(length: number): Buffer
}
