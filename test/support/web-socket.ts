// Owns: the client's end of a WebSocket for tests, frame by frame, as a socket that any test client can use.
// Must never import from src nor use a library: it sends what a library would not, and it has to fail where
// the program's own idea of frames is wrong.
import { createHash, randomBytes } from 'node:crypto'
import { connect as netConnect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as tlsConnect } from 'node:tls'

export const Op = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

/** Everything once more over WebSockets: `npm run test:web`. */
export const OVER_WEB: boolean = process.env.PGMUX_TEST_WEB === '1'
/** The reason for notRun() of tests that know what they go over. */
export const ON_WEB = 'clients come over WebSockets in this run (PGMUX_TEST_WEB)'
/** Port of a pooler for WebSockets, by its port for Postgres. */
export const webPorts = new Map<number, number>()

/** One frame, with everything about it that can be wrong. */
export interface FrameOptions {
  opcode?: number
  fin?: boolean
  /** The three reserved bits, 0x40 is RSV1. */
  reserved?: number
  /** Null: not masked. */
  mask?: Buffer | null
  /** Announces this length in 64 bits, whatever the payload. */
  length?: bigint
}

/** The bytes of a frame. */
export function frame(payload: Uint8Array, options: FrameOptions = {}): Buffer {
  const { opcode = Op.Binary, fin = true, reserved = 0, mask = randomBytes(4), length } = options
  const size = payload.length
  const masked = mask === null ? 0 : 0x80
  let head: Buffer
  if (length !== undefined || size > 0xffff) {
    head = Buffer.alloc(10)
    head[1] = masked | 127
    head.writeBigUInt64BE(length ?? BigInt(size), 2)
  } else if (size > 125) {
    head = Buffer.alloc(4)
    head[1] = masked | 126
    head.writeUInt16BE(size, 2)
  } else head = Buffer.from([0, masked | size])
  head[0] = (fin ? 0x80 : 0) | reserved | opcode
  if (mask === null) return Buffer.concat([head, payload])
  const body = Buffer.from(payload)
  for (let i = 0; i < body.length; i++) body[i] = (body[i] ?? 0) ^ (mask[i & 3] ?? 0)
  return Buffer.concat([head, mask, body])
}

/** What an upgrade was answered with. */
export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  /** What came behind the headers until the end of the connection, where it is no WebSocket. */
  readonly body: Promise<Buffer>
}

export interface UpgradeOptions {
  host?: string
  port?: number
  /** With `?address=` and the like. */
  path?: string
  /** Instead of the ordinary ones of the same name; undefined: without it. */
  headers?: Readonly<Record<string, string | undefined>>
  /** Starts with TLS; the certificate is not checked. */
  secure?: boolean
  localAddress?: string
  /** Sent right behind the request, before it is answered. */
  early?: Uint8Array
  /** Cuts what is written into frames of this many bytes. */
  frameBytes?: number
}

/** The head of a request for an upgrade. */
export function upgradeHead({ path = '/v2', headers = {}, host = '127.0.0.1' }: UpgradeOptions): Buffer {
  const all: Record<string, string | undefined> = {
    Host: host,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : `${name}: ${value}`,
  )
  return Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}

/** Opens a connection, with or without TLS. */
export async function openRaw(options: UpgradeOptions): Promise<Socket> {
  const { host = '127.0.0.1', port = 0, localAddress, secure = false } = options
  const from = localAddress === undefined ? {} : { localAddress }
  const socket: Socket = secure
    ? tlsConnect({ host, port, rejectUnauthorized: false, ...from })
    : netConnect({ host, port, allowHalfOpen: true, ...from })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      socket.off('error', reject)
      resolve()
    })
  })
  return socket.setNoDelay(true)
}

/** Sends a head and reads the head of the answer; what follows stays in the socket. */
export function exchangeHeads(socket: Socket, ...bytes: Uint8Array[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0)
    const lost = (): void => reject(new Error(`closed in place of an answer: ${seen.toString('latin1')}`))
    const onData = (chunk: Buffer): void => {
      seen = Buffer.concat([seen, chunk])
      const end = seen.indexOf('\r\n\r\n')
      if (end < 0) return
      socket.off('data', onData).off('close', lost).off('error', reject).pause()
      const [first = '', ...lines] = seen.toString('latin1', 0, end).split('\r\n')
      const headers = new Map(
        lines.map((line) => {
          const colon = line.indexOf(':')
          return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
        }),
      )
      const status = Number(first.split(' ')[1])
      if (end + 4 < seen.length) socket.unshift(seen.subarray(end + 4))
      resolve({ status, headers, body: status === 101 ? Promise.resolve(Buffer.alloc(0)) : rest(socket) })
    }
    socket.on('data', onData).once('close', lost).once('error', reject)
    socket.write(Buffer.concat(bytes))
  })
}

function rest(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
    socket.once('end', () => socket.end())
    socket.once('close', () => resolve(Buffer.concat(chunks)))
    socket.resume()
  })
}

/** Sends a request for an upgrade and nothing else. */
export async function askForUpgrade(options: UpgradeOptions): Promise<Answer & { socket: Socket }> {
  const socket = await openRaw(options)
  const answer = await exchangeHeads(socket, upgradeHead(options), options.early ?? Buffer.alloc(0))
  return { ...answer, socket }
}

