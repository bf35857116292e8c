// Connections without a socket of Node's, driven at random from both ends: writes of all sizes, pauses, ends,
// half-closes, destroys, resets, TLS in the middle. Whatever happens, what came is the beginning of what was
// sent, all of it where both ends were orderly, and each stream is told once that it is over.
//
//   SEED=17 node --test test/unit/net/plain-socket-random.test.ts    one seed
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { Prng } from '../../support/prng.ts'
import { CERT, clientTls, realPairs, secured } from './pairs.ts'
import { serverTls } from '../../../src/net/tls-server.ts'
import { mixedPairs } from './mixed-pairs.ts'
import { type End, Mine, Side } from './random-side.ts'

const SEEDS = Number(process.env.SEEDS ?? 60)
const ONE = process.env.SEED === undefined ? null : Number(process.env.SEED)
const HANG_MS = 9000
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

const errors: string[] = []
setHandlerErrorReporter((error, where) => void errors.push(`${where}: ${error.message}`))
after(() => assert.deepEqual(errors, []))

type Connect = () => Promise<[End, End]>

async function run(connect: Connect, seed: number, upgrade: boolean): Promise<void> {
  const random = new Prng(seed)
  const [one, other] = await connect()
  const left = new Side(one, random.fork())
  const right = new Side(other, random.fork())
  left.join(right)
  if (upgrade) {
    await converse(left, right, random)
    left.isQuiet = right.isQuiet = true
    while (!left.hasAll || !right.hasAll) await turn()
    const [a, b] = [(one as Mine).stream, (other as Mine).stream]
    await Promise.all([secured(b, serverTls(CERT), null), secured(a, clientTls('localhost'), null)])
    left.isQuiet = right.isQuiet = false
  }
  await converse(left, right, random)
  const first = random.chance(0.5) ? left : right
  first.finish()
  if (random.chance(0.6)) first.other.finish()
  else first.other.followsEnd = true
  await within(Promise.all([left.over, right.over]), `seed ${seed}: ${left.words()}; ${right.words()}`)
  await turn()
  for (const side of [left, right]) side.check()
}

/** Both say and do things for a while, at the same time. */
async function converse(left: Side, right: Side, random: Prng): Promise<void> {
  for (let steps = random.between(1, 30); steps > 0; steps--) {
    random.pick([left, right]).act()
    if (random.chance(0.5)) await turn()
  }
}

async function within(done: Promise<unknown>, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), HANG_MS)
  })
  await Promise.race([done, late]).finally(() => clearTimeout(timer))
}

const ours = (kind: 'tcp' | 'unix'): Connect => {
  const connect = realPairs(kind)
  return async () => {
    const { a, b } = await connect()
    return [new Mine(a), new Mine(b)]
  }
}

const KINDS: readonly [name: string, connect: Connect, upgrade: boolean][] = [
  ['dialed and accepted, tcp', ours('tcp'), false],
  ['dialed and accepted, unix', ours('unix'), false],
  ['turned to TLS in the middle', ours('tcp'), true],
  ['accepted, from a socket of Node', mixedPairs('accepted'), false],
  ['dialed, to a socket of Node', mixedPairs('dialed'), false],
]

describe('a connection that is driven at random', () => {
  for (const [name, connect, upgrade] of KINDS) {
    it(name, async () => {
      if (ONE !== null) await run(connect, ONE, upgrade)
      else for (let seed = 1; seed <= SEEDS; seed++) await run(connect, seed, upgrade)
    })
  }
})
