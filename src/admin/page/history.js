// The last hour as numbers: a list for each series, all of the same length, never longer than an hour.
// What is older is forgotten, so that a page may stay open for days.
/** @import { History, Sample } from './types.js' */

/** One hour in steps of two seconds. */
const POINTS_MAX = 1800

/** @typedef {(number | null)[]} Series */

export class Past {
  constructor() {
    /** Seconds since 1970. @type {number[]} */
    this.times = []
    /** @type {Map<string, Series>} */
    this.series = new Map()
  }

  /** @param {History} history */
  replace({ step, end, series }) {
    const all = Object.entries(series)
    const length = Math.min(POINTS_MAX, ...all.map(([, values]) => values.length))
    const count = Number.isFinite(length) ? length : 0
    this.times = Array.from({ length: count }, (_, at) => (end - (count - 1 - at) * step) / 1000)
    this.series = new Map(all.map(([name, values]) => [name, count === 0 ? [] : values.slice(-count)]))
  }

  /** @param {Sample} sample */
  add({ at, values }) {
    const count = this.times.length
    // What came with the history may come once more.
    if (count > 0 && at / 1000 <= this.times[count - 1]) return
    for (const name of Object.keys(values))
      if (!this.series.has(name)) this.series.set(name, new Array(count).fill(null))
    this.times.push(at / 1000)
    for (const [name, list] of this.series) list.push(values[name] ?? null)
    if (this.times.length <= POINTS_MAX) return
    this.times.shift()
    for (const list of this.series.values()) list.shift()
  }

  /**
   * The points from a time on.
   * @param {readonly string[]} names
   * @param {number} from seconds since 1970
   * @returns {[times: number[], ...series: Series[]]}
   */
  since(names, from) {
    let at = this.times.length
    while (at > 0 && this.times[at - 1] >= from) at--
    const times = this.times.slice(at)
    return [
      times,
      ...names.map((name) => this.series.get(name)?.slice(at) ?? new Array(times.length).fill(null)),
    ]
  }
}
