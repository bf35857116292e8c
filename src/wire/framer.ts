// Cuts a stream of bytes into protocol messages by type and length alone, whatever the chunks. It owns the
// bytes of a message that has not arrived whole, and nothing else; it never looks into a body and never
// allocates what a length field announces, only what has come.
//
//   chunk   |....header|body......|header|body....|head
//                      ^start     ^stop           ^carried until the next chunk
import { type FrameRules, FromClient, Take } from './protocol.ts'

/** What `next` found. */
export const Found = {
  /** Nothing more in this chunk. */
  Nothing: 0,
  /** A message begins at `start`; up to `stop` it is here, `rest` bytes of it are still to come. */
  Message: 1,
  /** More of the message given out before: `start` to `stop`, `rest` still to come. */
  Body: 2,
  /** The bytes are no message of this side; `problem` says why. The stream cannot be read further. */
  Invalid: 3,
} as const

const EMPTY = Buffer.alloc(0)
const HEADER = 5
const CARRY_MIN = 256

export class Framer {
  /** Type byte of the message given out last. */
  type = 0
  /** Where its bytes are: `src[start..stop)`, the header included when `next` said Message. */
  src: Buffer = EMPTY
  start = 0
  stop = 0
  /** Bytes of it that were not there yet. */
  rest = 0
  problem = ''
  #rules: FrameRules
  #wholeMax: number
  #prefixMax: number
  #chunk: Buffer = EMPTY
  #pos = 0
  #end = 0
  #carry: Buffer = EMPTY
  #carried = 0

  /**
   * @param wholeMax longest message that is collected in one piece; `prefixMax` is given out of longer ones.
   */
  constructor(rules: FrameRules, wholeMax: number, prefixMax: number) {
    this.#rules = rules
    this.#wholeMax = wholeMax
    this.#prefixMax = prefixMax
  }

  /** Continue with other rules; only between two messages. */
  setRules(rules: FrameRules): void {
    this.#rules = rules
  }

  /** True where the next byte begins a message and nothing is kept. */
  get atBoundary(): boolean {
    return this.rest === 0 && this.#carried === 0 && this.#pos === this.#end
  }

  /** Bytes kept for a message that is not whole. */
  get carried(): number {
    return this.#carried
  }

  /** The next bytes of the stream. The chunk before must have been read until Nothing. */
  push(chunk: Buffer): void {
    this.#chunk = chunk
    this.#pos = 0
    this.#end = chunk.length
  }

  /** Type of the message behind the one given out last, 0 where it has not begun to come. */
  get nextType(): number {
    return this.rest === 0 && this.#carried === 0 && this.#pos < this.#end ? this.#chunk[this.#pos] : 0
  }

