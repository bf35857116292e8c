// The table of channels against a plain model of Postgres: whatever clients come, go and fail, the listening
// server ends up with what is wanted, and each subscriber is found under its channels and nowhere else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Changes, type Channel, Channels, type Subscriber } from '../../../src/session/channels.ts'
import { Prng } from '../../support/prng.ts'

function subscriber(): Subscriber {
  return { pool: {}, onNotification() {}, onGap() {} }
}

/** Postgres' side, and what each subscriber should have. */
class Model {
  readonly random: Prng
  readonly channels = new Channels()
  readonly listened = new Set<string>()
  readonly holds: Channel[] = []
  readonly people = Array.from({ length: 6 }, subscriber)
  readonly wanted = new Map<Subscriber, Set<string>>()
  flight: Changes | null = null

  constructor(seed: number) {
    this.random = new Prng(seed)
  }

  name(): string {
    return `c${this.random.below(5)}`
  }

  person(): Subscriber {
    return this.people[this.random.below(this.people.length)] as Subscriber
  }

  own(who: Subscriber): Set<string> {
    const own = this.wanted.get(who) ?? new Set()
    this.wanted.set(who, own)
    return own
  }

  step(): void {
    const { channels, random } = this
    switch (random.below(8)) {
      case 0:
        this.holds.push(channels.hold(this.name()))
        break
      case 1: {
        const channel = this.holds.pop()
        if (channel !== undefined) channels.release(channel)
        break
      }
      case 2: {
        const channel = this.holds.pop()
        if (channel === undefined) break
        const who = this.person()
        channels.subscribe(who, channel)
        this.own(who).add(channel.name)
        break
      }
      case 3: {
        const who = this.person()
        const name = this.name()
        channels.unsubscribe(who, name)
        this.own(who).delete(name)
        break
      }
      case 4: {
        const who = this.person()
        channels.leave(who)
        this.wanted.delete(who)
        break
      }
      case 5:
        this.flight ??= channels.take(1 + random.below(3))
        break
      case 6:
        this.land(random.below(4) > 0)
        break
      case 7:
        if (random.below(5) > 0) break
        channels.lost()
        this.listened.clear()
        this.flight = null
    }
  }

  land(isDone: boolean): void {
    if (this.flight === null) return
    if (isDone) {
      for (const { name } of this.flight.listen) this.listened.add(name)
      for (const { name } of this.flight.unlisten) this.listened.delete(name)
    }
    this.channels.settle(this.flight, isDone)
    this.flight = null
  }

  /** Everything is asked for and answered: what Postgres listens to is what somebody wants. */
  settle(): void {
    this.land(true)
    for (let turn = 0; turn < 20; turn++) {
      this.flight = this.channels.take(3)
      this.land(true)
    }
    const wanted = new Set(this.holds.map(({ name }) => name))
    for (const own of this.wanted.values()) for (const name of own) wanted.add(name)
    assert.deepEqual([...this.listened].sort(), [...wanted].sort())
    assert.equal(this.channels.size, wanted.size)
    assert.equal(this.channels.isAnyMissing || this.channels.isAnySurplus, false)
  }

  check(): void {
    for (let index = 0; index < 5; index++) {
      const name = `c${index}`
      const right = this.people.filter((who) => this.wanted.get(who)?.has(name))
      assert.deepEqual(new Set(this.channels.subscribersOf(name)), new Set(right))
    }
    for (const who of this.people) {
      const names = Array.from(this.channels.channelsOf(who), ({ name }) => name)
      assert.deepEqual(names.sort(), [...this.own(who)].sort())
    }
    const busy = this.people.filter((who) => this.own(who).size > 0)
    assert.equal(this.channels.subscribers, busy.length)
  }
}

test('whatever happens, what is listened to becomes what is wanted', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const model = new Model(seed)
    try {
      for (let step = 0; step < 80; step++) {
        model.step()
        model.check()
      }
      model.settle()
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
})

test('a channel that is wanted again while it is given up is asked for again', () => {
  const channels = new Channels()
  const first = channels.hold('c')
  channels.settle(channels.take(10), true)
  channels.release(first)
  const leaving = channels.take(10)
  assert.deepEqual(leaving.unlisten, [first])
  const again = channels.hold('c')
  assert.equal(again.isReady, false)
  channels.settle(leaving, true)
  assert.deepEqual(channels.take(10).listen, [again])
})