/** A frame that came. */
export interface Received {
  readonly opcode: number
  readonly payload: Buffer
}

/**
 * An open WebSocket. What is written to it leaves as masked binary frames; what is read of it is the payload
 * of the binary frames that come.
 */
export class TestWebSocket extends Duplex {
  readonly socket: Socket
  readonly answer: Answer
  /** Control frames, and the lengths of messages, in the order in which they came. */
  readonly controls: Received[] = []
  readonly messages: number[] = []
  /** Answer pings and the close frame by itself, as libraries do. */
  isPolite = true
  /** The close frame that came; null: the connection ended without one. */
  readonly closeFrame: Promise<{ code: number; reason: string } | null>
  readonly #frameBytes: number
  readonly #parser = new FrameParser()
  #settle: (end: { code: number; reason: string } | null) => void = () => {}
  #hasSaidClose = false

  constructor(socket: Socket, answer: Answer, frameBytes: number) {
    super({ allowHalfOpen: false })
    this.socket = socket
    this.answer = answer
    this.#frameBytes = frameBytes
    this.closeFrame = new Promise((resolve) => {
      this.#settle = resolve
    })
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('error', (error) => this.destroy(error))
    socket.on('end', () => {
      this.#settle(null)
      this.push(null)
      socket.end()
    })
    socket.on('close', () => {
      this.#settle(null)
      this.destroy()
    })
    socket.resume()
  }

  static async open(options: UpgradeOptions): Promise<TestWebSocket> {
    const { socket, ...answer } = await askForUpgrade(options)
    const expected = createHash('sha1')
      .update('dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
      .digest('base64')
    if (answer.status !== 101 || answer.headers.get('sec-websocket-accept') !== expected) {
      throw new Error(`the upgrade was answered with ${answer.status}: ${await answer.body}`)
    }
    return new TestWebSocket(socket, answer, options.frameBytes ?? Number.POSITIVE_INFINITY)
  }

  /** Sends bytes below the frames. */
  raw(...bytes: Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  /** Sends a close frame. */
  sayClose(code = 1000): void {
    this.#hasSaidClose = true
    const payload = Buffer.alloc(2)
    payload.writeUInt16BE(code)
    this.raw(frame(payload, { opcode: Op.Close }))
  }

  #onData(chunk: Buffer): void {
    for (const { opcode, payload } of this.#parser.push(chunk)) this.#onFrame(opcode, payload)
  }

  #onFrame(opcode: number, payload: Buffer): void {
    if (opcode === Op.Binary || opcode === Op.Continuation) {
      this.messages.push(payload.length)
      if (!this.push(payload)) this.socket.pause()
      return
    }
    this.controls.push({ opcode, payload })
    this.emit('control', opcode)
    if (opcode === Op.Ping && this.isPolite) this.raw(frame(payload, { opcode: Op.Pong }))
    if (opcode !== Op.Close) return
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005
    this.#settle({ code, reason: payload.toString('utf8', 2) })
    if (this.isPolite && !this.#hasSaidClose) this.sayClose(code)
  }

  override _read(): void {
    this.socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const frames: Buffer[] = []
    for (let at = 0; at < chunk.length; at += this.#frameBytes) {
      frames.push(frame(chunk.subarray(at, at + this.#frameBytes)))
    }
    this.socket.write(Buffer.concat(frames), (error) => done(error))
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#hasSaidClose && this.socket.writable) this.sayClose()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.destroy()
    done(error)
  }

  // What a socket has besides.
  setNoDelay(): this {
    return this
  }

  resetAndDestroy(): void {
    this.socket.resetAndDestroy()
    this.destroy()
  }
}

/** Cuts bytes into the frames of a server. @throws where a server broke the rules */
export class FrameParser {
  #seen: Buffer[] = []
  #seenBytes = 0
  #needed = 2

  push(chunk: Buffer): Received[] {
    this.#seen.push(chunk)
    this.#seenBytes += chunk.length
    if (this.#seenBytes < this.#needed) return []
    const found: Received[] = []
    let bytes = Buffer.concat(this.#seen)
    for (;;) {
      const size = sizeOf(bytes)
      this.#needed = size
      if (bytes.length < size) break
      const first = bytes[0] ?? 0
      if (((bytes[1] ?? 0) & 0x80) !== 0) throw new Error('a server must not mask')
      if ((first & 0x70) !== 0) throw new Error('a reserved bit is set')
      if ((first & 0x80) === 0) throw new Error('messages of the server are one frame each')
      if ((first & 0x0f) === Op.Text) throw new Error('drivers would read text as UTF-8')
      found.push({ opcode: first & 0x0f, payload: Buffer.from(bytes.subarray(headOf(bytes), size)) })
      bytes = bytes.subarray(size)
    }
    this.#seen = [bytes]
    this.#seenBytes = bytes.length
    return found
  }
}

function headOf(bytes: Buffer): number {
  const short = (bytes[1] ?? 0) & 0x7f
  return short < 126 ? 2 : short === 126 ? 4 : 10
}

/** Of the frame at the beginning; at least 2. */
function sizeOf(bytes: Buffer): number {
  if (bytes.length < 2) return 2
  const head = headOf(bytes)
  if (bytes.length < head) return head
  const short = (bytes[1] ?? 0) & 0x7f
  if (short < 126) return head + short
  return head + (short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2)))
}
