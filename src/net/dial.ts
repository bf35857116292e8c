// Owns opening connections to Postgres over TCP and Unix sockets. Must never retry: that is the pool's
// decision.
import { connect, type Socket } from 'node:net'
import { reportHandlerError } from './handler-errors.ts'
import { errorCode, errorWords } from './peer.ts'
import { takeOver } from './plain-socket.ts'
import { Reads } from './shared-read.ts'
import { TcpStream } from './tcp-stream.ts'

/** Where to connect: a host name or address with a port, or the path of a Unix socket. */
export type DialTarget = { host: string; port: number; keepaliveMs?: number } | { path: string }

/** Why no connection could be made; `code` is the system's (`ECONNREFUSED`, `ETIMEDOUT`, `ENOTFOUND`, ..). */
export class DialError extends Error {
  readonly code: string

  constructor(target: DialTarget, code: string, words: string) {
    super(`cannot connect to ${targetName(target)}: ${words}`)
    this.name = 'DialError'
    this.code = code
  }
}

/** Exactly one of the two is not null. */
export type DialCallback = (error: DialError | null, stream: TcpStream | null) => void

/** Milliseconds without traffic after which the kernel asks whether the peer is still there. */
export const KEEPALIVE_MS = 30_000

/**
 * Connects. `callback` is called once, in a later turn, unless `cancel` was called before. A name with
 * several addresses is tried on all of them (`localhost` may be ::1 or 127.0.0.1). The stream is read from as
 * soon as the callback has returned: give it its handler there.
 */
export function dial(target: DialTarget, timeoutMs: number, callback: DialCallback): { cancel(): void } {
  let over = false
  let socket: Socket | null = null
  const finish = (error: DialError | null, stream: TcpStream | null): void => {
    if (over) return
    over = true
    clearTimeout(timer)
    if (error !== null) socket?.destroy()
    try {
      callback(error, stream)
    } catch (thrown) {
      const reported = reportHandlerError(thrown, `a connection to ${targetName(target)}`)
      stream?.destroy(`internal error: ${reported.message}`)
    }
  }
  const fail = (error: Error): void =>
    finish(new DialError(target, errorCode(error), errorWords(error)), null)
  const timer = setTimeout(() => {
    finish(new DialError(target, 'ETIMEDOUT', `no answer within ${timeoutMs} ms`), null)
  }, timeoutMs)
  try {
    const opened = open(target)
    socket = opened
    opened.on('error', fail)
    opened.once('connect', () => {
      if (over) return
      opened.off('error', fail)
      const plain = takeOver(opened)
      if (plain !== null) socket = null
      finish(null, new TcpStream(plain ?? opened, 'path' in target))
      plain?.start()
    })
  } catch (error) {
    // A port or path that cannot be: told later, as all the rest.
    setImmediate(fail, error as Error)
  }
  return {
    cancel() {
      over = true
      clearTimeout(timer)
      socket?.destroy()
    },
  }
}

function open(target: DialTarget): Socket {
  const reads = new Reads()
  const { onread } = reads
  const socket =
    'path' in target ? connect({ path: target.path, allowHalfOpen: true, onread }) : openTcp(target, onread)
  reads.socket = socket
  return socket
}

function openTcp(target: Extract<DialTarget, { host: string }>, onread: Reads['onread']): Socket {
  const { keepaliveMs = KEEPALIVE_MS } = target
  return connect({
    onread,
    host: target.host,
    port: target.port,
    allowHalfOpen: true,
    autoSelectFamily: true,
    noDelay: true,
    keepAlive: keepaliveMs > 0,
    keepAliveInitialDelay: keepaliveMs,
  })
}

function targetName(target: DialTarget): string {
  if ('path' in target) return target.path
  return target.host.includes(':') ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`
}
