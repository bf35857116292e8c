// Numbers, times and reasons in words. Pure: it knows neither the page nor the clock.
/** @import { Cause, Holder, Snapshot } from './types.js' */
import { pinsInWords } from './pin-words.js'

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const TENTH = new Intl.NumberFormat('en', { maximumFractionDigits: 1, minimumFractionDigits: 1 })

/** What stands where there is nothing to say. */
export const NOTHING = '\u2013'

/** @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined) return NOTHING
  return value !== 0 && Math.abs(value) < 10 && !Number.isInteger(value)
    ? TENTH.format(value)
    : WHOLE.format(value)
}

/**
 * `1 client`, `2 clients`.
 * @param {number} count
 * @param {string} noun
 */
export function counted(count, noun) {
  return `${WHOLE.format(count)} ${noun}${count === 1 ? '' : 's'}`
}

/**
 * `1 client waits`, `2 clients wait`.
 * @param {number} count
 */
export function waiting(count) {
  return `${counted(count, 'client')} ${count === 1 ? 'waits' : 'wait'}`
}

/**
 * Time that something took, which may be short: `0.4 ms`, `12 ms`, `1.2 s`.
 * @param {number | null | undefined} ms
 */
export function took(ms) {
  if (ms === null || ms === undefined) return NOTHING
  if (ms < 1000) return `${number(ms)}\u00a0ms`
  return ms < 60_000 ? `${TENTH.format(ms / 1000)}\u00a0s` : duration(ms)
}

/**
 * Time that goes by, in one piece where lines break: `340 ms`, `34 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`.
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}\u00a0ms`
  const seconds = Math.floor(ms / 1000)
  if (seconds < 60) return `${seconds}\u00a0s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}\u00a0min\u00a0${seconds % 60}\u00a0s`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours}\u00a0h\u00a0${minutes % 60}\u00a0min`
  return `${Math.floor(hours / 24)}\u00a0d\u00a0${hours % 24}\u00a0h`
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** @param {number | null | undefined} count of bytes */
export function bytes(count) {
  if (count === null || count === undefined) return NOTHING
  let [size, unit] = [count, 0]
  for (; Math.abs(size) >= 1000 && unit < UNITS.length - 1; unit++) size /= 1000
  return `${unit === 0 ? WHOLE.format(size) : number(size)} ${UNITS[unit]}`
}

/** @param {number | null | undefined} share of one processor */
export function percent(share) {
  return share === null || share === undefined ? NOTHING : `${number(share * 100)} %`
}

/**
 * Time of day, with the day where it is another one than that of `now`.
 * @param {number} at
 * @param {number} now
 */
