// What is told to those who look, and when: a picture each second while anybody does, a point of the last
// hour each two seconds in any case. It owns the clocks of that and the history. Each picture is made once.
import type { HttpResponse } from '../../net/http.ts'
import { reportHandlerError } from '../../net/handler-errors.ts'
import { History, STEP_MS, valuesOf } from './history.ts'
import { LogLines, linesJson } from './log-lines.ts'
import { Meter } from './meter.ts'
import { mergeParts } from './picture.ts'
import type { Desk, Point } from './types.ts'
import type { Viewers } from './viewers.ts'

const NOW_MS = 1000
/** Growth over less says nothing about a second. */
const SHORT_MS = 200

export class Feed {
  readonly #desk: Desk
  readonly #viewers: Viewers
  readonly #history = new History()
  readonly #second = new Meter()
  readonly #step = new Meter()
  readonly #lines = new LogLines()
  #values: Point | null = null
  #isLooking = false
  #isSampling = false
  #last = ''

  constructor(desk: Desk, viewers: Viewers) {
    this.#desk = desk
    this.#viewers = viewers
    if (desk.tail !== null) desk.tail.listener = (line) => this.#lines.add(line)
  }

  /** Nothing more is told. */
  close(): void {
    if (this.#desk.tail !== null) this.#desk.tail.listener = null
  }

  /** Time has passed. */
  tick(now: number): void {
    this.tellLines(now)
    if (now - this.#step.at >= STEP_MS && !this.#isSampling) void this.#sample(now)
    if (this.#viewers.size > 0 && now - this.#second.at >= NOW_MS && !this.#isLooking) void this.#look(now)
  }

  /** Those who look are told what the log said; call it before somebody joins, who is told all of it. */
  tellLines(now: number): void {
    const lines = this.#lines.take(now)
    if (lines.length > 0 && this.#viewers.size > 0) this.#viewers.tell('log', linesJson(lines))
  }

  /** Somebody begins to look: there is something to see at once. */
  welcome(response: HttpResponse): void {
    this.#viewers.tellOne(response, 'history', this.#history.json())
    this.#viewers.tellOne(response, 'log', linesJson(this.#desk.tail?.lines() ?? []))
    if (this.#viewers.size > 1) {
      if (this.#last !== '') this.#viewers.tellOne(response, 'now', this.#last)
    } else if (!this.#isLooking) {
      // Nobody has looked for a while: the last point of the history is the reading before.
      this.#second.startFrom(this.#step)
      void this.#look(performance.now())
    }
  }

  async #sample(now: number): Promise<void> {
    this.#isSampling = true
    try {
      const isFirst = this.#step.at === Number.NEGATIVE_INFINITY
      const point = this.#step.take(await this.#desk.readings('sample'), now)
      if (isFirst) return
      const at = Date.now()
      this.#values = point
      this.#history.add(point, at)
      if (this.#viewers.size > 0)
        this.#viewers.tell('sample', JSON.stringify({ at, values: valuesOf(point) }))
    } catch (thrown) {
      reportHandlerError(thrown, 'a sample of the dashboard')
    } finally {
      this.#isSampling = false
    }
  }

  async #look(now: number): Promise<void> {
    this.#isLooking = true
    try {
      const isShort = now - this.#second.at < SHORT_MS && this.#values !== null
      const readings = isShort ? null : await this.#desk.readings('now')
      const values = readings === null ? this.#values : this.#second.take(readings, now)
      const parts = await this.#desk.parts()
      this.#viewers.sift()
      this.#last = this.#picture(values, parts)
      this.#viewers.tell('now', this.#last)
    } catch (thrown) {
      reportHandlerError(thrown, 'the picture of the dashboard')
    } finally {
      this.#isLooking = false
    }
  }

  #picture(values: Point | null, parts: Awaited<ReturnType<Desk['parts']>>): string {
    const { version, workers } = this.#desk
    const { state, ...rows } = mergeParts(parts)
    const facts = { at: Date.now(), version, uptime: Math.floor(process.uptime()), state, workers }
    return JSON.stringify({ ...facts, values: values === null ? {} : valuesOf(values), ...rows })
  }
}
