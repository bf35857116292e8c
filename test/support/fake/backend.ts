// Owns: the link between a ByteStream and the coroutine of one backend: bytes in, bytes out, waits, and the
// end. Must never decide what is answered: that is startup's and the session's.

import type { ByteStream, StreamHandler } from '../../../src/wire/byte-stream.ts'
import type { FakeCluster } from '../fake-postgres.ts'
import type { Steps, Wait } from './language.ts'
import { Gone, type Session } from './session.ts'
import { startup } from './startup.ts'
import { answer, ClientCutter, type ClientMessage, PgError } from './wire.ts'

/** More input than this is left to the kernel while the backend is busy. */
const INPUT_LIMIT = 64 * 1024

/** One connection to the model, from its first byte to its end. */
export class FakeBackend implements StreamHandler {
  /** Set when the client has logged in. */
  session: Session | null = null
  /** Bytes received and sent, for checks. */
  received = 0
  sent = 0
  readonly cluster: FakeCluster
  readonly cutter = new ClientCutter()
  readonly #stream: ByteStream
  readonly #steps: Steps<void>
  #waiting: Wait | null = null
  #sleep = 0
  #running = false
  #ended = false
  #inputEnded = false
  #paused = false

  constructor(cluster: FakeCluster, stream: ByteStream) {
    this.cluster = cluster
    this.#stream = stream
    this.#steps = startup(this)
    stream.handler = this
    this.#advance(() => this.#steps.next())
  }

  // ---- the stream

  onData(chunk: Buffer): void {
    this.received += chunk.length
    this.cutter.push(chunk)
    this.#feed()
    if (
      !this.#paused &&
      !this.#ended &&
      this.cutter.waiting > INPUT_LIMIT &&
      this.#waiting?.kind !== 'read'
    ) {
      this.#paused = true
      this.#stream.pause()
    }
  }

  onDrain(): void {
    if (this.#waiting?.kind === 'drain') this.#advance(() => this.#steps.next())
  }

  onEnd(): void {
    this.#inputEnded = true
    this.#feed()
  }

  onClose(): void {
    this.#inputEnded = true
    this.onDrain()
    this.#feed()
  }

  // ---- what the coroutines use

  write(bytes: Uint8Array): boolean {
    if (this.#ended || bytes.length === 0) return true
    this.sent += bytes.length
    return this.#stream.write(bytes)
  }

  /** Closes the stream, after what was written. */
  close(): void {
    this.#ended = true
    this.#stream.end()
  }

  // ---- from outside

  /**
   * A cancel: ends a sleep at once, is noted while something else runs, and does nothing to an idle session.
   */
  cancel(): void {
    const session = this.session
    if (session?.busy !== true) return
    session.cancelPending = true
    if (this.#waiting?.kind === 'sleep') this.#wake()
  }

  /** Ends the session as a signal does, wherever it stands: FATAL with this code and text. */
  terminate(code: string, text: string): void {
    if (this.#ended) return
    // It may stand in the middle of a message: Postgres then says nothing more, either.
    if (this.#waiting?.kind === 'drain') {
      this.crash()
      return
    }
    const error = new PgError(code, text, 'FATAL')
    this.#advance(() => this.#steps.throw(error))
  }

  /** Ends the session without a word, as when the process is killed. */
  crash(): void {
    if (this.#ended) return
    this.#finish()
    this.#stream.destroy('the backend crashed')
  }

  // ---- driving

  /** Gives the coroutine messages for as long as it asks for them. */
  #feed(): void {
    while (!this.#running && this.#waiting?.kind === 'read') {
      const message = this.#nextMessage()
      if (message === null) return
      this.#advance(() => this.#steps.next(message))
    }
  }

  #nextMessage(): ClientMessage | null {
    try {
      const message = this.cutter.next()
      if (message !== null) return message
    } catch (error) {
      this.#advance(() => this.#steps.throw(error))
      return null
    }
    if (this.#paused) {
      this.#paused = false
      this.#stream.resume()
    }
    return this.#inputEnded ? { type: 'EOF', body: Buffer.alloc(0) } : null
  }

  #wake(): void {
    this.#sleep++
    this.#advance(() => this.#steps.next())
    this.#feed()
  }

  #advance(step: () => IteratorResult<Wait, void>): void {
    if (this.#running || this.#ended) return
    this.#running = true
    try {
      const next = step()
      this.#waiting = next.done === true ? null : next.value
      if (next.done === true) this.#finish()
    } catch (error) {
      this.#waiting = null
      this.#leave(error)
    } finally {
      this.#running = false
    }
    if (this.#waiting?.kind === 'sleep') this.#plan(this.#waiting.ms)
    else this.#feed()
  }

  #plan(ms: number): void {
    const mine = ++this.#sleep
    this.cluster.schedule(ms, () => {
      if (this.#sleep === mine && this.#waiting?.kind === 'sleep') this.#wake()
    })
  }

  #leave(error: unknown): void {
    if (error instanceof PgError) {
      const last = answer.error(new PgError(error.code, error.message, 'FATAL', error.more))
      this.write(Buffer.concat([this.session?.takeRest() ?? Buffer.alloc(0), last]))
    } else if (!(error instanceof Gone)) this.cluster.faults.push(error)
    this.#finish()
    this.#stream.end()
  }

  #finish(): void {
    this.#ended = true
    this.#waiting = null
    this.session?.tx.abort()
    this.cluster.forget(this)
  }
}
