// What was asked about users: how long it is believed, who shares a question, what doubt does. On a clock
// that the test moves.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type FreshAnswer, SecretCache } from '../../../src/auth/secret-cache.ts'
import type { SecretAnswer } from '../../../src/auth/secrets.ts'

const FOREVER = Number.POSITIVE_INFINITY

/** A cache, a clock, and a Postgres that counts what it is asked. */
function setUp(timeMs: number, max?: number) {
  const clock = { time: 0, now: () => clock.time }
  const cache = new SecretCache(clock, timeMs, max)
  const state = {
    clock,
    cache,
    asked: 0,
    next: { answer: plain('first'), validMs: FOREVER } as FreshAnswer,
    lookup: (key = 'u'): SecretAnswer | Promise<SecretAnswer> =>
      cache.lookup(key, async () => {
        state.asked++
        return state.next
      }),
  }
  return state
}

function plain(password: string): SecretAnswer {
  return { secret: { kind: 'plain', password } }
}

describe('SecretCache', () => {
  for (const answer of [plain('known'), { secret: null }]) {
    const what = 'secret' in answer && answer.secret === null ? 'an unknown user' : 'a known user'

    it(`believes an answer about ${what} for its time`, async () => {
      const state = setUp(1000)
      state.next = { answer, validMs: FOREVER }
      assert.equal(await state.lookup(), answer)
      state.clock.time = 999
      assert.equal(state.lookup(), answer, 'at once, without a promise')
      state.clock.time = 1000
      assert.ok(state.lookup() instanceof Promise)
      await state.lookup()
      assert.equal(state.asked, 2)
    })

    it(`asks again about ${what} after a failed login, once a second at most`, async () => {
      const state = setUp(60_000)
      state.next = { answer, validMs: FOREVER }
      await state.lookup()
      state.clock.time = 999
      state.cache.doubt('u')
      assert.equal(state.lookup(), answer, 'it is not a second old')
      state.clock.time = 1000
      state.cache.doubt('u')
      state.next = { answer: plain('second'), validMs: FOREVER }
      assert.deepEqual(await state.lookup(), plain('second'))
      state.cache.doubt('u')
      assert.deepEqual(state.lookup(), plain('second'))
      assert.equal(state.asked, 2)
    })
  }

  it('asks one question for all who wait for it, and one per user', async () => {
    const state = setUp(1000)
    const answers = await Promise.all([state.lookup('a'), state.lookup('a'), state.lookup('b')])
    assert.equal(new Set(answers).size, 1)
    assert.equal(state.asked, 2)
  })

  it('with a time of 0 asks at each login', async () => {
    const state = setUp(0)
    await state.lookup()
    await state.lookup()
    assert.equal(state.asked, 2)
    assert.equal(state.cache.size, 0)
  })

  it('believes no password beyond its VALID UNTIL, counted from the question', async () => {
    const state = setUp(60_000)
    const answered = state.cache.lookup('u', async () => {
      state.clock.time = 200
      return { answer: plain('short'), validMs: 500 }
    })
    await answered
    state.clock.time = 499
    assert.deepEqual(state.lookup(), plain('short'))
    state.clock.time = 500
    assert.deepEqual(await state.lookup(), plain('first'))
  })

  it('keeps no failure', async () => {
    const state = setUp(60_000)
    const failure = { sqlstate: '08001', message: '', detail: '', hint: '' }
    state.next = { answer: { failure }, validMs: 0 }
    assert.deepEqual(await state.lookup(), { failure })
    state.next = { answer: plain('back'), validMs: FOREVER }
    assert.deepEqual(await state.lookup(), plain('back'))
  })

  it('forgets the one used longest ago when it is full', async () => {
    const state = setUp(60_000, 2)
    await state.lookup('a')
    await state.lookup('b')
    assert.ok(!(state.lookup('a') instanceof Promise))
    await state.lookup('c')
    assert.equal(state.cache.size, 2)
    assert.ok(!(state.lookup('a') instanceof Promise))
    assert.ok(state.lookup('b') instanceof Promise)
  })

  it('what was asked before it was cleared does not come back', async () => {
    const state = setUp(60_000)
    const before = state.lookup()
    state.cache.clear()
    await before
    assert.equal(state.cache.size, 0)
    assert.ok(state.lookup() instanceof Promise)
  })
})
