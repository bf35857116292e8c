// One client in a panel at the side: what it is and does in words, its server, what keeps it there, who
// waits because of it; and the two things one can do to it. Asked anew every two seconds while it is open.
/** @import { Actions } from './actions.js' */
/** @import { Row } from './types.js' */
import { shown, wordsOf } from './api.js'
import { byId, h, setPairs, setText, show } from './dom.js'
import { pinsInWords } from './pin-words.js'
import { clock, counted, duration, instant, NOTHING } from './words.js'

const AGAIN_MS = 2000

/** @typedef {[term: string, text: string][]} Pairs */

/**
 * @typedef {object} Found
 * @property {Row} client
 * @property {Row | undefined} server
 * @property {readonly Row[]} pins
 * @property {readonly Row[]} waits
 * @property {readonly Row[]} blocked those who wait because of it
 */

/** What is asked of one client. */
const QUESTIONS = /** @type {const} */ ([
  ['PINS', 'id'],
  ['WAITS', 'id'],
  ['WAITS', 'holder_id'],
])

export class ClientPanel {
  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions
    this.dialog = /** @type {HTMLDialogElement} */ (byId('client'))
    this.id = ''
    this.turn = 0
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined
    this.dialog.addEventListener('close', () => clearTimeout(this.timer))
  }

  /** @param {string} id */
  open(id) {
    if (this.id !== id) for (const place of PLACES) byId(place).replaceChildren()
    this.id = id
    setText(byId('client-title'), `Client ${id}`)
    this.actions.dress(this.button('client-cancel'), 'CANCEL', id)
    this.actions.dress(this.button('client-kill'), 'KILL_CLIENT', id)
    this.actions.explain(byId('client-hindrance'))
    this.say('')
    if (!this.dialog.open) this.dialog.showModal()
    void this.ask()
  }

  /** @param {string} id */
  button(id) {
    return /** @type {HTMLButtonElement} */ (byId(id))
  }

  async ask() {
    clearTimeout(this.timer)
    const turn = ++this.turn
    const { id } = this
    try {
      const clients = await shown('CLIENTS', { id })
      const [client] = clients.rows
      const ptr = client === undefined ? '' : String(client.ptr ?? '')
      const servers = ptr === '' ? { rows: [] } : await shown('SERVERS', { link: ptr })
      const [pins, waits, blocked] = await Promise.all(
        QUESTIONS.map(async ([what, column]) => (await shown(what, { [column]: id })).rows),
      )
      if (turn !== this.turn || id !== this.id) return
      if (client === undefined) this.gone()
      else this.draw({ client, server: servers.rows[0], pins, waits, blocked })
    } catch (error) {
      this.say(wordsOf(error))
    }
    if (this.dialog.open) this.timer = setTimeout(() => void this.ask(), AGAIN_MS)
  }

  gone() {
    this.say(`Client ${this.id} is not here any more.`)
    for (const place of PLACES.slice(1)) byId(place).replaceChildren()
  }

  /** @param {string} text */
  say(text) {
    setText(byId('client-error'), text)
    show(byId('client-error'), text !== '')
  }

  /** @param {Found} found */
  draw({ client, server, pins, waits, blocked }) {
    this.say('')
    const [wait] = waits
    const [behind] = blocked
    setText(byId('client-sentence'), sentenceOf(client, wait, blocked))
    setPairs(byId('client-facts'), clientFacts(client))
    setPairs(byId('client-server'), server === undefined ? [['server', 'has none now']] : serverFacts(server))
    const statement = String(wait?.statement || behind?.holder_statement || pins[0]?.statement || '')
    setText(byId('client-statement'), statement === '' ? 'It has none that is known.' : statement)
    const list = byId('client-pins')
    while (list.children.length > Math.max(1, pins.length)) list.lastElementChild?.remove()
    const lines =
      pins.length === 0 ? ['None: its server goes back after each transaction.'] : pins.map(pinText)
    for (const [at, line] of lines.entries()) setText(list.children[at] ?? list.appendChild(h('li')), line)
  }
}

/** Whatever is filled in for one client, the sentence first. */
const PLACES = ['client-sentence', 'client-facts', 'client-server', 'client-statement', 'client-pins']

/**
 * @param {Row} client
 * @param {Row | undefined} wait
 * @param {readonly Row[]} blocked
 */
function sentenceOf(client, wait, blocked) {
  if (wait !== undefined)
    return `It waits for a server, for ${duration(Number(wait.wait) * 1000)}: ${wait.cause}.`
  if (blocked.length > 0) {
    const [{ holder_state: state, holder_time: time }] = blocked
    const others = `${counted(blocked.length, 'client')} ${blocked.length === 1 ? 'waits' : 'wait'}`
    const how = `${state} for ${duration(Number(time) * 1000)}`
    return `It is ${how}, and most in the way: ${others} because of it.`
  }
  if (client.state === 'active') return 'It has a server at this moment.'
  return 'It is idle: it has no server and waits for none.'
}

/** @param {Row} client @returns {Pairs} */
function clientFacts(client) {
  const application = String(client.application_name ?? '')
  return [
    ['state', String(client.state)],
    ['database', String(client.database)],
    ['user', String(client.user)],
    ['application', application === '' ? 'has given no name' : application],
    ['comes from', client.port === null ? String(client.addr) : `${client.addr}, port ${client.port}`],
    ['encrypted', client.tls === '' || client.tls === null ? 'no' : 'yes, TLS'],
    ['connected', ago(client.connect_time)],
    ['last heard of', ago(client.request_time)],
    ['replication', client.replication === 'none' ? 'no' : String(client.replication)],
    ['prepared statements', String(client.prepared_statements ?? NOTHING)],
  ]
}

/** @param {Row} server @returns {Pairs} */
function serverFacts(server) {
  return [
    ['server', `number ${server.id}, process ${server.remote_pid ?? NOTHING} of Postgres`],
    ['where', server.port === null ? String(server.addr) : `${server.addr}:${server.port}`],
    ['state', String(server.state)],
    ['open since', ago(server.connect_time)],
    ['last at work', ago(server.request_time)],
    ['closes when free', Number(server.close_needed) === 1 ? 'yes' : 'no'],
    ['prepared statements', String(server.prepared_statements ?? NOTHING)],
  ]
}

/** @param {Row} pin */
function pinText(pin) {
  const made = pin.statement === '' || pin.statement === null ? '' : `, by: ${pin.statement}`
  return `${pinsInWords(String(pin.reason))} (${pin.reason}), for ${duration(Number(pin.age) * 1000)}${made}`
}

/** @param {Row[string]} text */
function ago(text) {
  const at = instant(text)
  if (at === null) return NOTHING
  const now = Date.now()
  return now - at < 1000 ? 'now' : `${clock(at, now)}, ${duration(now - at)} ago`
}
