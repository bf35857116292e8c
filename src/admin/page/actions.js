// Acting: the buttons (any with data-act), who may press them, the question before what hurts, and what
// came of it. One listener for all buttons: they come and go each second.
/** @import { Me } from './types.js' */
import { act, Refused, wordsOf } from './api.js'
import { byId, h, setAttribute, setText, show } from './dom.js'
import { hindranceOf } from './session.js'

/** Notes in the page at most. */
const NOTES_MAX = 4
const NOTE_MS = 10_000
/** SQLSTATE of a RESUME where nothing is paused. */
const NOT_PAUSED = '55000'

/**
 * @typedef {object} Deed
 * @property {string} label
 * @property {string} [question] asked before it; `%` stands for the object
 * @property {string} hurts what is said there; '' : nothing is asked
 * @property {string} done
 * @property {string} [all] the object where no name is given
 */

/** @type {Readonly<Record<string, Deed>>} */
const DEEDS = {
  KILL_CLIENT: {
    label: 'Cut off client',
    question: 'Cut off client %?',
    hurts:
      'Client % is cut off at once. Its transaction is rolled back, and its application reads error 57P01.',
    done: 'Client % is cut off.',
  },
  CANCEL: {
    label: 'Cancel its statement',
    question: 'Cancel the statement of client %?',
    hurts:
      'What client % runs or waits for is cancelled. Its application reads error 57014 and stays connected.',
    done: 'The statement of client % is cancelled.',
  },
  KILL: {
    label: 'Cut off all',
    question: 'Cut off all of database %?',
    hurts: 'All clients of database % are cut off, its servers are closed, and it stays paused until RESUME.',
    done: 'Database % is cut off and paused.',
  },
  PAUSE: {
    label: 'Pause',
    question: 'Pause %?',
    hurts: 'New work of % waits from now on. Transactions that run may end. Clients wait until RESUME.',
    done: '% is paused: no server is left.',
    all: 'all databases',
  },
  RESUME: { label: 'Resume', hurts: '', done: '% goes on.', all: 'everything' },
  RECONNECT: {
    label: 'Reconnect',
    hurts: '',
    done: 'The servers of % are closed as they become free, and opened anew.',
    all: 'all databases',
  },
  DISABLE: {
    label: 'Disable',
    question: 'Refuse new clients of database %?',
    hurts: 'New clients of database % are refused from now on. Those that are in go on.',
    done: 'Database % takes no new clients.',
  },
  ENABLE: { label: 'Enable', hurts: '', done: 'Database % takes new clients.' },
  RELOAD: { label: 'Reload configuration', hurts: '', done: 'The configuration is read again.' },
}

export class Actions {
  /** @param {() => void} onRefused the server says that one may not, or not any more */
  constructor(onRefused) {
    this.onRefused = onRefused
    this.hindrance = 'To act, log in as a user of admin.users.'
    this.hasAdmins = true
    /** Commands that have not answered yet. @type {Map<string, AbortController>} */
    this.pending = new Map()
    this.dialog = /** @type {HTMLDialogElement} */ (byId('confirm'))
    this.notes = byId('notes')
    document.addEventListener('close', () => this.settle(), true)
    document.addEventListener('click', ({ target }) => {
      const button = target instanceof Element ? target.closest('[data-act]') : null
      if (button instanceof HTMLButtonElement)
        void this.press(button.dataset.act ?? '', button.dataset.argument ?? '')
    })
  }

  /** Who looks has changed. @param {Me} me */
  update(me) {
    this.hindrance = hindranceOf(me)
    this.hasAdmins = me.hasAdmins
    for (const button of document.querySelectorAll('button[data-act]')) this.allow(button)
    for (const place of document.querySelectorAll('.hindrance')) this.explain(place)
  }

  /** @param {Element} button */
  allow(button) {
    const key = `${button.getAttribute('data-act')} ${button.getAttribute('data-argument') ?? ''}`
    const isPending = this.pending.has(key)
    const isOff = this.hindrance !== '' || isPending
    setAttribute(button, 'disabled', isOff ? '' : null)
    setAttribute(
      button,
      'title',
      isPending ? 'It is under way.' : this.hindrance === '' ? null : this.hindrance,
    )
  }

  /**
   * Says beside buttons why they cannot be pressed, with the way to change it.
   * @param {Element} place
   */
  explain(place) {
    const text = place.firstElementChild ?? place.appendChild(h('span'))
    if (place.children.length === 1)
      place.append(h('button', { type: 'button', class: 'link', 'data-login': true }, 'Log in'))
    setText(text, this.hindrance)
    show(/** @type {HTMLElement} */ (place.lastElementChild), this.hasAdmins)
    show(/** @type {HTMLElement} */ (place), this.hindrance !== '')
  }

