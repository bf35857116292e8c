// Owns: wrong passwords at a fixed rate, over HTTP and WebSocket in turns, in a thread of its own, so that
// what they cost their sender does not hold up the one who measures. Must never know a right password.
import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { knock } from './knock.ts'

export interface Storm {
  readonly port: number
  /** Of half of the attempts; the others name users who do not exist. */
  readonly user: string
  readonly database: string
  readonly perSecond: number
  readonly ms: number
}

/** Answers, by status (HTTP) or SQLSTATE (WebSocket), and how often each came. */
export type Answers = Readonly<Record<string, number>>

/** Sends them. Resolves when all are answered. */
export async function wrongPasswords(storm: Storm): Promise<Answers> {
  const worker = new Worker(new URL(import.meta.url), { workerData: storm })
  const { promise, resolve, reject } = Promise.withResolvers<Answers>()
  worker.once('message', resolve)
  worker.once('error', reject)
  const answers = await promise
  await worker.terminate()
  return answers
}

/** One query over HTTP. @returns the status of its answer */
export function ask(port: number, agent: Agent, url: string): Promise<number> {
  const headers = { 'neon-connection-string': url }
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', method: 'POST', path: '/sql', agent, headers })
    asked.on('error', reject)
    asked.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    asked.end('{"query":"select 1"}')
  })
}

/** Calls `begin` that often for that long, and waits for what it began. */
export async function inOpenLoop<T>(
  { perSecond, ms }: Pick<Storm, 'perSecond' | 'ms'>,
  begin: (n: number) => Promise<T>,
): Promise<T[]> {
  const count = (perSecond * ms) / 1000
  const from = performance.now()
  const begun: Promise<T>[] = []
  while (begun.length < count) {
    const due = Math.min(count, ((performance.now() - from) / 1000) * perSecond)
    while (begun.length < due) begun.push(begin(begun.length))
    await pause(1)
  }
  return Promise.all(begun)
}

async function send(storm: Storm): Promise<Answers> {
  const { port, database } = storm
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  const guess = `guess-${Date.now()}`
  const answers: Record<string, number> = {}
  await inOpenLoop(storm, async (n) => {
    const user = n % 4 < 2 ? storm.user : `nobody-${n}`
    const password = `${guess}-${n}`
    const url = `postgres://${user}:${password}@h/${database}`
    const parameters = [
      ['user', user],
      ['database', database],
    ] as const
    const isHttp = n % 2 === 0
    const knocked = isHttp ? null : await knock({ endpoint: `127.0.0.1:${port}`, parameters, password })
    const answer = knocked?.code ?? String(await ask(port, agent, url))
    answers[answer] = (answers[answer] ?? 0) + 1
  })
  agent.destroy()
  return answers
}

if (parentPort !== null && workerData !== null) {
  const port = parentPort
  void send(workerData as Storm).then((answers) => port.postMessage(answers))
}
