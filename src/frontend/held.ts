// Bytes of a client that wait until its messages can be handed over. Owns them; bounded by whoever asks
// `isFull` and stops reading the stream.
import { TERMINATE } from '../wire/messages.ts'

/** Above this the client's stream is not read any more. */
const HELD_MAX = 64 * 1024

export class Held {
  /** Nearly always all there is; the list is made when more comes. */
  #first: Buffer | null = null
  #more: Buffer[] | null = null
  #bytes = 0
  isHolding = false

  get first(): Buffer | null {
    return this.#first
  }

  get isFull(): boolean {
    return this.isHolding && this.#bytes > HELD_MAX
  }

  /** The last bytes look like a Terminate message. */
  get saysGoodbye(): boolean {
    const last = this.#more?.at(-1) ?? this.#first
    return last?.subarray(-TERMINATE.length).equals(TERMINATE) === true
  }

  /** @param bytes owned by us from now on. */
  start(bytes: Buffer): void {
    this.isHolding = true
    this.#first = bytes
    this.#bytes = bytes.length
  }

  /** Copies the chunk. */
  add(chunk: Buffer): void {
    const copy = Buffer.from(chunk)
    if (this.isHolding) {
      this.#more ??= []
      this.#more.push(copy)
      this.#bytes += chunk.length
    } else this.start(copy)
  }

  /** These come first. @param bytes owned by us from now on. */
  putBack(bytes: Buffer): void {
    const behind = this.take()
    this.start(behind.length === 0 ? bytes : Buffer.concat([bytes, behind]))
  }

  /** Everything, in order; holds nothing any more. */
  take(): Buffer {
    const first = this.#first ?? EMPTY
    const bytes = this.#more === null ? first : Buffer.concat([first, ...this.#more])
    this.#first = null
    this.#more = null
    this.#bytes = 0
    this.isHolding = false
    return bytes
  }
}

const EMPTY = Buffer.alloc(0)