  /**
   * A button for a command, or the same again with another object.
   * @param {HTMLButtonElement} button
   * @param {string} command
   * @param {string} argument
   * @param {string} [label]
   */
  dress(button, command, argument, label = DEEDS[command]?.label) {
    setAttribute(button, 'type', 'button')
    setAttribute(button, 'data-act', command)
    setAttribute(button, 'data-argument', argument)
    setText(button, label ?? command)
    this.allow(button)
    return button
  }

  /**
   * @param {string} command
   * @param {string} argument
   */
  async press(command, argument) {
    const deed = DEEDS[command]
    if (deed === undefined || this.hindrance !== '') return
    const object = argument === '' ? (deed.all ?? '') : argument
    const key = `${command} ${argument}`
    if (this.pending.has(key)) return
    if (deed.hurts !== '' && !(await this.sure(deed, command, object))) return
    // Who pauses and then resumes has given up the pause, also where it still waits.
    const pause = command === 'RESUME' ? this.pending.get(`PAUSE ${argument}`) : undefined
    pause?.abort()
    const end = new AbortController()
    this.pending.set(key, end)
    const text = `${object} is being paused: transactions may end.`
    const waiting = command === 'PAUSE' ? this.note(text, 'fair') : null
    this.refresh()
    try {
      await act(command, argument, end.signal)
      this.note(about(deed.done, object), 'good')
    } catch (error) {
      // Giving up was enough.
      const isDone = pause !== undefined && error instanceof Refused && error.code === NOT_PAUSED
      if (isDone) this.note(about(deed.done, object), 'good')
      else if (!end.signal.aborted) this.onFailure(command, error)
    }
    waiting?.remove()
    this.pending.delete(key)
    this.refresh()
  }

  /**
   * @param {string} command
   * @param {unknown} error
   */
  onFailure(command, error) {
    this.note(`${command}: ${wordsOf(error)}`, 'bad')
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) this.onRefused()
  }

  refresh() {
    for (const button of document.querySelectorAll('button[data-act]')) this.allow(button)
  }

  /**
   * @param {Deed} deed
   * @param {string} command
   * @param {string} object
   * @returns {Promise<boolean>}
   */
  sure({ question = '', hurts }, command, object) {
    const { dialog } = this
    if (dialog.open) return Promise.resolve(false)
    setText(byId('confirm-title'), about(question, object))
    setText(byId('confirm-text'), about(hurts, object))
    setText(byId('confirm-yes'), command)
    dialog.returnValue = ''
    dialog.showModal()
    byId('confirm-no').focus()
    return new Promise((resolve) => {
      dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
    })
  }

  /** Notes can be seen and read only in the dialog that is open, if one is. */
  settle() {
    const place = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body
    if (this.notes.parentElement !== place) place.append(this.notes)
  }

  /**
   * What came of it, read out as well.
   * @param {string} text
   * @param {'good' | 'fair' | 'bad'} level
   */
  note(text, level) {
    const close = h('button', { type: 'button', class: 'plain', 'aria-label': 'Close this note' }, '\u00d7')
    const note = h('div', { class: `note ${level}` }, h('p', {}, text), close)
    close.addEventListener('click', () => note.remove())
    this.settle()
    this.notes.append(note)
    while (this.notes.children.length > NOTES_MAX) this.notes.firstElementChild?.remove()
    // A mistake stays until it is read.
    if (level === 'good') setTimeout(() => note.remove(), NOTE_MS)
    return note
  }
}

/**
 * @param {string} text
 * @param {string} object
 */
function about(text, object) {
  return text.replace('%', () => object)
}

/**
 * The buttons of a list of commands for one object, with their sentences, into a `dl`.
 * @param {Actions} actions
 * @param {HTMLElement} place
 * @param {readonly (readonly [command: string, sentence: string])[]} commands
 * @param {string} argument
 */
export function offer(actions, place, commands, argument) {
  for (const [at, [command, sentence]] of commands.entries()) {
    const row = place.children[at] ?? place.appendChild(h('div', {}, h('dt', {}, h('button')), h('dd')))
    const button = /** @type {HTMLButtonElement} */ (row.querySelector('button'))
    actions.dress(button, command, argument)
    setAttribute(button, 'class', command.startsWith('KILL') ? 'danger' : null)
    setText(/** @type {Node} */ (row.lastElementChild), sentence)
  }
}
