// Owns: the fine tick of a world, for one that wants it, as long as it does.
import type { Ticked } from '../../src/net/fine-tick.ts'

const EVERY_MS = 5

/** Where time comes from. */
interface Time {
  now(): number
  after(ms: number, run: () => void): void
}

export class FineTicks {
  readonly #time: Time
  #isWanted = false
  #isRunning = false

  constructor(time: Time) {
    this.#time = time
  }

  /** From now on, or no more. */
  watch(one: Ticked, isWanted: boolean): void {
    this.#isWanted = isWanted
    if (!isWanted || this.#isRunning) return
    this.#isRunning = true
    const tick = (): void => {
      this.#isRunning = this.#isWanted
      if (!this.#isRunning) return
      one.tick(this.#time.now())
      this.#time.after(EVERY_MS, tick)
    }
    this.#time.after(EVERY_MS, tick)
  }
}
