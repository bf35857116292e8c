// The pins of all clients of one pool: who has which, what the configuration says to it, how often and for
// how long. It owns that list and its counters. What a session has is the session's own to know; a server is
// never touched here.
import type { PinActions, PolicedPin } from '../config/types.ts'
import type { Counters } from '../observe/counters.ts'
import type { LimitedLog } from '../observe/log-limit.ts'
import type { Troubles } from '../observe/troubles.ts'
import { pinForbidden, pinnedTooLong, pinWarning, tooManyPinned } from '../session/pin-words.ts'
import type { Pin, PinReason, PinRefusal, Pins, PinWatcher } from '../session/pins.ts'
import { Touch } from '../sql/effects.ts'

/** What the configuration says about the pins of one pool. */
export interface PinPolicy {
  readonly actions: PinActions
  /** LISTEN keeps no server. */
  readonly listensVirtually: boolean
  /** Clients that may be pinned at once; 0: no limit. */
  readonly maxPinned: number
  /** 0: for ever. */
  readonly maxPinTimeMs: number
}

/** Texts that surely pin, by what they touch. What else does shows when they have run. */
const OF_TOUCHES: readonly (readonly [reason: PolicedPin, touch: number])[] = [
  ['temp', Touch.KeepsTemp],
  ['advisory_lock', Touch.KeepsLock],
  ['cursor', Touch.Cursors],
  ['backend_state', Touch.Backend],
  ['listen', Touch.KeepsChannel],
]
const ANY_KEEPS = OF_TOUCHES.reduce((all, [, touch]) => all | touch, Touch.AnyName)

/** How often the time of pins that go on is counted. */
const COUNT_MS = 1000
/** Who has just been answered is at work, even if a look falls between two of its statements. */
const REST_MS = 1000

const NOBODY = { database: '', user: '', address: '' } as const

/** What the pins of a pool are made of. */
export interface PoolPinsParts {
  readonly time: { readonly now: number }
  readonly counters: Counters
  readonly log: Pick<LimitedLog, 'write'>
  readonly troubles: Pick<Troubles, 'report' | 'watcher'>
  readonly policy: PinPolicy
}

export class PoolPins implements PinWatcher {
  readonly time: { readonly now: number }
  /** Sessions that keep a server beyond their transactions. */
  readonly held = new Set<Pins>()
  /** A reload may replace it; who is pinned stays so. */
  policy: PinPolicy
  readonly #parts: PoolPinsParts
  #countedAt = 0

  constructor(parts: PoolPinsParts) {
    this.#parts = parts
    this.time = parts.time
    this.policy = parts.policy
  }

  refusalOf(pins: Pins, mayTouch: number): PinRefusal | null {
    const touches = this.policy.listensVirtually ? mayTouch & ~Touch.KeepsChannel : mayTouch
    if ((touches & ANY_KEEPS) === 0) return null
    if ((touches & (Touch.AnyName | Touch.Unknown)) === Touch.AnyName) {
      const refusal = this.#judge(pins, 'custom_setting', 'ERROR')
      if (refusal !== null) return this.#refused(pins, refusal)
    }
    for (const [reason, touch] of OF_TOUCHES) {
      const refusal = (touches & touch) === 0 ? null : this.#judge(pins, reason, 'ERROR')
      if (refusal !== null) return this.#refused(pins, refusal)
    }
    return null
  }

  refusalOfReason(pins: Pins, reason: PinReason): PinRefusal | null {
    const refusal = this.#judge(pins, reason, 'ERROR')
    return refusal === null ? null : this.#refused(pins, refusal)
  }

  onPin(pins: Pins, pin: Pin): boolean {
    const refusal = this.#judge(pins, pin.reason, 'FATAL')
    if (refusal !== null) {
      pins.holder?.fatal(refusal)
      return false
    }
    this.held.add(pins)
    this.#parts.counters.pins.add([pin.reason])
    this.#say('session pinned', pins, pin)
    this.#parts.troubles.watcher?.pinned(pin.reason, pin.statement, pins.holder?.visitor ?? NOBODY)
    if (this.#actionOf(pin.reason) === 'warn') this.#warn(pins, pin)
    return true
  }

  onUnpin(pins: Pins, pin: Pin): void {
    const { now } = this.time
    if (pins.size === 0) this.held.delete(pins)
    this.#count(pin, now)
    this.#parts.troubles.watcher?.unpinned(pin.reason, pin.statement, pins.holder?.visitor ?? NOBODY)
    this.#say('session unpinned', pins, pin, { age_s: Math.round((now - pin.since) / 100) / 10 })
  }

  /** Time has passed: it is counted, and who keeps a server for too long without using it has to go. */
  tick(now: number): void {
    if (this.held.size === 0) return
    const { maxPinTimeMs } = this.policy
    if (maxPinTimeMs > 0) for (const pins of this.held) this.#endIdle(pins, now, maxPinTimeMs)
    if (now - this.#countedAt < COUNT_MS) return
    this.#countedAt = now
    for (const pins of this.held) for (const pin of pins.all()) if (pin.isTold) this.#count(pin, now)
  }

  #endIdle(pins: Pins, now: number, maxMs: number): void {
    const { holder } = pins
    const talk = holder?.server?.talk
    if (now - pins.since <= maxMs || holder === null || talk === undefined) return
    if (talk.isBusy || talk.isInTransaction || now - talk.idleSince < Math.min(REST_MS, maxMs)) return
    const [oldest] = pins.all()
    if (oldest !== undefined) holder.fatal(pinnedTooLong(oldest, now - pins.since))
  }

  #judge(pins: Pins, reason: PinReason, severity: PinRefusal['severity']): PinRefusal | null {
    if (this.#actionOf(reason) === 'refuse') return pinForbidden(reason, severity)
    const { maxPinned } = this.policy
    if (maxPinned === 0 || reason === 'sequence' || this.held.has(pins)) return null
    return this.held.size < maxPinned ? null : tooManyPinned(reason, maxPinned, severity)
  }

  #actionOf(reason: PinReason): PinActions[PolicedPin] {
    return this.policy.actions[reason as PolicedPin] ?? 'allow'
  }

  /** A statement does not run; how a session ends is told by those who end it. */
  #refused({ holder }: Pins, refusal: PinRefusal): PinRefusal {
    const { counters, troubles } = this.#parts
    troubles.report(refusal, holder?.visitor ?? null, { counters, message: 'statement refused' })
    return refusal
  }

  #warn(pins: Pins, pin: Pin): void {
    if (pins.warned?.has(pin.reason) === true) return
    pins.warned ??= new Set()
    pins.warned.add(pin.reason)
    pins.holder?.deliver(pinWarning(pin))
  }

  #count(pin: Pin, now: number): void {
    this.#parts.counters.pinnedMs.add([pin.reason], Math.max(0, now - pin.countedTo))
    pin.countedTo = now
  }

  #say(message: string, { holder }: Pins, { reason, statement }: Pin, more: object = {}): void {
    // The usual case of whoever fills a table, and over with the next transaction.
    if (reason === 'sequence') return
    const fields = { ...labels(holder), pin: reason, statement, ...more }
    this.#parts.log.write('info', message, { fields, message })
  }
}

function labels(holder: Pins['holder']): Readonly<Record<string, string>> {
  if (holder === null) return {}
  const { address, user, database } = holder.visitor
  return { client: address, user, database }
}
