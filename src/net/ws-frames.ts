// The frames of a WebSocket (RFC 6455), as a server reads and makes them. Payload is given out as it arrives,
// whatever frames and messages it stands in: nothing is collected but headers and control frames, so a length
// that is announced costs nothing. It owns no socket and sends nothing.
import { take } from './slab.ts'

/** Kinds of frames. */
export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

/** Why a WebSocket is closed (RFC 6455, section 7.4). */
export const CloseCode = {
  Normal: 1000,
  GoingAway: 1001,
  Protocol: 1002,
  Unsupported: 1003,
  Policy: 1008,
  Internal: 1011,
  TryLater: 1013,
} as const

/** What `next` found. */
export const Frame = {
  /** Nothing more in what was pushed. */
  Nothing: 0,
  /** `payload` holds bytes of a binary message. */
  Payload: 1,
  /** `payload` is that of a whole control frame of kind `opcode`. */
  Control: 2,
  /** A frame of a message that brings no bytes at all. */
  Empty: 3,
  /** This is no WebSocket, or one that sends what is not taken: `code` and `problem` say why. */
  Invalid: 4,
} as const

type Found = (typeof Frame)[keyof typeof Frame]

const NO_BYTES = Buffer.alloc(0)
/** 2 bytes, 8 of length, 4 of mask. */
const HEADER_MAX = 14
const CONTROL_MAX = 125
const FIN = 0x80
const RESERVED = 0x70
const MASKED = 0x80

export class FrameReader {
  payload: Buffer = NO_BYTES
  opcode = 0
  code: number = CloseCode.Protocol
  problem = ''
  #chunk: Buffer = NO_BYTES
  #at = 0
  /** A header that has not arrived whole; made when one is cut for the first time. */
  #header: Buffer | null = null
  #headerBytes = 0
  #control: Buffer | null = null
  #controlBytes = 0
  /** Payload of the present frame that is still to come. */
  #left = 0
  #mask = 0
  #isInMessage = false

  /** The next bytes, once `next` has said Nothing. They are changed in place: the mask is taken off. */
  push(chunk: Buffer): void {
    this.#chunk = chunk
    this.#at = 0
  }

  /** Bytes were pushed that nobody has looked at. */
  get hasMore(): boolean {
    return this.#at < this.#chunk.length
  }

  /** What was pushed stays valid no longer: the rest of it is copied. */
  keepRest(): void {
    this.#chunk = this.hasMore ? Buffer.from(this.#chunk.subarray(this.#at)) : NO_BYTES
    this.#at = 0
  }

  next(): Found {
    for (;;) {
      if (this.#left > 0) {
        if (!this.hasMore) return this.#nothing()
        const found = this.#readPayload()
        if (found !== Frame.Nothing) return found
        continue
      }
      if (!this.hasMore) return this.#nothing()
      const found = this.#readHeader()
      if (found !== Frame.Payload) return found
    }
  }

