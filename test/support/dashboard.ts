// Owns: requests to the dashboard as a browser or somebody worse sends them, and its stream of events. Must
// never look inside the pooler: it
// takes from it the names of what is shown.
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { after } from 'node:test'
import type { Part } from '../../src/admin/dashboard/types.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** The body as JSON. */
  json<T = Record<string, unknown>>(): T
}

export interface Asking {
  readonly method?: string
  readonly headers?: Record<string, string>
  /** Sent as JSON with its content-type, unless the headers name one. */
  readonly body?: unknown
  /** Address of this machine to come from. */
  readonly from?: string
}

/** What any of the events may say. */
export interface Said extends Part {
  readonly at: number
  readonly version: string
  readonly workers: number
  readonly values: Readonly<Record<string, number>>
  readonly step: number
  readonly end: number
  readonly series: Readonly<Record<string, readonly (number | null)[]>>
  readonly lines: readonly { at: number; level: string; message: string; fields: Record<string, unknown> }[]
  readonly reason: string
}

/** One event of the stream. */
export interface ShownEvent {
  readonly event: string
  readonly data: Said
}

export class DashboardClient {
  readonly #port: number
  readonly #host: string
  /** Sent with each request; what a login gives. */
  cookie = ''

  constructor(port: number, host = '127.0.0.1') {
    this.#port = port
    this.#host = host
  }

  /** One request; never kept alive. */
  async ask(path: string, asking: Asking = {}): Promise<Answer> {
    const response = await this.#send(path, asking)
    const chunks: Buffer[] = []
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks).toString('utf8')
    const { statusCode: status = 0, headers } = response
    return { status, headers, body, json: () => JSON.parse(body) }
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask(path, { method: 'POST', body, headers })
  }

  #send(path: string, { method = 'GET', headers = {}, body, from }: Asking): Promise<IncomingMessage> {
    const text = body === undefined ? '' : JSON.stringify(body)
    const all: Record<string, string> = { ...headers }
    if (body !== undefined) all['content-type'] ??= 'application/json'
    if (this.cookie !== '') all.cookie ??= this.cookie
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const where = { host: this.#host, port: this.#port, path, method, agent: false as const }
    const local = from === undefined ? {} : { localAddress: from }
    request({ ...where, ...local, headers: all }, resolve)
      .on('error', reject)
      .end(text)
    return promise
  }

  /** The stream of events; closed at the end of the file, suite or test. @throws where there is none */
  async watch(asking: Asking = {}): Promise<EventReader> {
    const response = await this.#send('/dashboard/events', asking)
    if (response.statusCode !== 200) {
      response.destroy()
      throw new Error(`status ${response.statusCode}`)
    }
    const reader = new EventReader(response)
    after(() => reader.close())
    return reader
  }
}

/** Events as they come. */
export class EventReader {
  readonly #response: IncomingMessage
  readonly all: ShownEvent[] = []
  isOver = false
  #text = ''
  #wake = Promise.withResolvers<void>()
  #read = 0

  constructor(response: IncomingMessage) {
    this.#response = response
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => this.#onText(chunk))
    response.on('close', () => {
      this.isOver = true
      this.#wake.resolve()
    })
    response.on('error', () => {})
  }

  #onText(chunk: string): void {
    this.#text += chunk
    for (let end = this.#text.indexOf('\n\n'); end >= 0; end = this.#text.indexOf('\n\n')) {
      const block = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 2)
      const event = /^event: (.*)$/m.exec(block)?.[1]
      const data = /^data: (.*)$/m.exec(block)?.[1]
      if (event !== undefined && data !== undefined) this.all.push({ event, data: JSON.parse(data) })
    }
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  /** The next event, not given before, of this name and for which `matches` is true. @throws at the end */
  async next(event: string, matches: (data: Said) => boolean = () => true): Promise<Said> {
    for (;;) {
      while (this.#read < this.all.length) {
        const found = this.all[this.#read++]
        if (found?.event === event && matches(found.data)) return found.data
      }
      if (this.isOver) throw new Error(`the stream has ended without a ${event}`)
      await this.#wake.promise
    }
  }

  /** Resolves when the stream has ended. */
  async end(): Promise<void> {
    while (!this.isOver) await this.#wake.promise
  }

  /** Nothing is taken from it any more. */
  stall(): void {
    this.#response.pause()
  }

  close(): void {
    this.#response.destroy()
  }
}
