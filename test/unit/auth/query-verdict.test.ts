// What an answer to the authentication query means. Hazards: E03 (VALID UNTIL), E04 (a query that fails must
// not let anybody in as somebody else), E05 (nothing tells who exists).
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type QueryOutcome, verdictOf } from '../../../src/auth/query-verdict.ts'

const asked = { user: 'ann', isClientsDatabase: true }
const rows = (...all: (string | null)[][]): QueryOutcome => ({
  kind: 'rows',
  columns: all[0]?.length ?? 2,
  rows: all,
})

/** The verdict in short: the secret's kind, 'unknown', or the SQLSTATE of a failure. */
function short(outcome: QueryOutcome, as: typeof asked = asked): string {
  const { answer, problem } = verdictOf(as, outcome)
  const word = 'failure' in answer ? answer.failure.sqlstate : (answer.secret?.kind ?? 'unknown')
  return problem === '' ? word : `${word}, logged`
}

describe('verdictOf', () => {
  it('takes a row with name and secret, with or without an end', () => {
    assert.equal(short(rows(['ann', 'secret'])), 'plain')
    assert.equal(short(rows(['ann', `md5${'0'.repeat(32)}`, null])), 'md5')
    const verdict = verdictOf(asked, rows(['ann', 'secret', '1.5']))
    assert.equal(verdict.validMs, 1500)
    assert.equal(verdictOf(asked, rows(['ann', 'secret', 'Infinity'])).validMs, Number.POSITIVE_INFINITY)
  })

  it('knows no user without a row, without a secret, or with one that has expired', () => {
    for (const row of [
      ['ann', null],
      ['ann', null, null],
      ['ann', ''],
      ['ann', 'secret', '0'],
      ['ann', 'secret', '-3'],
      ['ann', 'secret', '-Infinity'],
    ])
      assert.equal(short(rows(row)), 'unknown', JSON.stringify(row))
    assert.equal(short({ kind: 'rows', columns: 2, rows: [] }), 'unknown')
  })

  it('refuses what cannot be this user, and tells the operator only', () => {
    for (const outcome of [
      rows(['ann', 'a'], ['ann', 'a']),
      rows(['ann', 'a'], ['bob', 'b']),
      rows([null, 'a']),
      rows(['bob', 'a']),
      rows(['ANN', 'a']),
      rows(['ann ', 'a']),
      rows(['ann', 'a', 'soon']),
      rows(['ann', 'a', '']),
      { kind: 'error', code: '21000', message: 'more than one row returned by a subquery' } as const,
      { kind: 'error', code: 'P0002', message: 'query returned no rows' } as const,
      { kind: 'error', code: '22012', message: 'division by zero' } as const,
    ])
      assert.equal(short(outcome), 'unknown, logged', JSON.stringify(outcome))
  })

  it('says that the query is broken where that holds for everybody', () => {
    for (const columns of [0, 1, 4]) assert.equal(short({ kind: 'rows', columns, rows: [] }), '58000, logged')
    assert.equal(short(rows(['ann'])), '58000, logged')
    assert.equal(short({ kind: 'error', code: '42501', message: 'permission denied' }), '58000, logged')
    assert.equal(short({ kind: 'busy' }), '53300, logged')
  })

  it('tells nobody which databases exist, unless the configuration names the one in which is asked', () => {
    const refused = (code: string): QueryOutcome => ({ kind: 'lost', code, message: '', isRefused: true })
    const own = { user: 'ann', isClientsDatabase: false }
    assert.equal(short(refused('3D000')), 'unknown')
    assert.equal(short(refused('55000')), 'unknown')
    assert.equal(short(refused('3D000'), own), '08001')
    assert.equal(short(refused('28P01')), '08001')
    assert.equal(
      short({ kind: 'lost', code: '08001', message: 'refused', isRefused: false }),
      '08001, logged',
    )
  })
})
