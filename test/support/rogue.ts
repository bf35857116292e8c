// Owns: a server for tests that says what it is told to, whatever a Postgres would say. Must never be polite
// by itself beyond a plain login.
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import * as m from './messages.ts'

/** What a proper server says after a login without a password. */
export const WELCOME = Buffer.concat([
  m.message('R', Buffer.alloc(4)),
  parameter('server_version', '17.0'),
  parameter('client_encoding', 'UTF8'),
  parameter('application_name', ''),
  parameter('DateStyle', 'ISO, MDY'),
  parameter('TimeZone', 'UTC'),
  parameter('standard_conforming_strings', 'on'),
  m.message('K', Buffer.from([0, 0, 0, 7, 1, 2, 3, 4])),
  m.message('Z', 'I'),
])

/** A ParameterStatus. */
export function parameter(name: string, value: string): Buffer {
  return m.message('S', `${name}\0${value}\0`)
}

/** An ErrorResponse with these fields. */
export function errorOf(fields: Record<string, string>): Buffer {
  const list = Object.entries(fields).map(([letter, value]) => `${letter}${value}\0`)
  return m.message('E', `${list.join('')}\0`)
}

export interface RogueScript {
  /** First bytes of a connection: SSLRequest or startup packet. What is returned is sent. */
  onStart?: (socket: Socket, bytes: Buffer) => Buffer | null
  /** A message of the pooler after the login, its header included. Null: the usual answer. */
  onMessage?: (socket: Socket, message: Buffer) => Buffer | null
}

/** A server that follows a script; each test sets the script anew. */
export class Rogue {
  script: RogueScript = {}
  readonly sockets = new Set<Socket>()
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => this.#accept(socket))
  }

  static async open(): Promise<Rogue> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Rogue(server)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Says this on every connection. */
  say(bytes: Buffer): void {
    for (const socket of this.sockets) socket.write(bytes)
  }

  close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #accept(socket: Socket): void {
    this.sockets.add(socket)
    let isStarted = false
    let unread: Buffer = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      if (!isStarted) {
        if (unread.length < 4 || unread.length < unread.readUInt32BE(0)) return
        isStarted = true
        const said = (this.script.onStart ?? (() => WELCOME))(socket, unread)
        unread = Buffer.alloc(0)
        if (said !== null) socket.write(said)
        return
      }
      while (unread.length >= 5 && unread.length > unread.readUInt32BE(1)) {
        const size = unread.readUInt32BE(1) + 1
        const message = unread.subarray(0, size)
        unread = unread.subarray(size)
        const said = this.script.onMessage?.(socket, message) ?? usual(message)
        if (!socket.destroyed) socket.write(said)
      }
    })
  }
}

/** Enough of an answer to each message: an empty result. */
function usual(message: Buffer): Buffer {
  switch (String.fromCharCode(message[0] as number)) {
    case 'P':
      return m.message('1')
    case 'B':
      return m.message('2')
    case 'C':
      return m.message('3')
    case 'D':
      return m.message('n')
    case 'E':
      return m.message('C', 'SET\0')
    case 'S':
      return m.message('Z', 'I')
    case 'Q':
      return Buffer.concat([m.message('C', 'SELECT 0\0'), m.message('Z', 'I')])
    default:
      return Buffer.alloc(0)
  }
}
