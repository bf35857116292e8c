// Owns: a Postgres client for tests that shows every message and can send any bytes in any pieces.
// Must never import from src: it has to fail where the program's own idea of the protocol is wrong.

import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { lookThrough } from './known-secrets.ts'
import { type BackendMessage, BackendParser, type BindOptions, type MessageOf } from './messages.ts'
import * as m from './messages.ts'
import { ScramClient } from './scram.ts'
import { certificateHash, openSocket, type SocketOptions } from './sockets.ts'
import { transcript } from './transcript.ts'

export interface ClientOptions extends SocketOptions {
  user?: string
  password?: string
  database?: string
  /** More startup parameters; an empty string is sent as such. */
  params?: Record<string, string>
  /** Minor version of protocol 3 to ask for: 0 (default) or 2. */
  minor?: number
  /** SCRAM channel binding: used where offered (`prefer`, default), demanded, or never. */
  channelBinding?: 'prefer' | 'require' | 'disable'
  /** How long `next` waits, in milliseconds (default 10 s). */
  timeout?: number
}

/** What one request was answered with. */
export interface Result {
  rows: (string | null)[][]
  columns: string[]
  /** Of the last command; '' if none completed. */
  tag: string
  tags: string[]
  error: MessageOf<'E'> | null
  notices: MessageOf<'N'>[]
  /** Transaction status of the ReadyForQuery; '' if none came. */
  status: string
  messages: BackendMessage[]
}

export interface ExtendedOptions extends BindOptions {
  types?: number[]
  maxRows?: number
}

/** The server refused the login; `messages` is all it said. */
export class LoginError extends Error {
  readonly code: string
  readonly messages: BackendMessage[]

  constructor(report: MessageOf<'E'>, messages: BackendMessage[]) {
    super(`${report.severity} ${report.code}: ${report.message}`)
    this.name = 'LoginError'
    this.code = report.code
    this.messages = messages
  }
}

interface Waiter {
  resolve(message: BackendMessage): void
  reject(error: Error): void
}

/** How many received messages a failure shows. */
const SHOWN = 40

export class WireClient {
  readonly options: ClientOptions
  /** Last value of each parameter that the server reported. */
  readonly parameters = new Map<string, string>()
  /** Everything received so far. */
  readonly received: BackendMessage[] = []
  /**
   * Settled once, when the connection is gone; `error` if it did not end in an orderly way. Never rejects.
   */
  readonly closed: Promise<{ error?: Error }>
  pid = 0
  key: Buffer = Buffer.alloc(0)
  /** Status of the last ReadyForQuery. */
  status = ''
  /** Bytes received after the connection was ready for messages (TLS not counted). */
  bytesReceived = 0
  #socket: Socket
  readonly #parser = new BackendParser()
  readonly #unread: BackendMessage[] = []
  readonly #waiters: Waiter[] = []
  #end: Error | null = null
  #error: Error | undefined
  #settle: (end: { error?: Error }) => void = () => {}

