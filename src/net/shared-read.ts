// Owns the way in which sockets are read. What is handed out is not read into again as long as a stream keeps
// it.
import { type Server, Socket } from 'node:net'
import { borrow, giveBack, LARGE_BYTES, LENT_BYTES, type Lent, lend } from './lent.ts'
import { take } from './slab.ts'

const shared = Buffer.allocUnsafeSlow(LENT_BYTES)

/**
 * Reads of one socket. Small ones go through a buffer that all sockets share and are copied out of it, which
 * saves the 64 KiB that Node allocates and shrinks for each read; while large ones come, the socket has a
 * buffer of its own that is lent as it is.
 */
export class Reads {
  /** Who emits 'data'. */
  socket: Socket | null = null
  #own: Lent | null = null
  #isChanged = true
  #chunk: Buffer | null = null

  /** For the `onread` option of a socket. */
  readonly onread = {
    // Null: as before. Node's types know no such answer, its code does (anything but a Uint8Array).
    buffer: (): Uint8Array => this.#next() as Uint8Array,
    callback: (length: number): boolean => this.#onRead(length),
  }

  #next(): Buffer | null {
    if (!this.#isChanged) return null
    this.#isChanged = false
    return this.#own?.bytes ?? shared
  }

  #onRead(length: number): boolean {
    const own = this.#own
    if (own !== null && length >= LARGE_BYTES) {
      this.#chunk = own.bytes.subarray(0, length)
      lend(own, this.#deliver)
      if (own.keeps > 0) this.#use(borrow())
      return true
    }
    const chunk = take(length)
    const from = own?.bytes ?? shared
    from.copy(chunk, 0, 0, length)
    if (own !== null) {
      giveBack(own)
      this.#use(null)
    } else if (length >= LARGE_BYTES) this.#use(borrow())
    this.socket?.emit('data', chunk)
    return true
  }

  /** Made once: reads come often. */
  readonly #deliver = (): void => {
    const chunk = this.#chunk
    this.#chunk = null
    this.socket?.emit('data', chunk)
  }

  #use(lent: Lent | null): void {
    this.#own = lent
    this.#isChanged = true
  }
}

/** What libuv calls when a connection has come in; `this` is the handle of the listener. */
type OnConnection = (this: unknown, error: number, handle: object | undefined) => void

/**
 * Has a bound server give out sockets that are read in this way. Node offers `onread` for dialed sockets
 * only, so accepted handles are taken before Node makes a socket of them; making two for each would cost a
 * tenth of a login. Where the server's handle cannot be reached it gives out sockets as usual.
 */
export function acceptWithSharedReads(server: Server, onSocket: (socket: Socket) => void): void {
  const owner = server as unknown as { _handle?: { onconnection?: OnConnection } | null }
  const listener = owner._handle
  const original = listener?.onconnection
  if (listener === undefined || listener === null || typeof original !== 'function') return
  listener.onconnection = function (error, handle) {
    if (error !== 0 || handle === undefined) original.call(this, error, handle)
    else onSocket(socketOf(handle))
  }
}

function socketOf(handle: object): Socket {
  const reads = new Reads()
  // `handle` and `onread` together are not in the types.
  const options: object = { handle, allowHalfOpen: true, onread: reads.onread }
  reads.socket = new Socket(options)
  return reads.socket
}
