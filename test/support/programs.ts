// Owns: running other people's programs (psql, pgbench, our own command) in tests, and whether they are
// there. Must never leave one running: each has a time limit and ends with its test.
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, resolve } from 'node:path'

/** What a program did. */
export interface Outcome {
  /** Exit code; null where a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string>
  /** Text for its standard input; without it the input is empty. */
  input?: string
  cwd?: string
  /** ms until it is killed (default 60 s). */
  limit?: number
  /** Called with the process once it runs, and with each piece of its output. */
  onStart?: (child: ChildProcess) => void
  onOutput?: (piece: Buffer) => void
  /** Output is only handed to `onOutput`, not kept. */
  discard?: boolean
}

/** Full name of a program on the PATH (or of the one named in full), or null. */
export function findProgram(name: string): string | null {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = resolve(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this folder.
    }
  }
  return null
}

/** Runs a program to its end. Resolves whatever its exit code is. @throws where it cannot be started */
export function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const { env = {}, input = '', cwd, limit = 60_000 } = options
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    const timer = setTimeout(() => child.kill('SIGKILL'), limit)
    child.stdout.on('data', (piece: Buffer) => {
      if (options.discard !== true) stdout.push(piece)
      options.onOutput?.(piece)
    })
    child.stderr.on('data', (piece: Buffer) => stderr.push(piece))
    // A program that ends without reading its input breaks the pipe; its exit code tells.
    child.stdin.on('error', () => {})
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const text = (pieces: Buffer[]) => Buffer.concat(pieces).toString('utf8')
      resolve({ code, signal, stdout: text(stdout), stderr: text(stderr) })
    })
    child.once('spawn', () => options.onStart?.(child))
    child.stdin.end(input)
  })
}
