// When the catalogue is asked again, and whether what is known holds meanwhile.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Freshness } from '../../../src/sql/freshness.ts'

/** After its first survey, with the digest 'a'. */
function fresh() {
  const clock = { at: 1_000 }
  const freshness = new Freshness({ everyMs: 30_000, gapMs: 1_000, answerMs: 60_000 })
  assert.equal(freshness.isCurrent, false)
  assert.equal(freshness.next(clock.at), 'survey')
  assert.equal(freshness.next(clock.at), 'nothing', 'one question at a time')
  freshness.onSurvey('a')
  assert.equal(freshness.isCurrent, true)
  return { clock, freshness }
}

describe('Freshness', () => {
  it('asks on a clock, and reads all only if something has changed', () => {
    const { clock, freshness } = fresh()
    clock.at += 29_999
    assert.equal(freshness.next(clock.at), 'nothing')
    clock.at += 1
    assert.equal(freshness.next(clock.at), 'digest')
    assert.equal(freshness.isCurrent, true)
    freshness.onDigest('a')
    assert.equal(freshness.next(clock.at), 'nothing')
    clock.at += 30_000
    assert.equal(freshness.next(clock.at), 'digest')
    freshness.onDigest('b')
    assert.equal(freshness.isCurrent, false)
    assert.equal(freshness.next(clock.at), 'survey', 'at once')
    freshness.onSurvey('b')
    assert.equal(freshness.isCurrent, true)
    assert.equal(freshness.next(clock.at), 'nothing')
  })

  it('leaves a database in peace that needs long to answer, but for who waits for it', () => {
    const { clock, freshness } = fresh()
    clock.at += 1_000
    freshness.onDdl(true)
    assert.equal(freshness.next(clock.at), 'survey')
    clock.at += 3_000
    freshness.onAnswer(clock.at)
    freshness.onSurvey('b')
    freshness.onDdl()
    clock.at += 8_999
    assert.equal(freshness.next(clock.at), 'nothing')
    assert.equal(freshness.isCurrent, false)
    clock.at += 1
    assert.equal(freshness.next(clock.at, true), 'digest', '12 s from the question on')
    clock.at += 50_000
    freshness.onAnswer(clock.at)
    freshness.onDigest('b')
    freshness.onDdl()
    clock.at += 9_999
    assert.equal(freshness.next(clock.at), 'nothing')
    assert.equal(freshness.next(clock.at, true), 'digest', 'somebody waits')
  })

  it('trusts nothing from a change of objects until an answer to a later question', () => {
    const { clock, freshness } = fresh()
    clock.at += 30_000
    assert.equal(freshness.next(clock.at), 'digest')
    freshness.onDdl()
    freshness.onDigest('a')
    assert.equal(freshness.isCurrent, false, 'the question was asked before')
    assert.equal(freshness.next(clock.at), 'nothing')
    clock.at += 1_000
    assert.equal(freshness.next(clock.at), 'digest')
    assert.equal(freshness.isCurrent, false)
    freshness.onDigest('a')
    assert.equal(freshness.isCurrent, true)
  })

  it('reads all where a digest would not tell, also if somebody is just reading', () => {
    const { clock, freshness } = fresh()
    clock.at += 1_000
    freshness.onDdl(true)
    assert.equal(freshness.next(clock.at), 'survey')
    freshness.onDdl(true)
    freshness.onSurvey('a')
    assert.equal(freshness.isCurrent, false)
    clock.at += 1_000
    assert.equal(freshness.next(clock.at), 'survey')
    freshness.onFailure()
    clock.at += 2_000
    assert.equal(freshness.next(clock.at), 'survey')
    freshness.onSurvey('a')
    assert.equal(freshness.isCurrent, true)
  })

  it('asks at once what is urgent, unless it fails', () => {
    const { clock, freshness } = fresh()
    assert.equal(freshness.next(clock.at, true), 'nothing', 'nothing was heard')
    freshness.onDdl()
    assert.equal(freshness.next(clock.at), 'nothing')
    assert.equal(freshness.next(clock.at, true), 'digest')
    freshness.onFailure()
    assert.equal(freshness.next(clock.at, true), 'nothing')
  })

  it('asks once for a name that does not exist', () => {
    const { clock, freshness } = fresh()
    clock.at += 5_000
    freshness.onUnknown('f')
    assert.equal(freshness.isCurrent, false)
    assert.equal(freshness.next(clock.at), 'digest')
    freshness.onDigest('a')
    clock.at += 5_000
    freshness.onUnknown('f')
    assert.equal(freshness.isCurrent, true)
    assert.equal(freshness.next(clock.at), 'nothing')
    freshness.onUnknown('g')
    assert.equal(freshness.next(clock.at), 'digest')
    freshness.onDigest('b')
    assert.equal(freshness.next(clock.at), 'survey')
    freshness.onSurvey('b')
    clock.at += 5_000
    freshness.onUnknown('f')
    assert.equal(freshness.next(clock.at), 'digest', 'it may have come and gone')
  })

  it('remembers the last names only', () => {
    const { clock, freshness } = fresh()
    for (let i = 0; i <= 1_000; i++) freshness.onUnknown(`f${i}`)
    clock.at += 1_000
    assert.equal(freshness.next(clock.at), 'digest')
    freshness.onDigest('a')
    freshness.onUnknown('f1')
    assert.equal(freshness.isCurrent, true)
    freshness.onUnknown('f0')
    assert.equal(freshness.isCurrent, false)
  })

  it('stays in doubt after a failure, and tries again less and less often', () => {
    const { clock, freshness } = fresh()
    freshness.onDdl()
    clock.at += 1_000
    for (const wait of [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
      assert.equal(freshness.next(clock.at), 'digest')
      freshness.onFailure()
      assert.equal(freshness.isCurrent, false)
      clock.at += wait - 1
      assert.equal(freshness.next(clock.at), 'nothing')
      clock.at += 1
    }
    assert.equal(freshness.next(clock.at), 'digest')
    freshness.onDigest('b')
    assert.equal(freshness.next(clock.at), 'survey')
    freshness.onFailure()
    clock.at += 1_999
    assert.equal(freshness.next(clock.at), 'nothing')
    clock.at += 1
    assert.equal(freshness.next(clock.at), 'survey')
    freshness.onSurvey('c')
    assert.equal(freshness.isCurrent, true)
  })

  it('does not wait for an answer for ever', () => {
    const { clock, freshness } = fresh()
    freshness.onDdl()
    clock.at += 1_000
    assert.equal(freshness.next(clock.at), 'digest')
    clock.at += 59_999
    assert.equal(freshness.next(clock.at), 'nothing')
    clock.at += 1
    assert.equal(freshness.next(clock.at), 'digest')
    assert.equal(freshness.isCurrent, false)
    freshness.onDigest('a')
    assert.equal(freshness.isCurrent, true)
  })
})
