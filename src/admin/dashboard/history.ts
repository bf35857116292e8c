// The last hour of all series, a point each two seconds. It owns memory of a fixed size, whatever happens; a
// step of which nothing is known stays empty, so that the places of points are their times.
import { type Point, SERIES } from './types.ts'

/** Between two points. */
export const STEP_MS = 2000
/** Points that are kept: an hour. */
export const POINTS = 1800
const LARGE = 100

export class History {
  readonly #values: Float64Array
  readonly #size: number
  /** Points that were ever added. */
  #count = 0
  #lastAt = 0
  #text: string | null = null

  constructor(size: number = POINTS) {
    this.#size = size
    this.#values = new Float64Array(size * SERIES.length)
  }

  /** Bytes of memory for the points. */
  get bytes(): number {
    return this.#values.byteLength
  }

  /** @param at wall clock, ms */
  add(point: Point, at: number): void {
    const steps = Math.round((at - this.#lastAt) / STEP_MS)
    const missing = this.#count === 0 ? 0 : Math.min(Math.max(steps - 1, 0), this.#size)
    for (let i = 0; i < missing; i++) this.#put(null)
    this.#put(point)
    this.#lastAt = at
    this.#text = null
  }

  #put(point: Point | null): void {
    const at = (this.#count % this.#size) * SERIES.length
    if (point === null) this.#values.fill(Number.NaN, at, at + SERIES.length)
    else this.#values.set(point, at)
    this.#count++
  }

  /** All of it as JSON; made once for a point, however many want it. */
  json(): string {
    this.#text ??= JSON.stringify({ step: STEP_MS, end: Math.round(this.#lastAt), series: this.#series() })
    return this.#text
  }

  #series(): Record<string, (number | null)[]> {
    const length = Math.min(this.#count, this.#size)
    const series: Record<string, (number | null)[]> = {}
    for (const [index, name] of SERIES.entries()) {
      const values: (number | null)[] = new Array(length)
      for (let i = 0; i < length; i++) {
        const at = (this.#count - length + i) % this.#size
        values[i] = shown(this.#values[at * SERIES.length + index])
      }
      series[name] = values
    }
    return series
  }
}

/** One point by the names of its series. */
export function valuesOf(point: Point): Record<string, number | null> {
  const values: Record<string, number | null> = {}
  for (const [index, name] of SERIES.entries()) values[name] = shown(point[index])
  return values
}

/** Of large numbers a picture shows no fractions, of small ones three places behind the point are enough. */
function shown(value: number): number | null {
  if (Number.isNaN(value)) return null
  return value >= LARGE ? Math.round(value) : Math.round(value * 1000) / 1000
}
