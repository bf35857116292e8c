// Who is served next when servers are free: the first who waits, or somebody shortly behind for whom one of
// these servers is as it is wanted. It owns that choice and how often somebody may be passed over for it.
import type { PooledServer, Waiter } from './types.ts'
import type { WaitQueue } from './wait-queue.ts'

/** How many later waiters may be served before one who is less well suited. */
const PASS_MAX = 8
/** How many behind the first are looked at. */
const LOOK_MAX = 64

/** How well one of the free servers suits: not at all, with other settings, as it is. */
const Suits = { Not: 0, AfterChange: 1, AsItIs: 2 } as const

/**
 * @returns null: nobody whom a free server suits; the first has been passed over too often for others
 */
export function nextWaiter<S extends PooledServer>(
  waiting: WaitQueue<S>,
  idle: readonly S[],
): Waiter<S> | null {
  const { first } = waiting
  if (first === null) return null
  const suits = suitsOf(first, idle)
  if (suits === Suits.AsItIs) return first
  if (first.passedOver < PASS_MAX) {
    const other = betterThan(suits, waiting, idle)
    if (other !== null) {
      first.passedOver++
      return other
    }
  }
  return suits === Suits.Not ? null : first
}

function betterThan<S extends PooledServer>(
  suits: number,
  waiting: WaitQueue<S>,
  idle: readonly S[],
): Waiter<S> | null {
  let found: Waiter<S> | null = null
  let looks = 0
  for (const waiter of waiting.all()) {
    const its = suitsOf(waiter, idle)
    if (its === Suits.AsItIs) return waiter
    if (its > suits) found ??= waiter
    if (++looks > LOOK_MAX && (found !== null || suits !== Suits.Not)) return found
  }
  return found
}

function suitsOf<S extends PooledServer>(waiter: Waiter<S>, idle: readonly S[]): number {
  let best: number = Suits.Not
  for (const { baseline, settings } of idle) {
    if (baseline !== waiter.baseline) continue
    if (settings === waiter.wantedSettings) return Suits.AsItIs
    best = Suits.AfterChange
  }
  return best
}
