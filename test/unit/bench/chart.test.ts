// The picture of a bench, as text: what it draws, and what it must not draw.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { chart } from '../../../bench/chart.ts'
import type { Cell, Outcome, Run } from '../../../bench/figures.ts'

function run(rate: number, isBulk = false): Run {
  const latency = isBulk ? null : { average: 2, p50: 1.5, p95: 5, p99: 9.25, most: 12, samples: 100 }
  const others = { postgres: null, generator: null, peakMemory: null }
  return { kind: 'run', amount: rate, rate, latency, cpu: { user: 10, system: 5.5 }, ...others }
}

function cell(scenario: Cell['scenario'], peer: string, outcomes: Outcome[]): Cell {
  return { scenario, peer, outcomes }
}

const CELLS = [
  cell('prepared', 'direct', [{ ...run(44_000), cpu: null }]),
  cell('prepared', 'pgmux', [run(20_000), run(22_000), run(40_000)]),
  cell('prepared', 'pgbouncer', [{ kind: 'cannot', reason: 'too old' }]),
  cell('copy-out', 'pgmux', [run(700, true)]),
  cell('copy-out', 'a<b>&c', [run(350, true)]),
]

/** Width of each bar of one class, from left to right and from top to bottom. */
function widths(svg: string, kind: string): number[] {
  return [...svg.matchAll(new RegExp(`<rect class="${kind}" [^>]*? width="([\\d.]+)"`, 'g'))].map((match) =>
    Number(match[1]),
  )
}

describe('the chart', () => {
  const svg = chart(CELLS, '64 clients')

  it('draws medians to one scale within a load, with their spread', () => {
    // Three figures of prepared; COPY has no latency, so two.
    const ours = widths(svg, 'ours')
    const [direct] = widths(svg, 'direct')
    assert.equal(ours.length, 5)
    assert.ok(Math.abs(ours[0]! / direct! - 0.5) < 0.01, `${ours[0]} beside ${direct}`)
    assert.match(svg, />22,000 tps</)
    // The whisker of pgmux ends where 40,000 is.
    const [, from, to] = /<line class="whisker" x1="([\d.]+)" x2="([\d.]+)"[^>]*>\n<text[^>]*>22,000/.exec(
      svg,
    )!
    assert.ok(Math.abs((Number(to) - Number(from)) / direct! - 20_000 / 44_000) < 0.01)
  })

  it('draws nothing for what was not measured: it says why', () => {
    assert.deepEqual(widths(svg, 'theirs'), [])
    assert.equal(svg.match(/>cannot</g)?.length, 3)
    assert.equal(svg.match(/>no pooler</g)?.length, 1)
    assert.equal(svg.match(/>one stream</g)?.length, 2)
  })

  it('stands by itself, in bright and dark surroundings', () => {
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="\d+" height="\d+" viewBox=/)
    assert.match(svg, /@media \(prefers-color-scheme: dark\)/)
    assert.doesNotMatch(svg.replace('http://www.w3.org/2000/svg', ''), /https?:|<script|<image|@import|url\(/)
  })

  it('is well formed, whatever a peer is called', () => {
    assert.match(svg, />a&lt;b&gt;&amp;c</)
    assert.deepEqual(widths(svg, 'other1').length, 2)
    const open: string[] = []
    for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
      if (self === '/') continue
      if (close === '/') assert.equal(open.pop(), name)
      else open.push(name!)
    }
    assert.deepEqual(open, [])
    assert.doesNotMatch(svg, /NaN|undefined|null/)
  })
})
