// The charts: which there are, and one of them: its lines, its legend with the numbers of now, what is
// said of it to those who do not see it, and the same as a table. Colours come from the style sheet.
import { h, setAttribute, setText } from './dom.js'
import { bytes, clock, number, percent, took, two } from './words.js'
import uPlot from './uplot.js'
/** @import { Past, Series } from './history.js' */

const HEIGHT = 170
/** Seconds between times below the lines. */
const TIME_STEPS = [60, 180, 600]
/** Rows of the table beside a chart. */
const TABLE_ROWS = 12

/**
 * @typedef {object} ChartKind
 * @property {string} id
 * @property {string} title
 * @property {(value: number | null) => string} say
 * @property {readonly (readonly [name: string, label: string])[]} lines
 * @property {number} least the top of the scale is never lower
 */

/** @type {readonly ChartKind[]} */
export const KINDS = [
  {
    ...{ id: 'throughput', title: 'Throughput, per second', say: number, least: 10 },
    lines: [
      ['queries', 'queries'],
      ['transactions', 'transactions'],
      ['shared', 'queries on shared servers'],
    ],
  },
  {
    ...{ id: 'latency', title: 'How long queries take, at most', say: took, least: 1 },
    lines: [
      ['query_p50', 'half (p50)'],
      ['query_p95', '95 % (p95)'],
      ['query_p99', '99 % (p99)'],
    ],
  },
  {
    ...{ id: 'waits', title: 'Waiting for a server, at most', say: took, least: 10 },
    lines: [
      ['oldest_wait', 'the first in the queue'],
      ['wait_p99', '99 % (p99)'],
    ],
  },
  {
    ...{ id: 'clients', title: 'Clients', say: number, least: 4 },
    lines: [
      ['clients_waiting', 'waiting'],
      ['clients_active', 'active'],
      ['clients_idle', 'idle'],
    ],
  },
  {
    ...{ id: 'servers', title: 'Servers (connections to Postgres)', say: number, least: 4 },
    lines: [
      ['servers_active', 'in use'],
      ['servers_idle', 'idle'],
      ['servers_other', 'logging in or being checked'],
    ],
  },
  {
    ...{ id: 'troubles', title: 'Errors and logins, per second', say: number, least: 1 },
    lines: [
      ['errors', 'errors'],
      ['logins', 'logins'],
    ],
  },
  {
    ...{ id: 'processor', title: 'Processor (share of one)', say: percent, least: 0.1 },
    lines: [['cpu', 'in use']],
  },
  {
    ...{ id: 'loop', title: 'Event loop: the longest delay', say: took, least: 10 },
    lines: [['loop_delay', 'delay']],
  },
  { ...{ id: 'memory', title: 'Memory', say: bytes, least: 1000 }, lines: [['rss', 'in use']] },
]

const DASHES = [[], [6, 3], [2, 3]]

