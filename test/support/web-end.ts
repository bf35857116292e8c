// Owns: the client's end of a WebSocket as a ByteStream, so that the contract of streams can be held against
// the server's end. Must never be kinder to that end than a browser is.
import type { Socket } from 'node:net'
import { TcpStream } from '../../src/net/tcp-stream.ts'
import type { ByteStream, PeerInfo, StreamHandler } from '../../src/wire/byte-stream.ts'
import { frame, FrameParser, Op } from './web-socket.ts'

const NOBODY: StreamHandler = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }

/** The frames of a client on a connection whose upgrade is over. */
export class WebEnd implements ByteStream {
  handler: StreamHandler = NOBODY
  readonly peer: PeerInfo
  readonly #below: TcpStream
  readonly #parser = new FrameParser()
  #isPaused = false
  #isEndHeld = false
  #hasSaidClose = false
  #held: Buffer[] = []

  constructor(socket: Socket) {
    this.#below = new TcpStream(socket, false)
    this.peer = { ...this.#below.peer, kind: 'websocket' }
    this.#below.handler = {
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => this.handler.onDrain(),
      onEnd: () => this.#below.end(),
      onClose: (reason) => this.handler.onClose(reason),
    }
    socket.resume()
  }

  write(bytes: Uint8Array): boolean {
    return bytes.length === 0 || this.#hasSaidClose || this.#below.write(frame(bytes))
  }

  get unsent(): number {
    return this.#below.unsent
  }

  pause(): void {
    this.#isPaused = true
    this.#below.pause()
  }

  resume(): void {
    this.#isPaused = false
    process.nextTick(() => this.#deliver())
  }

  end(bytes?: Uint8Array): void {
    if (bytes !== undefined) this.write(bytes)
    this.#sayClose()
    this.#below.end()
  }

  destroy(reason: string): void {
    this.#below.destroy(reason)
  }

  #sayClose(): void {
    if (!this.#hasSaidClose) this.#below.write(frame(Buffer.from([3, 232]), { opcode: Op.Close }))
    this.#hasSaidClose = true
  }

  #onData(chunk: Buffer): void {
    for (const { opcode, payload } of this.#parser.push(chunk)) {
      if (opcode === Op.Binary) this.#held.push(payload)
      else if (opcode === Op.Ping) this.#below.write(frame(payload, { opcode: Op.Pong }))
      else if (opcode === Op.Close) {
        this.#sayClose()
        this.#isEndHeld = true
      }
    }
    this.#deliver()
  }

  #deliver(): void {
    while (!this.#isPaused && this.#held.length > 0) this.handler.onData(this.#held.shift() as Buffer)
    if (this.#isPaused) return
    this.#below.resume()
    if (!this.#isEndHeld) return
    this.#isEndHeld = false
    this.handler.onEnd()
  }
}
