// What the bench concludes about sessions, and its scripts. Nothing is measured here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Outcome } from '../../../bench/figures.ts'
import { checkSessions, type SessionCell, sessionTables } from '../../../bench/session-figures.ts'
import { SESSION_ROWS } from '../../../bench/session-scenarios.ts'

const run = (rate: number): Outcome => ({
  kind: 'run',
  amount: rate,
  rate,
  latency: null,
  cpu: { user: 10, system: 5 },
  postgres: null,
  generator: null,
  peakMemory: null,
})

/** Rates of one round for each row. */
function cells(...rounds: number[][]): SessionCell[] {
  return SESSION_ROWS.map((row, i) => ({ ...row, outcomes: rounds.map((rates) => run(rates[i] as number)) }))
}

const GOOD = [1000, 950, 300, 500, 600, 400, 480]

describe('sessions', () => {
  it('are compared with the first row of their group and way', () => {
    const checks = checkSessions(cells(GOOD))
    assert.deepEqual(
      checks.map(({ failed }) => failed),
      [false, false],
    )
    assert.match(checks[0]?.text ?? '', /0\.950 .*at least 0\.9 /)
    assert.match(checks[1]?.text ?? '', /1\.000 .*at least 0\.95 /)
  })

  it('fail below what is asked, by the median of ratios within rounds', () => {
    const slow = [1000, 800, 300, 500, 600, 400, 440]
    assert.deepEqual(
      checkSessions(cells(slow, GOOD, slow)).map(({ failed }) => failed),
      [true, true],
    )
    assert.deepEqual(
      checkSessions(cells(slow, GOOD, GOOD)).map(({ failed }) => failed),
      [false, false],
    )
  })

  it('fail where a run has failed, and say why', () => {
    const broken = cells(GOOD)
    broken[4]?.outcomes.push({ kind: 'failed', reason: 'pgbench printed no result' })
    assert.deepEqual(checkSessions(broken), [
      {
        text: 'session, transaction with SET LOCAL, direct: a run failed: pgbench printed no result',
        failed: true,
      },
    ])
  })

  it('have a table for each group', () => {
    const text = sessionTables(cells(GOOD)).join('\n')
    assert.match(text, /a SET for each session, two values +\| pgmux +\| 950 .* \| 0\.950 /)
    assert.match(text, /transaction with SET LOCAL +\| direct .* no pooler /)
  })
})
