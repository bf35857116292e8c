// Owns accepting connections on TCP ports and Unix sockets. Must never die of, or spin on, a failing accept.
import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { doorKey, handedDoors, type RawHandle } from './handed.ts'
import { acceptHandles, PlainSocket, acceptPlain } from './plain-socket.ts'
import { KEEPALIVE_MS } from './dial.ts'
import { reportHandlerError } from './handler-errors.ts'
import { errorCode, errorWords } from './peer.ts'
import { TcpStream } from './tcp-stream.ts'

/**
 * A TCP address (port 0: any free one) or the path of a Unix socket with the mode of its file (default
 * 0o777).
 */
export type ListenOptions =
  | { host: string; port: number; backlog?: number; keepaliveMs?: number }
  | { path: string; mode?: number; group?: string; backlog?: number }

const TCP_HELP: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use by another process; stop that process or choose another port',
  EACCES: 'permission denied; choose a port above 1023 or run with the right to bind it',
  EADDRNOTAVAIL: 'this machine does not have that address; use one of its own, or 0.0.0.0 for all',
  ENOTFOUND: 'the host name is not known; use an address of this machine',
}

const UNIX_HELP: Readonly<Record<string, string>> = {
  EADDRINUSE: 'a living process listens there; stop it or choose another path',
  // Node says the same where the folder does not exist.
  EACCES: 'its folder does not exist or this user may not write to it; make it or choose another path',
  EINVAL: 'the path is too long for a Unix socket (107 bytes); choose a shorter one',
}

/** An open listener. */
export interface Listener {
  /** The address it is bound to, or the path of the socket. */
  readonly address: string
  /** 0 for a Unix socket. */
  readonly port: number
  /** Stops accepting: new connections are refused from then on, open ones live on. */
  close(): Promise<void>
}

/** Connections that the kernel completes before we accept them; it lowers this to its own limit. */
const BACKLOG = 4096
/** How often a failing accept is reported at most. */
const REPORT_EVERY_MS = 1000

/**
 * Accepts connections. `onStream` must set `stream.handler` before it returns.
 * @throws Error one sentence that says what to do, when the address is taken or not allowed.
 */
export async function listen(
  options: ListenOptions,
  onStream: (stream: TcpStream) => void,
): Promise<Listener> {
  const unix = 'path' in options
  const keepaliveMs = unix ? 0 : (options.keepaliveMs ?? KEEPALIVE_MS)
  const onSocket = (socket: Socket): void => {
    if (!unix) socket.setNoDelay(true)
    if (keepaliveMs > 0) socket.setKeepAlive(true, keepaliveMs)
    accept(socket, unix, onStream)
  }
  const server = createServer({ allowHalfOpen: true }, onSocket)
  await open(server, options)
  // Node's own way costs a third of a login more.
  acceptPlain(server, unix ? null : { keepaliveMs }, (connection) => accept(connection, unix, onStream))
  return listenerOf(server)
}

/** The port, or the socket in the place of one that nobody listens on any more. */
async function open(server: Server, options: ListenOptions): Promise<void> {
  try {
    await bind(server, options)
  } catch (error) {
    const isTaken = 'path' in options && errorCode(error as Error) === 'EADDRINUSE'
    if (!isTaken) throw listenError(error as Error, options)
    await removeStale(options.path)
    await bind(server, options).catch((again: Error) => {
      throw listenError(again, options)
    })
  }
  server.on('error', acceptErrorReporter(options))
}

/**
 * Accepts connections for other processes: each is given out as libuv has made it, and belongs to whoever it
 * is given to.
 * @throws Error as `listen`
 */
export async function listenForOthers(
  options: ListenOptions,
  onHandle: (handle: RawHandle) => void,
): Promise<Listener> {
  const server = createServer({ allowHalfOpen: true })
  await open(server, options)
  const wishes = 'path' in options ? null : { keepaliveMs: options.keepaliveMs ?? KEEPALIVE_MS }
  acceptHandles(server, wishes, onHandle)
  return listenerOf(server)
}

