// Owns: the model on a real port, for tests whose other end needs one. Must never be used in a simulation:
// sockets bring real time with them.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { ByteStream, PeerInfo, StreamHandler } from '../../../src/wire/byte-stream.ts'
import type { FakeCluster } from '../fake-postgres.ts'

const NOBODY: StreamHandler = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }

/** A plain ByteStream over a socket. */
class SocketStream implements ByteStream {
  readonly peer: PeerInfo
  handler: StreamHandler = NOBODY
  readonly #socket: Socket
  #reason = 'closed'

  constructor(socket: Socket) {
    this.#socket = socket
    const { remoteAddress: address = '', remotePort: port = 0 } = socket
    this.peer = { kind: 'tcp', address, port, encrypted: false, loopback: true }
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.handler.onData(chunk))
    socket.on('drain', () => this.handler.onDrain())
    socket.on('end', () => this.handler.onEnd())
    socket.on('error', (error) => {
      this.#reason = error.message
    })
    socket.on('close', () => this.handler.onClose(this.#reason))
  }

  get unsent(): number {
    return this.#socket.writableLength
  }

  write(bytes: Uint8Array): boolean {
    return this.#socket.writable ? this.#socket.write(bytes) : true
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(bytes?: Uint8Array): void {
    if (bytes === undefined) this.#socket.end()
    else this.#socket.end(bytes)
  }

  destroy(reason: string): void {
    this.#reason = reason
    this.#socket.destroy()
  }
}

/** Serves the model on a free loopback port until the returned object is disposed of. */
export async function serveFake(cluster: FakeCluster): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    cluster.accept(new SocketStream(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
