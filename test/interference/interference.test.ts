// The interference test: each script is told through a pooler, beside a hostile client, what it is told on a
// connection of its own. README.md tells how scripts are written.
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import type { Told } from './actor.ts'
import { Arena, LIMIT_MS, type Side, SHORT_LIMIT_MS } from './arena.ts'
import { firstDifference } from './difference.ts'
import { inTurns, notYet, unsteady } from './not-yet.ts'
import type { TestPooler } from '../support/pooler.ts'
import type { Mode } from './request.ts'
import { allScripts, PLACES, type Place, type Script } from './script.ts'

const LONG = process.env.LONG === '1'
const ONLY = process.env.ONLY ?? ''
/** Most of the time somebody waits for somebody: so many scripts run at once, in databases of their own. */
const LANES: Readonly<Record<Place, number>> = { usual: 4, operators: 1, sequences: 1 }
/** By size. */
const POOLS = LONG ? ['one', 'two'] : ['one']

interface Lane {
  readonly plain: Side
  readonly pooled: [name: string, side: Side][]
}

const scripts = allScripts()
const arena = await Arena.open()
const free: Record<Place, Lane[]> = { usual: [], operators: [], sequences: [] }
const poolers: TestPooler[] = []

/** Databases for so many scripts at once. */
async function open(place: Place): Promise<void> {
  const session = place === 'sequences' ? { sequences: 'pin' as const } : {}
  const lanes: Lane[] = []
  for (let number = 0; number < LANES[place]; number++) {
    lanes.push({ plain: await arena.side(`${place}_direct_${number}`, null), pooled: [] })
  }
  for (const [index, pool] of POOLS.entries()) {
    const pooler = await arena.pooler({ pool: { mode: 'transaction', size: index + 1 }, session })
    poolers.push(pooler)
    for (const [number, { pooled }] of lanes.entries()) {
      const side = await arena.side(`${place}_${pool}_${number}`, pooler)
      side.keepsPins = index > 0
      side.hasSequencePins = place === 'sequences'
      pooled.push([`a pool of ${pool}`, side])
    }
  }
  free[place] = lanes
}

function modesOf({ steps, name }: Script): Mode[] {
  if (steps.every(({ kind }) => kind !== 'sql')) return ['simple']
  return LONG && inTurns[name] === undefined ? ['mixed', 'simple', 'extended', 'named'] : ['mixed']
}

/** The first difference on one of the sides, in words; null if there is none. */
async function difference(script: Script, limit: number): Promise<string | null> {
  // There are as many as scripts that run at once.
  const lane = free[script.place].pop() as Lane
  try {
    return await differenceIn(lane, script, limit)
  } finally {
    free[script.place].push(lane)
  }
}

async function differenceIn(lane: Lane, script: Script, limit: number): Promise<string | null> {
  for (const mode of modesOf(script)) {
    const expected = await lane.plain.run(script, mode)
    for (const [name, side] of lane.pooled) {
      const found = await differenceOn(side, { script, mode, expected, limit })
      if (found !== null) return `${mode}, ${name}: ${found}`
    }
  }
  return null
}

interface Run {
  readonly script: Script
  readonly mode: Mode
  readonly expected: readonly Told[]
  readonly limit: number
}

async function differenceOn(side: Side, { script, mode, expected, limit }: Run): Promise<string | null> {
  const goesOn = (told: readonly Told[]) => firstDifference(expected, told, false) === null
  let found: string | null
  try {
    found = firstDifference(expected, await side.run(script, mode, { limit, goesOn }), true)
  } catch (error) {
    found = (error as Error).message
  }
  if (found !== null) await side.renew()
  return found
}

function compare(script: Script): void {
  if (!script.name.includes(ONLY)) return
  it(script.name, async () => {
    const reason = notYet[script.name]
    const isListed = reason !== undefined || unsteady[script.name] !== undefined
    const found = await difference(script, isListed ? SHORT_LIMIT_MS : LIMIT_MS)
    if (unsteady[script.name] !== undefined) return
    if (reason === undefined && found !== null) assert.fail(`${script.file}.txt:${script.at}: ${found}`)
    if (reason !== undefined && found === null) assert.fail('it does not differ: take it off the list')
  })
}

for (const place of PLACES) {
  describe(`interference: ${place}`, { concurrency: LANES[place] }, () => {
    before(() => open(place))
    for (const script of scripts) if (script.place === place) compare(script)
  })
}

describe('behind all scripts', () => {
  it('no server has kept anything of anybody', async () => {
    const sides = Object.values(free).flatMap((lanes) => lanes.flatMap(({ pooled }) => pooled))
    await Promise.all(sides.map(([, side]) => side.lookThrough()))
    for (const { pooler } of poolers) {
      const metrics = await pooler.metrics()
      assert.deepEqual(metrics.match(/^pgmux_session_leaks_total.* [^0].*$/gm), null)
      assert.match(metrics, /^pgmux_session_leaks_total.* 0$/m)
    }
  })

  it('the list of what differs names scripts', () => {
    const names = new Set(scripts.map(({ name }) => name))
    const listed = Object.keys({ ...notYet, ...unsteady, ...inTurns })
    assert.deepEqual(
      listed.filter((name) => !names.has(name)),
      [],
    )
  })
})
