// Numbers and times in words. Pure: it knows neither the page nor the clock.

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
