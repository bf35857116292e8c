// Owns: proof of the small things that simulations stand on: chance, cuts, time. Must never use real time.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { at, every, everySplit, seeded, whole } from '../../support/chop.ts'
import { Prng } from '../../support/prng.ts'
import { SimClock } from '../../support/sim-clock.ts'

describe('seeded chance', () => {
  it('repeats itself and stays in its range', () => {
    const draw = (seed: number) => {
      const random = new Prng(seed)
      return Array.from({ length: 1000 }, () => random.next())
    }
    assert.deepEqual(draw(5), draw(5))
    assert.notDeepEqual(draw(5), draw(6))
    assert.ok(draw(5).every((value) => value >= 0 && value < 1))
    const mean = draw(5).reduce((sum, value) => sum + value) / 1000
    assert.ok(mean > 0.45 && mean < 0.55)
  })

  it('draws from all of a range', () => {
    const random = new Prng(1)
    const seen = new Set(Array.from({ length: 200 }, () => random.between(2, 5)))
    assert.deepEqual([...seen].sort(), [2, 3, 4, 5])
    assert.deepEqual([...random.shuffle([1, 2, 3, 4])].sort(), [1, 2, 3, 4])
    assert.equal(random.bytes(9).length, 9)
  })
})

describe('cutting', () => {
  it('loses nothing', () => {
    const bytes = new Prng(3).bytes(50)
    const ways = [whole(bytes), every(bytes, 1), every(bytes, 7), at(bytes, [9, 3, 3, 0, 50, 99])]
    for (const pieces of [...ways, seeded(bytes, new Prng(4)), ...everySplit(bytes)]) {
      assert.deepEqual(Buffer.concat(pieces), bytes)
      assert.ok(pieces.every((piece) => piece.length > 0))
    }
    assert.deepEqual(
      at(bytes, [9, 3, 3]).map((piece) => piece.length),
      [3, 6, 41],
    )
    assert.equal([...everySplit(bytes)].length, 49)
    assert.deepEqual(whole(Buffer.alloc(0)), [])
  })
})

describe('simulated time', () => {
  it('runs tasks by time, then by order of planning', () => {
    const clock = new SimClock()
    const random = new Prng(9)
    const ran: [number, number][] = []
    for (let order = 0; order < 500; order++) {
      const ms = random.below(20)
      clock.schedule(ms, () => {
        assert.equal(clock.now(), ms)
        ran.push([ms, order])
      })
    }
    clock.run()
    assert.deepEqual(
      ran,
      [...ran].sort(([a, i], [b, j]) => a - b || i - j),
    )
    assert.equal(ran.length, 500)
    assert.equal(clock.pending, 0)
  })

  it('stands still where it is told to, and forgets what was cancelled', () => {
    const clock = new SimClock()
    const ran: string[] = []
    clock.schedule(10, () => ran.push('ten'))
    clock.schedule(20, () => ran.push('twenty'))
    const cancel = clock.schedule(5, () => ran.push('never'))
    cancel()
    cancel()
    assert.equal(clock.pending, 2)
    clock.runUntil(15)
    assert.deepEqual([ran, clock.now()], [['ten'], 15])
    clock.advance(5)
    assert.deepEqual([ran, clock.now(), clock.step()], [['ten', 'twenty'], 20, false])
  })

  it('reports a simulation that never rests', () => {
    const clock = new SimClock()
    const again = () => void clock.schedule(1, again)
    again()
    assert.throws(() => clock.run(100), /did not come to rest/)
  })
})
