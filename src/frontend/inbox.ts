// What a client has sent and nobody has taken yet, and whether its stream is read at all. It owns the framer,
// the bytes that wait, and the reasons to read no more; it does not know what messages mean.
import type { ByteStream } from '../wire/byte-stream.ts'
import { Framer } from '../wire/framer.ts'
import { CLIENT_RULES } from '../wire/protocol.ts'
import { Held } from './held.ts'

/** Longest Query, Parse, Describe or Close that is read whole. */
const WHOLE_MAX = 256 * 1024
/** Of a longer one, and of Bind, this much is looked at. */
const PREFIX_MAX = 16 * 1024

export class Inbox {
  readonly framer = new Framer(CLIENT_RULES, WHOLE_MAX, PREFIX_MAX)
  readonly #held = new Held()
  readonly #stream: ByteStream
  /** The server takes no more bytes. */
  isServerFull = false
  /** The client has not taken its last answer: further answers would be kept here. */
  isUnread = false
  /** An operator has suspended everything. */
  #isSuspended = false
  #wasFull = false

  constructor(stream: ByteStream) {
    this.#stream = stream
  }

  /** Messages wait: what comes now waits behind them. */
  get isHolding(): boolean {
    return this.#held.isHolding
  }

  /** What waits, from its first message on; null: nothing does. */
  get first(): Buffer | null {
    return this.#held.first
  }

  get saysGoodbye(): boolean {
    return this.#held.saysGoodbye
  }

  /** More has come, and waits. */
  add(chunk: Buffer): void {
    this.#held.add(chunk)
    this.#pauseIfFull()
  }

  /** The message given out last, and what follows it, waits. */
  hold(): void {
    this.#held.start(this.framer.unread())
    this.#pauseIfFull()
  }

  /** What follows the message given out last waits. */
  holdRest(): void {
    if (this.framer.hasMore) this.#held.start(this.framer.takeTail())
    this.framer.letGo()
  }

  /** These messages come first. @param bytes owned by us from now on. */
  putBack(bytes: Buffer): void {
    this.#held.putBack(bytes)
  }

  /** Gives what waited to the framer. `opened` is to be called when it has been read. */
  open(): void {
    this.#wasFull = this.#held.isFull
    this.framer.push(this.#held.take())
  }

  opened(): void {
    if (this.#wasFull) this.resume()
  }

  /** Forgets what waits. */
  drop(): void {
    this.#held.take()
  }

  stopForServer(): void {
    this.isServerFull = true
    this.#stream.pause()
  }

  stopForClient(): void {
    this.isUnread = true
    this.#stream.pause()
  }

  /** The server takes bytes again. */
  serverDrained(): void {
    if (!this.isServerFull) return
    this.isServerFull = false
    this.resume()
  }

  /** Nothing is read until this is called with false. What has been read goes on. */
  suspend(isSuspended: boolean): void {
    this.#isSuspended = isSuspended
    if (isSuspended) this.#stream.pause()
    else this.resume()
  }

  /** The client's silence is ours. */
  get isStopped(): boolean {
    return this.isServerFull || this.isHolding || this.#isSuspended
  }

  /** The stream is read again, if nothing is against it. */
  resume(): void {
    if (this.isServerFull || this.isUnread || this.#isSuspended || this.#held.isFull) return
    this.#stream.resume()
  }

  #pauseIfFull(): void {
    if (this.#held.isFull) this.#stream.pause()
  }
}
