// Writes to a socket's handle without the layers of Node's streams, which cost more than the system call's
// own share of user time. It owns what libuv has not written yet. Where the handle cannot be reached this
// way, `directWriter` says so and the socket is written to as usual.
import { getSystemErrorName } from 'node:util'
import { keep, release } from './lent.ts'

interface WriteRequest {
  oncomplete: (status: number) => void
  handle: unknown
  /** Keeps the bytes until they are written. */
  buffer: unknown
}

interface Handle {
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  writev(request: WriteRequest, chunks: readonly Uint8Array[], allBuffers: boolean): number
}

interface Binding {
  WriteWrap: new () => WriteRequest
  streamBaseState: Int32Array
  kLastWriteWasAsync: number
}

/** What a write that did not end at once tells its owner. */
export interface DirectWriteEvents {
  onDirectWritten(): void
  onDirectFailed(error: Error): void
}

const binding = findBinding()
let spare: WriteRequest | null = null

/** Node's own interface to its streams; no public one writes without a Writable. Null: not there. */
function findBinding(): Binding | null {
  try {
    const found = (process as unknown as { binding(name: string): Partial<Binding> }).binding('stream_wrap')
    const isThere =
      typeof found.WriteWrap === 'function' &&
      found.streamBaseState !== undefined &&
      typeof found.kLastWriteWasAsync === 'number'
    return isThere ? (found as Binding) : null
  } catch {
    return null
  }
}

/** Whether this handle of libuv's can be written to in this way. */
export function canWriteDirectly(handle: object): boolean {
  const { writeBuffer, writev } = handle as Partial<Handle>
  return binding !== null && typeof writeBuffer === 'function' && typeof writev === 'function'
}

/** A writer for a plain socket, or null: records of TLS are made by the layers above the handle. */
export function directWriter(socket: object, events: DirectWriteEvents): DirectWriter | null {
  const { handle: ours, _handle: ofNode, encrypted } = socket as Partial<Record<string, object>>
  const handle = ours ?? ofNode ?? {}
  if (binding === null || encrypted !== undefined || !canWriteDirectly(handle)) return null
  return new DirectWriter(binding, handle as Handle, events)
}

export class DirectWriter {
  /** Bytes handed over that the kernel has not taken. */
  unsent = 0
  readonly #binding: Binding
  readonly #handle: Handle
  readonly #events: DirectWriteEvents

  constructor(binding: Binding, handle: Handle, events: DirectWriteEvents) {
    this.#binding = binding
    this.#handle = handle
    this.#events = events
  }

  write(bytes: Uint8Array): void {
    const request = this.#request()
    this.#after(this.#handle.writeBuffer(request, bytes), request, bytes, bytes.length)
  }

  /** All chunks in one system call. */
  writeAll(chunks: readonly Uint8Array[], size: number): void {
    const request = this.#request()
    this.#after(this.#handle.writev(request, chunks, true), request, chunks, size)
  }

  /** A write that ends at once leaves its request untouched, so one serves them all. */
  #request(): WriteRequest {
    spare ??= new this.#binding.WriteWrap()
    return spare
  }

  #after(error: number, request: WriteRequest, kept: unknown, size: number): void {
    if (error !== 0) {
      spare = null
      this.#events.onDirectFailed(failure(error))
      return
    }
    if (this.#binding.streamBaseState[this.#binding.kLastWriteWasAsync] === 0) return
    spare = null
    this.unsent += size
    const lent = kept instanceof Uint8Array ? keep(kept) : keep((kept as Uint8Array[]).at(-1)!)
    request.handle = this.#handle
    request.buffer = kept
    request.oncomplete = (status) => {
      this.unsent -= size
      if (lent !== null) release(lent)
      if (status < 0) this.#events.onDirectFailed(failure(status))
      else this.#events.onDirectWritten()
    }
  }
}

function failure(status: number): Error {
  const code = getSystemErrorName(status)
  return Object.assign(new Error(`write ${code}`), { code })
}
