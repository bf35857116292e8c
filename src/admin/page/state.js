// The top of the page: the sentence about the state, the numbers of now, and a card for each cause for
// which clients wait. The sentence is read out when it is about something else, not when its numbers
// change.
/** @import { Actions } from './actions.js' */
/** @import { Cause, Line, Snapshot } from './types.js' */
import { adviceOf, clientsOf, culpritOf, keyOf, sentenceOf, titleOf, troublesOf } from './causes.js'
import { byId, h, setAttribute, setOrder, setPairs, setText, show } from './dom.js'
import { pinsInWords } from './pin-words.js'
import * as words from './words.js'

const { NOTHING, duration, number } = words
/** ms for which a card stays after its cause has gone: short waits come and go many times a second. */
const LINGER_MS = 4000

/** @typedef {{ card: HTMLElement, seenAt: number }} Card */

export class State {
  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions
    /** @type {Map<string, Card>} */
    this.cards = new Map()
    this.isOld = false
    /** @type {Snapshot | null} */
    this.snapshot = null
    this.said = ''
    this.heard = ''
    this.tiles = new Map(TILES.map(([key, title]) => [key, tile(title)]))
  }

  /** @param {Snapshot} snapshot */
  update(snapshot) {
    this.snapshot = snapshot
    this.drawSentence()
    setText(byId('about'), about(snapshot))
    for (const [key, , say] of TILES) setText(/** @type {Node} */ (this.tiles.get(key)), say(snapshot))
    this.drawCards(snapshot)
  }

  /** What is shown is not of now, or is again. @param {boolean} isOld */
  setOld(isOld) {
    this.isOld = isOld
    this.drawSentence()
  }

  drawSentence() {
    const { snapshot, isOld } = this
    if (snapshot === null) return
    const { level, text, topic } = sentenceOf(snapshot)
    const before = `As of ${words.clock(snapshot.at, Date.now())}: ${text}`
    setText(byId('sentence'), isOld ? before : text)
    setAttribute(byId('state'), 'data-level', isOld ? 'old' : level)
    const short = level === 'good' ? 'pgmux: all is well' : `${shortOf(snapshot)} \u2013 pgmux`
    document.title = isOld ? 'pgmux: connection lost' : short
    if (!isOld) this.announce(topic, text)
  }

  /**
   * Only what holds for two seconds in a row.
   * @param {string} topic
   * @param {string} text
   */
  announce(topic, text) {
    if (this.heard === topic && this.said !== topic) {
      this.said = topic
      setText(byId('announce'), text)
    }
    this.heard = topic
  }

  /** @param {Snapshot} snapshot */
  drawCards({ at, state, causes }) {
    const place = byId('causes')
    const seen = new Map()
    const order = troublesOf(causes).map((cause) => {
      // Several processes may have the same cause.
      const count = (seen.get(keyOf(cause)) ?? 0) + 1
      seen.set(keyOf(cause), count)
      const key = `${keyOf(cause)} ${count}`
      const found = this.cards.get(key) ?? { card: newCard(), seenAt: at }
      found.seenAt = at
      this.cards.set(key, found)
      this.fill(found.card, cause, { at, isAllPaused: state === 'paused' })
      return found.card
    })
    for (const [key, { card, seenAt }] of this.cards) {
      if (seenAt === at) continue
      setAttribute(card, 'data-over', 'yes')
      setText(part(card, 'badge'), 'Nobody waits long for this any more')
      const isLooked = card.contains(document.activeElement) || card.matches(':hover')
      if (at - seenAt < LINGER_MS || (isLooked && at - seenAt < 4 * LINGER_MS)) order.push(card)
      else {
        card.remove()
        this.cards.delete(key)
      }
    }
    setOrder(place, order)
    show(place, order.length > 0)
  }

  /**
   * @param {HTMLElement} card
   * @param {Cause} cause
   * @param {{ at: number, isAllPaused: boolean }} now
   */
  fill(card, cause, { at, isAllPaused }) {
    const { database, user, clients, longest_ms: longest, reason } = cause
    const holder = culpritOf(cause)
    setAttribute(card, 'data-over', null)
    setAttribute(card, 'data-reason', reason)
    const first = clients === 1 ? 'for' : 'the first for'
    const badge = `${words.waiting(clients)}, ${first} ${duration(longest)}`
    setText(part(card, 'badge'), badge)
    setText(part(card, 'title'), titleOf(cause))
    setText(part(card, 'pool'), `database ${database}, user ${user}`)
    setText(part(card, 'what'), sentence(cause.cause))
    setText(part(card, 'advice'), adviceOf(cause))
    const who = part(card, 'holder')
    show(who, holder !== null)
    const id = holder?.id ?? null
    const link = /** @type {HTMLAnchorElement} */ (part(card, 'who'))
    setText(link, id === null ? 'a server that no single client has' : `client ${id}`)
    setAttribute(link, 'href', id === null ? null : `#client=${id}`)
    if (holder !== null) setPairs(part(card, 'facts'), factsOf(holder, at))
    const { statement = '' } = holder ?? {}
    const isRunning = holder?.state.startsWith('active') === true
    setText(part(card, 'term'), isRunning ? 'statement' : 'last statement')
    show(part(card, 'ran'), statement !== '')
    setText(part(card, 'statement'), statement)
    this.buttons(card, cause, isAllPaused)
  }

  /**
   * @param {HTMLElement} card
   * @param {Cause} cause
   * @param {boolean} isAllPaused
   */
  buttons(card, cause, isAllPaused) {
    const { database, reason } = cause
    const holder = culpritOf(cause)
    const id = holder?.id ?? null
    const [cancel, kill, resume] = /** @type {NodeListOf<HTMLButtonElement>} */ (
      card.querySelectorAll('.act button')
    )
    const isAtWork = holder?.state.startsWith('active') === true
    for (const [button, isWanted] of /** @type {const} */ ([
      [kill, id !== null],
      [cancel, id !== null && isAtWork],
      [resume, reason === 'paused'],
    ]))
      show(button, isWanted)
    this.actions.dress(kill, 'KILL_CLIENT', String(id), `Cut off client ${id} (KILL_CLIENT)`)
    this.actions.dress(cancel, 'CANCEL', String(id), `Cancel the statement of client ${id} (CANCEL)`)
    const all = isAllPaused ? '' : database
    this.actions.dress(resume, 'RESUME', all, isAllPaused ? 'Resume everything' : `Resume ${database}`)
    const isAny = id !== null || reason === 'paused'
    const why = part(card, 'hindrance')
    this.actions.explain(why)
    setAttribute(why, 'data-none', isAny ? null : 'yes')
  }
}

