// Cancel keys: unique, spread over all there are, and found by the whole key only.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CancelKeys, KEY_LONG, KEY_SHORT, makerOf } from '../../../src/frontend/cancel-keys.ts'
import { systemRandom } from '../../../src/net/random.ts'

const MANY = process.env.LONG ? 1_000_000 : 100_000
const nobody = { cancelRequest: () => {} }

describe('cancel keys', () => {
  it('are unique, positive, and every bit of them is as often 1 as 0', () => {
    const keys = new CancelKeys(systemRandom)
    const numbers = new Set<number>()
    const secrets = new Set<number>()
    const ones = new Array<number>(63).fill(0)
    for (let count = 0; count < MANY; count++) {
      const { pid, key } = keys.issue(KEY_SHORT)
      assert.ok(pid > 0 && pid <= 0x7fff_ffff && !numbers.has(pid))
      numbers.add(pid)
      const secret = key.readUInt32BE()
      secrets.add(secret)
      for (let bit = 0; bit < 31; bit++) ones[bit]! += (pid >>> bit) & 1
      for (let bit = 0; bit < 32; bit++) ones[31 + bit]! += (secret >>> bit) & 1
    }
    assert.equal(keys.size, MANY)
    // Six standard deviations: never by chance.
    const slack = 6 * Math.sqrt(MANY / 4)
    for (const [bit, count] of ones.entries()) {
      assert.ok(Math.abs(count - MANY / 2) < slack, `bit ${bit}: ${count} of ${MANY}`)
    }
    // By chance a few are equal: 1.2 of 100,000, 116 of a million.
    assert.ok(MANY - secrets.size < 200)
  })

  it('are found whole, by number and secret, until they are given back', () => {
    const keys = new CancelKeys(systemRandom)
    for (const length of [KEY_SHORT, KEY_LONG]) {
      const { pid, key } = keys.issue(length)
      assert.equal(keys.find(pid, key), null, 'nobody’s yet')
      keys.assign(pid, nobody)
      assert.equal(keys.find(pid, key), nobody)
      assert.equal(keys.find(pid + 1, key), null)
      assert.equal(keys.find(pid, key.subarray(0, length - 1)), null)
      assert.equal(keys.find(pid, Buffer.concat([key, Buffer.alloc(1)])), null)
      for (let at = 0; at < length; at++) {
        const wrong = Buffer.from(key)
        wrong[at] = (wrong[at] as number) ^ 1
        assert.equal(keys.find(pid, wrong), null)
      }
      keys.revoke(pid)
      assert.equal(keys.find(pid, key), null)
    }
    assert.equal(keys.size, 0)
  })

  it('of several processes say whose they are, and nothing else', () => {
    for (const count of [2, 3, 5, 64]) {
      for (const number of [0, count - 1]) {
        const keys = new CancelKeys(systemRandom, { number, count })
        const numbers = Array.from({ length: 1000 }, () => keys.issue(KEY_SHORT).pid)
        assert.equal(new Set(numbers).size, 1000)
        for (const pid of numbers) {
          assert.ok(pid > 0 && pid <= 0x7fff_ffff && keys.isOwn(pid))
          assert.equal(makerOf(pid, count), number)
        }
        // Of 31 bits as few as are needed are not chance.
        const fixed = numbers.reduce((same, pid) => same & ~(pid ^ (numbers[0] as number)), 0x7fff_ffff)
        assert.equal(fixed, 2 ** Math.ceil(Math.log2(count)) - 1)
      }
    }
  })
})
