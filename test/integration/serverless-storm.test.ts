// A hundred wrong passwords a second over HTTP and WebSocket, and the good traffic that they must not hurt.
// The pooler has a process of its own. Times are judged in the long run only.
import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { knock } from '../support/knock.ts'
import { urlOf } from '../support/neon.ts'
import { startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { freePort } from '../support/program.ts'

const PER_SECOND = 100
const GOOD_PER_SECOND = 200
const IS_LONG = process.env.LONG === '1'
const ROUNDS = IS_LONG ? 8 : 1
const ROUND_MS = IS_LONG ? 5000 : 1000
/** What a quarter is of. Below it the clock of the machine says more than the pooler. */
const FACTOR = 1.25

const postgres = await getPostgres()

/** Calls `begin` that often for that long, and waits for what it began. */
async function inOpenLoop<T>(perSecond: number, begin: (n: number) => Promise<T>): Promise<T[]> {
  const count = (perSecond * ROUND_MS) / 1000
  const from = performance.now()
  const begun: Promise<T>[] = []
  while (begun.length < count) {
    const due = Math.min(count, ((performance.now() - from) / 1000) * perSecond)
    while (begun.length < due) begun.push(begin(begun.length))
    await pause(1)
  }
  return Promise.all(begun)
}

function ask(port: number, agent: Agent, url: string): Promise<number> {
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

const p99 = (times: readonly number[]): number =>
  times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

for (const failureRate of [5, 0]) {
  const limit = failureRate === 0 ? 'none of them limited' : 'limited as by default'
  test(`100 wrong passwords a second, ${limit}`, async (t) => {
    const port = await freePort()
    const pooler = await startPoolerProcess(postgres.url, {
      serverless: { host: '127.0.0.1', port, failureRate },
    })
    after(() => pooler.stop())
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const strangers = new Agent({ keepAlive: true, maxSockets: 8 })
    after(() => {
      agent.destroy()
      strangers.destroy()
    })
    const own = urlOf(postgres)
    const good = async (): Promise<number[]> =>
      inOpenLoop(GOOD_PER_SECOND, async () => {
        const from = performance.now()
        assert.equal(await ask(port, agent, own), 200)
        return performance.now() - from
      })
    let guesses = 0
    const storm = (): Promise<(number | string)[]> =>
      inOpenLoop(PER_SECOND, async (n): Promise<number | string> => {
        const username = n % 4 < 2 ? postgres.user : `nobody-${n}`
        const password = `guess-${guesses++}`
        if (n % 2 === 0) return ask(port, strangers, urlOf(postgres, { username, password }))
        const parameters = [['user', username]] as const
        return (await knock({ endpoint: `127.0.0.1:${port}`, parameters, password })).code
      })
    await good()
    const [quiet, busy]: [number[], number[]] = [[], []]
    const answers = new Set<number | string>()
    for (let round = 0; round < ROUNDS; round++) {
      quiet.push(p99(await good()))
      const [times, told] = await Promise.all([good(), storm()])
      busy.push(p99(times))
      for (const answer of told) answers.add(answer)
    }
    const expected = failureRate === 0 ? [400, '28P01'] : [400, 429, '28P01', '53300']
    for (const answer of answers) assert.ok(expected.includes(answer), String(answer))
    if (failureRate > 0) assert.ok(answers.has(429) && answers.has('53300'), [...answers].join())
    const [before, during] = [median(quiet), median(busy)]
    const shown = (values: readonly number[]): string => values.map((value) => value.toFixed(2)).join(' ')
    t.diagnostic(`p99 in ms: quiet ${shown(quiet)}; storm ${shown(busy)}`)
    t.diagnostic(`median ${before.toFixed(2)} before, ${during.toFixed(2)} during`)
    if (IS_LONG && failureRate > 0) assert.ok(during <= FACTOR * before, `${during} ms, ${before} ms before`)
  })
}
