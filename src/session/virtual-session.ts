// What one client believes about its session: settings, named statements, the unnamed statement, pins. It
// owns these beliefs and knows no connections; the server that works for the client keeps them in step.
import { type Effects, NOT_READ } from '../sql/effects.ts'
import type { Shape } from '../sql/shapes.ts'
import type { Mailbox } from './channels.ts'
import { Pins } from './pins.ts'
import type { SessionWatch } from './session-watch.ts'
import type { Settings } from './settings.ts'
import type { Registry } from './registry.ts'
import { ClientStatements } from './statements.ts'

export type { PinReason } from './pins.ts'

/** Longest unnamed Parse that is kept to be brought to another server; a longer one pins. */
export const UNNAMED_MAX = 64 * 1024

/** Statements of one transaction whose settings are told at its end. */
const UNSEEN_MAX = 1000

/** A statement with the settings under which Postgres has made it. */
interface Made {
  settings: Settings | null
}

/** The unnamed statement: a copy of the body of its Parse message behind the (empty) name. */
export class Unnamed {
  body: Buffer = Buffer.alloc(0)
  length = 0
  /** Too long to keep: it exists on one server only. */
  isLarge = false
  /** Under which Postgres has parsed it; null: it has not. */
  settings: Settings | null = null

  /** Takes a copy of `src[start..stop)`. */
  set(src: Buffer, start: number, stop: number): void {
    const length = stop - start
    if (this.body.length < length) this.body = Buffer.allocUnsafeSlow(Math.max(128, length * 2))
    src.copy(this.body, 0, start, stop)
    this.length = length
    this.isLarge = false
  }

  setLarge(): void {
    this.length = 0
    this.isLarge = true
  }
}

/** A session that is there for one request: nothing that it did is left on its server. */
export class Once {
  /** The reset follows its Sync at once; else it comes when the session has left its server. */
  readonly isEager: boolean
  /** What it did has been undone. */
  isClean = false
  /** It could not all be undone at once: the session has to leave its server. */
  onDirty: () => void = () => {}

  constructor(isEager: boolean) {
    this.isEager = isEager
  }
}

export class VirtualSession {
  /** Reported settings as the client has them; equal to the server's while it is leased. */
  settings: Settings
  readonly statements: ClientStatements
  /** What the unnamed statement is, once Postgres has parsed it; null: none. */
  unnamed: Unnamed | null = null
  /**
   * Grows with each message that changes the unnamed statement: tells a server whether it has the present
   * one.
   */
  unnamedVersion = 0
  /** Of the text of the Parse that was sent last for it. */
  unnamedEffects: Effects = NOT_READ
  /** By which that text is counted. */
  unnamedShape: Shape | null = null
  /** The same of the message that was offered for sharing and is sent next; null: nobody has looked. */
  offered: Shape | null = null
  /** In session mode: of its prepared statements, by a hash of their names; null: none. */
  shapes: Map<number, Shape> | null = null
  /**
   * Of servers on which RESET goes back to all that the client asked for at its startup (RULES 3); null: on
   * those that it has anyway.
   */
  strictBaseline: string | null = null
  readonly pins = new Pins()
  /** For notifications of channels that somebody else listens to for it; null: it has had none of these. */
  mail: Mailbox | null = null
  /** Looks on while its statements run; null: nobody does. */
  watch: SessionWatch | null = null
  /** Set for a session of one request. */
  once: Once | null = null
  /** It has so many settings that they are not carried to another server. */
  keepsSettings = false
  /** Of no client: its server works for several at once. */
  isLane = false
  /** One spare object, so that the usual Parse of the unnamed statement allocates nothing. */
  #spare: Unnamed | null = null
  /** What was known last of large statements with names. */
  #wasLarge = false
  /** Made since Postgres was last asked; null: none. */
  #unseen: Made[] | null = null
  /** Settings that the client has given a value of its own; null: none. */
  #own: Set<string> | null = null

  constructor(settings: Settings, registry: Registry) {
    this.settings = settings
    this.statements = new ClientStatements(registry)
  }

  /** The client's own exchange has changed this setting. */
  changed(settings: Settings, name: string): void {
    this.settings = settings
    this.#own ??= new Set()
    this.#own.add(name)
  }

  /** The client asked for a value of its own at its startup. */
  wished(name: string): void {
    this.#own ??= new Set()
    this.#own.add(name)
  }

  /**
   * The default of a setting has changed from `before`.
   * @returns whether the client, which has no value of its own, must be told.
   */
  followDefault(name: string, before: string | undefined, value: string): boolean {
    if (this.settings.values.get(name) !== before || before === value || this.#own?.has(name) === true)
      return false
    this.settings = this.settings.with(name, value)
    return true
  }

  get isPinned(): boolean {
    return this.pins.size > 0 || this.statements.hasLarge
  }

  /** Its server is nobody else's, at the end of a transaction too. */
  get isBound(): boolean {
    return this.once === null ? this.isPinned || this.isLane : !this.once.isClean
  }

  /**
   * A statement was made where settings may have changed that Postgres does not report: at the end of the
   * transaction it is asked for them.
   */
  madeUnseen(made: Made): void {
    this.#unseen ??= []
    if (this.#unseen.length < UNSEEN_MAX) this.#unseen.push(made)
    // Then it is what the settings of its next server make of it.
    else made.settings = null
  }

  /** Postgres has told them; null: there was no need to ask. */
  seen(reported: ReadonlyMap<string, string>, own: ReadonlyMap<string, string> | null): void {
    if (this.#unseen === null) return
    if (own !== null)
      for (const made of this.#unseen) made.settings = made.settings?.withOwn(reported, own) ?? null
    this.#unseen = null
  }

  /** An object for a Parse of the unnamed statement that is being sent. */
  takeUnnamed(): Unnamed {
    const spare = this.#spare
    this.#spare = null
    return spare ?? new Unnamed()
  }

  /** Postgres has parsed this one, or (null) dropped the unnamed statement. */
  setUnnamed(unnamed: Unnamed | null): void {
    const before = this.unnamed
    if (before === unnamed) return
    this.unnamed = unnamed
    if (unnamed !== null) unnamed.settings = this.settings
    if (before !== null) this.giveBack(before)
    if (before?.isLarge === true || unnamed?.isLarge === true) this.#followLarge()
  }

  /** There are pins that nobody has heard of, or may be. */
  get hasNews(): boolean {
    return this.pins.hasNews || this.statements.hasLarge !== this.#wasLarge
  }

  /** Between two transactions: what has changed about the pins is told. The session may end over it. */
  settlePins(): void {
    this.#followLarge()
    this.pins.settle()
  }

  /** The client has gone. */
  dispose(): void {
    this.pins.end()
    this.statements.dispose()
    this.mail?.close()
  }

  #followLarge(): void {
    this.#wasLarge = this.statements.hasLarge
    if (this.#wasLarge || this.unnamed?.isLarge === true) this.pins.add('large_statement')
    else this.pins.delete('large_statement')
  }

  /** This object is not needed any more. */
  giveBack(unnamed: Unnamed): void {
    if (unnamed.body.length <= UNNAMED_KEEP_MAX) this.#spare = unnamed
  }
}

/** A spare longer than this is left to the garbage collector: idle clients must stay small. */
const UNNAMED_KEEP_MAX = 4096
