// The tail of the log: the last lines, filtered by level and text, following the end unless somebody reads
// further up or has paused it. Never keeps more than a fixed number of lines.
/** @import { LogLine } from './types.js' */
import { byId, h, setText } from './dom.js'
import { clock, counted } from './words.js'

const LINES_MAX = 500
/** A line is cut here: one of a megabyte helps nobody. */
const TEXT_MAX = 2000
const RANKS = { debug: 0, info: 1, warn: 2, error: 3 }

/** @typedef {{ text: string, rank: number, node: HTMLElement | null, line: LogLine }} Kept */

export class Log {
  constructor() {
    this.place = byId('log-lines')
    this.level = /** @type {HTMLSelectElement} */ (byId('log-level'))
    this.text = /** @type {HTMLInputElement} */ (byId('log-text'))
    this.pause = /** @type {HTMLButtonElement} */ (byId('log-pause'))
    this.isPaused = false
    this.isAnew = true
    /** Lines that came while it was paused. */
    this.held = 0
    /** @type {Kept[]} */
    this.kept = []
    this.level.addEventListener('change', () => this.redraw())
    this.text.addEventListener('input', () => this.redraw())
    this.pause.addEventListener('click', () => this.turn())
    byId('log-clear').addEventListener('click', () => this.clear())
    this.count()
  }

  /** The next lines are those of the last minutes, which may be here already. */
  restart() {
    this.isAnew = true
  }

  /** @param {readonly LogLine[]} lines */
  add(lines) {
    if (this.isAnew) this.kept = []
    for (const line of lines) {
      const rank = /** @type {Record<string, number>} */ (RANKS)[line.level] ?? 1
      this.kept.push({ line, rank, text: textOf(line), node: null })
    }
    const gone = this.kept.splice(0, Math.max(0, this.kept.length - LINES_MAX))
    if (this.isPaused) this.held += lines.length
    else if (this.isAnew) this.redraw()
    else this.append(lines.length, gone)
    this.isAnew = false
    this.count()
  }

  /**
   * @param {number} count of new lines, at the end of those that are kept
   * @param {readonly Kept[]} gone
   */
  append(count, gone) {
    const isAtEnd = this.isAtEnd
    for (const { node } of gone) node?.remove()
    for (const kept of this.kept.slice(-count)) if (this.fits(kept)) this.place.append(this.nodeOf(kept))
    if (isAtEnd) this.place.scrollTop = this.place.scrollHeight
  }

  redraw() {
    const wanted = this.kept.filter((kept) => this.fits(kept))
    this.place.replaceChildren(...wanted.map((kept) => this.nodeOf(kept)))
    this.place.scrollTop = this.place.scrollHeight
    this.count()
  }

  get isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.place
    return scrollHeight - scrollTop - clientHeight < 24
  }

  /** @param {Kept} kept */
  fits({ rank, text }) {
    const least = /** @type {Record<string, number>} */ (RANKS)[this.level.value] ?? 0
    return rank >= least && text.toLowerCase().includes(this.text.value.trim().toLowerCase())
  }

  /** @param {Kept} kept */
  nodeOf(kept) {
    if (kept.node !== null) return kept.node
    const { at, level, message } = kept.line
    const time = h('time', { datetime: new Date(at).toISOString() }, clock(at, Date.now()))
    const rest = h('span', { class: 'fields' }, kept.text.slice(message.length + 1))
    const node = h(
      'li',
      { 'data-level': level },
      time,
      ' ',
      h('b', {}, level),
      ' ',
      h('span', {}, message),
      ' ',
      rest,
    )
    kept.node = node
    return node
  }

  turn() {
    this.isPaused = !this.isPaused
    this.held = 0
    this.pause.setAttribute('aria-pressed', String(this.isPaused))
    setText(this.pause, this.isPaused ? 'Go on' : 'Pause')
    if (!this.isPaused) this.redraw()
    this.count()
  }

  clear() {
    this.kept = []
    this.redraw()
  }

  count() {
    const held = this.isPaused && this.held > 0 ? `, ${counted(this.held, 'new line')} held back` : ''
    const shown = this.place.children.length
    const all = shown === this.kept.length ? '' : ` of ${this.kept.length}`
    setText(byId('log-count'), `${shown}${all} lines${held}`)
  }
}

/** @param {LogLine} line */
function textOf({ message, fields }) {
  const parts = Object.entries(fields ?? {}).map(([name, value]) => `${name}=${wordOf(value)}`)
  return [message, ...parts].join(' ').slice(0, TEXT_MAX)
}

/** @param {unknown} value */
function wordOf(value) {
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