/**
 * @param {import('./types.js').Holder} holder
 * @param {number} at
 * @returns {[term: string, text: string][]}
 */
function factsOf({ state, seconds, address, application_name: application, pins = '' }, at) {
  const since = `for ${duration(seconds * 1000)}, since ${words.clock(at - seconds * 1000, at)}`
  return [
    ['does', `${state} ${since}`],
    .../** @type {[string, string][]} */ (pins === '' ? [] : [['keeps it for', pinsInWords(pins)]]),
    ['from', address === null || address === '' ? NOTHING : address],
    ['application', application === null || application === '' ? 'has given no name' : application],
  ]
}

function newCard() {
  const button = () => h('button', { type: 'button' })
  return h(
    'article',
    { class: 'card cause' },
    h('p', { class: 'badge' }),
    h('h2', { class: 'title' }),
    h('p', { class: 'pool' }),
    h('p', { class: 'what' }),
    h(
      'div',
      { class: 'holder' },
      h('p', {}, 'Most in the way: ', h('a', { class: 'who' })),
      h('dl', { class: 'facts' }),
      h(
        'div',
        { class: 'ran' },
        h('p', { class: 'term' }, 'last statement'),
        h('code', { class: 'statement' }),
      ),
    ),
    h('p', { class: 'todo' }, h('b', {}, 'What to do: '), h('span', { class: 'advice' })),
    h('div', { class: 'act' }, button(), h('button', { type: 'button', class: 'danger' }), button()),
    h('p', { class: 'hindrance' }),
  )
}

