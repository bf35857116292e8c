// TLS inside a WebSocket: its records are the bytes that the WebSocket carries. It owns the pipe between
// Node's TLS and the frames; what is encrypted is written and read by an ordinary stream on top.
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { StreamHandler, TlsSettings } from '../wire/byte-stream.ts'
import { TcpStream } from './tcp-stream.ts'
import { type HandshakeEnd, startTls } from './tls.ts'
import { CloseCode } from './ws-frames.ts'

/** The WebSocket below. */
export interface Carrier {
  readonly handler: StreamHandler
  /** Sends records. @returns false: no more until `onSent` */
  send(bytes: Uint8Array): boolean
  enough(): void
  more(): void
  finish(): void
  fail(code: number, problem: string): void
  destroy(reason: string): void
}

export class InsideTls {
  readonly #carrier: Carrier
  readonly #pipe: Duplex
  readonly #settings: TlsSettings
  readonly #early: Buffer | null
  #stream: TcpStream | null = null
  #secured: TLSSocket | null = null
  #isSecure = false
  /** Called when records that were given have left. */
  #sent: (() => void) | null = null

  /** @param early bytes of the handshake that were read before, as for `secure` of a stream */
  constructor(carrier: Carrier, settings: TlsSettings, early: Buffer | null) {
    this.#carrier = carrier
    this.#settings = settings
    this.#early = early
    this.#pipe = new Duplex({
      read: () => carrier.more(),
      write: (bytes: Buffer, _encoding, done) => {
        if (carrier.send(bytes)) done()
        else this.#sent = done
      },
      final: (done) => {
        carrier.finish()
        done()
      },
    })
    // A pipe that breaks is told by the stream on top of it.
    this.#pipe.on('error', () => {})
  }

  /** Begins the handshake. */
  start(done: HandshakeEnd): void {
    const carrier = this.#carrier
    // To Node's TLS any duplex is as good as a socket.
    const pipe = this.#pipe as unknown as Socket
    const secured = startTls(pipe, this.#settings, this.#early, (error, shown) => {
      // Not at once: what TLS says about it is on its way.
      if (error !== null) carrier.fail(CloseCode.Protocol, error.message)
      else this.#isSecure = true
      done(error, shown)
    })
    this.#secured = secured
    this.#stream = new TcpStream(secured, false)
    this.#stream.handler = {
      onData: (chunk) => carrier.handler.onData(chunk),
      onDrain: () => carrier.handler.onDrain(),
      onEnd: () => carrier.handler.onEnd(),
      onClose: (reason) => {
        if (this.#isSecure) carrier.destroy(reason)
      },
    }
  }

  write(bytes: Uint8Array): boolean {
    return this.#stream?.write(bytes) ?? true
  }

  get unsent(): number {
    return this.#stream?.unsent ?? 0
  }

  pause(): void {
    this.#stream?.pause()
  }

  resume(): void {
    this.#stream?.resume()
  }

  end(): void {
    this.#stream?.end()
  }

  /** Records that came; null: there will be no more. They are valid during the call only. */
  receive(bytes: Buffer | null): void {
    if (this.#pipe.destroyed) return
    if (bytes === null) this.#pipe.push(null)
    else if (!this.#pipe.push(Buffer.from(bytes))) this.#carrier.enough()
  }

  /** The records have gone. */
  onSent(): void {
    const done = this.#sent
    this.#sent = null
    done?.()
  }

  /** The WebSocket is gone. */
  close(): void {
    this.#secured?.destroy()
    this.#pipe.destroy()
  }
}
