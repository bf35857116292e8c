// What the bench concludes about clients that have nothing to do. No load is run here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkIdle, type IdleCell, idleTable, kibEach } from '../../../bench/idle-figures.ts'

const WAKE = { average: 1, p50: 0.5, p95: 1, p99: 2.25, most: 9, samples: 9 }

function cell(count: number, base: number | null, full: number): IdleCell {
  return { peer: 'pgmux', count, outcome: { kind: 'run', count, base, full, wake: WAKE } }
}

describe('idle clients', () => {
  it('cost what the process has grown by, shared out', () => {
    assert.equal(kibEach(cell(1000, 50_000, 55_500)), 5.5)
    assert.equal(kibEach(cell(1000, null, 55_500)), null)
  })

  it('may cost 8 KiB each where there are 10,000', () => {
    const failed = (full: number) => checkIdle([cell(1000, 0, 1e9), cell(10_000, 50_000, full)])[0]?.failed
    assert.deepEqual([failed(130_000), failed(130_001)], [false, true])
    assert.deepEqual(checkIdle([cell(1000, 0, 1e9)]), [])
    assert.deepEqual(
      checkIdle([{ ...cell(10_000, 0, 1), outcome: { kind: 'cannot', reason: 'few files' } }]),
      [],
    )
    const lost = checkIdle([{ ...cell(10_000, 0, 1), outcome: { kind: 'failed', reason: 'it rained' } }])
    assert.deepEqual(lost, [{ text: 'idle, 10000 clients of pgmux: it rained', failed: true }])
  })

  it('are shown with what is not known in words', () => {
    const [, text = ''] = idleTable([cell(1000, 51_200, 56_320), cell(5000, null, 1024)], (peer) => peer)
    assert.match(text, /1000 +\| pgmux \| 50\.0 +\| 55\.0 +\| 5\.12 +\| 0\.50 +\| 2\.25/)
    assert.match(text, /5000 +\| pgmux \| not measured \| 1\.0 /)
  })
})
