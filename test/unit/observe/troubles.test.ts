// What went wrong of late: counted by reason, remembered for a while, never more than a fixed number.
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Counters } from '../../../src/observe/counters.ts'
import { Troubles } from '../../../src/observe/troubles.ts'

const WHERE = { database: 'app', user: 'u', address: '::1' }

it('are counted by reason; the last of each is kept, those that came last stand first', () => {
  const time = { now: 5 }
  const lines: string[] = []
  const troubles = new Troubles(time, { write: (level, reason) => lines.push(`${level} ${reason}`) })
  const counters = new Counters()
  const telling = { counters, message: 'refused' }
  troubles.report({ code: '1', reason: 'a', message: 'first' }, WHERE, telling)
  time.now = 9
  troubles.report({ code: '2', reason: 'b', message: 'other' }, null, { ...telling, level: 'warn' })
  time.now = 12
  troubles.report({ code: '1', reason: 'a', message: 'last' }, WHERE, telling)
  const [a, b] = troubles.kinds()
  assert.deepEqual([a?.reason, a?.count, a?.firstAt, a?.last.at, a?.last.message], ['a', 2, 5, 12, 'last'])
  assert.deepEqual([b?.reason, b?.count, b?.last.database], ['b', 1, ''])
  assert.deepEqual(
    troubles.recent().map(({ message }) => message),
    ['last', 'other', 'first'],
  )
  assert.deepEqual(lines, ['info a', 'warn b', 'info a'])
  assert.equal(counters.errors.get(['1', 'a']), 2)
})

it('have limits: reasons, single errors, leaks, lengths', () => {
  const troubles = new Troubles({ now: 1 }, { write: () => {} })
  for (let i = 0; i < 1000; i++) {
    troubles.add({ code: 'x', reason: `r${i}`, message: 'm'.repeat(5000) })
    troubles.addLeak({ database: 'd', user: 'u', pid: i, what: 'w'.repeat(5000), after: '' })
  }
  const kinds = troubles.kinds()
  assert.equal(kinds.length, 257)
  assert.equal(
    kinds.reduce((sum, { count }) => sum + count, 0),
    1000,
  )
  assert.equal(kinds.find(({ reason }) => reason === 'other')?.count, 744)
  assert.equal(troubles.recent().length, 100)
  assert.equal(troubles.leaks().length, 100)
  assert.equal(troubles.leaks()[0]?.pid, 999)
  assert.ok(troubles.recent()[0]!.message.length < 600 && troubles.leaks()[0]!.what.length < 600)
})
