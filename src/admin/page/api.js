// What the page asks of the server, apart from the feed: who looks, login, SHOW, acting. Each answer that
// is no success becomes a Refused with the server's sentence.
/** @import { Me, Row, Shown } from './types.js' */

/** ms after which something that should answer at once counts as lost. */
const LIMIT_MS = 10_000

/** The server has said no, in a sentence. */
export class Refused extends Error {
  /**
   * @param {number} status of HTTP; 0: nothing has come
   * @param {string} message
   * @param {{ hint?: string, code?: string }} [more]
   */
  constructor(status, message, { hint = '', code = '' } = {}) {
    super(message)
    this.status = status
    this.hint = hint
    /** SQLSTATE, of what the console refuses. */
    this.code = code
  }
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<unknown>}
 */
async function ask(path, options) {
  let response
  try {
    response = await fetch(`dashboard/${path}`, { cache: 'no-store', credentials: 'same-origin', ...options })
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error
    throw new Refused(0, 'pgmux does not answer.')
  }
  const body = await response.json().catch(() => ({}))
  if (response.ok) return body
  const { error = `pgmux has answered with status ${response.status}.`, hint, code } = body
  throw new Refused(response.status, String(error), { hint, code })
}

/**
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} [signal]
 */
function post(path, body, signal) {
  const headers = { 'content-type': 'application/json' }
  return ask(path, { method: 'POST', headers, body: JSON.stringify(body), signal: signal ?? null })
}

/** @returns {Promise<Me>} */
export async function me() {
  return /** @type {Me} */ (await ask('me', { signal: AbortSignal.timeout(LIMIT_MS) }))
}

/**
 * @param {string} user
 * @param {string} password
 * @returns {Promise<Me>}
 */
export async function login(user, password) {
  return /** @type {Me} */ (await post('login', { user, password }))
}

export async function logout() {
  await post('logout', {})
}

/**
 * Runs a command of the console. PAUSE answers when it is done; who aborts it gives it up.
 * @param {string} command
 * @param {string} argument '' : without one
 * @param {AbortSignal} signal
 */
export async function act(command, argument, signal) {
  await post('act', argument === '' ? { command } : { command, argument }, signal)
}

/**
 * Rows of a SHOW; filters that are empty are left out.
 * @param {string} what
 * @param {Record<string, string | number>} [filters]
 * @returns {Promise<Shown>}
 */
export async function shown(what, filters = {}) {
  const query = new URLSearchParams({ command: what })
  for (const [name, value] of Object.entries(filters)) if (value !== '') query.set(name, String(value))
  const signal = AbortSignal.timeout(LIMIT_MS)
  const body =
    /** @type {{ columns: { name: string }[], rows: (string | number | null)[][], more: boolean }} */ (
      await ask(`show?${query}`, { signal })
    )
  const names = body.columns.map(({ name }) => name)
  /** @type {Row[]} */
  const rows = body.rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at] ?? null])))
  return { rows, more: body.more }
}

/**
 * What there is to say of a failure.
 * @param {unknown} error
 */
export function wordsOf(error) {
  if (error instanceof Refused) return error.hint === '' ? error.message : `${error.message} ${error.hint}`
  return /** @type {Error} */ (error).message
}
