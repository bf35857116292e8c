// A table that is sorted by its headings and filled again each second without being built anew: rows are
// known by a key, cells change where their text does. While somebody points at a row or stands in it, rows
// keep their places, so that nothing is hit by mistake.
/** @import { Column } from './types.js' */
import { h, setAttribute, setOrder, setText, show } from './dom.js'
import { counted } from './words.js'

/** Rows in the page at most. */
const SHOWN_MAX = 200

/**
 * @typedef {object} TableOptions
 * @property {string} caption
 * @property {string} sortBy key of a column; '' : as the rows come
 * @property {boolean} [isUpwards] at first
 * @property {string} empty said where there is no row
 */

/** @template T */
export class Table {
  /**
   * @param {HTMLElement} place
   * @param {readonly Column<T>[]} columns
   * @param {(row: T) => string} keyOf
   * @param {TableOptions} options
   */
  constructor(place, columns, keyOf, options) {
    this.columns = columns
    this.keyOf = keyOf
    this.sortBy = options.sortBy
    this.isUpwards = options.isUpwards === true
    /** @type {readonly T[]} */
    this.rows = []
    /** @type {Map<string, HTMLTableRowElement>} */
    this.lines = new Map()
    this.body = h('tbody')
    this.heads = columns.map((column) => this.head(column))
    this.table = h(
      'table',
      {},
      h('caption', { class: 'unseen' }, options.caption),
      h('thead', {}, h('tr', {}, ...this.heads)),
      this.body,
    )
    this.empty = h('p', { class: 'empty' }, options.empty)
    this.more = h('p', { class: 'more', hidden: true })
    this.scroller = h('div', { class: 'scroller' }, this.table)
    place.append(this.scroller, this.empty, this.more)
    this.mark()
  }

  /** @param {Column<T>} column */
  head(column) {
    const cell = h('th', { scope: 'col', class: column.isNumber === true ? 'number' : null })
    if (column.isFixed === true) {
      cell.append(h('span', { class: 'unsorted' }, column.title))
      return cell
    }
    const button = h('button', { type: 'button', class: 'sort' }, column.title)
    button.addEventListener('click', () => this.sort(column))
    cell.append(button)
    return cell
  }

  /** @param {Column<T>} column */
  sort(column) {
    // Numbers are most wanted from above, names from A.
    this.isUpwards = this.sortBy === column.key ? !this.isUpwards : column.isNumber !== true
    this.sortBy = column.key
    this.mark()
    this.draw(true)
  }

  mark() {
    for (const [at, { key, isFixed }] of this.columns.entries()) {
      const sorted = this.sortBy === key ? (this.isUpwards ? 'ascending' : 'descending') : 'none'
      setAttribute(this.heads[at], 'aria-sort', isFixed === true ? null : sorted)
    }
  }

  /** @param {readonly T[]} rows */
  update(rows) {
    this.rows = rows
    this.draw(false)
  }

  /** @param {boolean} isWished somebody has asked for another order */
  draw(isWished) {
    const isHeld = !isWished && (this.body.matches(':hover') || this.body.contains(document.activeElement))
    const rows = this.ordered()
    const byKey = new Map(rows.slice(0, SHOWN_MAX).map((row) => [this.keyOf(row), row]))
    for (const [key, line] of this.lines) {
      if (byKey.has(key)) continue
      line.remove()
      this.lines.delete(key)
    }
    for (const [key, row] of byKey) this.fill(this.line(key), row)
    if (!isHeld)
      setOrder(
        this.body,
        [...byKey.keys()].map((key) => this.line(key)),
      )
    show(this.scroller, rows.length > 0)
    show(this.empty, rows.length === 0)
    show(this.more, rows.length > SHOWN_MAX)
    setText(this.more, `and ${counted(rows.length - SHOWN_MAX, 'more row')}`)
  }

  /** @param {string} key */
  line(key) {
    const found = this.lines.get(key)
    if (found !== undefined) return found
    const line = h('tr')
    for (const [at, { isNumber, look }] of this.columns.entries()) {
      const looks = [isNumber === true ? 'number' : '', look ?? ''].filter((name) => name !== '').join(' ')
      line.append(h(at === 0 ? 'th' : 'td', { class: looks === '' ? null : looks, scope: at === 0 && 'row' }))
    }
    this.lines.set(key, line)
    this.body.append(line)
    return line
  }

  /**
   * @param {HTMLTableRowElement} line
   * @param {T} row
   */
  fill(line, row) {
    for (const [at, { text, fill }] of this.columns.entries()) {
      const cell = /** @type {HTMLElement} */ (line.children[at])
      if (fill === undefined) setText(cell, text(row))
      else fill(cell, row)
    }
  }

  /** @returns {readonly T[]} */
  ordered() {
    const column = this.columns.find(({ key }) => key === this.sortBy)
    if (column === undefined) return this.rows
    const of = column.sort ?? column.text
    const sign = this.isUpwards ? 1 : -1
    return this.rows.toSorted((one, other) => compare(of(one), of(other), sign))
  }
}

/**
 * @param {string | number | null} one
 * @param {string | number | null} other
 * @param {1 | -1} sign
 */
function compare(one, other, sign) {
  if (one === other) return 0
  if (one === null || other === null) return one === null ? 1 : -1
  if (typeof one === 'number' && typeof other === 'number') return sign * (one - other)
  return sign * String(one).localeCompare(String(other))
}
