// Who cannot share gets the server of a lane, and who shares is not left without one: by the clock alone.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Lane } from '../../src/backend/lane.ts'
import { LaneFairness } from '../../src/backend/lane-fairness.ts'
import type { LaneWaiter } from '../../src/backend/lane-waiter.ts'
import type { LeasedServer } from '../../src/pool/lease.ts'
import type { Pool } from '../../src/pool/pool.ts'
import type { Waiter } from '../../src/pool/types.ts'
import { WaitQueue } from '../../src/pool/wait-queue.ts'

const laneAt = (depth: number, restsSince = 0) =>
  ({ isOpen: true, depth, restsSince, peak: depth, peakSince: 1000, server: {} }) as unknown as Lane

class Case {
  now = 1000
  readonly waiting = new WaitQueue<LeasedServer>()
  readonly left: unknown[] = []
  isOwed = false
  readonly fairness: LaneFairness
  lanes: Lane[]

  /** @param active servers of the pool in use, lanes among them */
  constructor(lanes: Lane[], active: number) {
    this.lanes = lanes
    const pool = {
      idle: [],
      waiting: this.waiting,
      active: { size: active },
      limits: { size: 10 },
      shared: { isAnyStarving: true, isPressed: () => false, owesTo: () => this.isOwed },
      waitedBy: ({ waitingSince }: Waiter<LeasedServer>) => this.now - waitingSince,
      leave: (one: Waiter<LeasedServer>) => this.waiting.remove(one),
    }
    this.fairness = new LaneFairness(pool as unknown as Pool<LeasedServer>)
  }

  joins(): Waiter<LeasedServer> {
    const one = { waitingSince: this.now, passedOver: 0 } as Waiter<LeasedServer>
    this.waiting.push(one)
    return one
  }

  /** The lane that goes at `now`. */
  at(now: number, queued: LaneWaiter | null = null): Lane | null {
    this.now = now
    return this.fairness.due(this.lanes, { isAnyStranger: this.waiting.size > 0, queued }, now)
  }
}

describe('lanes and those who cannot share', () => {
  it('one of several goes after 100 ms, and no other one for as long', () => {
    const one = new Case([laneAt(5), laneAt(5)], 10)
    const first = one.joins()
    assert.equal(one.at(1100), null)
    assert.equal(one.at(1101), one.lanes[1])
    assert.equal(first.passedOver, Number.MAX_SAFE_INTEGER)
    assert.ok(one.fairness.isAnybodyOwed)
    one.waiting.remove(first)
    assert.ok(!one.fairness.isAnybodyOwed)
    one.joins()
    assert.equal(one.at(1199), null)
  })

  it('the last one stays while others get servers, for a second', () => {
    const one = new Case([laneAt(5)], 10)
    for (let more = 0; more < 100; more++) one.joins()
    for (let now = 1000; now <= 2000; now += 50) {
      assert.equal(one.at(now), null)
      one.waiting.remove(one.waiting.first as Waiter<LeasedServer>)
    }
    assert.equal(one.at(2001), one.lanes[0])
  })

  it('it goes where they get none, sooner where there are no others', () => {
    const stuck = new Case([laneAt(5)], 10)
    stuck.joins()
    assert.equal(stuck.at(1050), null)
    assert.equal(stuck.at(1149), null)
    assert.equal(stuck.at(1151), stuck.lanes[0])
    const alone = new Case([laneAt(5)], 1)
    alone.joins()
    assert.equal(alone.at(1001), alone.lanes[0])
  })

  it('one that does nothing goes at once, but not between two answers', () => {
    const one = new Case([laneAt(5), laneAt(0, 1000)], 10)
    one.joins()
    assert.equal(one.at(1010), null)
    assert.equal(one.at(1011), one.lanes[1])
  })

  it('one in which one client is alone goes at once, unless others have joined it', () => {
    const one = new Case([laneAt(1), laneAt(1)], 10)
    one.joins()
    Object.assign(one.lanes[0] as Lane, { peak: 2 })
    assert.equal(one.at(1010), null)
    assert.equal(one.at(1011), one.lanes[1])
    assert.equal(one.at(1022), one.lanes[0], 'what was before that counts no more')
  })

  it('one goes for another pool to which a free server would be due', () => {
    const one = new Case([laneAt(5), laneAt(5)], 10)
    assert.equal(one.at(1100), null)
    one.isOwed = true
    assert.equal(one.at(1101), one.lanes[1])
    assert.equal(one.at(1121), null)
    assert.equal(one.at(1122), one.lanes[1])
    assert.ok(!one.fairness.isAnybodyOwed)
  })

  it('a lane that waits in front stays there if it is the only one', () => {
    for (const isUrgent of [true, false]) {
      const one = new Case([laneAt(5)], 10)
      let left = 0
      const waiter = { waitingSince: 1000, isUrgent, onLeave: () => left++ }
      const queued = waiter as unknown as LaneWaiter
      one.waiting.push(queued)
      one.joins()
      assert.equal(one.at(3000, queued), null)
      assert.equal(left, isUrgent ? 0 : 1)
      assert.equal(one.waiting.size, isUrgent ? 2 : 1)
    }
  })
})
