// The table of pools, and the dialog with what can be done to one database.
/** @import { Actions } from './actions.js' */
/** @import { Column, PoolRow, Snapshot } from './types.js' */
import { offer } from './actions.js'
import { byId, only, setAttribute, setPairs, setText, show } from './dom.js'
import { Table } from './table.js'
import { counted, duration, number, NOTHING } from './words.js'

/** @type {readonly (readonly [command: string, sentence: string])[]} */
const COMMANDS = [
  ['PAUSE', 'Clients wait, servers are closed as they become free: before Postgres is restarted.'],
  ['RESUME', 'Undoes PAUSE and KILL.'],
  ['RECONNECT', 'Each server is closed as soon as it is free and opened anew: after a change at Postgres.'],
  ['DISABLE', 'New clients are refused; those that are in go on.'],
  ['ENABLE', 'Undoes DISABLE.'],
  ['KILL', 'All clients and servers are cut off at once, and the database is paused.'],
]

/** @type {readonly Column<PoolRow>[]} */
const COLUMNS = [
  {
    ...{ key: 'database', title: 'Database' },
    text: ({ database }) => database,
    fill: (cell, { database }) => databaseLink(cell, database),
  },
  { key: 'user', title: 'User', text: ({ user }) => user, look: 'name' },
  { key: 'state', title: 'State', text: ({ paused }) => (paused ? 'paused' : 'in use'), fill: stateBadge },
  ...numeric('clients_waiting', 'Waiting'),
  {
    ...{ key: 'wait', title: 'Longest wait', isNumber: true },
    text: ({ oldest_wait_ms: ms }) => (ms > 0 ? duration(ms) : NOTHING),
    sort: ({ oldest_wait_ms: ms }) => ms,
  },
  ...numeric('clients_active', 'Clients active'),
  ...numeric('clients_idle', 'Clients idle'),
  {
    ...{ key: 'used', title: 'Servers in use', isNumber: true },
    text: ({ servers_active: used, size }) => `${number(used)} of ${number(size)}`,
    sort: ({ servers_active: used }) => used,
  },
  ...numeric('servers_idle', 'Servers idle'),
  ...numeric('servers_other', 'Servers opening'),
  { key: 'shared', title: 'Shared', text: ({ shared }) => shared },
  { key: 'mode', title: 'Mode', text: ({ mode }) => mode },
]

/**
 * @param {'clients_waiting' | 'clients_active' | 'clients_idle' | 'servers_idle' | 'servers_other'} key
 * @param {string} title
 * @returns {Column<PoolRow>[]}
 */
function numeric(key, title) {
  return [
    { key, title, isNumber: true, text: (row) => number(row[key] ?? null), sort: (row) => row[key] ?? null },
  ]
}

/**
 * @param {HTMLElement} cell
 * @param {PoolRow} row
 */
function stateBadge(cell, { paused }) {
  setText(cell, paused ? 'paused' : 'in use')
  setAttribute(cell, 'data-warn', paused ? 'yes' : null)
}

/**
 * @param {HTMLElement} cell
 * @param {string} database
 */
function databaseLink(cell, database) {
  const link = only(cell, 'a')
  setText(link, database)
  setAttribute(link, 'class', 'name')
  setAttribute(link, 'href', `#database=${encodeURIComponent(database)}`)
}

export class Pools {
  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions
    this.dialog = /** @type {HTMLDialogElement} */ (byId('database'))
    this.shown = ''
    /** @type {Snapshot | null} */
    this.snapshot = null
    const options = { caption: 'Pools', sortBy: 'clients_waiting', empty: 'Nobody has used a database yet.' }
    this.table = new Table(
      byId('pools-table'),
      COLUMNS,
      ({ database, user, mode }) => {
        return JSON.stringify([database, user, mode])
      },
      options,
    )
  }

  /** @param {Snapshot} snapshot */
  update(snapshot) {
    this.snapshot = snapshot
    this.table.update(snapshot.pools)
    setText(byId('pools-count'), number(snapshot.pools.length))
    const marks = [
      ...(snapshot.paused ?? []).map((name) => /** @type {const} */ ([name, 'paused'])),
      ...(snapshot.disabled ?? []).map((name) => /** @type {const} */ ([name, 'disabled'])),
    ]
    this.mark(marks)
    if (this.dialog.open) this.describe()
  }

  /**
   * Databases that an operator has paused or disabled, also where no pool is left to show it.
   * @param {readonly (readonly [name: string, how: string])[]} marks
   */
  mark(marks) {
    const place = byId('marks')
    show(place, marks.length > 0)
    while (place.children.length > marks.length) place.lastElementChild?.remove()
    for (const [at, [name, how]] of marks.entries()) {
      const line = /** @type {HTMLElement} */ (
        place.children[at] ?? place.appendChild(document.createElement('li'))
      )
      const link = only(line, 'a')
      setText(link, `${name} is ${how}`)
      setAttribute(link, 'href', `#database=${encodeURIComponent(name)}`)
    }
  }

  /** @param {string} database */
  open(database) {
    this.shown = database
    setText(byId('database-name'), database)
    offer(this.actions, byId('database-acts'), COMMANDS, database)
    this.actions.explain(byId('database-hindrance'))
    this.describe()
    if (!this.dialog.open) this.dialog.showModal()
  }

  describe() {
    const pools = this.snapshot?.pools.filter(({ database }) => database === this.shown) ?? []
    /** @param {'clients_active' | 'clients_waiting' | 'servers_active' | 'servers_idle'} key */
    const sum = (key) => pools.reduce((total, row) => total + row[key], 0)
    const isPaused =
      pools.some(({ paused }) => paused) || this.snapshot?.paused?.includes(this.shown) === true
    const isDisabled = this.snapshot?.disabled?.includes(this.shown) === true
    const how = [isPaused ? 'paused' : '', isDisabled ? 'disabled: no new clients' : ''].filter(
      (text) => text !== '',
    )
    setPairs(byId('database-facts'), [
      ['state', how.length === 0 ? 'in use' : how.join(', ')],
      ['pools', counted(pools.length, 'pool')],
      ['clients', `${number(sum('clients_active'))} active, ${number(sum('clients_waiting'))} waiting`],
      ['servers', `${number(sum('servers_active'))} in use, ${number(sum('servers_idle'))} idle`],
    ])
  }
}
