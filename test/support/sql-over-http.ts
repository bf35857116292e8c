// Owns: asking `POST /sql` as curl or a driver would, one keep-alive connection for each asker, and
// reading what comes back. Must never hide an answer: status, headers and body are given as they came.
import assert from 'node:assert/strict'
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { after } from 'node:test'
import type { TestPooler } from './pooler.ts'
import type { TestPostgres } from './postgres.ts'

/** What came back. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly bytes: Buffer
  /** Parsed; null: it is no JSON. */
  readonly body: AnswerBody
}

/** Any member may be missing: tests look at those that they name. */
export interface AnswerBody {
  readonly fields: Record<string, unknown>[]
  readonly rows: unknown[]
  readonly command: string
  readonly rowCount: number | null
  readonly rowAsArray: boolean
  readonly results: AnswerBody[]
  readonly message: string
  readonly code: string | null
  readonly [member: string]: unknown
}

type Headers = Record<string, string>

/** What the drivers send with each request. */
export const AS_DRIVERS: Headers = { 'neon-raw-text-output': 'true', 'neon-array-mode': 'true' }

export class Asker {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 })
  readonly host: string
  readonly port: number
  /** Of each request that says nothing else. */
  readonly url: string

  constructor({ pooler }: TestPooler, url: string) {
    const at = pooler.addresses.serverless
    assert.ok(at !== null, 'the endpoint is on')
    this.host = at.host
    this.port = at.port
    this.url = url
    after(() => this.#agent.destroy())
  }

  /** Sends a body as it is. */
  async post(body: string | Buffer, headers: Headers = {}): Promise<Answer> {
    return readAnswer(await this.#response(this.open(body, headers)))
  }

  /** One statement, asked as the drivers do. */
  sql(query: string, params: unknown[] = [], headers: Headers = {}): Promise<Answer> {
    return this.post(JSON.stringify({ query, params }), { ...AS_DRIVERS, ...headers })
  }

  /** A batch, asked as the drivers do. */
  batch(queries: readonly (string | object)[], headers: Headers = {}): Promise<Answer> {
    const items = queries.map((one) => (typeof one === 'string' ? { query: one } : one))
    return this.post(JSON.stringify({ queries: items }), { ...AS_DRIVERS, ...headers })
  }

  /** Rows of one statement. @throws AssertionError where it failed */
  async rows(query: string, params: unknown[] = []): Promise<unknown[]> {
    const answer = await this.sql(query, params)
    assert.equal(answer.status, 200, answer.body.message)
    return answer.body.rows
  }

  /** The first value of one statement. */
  async value(query: string, params: unknown[] = []): Promise<unknown> {
    return ((await this.rows(query, params))[0] as unknown[])[0]
  }

  /** A request that was sent; nobody reads its answer yet. */
  open(body: string | Buffer, headers: Headers = {}): ClientRequest {
    const { host, port } = this
    const all = { 'neon-connection-string': this.url, ...headers }
    const sent = request({ host, port, path: '/sql', method: 'POST', agent: this.#agent, headers: all })
    sent.end(body)
    return sent
  }

  /** The beginning of its answer. */
  #response(sent: ClientRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      sent.on('response', resolve)
      sent.on('error', reject)
    })
  }

  /** A request of which the answer, when it begins, is not read. */
  unread(body: string, headers: Headers = {}): Promise<IncomingMessage> {
    return this.#response(this.open(body, headers))
  }

  /** A bare connection, for requests that no client library would send. */
  async socket(): Promise<Socket> {
    const socket = connect(this.port, this.host)
    after(() => socket.destroy())
    await new Promise((resolve) => socket.once('connect', resolve))
    return socket
  }

  /** All that comes for these bytes until the other side closes. */
  async raw(bytes: string | Buffer): Promise<string> {
    const socket = await this.socket()
    const pieces: Buffer[] = []
    socket.on('data', (piece) => pieces.push(piece))
    socket.on('error', () => {})
    socket.write(bytes)
    await new Promise((resolve) => socket.once('close', resolve))
    return Buffer.concat(pieces).toString('utf8')
  }
}

/** The rest of an answer. */
export async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const pieces: Buffer[] = []
  for await (const piece of response) pieces.push(piece as Buffer)
  const bytes = Buffer.concat(pieces)
  const { statusCode = 0, headers } = response
  return { status: statusCode, headers, bytes, body: parsed(bytes) as AnswerBody }
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return null
  }
}

/** The connection string of a test's Postgres; its host means nothing. */
export function urlFor(postgres: TestPostgres, query = ''): string {
  const { user, password, database } = postgres
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`
  return `postgresql://${login}@db.example.test/${encodeURIComponent(database)}${query}`
}

/** Switches the endpoint on, on a free port. */
export const ON = { host: '127.0.0.1', port: 0 } as const
