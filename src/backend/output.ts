// Collects what is to be written to one stream so that neighbouring bytes of a chunk leave as one slice. It
// owns the run that is not written yet; it never copies.
import type { Counters } from '../observe/counters.ts'
import type { ByteStream } from '../wire/byte-stream.ts'

const EMPTY = Buffer.alloc(0)

export class Output {
  /** What is written is counted here; whoever writes a Parse for a client counts it, too. */
  readonly counters: Counters
  readonly #stream: ByteStream
  #src: Buffer = EMPTY
  #start = 0
  #stop = 0
  #mayGoOn = true

  constructor(stream: ByteStream, counters: Counters) {
    this.#stream = stream
    this.counters = counters
  }

  /** A piece of a chunk. */
  forward(src: Buffer, start: number, stop: number): void {
    if (this.#stop === start && this.#src === src) {
      this.#stop = stop
      return
    }
    this.#writeRun()
    this.#src = src
    this.#start = start
    this.#stop = stop
  }

  /** A message of our own. */
  write(bytes: Uint8Array): void {
    this.#writeRun()
    this.counters.bytesToServers += bytes.length
    if (!this.#stream.write(bytes)) this.#mayGoOn = false
  }

  /** Hands everything to the stream. @returns false when the stream wants a pause. */
  flush(): boolean {
    this.#writeRun()
    const mayGoOn = this.#mayGoOn
    this.#mayGoOn = true
    return mayGoOn
  }

  #writeRun(): void {
    if (this.#stop === this.#start) return
    const src = this.#src
    const isWhole = this.#start === 0 && this.#stop === src.length
    const run = isWhole ? src : src.subarray(this.#start, this.#stop)
    this.#src = EMPTY
    this.#start = this.#stop = 0
    this.counters.bytesToServers += run.length
    if (!this.#stream.write(run)) this.#mayGoOn = false
  }
}
