// Owns: time in a simulation: a clock that stands still and a queue of things to do at given times.
// Must never read the machine's clock or start a timer: time passes only when a test runs the queue.

import type { Clock } from '../../src/util/env.ts'

interface Task {
  readonly at: number
  readonly order: number
  readonly run: () => void
  cancelled: boolean
}

/** Takes a planned task back; harmless when it has run already. */
export type Cancel = () => void

/** A fake clock and scheduler. Tasks of the same time run in the order in which they were planned. */
export class SimClock implements Clock {
  #now = 0
  #order = 0
  #live = 0
  /** A binary heap: the task to run next is at index 0. */
  readonly #heap: Task[] = []

  /** Milliseconds since the clock was made. */
  now(): number {
    return this.#now
  }

  /** Tasks planned and neither run nor cancelled. */
  get pending(): number {
    return this.#live
  }

  /** Plans `run` for `ms` milliseconds from now (0 or less: behind what is planned for now). */
  readonly schedule = (ms: number, run: () => void): Cancel => {
    const task: Task = { at: this.#now + Math.max(0, ms), order: this.#order++, run, cancelled: false }
    this.#push(task)
    this.#live++
    return () => {
      if (task.cancelled) return
      task.cancelled = true
      this.#live--
    }
  }

  /** Runs the next task, moving time to it. @returns false when nothing was left to run */
  step(): boolean {
    for (let task = this.#pop(); task !== undefined; task = this.#pop()) {
      if (task.cancelled) continue
      task.cancelled = true
      this.#live--
      this.#now = task.at
      task.run()
      return true
    }
    return false
  }

  /**
   * Runs until nothing is planned.
   * @throws after `limit` tasks: a simulation that plans for ever is a fault to be seen, not a hang
   */
  run(limit = 1_000_000): void {
    for (let count = 0; this.step(); count++) {
      if (count >= limit) throw new Error(`the simulation did not come to rest within ${limit} tasks`)
    }
  }

  /** Runs all that is planned up to this time, then stands at this time. */
  runUntil(time: number): void {
    for (let next = this.#peek(); next !== undefined && next.at <= time; next = this.#peek()) this.step()
    this.#now = Math.max(this.#now, time)
  }

  /** `runUntil` with a distance instead of a time. */
  advance(ms: number): void {
    this.runUntil(this.#now + ms)
  }

  #peek(): Task | undefined {
    while (this.#heap[0]?.cancelled) this.#pop()
    return this.#heap[0]
  }

  #push(task: Task): void {
    const heap = this.#heap
    let i = heap.push(task) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(task, heap[parent] as Task)) break
      heap[i] = heap[parent] as Task
      i = parent
    }
    heap[i] = task
  }

  #pop(): Task | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let i = 0
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      const right = heap[child + 1]
      if (right !== undefined && before(right, heap[child] as Task)) child++
      if (!before(heap[child] as Task, last)) break
      heap[i] = heap[child] as Task
      i = child
    }
    heap[i] = last
    return top
  }
}

function before(a: Task, b: Task): boolean {
  return a.at !== b.at ? a.at < b.at : a.order < b.order
}
