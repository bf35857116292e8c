// Owns the buffers into which sockets are read. What is handed out is never read into again, since chunks are
// kept by the streams they are written to.
import { type Server, Socket } from 'node:net'
import { take } from './slab.ts'

/** As much as Node reads at once by itself. */
const SIZE = 64 * 1024
/** A socket that brings less than this at once is read through the shared buffer again. */
const SMALL = 16 * 1024

const shared = Buffer.allocUnsafeSlow(SIZE)

/**
 * Reads of one socket. Small ones go through a buffer that all sockets share and are copied out of it, which
 * saves the 64 KiB that Node allocates and shrinks for each read; while full buffers come, each is handed out
 * as it is.
 */
export class Reads {
  /** Who emits 'data'. */
  socket: Socket | null = null
  #own: Buffer | null = null
  #isChanged = true

  /** For the `onread` option of a socket. */
  readonly onread = {
    // Null: as before. Node's types know no such answer, its code does (anything but a Uint8Array).
    buffer: (): Uint8Array => this.#next() as Uint8Array,
    callback: (length: number): boolean => this.#onRead(length),
  }

  #next(): Buffer | null {
    if (!this.#isChanged) return null
    this.#isChanged = false
    return this.#own ?? shared
  }

  #onRead(length: number): boolean {
    const from = this.#own ?? shared
    let chunk: Buffer
    if (this.#own !== null && length >= SMALL) {
      chunk = from.subarray(0, length)
      this.#use(Buffer.allocUnsafeSlow(SIZE))
    } else {
      chunk = take(length)
      from.copy(chunk, 0, 0, length)
      if (this.#own !== null) this.#use(null)
      else if (length === SIZE) this.#use(Buffer.allocUnsafeSlow(SIZE))
    }
    this.socket?.emit('data', chunk)
    return true
  }

  #use(buffer: Buffer | null): void {
    this.#own = buffer
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
