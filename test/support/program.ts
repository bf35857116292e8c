// Owns: pgmux as a process of its own, started as its users start it. Must never outlive the test.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { assertNoneOut, isSecret, lookThrough } from './known-secrets.ts'
import { type ClientOptions, WireClient } from './wire-client.ts'

/** A free port: asked for, given back, and used at once. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

export class Program {
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  /** What it has printed and logged so far. */
  readonly lines: string[] = []
  readonly #password: string
  #url = ''

  private constructor(child: ChildProcess, password: string) {
    this.child = child
    this.#password = password
    this.exit = once(child, 'exit').then(([code]) => code as number | null)
  }

  /**
   * Starts pgmux and resolves when it prints how to connect.
   * @param password for its clients, where it does not print one
   */
  static async start(args: string[], password: string): Promise<Program> {
    const bin = fileURLToPath(new URL('../../bin/pgmux.js', import.meta.url))
    const { DATABASE_URL: _, ...env } = process.env
    const listen = ['--listen', `127.0.0.1:${await freePort()}`, '--admin', 'off', '--serverless', 'off']
    // All that it could say, so that it is seen to hold no secret.
    const log = ['--log-format', 'json', '--log-level', 'debug']
    const child = spawn(process.execPath, [bin, 'run', ...listen, ...log, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    })
    const program = new Program(child, password)
    child.stderr?.pipe(process.stderr, { end: false })
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) =>
      lookThrough('standard error', line),
    )
    isSecret('a password of pgmux run', password)
    after(() => {
      child.kill('SIGKILL')
      assertNoneOut()
    })
    const ready = new Promise<void>((resolve) => {
      const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
      lines.on('close', resolve)
      lines.on('line', (line) => {
        program.lines.push(line)
        // It says how to connect to a Postgres of its own, with the password. Nothing else may.
        if (!line.includes('pgmux connect: ')) lookThrough('the log of pgmux run', line)
        const url = /pgmux connect: (\S+)/.exec(line)?.[1]
        if (url === undefined) return
        program.#url = url
        isSecret('the password of the URL', decodeURIComponent(new URL(url).password))
        resolve()
      })
    })
    await ready
    assert.notEqual(program.#url, '', 'it says how to connect')
    return program
  }

  client(extra: ClientOptions = {}): Promise<WireClient> {
    const { hostname, port, username, password, pathname } = new URL(this.#url)
    return WireClient.connect({
      host: hostname,
      port: Number(port),
      user: username,
      password: password === '' ? this.#password : decodeURIComponent(password),
      database: pathname.slice(1),
      ...extra,
    })
  }
}
