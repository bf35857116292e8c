// Calls of a program that embeds pgmux, made later and apart from what they are about. Whoever is called
// can neither harm nor hold up a connection: what throws is reported, and who is too slow for all of them
// loses the rest.

/** Calls that wait at most. */
const WAITING_MAX = 10_000
/** So long is called in one turn of the event loop. */
const TURN_MS = 5

export class Deliveries {
  readonly #report: (what: string, thrown: unknown) => void
  #waiting: (() => unknown)[] = []
  #names: string[] = []
  #at = 0
  /** Calls that were not made, because too many were waiting. */
  lost = 0

  /** @param report of what a call has thrown */
  constructor(report: (what: string, thrown: unknown) => void) {
    this.#report = report
  }

  /** Soon calls `act`. @param what it is called, for the log */
  add(what: string, act: () => unknown): void {
    if (this.#waiting.length - this.#at >= WAITING_MAX) {
      this.lost++
      return
    }
    if (this.#waiting.length === 0) setImmediate(() => this.#turn())
    this.#waiting.push(act)
    this.#names.push(what)
  }

  #turn(): void {
    const end = performance.now() + TURN_MS
    while (this.#at < this.#waiting.length) {
      const at = this.#at++
      this.#call(this.#names[at]!, this.#waiting[at]!)
      if (performance.now() > end) break
    }
    if (this.#at < this.#waiting.length) {
      // What was called is let go, once in a while.
      if (this.#at > WAITING_MAX / 2) {
        this.#waiting = this.#waiting.slice(this.#at)
        this.#names = this.#names.slice(this.#at)
        this.#at = 0
      }
      setImmediate(() => this.#turn())
      return
    }
    this.#waiting = []
    this.#names = []
    this.#at = 0
  }

  #call(what: string, act: () => unknown): void {
    try {
      const made = act()
      // An async function that fails would end the process.
      if (made instanceof Promise) made.catch((thrown: unknown) => this.#report(what, thrown))
    } catch (thrown) {
      this.#report(what, thrown)
    }
  }
}
