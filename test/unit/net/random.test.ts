// Chance for production: no byte is given out twice, whatever the lengths.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemRandom } from '../../../src/net/random.ts'

describe('systemRandom.bytes', () => {
  it('gives as many as are asked for, across refills', () => {
    for (let length = 0; length < 1200; length += 7) assert.equal(systemRandom.bytes(length).length, length)
  })

  it('gives nothing twice', () => {
    const seen = new Set<string>()
    for (let i = 0; i < 10_000; i++) seen.add(systemRandom.bytes(16).toString('hex'))
    assert.equal(seen.size, 10_000)
  })

  it('keeps what was given out apart from what comes', () => {
    const first = systemRandom.bytes(16)
    const copy = Buffer.from(first)
    for (let i = 0; i < 1000; i++) systemRandom.bytes(16)
    assert.deepEqual(first, copy)
  })
})
