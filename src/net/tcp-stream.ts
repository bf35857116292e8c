// Owns one TCP or Unix socket (or the TLS on top of it) as a ByteStream: collects writes, back-pressure, the
// order of closing. The hot path of the pooler: a write makes no closure, no promise and, if it is the only
// one of its turn, no copy. Must never look into the bytes nor let an exception of a handler out.
import type { Socket } from 'node:net'
import { PlainSocket, type PlainOwner } from './plain-socket.ts'
import type { PeerInfo, SecurableStream, StreamHandler, TlsSettings } from '../wire/byte-stream.ts'
import { type DirectWriteEvents, type DirectWriter, directWriter } from './direct-write.ts'
import { type Flushable, flushAtEndOfTurn } from './flush.ts'
import { reportHandlerError } from './handler-errors.ts'
import { keep, LARGE_BYTES } from './lent.ts'
import { LINGER_TICK_MS, type Lingering, startLingering, stopLingering } from './linger.ts'
import { describePeer, errorWords } from './peer.ts'
import { join } from './slab.ts'
import { startTls } from './tls.ts'

/** `write` returns false while more bytes than this are unsent. */
export const HIGH_WATER_BYTES = 64 * 1024
/** Chunks that are smaller than this on average are joined; larger ones leave as they are, in one writev. */
const JOIN_BELOW_BYTES = 4 * 1024
/** How long a stream that we ended waits for its peer without any progress. */
export const LINGER_MS = 5000
/** The reason given to `onClose` after an orderly `end`. */
export const ENDED = 'closed by us'

const NOTHING: readonly Uint8Array[] = []

/** Where each stream starts: bytes for nobody are an error of ours, never dropped in silence. */
export const UNOWNED: StreamHandler = {
  onData() {
    throw new Error('bytes arrived before the stream had an owner')
  },
  onDrain() {},
  onEnd() {},
  onClose() {},
}

/** A socket as a {@link SecurableStream}. */
export class TcpStream implements SecurableStream, Flushable, Lingering, DirectWriteEvents, PlainOwner {
  handler: StreamHandler = UNOWNED
  peer: PeerInfo
  #socket: Socket | PlainSocket
  /** The short way to the kernel; null under TLS. */
  #direct: DirectWriter | null
  // What was written in this turn: almost always one chunk, so the list for the others is made when first
  // needed.
  #first: Uint8Array | null = null
  #more: Uint8Array[] | null = null
  #pending = 0
  #dirty = false
  #wantsDrain = false
  #paused = false
  #socketPaused = false
  // A chunk, or the end, that arrived while paused.
  #held: Buffer | null = null
  #endHeld = false
  #open = true
  #closed = false
  #reason = ''
  #lingerTicks = 0
  #lingerUnsent = 0
  #onWritten: (() => void) | null = null

  /**
   * Takes over a connected socket that was made with `allowHalfOpen`, or an accepted connection. `unix`: it
   * is a Unix socket.
   */
  constructor(socket: Socket | PlainSocket, unix: boolean) {
    this.#socket = socket
    this.#direct = directWriter(socket, this)
    if (socket instanceof PlainSocket) {
      this.peer = describePeer(unix ? {} : socket.peerName(), unix)
      socket.owner = this
    } else {
      this.peer = describePeer(socket, unix)
      this.#listen(socket)
    }
  }

