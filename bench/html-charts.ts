// The charts of the HTML page beside the picture of chart.ts: lines against the number of clients, and bars
// of parts. Pure. Must never draw what was not measured.
import { escaped, n } from './chart-parts.ts'

/** One line. */
export interface Series {
  readonly name: string
  /** Class that has its colour. */
  readonly colour: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

/** One bar of several parts. */
export interface Bar {
  readonly label: string
  readonly parts: readonly { readonly name: string; readonly colour: string; readonly value: number }[]
}

const WIDTH = 520
const LINES = { height: 250, left: 60, right: 110, top: 36, bottom: 30 } as const
const BARS = { width: 760, left: 230, right: 70, top: 52, row: 20, bar: 13 } as const
const TICKS = 4

/** @returns an SVG with clients on a scale of doublings; '' where no line has two points */
export function lineChart(title: string, unit: string, series: readonly Series[]): string {
  const drawn = series.filter(({ points }) => points.length > 1)
  if (drawn.length === 0) return ''
  const points = drawn.flatMap((each) => each.points)
  const xs = [...new Set(points.map(({ x }) => x))].toSorted((a, b) => a - b)
  const most = roundUp(Math.max(...points.map(({ y }) => y)))
  const { height, left, right, top, bottom } = LINES
  const logs = [Math.log(xs[0]!), Math.log(xs.at(-1)!)] as const
  const xOf = (x: number): number =>
    left + ((Math.log(x) - logs[0]) / (logs[1] - logs[0])) * (WIDTH - left - right)
  const yOf = (y: number): number => height - bottom - (y / most) * (height - bottom - top)
  const grid = Array.from({ length: TICKS + 1 }, (_, i) => (most * i) / TICKS).map(
    (y) =>
      `<line class="line" x1="${left}" x2="${WIDTH - right}" y1="${n(yOf(y))}" y2="${n(yOf(y))}"/>` +
      words(left - 6, yOf(y) + 4, 'faint end', short(y)),
  )
  const axis = xs.map((x) => words(xOf(x), height - 10, 'faint middle', String(x)))
  // A line that ends earlier has its name at its own end.
  const whole = drawn.filter((each) => each.points.at(-1)!.x === xs.at(-1))
  const ends = spreadOut(whole.map((each) => yOf(each.points.at(-1)!.y)))
  const lines = drawn.map((each) => {
    const { name, colour, points } = each
    const path = points.map(({ x, y }) => `${n(xOf(x))},${n(yOf(y))}`).join(' ')
    const dots = points.map(
      ({ x, y }) =>
        `<circle class="${colour}" cx="${n(xOf(x))}" cy="${n(yOf(y))}" r="3.5">` +
        `<title>${escaped(name)}, ${x} clients: ${short(y)} ${unit}</title></circle>`,
    )
    const last = points.at(-1)!
    const y = ends[whole.indexOf(each)] ?? yOf(last.y)
    const label = words(xOf(last.x) + 8, y + 4, 'ink', name)
    return `<polyline class="stroke-${colour}" points="${path}"/>${dots.join('')}${label}`
  })
  const head = words(8, 18, 'scenario ink', `${title}, ${unit}`)
  return svg(WIDTH, height, title, [head, ...grid, ...axis, ...lines])
}

/** @returns an SVG with a bar for each; '' for none */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  if (bars.length === 0) return ''
  const { width, left, right, top, row, bar } = BARS
  const sums = bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0))
  const scale = (width - left - right) / Math.max(...sums, Number.MIN_VALUE)
  const rows = bars.map(({ label, parts }, i) => {
    const y = top + i * row
    let x = left
    const rects = parts.map(({ name, colour, value }) => {
      const from = x
      x += value * scale
      return (
        `<rect class="${colour}" x="${n(from)}" y="${y}" width="${n(value * scale)}" height="${bar}">` +
        `<title>${escaped(name)}: ${value.toFixed(1)} ${unit}</title></rect>`
      )
    })
    const sum = words(x + 5, y + bar - 2, 'ink', sums[i]!.toFixed(1))
    return words(left - 8, y + bar - 2, 'faint end', label) + rects.join('') + sum
  })
  const legend = legendOf(bars, left)
  const height = top + bars.length * row + 8
  return svg(width, height, title, [words(8, 18, 'scenario ink', `${title}, ${unit}`), legend, ...rows])
}

/** What the colours of the parts mean; '' where each bar has one part. */
function legendOf(bars: readonly Bar[], left: number): string {
  const parts = new Map(bars.flatMap((bar) => bar.parts.map(({ name, colour }) => [name, colour])))
  if (bars.every((bar) => bar.parts.length < 2)) return ''
  return [...parts]
    .map(([name, colour], i) => {
      const x = left + i * 120
      const sample = `<rect class="${colour}" x="${x}" y="28" width="11" height="11"/>`
      return sample + words(x + 16, 38, 'faint', name)
    })
    .join('')
}

/** Words beside each other need some room: moves them apart, in their order. */
function spreadOut(ys: readonly number[]): number[] {
  const order = ys.map((y, i) => ({ y, i })).toSorted((a, b) => a.y - b.y)
  const moved = [...ys]
  let last = Number.NEGATIVE_INFINITY
  for (const { y, i } of order) {
    last = Math.max(y, last + 14)
    moved[i] = last
  }
  return moved
}

/** @returns 1, 2, 4, 5 or 8 times a power of ten that is not below the value */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value || 1))
  return [1, 2, 4, 5, 8, 10].map((times) => times * power).find((step) => step >= value) ?? value
}

function short(value: number): string {
  if (value >= 1000) return `${Math.round(value / 100) / 10}k`
  return String(value >= 10 ? Math.round(value) : Math.round(value * 100) / 100)
}

function words(x: number, y: number, kind: string, text: string): string {
  return `<text class="${kind}" x="${n(x)}" y="${n(y)}">${escaped(text)}</text>`
}

function svg(width: number, height: number, label: string, parts: readonly string[]): string {
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`
  const start = `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${escaped(label)}">`
  return [start, ...parts, '</svg>'].join('\n')
}
