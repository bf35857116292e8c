// Owns: virtual time and the order of events of one simulated world. Events of the same time run in an
// order that the seed decides. Must never read the machine's clock.

import type { Clock } from '../../src/util/env.ts'
import type { Prng } from '../support/prng.ts'

interface Event {
  readonly at: number
  /** Decides between events of the same time. */
  readonly turn: number
  readonly run: () => void
}

export class EventQueue implements Clock {
  readonly #random: Prng
  /** A binary heap. */
  readonly #heap: Event[] = []
  /** What an event has put off until its end. */
  readonly #soon: (() => void)[] = []
  #now = 0

  constructor(random: Prng) {
    this.#random = random
  }

  now(): number {
    return this.#now
  }

  get size(): number {
    return this.#heap.length
  }

  /** Runs `run` in `ms` milliseconds. */
  after(ms: number, run: () => void): void {
    const event = { at: this.#now + Math.max(0, ms), turn: this.#random.next(), run }
    const heap = this.#heap
    let place = heap.push(event) - 1
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[place] = heap[parent]!
      place = parent
    }
    heap[place] = event
  }

  /** Runs `run` at the end of the present event, as a microtask of the process does. */
  soon(run: () => void): void {
    this.#soon.push(run)
  }

  /** Runs the next event. @returns false when there is none */
  step(): boolean {
    const heap = this.#heap
    const top = heap[0]
    if (top === undefined) return false
    const last = heap.pop()!
    if (heap.length > 0) this.#sink(last)
    this.#now = top.at
    top.run()
    for (let run = this.#soon.shift(); run !== undefined; run = this.#soon.shift()) run()
    return true
  }

  /** Runs with the microtasks of the process in the place of our own. */
  owningMicrotasks(run: () => void): void {
    const before = globalThis.queueMicrotask
    globalThis.queueMicrotask = (task) => this.soon(task)
    try {
      run()
    } finally {
      globalThis.queueMicrotask = before
    }
  }

  #sink(event: Event): void {
    const heap = this.#heap
    let place = 0
    for (let child = 1; child < heap.length; child = 2 * place + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, event)) break
      heap[place] = heap[child]!
      place = child
    }
    heap[place] = event
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at !== b.at ? a.at < b.at : a.turn < b.turn
}