  write(bytes: Uint8Array): boolean {
    if (!this.#open || bytes.length === 0) return true
    if (this.#first === null) this.#first = bytes
    else if (this.#more === null) this.#more = [bytes]
    else this.#more.push(bytes)
    this.#pending += bytes.length
    // What is large gains nothing by company, and its memory is free again as soon as the kernel has it.
    if (bytes.length >= LARGE_BYTES && this.#direct !== null) this.flush()
    else {
      keep(bytes)
      if (!this.#dirty) {
        this.#dirty = true
        flushAtEndOfTurn(this)
      }
    }
    if (this.#pending + this.#below <= HIGH_WATER_BYTES) return true
    this.#wantsDrain = true
    return false
  }

  get unsent(): number {
    return this.#closed ? 0 : this.#pending + this.#below
  }

  /** What was handed to the socket and the kernel has not taken. */
  get #below(): number {
    return this.#direct === null ? this.#socket.writableLength : this.#direct.unsent
  }

  /** Hands what was collected to the socket; called by flush.ts at the end of a turn. */
  flush(): void {
    this.#dirty = false
    const first = this.#first
    if (first === null) return
    const more = this.#more ?? NOTHING
    const total = this.#pending
    this.#first = null
    this.#more = null
    this.#pending = 0
    if (more.length === 0) this.#send(first)
    else if (total < JOIN_BELOW_BYTES * (more.length + 1)) this.#send(join(first, more, total))
    else this.#sendList(first, more, total)
  }

  /** @returns true: the kernel has all that was written; false: `onDrain` is called when it has */
  tellWhenWritten(): boolean {
    if (this.unsent === 0) return true
    this.#wantsDrain = true
    return false
  }

  // Pausing is a flag until bytes arrive: a pause and a resume without bytes in between cost nothing.
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // Later, not here: the caller is inside some handler, and must not be entered again.
    if (this.#socketPaused || this.#endHeld) process.nextTick(deliverHeld, this)
  }

  end(bytes?: Uint8Array): void {
    if (!this.#open) return
    if (bytes !== undefined) this.write(bytes)
    this.flush()
    // The kernel may have told in this moment that the peer is gone.
    if (!this.#open) return
    this.#open = false
    this.#wantsDrain = false
    this.#reason = ENDED
    this.#held = null
    this.#lingerUnsent = this.unsent
    this.#socket.end()
    // What still arrives is thrown away, but must be read: closing a socket with unread bytes resets the
    // connection, and the peer could lose what we just sent.
    this.#socket.resume()
    startLingering(this)
  }

  destroy(reason: string): void {
    if (this.#closed || this.#socket.destroyed) return
    this.#reason = ''
    this.#stop(reason)
    this.#socket.destroy()
  }

  secure(settings: TlsSettings, early: Buffer | null, done: (error: Error | null) => void): void {
    this.flush()
    if (!this.#open) {
      process.nextTick(done, new Error(`TLS failed: ${this.#reason}`))
      return
    }
    const socket = this.#plainSocket()
    this.#direct = null
    socket.pause()
    socket.removeAllListeners('data')
    if (this.#held !== null) socket.unshift(this.#held)
    this.#held = null
    this.#socketPaused = false
    this.#socket = startTls(socket, settings, early, (error, shown) => {
      if (error === null) this.peer = { ...this.peer, encrypted: true, tls: shown }
      else {
        this.#stop(error.message)
        this.#socket.destroy()
      }
      try {
        done(error)
      } catch (thrown) {
        this.#failed(thrown, 'after the TLS handshake')
      }
    })
    this.#listen(this.#socket)
  }

  /** The socket for TLS to stand on. */
  #plainSocket(): Socket {
    if (!(this.#socket instanceof PlainSocket)) return this.#socket
    const socket = this.#socket.toSocket()
    this.#socket = socket
    this.#listen(socket)
    return socket
  }

  /** One second of waiting for the peer after `end` has passed; called by linger.ts. */
  lingerTick(): void {
    const unsent = this.unsent
    if (unsent < this.#lingerUnsent) this.#lingerTicks = 0
    this.#lingerUnsent = unsent
    if (++this.#lingerTicks * LINGER_TICK_MS < LINGER_MS) return
    this.destroy(unsent > 0 ? 'peer did not take our last bytes' : ENDED)
  }

  /** Gives the owner what arrived while the stream was paused. For `resume` only. */
  deliverHeld(): void {
    if (this.#paused || !this.#open) return
    const held = this.#held
    this.#held = null
    if (held !== null) this.onChunk(held)
    if (this.#paused || !this.#open) return
    if (this.#socketPaused) {
      this.#socketPaused = false
      this.#socket.resume()
    }
    if (this.#endHeld) this.onHalfClosed()
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.onChunk(chunk))
    // The socket below TLS keeps these listeners; what happens to it is told by the one on top.
    socket.on('end', () => {
      if (socket === this.#socket) this.onHalfClosed()
    })
    socket.on('error', (error: Error) => {
      if (socket === this.#socket) this.onFailed(error)
    })
    socket.on('close', () => {
      if (socket === this.#socket) this.onGone()
    })
  }

  onFailed(error: Error): void {
    this.#stop(errorWords(error))
  }

  onChunk(chunk: Buffer): void {
    if (!this.#open) return
    if (this.#paused) {
      keep(chunk)
      this.#held = this.#held === null ? chunk : Buffer.concat([this.#held, chunk])
      this.#socketPaused = true
      this.#socket.pause()
      return
    }
    try {
      this.handler.onData(chunk)
    } catch (thrown) {
      this.#failed(thrown, 'onData')
    }
  }

  onHalfClosed(): void {
    if (!this.#open) return
    this.#endHeld = this.#paused || this.#held !== null
    if (this.#endHeld) return
    try {
      this.handler.onEnd()
    } catch (thrown) {
      this.#failed(thrown, 'onEnd')
    }
  }

  #send(bytes: Uint8Array): void {
    if (this.#direct !== null) {
      this.#direct.write(bytes)
      if (this.#wantsDrain) this.#tellWritten()
      return
    }
    const socket = this.#socket as Socket
    if (this.#wantsDrain) socket.write(bytes, this.#drainCallback())
    else socket.write(bytes)
  }

  #sendList(first: Uint8Array, more: readonly Uint8Array[], total: number): void {
    if (this.#direct !== null) {
      this.#direct.writeAll([first, ...more], total)
      if (this.#wantsDrain) this.#tellWritten()
      return
    }
    // Where there is no short way it is one of Node's.
    const socket = this.#socket as Socket
    const last = more.length - 1
    socket.cork()
    socket.write(first)
    for (let i = 0; i < last; i++) socket.write(more[i])
    this.#send(more[last])
    socket.uncork()
  }

  onDirectWritten(): void {
    this.#written()
  }

  onDirectFailed(error: Error): void {
    if (this.#closed || this.#socket.destroyed) return
    this.#stop(errorWords(error))
    this.#socket.destroy()
  }

  /** The kernel has taken everything at once: the owner hears of it later, as of any drain. */
  #tellWritten(): void {
    if (this.#below === 0) process.nextTick(this.#drainCallback())
  }

  #drainCallback(): () => void {
    this.#onWritten ??= () => this.#written()
    return this.#onWritten
  }

  #written(): void {
    if (!this.#wantsDrain || !this.#open || this.unsent > 0) return
    this.#wantsDrain = false
    try {
      this.handler.onDrain()
    } catch (thrown) {
      this.#failed(thrown, 'onDrain')
    }
  }

  // The first reason wins, since what follows is a consequence; but an `end` that failed was not orderly.
  #stop(reason: string): void {
    if (this.#reason === '' || (this.#reason === ENDED && this.unsent > 0)) this.#reason = reason
    this.#open = false
    this.#first = null
    this.#more = null
    this.#pending = 0
    this.#held = null
  }

  onGone(): void {
    if (this.#closed) return
    this.#stop('connection closed')
    this.#closed = true
    stopLingering(this)
    try {
      this.handler.onClose(this.#reason)
    } catch (thrown) {
      reportHandlerError(thrown, `onClose of a ${this.peer.kind} stream`)
    }
  }

  #failed(thrown: unknown, where: string): void {
    const error = reportHandlerError(thrown, `${where} of a ${this.peer.kind} stream`)
    this.destroy(`internal error: ${error.message}`)
  }
}

function deliverHeld(stream: TcpStream): void {
  stream.deliverHeld()
}
