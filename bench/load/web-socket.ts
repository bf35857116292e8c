// One WebSocket of a load, with frames made by hand: a library would be measured with what it talks to. It
// owns its socket. Must never look at more of an answer than the load client over TCP does.
import { connect, type Socket } from 'node:net'
import * as m from '../../test/support/messages.ts'
import type { Target, Trouble } from './connection.ts'
import { errorField, Skimmer, TYPE } from './skimmer.ts'

type Answer = (trouble: Trouble | null) => void

/** One for all sockets: what was read is looked at before the next one reads. */
const SHARED = Buffer.allocUnsafeSlow(256 * 1024)
/** FIN and binary; FIN and close. */
const BINARY = 0x82
const CLOSE = 0x88
const MASKED = 0x80
const MASK_BYTES = 4
const END_OF_HEAD = '\r\n\r\n'
const STATUS_AT = 'HTTP/1.1 '.length
const SWITCHING = '101'

/** One masked message. The mask is zero: it costs the load nothing, and has to be taken off all the same. */
export function framed(bytes: Uint8Array, first: number = BINARY): Buffer {
  const { length } = bytes
  if (length > 0xffff) throw new Error('the load sends no message of that length')
  const isShort = length < 126
  const head = Buffer.alloc((isShort ? 2 : 4) + MASK_BYTES)
  head[0] = first
  head[1] = MASKED | (isShort ? length : 126)
  if (!isShort) head.writeUInt16BE(length, 2)
  return Buffer.concat([head, bytes])
}

/** Terminate, and a close frame with code 1000 behind it. */
const GOODBYE = Buffer.concat([framed(m.terminate()), framed(Buffer.from([0x03, 0xe8]), CLOSE)])

