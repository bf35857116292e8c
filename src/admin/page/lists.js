// The tables that only show: pins, leaks, statements, hosts, errors. Each is a list of columns and a name.
/** @import { Column, ErrorRow, HostRow, LeakRow, PinRow } from './types.js' */
/** @import { RecentRow, Snapshot, StatementRow } from './types.js' */
import { byId, only, setAttribute, setText } from './dom.js'
import { pinsInWords } from './pin-words.js'
import { Table } from './table.js'
import { clock, counted, duration, instant, NOTHING, number, took } from './words.js'

/** Of what is shown: times are told from here. */
let now = Date.now()

/**
 * A link to the panel of a client.
 * @param {HTMLElement} cell
 * @param {string | number} id
 */
export function clientLink(cell, id) {
  const link = only(cell, 'a')
  setText(link, String(id))
  setAttribute(link, 'href', `#client=${id}`)
}

/**
 * A text as somebody has written it, in a fixed width.
 * @param {HTMLElement} cell
 * @param {string} text
 */
function code(cell, text) {
  setText(only(cell, 'code'), text)
}

/** @type {readonly Column<PinRow>[]} */
const PINS = [
  {
    ...{ key: 'client', title: 'Client', text: ({ client_id: id }) => String(id) },
    ...{ sort: ({ client_id: id }) => id, fill: (cell, { client_id: id }) => clientLink(cell, id) },
  },
  { key: 'reason', title: 'Reason', text: ({ reason }) => reason },
  { key: 'has', title: 'What it has', text: ({ reason }) => pinsInWords(reason) },
  {
    ...{ key: 'age', title: 'For', isNumber: true },
    text: ({ seconds }) => duration(seconds * 1000),
    sort: ({ seconds }) => seconds,
  },
  { key: 'database', title: 'Database', text: ({ database }) => database, look: 'name' },
  { key: 'user', title: 'User', text: ({ user }) => user, look: 'name' },
  { key: 'address', title: 'From', text: ({ address }) => address },
  {
    ...{ key: 'statement', title: 'Statement that made it', look: 'wide' },
    text: ({ statement }) => statement,
    fill: (cell, { statement }) => code(cell, statement),
  },
]

/** @type {readonly Column<LeakRow>[]} */
const LEAKS = [
  { key: 'at', title: 'When', text: ({ at }) => clock(at, now), sort: ({ at }) => at },
  { key: 'database', title: 'Database', text: ({ database }) => database, look: 'name' },
  { key: 'user', title: 'User', text: ({ user }) => user, look: 'name' },
  { key: 'what', title: 'What was left', text: ({ what }) => what, look: 'wide' },
  { key: 'after', title: 'After', text: ({ after }) => after, look: 'wide' },
]

/** @type {readonly Column<StatementRow>[]} */
const STATEMENTS = [
  {
    ...{ key: 'statement', title: 'Statement, without its constants', look: 'wide' },
    text: ({ statement }) => statement,
    fill: (cell, { statement }) => code(cell, statement),
  },
  {
    key: 'calls',
    title: 'Calls',
    isNumber: true,
    text: ({ calls }) => number(calls),
    sort: ({ calls }) => calls,
  },
  {
    ...{ key: 'mean', title: 'Mean time', isNumber: true },
    text: ({ mean_ms: mean }) => took(mean),
    sort: ({ mean_ms: mean }) => mean,
  },
  {
    ...{ key: 'total', title: 'Time in all', isNumber: true },
    text: ({ total_ms: total }) => took(total),
    sort: ({ total_ms: total }) => total,
  },
  { key: 'rows', title: 'Rows', isNumber: true, text: ({ rows }) => number(rows), sort: ({ rows }) => rows },
  {
    ...{ key: 'errors', title: 'Errors', isNumber: true },
    text: ({ errors }) => number(errors),
    sort: ({ errors }) => errors,
  },
  {
    ...{ key: 'shared', title: 'On shared servers', isNumber: true },
    text: ({ shared }) => number(shared),
    sort: ({ shared }) => shared,
  },
  { key: 'database', title: 'Database', text: ({ database }) => database ?? NOTHING, look: 'name' },
]

/** @type {readonly Column<HostRow>[]} */
const HOSTS = [
  { key: 'database', title: 'Database', text: ({ database }) => database, look: 'name' },
  { key: 'host', title: 'Address', text: ({ host, port }) => (host === null ? NOTHING : `${host}:${port}`) },
  {
    ...{ key: 'state', title: 'State', text: ({ state }) => hostState(state) },
    fill: (cell, { state }) => {
      setText(cell, hostState(state))
      setAttribute(cell, 'data-bad', state === 'down' ? 'yes' : null)
    },
  },
  { key: 'since', title: 'Since', text: (row) => failing(row), sort: (row) => instant(row.failing_since) },
  {
    key: 'error',
    title: 'What the last failed login said',
    text: (row) => row.last_error ?? NOTHING,
    look: 'wide',
  },
]

/** @param {string} state */
function hostState(state) {
  if (state === 'up') return 'can be reached'
  return state === 'down' ? 'cannot be reached' : 'nobody has asked yet'
}

/** @param {HostRow} row */
function failing({ failing_since: since }) {
  const at = instant(since)
  return at === null ? NOTHING : `${clock(at, now)} (for ${duration(now - at)})`
}

