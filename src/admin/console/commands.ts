// The table of all commands of the console, and of those that PgBouncer has and pgmux has not. A command
// comes with the role that it needs; who runs one asks this table.
import { columns } from './columns.ts'
import { CONTROL_COMMANDS } from './control.ts'
import { CONNECTION_COMMANDS } from './show-connections.ts'
import { HOST_COMMANDS } from './show-hosts.ts'
import { PIN_COMMANDS } from './show-pins.ts'
import { POOL_COMMANDS } from './show-pools.ts'
import { PROCESS_COMMANDS } from './show-process.ts'
import { STATEMENT_COMMANDS } from './show-statements.ts'
import { STATS_COMMANDS } from './show-stats.ts'
import { TROUBLE_COMMANDS } from './show-troubles.ts'
import { WAIT_COMMANDS } from './show-waits.ts'
import type { Command } from './types.ts'

const HELP: Command = {
  name: 'SHOW HELP',
  role: 'stats',
  takes: 'nothing',
  help: 'This table',
  columns: columns('text: command role help'),
  rows: () => COMMANDS.map(({ name, role, help }) => [name, role, help]),
}

/** What gives rows can be told which. */
export const SHOWS: readonly Command[] = [
  HELP,
  ...PROCESS_COMMANDS,
  ...POOL_COMMANDS,
  ...CONNECTION_COMMANDS,
  ...HOST_COMMANDS,
  ...WAIT_COMMANDS,
  ...PIN_COMMANDS,
  ...TROUBLE_COMMANDS,
  ...STATEMENT_COMMANDS,
  ...STATS_COMMANDS,
].map((command) => ({ ...command, takes: 'filters' as const }))

export const COMMANDS: readonly Command[] = [...SHOWS, ...CONTROL_COMMANDS]

/** Known elsewhere, refused here: the name, and what to do instead. */
export const NOT_BUILT: readonly (readonly [name: string, instead: string])[] = [
  ['SHOW FDS', 'It shows secrets. Start a second pgmux on the same machine to take over.'],
]
