// The arguments of the command line and what is said about them. It reads nothing but its argument.
import { parseArgs } from 'node:util'
import type { Flags } from '../config/load.ts'

export const HELP = `pgmux: a connection multiplexer for Postgres

  pgmux [run] [options]      run the pooler; without an upstream, in front of a Postgres of its own
  pgmux import FILE.ini      write a pgbouncer.ini, and what it names, as config.yaml to standard output
  pgmux check [options]      check the configuration; with --connect also log in to Postgres
  pgmux status [URL]         how a running pgmux is, from its console: that of the configuration, or of a URL
                             (postgres://user:password@host:6432/pgmux); --json for programs
  pgmux top [URL]            the same live in the terminal: pools, waits, statements, clients, servers
  pgmux tunnel URL           let psql and other programs in through the WebSocket endpoint of a pgmux, for
                             example ws://127.0.0.1:6480/v2; they connect to --listen (127.0.0.1:5433)

Options
  --config FILE              configuration (YAML); every option is in config.yaml
  --upstream URL             postgres://user:password@host:port/db  (also DATABASE_URL)
  --listen HOST:PORT         where clients connect (127.0.0.1:6432)
  --mode MODE                transaction, session or statement
  --pool-size N              servers for each database and user (20)
  --workers N                processes that share the work (1)
  --serverless HOST:PORT|off where WebSocket and HTTP clients connect (127.0.0.1:6480)
  --admin HOST:PORT|off      metrics and health (127.0.0.1:6490)
  --log-level LEVEL          debug, info, warn or error
  --log-format FORMAT        pretty or json
  --ephemeral                the Postgres of its own keeps nothing
  --connect                  with check: log in to Postgres and compare pool sizes with max_connections
  --json                     with status: everything, as JSON
  --allow-remote             with tunnel: --listen may be an address that other machines reach
  --help, --version

Signals: TERM and INT finish open transactions, then stop; a second one, or QUIT, stops now.
`

/** Something on the command line that is not understood. */
export class UsageError extends Error {}

export interface Arguments {
  readonly command: Command | 'help' | 'version'
  readonly flags: Flags
  readonly connect: boolean
  /** Of `status`. */
  readonly json: boolean
  /** The URL of `tunnel`, `status` and `top`, the file of `import`; '' where there is none. */
  readonly target: string
  readonly allowRemote: boolean
}

const OPTIONS = {
  config: { type: 'string' },
  upstream: { type: 'string' },
  listen: { type: 'string' },
  mode: { type: 'string' },
  'pool-size': { type: 'string' },
  workers: { type: 'string' },
  serverless: { type: 'string' },
  admin: { type: 'string' },
  'log-level': { type: 'string' },
  'log-format': { type: 'string' },
  ephemeral: { type: 'boolean' },
  connect: { type: 'boolean' },
  json: { type: 'boolean' },
  'allow-remote': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

/** Arguments that are no options of the configuration. */
const OWN = ['connect', 'json', 'allow-remote', 'help', 'version']

/** @throws UsageError in words that name the argument. */
export function parseArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parsed(args)
  const command = commandOf(positionals)
  if (values.connect === true && command !== 'check')
    throw new UsageError('--connect belongs to the command check')
  if (values.json === true && command !== 'status')
    throw new UsageError('--json belongs to the command status')
  if (values['allow-remote'] === true && command !== 'tunnel')
    throw new UsageError('--allow-remote belongs to the command tunnel')
  const flags: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || OWN.includes(name)) continue
    if (command === 'import' || (command === 'tunnel' && name !== 'listen'))
      throw new UsageError(`--${name} does not belong to the command ${command}`)
    flags[name.replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase())] = value
  }
  const asked = values.help === true ? 'help' : values.version === true ? 'version' : command
  if (asked === 'import' && positionals[1] === undefined)
    throw new UsageError('import needs the name of a pgbouncer.ini')
  return {
    command: asked,
    flags: flags as Flags,
    connect: values.connect === true,
    json: values.json === true,
    target: positionals[1] ?? '',
    allowRemote: values['allow-remote'] === true,
  }
}

type Command = 'run' | 'check' | 'tunnel' | 'import' | 'status' | 'top'

const COMMANDS: readonly Command[] = ['run', 'check', 'tunnel', 'import', 'status', 'top']
const TAKING_TARGET: readonly Command[] = ['tunnel', 'import', 'status', 'top']

function commandOf([name = 'run', ...more]: readonly string[]): Command {
  const command = COMMANDS.find((known) => known === name)
  if (command === undefined)
    throw new UsageError(
      `"${name}" is no command; there are ${COMMANDS.slice(0, -1).join(', ')} and ${COMMANDS.at(-1)}`,
    )
  const extra = more[TAKING_TARGET.includes(command) ? 1 : 0]
  if (extra !== undefined) throw new UsageError(`"${extra}" is one argument too many`)
  if (command === 'import' && more.length === 0)
    throw new UsageError('import needs the name of a pgbouncer.ini')
  return command
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0])
  }
}
