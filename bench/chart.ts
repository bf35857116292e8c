// The picture of a bench: rate, p99 and CPU of every peer in every load, as SVG that stands by itself. Pure.
// Must never draw a bar for what was not measured: words stand in its place.
import { coloursOf, escaped, n, STYLE } from './chart-parts.ts'
import { type Cell, missingOf, runsOf, type Spread, spreadOver, total } from './figures.ts'
import { nameOf } from './report.ts'
import { FACTS, isBulk } from './scenarios.ts'

const WIDTH = 1040
const MARGIN = 24
const LABEL = 96
const COLUMN = 284
const GAP = 18
const HEAD = 92
const BAR = 16
const ROW = 22
const TITLE = 26
const AFTER = 16
/** Room for the words behind the longest bar. */
const WORDS = 104

interface Column {
  readonly title: string
  readonly note: string
  /** null: this load has no such figure. */
  pick(cell: Cell): Spread | null
  words(cell: Cell, value: number): string
}

const COLUMNS: readonly Column[] = [
  {
    title: 'Rate',
    note: 'more is better',
    pick: (cell) => spreadOver(runsOf(cell), (run) => run.rate),
    words: ({ scenario }, value) => `${thousands(value)} ${isBulk(scenario) ? 'MB/s' : 'tps'}`,
  },
  {
    title: 'Latency, p99',
    note: 'less is better',
    pick: (cell) => spreadOver(runsOf(cell), (run) => run.latency?.p99 ?? null),
    words: (_cell, value) => `${value.toFixed(value < 10 ? 2 : 1)} ms`,
  },
  {
    title: 'CPU per transaction or MB',
    note: 'less is better',
    pick: (cell) => spreadOver(runsOf(cell), (run) => total(run.cpu)),
    words: (_cell, value) => `${value.toFixed(1)} us`,
  },
]

/** @returns a whole SVG document; medians as bars, least and most of the rounds as a whisker */
export function chart(cells: readonly Cell[], subtitle: string): string {
  const loads = [...new Set(cells.map((cell) => cell.scenario))]
  const peers = [...new Set(cells.map((cell) => cell.peer))]
  const colours = coloursOf(peers)
  const parts: string[] = []
  let y = HEAD
  for (const load of loads) {
    const group = cells.filter((cell) => cell.scenario === load)
    parts.push(
      `<line class="line" x1="${MARGIN}" x2="${WIDTH - MARGIN}" y1="${y}" y2="${y}"/>`,
      text({ x: MARGIN, y: y + 18, kind: 'scenario ink', words: `${load}: ${FACTS[load].title}` }),
    )
    y += TITLE
    for (const [row, cell] of group.entries()) {
      const middle = y + row * ROW + BAR - 4
      parts.push(text({ x: MARGIN, y: middle, kind: 'faint', words: nameOf(cell.peer) }))
    }
    for (const [i, column] of COLUMNS.entries()) {
      parts.push(...bars(column, group, { x: columnX(i), y, colours }))
    }
    y += group.length * ROW + AFTER
  }
  return document_(y, [...head(subtitle), ...parts])
}

function head(subtitle: string): string[] {
  const titles = COLUMNS.map(({ title, note }, i) =>
    text({ x: columnX(i), y: 80, kind: 'faint', words: `${title} (${note})` }),
  )
  return [
    text({ x: MARGIN, y: 32, kind: 'title ink', words: 'pgmux and its peers' }),
    text({ x: MARGIN, y: 52, kind: 'faint', words: subtitle }),
    ...titles,
  ]
}

function columnX(i: number): number {
  return MARGIN + LABEL + i * (COLUMN + GAP)
}

interface Place {
  readonly x: number
  readonly y: number
  readonly colours: ReadonlyMap<string, string>
}

function bars(column: Column, group: readonly Cell[], { x, y, colours }: Place): string[] {
  const spreads = group.map((cell) => column.pick(cell))
  const most = Math.max(...spreads.map((spread) => spread?.most ?? 0))
  const scale = most === 0 ? 0 : (COLUMN - WORDS) / most
  return group.flatMap((cell, row) => {
    const top = y + row * ROW
    const spread = spreads[row]
    if (spread === null || spread === undefined) {
      return [text({ x, y: top + BAR - 4, kind: 'faint', words: whyNone(cell, column) })]
    }
    const [width, from, to] = [spread.median, spread.least, spread.most].map((value) => value * scale)
    const middle = top + BAR / 2
    const behind = x + Math.max(width!, to!) + 6
    return [
      `<rect class="${colours.get(cell.peer)}" x="${x}" y="${top}" width="${n(width!)}" ` +
        `height="${BAR}" rx="2"/>`,
      `<line class="whisker" x1="${n(x + from!)}" x2="${n(x + to!)}" y1="${middle}" y2="${middle}"/>`,
      text({ x: behind, y: top + BAR - 4, kind: 'ink', words: column.words(cell, spread.median) }),
    ]
  })
}

function whyNone(cell: Cell, column: Column): string {
  if (runsOf(cell).length === 0) return missingOf(cell)?.kind ?? 'not run'
  if (column === COLUMNS[1]) return isBulk(cell.scenario) ? 'one stream' : 'not measured'
  return cell.peer === 'direct' ? 'no pooler' : 'not measured'
}

function text(parts: { x: number; y: number; kind: string; words: string }): string {
  return `<text class="${parts.kind}" x="${n(parts.x)}" y="${n(parts.y)}">${escaped(parts.words)}</text>`
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function document_(height: number, parts: readonly string[]): string {
  const size = `width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="rates, latencies and CPU">`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n')
}
