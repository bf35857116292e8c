// The sections of config.yaml about the process itself: the Postgres that it may start, and its end. Part of
// schema.ts, with the same rules: shape only.
import { boolean, duration, filledText, option, section } from './leaves.ts'

export const embedded = section({
  data_dir: option(filledText, './.pgmux/postgres', 'Folder of the embedded Postgres'),
  ephemeral: option(boolean, false, 'Use a new folder and remove it at the end'),
})

export const shutdown = section({
  timeout: option(duration, '25s', 'Time for open transactions to end after SIGTERM; 0: no limit'),
  delay: option(duration, '0', 'Time after SIGTERM in which only /readyz says so; clients come in as before'),
})
