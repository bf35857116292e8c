// The page of a bench, and the comparison with an older one, as text. No load is run here.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { compare, comparisonTable, readOld } from '../../../bench/compare.ts'
import type { Cell, Outcome } from '../../../bench/figures.ts'
import { htmlPage } from '../../../bench/html.ts'
import { barChart, lineChart } from '../../../bench/html-charts.ts'
import type { Results } from '../../../bench/report.ts'

function run(rate: number, p99: number): Outcome {
  const latency = { average: 1, p50: 1, p95: 1, p99, most: 99, samples: 9 }
  const cpu = { user: 10, system: 5 }
  return { kind: 'run', amount: rate, rate, latency, cpu, postgres: cpu, generator: null, peakMemory: 2048 }
}

function cell(scenario: Cell['scenario'], peer: string, ...outcomes: Outcome[]): Cell {
  return { scenario, peer, outcomes }
}

const OPTIONS = { clients: 64, pool: 10, seconds: 3 }
const WAKE = { average: 1, p50: 1, p95: 1, p99: 2, most: 9, samples: 9 }
const CELLS = [
  cell('clients-8', 'pgmux', run(100, 2)),
  cell('clients-64', 'pgmux', run(200, 4)),
  cell('clients-2000', 'direct', { kind: 'cannot', reason: 'a process for each' }),
]

const RESULTS: Results = {
  date: '2020-01-02T03:04:05.000Z',
  options: { ...OPTIONS, rounds: 1, logins: 5000, scenarios: ['clients-8'] },
  machine: {
    cpu: 'a <fast> CPU',
    cores: 2,
    memoryGib: 4,
    system: 'linux',
    node: '24.0.0',
    pgmux: '0.1.0',
    postgres: '17.1',
    pgbouncer: null,
    loadBefore: [0],
    loadAfter: [0],
  },
  generator: 'pgbench 15.1',
  configurations: [{ name: 'pgmux', text: 'size: "10"' }],
  addedRoundTrip: null,
  cells: CELLS,
  verdicts: [],
  idle: [1000, 5000].map((count) => ({
    peer: 'pgmux',
    count,
    outcome: { kind: 'run', count, base: 1024, full: count, wake: WAKE },
  })),
  logins: [],
  storms: [],
  web: [],
  webStorms: [],
  sessions: [],
  dashboards: [],
  checks: [{ text: 'something was too slow', failed: true }],
  comparison: null,
  notMeasured: ['TLS'],
}

describe('the page', () => {
  const page = htmlPage(RESULTS, '64 clients')

  it('stands by itself', () => {
    assert.doesNotMatch(page, /<script|<link|<img|@import|url\(|https?:\/\/(?!www\.w3\.org\/2000\/svg)/)
    assert.match(page, /prefers-color-scheme: dark/)
    assert.match(page, /^<!doctype html>[\s\S]*<\/html>\n$/)
  })

  it('has charts against clients, of CPU and of memory, and the failures in their own look', () => {
    const wanted = ['Throughput against clients', 'p99 against clients', 'CPU of a transaction']
    for (const title of [...wanted, 'Memory with idle clients', 'Most memory of the pooler']) {
      assert.ok(page.includes(title), title)
    }
    assert.match(page, /<li class="bad">FAILED something was too slow\.<\/li>/)
  })

  it('has the tables as tables, and nothing of a text as markup', () => {
    assert.match(page, /<th>scenario<\/th>[\s\S]*<td>clients-64<\/td><td>pgmux<\/td><td>200 \(200-200\) tps/)
    assert.match(page, /a &lt;fast&gt; CPU/)
    assert.match(page, /size: &quot;10&quot;/)
  })
})

describe('charts of lines and bars', () => {
  it('put doublings of clients at equal distances, and values to one scale', () => {
    const points = [1, 8, 64].map((x) => ({ x, y: x === 64 ? 50 : 100 }))
    const svg = lineChart('a', 'tps', [{ name: 'one', colour: 'ours', points }])
    const [, path] = /<polyline[^>]* points="([^"]+)"/.exec(svg)!
    const [first, second, third] = path!.split(' ').map((pair) => pair.split(',').map(Number))
    assert.ok(Math.abs(second![0]! - (first![0]! + third![0]!) / 2) < 0.2)
    assert.equal(first![1], second![1])
    assert.ok(third![1]! > first![1]!)
  })

  it('draw nothing of a single point or of nothing', () => {
    const one = [{ name: 'one', colour: 'ours', points: [{ x: 1, y: 1 }] }]
    assert.deepEqual([lineChart('a', 'tps', one), barChart('a', 'us', [])], ['', ''])
  })

  it('put the parts of a bar one behind the other', () => {
    const parts = [30, 10].map((value) => ({ name: `of ${value}`, colour: 'ours', value }))
    const svg = barChart('a', 'us', [{ label: 'both', parts }])
    const [one, two] = [...svg.matchAll(/x="([\d.]+)" y="52" width="([\d.]+)"/g)].map((match) =>
      match.slice(1).map(Number),
    )
    assert.ok(Math.abs(one![0]! + one![1]! - two![0]!) < 0.2)
    assert.ok(Math.abs(one![1]! / two![1]! - 3) < 0.01)
    assert.match(svg, />40\.0</)
  })
})

describe('the comparison with an older bench', () => {
  const old = {
    date: '2019-12-31T00:00:00.000Z',
    options: OPTIONS,
    machine: { pgmux: '0.0.9' },
    cells: [cell('clients-64', 'pgmux', run(100, 8), run(160, 16), run(100, 8))],
  }

  it('has ratios of medians for what both have, and nothing for the rest', () => {
    const { changes, warning } = compare(RESULTS, old)
    assert.deepEqual(changes, [{ scenario: 'clients-64', peer: 'pgmux', rate: 2, p99: 0.5, cpu: 1 }])
    assert.equal(warning, '')
    const text = comparisonTable(compare(RESULTS, old), (peer) => peer).join('\n')
    assert.match(text, /2019-12-31 \(pgmux 0\.0\.9\)[\s\S]*clients-64 \| pgmux \| 2\.000 \| 0\.500 \| 1\.000/)
  })

  it('says where the two were not run alike, or have nothing in common', () => {
    const other = { ...old, options: { ...OPTIONS, pool: 5 }, cells: [] }
    assert.match(
      comparisonTable(compare(RESULTS, other), String).join(),
      /alike: pool differ.*nothing in common/,
    )
  })

  it('refuses what is no bench', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pgmux-compare-'))
    try {
      const file = join(folder, 'x.json')
      assert.throws(() => readOld(file), /cannot read/)
      await writeFile(file, '{"cells": 1}')
      assert.throws(() => readOld(file), /expects a \.json file/)
      await writeFile(file, JSON.stringify(old))
      assert.equal(readOld(file).cells.length, 1)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