  /**
   * Do whole messages of these types (1 in the table), and one of type `last` behind them, follow in this
   * chunk, with no more than `most` bytes?
   */
  hasAhead(types: Uint8Array, last: number, most: number): boolean {
    const chunk = this.#chunk
    const end = Math.min(this.#end, this.#pos + most)
    let pos = this.rest > 0 ? end : this.#pos
    while (pos + HEADER <= end) {
      const type = chunk[pos]
      const length = chunk.readInt32BE(pos + 1)
      if (length < 4 || pos + 1 + length > end) return false
      if (type === last) return true
      if (types[type] === 0) return false
      pos += 1 + length
    }
    return false
  }

  /**
   * Where the batch ends that begins with the message given out last: behind its Sync, in `src`. 0: not all
   * of it is here, or not in one piece, or it has a message that is not of a batch that asks one thing.
   * @param most bytes
   */
  ahead(most: number): number {
    const chunk = this.#chunk
    if (this.src !== chunk || this.rest > 0) return 0
    const end = Math.min(this.#end, this.start + most)
    let pos = this.#pos
    while (pos + HEADER <= end) {
      const type = chunk[pos]
      const length = (chunk[pos + 1] << 24) | (chunk[pos + 2] << 16) | (chunk[pos + 3] << 8) | chunk[pos + 4]
      if (length < 4 || pos + 1 + length > end) return 0
      pos += 1 + length
      if (type === FromClient.Sync) return pos
      if (type !== FromClient.Bind && type !== FromClient.Describe && type !== FromClient.Execute) return 0
    }
    return 0
  }

  /** What was found by `ahead` counts as given out. @param end as it said */
  skipTo(end: number): void {
    this.#pos = end
  }

  /** The chunk is not read any further; a connection that is silent from now on must not hold on to it. */
  letGo(): void {
    this.#nothing()
  }

  /** There is more in the chunk. */
  get hasMore(): boolean {
    return this.#pos < this.#end
  }

  next(): number {
    const pos = this.#pos
    const available = this.#end - pos
    if (available === 0) return this.#nothing()
    if (this.rest > 0) return this.#moreBody(available)
    if (this.#carried > 0) return this.#fromCarry()
    if (available < HEADER) return this.#keep(available, HEADER)
    const chunk = this.#chunk
    const type = chunk[pos]
    const length = (chunk[pos + 1] << 24) | (chunk[pos + 2] << 16) | (chunk[pos + 3] << 8) | chunk[pos + 4]
    const take = this.#rules.take[type]
    if (take === Take.Refuse || length < 4 || length > this.#rules.lengthMax[type])
      return this.#invalid(type, length)
    const size = length + 1
    if (available >= size) {
      this.type = type
      this.src = chunk
      this.start = pos
      this.#pos = this.stop = pos + size
      return Found.Message
    }
    const needed = this.#needed(take, size)
    if (available < needed) return this.#keep(available, needed)
    this.type = type
    this.src = chunk
    this.start = pos
    this.#pos = this.stop = this.#end
    this.rest = size - available
    return Found.Message
  }

  /**
   * Takes back the message given out last and all that follows it in the chunk, and forgets them.
   * Only right after `next` said Message with `rest` 0.
   * @returns those bytes, copied: push them when reading goes on.
   */
  unread(): Buffer {
    const fromChunk = this.src === this.#chunk
    const from = fromChunk ? this.start : this.#pos
    const tail = this.#chunk.subarray(from, this.#end)
    const bytes = fromChunk
      ? Buffer.from(tail)
      : Buffer.concat([this.src.subarray(this.start, this.stop), tail])
    this.#chunk = EMPTY
    this.#pos = this.#end = 0
    this.src = EMPTY
    this.rest = 0
    return bytes
  }

  /**
   * Bytes of the chunk that were not given out yet; they are forgotten. For streams that stop being messages.
   */
  takeTail(): Buffer {
    const tail = Buffer.from(this.#chunk.subarray(this.#pos, this.#end))
    this.#pos = this.#end
    return tail
  }

  /** All was given out. A connection that is silent from now on must not hold on to its last chunk. */
  #nothing(): number {
    this.#chunk = this.src = EMPTY
    this.#pos = this.#end = 0
    return Found.Nothing
  }

  #moreBody(available: number): number {
    const size = available < this.rest ? available : this.rest
    this.src = this.#chunk
    this.start = this.#pos
    this.#pos = this.stop = this.#pos + size
    this.rest -= size
    return Found.Body
  }

  /** How much of a message must be here before it is given out. */
  #needed(take: number, size: number): number {
    if (take === Take.Stream) return HEADER
    if (take === Take.Whole && size <= this.#wholeMax) return size
    return size < this.#prefixMax ? size : this.#prefixMax
  }

  /**
   * Copies the last bytes of the chunk to the carry, which grows with what has come, not with what was
   * announced.
   */
  #keep(available: number, needed: number): number {
    if (available > 0) {
      const wanted = this.#carried + available
      if (this.#carry.length < wanted) {
        const capacity = Math.max(CARRY_MIN, Math.min(needed, wanted * 2), wanted)
        const grown = Buffer.allocUnsafeSlow(capacity)
        this.#carry.copy(grown, 0, 0, this.#carried)
        this.#carry = grown
      }
      this.#chunk.copy(this.#carry, this.#carried, this.#pos, this.#pos + available)
      this.#carried = wanted
      this.#pos += available
    }
    return Found.Nothing
  }

  #fromCarry(): number {
    if (this.#carried < HEADER && !this.#topUp(HEADER)) return Found.Nothing
    const carry = this.#carry
    const type = carry[0]
    const length = (carry[1] << 24) | (carry[2] << 16) | (carry[3] << 8) | carry[4]
    const take = this.#rules.take[type]
    if (take === Take.Refuse || length < 4 || length > this.#rules.lengthMax[type])
      return this.#invalid(type, length)
    const size = length + 1
    const needed = this.#needed(take, size)
    if (this.#carried < needed && !this.#topUp(needed)) return Found.Nothing
    this.type = type
    this.src = this.#carry
    this.start = 0
    this.stop = this.#carried
    this.rest = size - this.#carried
    // Given away: a stream may hold on to it, so the next message gets a buffer of its own.
    this.#carry = EMPTY
    this.#carried = 0
    return Found.Message
  }

  /** Moves bytes from the chunk until `needed` are carried. */
  #topUp(needed: number): boolean {
    const missing = needed - this.#carried
    const available = this.#end - this.#pos
    this.#keep(available < missing ? available : missing, needed)
    return this.#carried >= needed
  }

  #invalid(type: number, length: number): number {
    this.type = type
    this.problem =
      this.#rules.take[type] === Take.Refuse ? 'invalid message type' : `invalid message length ${length}`
    return Found.Invalid
  }
}
