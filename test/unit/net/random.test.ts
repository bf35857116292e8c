// The names of requests: random UUIDs of version 4, none of them twice.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { randomUuid } from '../../../src/net/random.ts'

it('a random UUID has the form of version 4, and none is given out twice', () => {
  const COUNT = 2000
  const all = Array.from({ length: COUNT }, randomUuid)
  for (const one of all)
    assert.match(one, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(new Set(all).size, COUNT)
  // Each digit that is free takes each value.
  for (const place of [0, 7, 9, 15, 35]) assert.equal(new Set(all.map((one) => one[place])).size, 16)
})
