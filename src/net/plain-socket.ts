// Owns a connection by the handle that libuv made of it. Node's own socket on top of that costs a third of a
// login and a tenth of a query, and a plain connection needs nothing of it; TLS does, and gets one then.
// Where the handle is not as expected, the connection keeps its socket of Node's.
import { type Server, Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { canWriteDirectly } from './direct-write.ts'
import type { RawHandle } from './handed.ts'
import type { PeerName } from './peer.ts'
import { type Bytes, Reads } from './shared-read.ts'

interface Shutdown {
  oncomplete: (status: number) => void
  handle: unknown
}

/** What is used of a handle of libuv's, as Node shows it. */
interface Handle {
  onread: (this: Handle) => Uint8Array | undefined
  useUserBuffer(buffer: Uint8Array): void
  readStart(): number
  readStop(): number
  shutdown(request: Shutdown): number
  close(callback: () => void): void
  getpeername?(out: { address?: string; port?: number }): number
  setNoDelay?(on: boolean): number
  setKeepAlive?(on: boolean, seconds: number): number
  /** The connection, for `onread`. */
  connection?: PlainSocket | undefined
}

interface Binding {
  ShutdownWrap: new () => Shutdown
  streamBaseState: Int32Array
  kReadBytesOrError: number
}

/** Who has a connection. */
export interface PlainOwner {
  onChunk(chunk: Buffer): void
  /** The peer ended its half. */
  onHalfClosed(): void
  onFailed(error: Error): void
  /** Called once, in a turn of its own. */
  onGone(): void
}

const EOF = -4095
const NOT_CONNECTED = 'ENOTCONN'
const binding = findBinding()

function findBinding(): Binding | null {
  try {
    const found = (process as unknown as { binding(name: string): Partial<Binding> }).binding('stream_wrap')
    const isThere =
      typeof found.ShutdownWrap === 'function' &&
      found.streamBaseState !== undefined &&
      typeof found.kReadBytesOrError === 'number'
    return isThere ? (found as Binding) : null
  } catch {
    return null
  }
}

/** Linux gives a connection what its listener has; elsewhere each is told. */
const INHERITS = process.platform === 'linux'

/** How the kernel is to treat TCP connections. */
export interface TcpWishes {
  /** 0: it does not ask whether the peer is there. */
  readonly keepaliveMs: number
}

function tell(handle: Handle, { keepaliveMs }: TcpWishes): void {
  handle.setNoDelay?.(true)
  if (keepaliveMs > 0) handle.setKeepAlive?.(true, Math.ceil(keepaliveMs / 1000))
}

/** What libuv calls when a connection has come in; `this` is the handle of the listener. */
type OnConnection = (this: unknown, error: number, handle: object | undefined) => void

/**
 * Has a bound server give out connections in this way. Where its handle cannot be reached it goes on giving
 * out sockets.
 * @param wishes null: Unix sockets
 */
export function acceptPlain(
  server: Server,
  wishes: TcpWishes | null,
  onAccepted: (connection: PlainSocket) => void,
): void {
  const owner = server as unknown as { _handle?: (Handle & { onconnection?: OnConnection }) | null }
  const listener = owner._handle
  const original = listener?.onconnection
  if (listener === undefined || listener === null || typeof original !== 'function') return
  if (wishes !== null && INHERITS) tell(listener, wishes)
  listener.onconnection = function (error, handle) {
    const connection = error !== 0 || handle === undefined ? null : plainSocket(handle)
    if (connection === null) original.call(this, error, handle)
    else {
      if (wishes !== null && !INHERITS) tell(connection.handle, wishes)
      onAccepted(connection)
    }
  }
}

/** Has a bound server give out the handles of connections, and does nothing more with them. */
export function acceptHandles(
  server: Server,
  wishes: TcpWishes | null,
  onAccepted: (handle: RawHandle) => void,
): void {
  const owner = server as unknown as { _handle: (Handle & { onconnection: OnConnection }) | null }
  const listener = owner._handle
  if (listener === null) return
  if (wishes !== null && INHERITS) tell(listener, wishes)
  const original = listener.onconnection
  listener.onconnection = function (error, handle) {
    if (error !== 0 || handle === undefined) original.call(this, error, handle)
    else onAccepted(handle as RawHandle)
  }
}

/**
 * Takes the connection of a socket that has just connected and was not read.
 * @returns null where it has to stay with the socket, which otherwise is not to be used any more
 */
export function takeOver(socket: Socket): PlainSocket | null {
  const owner = socket as unknown as { _handle?: object | null }
  const plain = plainSocket(owner._handle ?? {})
  if (plain !== null) owner._handle = null
  return plain
}

/** @returns null where only a socket of Node's will do */
function plainSocket(handle: object): PlainSocket | null {
  const found = handle as Partial<Handle>
  const can =
    typeof found.useUserBuffer === 'function' &&
    typeof found.readStart === 'function' &&
    typeof found.readStop === 'function' &&
    typeof found.shutdown === 'function' &&
    typeof found.close === 'function'
  if (binding === null || !can || !canWriteDirectly(handle)) return null
  return new PlainSocket(found as Handle, binding)
}

/** One function for all: `this` is the handle. */
function onRead(this: Handle): Uint8Array | undefined {
  return this.connection?.onRead()
}

function noOwner(): never {
  throw new Error('something happened to a connection before it had an owner')
}

const UNOWNED: PlainOwner = {
  onChunk: noOwner,
  onHalfClosed: noOwner,
  onFailed: noOwner,
  onGone: noOwner,
}

/** The part of Node's socket that streams use, over the handle alone. */
export class PlainSocket implements Bytes {
  owner: PlainOwner = UNOWNED
  destroyed = false
  /** Its writes go by the handle; nothing waits here. */
  readonly writableLength = 0
  readonly handle: Handle
  readonly #binding: Binding
  readonly #reads = new Reads()
  #isReading = false
  #hasEnded = false
  #hasShutDown = false
  /** It belongs to a socket of Node's now. */
  #isLent = false
  #onClose: (() => void) | null = null
  /** For whoever counts connections. Not called for one that was given to a socket of Node's. */
  onClosed: (() => void) | null = null

  constructor(handle: Handle, known: Binding) {
    this.handle = handle
    this.#binding = known
    this.#reads.socket = this
    handle.connection = this
    handle.onread = onRead
    handle.useUserBuffer(this.#reads.first())
  }

  /** Begins to read. The owner must be there. */
  start(): void {
    if (this.#isReading || this.#hasEnded || this.destroyed || this.#isLent) return
    this.#isReading = true
    const error = this.handle.readStart()
    if (error !== 0) this.#fail(error)
  }

  /** The address of the peer. */
  peerName(): PeerName {
    const out: { address?: string; port?: number } = {}
    this.handle.getpeername?.(out)
    return { remoteAddress: out.address, remotePort: out.port }
  }

  /** What libuv has read, or why it could not. @returns where to read from now on, if that changes */
  onRead(): Uint8Array | undefined {
    const length = this.#binding.streamBaseState[this.#binding.kReadBytesOrError]!
    if (length > 0) {
      if (!this.destroyed) this.#reads.onRead(length)
      // Given away in that moment: where its new owner reads to is not for us to say.
      return this.#isLent ? undefined : (this.#reads.change() ?? undefined)
    }
    if (length === 0 || this.destroyed) return undefined
    if (length === EOF) this.#onEnd()
    else this.#fail(length)
    return undefined
  }

  /** Called by `Reads`. */
  emit(_event: 'data', chunk: Buffer): void {
    this.owner.onChunk(chunk)
  }

  /** Called by `Reads`. */
  once(_event: 'close', callback: () => void): void {
    this.#onClose = callback
  }

  pause(): void {
    if (!this.#isReading || this.destroyed) return
    this.#isReading = false
    this.handle.readStop()
  }

  resume(): void {
    this.start()
  }

  /** Ends our half when all is written; both halves ended is the end. */
  end(): void {
    if (this.destroyed || this.#hasShutDown) return
    const request = new this.#binding.ShutdownWrap()
    request.handle = this.handle
    request.oncomplete = (status) => this.#onShutDown(status)
    const error = this.handle.shutdown(request)
    if (error !== 0) this.#onShutDown(error)
  }

  destroy(): void {
    if (this.destroyed || this.#isLent) return
    this.destroyed = true
    this.handle.close(() => this.#onClosed())
  }

  /** A socket of Node's, which has the connection from now on. Paused. */
  toSocket(): Socket {
    this.pause()
    this.#isLent = true
    this.handle.connection = undefined
    // Our reads of it are over; what they hold is others' to have.
    this.#onClose?.()
    this.#reads.socket = null
    const reads = new Reads()
    // `handle` and `onread` together are not in the types.
    const options: object = { handle: this.handle, allowHalfOpen: true, onread: reads.onread }
    const socket = new Socket(options)
    reads.socket = socket
    return socket
  }

  #onEnd(): void {
    this.#hasEnded = true
    this.#isReading = false
    this.owner.onHalfClosed()
    if (this.#hasShutDown) this.destroy()
  }

  #onShutDown(status: number): void {
    if (this.destroyed) return
    this.#hasShutDown = true
    if (status < 0 && getSystemErrorName(status) !== NOT_CONNECTED) this.#fail(status)
    else if (this.#hasEnded || status < 0) this.destroy()
  }

  #fail(status: number): void {
    if (this.destroyed) return
    const code = getSystemErrorName(status)
    this.owner.onFailed(Object.assign(new Error(`read ${code}`), { code }))
    this.destroy()
  }

  #onClosed(): void {
    this.handle.connection = undefined
    this.#onClose?.()
    this.onClosed?.()
    this.owner.onGone()
  }
}
