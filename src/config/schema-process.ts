// The sections of config.yaml about the process itself: its admin port and log, where its traces
// go, the Postgres that it may start, and its end. Part of schema.ts, with the same rules: shape only.
import {
  boolean,
  choice,
  duration,
  filledText,
  option,
  port,
  secretText,
  section,
  share,
  text,
} from './leaves.ts'

export const tracing = section({
  endpoint: option(
    text,
    '',
    'Where traces go: URL of an OpenTelemetry collector (OTLP over HTTP); empty: off',
  ),
  sample: option(
    share,
    0.01,
    'Share of the exchanges traced whose statement has no `traceparent` in a comment',
  ),
  service_name: option(filledText, 'pgmux', 'What traces call this service'),
  headers: option(
    secretText,
    '',
    'HTTP headers for the collector, as `name=value`, with commas between them',
  ),
  headers_file: option(text, '', 'File that holds these headers'),
})

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
