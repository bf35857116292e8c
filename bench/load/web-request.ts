// One HTTP connection of a load, with requests made by hand and sent one after another. It owns its socket.
// Must never read more of an answer than its status, its length and, where it is an error, its words.
import { connect, type Socket } from 'node:net'
import type { Target, Trouble } from './connection.ts'

type Answer = (trouble: Trouble | null) => void

const SHARED = Buffer.allocUnsafeSlow(256 * 1024)
const END_OF_HEAD = Buffer.from('\r\n\r\n')
const STATUS_AT = 'HTTP/1.1 '.length
const OK = Buffer.from('200')
const LENGTH = /\r\ncontent-length: (\d+)/i

/** A request as the serverless driver makes it of `body`, with the headers that Node's fetch adds. */
export function requestOf({ host, port, user, password, database }: Target, body: string): Buffer {
  const secret = password === '' ? '' : `:${encodeURIComponent(password)}`
  return Buffer.from(
    `POST /sql HTTP/1.1\r\nhost: ${host}:${port}\r\nconnection: keep-alive\r\n` +
      `neon-connection-string: postgresql://${user}${secret}@${host}/${database}\r\n` +
      'neon-raw-text-output: true\r\nneon-array-mode: true\r\n' +
      'content-type: text/plain;charset=UTF-8\r\naccept: */*\r\naccept-language: *\r\n' +
      'sec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

export class HttpConnection {
  readonly socket: Socket
  #answer: Answer | null = null
  /** Of an answer that came in pieces. */
  #kept: Buffer | null = null
  #onGone: (() => void) | null = null
  #isGone = false

  /** What is asked before the connection stands leaves as soon as it does. */
  constructor({ host, port }: Pick<Target, 'host' | 'port'>) {
    const onread = { buffer: SHARED, callback: (count: number) => this.#onRead(count) }
    this.socket = connect({ host, port, noDelay: true, onread })
    this.socket.on('error', (error) => this.#end(error.message))
    this.socket.on('close', () => this.#end('the server closed the connection'))
  }

  /** Sends one request; `answer` is called when its answer has come whole. */
  ask(request: Uint8Array, answer: Answer): void {
    if (this.#isGone) {
      answer({ code: '', message: 'the connection is gone' })
      return
    }
    this.#answer = answer
    this.socket.write(request)
  }

  leave(onGone: () => void = () => {}): void {
    if (this.#isGone) {
      onGone()
      return
    }
    this.#onGone = onGone
    this.#answer = null
    this.socket.end()
  }

  #onRead(count: number): boolean {
    const come = SHARED.subarray(0, count)
    const bytes = this.#kept === null ? come : Buffer.concat([this.#kept, come])
    this.#kept = null
    const head = bytes.indexOf(END_OF_HEAD)
    const length = head < 0 ? null : LENGTH.exec(bytes.toString('latin1', 0, head))
    if (head >= 0 && length === null) {
      this.#end('an answer of the server does not tell its length')
      this.socket.destroy()
      return true
    }
    const body = head + END_OF_HEAD.length
    if (length === null || bytes.length < body + Number(length[1])) this.#kept = Buffer.from(bytes)
    else this.#give(bytes, body)
    return true
  }

  #give(bytes: Buffer, body: number): void {
    const answer = this.#answer
    this.#answer = null
    const isOk = bytes.compare(OK, 0, OK.length, STATUS_AT, STATUS_AT + OK.length) === 0
    answer?.(isOk ? null : troubleIn(bytes.toString('utf8', body)))
  }

  #end(why: string): void {
    if (this.#isGone) return
    this.#isGone = true
    const answer = this.#answer
    this.#answer = null
    answer?.({ code: '', message: why })
    this.#onGone?.()
  }
}

function troubleIn(body: string): Trouble {
  try {
    const { code, message } = JSON.parse(body) as { code?: string; message?: string }
    return { code: code ?? '', message: message ?? body }
  } catch {
    return { code: '', message: body }
  }
}
