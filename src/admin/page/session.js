// Who looks: the login dialog, the way out, and what one may do. The password is sent once and kept
// nowhere.
/** @import { Me } from './types.js' */
import { login, logout, me, wordsOf } from './api.js'
import { byId, setText, show } from './dom.js'

/** @type {Me} */
const NOBODY = { user: '', role: null, mayLook: false, version: '', hasAdmins: true }

export class Session {
  /** @param {(me: Me) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange
    this.me = NOBODY
    this.dialog = /** @type {HTMLDialogElement} */ (byId('login'))
    this.form = /** @type {HTMLFormElement} */ (byId('login-form'))
    this.form.addEventListener('submit', (event) => {
      event.preventDefault()
      void this.login()
    })
    byId('login-close').addEventListener('click', () => this.dialog.close())
    byId('logout').addEventListener('click', () => void this.logout())
    document.addEventListener('click', ({ target }) => {
      if (target instanceof Element && target.closest('[data-login]') !== null) this.ask()
    })
  }

  /** Asks the server who we are. @throws Refused */
  async refresh() {
    this.take(await me())
  }

  /** Opens the dialog. */
  ask() {
    if (this.dialog.open) return
    this.say('')
    this.dialog.showModal()
  }

  async login() {
    const { user, password, send } = /** @type {Record<string, HTMLInputElement>} */ (
      /** @type {unknown} */ (this.form.elements)
    )
    send.disabled = true
    try {
      this.take(await login(user.value, password.value))
      this.dialog.close()
    } catch (error) {
      this.say(wordsOf(error))
      password.select()
    }
    password.value = ''
    send.disabled = false
  }

  async logout() {
    await logout().catch(() => {})
    await this.refresh().catch(() => this.take(NOBODY))
  }

  /** @param {string} text */
  say(text) {
    const place = byId('login-error')
    setText(place, text)
    show(place, text !== '')
  }

  /** @param {Me} found */
  take(found) {
    this.me = found
    const { user, role } = found
    setText(byId('who'), role === null ? '' : `${user} (${role === 'admin' ? 'admin' : 'may look'})`)
    show(byId('logout'), role !== null)
    show(byId('login-open'), role === null)
    this.onChange(found)
  }
}

/**
 * Why one may not act; '' where one may.
 * @param {Me} found
 */
export function hindranceOf({ user, role, hasAdmins }) {
  if (role === 'admin') return ''
  if (!hasAdmins) return 'Nobody may act here: admin.users names nobody.'
  if (role === 'stats') return `${user} may look only: to act, log in as a user of admin.users.`
  return 'To act, log in as a user of admin.users.'
}
