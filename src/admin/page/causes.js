// Why clients wait, in words: which causes are trouble, what each is called, who is to blame, and the
// sentence about the state. Pure: it knows neither the page nor the clock.
/** @import { Cause, Snapshot } from './types.js' */
import { pinsInWords } from './pin-words.js'
import { clock, counted, duration, waiting } from './words.js'

/** Waits below this are how a busy pool works. */
const SHORT_MS = 200
/** From here on somebody notices. */
const LONG_MS = 2000
/** Who has been at it for less is not in the way: the next moment it is somebody else. */
const CULPRIT_SECONDS = 1

/**
 * Those that are worth a word.
 * @param {readonly Cause[]} causes
 */
export function troublesOf(causes) {
  return causes.filter(({ reason, longest_ms: ms }) => {
    return ms >= SHORT_MS || reason === 'paused' || reason === 'host_down'
  })
}

/**
 * Who is in the way, if it is not only by chance.
 * @param {Cause} cause
 */
export function culpritOf({ holder }) {
  return holder !== null && holder.seconds >= CULPRIT_SECONDS ? holder : null
}

/**
 * How many do the same, by the count in the cause (`3 idle in transaction, 1 active`).
 * @param {string} cause
 */
function idlersIn(cause) {
  return Number(/(\d+) idle in transaction/.exec(cause)?.[1] ?? 1)
}

/**
 * @param {Cause} cause
 * @returns {'idle' | 'pin' | 'session' | null} what its culprit does
 */
function blameOf(cause) {
  const { reason } = cause
  const state = reason === 'pool_full' || reason === 'limit' ? (culpritOf(cause)?.state ?? '') : ''
  if (state.startsWith('idle in transaction')) return 'idle'
  if (state.startsWith('pinned')) return 'pin'
  return state === 'in session mode' ? 'session' : null
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
export function titleOf(cause) {
  const blame = blameOf(cause)
  if (blame === 'idle') {
    const count = idlersIn(cause.cause)
    return count > 1 ? `${count} clients are idle in transactions` : 'A client is idle in a transaction'
  }
  if (blame === 'pin') return 'A client keeps its server beyond its transactions (a pin)'
  if (blame === 'session') return 'Each client has a server to itself (session mode)'
  return TITLES[cause.reason] ?? cause.reason
}

/**
 * The same as the end of a sentence.
 * @param {Cause} cause
 */
export function becauseOf(cause) {
  const { reason, database, user } = cause
  const blame = blameOf(cause)
  if (blame !== null) return becauseOfHolder(cause, blame)
  const pool = `${user} at ${database}`
  if (reason === 'pool_full') return `the pool of ${pool} is too small for what its clients do`
  if (reason === 'limit') return `a limit on servers is reached for ${pool}`
  if (reason === 'host_down') return `Postgres behind database ${database} cannot be reached`
  if (reason === 'paused') return `an operator has paused ${database}`
  if (reason === 'login') return `servers of ${database} are still logging in`
  if (reason === 'checked') return `servers of ${database} are being checked`
  return `other workers have the servers of ${pool}`
}

/**
 * @param {Cause} cause
 * @param {'idle' | 'pin' | 'session'} blame
 */
function becauseOfHolder({ cause, holder }, blame) {
  if (blame === 'session') return 'in session mode each client has a server to itself'
  const who = holder?.id == null ? 'a client' : `client ${holder.id}`
  if (blame === 'pin') {
    const pins = pinsInWords(holder?.pins ?? '')
    return `${who} keeps its server beyond its transactions${pins === '' ? '' : `: ${pins}`}`
  }
  const others = idlersIn(cause) - 1
  if (others <= 0) return `${who} has begun a transaction and does nothing`
  return `${who} and ${counted(others, 'other')} have begun transactions and do nothing`
}

/**
 * What to do. The console names the one who is first at this moment; where that is by chance, nobody is.
 * @param {Cause} cause
 */
export function adviceOf(cause) {
  const { reason, advice, holder } = cause
  if (holder === null || culpritOf(cause) !== null) return advice
  const what = reason === 'limit' ? 'raise this limit' : 'raise pool.size'
  return `All are at work, none of them for long: ${what}, or see which statements are slow.`
}

/**
 * The sentence about the state. `topic` changes only with what it is about, not with its numbers.
 * @param {Snapshot} snapshot
 * @returns {{ level: 'good' | 'fair' | 'bad', text: string, topic: string }}
 */
export function sentenceOf(snapshot) {
  const { at, state, causes } = snapshot
  if (state === 'draining') return bad('pgmux is shutting down: it takes no new clients.', 'draining')
  const troubles = troublesOf(causes)
  const [first] = troubles
  if (first === undefined) return calm(snapshot)
  const longest = longestOf(troubles)
  const clients = clientsOf(troubles)
  const who = clients === 1 ? '' : 'the first '
  const since = `${who}since ${clock(at - longest, at)} (for ${duration(longest)})`
  const mostly = troubles.length === 1 ? '' : 'mostly '
  const text = `${waiting(clients)} for a server, ${since}, ${mostly}because ${becauseOf(first)}.`
  const topic = troubles.map((cause) => `${keyOf(cause)} ${culpritOf(cause)?.id ?? ''}`).sort()
  return { level: longest < LONG_MS ? 'fair' : 'bad', text, topic: topic.join(' ') }
}

/**
 * Nobody waits, or for a moment only.
 * @param {Snapshot} snapshot
 */
function calm({ state, hosts, causes, paused = [] }) {
  if (state === 'paused') return fair('Everything is paused: nobody waits yet.', 'paused')
  if (state === 'suspended')
    return fair('Everything is suspended: nothing is read from clients.', 'suspended')
  const down = hosts.filter((host) => host.state === 'down').map(({ database }) => database)
  if (down.length > 0)
    return bad(`Postgres behind ${listed(down)} cannot be reached. Nobody waits for it now.`, 'down')
  if (paused.length > 0)
    return fair(`${listed(paused)} ${paused.length === 1 ? 'is' : 'are'} paused; nobody waits yet.`, 'paused')
  const longest = duration(longestOf(causes))
  const wait = `${waiting(clientsOf(causes))} at this moment, none for longer than ${longest}`
  const text = causes.length === 0 ? 'All is well: no client waits.' : `All is well: ${wait}.`
  return /** @type {const} */ ({ level: 'good', text, topic: 'well' })
}

/** @param {readonly Cause[]} causes */
export function clientsOf(causes) {
  return causes.reduce((sum, { clients }) => sum + clients, 0)
}

/** @param {readonly Cause[]} causes */
function longestOf(causes) {
  return causes.reduce((most, { longest_ms: ms }) => Math.max(most, ms), 0)
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
export function keyOf({ database, user, reason }) {
  return JSON.stringify([database, user, reason])
}
