// What is concluded from logins and from the storm of wrong passwords. Nobody logs in here.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  checkLogins,
  checkStorm,
  type LoginCell,
  type LoginRun,
  type StormCell,
  type StormRun,
  stormRatio,
} from '../../../bench/login-figures.ts'
import { latencyOf } from '../../../bench/figures.ts'
import { inOpenLoop } from '../../../bench/load/logins.ts'

const FAILED = { kind: 'failed', reason: 'connection refused' } as const

function logins(p99: number, failed = 0): LoginRun {
  const latency = latencyOf([p99])
  const reason = failed === 0 ? '' : 'sorry, too many clients already'
  const rest = { lateness: latency!, took: 1000, ownCpu: 80, cpu: null }
  return { kind: 'run', count: 5000, failed, reason, latency, ...rest }
}

function cell(peer: string, ...rounds: LoginCell['rounds']): LoginCell {
  return { auth: 'trust', peer, rounds }
}

describe('logins', () => {
  const check = (ours: LoginCell['rounds'], theirs: LoginCell['rounds'] | null) =>
    checkLogins(cell('pgmux', ...ours), theirs === null ? null : cell('pgbouncer', ...theirs))

  it('may take 60 ms, or twice what they take with PgBouncer', () => {
    assert.equal(check([logins(60)], [logins(1)]).failed, false)
    assert.equal(check([logins(90)], [logins(45)]).failed, false)
    const slow = check([logins(90), logins(90), logins(10)], [logins(44), logins(44), logins(44)])
    assert.equal(slow.failed, true)
    assert.match(slow.text, /^logins, trust: p99 of pgmux 90\.0 ms, 2\.05 times PgBouncer's \(at most 60 ms/)
  })

  it('have only the 60 ms where there is nothing to compare with', () => {
    assert.equal(check([logins(61)], null).failed, true)
    assert.equal(check([logins(60)], null).failed, false)
    // A PgBouncer that refused some was quick with the rest.
    assert.match(check([logins(61)], [logins(40, 7)]).text, /not compared/)
  })

  it('must all succeed', () => {
    const refused = check([logins(1), logins(1, 3)], [logins(1), logins(1)])
    assert.deepEqual(refused, {
      text: 'logins, trust: pgmux failed 3 of 5000 logins: sorry, too many clients already',
      failed: true,
    })
    assert.equal(check([FAILED], null).failed, true)
  })
})

describe('the storm', () => {
  const good = (select: number, login: number, failed = 0) => ({
    selects: latencyOf([select]),
    logins: latencyOf([login]),
    failed,
    reason: failed === 0 ? '' : 'timeout',
  })
  const round = (calm: number, hurt: number, answers: Record<string, number> = { '28P01': 9 }): StormRun => {
    const storm = { attempts: 9, answers, latency: latencyOf([1]) }
    return { kind: 'run', calm: good(calm, 10), hurt: good(hurt, 19), storm, cpu: null }
  }
  const storm = (...rounds: StormCell['rounds']): StormCell => ({ peer: 'pgmux', rounds })

  it('may slow good traffic less than twice, each kind by itself', () => {
    const fine = checkStorm(storm(round(1, 1.9), round(1, 9), round(1, 1.5)))
    assert.deepEqual(
      fine.map((check) => check.failed),
      [false, false],
    )
    assert.match(fine[0]!.text, /good selects is 1\.90 times/)
    const slow = checkStorm(storm(round(1, 2)))
    assert.deepEqual(
      slow.map((check) => check.failed),
      [true, false],
    )
  })

  it('must be refused, and nobody else', () => {
    const letIn = checkStorm(storm(round(1, 1, { '28P01': 8, 'let in': 1 })))
    assert.match(letIn[0]!.text, /answers were .*let in/)
    assert.equal(letIn[0]!.failed, true)
    const broken: StormRun = { ...round(1, 1), hurt: good(1, 1, 2) }
    assert.match(checkStorm(storm(broken))[0]!.text, /pgmux failed 2 good requests: timeout/)
    assert.equal(checkStorm(storm(FAILED))[0]!.failed, true)
  })

  it('has no ratio where one side was not measured', () => {
    const none: StormRun = { ...round(1, 1), calm: { ...good(1, 1), selects: null } }
    assert.equal(stormRatio(storm(none), 'selects'), null)
    assert.equal(checkStorm(storm(none))[0]!.failed, true)
  })
})

describe('an open loop', () => {
  it('starts all in time, and does not wait for what blocks it', async () => {
    const from = performance.now()
    const started: number[] = []
    await inOpenLoop(100, 100, (i, late) => {
      assert.equal(started.push(late), i + 1)
      // The clock goes on; what became due meanwhile follows at once.
      if (i === 10) while (performance.now() - from < 60);
    })
    assert.equal(started.length, 100)
    assert.ok(started[11]! > 30, `${started[11]} ms late`)
    assert.ok(started.every((late) => late >= 0))
  })
})
