// Bytes of a client that wait until its messages can be handed over. Owns them; bounded by whoever asks
// `isFull` and stops reading the stream.
import { TERMINATE } from '../wire/messages.ts'

/** Above this the client's stream is not read any more. */
const HELD_MAX = 64 * 1024

export class Held {
  #chunks: Buffer[] = []
  #bytes = 0
  isHolding = false

  get isFull(): boolean {
    return this.isHolding && this.#bytes > HELD_MAX
  }

  /** The last bytes look like a Terminate message. */
  get saysGoodbye(): boolean {
    const last = this.#chunks.at(-1)
    return last?.subarray(-TERMINATE.length).equals(TERMINATE) === true
  }

  /** @param bytes owned by us from now on. */
  start(bytes: Buffer): void {
    this.isHolding = true
    this.#chunks.push(bytes)
    this.#bytes += bytes.length
  }

  /** Copies the chunk. */
  add(chunk: Buffer): void {
    this.#chunks.push(Buffer.from(chunk))
    this.#bytes += chunk.length
  }

  /** Everything, in order; holds nothing any more. */
  take(): Buffer {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#bytes = 0
    this.isHolding = false
    return bytes
  }
}
