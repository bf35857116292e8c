// Cuts what a client of the console sends into whole messages, and reads the fields of those that the console
// understands. It owns bytes that have not become a message yet; what is longer than a limit is refused.
import { Found, Framer } from '../../wire/framer.ts'
import { CLIENT_RULES } from '../../wire/protocol.ts'

/** No command is longer. */
const MESSAGE_MAX = 64 * 1024
const HEADER = 5

export interface Message {
  readonly type: number
  readonly body: Buffer
}

export class Inbox {
  readonly #framer = new Framer(CLIENT_RULES, MESSAGE_MAX, MESSAGE_MAX)
  #parts: Buffer[] = []
  #bytes = 0
  /** The type byte of what was refused, and why; '' : nothing was. */
  problem = ''

  get type(): number {
    return this.#framer.type
  }

  /** The messages that this chunk completes. After a `problem` nothing more can be read. */
  push(chunk: Buffer): Message[] {
    const framer = this.#framer
    const messages: Message[] = []
    framer.push(chunk)
    for (;;) {
      const found = framer.next()
      if (found === Found.Nothing) return messages
      if (found === Found.Invalid) {
        this.problem = framer.problem
        return messages
      }
      if (found === Found.Message) {
        this.#parts = []
        this.#bytes = 0
      }
      this.#bytes += framer.stop - framer.start
      if (this.#bytes + framer.rest > MESSAGE_MAX) {
        this.problem = 'message too long for the console'
        return messages
      }
      this.#parts.push(Buffer.from(framer.src.subarray(framer.start, framer.stop)))
      if (framer.rest > 0) continue
      messages.push({ type: framer.type, body: Buffer.concat(this.#parts).subarray(HEADER) })
      this.#parts = []
    }
  }
}

/** Reads the fields of one body in order. @throws RangeError behind its end */
export class Fields {
  readonly #body: Buffer
  #at = 0

  constructor(body: Buffer) {
    this.#body = body
  }

  text(): string {
    const end = this.#body.indexOf(0, this.#at)
    if (end < 0) throw new RangeError('invalid string in message')
    const text = this.#body.toString('utf8', this.#at, end)
    this.#at = end + 1
    return text
  }

  byte(): number {
    return this.#take(1).readUInt8()
  }

  count(): number {
    return this.#take(2).readUInt16BE()
  }

  int32(): number {
    return this.#take(4).readInt32BE()
  }

  counts(): number[] {
    return Array.from({ length: this.count() }, () => this.count())
  }

  /** Nothing may be left. */
  end(): void {
    if (this.#at !== this.#body.length) throw new RangeError('invalid message format')
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#body.length) throw new RangeError('insufficient data left in message')
    this.#at += length
    return this.#body.subarray(this.#at - length, this.#at)
  }
}
