// Owns a pair of connected streams in memory with the behaviour of the real ones: back-pressure, half-close,
// reset, delivery in a later turn. Must never deliver from inside a call of the other side.
import type { PeerInfo, SecurableStream, StreamHandler, TlsSettings } from '../../src/wire/byte-stream.ts'

/** How a pair behaves. All may be left out. */
export interface MemoryPairOptions {
  /** `write` returns false while more bytes than this are on their way to the peer (default 64 KiB). */
  capacity?: number
  /**
   * Runs a step later; default setImmediate. A simulation gives its own and decides when and in which order.
   */
  schedule?: (step: () => void) => void
  /** How many of the queued bytes the next delivery takes (at least 1 is taken); default all. */
  chunker?: (queued: Buffer) => number
}

const CAPACITY = 64 * 1024
const PEER: PeerInfo = { kind: 'memory', address: '', port: 0, encrypted: false, loopback: true }
const UNOWNED: StreamHandler = {
  onData() {
    throw new Error('bytes arrived before the stream had an owner')
  },
  onDrain() {},
  onEnd() {},
  onClose() {},
}

/** One end of a pair. */
export class MemoryStream implements SecurableStream {
  handler: StreamHandler = UNOWNED
  readonly peer = PEER
  /** The exceptions that handlers of this end threw; each destroyed this end. */
  readonly handlerErrors: unknown[] = []
  readonly #options: Required<MemoryPairOptions>
  #other: MemoryStream = this
  // What this end has written and the other has not been given yet.
  #queue: Buffer[] = []
  #unsent = 0
  #wantsDrain = false
  #paused = false
  #open = true
  #closed = false
  #endSent = false
  #endSeen = false
  #scheduled = false

  constructor(options: MemoryPairOptions) {
    this.#options = {
      capacity: options.capacity ?? CAPACITY,
      schedule: options.schedule ?? ((step) => void setImmediate(step)),
      chunker: options.chunker ?? ((queued) => queued.length),
    }
  }

  /** Joins two ends. For `memoryPair` only. */
  connect(other: MemoryStream): void {
    this.#other = other
  }

  write(bytes: Uint8Array): boolean {
    if (!this.#open || bytes.length === 0) return true
    this.#queue.push(Buffer.from(bytes))
    this.#unsent += bytes.length
    this.#deliverLater()
    if (this.#unsent <= this.#options.capacity) return true
    this.#wantsDrain = true
    return false
  }

  get unsent(): number {
    return this.#unsent
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#other.#deliverLater()
  }

  end(bytes?: Uint8Array): void {
    if (!this.#open) return
    if (bytes !== undefined) this.write(bytes)
    this.#open = false
    this.#endSent = true
    this.#wantsDrain = false
    this.#deliverLater()
    // What still comes from the other end is thrown away, paused or not.
    this.#paused = false
    this.#other.#deliverLater()
  }

  // As with TCP, what was written before still reaches the peer, and then the end.
  destroy(reason: string): void {
    if (this.#closed) return
    this.#endSent = true
    this.#close(reason)
    this.#deliverLater()
    if (this.#other.#unsent > 0) this.#other.#deliverLater()
  }

  /**
   * Ends the connection as a RST does: what is on its way is lost and the peer sees 'connection reset by
   * peer'.
   */
  reset(): void {
    if (this.#closed) return
    this.#close('connection reset by us')
    this.#dropQueue()
    this.#other.#close('connection reset by peer')
  }

  secure(_settings: TlsSettings, _early: Buffer | null, done: (error: Error | null) => void): void {
    const error = new Error('a memory stream has no TLS')
    this.#options.schedule(() => done(error))
    this.destroy(error.message)
  }

  #deliverLater(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#options.schedule(() => {
      this.#scheduled = false
      this.#deliver()
    })
  }

  // Hands one chunk, or the end, to the other side.
  #deliver(): void {
    const other = this.#other
    if (other.#closed) this.#deliverToNobody()
    else if (other.#paused) return
    else if (this.#unsent > 0) this.#deliverChunk(other)
    else if (this.#endSent && !other.#endSeen) this.#deliverEnd(other)
  }

  #deliverChunk(other: MemoryStream): void {
    const chunk = this.#take()
    if (other.#open) other.#call(() => other.handler.onData(chunk), 'onData')
    if (this.#unsent > 0 || this.#endSent) this.#deliverLater()
    if (this.#unsent > 0 || !this.#wantsDrain || !this.#open) return
    this.#wantsDrain = false
    this.#call(() => this.handler.onDrain(), 'onDrain')
  }

  #deliverEnd(other: MemoryStream): void {
    other.#endSeen = true
    if (other.#open) other.#call(() => other.handler.onEnd(), 'onEnd')
    if (!this.#endSeen) return
    this.#close('closed by us')
    other.#close('closed by us')
  }

  // The peer has closed: bytes for it are answered with a reset, an end is all that was missing.
  #deliverToNobody(): void {
    if (this.#unsent > 0) this.#close('connection reset by peer')
    else if (this.#endSent) this.#close('closed by us')
    this.#dropQueue()
  }

  #take(): Buffer {
    const queued = this.#queue.length === 1 ? this.#queue[0] : Buffer.concat(this.#queue)
    const wanted = Math.trunc(this.#options.chunker(queued))
    const length = Math.min(queued.length, Math.max(1, wanted))
    this.#queue = length < queued.length ? [queued.subarray(length)] : []
    this.#unsent = queued.length - length
    return queued.subarray(0, length)
  }

  #dropQueue(): void {
    this.#queue = []
    this.#unsent = 0
  }

  #close(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#open = false
    this.#options.schedule(() => this.#call(() => this.handler.onClose(reason), 'onClose'))
  }

  #call(run: () => void, where: string): void {
    try {
      run()
    } catch (thrown) {
      this.handlerErrors.push(thrown)
      this.destroy(`internal error: ${thrown instanceof Error ? thrown.message : where}`)
    }
  }
}

/** Two connected streams in memory. */
export function memoryPair(options: MemoryPairOptions = {}): [MemoryStream, MemoryStream] {
  const a = new MemoryStream(options)
  const b = new MemoryStream(options)
  a.connect(b)
  b.connect(a)
  return [a, b]
}
