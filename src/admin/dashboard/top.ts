// The few of many: those with the largest score, without sorting all of them. Pure.

/** Keeps so many of what it is offered, the largest first. */
export class Top<T> {
  readonly #max: number
  readonly #all: { readonly one: T; readonly score: number }[] = []

  constructor(max: number) {
    this.#max = max
  }

  offer(one: T, score: number): void {
    const all = this.#all
    if (all.length === this.#max && score <= all[all.length - 1].score) return
    let at = all.length
    while (at > 0 && all[at - 1].score < score) at--
    all.splice(at, 0, { one, score })
    if (all.length > this.#max) all.pop()
  }

  list(): T[] {
    return this.#all.map(({ one }) => one)
  }
}
