// Owns one WebSocket that was accepted, as a ByteStream: what is written in one turn leaves as one binary
// message, what comes is passed on as it comes. It sits on the stream of its connection, to which it leaves
// reading, writing and waiting for the end. Must never wait for the end of a message, nor look into bytes.
import type { PeerInfo, SecurableStream, StreamHandler, TlsSettings } from '../wire/byte-stream.ts'
import { type Flushable, flushAtEndOfTurn } from './flush.ts'
import { reportHandlerError } from './handler-errors.ts'
import { keep, LARGE_BYTES } from './lent.ts'
import { HIGH_WATER_BYTES, UNOWNED } from './tcp-stream.ts'
import {
  answerTo,
  CloseCode,
  closeFrame,
  controlFrame,
  Frame,
  FrameReader,
  header,
  Opcode,
} from './ws-frames.ts'
import { InsideTls } from './ws-tls.ts'

/** Longest message that we send: some clients take no more than 1 MiB, and all have to hold it whole. */
const MESSAGE_MAX = 64 * 1024
/** Pings, pongs and frames without bytes that a client may send in one second. */
const IDLE_FRAMES_MAX = 1000
/** Pings without an answer after which the peer is given up. */
const MISSED_MAX = 2
/** A peer that does not read what we sent is not sent answers to its pings besides. */
const PONG_BELOW_BYTES = HIGH_WATER_BYTES

const NO_BYTES = Buffer.alloc(0)
const NOTHING: readonly Uint8Array[] = []

/** A WebSocket that was accepted, as a {@link SecurableStream}. */
export class WsStream implements SecurableStream, Flushable, StreamHandler {
  handler: StreamHandler = UNOWNED
  peer: PeerInfo
  closeCode: number = CloseCode.Normal
  readonly #carrier: SecurableStream
  readonly #reader = new FrameReader()
  #tls: InsideTls | null = null
  /** What was given back, for the handshake that begins now. */
  #unread: Buffer | null = null
  // What was written in this turn: almost always little, so the list is made when first needed.
  #first: Uint8Array | null = null
  #more: Uint8Array[] | null = null
  #pending = 0
  #dirty = false
  #wantsDrain = false
  #paused = false
  /** The peer has closed while nobody was to be told. */
  #endHeld = false
  /** It can be written to. */
  #open = true
  /** It is ended, by us. */
  #ended = false
  #closed = false
  #reason = ''
  /** Something has come since the last tick. */
  #heard = true
  #silentMs = 0
  #missed = 0
  #idleFrames = 0

  /** @param carrier the connection, behind the answer to the upgrade */
  constructor(carrier: SecurableStream, peer: PeerInfo) {
    this.#carrier = carrier
    this.peer = peer
    carrier.handler = this
  }

  write(bytes: Uint8Array): boolean {
    return this.#tls === null ? this.send(bytes) : this.#tls.write(bytes)
  }