/** The one shape that listeners of any kind have. The server must be bound. */
export function listenerOf(server: Server): Listener {
  const bound = server.address() as AddressInfo | string
  return {
    address: typeof bound === 'string' ? bound : bound.address,
    port: typeof bound === 'string' ? 0 : bound.port,
    close() {
      // The socket is closed at once; the callback of `close` would wait for the last open connection.
      if (server.listening) server.close()
      return Promise.resolve()
    },
  }
}

/** Binds a server; the Unix socket gets its mode before anything can be accepted from it. */
export function bind(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
    const backlog = options.backlog ?? BACKLOG
    const doors = handedDoors()
    if (doors !== null) doors.bind(server, doorKey(options), backlog)
    else if ('path' in options) {
      server.listen({ path: options.path, backlog })
      const fail = (error: Error): void => {
        server.close()
        reject(error)
      }
      if (server.listening) setRights(options.path, options, fail)
    } else {
      server.listen({ host: options.host, port: options.port, backlog })
    }
  })
}

/** The group first: nobody else may come in meanwhile. A failure is one of listening. */
function setRights(
  path: string,
  wish: { mode?: number; group?: string },
  fail: (error: Error) => void,
): void {
  const { mode = 0o777, group = '' } = wish
  try {
    if (group !== '') chownSync(path, -1, groupId(group))
    chmodSync(path, mode)
  } catch (error) {
    fail(error as Error)
  }
}

/** Node knows no names of groups; the system's file has those of this machine. */
function groupId(group: string): number {
  if (/^\d+$/.test(group)) return Number(group)
  const lines = readFileSync('/etc/group', 'utf8').split('\n')
  const found = lines.map((line) => line.split(':')).find(([name]) => name === group)
  if (found === undefined) throw new Error(`the group ${group} does not exist on this machine`)
  return Number(found[2])
}

/** Turns an error of `bind` into one sentence with a way out. */
export function listenError(error: Error, options: ListenOptions): Error {
  const name = 'path' in options ? options.path : `${options.host}:${options.port}`
  const help = 'path' in options ? UNIX_HELP : TCP_HELP
  const code = errorCode(error)
  return Object.assign(new Error(`cannot listen on ${name}: ${help[code] ?? errorWords(error)}`), { code })
}

function accept(socket: Socket | PlainSocket, unix: boolean, onStream: (stream: TcpStream) => void): void {
  const stream = new TcpStream(socket, unix)
  try {
    onStream(stream)
    if (socket instanceof PlainSocket) socket.start()
  } catch (thrown) {
    const error = reportHandlerError(thrown, `a new ${stream.peer.kind} connection`)
    stream.destroy(`internal error: ${error.message}`)
  }
}

// Memory or buffers may run out; that is told, but not for each connection. Without open files left Node
// accepts and closes what waits and says nothing: it neither spins nor gets here, and only a limit on clients
// prevents it.
function acceptErrorReporter(options: ListenOptions): (error: Error) => void {
  const name = 'path' in options ? options.path : `${options.host}:${options.port}`
  let quietUntil = 0
  return (error) => {
    const now = performance.now()
    if (now < quietUntil) return
    quietUntil = now + REPORT_EVERY_MS
    reportHandlerError(new Error(`cannot accept a connection: ${errorWords(error)}`), `the listener ${name}`)
  }
}

// A Unix socket file outlives a process that was killed. It is stale if nobody answers there.
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path).isSocket()) {
    throw new Error(
      `cannot listen on ${path}: a file that is no socket is in the way; remove it or choose another path`,
    )
  }
  const code = await new Promise<string>((resolve) => {
    const probe = connect({ path })
    probe.once('connect', () => {
      probe.destroy()
      resolve('')
    })
    probe.once('error', (error) => resolve(errorCode(error)))
  })
  if (code === 'ECONNREFUSED') unlinkSync(path)
}
