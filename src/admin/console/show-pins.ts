// SHOW PINS: clients that keep a server beyond their transactions, a row for each reason. Reads; changes
// nothing.
import type { Value } from '../../wire/rows.ts'
import { columns, instant } from './columns.ts'
import { idOf } from './ids.ts'
import type { Command, Operator } from './types.ts'

function pins({ source }: Operator): Value[][] {
  const { now } = source.time
  const rows: Value[][] = []
  for (const { pins: pool } of source.router.entries()) {
    for (const session of pool.held) {
      const { holder } = session
      if (holder === null) continue
      const { database, user, address } = holder.visitor
      for (const { reason, statement, since } of session.all()) {
        const age = Math.round((now - since) / 1000)
        rows.push([
          database,
          user,
          reason,
          statement,
          instant(since, now),
          age,
          address || 'unix',
          idOf(holder),
        ])
      }
    }
  }
  return rows
}

export const PIN_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW PINS',
    role: 'stats',
    takes: 'nothing',
    help: 'Clients that keep a server, why and since when',
    columns: columns('text: database user reason statement since, int4: age, text: addr id'),
    rows: pins,
  },
]