  /** Sends bytes as they are; those of TLS, where there is TLS inside. */
  send(bytes: Uint8Array): boolean {
    if (!this.#open || bytes.length === 0) return true
    if (this.#first === null) this.#first = bytes
    else if (this.#more === null) this.#more = [bytes]
    else this.#more.push(bytes)
    this.#pending += bytes.length
    // What is large is sent at once: its memory is free again as soon as the kernel has it.
    if (bytes.length >= LARGE_BYTES) this.flush()
    else {
      keep(bytes)
      if (!this.#dirty) {
        this.#dirty = true
        flushAtEndOfTurn(this)
      }
    }
    if (this.#pending + this.#carrier.unsent <= HIGH_WATER_BYTES) return true
    this.#wantsDrain = true
    return false
  }

  get unsent(): number {
    if (this.#closed) return 0
    return this.#pending + this.#carrier.unsent + (this.#tls?.unsent ?? 0)
  }

  /** Makes messages of what was collected; called by flush.ts at the end of a turn. */
  flush(): void {
    this.#dirty = false
    const first = this.#first
    if (first === null) return
    const more = this.#more ?? NOTHING
    let left = this.#pending
    this.#first = null
    this.#more = null
    this.#pending = 0
    let room = 0
    let takesMore = true
    for (let i = -1; i < more.length; i++) {
      const chunk = i < 0 ? first : more[i]
      for (let at = 0; at < chunk.length; ) {
        if (room === 0) {
          room = Math.min(left, MESSAGE_MAX)
          left -= room
          this.#carrier.write(header(room))
        }
        const length = Math.min(room, chunk.length - at)
        takesMore = this.#carrier.write(length === chunk.length ? chunk : chunk.subarray(at, at + length))
        at += length
        room -= length
      }
    }
    // The connection tells when it takes more only where it has said that it does not.
    if (this.#wantsDrain && takesMore) process.nextTick(drained, this)
  }

  pause(): void {
    if (this.#tls !== null) {
      this.#tls.pause()
      return
    }
    this.#paused = true
    this.#carrier.pause()
  }

  resume(): void {
    if (this.#tls !== null) {
      this.#tls.resume()
      return
    }
    if (!this.#paused) return
    this.#paused = false
    // Later, not here: the caller is inside some handler, and must not be entered again.
    if (this.#reader.hasMore || this.#endHeld) process.nextTick(deliverHeld, this)
    else this.#carrier.resume()
  }

  end(bytes?: Uint8Array): void {
    if (this.#ended) return
    if (bytes !== undefined) this.write(bytes)
    if (this.#tls !== null) this.#tls.end()
    else this.finish()
  }

  destroy(reason: string): void {
    if (this.#closed) return
    this.#stop(reason)
    this.#carrier.destroy(reason)
  }

  secure(settings: TlsSettings, early: Buffer | null, done: (error: Error | null) => void): void {
    this.flush()
    const inside = new InsideTls(this, settings, early)
    this.#tls = inside
    inside.start((error, shown) => {
      if (error === null) this.peer = { ...this.peer, encrypted: true, tls: shown }
      done(error)
    })
    const unread = this.#unread
    this.#unread = null
    if (unread !== null) inside.receive(unread)
    if (this.#reader.hasMore) process.nextTick(deliverHeld, this)
  }

  unread(bytes: Buffer): void {
    this.#unread = Buffer.from(bytes)
  }

  // ---- for TLS inside ----

  /** The close frame, and the end of the connection behind it. */
  finish(): void {
    if (this.#ended) return
    this.flush()
    this.#sayClose(this.closeCode, '')
    this.#ended = true
    this.#wantsDrain = false
    this.#carrier.end()
  }

  /** Stops reading, until `more`. */
  enough(): void {
    this.#paused = true
    this.#carrier.pause()
  }

  /** Reads on after `enough`. */
  more(): void {
    if (!this.#paused) return
    this.#paused = false
    process.nextTick(deliverHeld, this)
  }

  // ---- the connection below ----

  onData(chunk: Buffer): void {
    this.#heard = true
    this.#reader.push(chunk)
    this.#read()
  }

  onDrain(): void {
    this.drained()
  }

  /** Without a close frame nothing was said about an end. */
  onEnd(): void {
    const was = this.#open ? 'the connection without a close frame' : 'the WebSocket'
    this.destroy(`the client closed ${was}`)
  }

  onClose(reason: string): void {
    this.#closeNow(reason)
  }

  /** Gives the owner what arrived while it was paused. For `resume` only. */
  deliverHeld(): void {
    if (this.#paused || this.#closed || this.#ended) return
    if (this.#endHeld) {
      this.#endHeld = false
      this.#tellEnd()
      return
    }
    this.#read()
    if (!this.#paused) this.#carrier.resume()
  }

  /** What was written has gone. */
  drained(): void {
    if (!this.#wantsDrain || !this.#open || this.#pending + this.#carrier.unsent > HIGH_WATER_BYTES) return
    this.#wantsDrain = false
    try {
      if (this.#tls === null) this.handler.onDrain()
      else this.#tls.onSent()
    } catch (thrown) {
      this.#failed(thrown, 'onDrain')
    }
  }

  #read(): void {
    const reader = this.#reader
    while (!this.#paused && this.#open) {
      switch (reader.next()) {
        case Frame.Nothing:
          return
        case Frame.Payload:
          this.#deliver(reader.payload)
          break
        case Frame.Control:
          this.#onControl(reader.opcode, reader.payload)
          break
        case Frame.Empty:
          this.#countIdle()
          break
        case Frame.Invalid:
          this.fail(reader.code, reader.problem)
      }
    }
    reader.keepRest()
  }

  #deliver(payload: Buffer): void {
    try {
      if (this.#tls === null) this.handler.onData(payload)
      else this.#tls.receive(payload)
    } catch (thrown) {
      this.#failed(thrown, 'onData')
    }
  }

  #onControl(opcode: number, payload: Buffer): void {
    if (opcode === Opcode.Close) {
      this.#onPeerClose(payload)
      return
    }
    if (opcode === Opcode.Pong) this.#missed = 0
    else if (this.#carrier.unsent < PONG_BELOW_BYTES) this.#carrier.write(controlFrame(Opcode.Pong, payload))
    this.#countIdle()
  }

  #countIdle(): void {
    if (++this.#idleFrames > IDLE_FRAMES_MAX)
      this.fail(CloseCode.Policy, 'too many frames without bytes: they are not worth the work')
  }

  /** The peer says goodbye: it is answered at once, and takes nothing any more. */
  #onPeerClose(payload: Buffer): void {
    this.flush()
    this.#sayClose(answerTo(payload), '')
    this.#wantsDrain = false
    if (this.#paused) this.#endHeld = true
    else this.#tellEnd()
  }

  #tellEnd(): void {
    try {
      if (this.#tls === null) this.handler.onEnd()
      else this.#tls.receive(null)
    } catch (thrown) {
      this.#failed(thrown, 'onEnd')
    }
  }

  #sayClose(code: number, words: string): void {
    if (this.#open) this.#carrier.write(closeFrame(code, words))
    this.#open = false
  }

  /** The peer breaks the rules, or we do: it is told why, and its owner that it is gone. */
  fail(code: number, problem: string): void {
    if (this.#ended || this.#closed) return
    this.flush()
    this.#sayClose(code, problem)
    this.#ended = true
    this.#stop(problem)
    this.#carrier.end()
    process.nextTick(() => this.#closeNow(problem))
  }

  /**
   * A second or so has passed. A silent peer is asked whether it is still there.
   * @param pingMs 0: never
   */
  tick(elapsedMs: number, pingMs: number): void {
    this.#idleFrames = 0
    // While we do not read, or it does not, its silence says nothing.
    if (this.#heard || this.#paused || this.#carrier.unsent > 0) {
      this.#heard = false
      this.#silentMs = 0
      this.#missed = 0
      return
    }
    this.#silentMs += elapsedMs
    if (pingMs === 0 || this.#silentMs < pingMs || !this.#open) return
    this.#silentMs = 0
    if (this.#missed++ < MISSED_MAX) this.#carrier.write(controlFrame(Opcode.Ping, NO_BYTES))
    else this.destroy('the client does not answer pings')
  }

  // The first reason wins: what follows is a consequence.
  #stop(reason: string): void {
    if (this.#reason === '') this.#reason = reason
    this.#open = false
    this.#first = null
    this.#more = null
    this.#pending = 0
  }

  #closeNow(reason: string): void {
    if (this.#closed) return
    this.#stop(reason)
    this.#closed = true
    this.#tls?.close()
    try {
      this.handler.onClose(this.#reason)
    } catch (thrown) {
      reportHandlerError(thrown, 'onClose of a websocket stream')
    }
  }

  #failed(thrown: unknown, where: string): void {
    const error = reportHandlerError(thrown, `${where} of a websocket stream`)
    this.#reason = `internal error: ${error.message}`
    this.fail(CloseCode.Internal, 'internal error')
  }
}

function deliverHeld(stream: WsStream): void {
  stream.deliverHeld()
}

function drained(stream: WsStream): void {
  stream.drained()
}
