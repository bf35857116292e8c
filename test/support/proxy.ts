// Owns: a TCP relay for tests that stands between two programs and does what networks do: cuts, delays,
// holds, breaks. Must never understand what passes through it.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { at, every, seeded, whole } from './chop.ts'
import { Prng } from './prng.ts'

/** Which way bytes go: `up` from the client to the target, `down` back. */
export type Way = 'up' | 'down'

/** How bytes pass; may be changed at any time and then holds for what comes next. */
export interface Shape {
  /** How each chunk is cut: not at all, into pieces of this size, or by this function. */
  cut: 'whole' | number | ((bytes: Buffer) => Buffer[])
  /** Milliseconds that each chunk is kept, order unchanged. */
  delay: number
  /** Changes bytes on their way; may return more or fewer. */
  map: ((bytes: Buffer) => Buffer) | null
}

export interface ProxyOptions {
  host?: string
  /** Port of the target. */
  port: number
  /** For connections to come; a connection's own `shape` can be changed later. */
  shape?: Partial<Record<Way, Partial<Shape>>>
  /** Listen here instead of on a free loopback port. */
  listen?: number
  /** And on this address. */
  address?: string
}

/** Of what is passed on in pieces so much is read before it is passed on: a RST destroys what is not read. */
const AHEAD_MAX = 1024 * 1024
const PLAIN: Shape = { cut: 'whole', delay: 0, map: null }

/** Pieces at seeded places, for `Shape.cut`. */
export function seededCutter(seed: number, probability = 0.1): (bytes: Buffer) => Buffer[] {
  const random = new Prng(seed)
  return (bytes) => seeded(bytes, random, probability)
}

/** Cuts the whole stream (not each chunk) at these offsets, for `Shape.cut`. */
export function cutterAt(...offsets: number[]): (bytes: Buffer) => Buffer[] {
  let passed = 0
  return (bytes) => {
    const start = passed
    passed += bytes.length
    return at(
      bytes,
      offsets.map((offset) => offset - start),
    )
  }
}

/** One way of one connection. */
class Lane {
  readonly shape: Shape
  /** Bytes that arrived, and bytes that were passed on. */
  received = 0
  sent = 0
  #queued = 0
  readonly #from: Socket
  readonly #to: Socket
  readonly #notify: () => void
  #held = false
  #blackhole = false
  #work: Promise<void> = Promise.resolve()
  #release: (() => void) | null = null
  #gate: Promise<void> = Promise.resolve()

  constructor(from: Socket, to: Socket, shape: Partial<Shape>, notify: () => void) {
    this.shape = { ...PLAIN, ...shape }
    this.#from = from
    this.#to = to
    this.#notify = notify
    from.on('data', (chunk: Buffer) => this.#take(chunk))
    from.on('end', () => this.#then(async () => void to.end()))
    // An error on one side becomes a RST on the other, behind all that came before it.
    from.on('error', () => this.#then(async () => breakOff(to)))
  }

  /** Bytes stop here until `release`; more is not read from the sender than its window allows. */
  hold(): void {
    if (this.#held) return
    this.#held = true
    this.#gate = new Promise((resolve) => {
      this.#release = resolve
    })
  }

  release(): void {
    this.#held = false
    this.#release?.()
  }

  /** Bytes are taken and lost from now on. */
  blackhole(): void {
    this.#blackhole = true
  }

  /** Puts bytes of our own into the stream, behind what has arrived. */
  inject(bytes: Buffer): void {
    this.#then(() => this.#write(bytes))
  }

  #take(chunk: Buffer): void {
    this.received += chunk.length
    this.#notify()
    if (this.#blackhole) return
    this.#from.pause()
    const due = performance.now() + this.shape.delay
    this.#then(async () => {
      const left = due - performance.now()
      if (left > 0) await new Promise((resolve) => setTimeout(resolve, left))
      const bytes = this.shape.map?.(chunk) ?? chunk
      for (const piece of this.#pieces(bytes)) await this.#write(piece)
    })
    this.#queued += chunk.length
    this.#then(async () => {
      this.#queued -= chunk.length
      this.#from.resume()
    })
    // With a delay several chunks are on their way at once, as on a long line.
    const { delay, cut } = this.shape
    if (delay > 0 || (cut !== 'whole' && this.#queued < AHEAD_MAX)) this.#from.resume()
  }

  #pieces(bytes: Buffer): Buffer[] {
    const { cut } = this.shape
    if (cut === 'whole') return whole(bytes)
    return typeof cut === 'number' ? every(bytes, cut) : cut(bytes)
  }

