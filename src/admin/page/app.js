// Where the page begins: it makes the parts and hands them what comes from the server. While nobody sees
// the page, nothing but its title is drawn.
/** @import { History, Line, Me, Sample, Snapshot } from './types.js' */
import { Actions } from './actions.js'
import { wordsOf } from './api.js'
import { Chart, KINDS } from './charts.js'
import { ClientPanel } from './client-panel.js'
import { Clients } from './clients.js'
import { byId, setAttribute, show } from './dom.js'
import { Feed } from './feed.js'
import { Past } from './history.js'
import { Lists } from './lists.js'
import { Log } from './log.js'
import { Pools } from './pools.js'
import { Session } from './session.js'
import { showLine, State } from './state.js'

const THEME = 'pgmux-appearance'
const AGAIN_MS = 2000

class Page {
  constructor() {
    this.actions = new Actions(() => void this.session.refresh().catch(() => {}))
    this.session = new Session((me) => this.onMe(me))
    this.state = new State(this.actions)
    this.pools = new Pools(this.actions)
    this.panel = new ClientPanel(this.actions)
    this.lists = new Lists()
    this.clients = new Clients()
    this.log = new Log()
    this.past = new Past()
    this.charts = KINDS.map((kind) => new Chart(byId('charts-grid'), kind))
    /** @type {Snapshot | null} */
    this.snapshot = null
    /** @type {Line} */
    this.line = { state: 'connecting', since: Date.now(), reason: '' }
    this.feed = new Feed({
      onHistory: (history) => this.onHistory(history),
      onNow: (snapshot) => this.onNow(snapshot),
      onSample: (sample) => this.onSample(sample),
      onLog: (lines) => this.log.add(lines),
      onLine: (line) => this.onLine(line),
    })
    document.addEventListener('visibilitychange', () => this.draw())
    addEventListener('hashchange', () => this.follow())
    byId('again').addEventListener('click', () => location.reload())
    byId('range').addEventListener('change', () => this.drawCharts())
    for (const dialog of document.querySelectorAll('dialog.panel'))
      this.tend(/** @type {HTMLDialogElement} */ (dialog))
    setInterval(() => showLine(this.line, this.snapshot?.at ?? 0), 1000)
    dressTheme(() => {
      for (const chart of this.charts) chart.repaint()
    })
    void this.start()
  }

  async start() {
    try {
      await this.session.refresh()
    } catch (error) {
      this.onLine({ state: 'lost', since: this.line.since, reason: wordsOf(error) })
      setTimeout(() => void this.start(), AGAIN_MS)
      return
    }
    if (this.session.me.mayLook) this.feed.open()
    else this.onLine({ state: 'denied', since: Date.now(), reason: '' })
    this.follow()
  }

  /** @param {Me} me */
  onMe(me) {
    this.actions.update(me)
    show(byId('denied'), !me.mayLook)
    show(byId('content'), me.mayLook)
    // What was shown to somebody else is not kept.
    if (!me.mayLook && this.snapshot !== null) return location.reload()
    if (!me.mayLook) {
      this.feed.close()
      this.line = { state: 'denied', since: Date.now(), reason: '' }
    } else if (this.line.state === 'denied') this.feed.open()
    showLine(this.line, this.snapshot?.at ?? 0)
  }

  /** @param {Line} line */
  onLine(line) {
    const wasLive = this.line.state === 'live'
    this.line = line
    this.state.setOld(line.state === 'lost' || line.state === 'refused')
    showLine(line, this.snapshot?.at ?? 0)
    this.clients.update(line.state === 'live')
    // Whoever comes back may be somebody else to a server that has started anew.
    if ((line.state === 'live' && !wasLive) || line.state === 'denied') {
      this.log.restart()
      void this.session.refresh().catch(() => {})
    }
  }

  /** @param {History} history */
  onHistory(history) {
    this.past.replace(history)
    this.drawCharts()
  }

  /** @param {Sample} sample */
  onSample(sample) {
    this.past.add(sample)
    if (!document.hidden) this.drawCharts()
  }

  /** @param {Snapshot} snapshot */
  onNow(snapshot) {
    const isNew = this.snapshot !== null && this.snapshot.version !== snapshot.version
    if (isNew) show(byId('renewed'), true)
    this.snapshot = snapshot
    this.draw()
  }

  draw() {
    const { snapshot } = this
    if (snapshot === null) return
    this.state.update(snapshot)
    if (document.hidden) return
    this.pools.update(snapshot)
    this.lists.update(snapshot)
    this.clients.suggest(snapshot)
  }

  drawCharts() {
    const chosen = new FormData(/** @type {HTMLFormElement} */ (byId('range'))).get('range')
    const now = (this.past.times.at(-1) ?? Date.now() / 1000) * 1000
    for (const chart of this.charts) chart.update(this.past, Number(chosen), now)
  }

  /** Opens what the address names: `#client=7`, `#database=app`. */
  follow() {
    const [name, value = ''] = location.hash.slice(1).split('=')
    let text = ''
    try {
      text = decodeURIComponent(value)
    } catch {
      return
    }
    if (name === 'client' && /^[\w:-]+$/.test(text)) this.panel.open(text)
    if (name === 'database' && text !== '') this.pools.open(text)
  }

  /** A panel that closes takes its name out of the address. @param {HTMLDialogElement} dialog */
  tend(dialog) {
    dialog.addEventListener('close', () => {
      if (location.hash.startsWith(`#${dialog.id}=`)) history.replaceState(null, '', location.pathname)
    })
    // Beside the panel.
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close()
    })
    dialog.querySelector('.close')?.addEventListener('click', () => dialog.close())
  }
}

/** @param {() => void} repaint */
function dressTheme(repaint) {
  const select = /** @type {HTMLSelectElement} */ (byId('appearance'))
  select.value = document.documentElement.dataset.theme ?? 'system'
  select.addEventListener('change', () => {
    const { value } = select
    setAttribute(document.documentElement, 'data-theme', value === 'system' ? null : value)
    try {
      if (value === 'system') localStorage.removeItem(THEME)
      else localStorage.setItem(THEME, value)
    } catch {
      // It holds until the page is left.
    }
    repaint()
  })
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint)
}

new Page()
