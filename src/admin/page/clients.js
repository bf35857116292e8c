// The table of clients: asked for while it is in sight, with the filters that were filled in. It keeps
// what the last answer said, and no more.
/** @import { Column, Row, Shown, Snapshot } from './types.js' */
import { shown, wordsOf } from './api.js'
import { byId, setAttribute, setText, show } from './dom.js'
import { clientLink } from './lists.js'
import { Table } from './table.js'
import { counted, duration, instant, NOTHING, number } from './words.js'

const AGAIN_MS = 3000
const ROWS_MAX = 200
/** Names that are offered in the filters. */
const OFFERED_MAX = 50

/** @type {readonly Column<Row>[]} */
const COLUMNS = [
  {
    ...{ key: 'id', title: 'Client', text: (row) => String(row.id), sort: (row) => row.id },
    fill: (cell, row) => clientLink(cell, String(row.id)),
  },
  {
    ...{ key: 'state', title: 'State', text: (row) => said(row.state) },
    fill: (cell, row) => {
      setText(cell, said(row.state))
      setAttribute(cell, 'data-warn', row.state === 'waiting' ? 'yes' : null)
    },
  },
  {
    ...{ key: 'wait', title: 'Waits for', isNumber: true },
    text: (row) => (row.state === 'waiting' ? duration(waitOf(row)) : NOTHING),
    sort: (row) => waitOf(row),
  },
  { key: 'database', title: 'Database', text: (row) => said(row.database), look: 'name' },
  { key: 'user', title: 'User', text: (row) => said(row.user), look: 'name' },
  { key: 'application', title: 'Application', text: (row) => said(row.application_name), look: 'name' },
  { key: 'address', title: 'From', text: (row) => said(row.addr) },
  { ...{ key: 'asked', title: 'Last heard of', isNumber: true }, ...ago('request_time') },
  { ...{ key: 'came', title: 'Here for', isNumber: true }, ...ago('connect_time') },
]

/** @param {Row[string]} value */
function said(value) {
  return value === null || value === '' ? NOTHING : String(value)
}

/** ms. @param {Row} row */
function waitOf(row) {
  return Number(row.wait) * 1000 + Number(row.wait_us) / 1000
}

/**
 * How long ago a column's time is.
 * @param {string} name
 * @returns {Pick<Column<Row>, 'text' | 'sort'>}
 */
function ago(name) {
  /** @param {Row} row */
  const since = (row) => {
    const at = instant(row[name])
    return at === null ? null : Math.max(0, Date.now() - at)
  }
  return {
    sort: since,
    text: (row) => {
      const ms = since(row)
      // Times come in whole seconds.
      return ms === null ? NOTHING : ms < 1000 ? 'now' : duration(ms)
    },
  }
}

/**
 * As many as are shown. Where there are more, those that wait are among them.
 * @param {Record<string, string>} filters
 * @param {(filters: Record<string, string | number>) => Promise<Shown>} ask
 * @returns {Promise<Shown>}
 */
export async function someOf(filters, ask) {
  const found = await ask({ ...filters, limit: ROWS_MAX })
  if (!found.more || (filters.state ?? '') !== '') return found
  const { rows } = await ask({ ...filters, state: 'waiting', limit: ROWS_MAX })
  const ids = new Set(rows.map(({ id }) => id))
  const others = found.rows.filter(({ id }) => !ids.has(id))
  return { rows: [...rows, ...others].slice(0, ROWS_MAX), more: true }
}

export class Clients {
  constructor() {
    this.form = /** @type {HTMLFormElement} */ (byId('clients-filter'))
    const options = { caption: 'Clients', sortBy: 'wait', empty: 'No client is like this.' }
    this.table = new Table(byId('clients-table'), COLUMNS, (row) => String(row.id), options)
    this.isSeen = false
    this.isLive = false
    this.asked = 0
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined
    this.form.addEventListener('input', () => this.soon(250))
    this.form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.soon(0)
    })
    this.form.addEventListener('reset', () => this.soon(0))
    new IntersectionObserver((entries) => {
      this.isSeen = entries.at(-1)?.isIntersecting === true
      this.soon(0)
    }).observe(byId('clients'))
    document.addEventListener('visibilitychange', () => this.soon(0))
  }

  /** @param {boolean} isLive there is a line to the server, and one may look */
  update(isLive) {
    if (isLive !== this.isLive) this.soon(0)
    this.isLive = isLive
  }

  /** Names for the filters, from what there is. @param {Snapshot} snapshot */
  suggest({ pools }) {
    for (const key of /** @type {const} */ (['database', 'user'])) {
      const names = [...new Set(pools.map((pool) => pool[key]))].sort().slice(0, OFFERED_MAX)
      const list = byId(`${key}-names`)
      if (list.dataset.names === names.join('\0')) continue
      list.dataset.names = names.join('\0')
      list.replaceChildren(...names.map((name) => new Option(name, name)))
    }
  }

  /** @param {number} ms */
  soon(ms) {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.ask(), ms)
  }

  async ask() {
    if (!this.isSeen || !this.isLive || document.hidden) return
    const turn = ++this.asked
    const filters = Object.fromEntries(
      [...new FormData(this.form)].map(([name, value]) => [name, String(value)]),
    )
    let fault = ''
    try {
      const { rows, more } = await someOf(filters, (which) => shown('CLIENTS', which))
      // A later question was quicker.
      if (turn !== this.asked) return
      this.table.update(rows)
      setText(byId('clients-count'), more ? `more than ${number(rows.length)}` : number(rows.length))
      const text = `There are more: ${counted(rows.length, 'client')} are shown, those that wait first.`
      setText(byId('clients-more'), text)
      show(byId('clients-more'), more)
    } catch (error) {
      fault = wordsOf(error)
    }
    setText(byId('clients-error'), fault)
    show(byId('clients-error'), fault !== '')
    this.soon(AGAIN_MS)
  }
}