/** @type {readonly Column<ErrorRow>[]} */
const ERRORS = [
  { key: 'message', title: 'What the last one said', text: ({ message }) => message, look: 'wide' },
  {
    key: 'count',
    title: 'Count',
    isNumber: true,
    text: ({ count }) => number(count),
    sort: ({ count }) => count,
  },
  { key: 'code', title: 'SQLSTATE', text: ({ code: state }) => state },
  { key: 'reason', title: 'Reason', text: ({ reason }) => reason },
  { key: 'last', title: 'Last', text: ({ last_at: at }) => clock(at, now), sort: ({ last_at: at }) => at },
]

/** @type {readonly Column<RecentRow>[]} */
const RECENT = [
  { key: 'at', title: 'When', text: ({ at }) => clock(at, now), sort: ({ at }) => at },
  { key: 'message', title: 'What', text: ({ message }) => message, look: 'wide' },
  { key: 'code', title: 'SQLSTATE', text: ({ code: state }) => state },
  { key: 'reason', title: 'Reason', text: ({ reason }) => reason },
  { key: 'database', title: 'Database', text: ({ database }) => database ?? NOTHING, look: 'name' },
  { key: 'user', title: 'User', text: ({ user }) => user ?? NOTHING, look: 'name' },
  { key: 'address', title: 'From', text: ({ address }) => address ?? NOTHING },
]

/**
 * Rows that look alike are told apart by their number.
 * @template {object} T
 * @param {readonly T[]} rows
 * @param {(row: T) => readonly unknown[]} of
 * @returns {(row: T) => string}
 */
function numbered(rows, of) {
  /** @type {Map<string, number>} */
  const seen = new Map()
  /** @type {Map<T, string>} */
  const keys = new Map()
  for (const row of rows) {
    const key = JSON.stringify(of(row))
    const count = seen.get(key) ?? 0
    seen.set(key, count + 1)
    keys.set(row, `${key} ${count}`)
  }
  return (row) => keys.get(row) ?? ''
}

export class Lists {
  constructor() {
    const at = { sortBy: 'at' }
    this.pins = make('pins', PINS, { caption: 'Pins', sortBy: 'age', empty: 'No client keeps a server.' })
    this.leaks = make('leaks', LEAKS, { caption: 'Leaks', ...at, empty: 'None, as it must be.' })
    const empty = 'No statement has run yet.'
    this.statements = make('statements', STATEMENTS, { caption: 'Statements', sortBy: 'mean', empty })
    this.hosts = make('hosts', HOSTS, {
      caption: 'Hosts',
      sortBy: 'state',
      isUpwards: true,
      empty: 'None yet.',
    })
    this.errors = make('errors', ERRORS, { caption: 'Errors by kind', sortBy: 'count', empty: 'None.' })
    this.recent = make('recent', RECENT, { caption: 'The last errors', ...at, empty: 'None.' })
    /** @type {Snapshot | null} */
    this.snapshot = null
    this.order = /** @type {HTMLFormElement} */ (byId('statements-order'))
    this.order.addEventListener('change', () => this.chosen())
  }

  /** Slowest or most frequent: another list, and another column to begin with. */
  chosen() {
    const by = this.isFrequent ? 'calls' : 'mean'
    const column = STATEMENTS.find(({ key }) => key === by)
    this.statements.sortBy = ''
    if (column !== undefined) this.statements.sort(column)
    if (this.snapshot !== null) this.update(this.snapshot)
  }

  get isFrequent() {
    return new FormData(this.order).get('statements') === 'frequent'
  }

  /** @param {Snapshot} snapshot */
  update(snapshot) {
    this.snapshot = snapshot
    now = snapshot.at
    const { pins, leaks, statements, hosts, errors, recent } = snapshot
    put(this.pins, pins, ({ client_id: id, reason, statement }) => [id, reason, statement])
    put(this.leaks, leaks, ({ at, what, after }) => [at, what, after])
    const rows = this.isFrequent ? statements.frequent : statements.slowest
    put(this.statements, rows, ({ statement, database }) => [statement, database])
    put(this.hosts, hosts, ({ database, host, port }) => [database, host, port])
    put(this.errors, errors, ({ code: state, reason }) => [state, reason])
    put(this.recent, recent, ({ at, code: state, message, address }) => [at, state, message, address])
    setText(byId('pins-count'), number(pins.length))
    setText(byId('leaks-count'), number(leaks.length))
    setText(byId('errors-count'), counted(errors.length, 'kind'))
    const down = hosts.filter(({ state }) => state === 'down').length
    setText(byId('hosts-count'), down === 0 ? number(hosts.length) : `${number(down)} cannot be reached`)
    setAttribute(byId('hosts-count'), 'data-bad', down > 0 ? 'yes' : null)
    setAttribute(byId('leaks-count'), 'data-bad', leaks.length > 0 ? 'yes' : null)
  }
}

/**
 * @template T
 * @param {string} name
 * @param {readonly Column<T>[]} columns
 * @param {import('./table.js').TableOptions} options
 * @returns {Table<T>}
 */
function make(name, columns, options) {
  return new Table(byId(`${name}-table`), columns, () => '', options)
}

/**
 * @template {object} T
 * @param {Table<T>} table
 * @param {readonly T[]} rows
 * @param {(row: T) => readonly unknown[]} of
 */
function put(table, rows, of) {
  table.keyOf = numbered(rows, of)
  table.update(rows)
}
