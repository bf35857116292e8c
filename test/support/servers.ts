// Owns: HTTP servers of other people as processes of a test: started, waited for, stopped. Must never outlive
// the test file.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after } from 'node:test'
import { until } from './waits.ts'

export interface Server {
  readonly origin: string
  stop(): Promise<void>
}

/** Starts a program that listens on `port` of loopback, and resolves when it does. */
export async function startServer(given: {
  readonly program: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly port: number
}): Promise<Server> {
  const { program, args, env, port } = given
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  after(() => child.kill('SIGKILL'))
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => {
      said += piece.toString()
    })
  }
  let state = 'it does not listen'
  child.once('error', (error) => {
    state = error.message
  })
  child.once('exit', (code) => {
    state = `it ended with ${code}`
  })
  await until(
    async () => child.exitCode !== null || (await listens(port)),
    () => `${program}: ${state}: ${said}`,
  )
  if (child.exitCode !== null) throw new Error(`${program}: ${state}: ${said}`)
  return {
    origin: `http://127.0.0.1:${port}`,
    async stop() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
