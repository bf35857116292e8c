// Owns: a hub in front of a Postgres of the tests, with a clock that the test moves, and subscribers that
// write down what they get. Must never look at the hub's connection where Postgres can tell.
import assert from 'node:assert/strict'
import { PasswordWork } from '../../src/auth/password-work.ts'
import { Hub } from '../../src/backend/hub.ts'
import type { Problem } from '../../src/backend/listening-server.ts'
import type { Route } from '../../src/backend/route.ts'
import { loadConfig } from '../../src/config/load.ts'
import { systemRandom } from '../../src/net/random.ts'
import { Counters } from '../../src/observe/counters.ts'
import { routeOf } from '../../src/routing/route-of.ts'
import { Router } from '../../src/routing/router.ts'
import type { Subscriber } from '../../src/session/channels.ts'
import { BackendParser } from './messages.ts'

/** One who writes down what it gets: `channel payload`, or `gap`. */
export class Ear implements Subscriber {
  readonly pool: object
  readonly heard: string[] = []
  /** Of each notification. */
  readonly pids: number[] = []
  #waiting: (() => void) | null = null
  #isDone: (() => boolean) | null = null

  constructor(pool: object = {}) {
    this.pool = pool
  }

  onNotification(message: Buffer, channel: string): void {
    const [parsed] = new BackendParser().push(message)
    assert.ok(parsed?.type === 'A')
    assert.equal(parsed.raw.includes(Buffer.from(channel, 'latin1')), true)
    this.pids.push(parsed.pid)
    this.#add(`${parsed.channel} ${parsed.payload}`)
  }

  onGap(): void {
    this.#add('gap')
  }

  #add(what: string): void {
    this.heard.push(what)
    if (this.#isDone?.() === true) this.#waiting?.()
  }

  /** Resolves when this is true of what was heard. */
  async until(isDone: () => boolean, limitMs = 10_000): Promise<void> {
    if (isDone()) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const last = this.heard.slice(-5)
    const timer = setTimeout(
      () => reject(new Error(`heard only ${this.heard.length}: ${last.join(', ')}`)),
      limitMs,
    )
    this.#isDone = isDone
    this.#waiting = resolve
    await promise.finally(() => {
      clearTimeout(timer)
      this.#isDone = this.#waiting = null
    })
  }

  /** Resolves when it has heard so many things. */
  count(count: number, limitMs?: number): Promise<void> {
    return this.until(() => this.heard.length >= count, limitMs)
  }
}

export class TestHub {
  readonly hub: Hub
  readonly counters = new Counters()
  readonly warnings: string[] = []
  readonly time = { now: 1000 }
  /** How often there was no connection any more. */
  closings = 0
  /** Null: no connection is allowed. */
  route: Route | null
  #isTicking: boolean
  readonly #ticker: NodeJS.Timeout

  /** @param url of a Postgres. While `isTicking` the hub's clock moves as a pooler's would. */
  constructor(url: string, isTicking = true) {
    this.route = routeTo(url)
    this.hub = new Hub({
      random: systemRandom,
      time: this.time,
      work: new PasswordWork(),
      counters: this.counters,
      route: () => this.route,
      onClosed: () => this.closings++,
      warn: (message) => this.warnings.push(message),
    })
    this.#isTicking = isTicking
    this.#ticker = setInterval(() => {
      if (this.#isTicking) this.pass(10)
    }, 10)
  }

  /** So much time passes. */
  pass(ms: number): void {
    this.time.now += ms
    this.hub.tick(this.time.now)
  }

  /** Resolves with what came of it. */
  subscribe(ear: Ear, names: readonly string[], sign = ''): Promise<Problem | null> {
    return new Promise((resolve) => void this.hub.subscribe(ear, names, sign, resolve))
  }

  /** The same, and it must work. */
  async listen(ear: Ear, ...names: string[]): Promise<void> {
    assert.equal(await this.subscribe(ear, names), null)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#ticker)
    this.hub.close()
  }
}

function routeTo(url: string): Route {
  const { config } = loadConfig({ env: {}, flags: { upstream: url }, terminal: false })
  const router = new Router(config, {
    makePool: () => {
      throw new Error('no pool is needed')
    },
  })
  const place = router.placeOf(config.upstream.shownDbname, config.upstream.user)
  assert.ok(!('reason' in place))
  return routeOf(config, { ...place, dbname: config.upstream.shownDbname }, 'session')
}
