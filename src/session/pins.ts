// The pins of one session: why it keeps its server beyond the transaction, since when, because of which
// statement. It owns the list, and tells a watcher of the pool of each that has outlived its transaction, and
// of its end. It never judges them, and keeps no text that could hold a secret.

/** Why a lease outlives the transaction. */
export type PinReason =
  /** The whole session has one server. */
  | 'session'
  | 'listen'
  | 'sql_prepare'
  | 'large_statement'
  | 'temp'
  | 'advisory_lock'
  | 'cursor'
  /** State in the process of the server that nothing shows: LOAD, setseed. */
  | 'backend_state'
  /** A setting with a name that nobody knows but Postgres. */
  | 'custom_setting'
  /** A setting that the user of the login may not set. */
  | 'privileged_setting'
  /** It has asked for it: SET pgmux.pin = on. */
  | 'by_hand'
  /** The name of a custom setting, which Postgres never forgets; only where `custom_names` is strict. */
  | 'custom_name'
  /** It may ask for what it got from a sequence; for one transaction more. */
  | 'sequence'

/** One pin. */
export class Pin {
  readonly reason: PinReason
  /** Coarse time. */
  readonly since: number
  /** How the statement began, without its strings; '' : not known. */
  statement: string
  /** Up to when its time has been counted. */
  countedTo: number
  /** The watcher has heard of it. */
  isTold = false

  constructor(reason: PinReason, since: number, statement: string) {
    this.reason = reason
    this.since = this.countedTo = since
    this.statement = statement
  }
}

/** An error for a client (as pool/types.ts has it). */
export interface PinRefusal {
  readonly severity: 'ERROR' | 'FATAL'
  readonly code: string
  readonly message: string
  readonly detail: string
  readonly hint: string
  readonly reason: string
}

/** Whose session it is. */
export interface PinHolder {
  readonly visitor: { readonly address: string; readonly user: string; readonly database: string }
  /** What works for it. */
  readonly server: {
    readonly talk: { readonly isBusy: boolean; readonly isInTransaction: boolean; readonly idleSince: number }
  } | null
  /** A message for the client, between two others. */
  deliver(bytes: Buffer): boolean
  /** Ends the connection with this error. */
  fatal(refusal: PinRefusal): void
}

/** Watches the pins of all sessions of a pool. */
export interface PinWatcher {
  readonly time: { readonly now: number }
  /** May a text run that touches this (`Touch` bits)? @returns why not; null: it may */
  refusalOf(pins: Pins, touches: number): PinRefusal | null
  /** May a session have a pin of this reason that is known before? @returns why not; null: it may */
  refusalOfReason(pins: Pins, reason: PinReason): PinRefusal | null
  /** A pin has outlived its transaction. @returns false: its session has ended because of it */
  onPin(pins: Pins, pin: Pin): boolean
  onUnpin(pins: Pins, pin: Pin): void
}

export class Pins {
  /** Since when there has been one at all. */
  since = 0
  holder: PinHolder | null = null
  /** There are pins that the watcher has not heard of. */
  hasNews = false
  /** What the client has been warned of. */
  warned: Set<PinReason> | null = null
  #watcher: PinWatcher | null = null
  #pins: Map<PinReason, Pin> | null = null

  /** From now on this one is told. Without a watcher pins are kept and nothing else. */
  watch(watcher: PinWatcher, holder: PinHolder): void {
    this.#watcher = watcher
    this.holder = holder
  }

  get size(): number {
    return this.#pins === null ? 0 : this.#pins.size
  }

  has(reason: PinReason): boolean {
    return this.#pins?.has(reason) === true
  }

  /** Those there are, the oldest first. */
  all(): Iterable<Pin> {
    return this.#pins === null ? NONE : this.#pins.values()
  }

  /** @param statement how it began, without its strings */
  add(reason: PinReason, statement = ''): void {
    this.#pins ??= new Map()
    const known = this.#pins.get(reason)
    if (known !== undefined) {
      if (known.statement === '') known.statement = statement
      return
    }
    const now = this.#watcher === null ? 0 : this.#watcher.time.now
    if (this.#pins.size === 0) this.since = now
    this.#pins.set(reason, new Pin(reason, now, statement))
    if (this.#watcher !== null) this.hasNews = true
  }

  delete(reason: PinReason): void {
    const pin = this.#pins?.get(reason)
    if (pin === undefined) return
    this.#pins?.delete(reason)
    if (pin.isTold) this.#watcher?.onUnpin(this, pin)
  }

  /** Why a text must not run that touches this (`Touch` bits); null: it may. */
  refusalOf(touches: number): PinRefusal | null {
    return this.#watcher === null ? null : this.#watcher.refusalOf(this, touches)
  }

  /** Why there must be no pin of this reason; null: there may. */
  refusalOfReason(reason: PinReason): PinRefusal | null {
    return this.#watcher === null ? null : this.#watcher.refusalOfReason(this, reason)
  }

  /** Between two transactions: what is new is told. The session may end over it. */
  settle(): void {
    this.hasNews = false
    const watcher = this.#watcher
    if (watcher === null || this.#pins === null) return
    for (const pin of this.#pins.values()) {
      if (pin.isTold) continue
      if (!watcher.onPin(this, pin)) return
      pin.isTold = true
    }
  }

  /** The session has ended, and with it all that it had. */
  end(): void {
    this.hasNews = false
    const pins = this.#pins
    this.#pins = null
    for (const pin of pins?.values() ?? NONE) if (pin.isTold) this.#watcher?.onUnpin(this, pin)
    this.#watcher = this.holder = null
  }
}

const NONE: readonly Pin[] = Object.freeze([])
