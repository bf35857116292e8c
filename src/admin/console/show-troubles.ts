// SHOW ERRORS, RECENT_ERRORS, LEAKS: what went wrong since the start, and the last of it one by one. Reads;
// changes nothing.
import type { Value } from '../../wire/rows.ts'
import { columns, instant } from './columns.ts'
import type { Command, Operator } from './types.ts'

function errors({ source }: Operator): Value[][] {
  const { now } = source.time
  return source.troubles
    .kinds()
    .map(({ code, reason, count, firstAt, last }) => [
      ...[reason, code, count, instant(firstAt, now), instant(last.at, now), seconds(now - last.at)],
      ...[last.message, last.database, last.user, last.address],
    ])
}

function recent({ source }: Operator): Value[][] {
  const { now } = source.time
  return source.troubles
    .recent()
    .map(({ at, reason, code, message, database, user, address }) => [
      ...[instant(at, now), seconds(now - at), reason, code, message, database, user, address],
    ])
}

function leaks({ source }: Operator): Value[][] {
  const { now } = source.time
  return source.troubles
    .leaks()
    .map(({ at, database, user, pid, what, after }) => [
      ...[instant(at, now), seconds(now - at), database, user, pid, what, after],
    ])
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000))
}

type Row = Pick<Command, 'name' | 'help' | 'columns' | 'rows'>

const ROWS: readonly Row[] = [
  {
    name: 'SHOW ERRORS',
    help: 'Errors that pgmux made, by reason, with the last of each',
    columns: columns(
      'text: reason sqlstate, int8: count, text: first_time last_time, int8: age, ' +
        'text: last_message last_database last_user last_addr',
    ),
    rows: errors,
  },
  {
    name: 'SHOW RECENT_ERRORS',
    help: 'The last 100 of them, the newest first',
    columns: columns('text: time, int8: age, text: reason sqlstate message database user addr'),
    rows: recent,
  },
  {
    name: 'SHOW LEAKS',
    help: 'What idle servers had left of a session: always empty, or report it',
    columns: columns('text: time, int8: age, text: database user, int4: remote_pid, text: what after'),
    rows: leaks,
  },
]

export const TROUBLE_COMMANDS: readonly Command[] = ROWS.map((row) => ({
  ...row,
  role: 'stats' as const,
  takes: 'nothing' as const,
}))