  #nothing(): Found {
    this.#chunk = NO_BYTES
    this.#at = 0
    return Frame.Nothing
  }

  /** @returns Nothing: a control frame is not whole yet */
  #readPayload(): Found {
    const bytes = this.#chunk.subarray(this.#at, this.#at + this.#left)
    this.#at += bytes.length
    this.#left -= bytes.length
    this.#unmask(bytes)
    if (this.#control === null) {
      this.payload = bytes
      return Frame.Payload
    }
    this.#control.set(bytes, this.#controlBytes)
    this.#controlBytes += bytes.length
    return this.#left > 0 ? Frame.Nothing : this.#wholeControl(this.#control)
  }

  #wholeControl(payload: Buffer): Found {
    this.payload = payload
    this.#control = null
    return Frame.Control
  }

  /** The mask is turned along, so that the next bytes begin with its first byte again. */
  #unmask(bytes: Buffer): void {
    const mask = this.#mask
    const length = bytes.length
    const m0 = mask >>> 24
    const m1 = (mask >>> 16) & 255
    const m2 = (mask >>> 8) & 255
    const m3 = mask & 255
    const whole = length & ~3
    for (let i = 0; i < whole; i += 4) {
      bytes[i] ^= m0
      bytes[i + 1] ^= m1
      bytes[i + 2] ^= m2
      bytes[i + 3] ^= m3
    }
    const over = length - whole
    if (over > 0) bytes[whole] ^= m0
    if (over > 1) bytes[whole + 1] ^= m1
    if (over > 2) bytes[whole + 2] ^= m2
    if (over > 0) this.#mask = (mask << (8 * over)) | (mask >>> (32 - 8 * over))
  }

  /** @returns Payload: a header was read, and its payload is next */
  #readHeader(): Found {
    const { src, at } = this.#wholeHeader()
    if (src === null) return this.problem === '' ? this.#nothing() : Frame.Invalid
    const first = src[at]
    const isControl = (first & 0x08) !== 0
    const short = src[at + 1] & 0x7f
    let length = short
    if (short === 126) length = src.readUInt16BE(at + 2)
    else if (short === 127) length = src.readUInt32BE(at + 2) * 0x1_0000_0000 + src.readUInt32BE(at + 6)
    // The sign bit must not be set; what is beyond exact numbers would take years to send.
    if (length > Number.MAX_SAFE_INTEGER) return this.#invalid('a frame announces an impossible length')
    this.#mask = src.readInt32BE(at + headerLength(short) - 4)
    this.#left = length
    if (isControl) {
      this.opcode = first & 0x0f
      this.#control = Buffer.allocUnsafe(length)
      this.#controlBytes = 0
      return length > 0 ? Frame.Payload : this.#wholeControl(this.#control)
    }
    this.#isInMessage = (first & FIN) === 0
    return length > 0 ? Frame.Payload : Frame.Empty
  }

  /** Where the header stands as a whole; `src` is null where it is cut, or wrong. */
  #wholeHeader(): { src: Buffer | null; at: number } {
    const chunk = this.#chunk
    const at = this.#at
    const have = chunk.length - at
    if (this.#headerBytes === 0 && have >= 2) {
      if (!this.#mayBegin(chunk[at], chunk[at + 1])) return CUT
      const needed = headerLength(chunk[at + 1] & 0x7f)
      if (have >= needed) {
        this.#at += needed
        return { src: chunk, at }
      }
    }
    const header = this.#header ?? Buffer.allocUnsafeSlow(HEADER_MAX)
    this.#header = header
    for (let needed = 2; ; ) {
      while (this.#headerBytes < needed && this.hasMore) header[this.#headerBytes++] = chunk[this.#at++]
      if (this.#headerBytes < needed) return CUT
      if (needed > 2) break
      if (!this.#mayBegin(header[0], header[1])) return CUT
      needed = headerLength(header[1] & 0x7f)
    }
    this.#headerBytes = 0
    this.#header = null
    return { src: header, at: 0 }
  }

  /** Judges the first two bytes of a frame, before anything else of it is waited for. */
  #mayBegin(first: number, second: number): boolean {
    const opcode = first & 0x0f
    const isFinal = (first & FIN) !== 0
    if ((first & RESERVED) !== 0) this.#invalid('a reserved bit is set: no extension was agreed on')
    else if ((second & MASKED) === 0) this.#invalid('a frame of a client is not masked')
    else if (opcode >= Opcode.Close) this.#judgeControl(opcode, isFinal, second & 0x7f)
    else if (opcode > Opcode.Binary) this.#invalid(`frames of kind ${opcode} do not exist`)
    else if (opcode === Opcode.Continuation && !this.#isInMessage)
      this.#invalid('a message is continued that was not begun')
    else if (opcode !== Opcode.Continuation && this.#isInMessage)
      this.#invalid('a message begins inside another one')
    else if (opcode === Opcode.Text) {
      this.#invalid('text messages are not taken: send the bytes of the protocol as binary')
      this.code = CloseCode.Unsupported
    }
    return this.problem === ''
  }

  #judgeControl(opcode: number, isFinal: boolean, length: number): void {
    if (opcode > Opcode.Pong) this.#invalid(`frames of kind ${opcode} do not exist`)
    else if (!isFinal) this.#invalid('a control frame is fragmented')
    else if (length > CONTROL_MAX) this.#invalid('a control frame is longer than 125 bytes')
  }

  #invalid(problem: string): Found {
    this.problem = problem
    return Frame.Invalid
  }
}

const CUT = { src: null, at: 0 } as const

function headerLength(short: number): number {
  return short < 126 ? 6 : short === 126 ? 8 : 14
}

/** The header of a message that we send: one frame, without a mask. */
export function header(length: number): Buffer {
  const bytes = take(length < 126 ? 2 : length < 0x1_0000 ? 4 : 10)
  bytes[0] = FIN | Opcode.Binary
  if (length < 126) bytes[1] = length
  else if (length < 0x1_0000) {
    bytes[1] = 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 127
    bytes.writeUInt32BE(0, 2)
    bytes.writeUInt32BE(length, 6)
  }
  return bytes
}

/** A whole control frame. Its payload has at most 125 bytes. */
export function controlFrame(opcode: number, payload: Uint8Array): Buffer {
  const frame = take(2 + payload.length)
  frame[0] = FIN | opcode
  frame[1] = payload.length
  frame.set(payload, 2)
  return frame
}

/** A close frame. Of longer words the end is left out. */
export function closeFrame(code: number, words: string): Buffer {
  const text = Buffer.from(words).subarray(0, CONTROL_MAX - 2)
  const payload = Buffer.allocUnsafe(2 + text.length)
  payload.writeUInt16BE(code)
  text.copy(payload, 2)
  return controlFrame(Opcode.Close, payload)
}

/** The code with which a close frame of this payload is answered: its own, if it is one that may be sent. */
export function answerTo(payload: Buffer): number {
  if (payload.length === 0) return CloseCode.Normal
  const code = payload.length === 1 ? 0 : payload.readUInt16BE(0)
  const isStandard = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
  return isStandard || (code >= 3000 && code <= 4999) ? code : CloseCode.Protocol
}