  private constructor(options: ClientOptions, socket: Socket) {
    this.options = options
    this.#socket = socket
    this.closed = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** Of our end of the connection. */
  get localPort(): number {
    return this.#socket.localPort ?? 0
  }

  /** Opens a connection and logs in. @throws LoginError where the server refuses */
  static async connect(options: ClientOptions = {}): Promise<WireClient> {
    const client = await WireClient.open(options)
    try {
      await client.login()
    } catch (error) {
      client.#socket.destroy()
      throw error
    }
    return client
  }

  /** Opens a connection (with TLS, where asked for) and sends nothing else. */
  static async open(options: ClientOptions = {}): Promise<WireClient> {
    const socket = await openSocket(options)
    const client = new WireClient(options, socket)
    client.#listen(socket)
    return client
  }

  /** Sends the startup packet and answers the server's questions, up to ReadyForQuery. */
  async login(): Promise<BackendMessage[]> {
    const { user = 'postgres', database, params = {}, minor = 0 } = this.options
    const named = { user, ...(database === undefined ? {} : { database }), ...params }
    this.send(m.startup(named, 0x30000 + minor))
    const messages: BackendMessage[] = []
    let scram: ScramClient | null = null
    for (;;) {
      const message = await this.next()
      messages.push(message)
      if (message.type === 'E') throw new LoginError(message, messages)
      if (message.type === 'Z') return messages
      if (message.type === 'R') scram = this.#authenticate(message, scram)
    }
  }

  #authenticate(message: MessageOf<'R'>, scram: ScramClient | null): ScramClient | null {
    const { user = 'postgres', password = '' } = this.options
    const md5 = (text: string, salt: Uint8Array) => createHash('md5').update(text).update(salt).digest('hex')
    if (message.method === 3) this.send(m.password(password))
    if (message.method === 5)
      this.send(m.password(`md5${md5(md5(password + user, Buffer.alloc(0)), message.salt)}`))
    if (message.method === 10) return this.#startScram(message.mechanisms)
    if (message.method === 11) this.send(m.saslResponse(scram?.answer(message.data.toString()) ?? ''))
    if (message.method === 12) scram?.finish(message.data.toString())
    if (![0, 3, 5, 11, 12].includes(message.method))
      throw new Error(`unknown authentication ${message.method}`)
    return scram
  }

  #startScram(mechanisms: readonly string[]): ScramClient {
    const wish = this.options.channelBinding ?? 'prefer'
    const encrypted = 'getPeerX509Certificate' in this.#socket
    const offered = mechanisms.includes('SCRAM-SHA-256-PLUS')
    const binds = encrypted && offered && wish !== 'disable'
    if (wish === 'require' && !binds) throw new Error('the server does not offer channel binding')
    const binding = binds ? certificateHash(this.#socket as TLSSocket) : null
    const scram = new ScramClient(this.options.password ?? '', binding, encrypted && wish !== 'disable')
    this.send(m.saslInitialResponse(scram.mechanism, scram.first()))
    return scram
  }

  #listen(socket: Socket): void {
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('end', () => this.#fail(new Error('the server ended the connection')))
    socket.on('close', () => {
      this.#fail(this.#error ?? new Error('the connection is closed'))
      this.#settle(this.#error === undefined ? {} : { error: this.#error })
    })
    socket.resume()
  }

  #onData(chunk: Buffer): void {
    this.bytesReceived += chunk.length
    try {
      for (const message of this.#parser.push(chunk)) this.#take(message)
    } catch (error) {
      this.#error = error as Error
      this.#socket.destroy()
    }
  }

