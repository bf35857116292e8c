// `npm run bench:micro`: what the pieces of the hot path cost, in times of a reference loop measured beside
// each. --check fails where one is slower than recorded.json allows, --record writes that file anew. It never
// takes the figures of two runs for a comparison.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Benchmark from 'benchmark'
import { Grammar } from '../../src/sql/grammar.ts'
import { allItems, type Item, reference } from './items.ts'
import { complaints, type Recorded } from './judge.ts'

const FILE = fileURLToPath(new URL('recorded.json', import.meta.url))
/** Turns of an item and the loop; the best sample of each counts, without what other work took. */
const TURNS = 3
/** Short samples: some of them then meet no other work of the machine. */
const SHORT = { minTime: 0.001, minSamples: 60, maxTime: 0.2 }
const TOLERANCE = 0.5
let sink = 0

/** @returns seconds of one call, in the best sample */
function best(item: Item): number {
  const bench = new Benchmark(
    item.name,
    () => {
      sink = (sink + item.run()) | 0
    },
    SHORT,
  )
  bench.run()
  const { sample } = bench.stats!
  if (sample.length === 0) throw new Error(`${item.name}: ${String(bench.error ?? 'no sample')}`)
  return Math.min(...sample)
}

function measure(items: readonly Item[]): Map<string, number> {
  const ratios = new Map<string, number>()
  const loop = reference()
  process.stdout.write(`${'item'.padEnd(30)}${'best, ns'.padStart(10)}${'of the loop'.padStart(14)}\n`)
  for (const item of items) {
    let [least, leastLoop] = [Infinity, Infinity]
    for (let turn = 0; turn < TURNS; turn++) {
      leastLoop = Math.min(leastLoop, best(loop))
      least = Math.min(least, best(item))
    }
    const ratio = least / leastLoop
    ratios.set(item.name, ratio)
    const time = (least * 1e9).toFixed(1)
    process.stdout.write(`${item.name.padEnd(30)}${time.padStart(10)}${ratio.toFixed(4).padStart(14)}\n`)
  }
  return ratios
}

function record(ratios: ReadonlyMap<string, number>): void {
  const rounded = [...ratios].map(([name, ratio]) => [name, Math.round(ratio * 1e4) / 1e4])
  const node = process.versions.node
  const recorded: Recorded = { node, tolerance: TOLERANCE, ratios: Object.fromEntries(rounded) }
  writeFileSync(FILE, `${JSON.stringify(recorded, null, 2)}\n`)
}

const { values } = parseArgs({ options: { check: { type: 'boolean' }, record: { type: 'boolean' } } })
const wasm = fileURLToPath(import.meta.resolve('libpg-query/wasm/libpg-query.wasm'))
const ratios = measure(allItems(await Grammar.open(readFileSync(wasm))))
if (values.record) record(ratios)
if (values.check) {
  const found = complaints(ratios, JSON.parse(readFileSync(FILE, 'utf8')) as Recorded)
  for (const line of found) process.stderr.write(`bench:micro: ${line}\n`)
  if (found.length > 0) process.exitCode = 1
}
