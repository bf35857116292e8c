// A hundred wrong passwords a second over HTTP and WebSocket, and the good traffic that they must not hurt.
// The pooler has a process of its own. Times are judged in the long run only.
import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import { after, test } from 'node:test'
import { urlOf } from '../support/neon.ts'
import { startPoolerProcess } from '../support/pooler-process.ts'
import { getPostgres } from '../support/postgres.ts'
import { freePort } from '../support/program.ts'
import { ask, inOpenLoop, wrongPasswords } from '../support/wrong-passwords.ts'

const PER_SECOND = 100
const GOOD_PER_SECOND = 200
const IS_LONG = process.env.LONG === '1'
const ROUNDS = IS_LONG ? 10 : 1
const ROUND_MS = IS_LONG ? 5000 : 1000
const FACTOR = 1.25

const postgres = await getPostgres()

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
    after(() => agent.destroy())
    const own = urlOf(postgres)
    const good = async (): Promise<number> => {
      const times = await inOpenLoop({ perSecond: GOOD_PER_SECOND, ms: ROUND_MS }, async () => {
        const from = performance.now()
        assert.equal(await ask(port, agent, own), 200)
        return performance.now() - from
      })
      return p99(times)
    }
    const { user, database } = postgres
    const storm = { port, user, database, perSecond: PER_SECOND, ms: ROUND_MS }
    await good()
    const [quiet, busy]: [number[], number[]] = [[], []]
    const seen = new Set<string>()
    let [calm, wild] = [0, 0]
    for (let round = 0; round < ROUNDS; round++) {
      const start = await pooler.cpu()
      quiet.push(await good())
      const middle = await pooler.cpu()
      const [during, answers] = await Promise.all([good(), wrongPasswords(storm)])
      busy.push(during)
      for (const answer of Object.keys(answers)) seen.add(answer)
      calm += middle - start
      wild += (await pooler.cpu()) - middle
    }
    const expected = failureRate === 0 ? ['28P01', '400'] : ['28P01', '400', '429', '53300']
    for (const answer of seen) assert.ok(expected.includes(answer), answer)
    if (failureRate > 0) assert.ok(seen.has('429') && seen.has('53300'), [...seen].join())
    const shown = (values: readonly number[]): string => values.map((value) => value.toFixed(1)).join(' ')
    const share = (ms: number): string => `${((100 * ms) / (ROUNDS * ROUND_MS)).toFixed(1)} %`
    t.diagnostic(`p99 in ms: quiet ${shown(quiet)}; storm ${shown(busy)}`)
    t.diagnostic(`processor of the pooler: quiet ${share(calm)}, storm ${share(wild)}`)
    const [before, during] = [median(quiet), median(busy)]
    const figures = `p99 ${before.toFixed(1)} ms before, ${during.toFixed(1)} ms during`
    t.diagnostic(figures)
    if (IS_LONG && failureRate > 0) assert.ok(during <= FACTOR * before, figures)
  })
}
