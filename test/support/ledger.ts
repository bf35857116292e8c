// Owns: the table in which applications write, and the check of what stands there. Must never forgive a row:
// each is one that somebody asked for, and is there once.
import assert from 'node:assert/strict'
import type { Application } from './applications.ts'

export const CREATE_LEDGER = 'create table ledger (client int, nonce int, via text)'
export const READ_LEDGER = 'select client, nonce, count(*)::int as times from ledger group by 1, 2'

/**
 * What was acknowledged is there once, what is in doubt is there once or never, what was left half is not
 * there.
 * @param rows as READ_LEDGER gives them
 */
export function assertLedger(
  apps: readonly Pick<Application, 'number' | 'acknowledged' | 'doubtful'>[],
  rows: readonly Record<string, unknown>[],
): void {
  const present = new Map(rows.map(({ client, nonce, times }) => [`${client}:${nonce}`, Number(times)]))
  for (const { number, acknowledged, doubtful } of apps) {
    for (const nonce of acknowledged)
      assert.equal(present.get(`${number}:${nonce}`), 1, `insert ${nonce} of client ${number}`)
    for (const nonce of doubtful) {
      const key = `${number}:${nonce}`
      assert.equal(present.get(key) ?? 1, 1, `insert ${nonce} of client ${number}, which was in doubt`)
      present.delete(key)
    }
  }
  assert.deepEqual([...present.keys()], [], 'rows that nobody was promised')
}
