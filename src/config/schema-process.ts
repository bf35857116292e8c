// The sections of config.yaml about the process itself: its admin port and log, the Postgres that it may
// start, and its end. Part of schema.ts, with the same rules: shape only.
import { boolean, choice, duration, filledText, option, port, section, text } from './leaves.ts'

export const embedded = section({
  data_dir: option(filledText, './.pgmux/postgres', 'Folder of the embedded Postgres'),
  ephemeral: option(boolean, false, 'Use a new folder and remove it at the end'),
})

export const shutdown = section({
  timeout: option(duration, '25s', 'Time for open transactions to end after SIGTERM; 0: no limit'),
  delay: option(duration, '0', 'Time after SIGTERM in which only /readyz says so; clients come in as before'),
})

export const admin = section({
  host: option(filledText, '127.0.0.1', 'Address of the admin HTTP server; `off`: none'),
  port: option(port, 6490, 'Its port'),
  users: option(
    text,
    '',
    'Users who may do everything in the console (database `pgmux`), with commas between them',
  ),
  stats_users: option(text, '', 'Users who may look at everything there, and change nothing'),
  dashboard: option(
    choice('auto', 'password', 'off'),
    'auto',
    'A page at the admin port; auto: who is on this machine may look without a password',
  ),
})

export const log = section({
  level: option(choice('debug', 'info', 'warn', 'error'), 'info', 'Least important lines that are logged'),
  format: option(choice('auto', 'pretty', 'json'), 'auto', 'auto: pretty on a terminal, else json'),
  connections: option(boolean, false, 'A line for each client that comes, at level info'),
  disconnections: option(boolean, false, 'A line for each client that goes, with reason and age'),
  stats_period: option(duration, '1m', 'A line of averages that often, while there is traffic; 0: never'),
})
