// The command line: arguments, signals, exit codes, and what is printed. It owns the life of the process; the
// pooler itself is in pooler.ts.
import { check } from './cli/check.ts'
import { importFile } from './cli/import.ts'
import { HELP, parseArguments, UsageError } from './cli/arguments.ts'
import { run } from './cli/run.ts'
import { status } from './cli/status.ts'
import { top } from './cli/top.ts'
import { tunnel } from './cli/tunnel.ts'
import { ConfigError } from './config/load.ts'
import { ImportError } from './config/import/import.ts'
import { version } from './util/version.ts'

/** Time for the last lines to be written. */
const LAST_LINES_MS = 1000

// Whoever reads what we print may stop to, and its disk may be full: no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

async function main(): Promise<void> {
  const given = parseArguments(process.argv.slice(2))
  if (given.command === 'help') process.stdout.write(HELP)
  else if (given.command === 'version') process.stdout.write(`pgmux ${version()}\n`)
  else if (given.command === 'check') process.exitCode = await check(given)
  else if (given.command === 'import') process.exitCode = importFile(given.target)
  else if (given.command === 'status') process.exitCode = await status(given)
  else if (given.command === 'top') process.exitCode = await top(given)
  else if (given.command === 'tunnel') process.exitCode = await tunnel(given)
  else process.exitCode = await run(given)
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
