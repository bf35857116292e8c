// The command line: arguments, signals, exit codes, and what is printed. It owns the life of the process; the
// pooler itself is in pooler.ts.
import { type Arguments, HELP, parseArguments, UsageError } from './cli/arguments.ts'
import { ConfigError } from './config/problems.ts'
import { ImportError } from './config/import/ini.ts'
import { version } from './util/version.ts'

/** Time for the last lines to be written. */
const LAST_LINES_MS = 1000

// Whoever reads what we print may stop to, and its disk may be full: no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

/** @returns the exit code. Loads what the command needs and nothing else. */
async function command(given: Arguments): Promise<number> {
  switch (given.command) {
    case 'check':
      return (await import('./cli/check.ts')).check(given)
    case 'import':
      return (await import('./cli/import.ts')).importFile(given.target)
    case 'status':
      return (await import('./cli/status.ts')).status(given)
    case 'top':
      return (await import('./cli/top.ts')).top(given)
    case 'tunnel':
      return (await import('./cli/tunnel.ts')).tunnel(given)
    default:
      return (await import('./cli/run.ts')).run(given)
  }
}

async function main(): Promise<void> {
  const given = parseArguments(process.argv.slice(2))
  if (given.command === 'help') process.stdout.write(HELP)
  else if (given.command === 'version') process.stdout.write(`pgmux ${version()}\n`)
  else process.exitCode = await command(given)
}

main().then(
  () => {
    if (process.exitCode !== undefined && process.exitCode !== 0) process.exit()
    // Lines of the log that nobody takes would keep the process.
    setTimeout(() => process.exit(), LAST_LINES_MS).unref()
  },
  (error: Error) => {
    if (error instanceof UsageError) {
      process.stderr.write(`pgmux: ${error.message}\nTry: pgmux --help\n`)
      process.exit(2)
    }
    // One clear sentence (or one a problem); a stack trace is for what we did not foresee.
    const isForeseen =
      error instanceof ConfigError ||
      error instanceof ImportError ||
      'code' in error ||
      error.name !== 'Error'
    process.stderr.write(`pgmux: ${isForeseen ? error.message : (error.stack ?? error.message)}\n`)
    process.exit(1)
  },
)
