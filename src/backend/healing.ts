// One exchange kept for a moment, so that a statement that its server has lost or outgrown (26000, 0A000,
// class 42) can be parsed anew and the exchange sent once more (RULES 17). It owns that copy. It never
// repeats anything of which a client has seen an answer, and nothing inside a transaction.
import { type Definition, NamedStatement } from '../session/statements.ts'
import { field } from '../wire/error-response.ts'
import type { Framer } from '../wire/framer.ts'
import { FromClient } from '../wire/protocol.ts'

/** Longer exchanges are not kept. */
const KEPT_MAX = 16 * 1024
const EMPTY = Buffer.alloc(0)
/** Messages of which a kept exchange consists, by their type; in front of its Sync. */
const KEEPS = new Uint8Array(256)
for (const type of [FromClient.Execute, FromClient.Bind, FromClient.Describe]) KEEPS[type] = 1

/** Class of SQLSTATEs: a text that cannot be understood. */
const ANALYSIS_FAILED = '42'
/** Of that class, but about who runs it: a new Parse does not help. */
const NOT_ALLOWED = '42501'

/** What an error to a message that names a statement says about the statement. */
export const Fault = { None: 0, Lost: 1, Outgrown: 2 } as const

/** One of `Fault`, for a whole ErrorResponse. */
export function faultOf(bytes: Buffer): number {
  const code = field(bytes, 'C')
  if (code === '26000') return Fault.Lost
  // By its routine, since the text is in the server's language.
  if (code === '0A000' && field(bytes, 'R') === 'RevalidateCachedQuery') return Fault.Outgrown
  // Its text is analysed again where what it names has changed: with the types of parameters that it had.
  if (code?.startsWith(ANALYSIS_FAILED) && code !== NOT_ALLOWED) return Fault.Outgrown
  return Fault.None
}

/**
 * May the answer to this Parse be made up, although its server may have outgrown the statement? Only if what
 * follows in its batch can be sent once more: it is all here and short. Else the client would read an error
 * where its Parse would have been a new one.
 */
export function couldHeal(framer: Framer): boolean {
  return framer.hasAhead(KEEPS, FromClient.Sync, KEPT_MAX)
}

export class Healing {
  /** The exchange in flight is kept: all of it was sent, and nothing behind it. */
  isArmed = false
  /** Its error was swallowed; it is sent again behind the next ReadyForQuery. */
  isPending = false
  /** The batch that is being sent may be kept. */
  isRecording = false
  /** Nothing of the batch was sent yet: the answer to its Parse is made up (`couldHeal`). */
  isExpected = false
  /** What the client is told where the exchange cannot be sent again. */
  error: Buffer = EMPTY
  #statement: NamedStatement | null = null
  #describes = false
  #owed = 0
  #src: Buffer = EMPTY
  #start = 0
  #stop = 0
  #kept: Buffer = EMPTY
  #length = 0

  /**
   * The first message of a batch that goes to Postgres, a Bind or Describe with this reference, was sent;
   * nothing else is in flight.
   */
  begin(framer: Framer, ref: unknown): void {
    if (framer.rest > 0 || !(ref instanceof NamedStatement) || ref.definition.isLarge) return
    this.isRecording = true
    this.#statement = ref
    this.#describes = framer.type === FromClient.Describe
    this.#owed = 1
    this.#src = framer.src
    this.#start = framer.start
    this.#stop = framer.stop
  }

  /** One more message of it was sent. Only a batch that came in one piece is kept: it costs one copy. */
  next(framer: Framer): void {
    const { type } = framer
    if (KEEPS[type] === 0 || !this.#continues(framer)) {
      this.isRecording = false
      this.#src = EMPTY
      return
    }
    if (type === FromClient.Describe) this.#describes = true
    this.#owed++
  }

  /** Its Sync was sent. */
  complete(framer: Framer): void {
    this.isRecording = false
    if (this.#continues(framer)) {
      const length = this.#stop - this.#start
      if (this.#kept.length < length) this.#kept = Buffer.allocUnsafeSlow(Math.max(512, length))
      this.#src.copy(this.#kept, 0, this.#start, this.#stop)
      this.#length = length
      this.#owed++
      this.isArmed = true
    }
    this.#src = EMPTY
  }

  /** Is a fault of this statement, with so many replies owed, one that can be healed unnoticed? */
  cures(fault: number, statement: NamedStatement, owed: number): boolean {
    if (!this.isArmed || statement !== this.#statement || owed !== this.#owed) return false
    // Who has a description of the old result would decode the new one with it.
    return fault === Fault.Lost || this.#describes || statement.shape === 0
  }

  /** The statement whose exchange is kept. */
  get definition(): Definition | null {
    return this.#statement?.definition ?? null
  }

  /** Its error is swallowed. */
  start(error: Buffer): void {
    this.isArmed = false
    this.isPending = true
    this.error = Buffer.from(error)
  }

  /** The kept exchange, to be sent again; it is kept no longer. */
  take(): Buffer {
    this.isPending = false
    return Buffer.from(this.#kept.subarray(0, this.#length))
  }

  #continues(framer: Framer): boolean {
    if (framer.rest > 0 || framer.src !== this.#src || framer.start !== this.#stop) return false
    this.#stop = framer.stop
    return this.#stop - this.#start <= KEPT_MAX
  }
}