/** @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

export class Chart {
  /**
   * @param {HTMLElement} place
   * @param {ChartKind} kind
   */
  constructor(place, kind) {
    this.kind = kind
    this.names = kind.lines.map(([name]) => name)
    /** @type {[number[], ...Series[]]} */
    this.data = [[], ...this.names.map(() => [])]
    /** @type {uPlot | null} */
    this.plot = null
    this.isSeen = false
    this.range = 300
    this.canvas = h('div', { class: 'plot', role: 'img' })
    this.numbers = kind.lines.map(() => h('b', { class: 'value' }))
    this.details = h('details', {}, h('summary', {}, 'As a table'))
    const items = kind.lines.map(([, label], at) => {
      return h('li', {}, h('i', { class: `line line-${at + 1}` }), `${label} `, this.numbers[at])
    })
    const title = h('h3', { id: `chart-${kind.id}` }, kind.title)
    const legend = h('ul', { class: 'legend' }, ...items)
    const figure = h('figure', { class: 'card chart', 'aria-labelledby': `chart-${kind.id}` })
    figure.append(h('figcaption', {}, title, legend), this.canvas, this.details)
    place.append(figure)
    this.details.addEventListener('toggle', () => this.tabulate())
    new IntersectionObserver((entries) => this.see(entries.at(-1)?.isIntersecting === true)).observe(figure)
    new ResizeObserver(() => this.resize()).observe(this.canvas)
  }

  /** @param {boolean} isSeen */
  see(isSeen) {
    this.isSeen = isSeen
    if (isSeen) this.draw()
  }

  resize() {
    const width = this.canvas.clientWidth
    if (this.plot !== null && width > 0 && width !== this.plot.width)
      this.plot.setSize({ width, height: HEIGHT })
  }

  /**
   * @param {Past} past
   * @param {number} range seconds
   * @param {number} now ms
   */
  update(past, range, now) {
    this.range = range
    this.data = past.since(this.names, now / 1000 - range)
    this.now = now
    this.say(this.plot?.cursor.idx ?? null)
    this.describe()
    if (this.isSeen) this.draw()
  }

  /** Numbers of now, or of the point that is pointed at. @param {number | null} at */
  say(at) {
    const [times, ...series] = this.data
    const place = at ?? times.length - 1
    for (const [line, values] of series.entries())
      setText(this.numbers[line], this.kind.say(values[place] ?? null))
  }

  draw() {
    if (this.details.open) this.tabulate()
    const width = this.canvas.clientWidth
    if (width === 0) return
    if (this.plot === null) this.plot = new uPlot(this.options(width), this.data, this.canvas)
    else this.plot.setData(this.data)
  }

  /** Other colours. */
  repaint() {
    this.plot?.destroy()
    this.plot = null
    if (this.isSeen) this.draw()
  }

  /** @param {number} width @returns {uPlot.Options} */
  options(width) {
    const { kind } = this
    const font = '12px system-ui, sans-serif'
    const axis = { stroke: colour('--faint'), font, ticks: { show: false } }
    const grid = { stroke: colour('--grid'), width: 1 }
    return {
      ...{ width, height: HEIGHT, padding: [8, 8, 0, 0], legend: { show: false } },
      cursor: { sync: { key: 'pgmux' }, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { range: () => [(this.now ?? 0) / 1000 - this.range, (this.now ?? 0) / 1000] },
        y: { range: (_, __, most) => [0, Math.max(kind.least, (most ?? 0) * 1.1)] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          size: 28,
          splits: () => this.times(),
          values: (_, at) => at.map(timeOf),
        },
        { ...axis, grid, size: 62, space: 34, values: (_, at) => at.map((value) => kind.say(value)) },
      ],
      series: [
        {},
        ...kind.lines.map(([, label], at) => ({
          ...{ label, stroke: colour(`--line-${at + 1}`), width: 2, dash: DASHES[at] },
          points: { show: false, size: 4, filter: alone },
        })),
      ],
      hooks: { setCursor: [(plot) => this.say(plot.cursor.idx ?? null)] },
    }
  }

  /** Where times stand below the lines: whole minutes. */
  times() {
    const step = TIME_STEPS.find((seconds) => this.range / seconds <= 6) ?? this.range
    // One at the very end would be cut off.
    const end = (this.now ?? 0) / 1000 - this.range / 20
    const first = Math.ceil((end - this.range * 0.95) / step) * step
    return Array.from({ length: Math.floor((end - first) / step) + 1 }, (_, at) => first + at * step)
  }

  /** What the lines show, in a sentence. */
  describe() {
    const [times, ...series] = this.data
    const { title, say, lines } = this.kind
    const parts = lines.map(([, label], at) => {
      const known = series[at].filter((value) => value !== null)
      if (known.length === 0) return `${label}: nothing yet`
      const [least, most] = [Math.min(...known), Math.max(...known)]
      return `${label}: now ${say(series[at].at(-1) ?? null)}, least ${say(least)}, most ${say(most)}`
    })
    const span = times.length === 0 ? '' : `, the last ${Math.round(this.range / 60)} minutes`
    setAttribute(this.canvas, 'aria-label', `${title}${span}. ${parts.join('; ')}.`)
  }

  tabulate() {
    this.details.querySelector('table')?.remove()
    if (!this.details.open) return
    const [times, ...series] = this.data
    const { lines, say, title } = this.kind
    const heads = ['time', ...lines.map(([, label]) => label)].map((text) => h('th', { scope: 'col' }, text))
    const table = h(
      'table',
      {},
      h('caption', { class: 'unseen' }, title),
      h('thead', {}, h('tr', {}, ...heads)),
    )
    const body = table.appendChild(h('tbody'))
    const step = Math.max(1, Math.ceil(times.length / TABLE_ROWS))
    for (let at = times.length - 1; at >= 0; at -= step) {
      const cells = series.map((values) => h('td', { class: 'number' }, say(values[at])))
      const time = clock(times[at] * 1000, this.now ?? 0)
      body.append(h('tr', {}, h('th', { scope: 'row' }, time), ...cells))
    }
    this.details.append(table)
  }
}

/**
 * Points without neighbours, which no line would show.
 * @param {uPlot} plot
 * @param {number} line
 */
function alone(plot, line) {
  const values = plot.data[line]
  const found = []
  for (const [at, value] of values.entries())
    if (value != null && values[at - 1] == null && values[at + 1] == null) found.push(at)
  return found
}

/** @param {number} seconds since 1970 */
function timeOf(seconds) {
  const date = new Date(seconds * 1000)
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`
  return date.getSeconds() === 0 ? text : `${text}:${two(date.getSeconds())}`
}
