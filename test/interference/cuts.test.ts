// The richest scripts as one string of bytes, in two pieces that are cut anywhere, with B between them:
// A is told what it is told where nobody cuts. With `LONG=1` at every byte.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { WireClient } from '../support/wire-client.ts'
import { type Ground, linesOf } from './actor.ts'
import { Arena } from './arena.ts'
import { readiesOf } from './batch.ts'
import { modeAt, wholeRequest } from './request.ts'
import { allScripts, type Script } from './script.ts'

const LONG = process.env.LONG === '1'
/** Not a divisor of anything: each script is cut at other places of its messages. */
const STRIDE = LONG ? 1 : 149

const RICH = [
  'transactions › savepoints in savepoints',
  'discard › DISCARD ALL takes everything',
  'prepare › DEALLOCATE and again',
  'roles › SET SESSION AUTHORIZATION',
  'temp › a temporary table hides the other one',
  'locks › taken twice, given back twice',
  'listen › savepoints',
  'protocol › two names',
]

/** Scripts that differ at some of the places, each with its reason; with `LONG=1` they have to. */
const NOT_YET: Readonly<Record<string, string>> = {
  'discard › DISCARD ALL takes everything':
    'behind a DISCARD ALL in the same write the channels that it has ended are brought to the server again',
}

const arena = await Arena.open()
const plain = await arena.side('direct', null)
const one = await arena.side('one', await arena.pooler({ pool: { mode: 'transaction', size: 1 } }))
const all = allScripts()

describe('pipelines cut in two, with somebody else between the pieces', () => {
  for (const name of RICH) {
    const script = all.find((candidate) => candidate.name === name) as Script
    it(name, async () => {
      let length = 0
      const differing: number[] = []
      const expected = await plain.withB(script, 'mixed', (ground) => {
        length = pipeline(script, ground).length
        return run(script, ground, [])
      })
      for (let cut = 1 + (script.at % STRIDE); cut < length; cut += STRIDE) {
        const told = await pooled(script, [cut])
        if (NOT_YET[name] === undefined) assert.deepEqual(told, expected, `cut at ${cut}`)
        else if (told.join() !== expected.join()) differing.push(cut)
      }
      const isOver = LONG && NOT_YET[name] !== undefined && differing.length === 0
      assert.ok(!isOver, 'it does not differ: take it off the list')
      const everywhere = Array.from({ length: length - 1 }, (_, index) => index + 1)
      assert.deepEqual(await pooled(script, everywhere), expected, 'cut everywhere')
    })
  }
})

/** All requests of a script. */
function pipeline(script: Script, { names }: Ground): Buffer {
  return Buffer.concat(
    script.steps.map((step, index) => {
      if (step.kind === 'peer') throw new Error('somebody else cannot act inside a pipeline')
      return wholeRequest(step, modeAt(script, index, 'mixed'), names)
    }),
  )
}

function readies({ steps }: Script): number {
  return steps.reduce((sum, step) => sum + (step.kind === 'batch' ? readiesOf(step.messages) : 1), 0)
}

function pooled(script: Script, cuts: readonly number[]): Promise<string[]> {
  return one.withB(script, 'mixed', (ground) => run(script, ground, cuts))
}

/** All that A is told. With one cut B acts at it, too. */
async function run(script: Script, ground: Ground, cuts: readonly number[]): Promise<string[]> {
  await using client = await WireClient.connect({ ...ground.client, params: script.params })
  await ground.gap(client)
  const from = client.received.length
  const bytes = pipeline(script, ground)
  const [cut] = cuts
  if (cuts.length === 1 && cut !== undefined) {
    client.send(bytes.subarray(0, cut))
    await ground.gap(client)
    client.send(bytes.subarray(cut))
  } else await client.sendCut(bytes, cuts)
  for (let left = readies(script); left > 0; left--) await client.until('Z')
  await ground.gap(client)
  const told = linesOf(script, client.received.slice(from), client.pid)
  await client.end()
  return told
}