  async #write(bytes: Buffer): Promise<void> {
    await this.#gate
    if (this.#to.destroyed || !this.#to.writable || this.#blackhole) return
    await new Promise<void>((resolve) => {
      this.#to.once('close', resolve)
      this.#to.write(bytes, () => {
        this.#to.off('close', resolve)
        setImmediate(resolve)
      })
    })
    this.sent += bytes.length
    this.#notify()
  }

  #then(step: () => Promise<void>): void {
    this.#work = this.#work.then(step)
  }
}

/** One connection through the proxy. */
export class ProxyConnection {
  readonly up: Lane
  readonly down: Lane
  /** Settled when both sockets are gone. */
  readonly closed: Promise<void>
  readonly #client: Socket
  readonly #target: Socket
  readonly #waiting = new Set<() => void>()

  constructor(client: Socket, target: Socket, shape: ProxyOptions['shape']) {
    this.#client = client
    this.#target = target
    const notify = () => {
      for (const check of [...this.#waiting]) check()
    }
    this.up = new Lane(client, target, shape?.up ?? {}, notify)
    this.down = new Lane(target, client, shape?.down ?? {}, notify)
    this.closed = Promise.all([gone(client), gone(target)]).then(notify)
  }

  /**
   * Resolves when at least this many bytes have arrived at the proxy on this way. @throws if it closes before
   */
  passed(way: Way, bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const arrived = this[way].received >= bytes
        if (!arrived && !(this.#client.destroyed && this.#target.destroyed)) return
        this.#waiting.delete(check)
        if (arrived) resolve()
        else reject(new Error(`the connection ended after ${this[way].received} of ${bytes} bytes ${way}`))
      }
      this.#waiting.add(check)
      check()
    })
  }

  get isOpen(): boolean {
    return !(this.#client.closed && this.#target.closed)
  }

  /** Both ways stop. */
  hold(): void {
    this.up.hold()
    this.down.hold()
  }

  release(): void {
    this.up.release()
    this.down.release()
  }

  /** Both ends stay open and nothing passes any more. */
  blackhole(): void {
    this.up.blackhole()
    this.down.blackhole()
  }

  /** FIN to both sides. */
  cut(): void {
    this.#client.end()
    this.#target.end()
    this.release()
  }

  /** RST to both sides. */
  reset(): void {
    breakOff(this.#client)
    breakOff(this.#target)
    this.release()
  }
}

function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })
}

/** With a RST, except behind a FIN: Node would keep that socket for ever. */
function breakOff(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** A listening relay. */
export class TestProxy {
  readonly port: number
  /** Connections in the order in which they were accepted, closed ones too. */
  readonly connections: ProxyConnection[] = []
  /** For connections to come. */
  shape: ProxyOptions['shape']
  /** Connections closed at once because of `refuse`. */
  refused = 0
  readonly #server: Server
  readonly #target: { host: string; port: number }
  readonly #sockets = new Set<Socket>()
  readonly #waiting = new Set<() => void>()
  #refusing = false

  private constructor(server: Server, options: ProxyOptions) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    this.shape = options.shape
    this.#target = { host: options.host ?? '127.0.0.1', port: options.port }
    server.on('connection', (client) => this.#accept(client))
  }

  static async listen(options: ProxyOptions): Promise<TestProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen(options.listen ?? 0, options.address ?? '127.0.0.1')
    await once(server, 'listening')
    return new TestProxy(server, options)
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size / 2
  }

  /** The connection with this number (from 0), as soon as it exists. */
  async connection(index: number): Promise<ProxyConnection> {
    while (this.connections.length <= index) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    return this.connections[index] as ProxyConnection
  }

  /** New connections are reset as soon as they are accepted, until `admit`. */
  refuse(): void {
    this.#refusing = true
  }

  admit(): void {
    this.#refusing = false
  }

  /** Another target for connections to come. */
  retarget(port: number, host = this.#target.host): void {
    Object.assign(this.#target, { host, port })
  }

  /** Drops what is closed from `connections`: a long run has very many. */
  forget(): void {
    const open = this.connections.filter(({ isOpen }) => isOpen)
    this.connections.splice(0, Number.POSITIVE_INFINITY, ...open)
  }

  /** RST to every open connection. */
  resetAll(): void {
    for (const connection of this.connections) connection.reset()
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #accept(client: Socket): void {
    if (this.#refusing) {
      this.refused++
      client.resetAndDestroy()
      return
    }
    const target = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    for (const socket of [client, target]) {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    }
    this.connections.push(new ProxyConnection(client, target, this.shape))
    for (const wake of [...this.#waiting]) wake()
    this.#waiting.clear()
  }
}