  #take(message: BackendMessage): void {
    this.received.push(message)
    if (message.type === 'E' || message.type === 'N') lookThrough('an error', message.raw.toString('latin1'))
    if (message.type === 'S') this.parameters.set(message.parameter, message.value)
    if (message.type === 'Z') this.status = message.status
    if (message.type === 'K') {
      this.pid = message.pid
      this.key = Buffer.from(message.key)
    }
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#unread.push(message)
    else waiter.resolve(message)
  }

  #fail(reason: Error): void {
    this.#end ??= reason
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure(this.#end.message))
  }

  #failure(what: string): Error {
    const shown = this.received.slice(-SHOWN)
    const left = this.#parser.unfinished > 0 ? ` and ${this.#parser.unfinished} bytes of a message` : ''
    return new Error(
      `${what}; received${shown.length === SHOWN ? ' last' : ''}: ${transcript(shown) || 'nothing'}${left}`,
    )
  }

  /** Sends bytes as they are, in one write. */
  send(...bytes: Uint8Array[]): void {
    this.#socket.write(Buffer.concat(bytes))
  }

  /**
   * Sends in pieces that end at these offsets, each in its own turn and, as far as TCP lets us, its own
   * segment.
   */
  async sendCut(bytes: Buffer, cuts: readonly number[]): Promise<void> {
    let from = 0
    for (const to of [...cuts, bytes.length]) {
      if (to <= from) continue
      const piece = bytes.subarray(from, to)
      await new Promise<void>((resolve, reject) => {
        this.#socket.write(piece, (error) => (error ? reject(error) : setImmediate(resolve)))
      })
      from = to
    }
  }

  /**
   * The next message of the server.
   * @throws after `timeout` ms, or when the connection ends, with what was received until then
   */
  next(timeout = this.options.timeout ?? 10_000): Promise<BackendMessage> {
    const ready = this.#unread.shift()
    if (ready !== undefined) return Promise.resolve(ready)
    if (this.#end !== null) return Promise.reject(this.#failure(this.#end.message))
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve: (message) => {
          clearTimeout(timer)
          resolve(message)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      }
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        reject(this.#failure(`no message within ${timeout} ms`))
      }, timeout)
      this.#waiters.push(waiter)
    })
  }

  /** All messages up to and including one of these types ('Z' by default). */
  async until(types = 'Z', timeout?: number): Promise<BackendMessage[]> {
    const out: BackendMessage[] = []
    for (;;) {
      const message = await this.next(timeout)
      out.push(message)
      if (types.includes(message.type)) return out
    }
  }

  /** Messages that came and were not asked for yet; they are taken. */
  drain(): BackendMessage[] {
    return this.#unread.splice(0)
  }

  /** Messages that come until the server closes the connection. */
  async untilClosed(): Promise<BackendMessage[]> {
    await this.closed
    return this.drain()
  }

  /**
   * Sends these bytes and collects the answer up to ReadyForQuery. An error of the server is in the result.
   */
  async run(...bytes: Uint8Array[]): Promise<Result> {
    this.send(...bytes)
    return result(await this.until('Z'))
  }

  /** A simple query. An error of the server is in the result, not thrown. */
  query(sql: string): Promise<Result> {
    return this.run(m.query(sql))
  }

  /** Parse, Bind, Describe, Execute and Sync in one write. */
  extended(sql: string, params: (string | null)[] = [], options: ExtendedOptions = {}): Promise<Result> {
    const { portal = '', statement = '', types = [], maxRows = 0 } = options
    const bound = m.bind({ ...options, params })
    const parsed = m.parse(sql, { name: statement, types })
    return this.run(parsed, bound, m.describe('P', portal), m.execute(portal, maxRows), m.sync())
  }

  /**
   * Sends a CancelRequest for this session on a connection of its own; resolves when the server closed that
   * one.
   */
  async cancel(key: Uint8Array = this.key, pid = this.pid): Promise<void> {
    const socket = await openSocket(this.options)
    const gone = new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
    })
    socket.on('error', () => {}).resume()
    socket.write(m.cancelRequest(pid, key))
    return gone
  }

  /** Stop reading: what the server sends stays in the kernel until it is full. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Says Terminate and closes; resolves when the connection is gone. */
  end(): Promise<{ error?: Error }> {
    this.#socket.end(m.terminate())
    return this.closed
  }

  /** FIN without Terminate; answers can still be read. */
  halfClose(): void {
    this.#socket.end()
  }

  /** Drops the connection with a RST (TLS: as TCP lets us). */
  destroy(): void {
    // Node never gets done with a socket that is reset while its own end is being shut down.
    if (this.#end !== null || 'getPeerX509Certificate' in this.#socket) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    await this.closed
  }
}

/** Sorts the messages of one answer into a result. */
export function result(messages: BackendMessage[]): Result {
  const of = <T extends BackendMessage['type']>(type: T) =>
    messages.filter((message): message is MessageOf<T> => message.type === type)
  const tags = of('C').map((message) => message.tag)
  return {
    rows: of('D').map((row) => row.values.map((value) => value?.toString('utf8') ?? null)),
    columns:
      of('T')
        .at(-1)
        ?.columns.map((column) => column.name) ?? [],
    tag: tags.at(-1) ?? '',
    tags,
    error: of('E')[0] ?? null,
    notices: of('N'),
    status: of('Z').at(-1)?.status ?? '',
    messages,
  }
}
