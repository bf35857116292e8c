// Wrong passwords: how many are looked at, for whom they are counted, and that those beyond start no work.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FailureLimit } from '../../../src/auth/failure-limit.ts'
import { limitedCheck } from '../../../src/auth/limited-check.ts'
import { PasswordWork } from '../../../src/auth/password-work.ts'
import type { Secret } from '../../../src/auth/secrets.ts'
import { verifier } from './support.ts'

function limit(failureRate: number, failureBurst: number, max?: number): FailureLimit {
  const made = new FailureLimit(max)
  made.configure({ failureRate, failureBurst })
  return made
}

const attempt = (address: string, user: string, database = 'd') => ({ address, user, database })

describe('tries', () => {
  it('are as many at once as the burst, then come back at the rate', () => {
    const time = { now: 0 }
    const tries = limit(2, 3).triesOf(attempt('192.0.2.1', 'alice'), time)
    assert.deepEqual(
      [1, 2, 3, 4].map(() => tries.take()),
      [0, 0, 0, 500],
    )
    time.now = 499
    assert.ok(tries.take() > 0)
    time.now = 500
    assert.equal(tries.take(), 0)
    assert.equal(tries.take(), 500)
    time.now = 1e9
    assert.deepEqual(
      [1, 2, 3, 4].map(() => tries.take()),
      [0, 0, 0, 500],
    )
  })

  it('that were right cost nothing', () => {
    const failures = limit(1, 2)
    const tries = failures.triesOf(attempt('192.0.2.1', 'alice'), { now: 0 })
    for (let n = 0; n < 100; n++) {
      assert.equal(tries.take(), 0)
      tries.giveBack()
    }
    assert.equal(failures.size, 0)
  })

  it('count for an address, whatever user it names, and for a user of a database, from anywhere', () => {
    const time = { now: 0 }
    const failures = limit(1, 2)
    const take = (address: string, user: string, database?: string) =>
      failures.triesOf(attempt(address, user, database), time).take() === 0
    assert.deepEqual(
      [take('192.0.2.1', 'a'), take('192.0.2.1', 'b'), take('192.0.2.1', 'c')],
      [true, true, false],
    )
    // The try that was refused filled nothing.
    assert.deepEqual(
      [take('192.0.2.2', 'c'), take('192.0.2.3', 'c'), take('192.0.2.4', 'c')],
      [true, true, false],
    )
    assert.equal(take('192.0.2.4', 'c', 'other'), true)
    // Names with the separator in them are not mixed up.
    assert.deepEqual([take('192.0.2.5', 'c', 'd:'), take('192.0.2.6', ':c', 'd')], [true, true])
  })

  it('are counted for the network of an IPv6 address, and for IPv4 as such behind IPv6', () => {
    const time = { now: 0 }
    const failures = limit(1, 1)
    const take = (address: string) => failures.triesOf(attempt(address, address), time).take() === 0
    assert.equal(take('2001:db8:0:1::1'), true)
    assert.equal(take('2001:db8:0:1:ffff::2'), false)
    assert.equal(take('2001:db8:0:2::1'), true)
    assert.equal(take('192.0.2.1'), true)
    assert.equal(take('::ffff:192.0.2.1'), false)
  })

  it('have no limit with rate 0, and memory for so many only', () => {
    const none = limit(0, 1).triesOf(attempt('192.0.2.1', 'a'), { now: 0 })
    assert.deepEqual([none.take(), none.take()], [0, 0])
    const small = limit(1, 5, 10)
    for (let n = 0; n < 1000; n++) small.triesOf(attempt(`192.0.2.${n % 256}`, `u${n}`), { now: n }).take()
    assert.equal(small.size, 10)
    small.triesOf(attempt('192.0.2.1', 'x'.repeat(100_000)), { now: 0 }).take()
    assert.equal(small.size, 10)
  })
})

describe('a password whose tries are counted', () => {
  class Counted extends PasswordWork {
    asked = 0
    override keys(...given: Parameters<PasswordWork['keys']>) {
      this.asked++
      return super.keys(...given)
    }
  }
  const salt = Buffer.from('salt of the user')
  const secrets: Secret[] = [verifier('pencil', undefined, 100), { kind: 'plain', password: 'pencil' }]

  for (const secret of secrets) {
    const question = { user: 'alice', secret, salt, iterations: 100 }
    const check = (work: PasswordWork, failures: FailureLimit, password: string) =>
      limitedCheck(work, question, {
        password: Buffer.from(password),
        tries: failures.triesOf(attempt('192.0.2.1', 'alice'), { now: 0 }),
      })

    it(`starts no work beyond the limit (${secret.kind})`, async () => {
      const work = new Counted()
      const failures = limit(1, 3)
      for (let n = 0; n < 3; n++)
        assert.deepEqual(await check(work, failures, `wrong ${n}`), { isRight: false })
      const { asked } = work
      for (let n = 0; n < 50; n++) {
        const answer = await check(work, failures, `wrong again ${n}`)
        assert.ok('sqlstate' in answer && answer.sqlstate === '53300')
        assert.match(answer.hint, /^Try again in 1 second\.$/)
      }
      // A right one that nobody knows yet is not looked at either. A plain secret is known from the start.
      const right = await check(work, failures, 'pencil')
      assert.equal('sqlstate' in right, secret.kind === 'scram')
      assert.equal(work.asked, asked)
    })

    it(`is let in at once where it was right before, whatever others try (${secret.kind})`, async () => {
      const work = new Counted()
      const failures = limit(1, 1)
      const first = await check(work, failures, 'pencil')
      assert.ok('isRight' in first && first.isRight)
      await check(work, failures, 'wrong')
      const { asked } = work
      for (let n = 0; n < 50; n++) {
        const answer = check(work, failures, 'pencil')
        assert.ok(!(answer instanceof Promise) && 'isRight' in answer && answer.isRight)
        assert.deepEqual(answer, first, 'the keys are the same')
      }
      assert.equal(work.asked, asked)
    })

    it(`is one try for all who begin with it at once (${secret.kind})`, async () => {
      const work = new PasswordWork()
      const failures = limit(1, 1)
      const answers = await Promise.all(Array.from({ length: 50 }, () => check(work, failures, 'pencil')))
      for (const answer of answers) assert.ok('isRight' in answer && answer.isRight)
    })
  }

  it('is not right any more once the secret is another', async () => {
    const work = new PasswordWork()
    const failures = limit(1, 10)
    const ask = (secret: Secret | null) =>
      limitedCheck(
        work,
        { user: 'alice', secret, salt, iterations: 100 },
        {
          password: Buffer.from('pencil'),
          tries: failures.triesOf(attempt('192.0.2.1', 'alice'), { now: 0 }),
        },
      )
    const before: Secret = { kind: 'plain', password: 'pencil' }
    assert.deepEqual(await ask(before), { isRight: true, keys: null })
    for (const secret of [
      { ...before, password: 'pen' },
      { ...before, password: '' },
      null,
      verifier('pen', undefined, 10),
    ])
      assert.deepEqual(await ask(secret), { isRight: false })
  })
})