/**
 * @param {HTMLElement} card
 * @param {string} name
 */
function part(card, name) {
  return /** @type {HTMLElement} */ (card.querySelector(`.${name}`))
}

/** @param {string} text */
function sentence(text) {
  const end = /[.!?]$/.test(text) ? '' : '.'
  return text === '' ? '' : `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}`
}

/** @param {Snapshot} snapshot */
function shortOf({ state, causes }) {
  const waiting = clientsOf(troublesOf(causes))
  if (waiting > 0) return `${number(waiting)} ${waiting === 1 ? 'waits' : 'wait'}`
  return state === 'active' ? 'look here' : state
}

/** @param {Snapshot} snapshot */
function about({ version, uptime, workers }) {
  const many = workers > 1 ? `, ${number(workers)} workers` : ''
  return `pgmux ${version}, up for ${duration(uptime * 1000)}${many}`
}

const CLIENTS = ['clients_active', 'clients_waiting', 'clients_idle']
const SERVERS = ['servers_active', 'servers_idle', 'servers_other']

/** @type {readonly (readonly [key: string, title: string, say: (snapshot: Snapshot) => string])[]} */
const TILES = [
  ['queries', 'queries per second', ({ values }) => number(values.queries)],
  ['p95', '95 % within', ({ values }) => words.took(values.query_p95)],
  ['waiting', 'clients waiting', ({ values }) => number(values.clients_waiting)],
  ['clients', 'clients active', ({ values }) => share(values, CLIENTS)],
  ['servers', 'servers in use', ({ values }) => share(values, SERVERS)],
  ['pins', 'pins', ({ values }) => number(values.pins)],
  ['errors', 'errors per second', ({ values }) => number(values.errors)],
  ['cpu', 'of one processor', ({ values }) => words.percent(values.cpu)],
]

/**
 * The first of them, and all.
 * @param {Snapshot['values']} values
 * @param {readonly string[]} names
 */
function share(values, names) {
  const all = names.reduce((sum, name) => sum + (values[name] ?? 0), 0)
  return `${number(values[names[0]] ?? 0)} of ${number(all)}`
}

/** @param {string} title */
function tile(title) {
  const value = h('dd')
  byId('tiles').append(h('div', {}, h('dt', {}, title), value))
  return value
}

/**
 * What is said of the line to the server, in the bar at the top.
 * @param {Line} line
 * @param {number} shownAt time of what is shown (ms); 0: nothing is
 */
export function showLine({ state, since, reason }, shownAt) {
  const now = Date.now()
  const isLost = state === 'lost' || state === 'refused'
  const texts = { live: 'live', connecting: 'connecting', lost: 'connection lost', denied: 'not logged in' }
  setText(byId('line'), state === 'refused' ? 'not let in' : texts[state])
  setAttribute(byId('line'), 'data-state', state)
  setAttribute(document.documentElement, 'data-stale', state === 'live' ? null : 'yes')
  const seen = shownAt === 0 ? '' : ` What you see is of ${words.clock(shownAt, now)}.`
  const why = reason === '' ? '' : ` ${sentence(reason)}`
  // The time goes on without being read out: it is in a part of its own.
  setText(byId('lost-text'), isLost ? `No connection to pgmux.${why} Trying again.${seen}` : '')
  setText(byId('lost-for'), isLost ? `The connection was lost ${duration(now - since)} ago.` : '')
  show(byId('lost'), isLost)
}
