// Owns the way in which sockets are read. What is handed out is not read into again as long as a stream keeps
// it.
import { borrow, giveBack, LARGE_BYTES, leavePlace, LENT_BYTES, type Lent, lend, takePlace } from './lent.ts'
import { take } from './slab.ts'

const shared = Buffer.allocUnsafeSlow(LENT_BYTES)

/** So many large reads without a small one in between are a stream, no long message. */
const STREAM_AFTER = 3

/** What is read here: a socket of Node's, or an accepted connection. */
export interface Bytes {
  readonly destroyed: boolean
  emit(event: 'data', chunk: Buffer): unknown
  once(event: 'close', callback: () => void): unknown
}

/**
 * Reads of one socket. They go through a buffer that all sockets share and are copied out of it, which saves
 * the 64 KiB that Node allocates and shrinks for each read: small ones to a slab, large ones to a buffer that
 * is lent. While many large ones come the socket reads into a lent buffer itself. It keeps that one until its
 * next small read, or its end.
 */
export class Reads {
  /** Who emits 'data'. */
  socket: Bytes | null = null
  #own: Lent | null = null
  #isChanged = true
  /** Large reads since the last small one. */
  #large = 0
  #hasPlace = false
  #seesClose = false

  /** For the `onread` option of a socket. */
  get onread(): { buffer(): Uint8Array; callback(length: number): boolean } {
    return {
      // Null: as before. Node's types know no such answer, its code does (anything but a Uint8Array).
      buffer: () => this.change() as Uint8Array,
      callback: (length) => this.onRead(length),
    }
  }

  /** Where the first read goes. */
  first(): Uint8Array {
    this.#isChanged = false
    return shared
  }

  /** Where the next read goes, if that is another place than before. */
  change(): Buffer | null {
    if (!this.#isChanged) return null
    this.#isChanged = false
    return this.#own?.bytes ?? shared
  }

  /** So much was read. */
  onRead(length: number): boolean {
    if (length >= LARGE_BYTES) this.#onLarge(length)
    else {
      const chunk = take(length)
      const own = this.#own
      ;(own?.bytes ?? shared).copy(chunk, 0, 0, length)
      this.#large = 0
      if (own !== null) this.#release(own)
      this.socket?.emit('data', chunk)
    }
    return true
  }

  #onLarge(length: number): void {
    const own = this.#own
    const lent = own ?? borrow()
    if (own === null) shared.copy(lent.bytes, 0, 0, length)
    lend(lent, this.socket, lent.bytes.subarray(0, length))
    if (own !== null) {
      if (own.keeps > 0) this.#use(borrow())
      return
    }
    if (lent.keeps === 0) giveBack(lent)
    if (++this.#large >= STREAM_AFTER && this.#mayHold()) this.#use(borrow())
  }

  /** Is there a place for it? It is given up with the buffer, or with the socket. */
  #mayHold(): boolean {
    if (this.socket === null || this.socket.destroyed || !takePlace()) return false
    this.#hasPlace = true
    if (!this.#seesClose) {
      this.#seesClose = true
      this.socket.once('close', () => this.#leave())
    }
    return true
  }

  #release(own: Lent): void {
    giveBack(own)
    this.#use(null)
    this.#leave()
  }

  #leave(): void {
    if (this.#hasPlace) leavePlace()
    this.#hasPlace = false
  }

  #use(lent: Lent | null): void {
    this.#own = lent
    this.#isChanged = true
  }
}
