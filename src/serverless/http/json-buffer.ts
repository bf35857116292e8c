// A growing run of bytes that is JSON text in the making. Owns its memory; it knows the rules of JSON
// strings and nothing else. What it is given must be UTF-8: it is copied, not looked at, but for what JSON
// has to escape.

const SMALL = 16 * 1024
/** Blocks that are kept for the next answers: making one costs as much as a short answer. */
const SPARES_MAX = 64
const spares: Buffer[] = []
/** Runs up to this are copied byte by byte: a call for them costs more. */
const SHORT = 24
const QUOTE = 0x22
const BACKSLASH = 0x5c
/** From here on the engine's own is quicker than a loop over the bytes. */
const LONG = 64
const PIECE = 1024 * 1024
/** Longest that one byte becomes. */
const ESCAPED_MAX = 6

/** 0: as it is; else the character behind the backslash (`u`: in hex). */
const ESCAPE = new Uint8Array(256)
for (let byte = 0; byte < 0x20; byte++) ESCAPE[byte] = 0x75
for (const [byte, letter] of [
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
  [QUOTE, QUOTE],
  [BACKSLASH, BACKSLASH],
] as const)
  ESCAPE[byte] = letter
const EMPTY = Buffer.alloc(0)
const HEX = Buffer.from('0123456789abcdef', 'latin1')

export class JsonBuffer {
  bytes: Buffer = spares.pop() ?? Buffer.allocUnsafeSlow(SMALL)
  length = 0

  /** What was written, in memory that is not used for anything else from now on. */
  take(): Buffer {
    const taken = this.bytes.subarray(0, this.length)
    this.bytes = spares.pop() ?? Buffer.allocUnsafeSlow(SMALL)
    this.length = 0
    return taken
  }

  /** What was written, as a text, if it is short enough for that to be cheaper; else null. */
  takeText(): string | null {
    if (this.bytes.length > SMALL) return null
    const { length } = this
    this.length = 0
    return this.bytes.toString('utf8', 0, length)
  }

  /** It is not used any more. */
  dispose(): void {
    if (this.bytes.length === SMALL && spares.length < SPARES_MAX) spares.push(this.bytes)
    this.bytes = EMPTY
    this.length = 0
  }

  /** Makes room for that many bytes. */
  reserve(count: number): void {
    const wanted = this.length + count
    if (wanted <= this.bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(wanted, this.bytes.length * 2))
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.reserve(1)
    this.bytes[this.length++] = value
  }

  /** ASCII only. */
  ascii(text: string): void {
    this.reserve(text.length)
    this.length += this.bytes.write(text, this.length, 'latin1')
  }

  /** Bytes as they are. */
  raw(src: Buffer, start: number, stop: number): void {
    const count = stop - start
    this.reserve(count)
    const { bytes, length } = this
    if (count > SHORT) src.copy(bytes, length, start, stop)
    else for (let place = 0; place < count; place++) bytes[length + place] = src[start + place]
    this.length = length + count
  }

  /** `src[start..stop)` as a JSON string, with its quotes. */
  string(src: Buffer, start: number, stop: number): void {
    if (stop - start >= LONG) {
      this.#longString(src, start, stop)
      return
    }
    this.reserve(stop - start + 2)
    this.bytes[this.length++] = QUOTE
    let run = start
    for (let at = start; at < stop; at++) {
      const letter = ESCAPE[src[at]]
      if (letter === 0) continue
      this.raw(src, run, at)
      this.#escape(src[at], letter, stop - at)
      run = at + 1
    }
    this.raw(src, run, stop)
    this.byte(QUOTE)
  }

  /** One character a byte both ways: only what JSON escapes is another text then, and the engine is quick. */
  #longString(src: Buffer, start: number, stop: number): void {
    for (let at = start; at < stop; at += PIECE) {
      const text = JSON.stringify(src.toString('latin1', at, Math.min(at + PIECE, stop)))
      // Quotes between the pieces are none.
      const isFirst = at === start
      const isLast = at + PIECE >= stop
      this.ascii(isFirst && isLast ? text : text.slice(isFirst ? 0 : 1, isLast ? text.length : -1))
    }
  }

  #escape(byte: number, letter: number, left: number): void {
    this.reserve(ESCAPED_MAX + left)
    const { bytes } = this
    bytes[this.length++] = BACKSLASH
    bytes[this.length++] = letter
    if (letter !== 0x75) return
    bytes[this.length++] = 0x30
    bytes[this.length++] = 0x30
    bytes[this.length++] = HEX[byte >> 4]
    bytes[this.length++] = HEX[byte & 15]
  }
}
