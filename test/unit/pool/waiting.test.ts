// The wait queue and the back-off: order, deadlines, and when a login may be tried again.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Backoff } from '../../../src/pool/backoff.ts'
import type { PooledServer, Waiter } from '../../../src/pool/types.ts'
import { WaitQueue } from '../../../src/pool/wait-queue.ts'
import { Prng } from '../../support/prng.ts'

type TestWaiter = Waiter<PooledServer> & { name: string }

function waiter(name: string, deadline = 100): TestWaiter {
  return {
    name,
    baseline: name,
    wantedSettings: null,
    lastServer: null,
    waitingSince: 0,
    waitDeadline: deadline,
    passedOver: 0,
    onGrant() {},
    onRefuse() {},
  }
}

const names = (waiters: Iterable<Waiter<PooledServer>>) =>
  [...waiters].map((one) => (one as TestWaiter).name).join('')

describe('wait queue', () => {
  it('keeps the order of arrival, also when one leaves from the middle and comes again', () => {
    const queue = new WaitQueue<PooledServer>()
    const [a, b, c] = [waiter('a'), waiter('b'), waiter('c')]
    for (const one of [a, b, c]) queue.push(one)
    assert.equal(names(queue.all()), 'abc')
    queue.remove(b)
    queue.push(b)
    assert.equal(names(queue.all()), 'acb')
    assert.equal(queue.first, a)
    assert.equal(queue.size, 3)
  })

  it('has in front who stands for many, the last of them first', () => {
    const queue = new WaitQueue<PooledServer>()
    queue.push(waiter('a'))
    for (const name of ['x', 'y']) queue.push({ ...waiter(name), isUrgent: true })
    queue.push(waiter('b'))
    assert.equal(names(queue.all()), 'yxab')
  })

  it('gives null when nobody waits', () => {
    const queue = new WaitQueue<PooledServer>()
    assert.equal(queue.first, null)
    assert.equal(
      queue.find(() => true),
      null,
    )
    queue.remove(waiter('stranger'))
    assert.equal(queue.size, 0)
  })

  it('finds the first that matches and takes out all that do', () => {
    const queue = new WaitQueue<PooledServer>()
    const all = ['a', 'b', 'c', 'd'].map((name) => waiter(name))
    for (const one of all) queue.push(one)
    assert.equal(
      queue.find((one) => one.baseline > 'b'),
      all[2],
    )
    assert.equal(names(queue.takeAll((one) => one.baseline !== 'b')), 'acd')
    assert.equal(names(queue.all()), 'b')
  })

  it('takes out those whose deadline has come, in their order', () => {
    const queue = new WaitQueue<PooledServer>()
    for (const one of [waiter('a', 20), waiter('b', 10), waiter('c', 30)]) queue.push(one)
    assert.equal(names(queue.expired(9)), '')
    assert.equal(names(queue.expired(20)), 'ab')
    assert.equal(names(queue.all()), 'c')
  })
})

describe('back-off', () => {
  it('does not wait before anything has failed', () => {
    assert.equal(new Backoff(new Prng(1)).isOver(0), true)
  })

  it('waits 100 ms and then 200 to 250 ms, of which at least half', () => {
    for (let seed = 0; seed < 200; seed++) {
      const backoff = new Backoff(new Prng(seed))
      let now = 1000
      for (const delay of [100, 200, 250, 250]) {
        backoff.failed(now)
        assert.equal(backoff.isOver(now + delay / 2 - 1), false)
        assert.equal(backoff.isOver(now + delay), true)
        now += delay
      }
    }
  })

  it('does not end for all at the same time', () => {
    const ends = new Set<number>()
    for (let seed = 0; seed < 20; seed++) {
      const backoff = new Backoff(new Prng(seed))
      backoff.failed(0)
      let now = 0
      while (!backoff.isOver(now)) now++
      ends.add(now)
    }
    assert.ok(ends.size > 5)
  })

  it('begins anew after a success', () => {
    const backoff = new Backoff(new Prng(1))
    for (let i = 0; i < 5; i++) backoff.failed(0)
    backoff.succeeded()
    assert.equal(backoff.isOver(0), true)
    backoff.failed(0)
    assert.equal(backoff.isOver(100), true)
  })
})