export function clock(at, now) {
  const date = new Date(at)
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
  if (new Date(now).toDateString() === date.toDateString()) return time
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`
}

/** @param {number} value */
export function two(value) {
  return String(value).padStart(2, '0')
}

/**
 * A time as SHOW writes it (`2026-01-31 10:00:00 UTC`); null where it is none.
 * @param {string | number | null | undefined} text
 */
export function instant(text) {
  if (typeof text === 'number') return text
  if (typeof text !== 'string') return null
  const at = Date.parse(text.replace(' UTC', 'Z').replace(' ', 'T'))
  return Number.isNaN(at) ? null : at
}

/** @param {Holder | null} holder */
export function isIdleInTransaction(holder) {
  return holder?.state.startsWith('idle in transaction') === true
}

/** @param {Holder | null} holder */
export function isPinned(holder) {
  return holder?.state.startsWith('pinned') === true
}

const TITLES = {
  pool_full: 'The pool is too small: all its servers are at work',
  limit: 'A limit is reached',
  host_down: 'Postgres cannot be reached',
  paused: 'Paused by an operator',
  login: 'Servers are logging in to Postgres',
  checked: 'Servers are being checked',
  other_workers: 'Other workers have the servers',
}

/**
 * What a cause is called.
 * @param {Cause} cause
 */
export function titleOf({ reason, holder }) {
  const isTaken = reason === 'pool_full' || reason === 'limit'
  if (isTaken && isIdleInTransaction(holder)) return 'A client is idle in a transaction'
  if (isTaken && isPinned(holder)) return 'A client keeps its server beyond its transactions (a pin)'
  if (isTaken && holder?.state === 'in session mode')
    return 'Each client has a server to itself (session mode)'
  return TITLES[reason] ?? reason
}

/**
 * The same as the end of a sentence.
 * @param {Cause} cause
 */
export function becauseOf({ reason, database, user, holder }) {
  const isTaken = reason === 'pool_full' || reason === 'limit'
  const who = holder?.id === null || holder === null ? 'a client' : `client ${holder.id}`
  if (isTaken && isIdleInTransaction(holder)) return `${who} has begun a transaction and does nothing`
  if (isTaken && isPinned(holder)) {
    const pins = pinsInWords(holder?.pins ?? '')
    return `${who} keeps its server beyond its transactions${pins === '' ? '' : `: ${pins}`}`
  }
  if (isTaken && holder?.state === 'in session mode')
    return 'in session mode each client has a server to itself'
  const pool = `${user} at ${database}`
  if (reason === 'pool_full') return `the pool of ${pool} is too small for what its clients do`
  if (reason === 'limit') return `a limit on servers is reached for ${pool}`
  if (reason === 'host_down') return `Postgres behind database ${database} cannot be reached`
  if (reason === 'paused') return `an operator has paused ${database}`
  if (reason === 'login') return `servers of ${database} are still logging in`
  if (reason === 'checked') return `servers of ${database} are being checked`
  return `other workers have the servers of ${pool}`
}

/** Waits below this are how a busy pool works. */
const SHORT_MS = 200
/** From here on somebody notices. */
const LONG_MS = 2000

/**
 * The sentence about the state. `topic` changes only with what it is about, not with its numbers.
 * @param {Snapshot} snapshot
 * @returns {{ level: 'good' | 'fair' | 'bad', text: string, topic: string }}
 */
export function sentenceOf(snapshot) {
  const { at, state, causes } = snapshot
  if (state === 'draining') return bad('pgmux is shutting down: it takes no new clients.', 'draining')
  const longest = causes.reduce((most, { longest_ms: ms }) => Math.max(most, ms), 0)
  const clients = causes.reduce((sum, cause) => sum + cause.clients, 0)
  const [first] = causes
  if (first === undefined) return calm(snapshot)
  const wait = waiting(clients)
  const topic = causes.map(keyOf).sort().join(' ')
  if (longest < SHORT_MS && first.reason !== 'paused' && first.reason !== 'host_down') {
    const text = `All is well: ${wait} at this moment, none for longer than ${duration(longest)}.`
    return { level: 'good', text, topic: 'well' }
  }
  const who = clients === 1 ? '' : 'the first '
  const since = `${who}since ${clock(at - longest, at)} (for ${duration(longest)})`
  const mostly = causes.length === 1 ? '' : 'mostly '
  const text = `${wait} for a server, ${since}, ${mostly}because ${becauseOf(first)}.`
  return { level: longest < LONG_MS ? 'fair' : 'bad', text, topic }
}

/**
 * Nobody waits.
 * @param {Snapshot} snapshot
 */
function calm({ state, hosts, paused = [] }) {
  if (state === 'paused') return fair('Everything is paused: nobody waits yet.', 'paused')
  if (state === 'suspended')
    return fair('Everything is suspended: nothing is read from clients.', 'suspended')
  const down = hosts.filter((host) => host.state === 'down').map(({ database }) => database)
  if (down.length > 0)
    return bad(`Postgres behind ${listed(down)} cannot be reached. Nobody waits for it now.`, 'down')
  if (paused.length > 0)
    return fair(`${listed(paused)} ${paused.length === 1 ? 'is' : 'are'} paused; nobody waits yet.`, 'paused')
  return /** @type {const} */ ({ level: 'good', text: 'All is well: no client waits.', topic: 'well' })
}

/** @param {readonly string[]} names */
function listed(names) {
  return names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ')
}

/**
 * @param {string} text
 * @param {string} topic
 */
function bad(text, topic) {
  return /** @type {const} */ ({ level: 'bad', text, topic })
}

/**
 * @param {string} text
 * @param {string} topic
 */
function fair(text, topic) {
  return /** @type {const} */ ({ level: 'fair', text, topic })
}

/**
 * Tells one cause from another, from one second to the next.
 * @param {Cause} cause
 */
export function keyOf({ database, user, reason, holder }) {
  return JSON.stringify([database, user, reason, holder?.id ?? null])
}
