// Cuts what a server sends into messages and looks at as few bytes as it can: a load generator must not be
// what limits. Must never keep the body of a message that nobody asked for.

/** Message types, as bytes. */
export const TYPE = {
  authentication: 0x52,
  error: 0x45,
  ready: 0x5a,
  copyIn: 0x47,
} as const

const HEADER = 5

/** A framer over one connection. */
export class Skimmer {
  readonly #onMessage: (type: number, body: Buffer) => void
  readonly #header = Buffer.alloc(HEADER)
  #headerBytes = 0
  #type = 0
  /** Bytes of the body that are still to come. */
  #rest = 0
  #body: Buffer | null = null
  #filled = 0

  /** @param onMessage gets each message that is an error, a question or an end; others are skipped */
  constructor(onMessage: (type: number, body: Buffer) => void) {
    this.#onMessage = onMessage
  }

  /** `bytes` up to `length` have come; they may be overwritten afterwards. */
  push(bytes: Uint8Array, length: number): void {
    let at = 0
    while (at < length) {
      if (this.#rest > 0) {
        const count = Math.min(this.#rest, length - at)
        if (this.#body !== null) {
          this.#body.set(bytes.subarray(at, at + count), this.#filled)
          this.#filled += count
        }
        at += count
        this.#rest -= count
        if (this.#rest === 0) this.#finish()
        continue
      }
      this.#header[this.#headerBytes++] = bytes[at++]!
      if (this.#headerBytes === HEADER) this.#begin()
    }
  }

  #begin(): void {
    this.#headerBytes = 0
    this.#type = this.#header[0]!
    this.#rest = this.#header.readInt32BE(1) - 4
    if (this.#rest < 0) throw new Error('the server sent a message of a negative length')
    this.#body = isWanted(this.#type) ? Buffer.allocUnsafe(this.#rest) : null
    this.#filled = 0
    if (this.#rest === 0) this.#finish()
  }

  #finish(): void {
    if (this.#body !== null) this.#onMessage(this.#type, this.#body)
    this.#body = null
  }
}

function isWanted(type: number): boolean {
  return type === TYPE.ready || type === TYPE.error || type === TYPE.authentication || type === TYPE.copyIn
}

/** @returns one field of an ErrorResponse: `M` the message, `C` the SQLSTATE; '' if it has none */
export function errorField(body: Buffer, field: 'M' | 'C'): string {
  const found = body
    .toString('utf8')
    .split('\0')
    .find((text) => text.startsWith(field))
  return found?.slice(1) ?? ''
}
