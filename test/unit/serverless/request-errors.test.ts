// What goes wrong in the pooler itself while it answers a request is told as 500, reported once, and harms
// nothing else: no exception and no rejection gets out, and the place in the house is given back.
import assert from 'node:assert/strict'
import { beforeEach, it } from 'node:test'
import type { ServerlessConfig } from '../../../src/config/types.ts'
import { Counters } from '../../../src/observe/counters.ts'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import type { RequestHouse } from '../../../src/serverless/http/request.ts'
import { SqlDoor } from '../../../src/serverless/http/sql-door.ts'
import type { Admitted, Logins } from '../../../src/serverless/types.ts'
import { Prng } from '../../support/prng.ts'
import { SimRequest } from '../../simulation/sim-request.ts'

const CONFIG = { maxRequest: 10_000, maxQueries: 10, maxResponse: 0, streamFrom: 1e6, queryTimeoutMs: 0 }
const SILENT = { debug() {}, info() {}, warn() {}, error() {}, enabled: () => false, child: () => SILENT }
const reported: string[] = []
setHandlerErrorReporter((error, where) => void reported.push(`${where}: ${error.message}`))
beforeEach(() => void reported.splice(0))

/** A house in which nothing is looked up but a few limits. */
const house = {
  time: { now: 1 },
  limits: { addAddress: false, writeTimeoutMs: 0 },
  isDraining: false,
  counters: new Counters(),
} as unknown as RequestHouse

function broken(login: Logins['login']): Promise<SimRequest> {
  const door = new SqlDoor({
    house,
    logins: { login },
    log: SILENT,
    config: () => CONFIG as ServerlessConfig,
  })
  const steps = [{ query: 'select 1', params: [], rows: null }]
  const script = { id: 'c1', parameters: '', isBatch: false, steps, fails: '', inserts: [] }
  return new Promise((resolve) => {
    const world = { after: (_ms: number, run: () => void) => void setImmediate(run), door }
    const request = new SimRequest(script, { random: new Prng(1), goesAfter: 0, pauses: 0 }, world)
    request.on('close', () => resolve(request))
    request.start()
  })
}

/** Whoever looks at the pool of this one finds an error of ours. */
function brokenPlace(left: string[]): Admitted {
  return {
    get access(): Admitted['access'] {
      throw new Error('a bug')
    },
    visitor: { address: '', user: 'u', database: 'd' },
    claims: null,
    leave: () => void left.push('left'),
  }
}

it('in the login', async () => {
  const { status, told } = await broken(() => Promise.reject(new Error('a bug')))
  assert.deepEqual([status, told?.message, reported], [500, 'internal error', ['a request over HTTP: a bug']])
})

it('behind a login that took its time, and behind one that was quick', async () => {
  for (const login of [(place: Admitted) => place, (place: Admitted) => Promise.resolve(place)]) {
    const left: string[] = []
    const { status, told } = await broken(() => login(brokenPlace(left)))
    assert.deepEqual([status, told?.message, left], [500, 'internal error', ['left']])
  }
  assert.deepEqual(reported, ['a request over HTTP: a bug', 'a request over HTTP: a bug'])
})
