// The judgement of the long run whether memory rises: it must see a leak and bear noise.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rise } from '../../long/flat.ts'

const MIB = 1024 * 1024
const samples = (mib: (at: number) => number) => Array.from({ length: 40 }, (_, at) => mib(at) * MIB)

test('a leak of 2 MiB a minute is seen, noise and a cheap start are not', () => {
  assert.match(rise(samples((at) => 100 + at * 2)), /^from 129\.0 MiB in the second quarter to 169\.0 MiB/)
  assert.equal(rise(samples((at) => 100 + (at % 7) * 5)), '')
  assert.equal(rise(samples((at) => (at < 5 ? 50 : 120))), '')
  assert.equal(rise(samples((at) => (at === 38 ? 900 : 120))), '')
  assert.equal(rise(samples((at) => 100 + at * 2).slice(0, 7)), '', 'too few to be judged')
})