/** The head of an upgrade as drivers send it. */
function upgrade({ host, port }: Target): string {
  return (
    `GET /v2 HTTP/1.1\r\nhost: ${host}:${port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
    'sec-websocket-version: 13\r\nsec-websocket-key: YmVuY2htYXJrIG9mIHBnbQ==\r\n' +
    'sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n' +
    'user-agent: bench\r\naccept: */*\r\naccept-language: *\r\nsec-fetch-mode: websocket\r\n' +
    'pragma: no-cache\r\ncache-control: no-cache\r\naccept-encoding: gzip, deflate\r\n\r\n'
  )
}

/** What a driver says in one message: who it is, its password without being asked, and a statement. */
export function firstMessage({ user, database, password }: Target, asked: Uint8Array): Buffer {
  const start = m.startup({ user, database, application_name: 'bench', client_encoding: 'UTF8' })
  return Buffer.concat([start, m.password(password), asked])
}

export class WebSocketConnection {
  readonly socket: Socket
  readonly #skimmer = new Skimmer((type, body) => this.#onMessage(type, body))
  #answer: Answer | null
  #isOpen = false
  /** Of the answer to the upgrade, while it is not whole. */
  #head = ''
  /** A header of a frame that came in pieces. */
  readonly #header = Buffer.alloc(10)
  #headerBytes = 0
  /** Of the present frame. */
  #rest = 0
  #isClosing = false
  /** ReadyForQuery that have to come. */
  #readies = 0
  #trouble: Trouble | null = null
  #onGone: (() => void) | null = null
  #isGone = false

  /** @param onOpen the upgrade is over: null, or why it failed */
  constructor(target: Target, onOpen: Answer) {
    this.#answer = onOpen
    const { host, port } = target
    const onread = { buffer: SHARED, callback: (count: number) => this.#onRead(count) }
    this.socket = connect({ host, port, noDelay: true, onread })
    this.socket.write(upgrade(target), 'latin1')
    this.socket.on('error', (error) => this.#end(error.message))
    this.socket.on('close', () => this.#end('the server closed the connection'))
  }

  /** Sends frames; `answer` is called at the last of that many ReadyForQuery, or at the end of a login. */
  ask(frames: Uint8Array, answer: Answer, readies = 1): void {
    if (this.#isGone) {
      answer({ code: '', message: 'the connection is gone' })
      return
    }
    this.#answer = answer
    this.#readies = readies
    this.socket.write(frames)
  }

  /** Says goodbye in both protocols; `onGone` is called when the connection is closed. */
  leave(onGone: () => void = () => {}): void {
    if (this.#isGone) {
      onGone()
      return
    }
    this.#onGone = onGone
    this.#answer = null
    this.socket.write(GOODBYE)
  }

  #onRead(count: number): boolean {
    try {
      const at = this.#isOpen ? 0 : this.#onHead(count)
      if (at >= 0) this.#onFrames(at, count)
    } catch (error) {
      this.#end((error as Error).message)
      this.socket.destroy()
    }
    return true
  }

  /** @returns where the frames begin; -1: the head is not whole */
  #onHead(count: number): number {
    const before = this.#head.length
    this.#head += SHARED.toString('latin1', 0, count)
    const end = this.#head.indexOf(END_OF_HEAD)
    if (end < 0) return -1
    const status = this.#head.slice(STATUS_AT, STATUS_AT + SWITCHING.length)
    if (status !== SWITCHING) throw new Error(`the upgrade was answered with ${this.#head.split('\r\n')[0]}`)
    this.#isOpen = true
    this.#head = ''
    this.#give(null)
    return end + END_OF_HEAD.length - before
  }

  #onFrames(from: number, stop: number): void {
    let at = from
    while (at < stop) {
      if (this.#rest > 0) {
        const count = Math.min(this.#rest, stop - at)
        this.#rest -= count
        if (!this.#isClosing) this.#skimmer.push(SHARED.subarray(at, at + count), count)
        at += count
        continue
      }
      this.#header[this.#headerBytes++] = SHARED[at++]!
      if (this.#headerBytes >= 2 && this.#headerBytes === headerLength(this.#header[1]!)) this.#onFrame()
    }
  }

  #onFrame(): void {
    this.#headerBytes = 0
    const short = this.#header[1]!
    if (short === 127) this.#rest = Number(this.#header.readBigUInt64BE(2))
    else this.#rest = short === 126 ? this.#header.readUInt16BE(2) : short
    if (this.#header[0] === CLOSE) {
      this.#isClosing = true
      if (this.#onGone === null) this.socket.end()
    } else if (this.#header[0] !== BINARY) throw new Error('a frame of another kind than the load knows')
  }

  #onMessage(type: number, body: Buffer): void {
    if (type === TYPE.error) {
      this.#trouble ??= { code: errorField(body, 'C'), message: errorField(body, 'M') }
      return
    }
    if (type !== TYPE.ready || --this.#readies > 0) return
    const trouble = this.#trouble
    this.#trouble = null
    this.#give(trouble)
  }

  #give(trouble: Trouble | null): void {
    const answer = this.#answer
    this.#answer = null
    answer?.(trouble)
  }

  #end(why: string): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#give(this.#trouble ?? { code: '', message: why })
    this.#onGone?.()
  }
}

function headerLength(second: number): number {
  return second < 126 ? 2 : second === 126 ? 4 : 10
}

/** @returns a WebSocket that is logged in @throws Error with the server's words */
export function openWebSocket(target: Target): Promise<WebSocketConnection> {
  const login = framed(firstMessage(target, Buffer.alloc(0)))
  return new Promise((resolve, reject) => {
    const connection = new WebSocketConnection(target, (refused) => {
      if (refused !== null) {
        reject(new Error(refused.message))
        return
      }
      connection.ask(login, (trouble) => {
        if (trouble === null) resolve(connection)
        else reject(new Error(trouble.message))
      })
    })
  })
}

/** Connects, sends a login with a statement in one message, and closes. */
export function visitWebSocket(target: Target, bytes: Uint8Array, done: Answer): void {
  const connection = new WebSocketConnection(target, (refused) => {
    if (refused !== null) {
      done(refused)
      return
    }
    const onAnswer = (trouble: Trouble | null): void => {
      connection.leave()
      done(trouble)
    }
    // One for the login, one for the statement.
    connection.ask(bytes, onAnswer, 2)
  })
}
