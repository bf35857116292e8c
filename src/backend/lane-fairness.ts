// Between clients that share and those who cannot: when a lane's server goes to somebody who waits. It owns
// since when that has been due; it shuts no lane itself. Nobody waits forever on either side: a lane goes
// where the others get nothing, and the last one stays while they do.
import type { LeasedServer } from '../pool/lease.ts'
import type { Pool } from '../pool/pool.ts'
import type { Waiter } from '../pool/types.ts'
import type { Lane } from './lane.ts'
import type { LaneWaiter } from './lane-waiter.ts'

/** Who cannot share and waits for longer gets the server of a lane where lanes have more than their part. */
const STARVING_MS = 20
/** The same where they have no more than that, and how often at most. */
const LONG_MS = 100
/** The same for the last lane, while the others that wait get servers one behind the other. */
const LAST_MS = 1000

/**
 * A lane that does nothing for so long is not needed, nor one in which nothing has stood behind anything
 * else: it is one client's. Shorter pauses there are where its clients think.
 */
const UNUSED_MS = 10

/** Who waits besides clients. */
export interface Waiting {
  /** Clients that no lane serves wait. */
  readonly isAnyStranger: boolean
  /** A lane that waits for a server; null: none does. */
  readonly queued: LaneWaiter | null
}

export class LaneFairness {
  readonly #pool: Pool<LeasedServer>
  /** When a lane went for others last, and for whom of this pool. */
  #fedAt = 0
  #fed: Waiter<LeasedServer> | null = null
  /** Who was the first to wait when it was looked last, and since when it is. */
  #first: Waiter<LeasedServer> | null = null
  #firstAt = 0

  constructor(pool: Pool<LeasedServer>) {
    this.#pool = pool
  }

  /** Somebody for whom a lane went has no server yet. */
  get isAnybodyOwed(): boolean {
    return this.#fed !== null && this.#pool.waiting.has(this.#fed)
  }

  /** The lane whose server is somebody else's now; null: none is. @param now of a fine clock */
  due(lanes: readonly Lane[], { isAnyStranger, queued }: Waiting, now: number): Lane | null {
    const pool = this.#pool
    if (lanes.length === 0 || pool.idle.length > 0) return null
    if (this.#isOwedElsewhere && now - this.#fedAt > STARVING_MS) {
      this.#fedAt = now
      return lanes.findLast(({ server }) => server !== null) ?? null
    }
    const { first } = pool.waiting
    if (first !== this.#first) {
      this.#first = first
      this.#firstAt = now
    }
    if (first === null || !isAnyStranger) return null
    if (first === queued) {
      if (queued.isUrgent) return null
      // Whoever stands behind it comes first: then it can be seen for how long.
      pool.leave(queued)
      queued.onLeave()
      return null
    }
    const lane = lanes.find((one) => isUseless(one, now)) ?? this.#lastOf(lanes, first, now)
    if (lane === null) return null
    this.#fedAt = now
    this.#fed = first
    // It is for whoever is first: the next lane would like it better as it is.
    first.passedOver = Number.MAX_SAFE_INTEGER
    return lane
  }

  /** In another pool, or process, somebody waits who would be given what is free here: nothing ever is. */
  get #isOwedElsewhere(): boolean {
    const { shared } = this.#pool
    return shared.isPressed(this.#pool) || (shared.isAnyStarving && shared.owesTo(this.#pool))
  }

  #lastOf(lanes: readonly Lane[], first: Waiter<LeasedServer>, now: number): Lane | null {
    const pool = this.#pool
    const held = lanes.filter(({ server }) => server !== null)
    const others = pool.active.size - held.length
    const isMoving = others > 0 && now - this.#firstAt < LONG_MS
    const isMuch = held.length > pool.limits.size / 2
    const usual = others === 0 ? 0 : isMuch ? STARVING_MS : LONG_MS
    const patience = held.length === 1 && isMoving ? LAST_MS : usual
    return pool.waitedBy(first) > patience && now - this.#fedAt > usual ? (held.at(-1) ?? null) : null
  }
}

function isUseless(lane: Lane, now: number): boolean {
  if (!lane.isOpen) return false
  if (lane.depth === 0 && now - lane.restsSince > UNUSED_MS) return true
  if (now - lane.peakSince <= UNUSED_MS) return false
  const { peak } = lane
  lane.peak = lane.depth
  lane.peakSince = now
  return peak <= 1
}
