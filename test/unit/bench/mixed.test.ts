// What the bench concludes of quick queries among slow ones. No load is run here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Cell, Outcome } from '../../../bench/figures.ts'
import { checkMixed } from '../../../bench/mixed-figures.ts'

function run(rate: number, p99: number): Outcome {
  const latency = { average: 1, p50: 1, p95: 1, p99, most: 99, samples: 9 }
  const others = { cpu: null, postgres: null, generator: null, peakMemory: null }
  return { kind: 'run', amount: rate, rate, latency, ...others }
}

function cell(peer: string, ...outcomes: Outcome[]): Cell {
  return { scenario: 'mixed-work', peer, outcomes }
}

describe('slow queries among quick ones', () => {
  const leased = cell('pgmux-leased', run(100, 10), run(100, 20), run(100, 10))
  const failed = (...outcomes: Outcome[]) => checkMixed([cell('pgmux', ...outcomes), leased])[0]?.failed

  it('p99 is no worse with shared servers and the rate is higher, in the median of the rounds', () => {
    assert.equal(failed(run(101, 11), run(150, 22), run(90, 99)), false)
    assert.equal(failed(run(101, 12), run(150, 23), run(150, 1)), true)
    assert.equal(failed(run(100, 9), run(100, 9), run(101, 9)), true)
    assert.equal(failed(run(200, 9), { kind: 'failed', reason: 'it rained' }), true)
  })

  it('nothing is concluded without the other pgmux', () => {
    assert.deepEqual(checkMixed([cell('pgmux', run(1, 1))]), [])
  })
})
