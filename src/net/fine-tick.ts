// The fine tick: for those that cannot wait for the coarse one, while there are any. It owns its timer, which
// runs only then and keeps no process alive.

/** How often, ms. */
const EVERY_MS = 5

/** Wants to be told that time passes. */
export interface Ticked {
  /** @param now of `performance.now` */
  tick(now: number): void
}

export class FineTick {
  readonly #all = new Set<Ticked>()
  #timer: NodeJS.Timeout | null = null

  /** From now on, or no more. */
  watch(one: Ticked, isWanted: boolean): void {
    if (isWanted) this.#all.add(one)
    else this.#all.delete(one)
    if (this.#all.size === 0) this.stop()
    else this.#timer ??= setInterval(() => this.#tick(), EVERY_MS).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #tick(): void {
    const now = performance.now()
    for (const one of [...this.#all]) one.tick(now)
  }
}
